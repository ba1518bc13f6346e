//! From a scanned text to a verdict: open, read the view, decide.

use gate_core::decision::{DecisionInput, RULES_VERSION, Verdict, decide};
use gate_core::ids::Hash;
use gate_core::pass::{self, Keyring};
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
    keys: Keyring,
    keys_version: Option<u64>,
}

impl Judge {
    /// Opens a text and decides about it.
    pub fn decide(
        &mut self,
        text: &str,
        replica: &mut ReplicaReader,
        gate: &GateRow,
        readiness: Readiness,
        now: Now,
    ) -> Result<(DecisionInput, Verdict), ReplicaError> {
        let version = replica.keyring_version()?;
        if self.keys_version != Some(version) {
            self.keys = replica.keyring()?;
            self.keys_version = Some(version);
        }
        let pass = pass::open(text, &self.keys);
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
        Ok((DecisionInput { pass, view, lane, now, rules: RULES_VERSION }, verdict))
    }
}
