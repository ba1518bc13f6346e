//! From a scanned text to a verdict: open, read the view, decide.

use gate_core::decision::{DecisionInput, RULES_VERSION, Verdict, decide};
use gate_core::ids::Hash;
use gate_core::pass::{self, Keyring};
use gate_core::sync::v1::GateRow;
use gate_core::time::Now;
use gate_core::view::Readiness;

use crate::replica::{ReplicaError, ReplicaReader};

/// How a code is named while it is in view: the hash that its presentation will carry in the journal.
pub fn code_of(text: &str) -> Hash {
    pass::token_hash(text)
}

/// Decides, keeping the key ring between presentations.
#[derive(Default)]
pub struct Judge {
    /// `None` until it is read, and again after the replica changed.
    keys: Option<Keyring>,
}

impl Judge {
    /// The replica changed: the key ring is read again before the next decision.
    pub fn replica_changed(&mut self) {
        self.keys = None;
    }

    /// Opens a text and decides about it.
    pub fn decide(
        &mut self,
        text: &str,
        replica: &mut ReplicaReader,
        gate: &GateRow,
        readiness: Readiness,
        now: Now,
    ) -> Result<(DecisionInput, Verdict), ReplicaError> {
        let keys = match &mut self.keys {
            Some(keys) => keys,
            missing @ None => missing.insert(replica.keyring()?),
        };
        let pass = pass::open(text, keys);
        let view = replica.view(&pass, gate, now)?;
        let lane = gate.lane_context(readiness);
        let verdict = decide(&pass, &view, &lane, now);
        Ok((DecisionInput { pass, view, lane, now, rules: RULES_VERSION }, verdict))
    }
}

#[cfg(test)]
mod tests {
    use gate_core::ids::Direction;
    use gate_core::sync::v1::Change;
    use serde_bytes::ByteBuf;

    use super::*;
    use crate::replica::testing::{Folder, GATE, Venue, at, gate_row};

    #[test]
    fn keys_are_read_again_when_the_replica_changed_and_only_then() {
        let folder = Folder::new("judge");
        let mut venue = Venue::new();
        let mut replica = venue.gate(&folder.db());
        let mut reader = replica.reader().unwrap();
        let gate = gate_row(GATE, "North", Direction::In);
        let mut judge = Judge::default();
        let decide = |judge: &mut Judge, reader: &mut ReplicaReader| {
            judge.decide("GP1:X", reader, &gate, Readiness::Ready, at(0)).unwrap();
        };
        decide(&mut judge, &mut reader);
        let held = |judge: &Judge| format!("{:?}", judge.keys.as_ref().unwrap());
        let before = held(&judge);
        assert_eq!(before, format!("{:?}", reader.keyring().unwrap()));
        let withdrawn = Change::Statement(ByteBuf::from(venue.statement(9, venue.issuer(true))));
        let reply = venue.reply(vec![withdrawn], 1);
        replica.apply(&reply, at(0)).unwrap();
        decide(&mut judge, &mut reader);
        assert_eq!(held(&judge), before, "nobody said so");
        judge.replica_changed();
        decide(&mut judge, &mut reader);
        assert_eq!(held(&judge), format!("{:?}", reader.keyring().unwrap()));
        assert_ne!(held(&judge), before);
    }
}
