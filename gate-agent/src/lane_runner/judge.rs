//! From a scanned text to a verdict: open, read the view, decide.

use gate_core::decision::{DecisionInput, RULES_VERSION, Verdict, decide};
use gate_core::ids::Hash;
use gate_core::pass::{self, Finding, Keyring};
use gate_core::sync::v1::GateRow;
use gate_core::time::Now;
use gate_core::view::{LaneContext, Readiness};

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
    /// The text of the newest genuine pass, to go through its pages again.
    genuine: Option<String>,
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
        let lane = LaneContext {
            gate: gate.id,
            lane: gate.lane,
            direction: gate.direction,
            staffed: gate.staffed,
            egress: gate.egress,
            readiness,
        };
        let verdict = decide(&pass, &view, &lane, now);
        if matches!(pass.finding, Finding::Genuine { .. }) && self.genuine.as_deref() != Some(text) {
            self.genuine = Some(text.to_owned());
        }
        Ok((DecisionInput { pass, view, lane, now, rules: RULES_VERSION }, verdict))
    }

    /// Decides about the newest pass once more, for nobody. SQLite drops its pages with each commit of the writer, and an
    /// idle processor its caches: who comes next must not wait for them.
    pub fn rehearse(&mut self, replica: &mut ReplicaReader, gate: &GateRow, now: Now) -> Result<(), ReplicaError> {
        let text = self.rehearsed();
        self.decide(&text, replica, gate, Readiness::Ready, now).map(drop)
    }

    /// The text that a rehearsal decides about; no pass at all before the first one.
    pub fn rehearsed(&self) -> String {
        self.genuine.clone().unwrap_or_default()
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
        judge.rehearse(&mut reader, &gate, at(0)).unwrap();
        let held = |judge: &Judge| format!("{:?}", judge.keys.as_ref().unwrap());
        let before = held(&judge);
        assert_eq!(before, format!("{:?}", reader.keyring().unwrap()));
        let withdrawn = Change::Statement(ByteBuf::from(venue.statement(9, venue.issuer(true))));
        let reply = venue.reply(vec![withdrawn], 1);
        replica.apply(&reply, at(0)).unwrap();
        judge.rehearse(&mut reader, &gate, at(0)).unwrap();
        assert_eq!(held(&judge), before, "nobody said so");
        judge.replica_changed();
        judge.rehearse(&mut reader, &gate, at(0)).unwrap();
        assert_eq!(held(&judge), format!("{:?}", reader.keyring().unwrap()));
        assert_ne!(held(&judge), before);
    }
}
