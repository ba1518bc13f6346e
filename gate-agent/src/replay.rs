//! `gate-agent replay`: why did it say that? A recorded decision is made again on this machine and explained.
//!
//! The journal is only read, so it works while the agent runs. An event may also come as hexadecimal text from another
//! machine (the `bytes` that `--json` prints): the decision needs nothing but the event.

use std::fmt;
use std::path::{Path, PathBuf};

use gate_core::decision::{Replayed, replay};
use gate_core::event::Event;
use gate_core::ids::EventId;
use gate_core::reason::Language;
use serde::Serialize;

use crate::replica::{ReplicaError, ReplicaReader};

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The id is none.
    #[error(
        "{0:?} is not an event's id. Copy it from the dashboard, the log or `gate-agent journal verify`: DEVICE/EPOCH/NUMBER"
    )]
    NotAnId(String),
    /// The journal does not hold the event.
    #[error(
        "event {0} is not in this journal. Events stay here for 90 days after the cloud confirmed them; ask the cloud for older ones"
    )]
    NotFound(EventId),
    /// The event decided nothing about a pass.
    #[error("event {0} is no decision about a pass. Decisions are admissions and refusals")]
    NotADecision(EventId),
    /// The file holds no such event.
    #[error("{}: {why}. Give a file with one event per line, as hexadecimal text (`bytes` of `gate-agent replay --json`)", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The database could not be read.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
}

/// A decision made again, as it is printed.
#[derive(Debug, Serialize)]
pub struct ReplayReport {
    /// Whether verdict and grant, or refusal, are those that were recorded, bit for bit.
    pub same: bool,
    /// The event.
    pub event: EventId,
    /// Rules version by which it was decided, and that of this software.
    pub rules: (u16, u16),
    /// One line per check and a conclusion, in English.
    pub en: Vec<String>,
    /// The same in Romanian.
    pub ro: Vec<String>,
    /// The event's canonical bytes, hexadecimal: enough to make the decision again anywhere.
    pub bytes: String,
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for lines in [&self.en, &self.ro] {
            for line in lines {
                writeln!(f, "{line}")?;
            }
            writeln!(f)?;
        }
        if self.rules.0 != self.rules.1 {
            writeln!(
                f,
                "Decided by rules version {}, made again by version {} / Decis cu regulile {}, refăcut cu {}",
                self.rules.0, self.rules.1, self.rules.0, self.rules.1
            )?;
        }
        f.write_str(if self.same {
            "SAME: this machine decides exactly as recorded / LA FEL: decizia este identică"
        } else {
            "DIFFERS: this machine decides otherwise / DIFERIT: decizia este alta"
        })
    }
}

/// Reads an id as people copy it.
pub fn read_id(text: &str) -> Result<EventId, ReplayError> {
    text.trim().parse().map_err(|_| ReplayError::NotAnId(text.to_owned()))
}

/// Makes the decision of an event of this machine's journal again.
pub fn from_journal(database: &Path, id: EventId) -> Result<ReplayReport, ReplayError> {
    let event = ReplicaReader::open(database)?.event(id)?.ok_or(ReplayError::NotFound(id))?;
    report(&event)
}

/// Makes the decision of an event in a file again. Without an id the file's first event is taken.
pub fn from_file(path: &Path, id: Option<EventId>) -> Result<ReplayReport, ReplayError> {
    let wrong = |why: String| ReplayError::File { path: path.to_path_buf(), why };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    for (at, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
        let bytes = hex::decode(line).map_err(|error| wrong(format!("line {}: {error}", at + 1)))?;
        let event = Event::decode(&bytes).map_err(|error| wrong(format!("line {}: {error}", at + 1)))?;
        if id.is_none_or(|id| id == event.id) {
            return report(&event);
        }
    }
    Err(id.map_or_else(|| wrong("it holds no event".to_owned()), ReplayError::NotFound))
}

fn report(event: &Event) -> Result<ReplayReport, ReplayError> {
    let again: Replayed = replay(event).ok_or(ReplayError::NotADecision(event.id))?;
    Ok(ReplayReport {
        same: again.same,
        event: event.id,
        rules: again.rules,
        en: again.words(Language::En),
        ro: again.words(Language::Ro),
        bytes: hex::encode(event.encode()),
    })
}

#[cfg(test)]
mod tests {
    use gate_core::event::{EventBody, Part};
    use gate_core::ids::Direction;
    use gate_core::reason::Reason;
    use gate_core::view::{LaneContext, PassStanding};

    use super::*;
    use crate::replica::Replica;
    use crate::replica::testing::*;

    /// Decides about a pass as the gate does and records it.
    fn present(replica: &mut Replica, n: u64, ms: i64) -> EventId {
        let gate = gate_row(GATE, "North", Direction::In);
        let view = replica.reader().unwrap().view(&scanned(n, 0), &gate, at(ms)).unwrap();
        let EventBody::Authorised { input, generations, .. } = authorised(n, 0, view, ms, None) else { panic!() };
        let lane = LaneContext { staffed: false, ..input.lane.clone() };
        let input = Box::new(gate_core::decision::DecisionInput { lane, ..*input });
        let body = match input.replay() {
            gate_core::decision::Verdict::Admit(admission) => {
                EventBody::Authorised { input, admission, generations, confirmed: None }
            }
            gate_core::decision::Verdict::Refuse(refusal) => EventBody::Refused { input, reason: refusal.reason },
            gate_core::decision::Verdict::Ask(question) => panic!("{question:?}"),
        };
        replica.record(Some(LANE), at(ms), body).unwrap().event.id
    }

    #[test]
    fn recorded_decisions_are_made_again_beside_a_running_agent_and_on_another_machine() {
        let folder = Folder::new("replay");
        let mut venue = Venue::new();
        let mut replica = venue.gate(&folder.db());
        let reply = venue.reply(vec![pass_change(3, PassStanding::Revoked)], T0);
        replica.apply(&reply, at(0)).unwrap();
        let admitted = present(&mut replica, 1, 1000);
        replica.record(None, at(1001), EventBody::Opened { of: admitted, watched: false }).unwrap();
        let used = present(&mut replica, 1, 700_000);
        let revoked = present(&mut replica, 3, 700_001);
        for (id, en, ro) in [(admitted, "", ""), (used, Reason::AlreadyUsed.code(), "FOLOSIT"), (revoked, "", "RETRAS")]
        {
            let found = from_journal(&folder.db(), id).unwrap();
            assert!(found.same, "{found}");
            let (said, zis) = (found.en.join("\n"), found.ro.join("\n"));
            assert!(!said.is_empty() && said != zis);
            assert!(said.to_lowercase().contains(&en.replace('_', " ")), "{said}");
            assert!(zis.contains(ro), "{zis}");
            // Its bytes alone are enough, anywhere.
            let file = folder.path().join("event.txt");
            std::fs::write(&file, format!("\n{}\n", found.bytes)).unwrap();
            let elsewhere = from_file(&file, Some(id)).unwrap();
            assert_eq!((elsewhere.same, &elsewhere.en), (true, &found.en));
        }
    }

    #[test]
    fn a_decision_that_was_tampered_with_differs_and_what_is_none_is_named() {
        let folder = Folder::new("replay-differs");
        let mut venue = Venue::new();
        let mut replica = venue.gate(&folder.db());
        let id = present(&mut replica, 1, 1000);
        let mut event = replica.reader().unwrap().event(id).unwrap().unwrap();
        if let EventBody::Authorised { admission, .. } = &mut event.body {
            admission.charges_use = false;
        }
        let file = folder.path().join("forged.txt");
        std::fs::write(&file, hex::encode(event.encode())).unwrap();
        let found = from_file(&file, None).unwrap();
        assert!(!found.same && found.to_string().contains("DIFFERS"), "{found}");
        let health = EventBody::Health { part: Part::Clock, working: true, detail: String::new() };
        let news = replica.record(None, at(1), health).unwrap().event.id;
        assert!(matches!(from_journal(&folder.db(), news), Err(ReplayError::NotADecision(_))));
        let nowhere = EventId { seq: 999, ..id };
        assert!(matches!(from_journal(&folder.db(), nowhere), Err(ReplayError::NotFound(_))));
        assert!(matches!(from_file(&file, Some(nowhere)), Err(ReplayError::NotFound(_))));
        assert!(matches!(read_id("moon"), Err(ReplayError::NotAnId(_))));
        assert_eq!(read_id(&format!(" {id}\n")).unwrap(), id);
        std::fs::write(&file, "zz").unwrap();
        assert!(from_file(&file, None).unwrap_err().to_string().contains("line 1"));
    }
}
