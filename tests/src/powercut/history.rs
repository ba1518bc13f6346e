//! What a trace amounts to: every state of the database that was committed, and the moments from which one may not be lost.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use gate_agent::replica::ReplicaReader;
use gate_core::event::{Event, EventBody};
use gate_core::ids::{EventId, Hash, PassId};

use super::card::{Card, Files};
use super::trace::Op;
use super::{Shelf, threads};
use crate::world::stock::Stock;

/// The database's file.
pub const DATABASE: &str = "replica.db";
const LOG: &str = "replica.db-wal";
/// Bytes before the first frame of a log, of a frame's header, and of a page.
const LOG_HEADER: u64 = 32;
const FRAME_HEADER: usize = 24;
const PAGE: u64 = 1024;

/// The database after one of its transactions.
#[derive(Clone, PartialEq, Debug)]
pub struct State {
    /// It was complete in the kernel's memory when this many operations were done.
    pub done: usize,
    /// The sum over its rows; `None` before there are tables.
    pub digest: Option<[u8; 16]>,
    /// Up to which change the replica is applied.
    pub position: u64,
    /// The time floor, Unix milliseconds.
    pub floor_ms: i64,
    /// Events that wait to be sent.
    pub pending: u64,
}

/// An event of the journal.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Its hash.
    pub hash: Hash,
    /// The first state that holds it.
    pub state: usize,
    /// What it says.
    pub event: Event,
}

impl Fact {
    /// The pass whose use it charges.
    pub fn charges(&self) -> Option<&PassId> {
        let EventBody::Authorised { admission, .. } = &self.event.body else { return None };
        admission.pass.as_ref().filter(|_| admission.charges_use)
    }

    /// The event whose use it gives back.
    pub fn gives_back(&self) -> Option<EventId> {
        gate_core::event::taken_back(&self.event.body)
    }
}

/// All that a trace says.
pub struct History {
    /// States in order; the first is what was there before.
    pub states: Vec<State>,
    /// States by their sum; the newest with one.
    pub by_digest: HashMap<[u8; 16], usize>,
    /// Events in the order of their first state.
    pub facts: Vec<Fact>,
    /// From this operation on, this state (or a later one) must be found after any cut.
    pub promises: Vec<(usize, usize)>,
    /// From this operation on, the cloud holds this fact.
    pub sent: Vec<(usize, usize)>,
}

impl History {
    /// Reads every state of a trace. `shelf` gives folders in memory to look at them.
    pub fn of(base: &Files, ops: &[Op], shelf: &Shelf) -> anyhow::Result<Self> {
        let ends = commits(ops);
        let mut looked: Vec<(usize, anyhow::Result<Vec<Look>>)> = Vec::new();
        let workers = threads();
        let share = ends.len().div_ceil(workers).max(1);
        std::thread::scope(|scope| {
            let running: Vec<_> = ends
                .chunks(share)
                .enumerate()
                .map(|(at, ends)| {
                    scope.spawn(move || (at, look_at(base, ops, ends, &shelf.folder(&format!("state-{at}")))))
                })
                .collect();
            for worker in running {
                looked.push(worker.join().unwrap_or_else(|_| (0, Err(anyhow::anyhow!("a worker died")))));
            }
        });
        let first = look_at(base, ops, &[0], &shelf.folder("state-first"))?;
        looked.sort_by_key(|(at, _)| *at);
        let mut history =
            Self { states: vec![], by_digest: HashMap::new(), facts: vec![], promises: vec![], sent: vec![] };
        let mut known = HashMap::new();
        history.add(first, &mut known)?;
        for (_, looks) in looked {
            history.add(looks?, &mut known)?;
        }
        history.promise(ops);
        Ok(history)
    }

    fn add(&mut self, looks: Vec<Look>, known: &mut HashMap<Hash, ()>) -> anyhow::Result<()> {
        for look in looks {
            let state = self.states.len();
            for bytes in look.news {
                let hash = gate_core::event::hash(&bytes);
                if known.insert(hash, ()).is_none() {
                    let event = Event::decode(&bytes).context("an event of the journal can't be read")?;
                    self.facts.push(Fact { hash, state, event });
                }
            }
            if let Some(digest) = look.state.digest {
                self.by_digest.insert(digest, state);
            }
            self.states.push(look.state);
        }
        Ok(())
    }

    fn promise(&mut self, ops: &[Op]) {
        let facts: HashMap<String, usize> =
            self.facts.iter().enumerate().map(|(at, fact)| (fact.event.id.to_string(), at)).collect();
        let mut least = 0;
        for (at, op) in ops.iter().enumerate() {
            let state = match op {
                // A pulse for an event that never came to be is a promise that no image can keep.
                Op::Pulse { event } if event.starts_with("free/") => continue,
                Op::Pulse { event } => facts.get(event).map_or(self.states.len(), |fact| self.facts[*fact].state),
                Op::Stored => self.states.partition_point(|state| state.done <= at) - 1,
                Op::Sent { event } => {
                    self.sent.extend(facts.get(event).map(|fact| (at, *fact)));
                    continue;
                }
                Op::Open { .. }
                | Op::Write { .. }
                | Op::Length { .. }
                | Op::Sync { .. }
                | Op::SyncFolder { .. }
                | Op::Remove { .. }
                | Op::Rename { .. } => continue,
            };
            if state > least {
                least = state;
                self.promises.push((at, state));
            }
        }
    }

    /// The oldest state that may be found when this many operations were done.
    pub fn promised(&self, done: usize) -> usize {
        newest(&self.promises, done).unwrap_or(0)
    }

    /// The facts that the cloud holds then.
    pub fn sent(&self, done: usize) -> impl Iterator<Item = &Fact> {
        self.sent.iter().take_while(move |(at, _)| *at < done).map(|(_, fact)| &self.facts[*fact])
    }

    /// Events that are in one state and not yet in another.
    pub fn events_between(&self, older: usize, newer: usize) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(move |fact| fact.state > older && fact.state <= newer)
    }
}

fn newest(list: &[(usize, usize)], done: usize) -> Option<usize> {
    let at = list.partition_point(|(at, _)| *at < done);
    at.checked_sub(1).map(|at| list[at].1)
}

/// After how many operations each transaction is complete: its last frame is in the log.
fn commits(ops: &[Op]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut page_at = None;
    for (at, op) in ops.iter().enumerate() {
        let Op::Write { file, offset, bytes } = op else { continue };
        if file != LOG {
            continue;
        }
        let frame = *offset >= LOG_HEADER && (*offset - LOG_HEADER).is_multiple_of(PAGE + FRAME_HEADER as u64);
        if page_at == Some(*offset) {
            ends.push(at + 1);
            page_at = None;
        } else if frame && bytes.len() >= FRAME_HEADER {
            let commits = bytes[4..8] != [0; 4];
            let alone = bytes.len() == FRAME_HEADER;
            page_at = (commits && alone).then_some(*offset + FRAME_HEADER as u64);
            if commits && !alone {
                ends.push(at + 1);
            }
        }
    }
    ends
}

/// One state, and the events that were not in the one before.
struct Look {
    state: State,
    news: Vec<Vec<u8>>,
}

fn look_at(base: &Files, ops: &[Op], ends: &[usize], folder: &Path) -> anyhow::Result<Vec<Look>> {
    let mut card = Card::holding(base);
    let mut done = 0;
    let mut looks = Vec::new();
    let mut known: HashMap<Hash, ()> = HashMap::new();
    for end in ends {
        for op in &ops[done..*end] {
            card.take(op, false);
        }
        done = *end;
        super::lay_out(folder, &card.whole())?;
        looks.push(look(&folder.join(DATABASE), done, &mut known)?);
    }
    Ok(looks)
}

fn look(database: &Path, done: usize, known: &mut HashMap<Hash, ()>) -> anyhow::Result<Look> {
    let nothing = State { done, digest: None, position: 0, floor_ms: 0, pending: 0 };
    let mut reader = match ReplicaReader::open(database) {
        Ok(reader) => reader,
        // Not made yet.
        Err(_) => return Ok(Look { state: nothing, news: vec![] }),
    };
    let Ok(digest) = reader.digest() else { return Ok(Look { state: nothing, news: vec![] }) };
    let mut news = Vec::new();
    let walked: Result<(), ()> = reader.journal(|bytes| {
        if known.insert(gate_core::event::hash(bytes), ()).is_none() {
            news.push(bytes.to_vec());
        }
        Ok(())
    })?;
    debug_assert!(walked.is_ok());
    let status = reader.status(Stock::new(0).now())?;
    let state = State {
        done,
        digest: Some(digest),
        position: status.position,
        floor_ms: reader.floor_ms()?,
        pending: status.pending,
    };
    Ok(Look { state, news })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_ends_with_the_page_of_its_last_frame() {
        let write = |offset: u64, bytes: Vec<u8>| Op::Write { file: LOG.to_owned(), offset, bytes };
        let frame = |n: u64, commit: u8| {
            let mut header = vec![0; FRAME_HEADER];
            header[7] = commit;
            write(LOG_HEADER + n * 1048, header)
        };
        let page = |n: u64| write(LOG_HEADER + n * 1048 + 24, vec![1; 1024]);
        let ops = [
            write(0, vec![9; 32]),
            frame(0, 0),
            page(0),
            frame(1, 3),
            page(1),
            Op::Sync { file: LOG.to_owned(), before: 5 },
            frame(2, 3),
            page(2),
            write(LOG_HEADER + 3 * 1048, [vec![1; 24], vec![0; 1024]].concat()),
        ];
        assert_eq!(commits(&ops), [5, 8, 9]);
    }
}
