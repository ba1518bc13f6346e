//! `gate-agent journal verify`: is the journal on this card the one that was written, and the one the cloud signed for?
//!
//! Edits, gaps and a missing tail show in the chain and in the receipts that are stored here. That the whole card was set
//! back, receipts and all, or copied, shows once the cloud answered: it signs for events that this journal does not hold.

use std::fmt;
use std::path::Path;

use gate_core::event::Head;
use gate_core::journal::{JournalError, Verifier};
use serde::Serialize;

use crate::replica::{ReplicaError, ReplicaReader};

/// What the check found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct JournalReport {
    /// Whether everything holds.
    pub ok: bool,
    /// How many events are here and hold.
    pub events: u64,
    /// Where the journal stands.
    pub head: Option<Head>,
    /// Where it begins since it was pruned.
    pub begins_after: Option<Head>,
    /// Heads that the cloud signed for and that had to be found.
    pub acknowledged: usize,
    /// The first event that is wrong, or the end that is missing, in words.
    pub problem: Option<String>,
}

impl fmt::Display for JournalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.problem, &self.head) {
            (Some(problem), _) => write!(f, "After {} good events: {problem}.", self.events),
            (None, None) => f.write_str("The journal is empty."),
            (None, Some(head)) => write!(
                f,
                "{} events hold, up to {} ({}); {} acknowledged heads were found.",
                self.events, head.event, head.hash, self.acknowledged
            ),
        }
    }
}

/// Checks the whole journal in a database. An error means that it could not be read, not that it is wrong.
pub fn verify(database: &Path) -> Result<JournalReport, ReplicaError> {
    check(&ReplicaReader::open(database)?)
}

/// Checks the whole journal.
pub fn check(reader: &ReplicaReader) -> Result<JournalReport, ReplicaError> {
    let (begins_after, heads) = reader.acknowledged()?;
    let acknowledged = heads.len();
    let mut verifier = Verifier::new(begins_after, heads);
    let (mut events, mut head) = (0, begins_after);
    let walked: Result<(), JournalError> = reader.journal(|bytes| {
        let event = verifier.next(bytes)?;
        events += 1;
        head = Some(Head { event: event.id, hash: gate_core::event::hash(bytes) });
        Ok(())
    })?;
    let broken = walked.and_then(|()| verifier.finish().map(|_| ())).err().map(|problem| problem.to_string());
    let problem = broken.or(reader.strangers()?.first().map(|(event, rewritten)| {
        if *rewritten {
            format!(
                "the cloud signed for another event {event} than this journal holds: two histories of this device are in use, \
                 from copies of one card"
            )
        } else {
            format!(
                "the cloud signed for event {event} of this device, which this journal does not hold: this card was set back \
                 to an older copy, or a second card writes as this device"
            )
        }
    }));
    Ok(JournalReport { ok: problem.is_none(), events, head, begins_after, acknowledged, problem })
}
