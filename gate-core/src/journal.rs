//! A device's hash-chained events: writing the next one, and finding the first that is wrong.

use crate::event::{self, Event, EventBody, Head};
use crate::ids::{DeviceId, EventId, GateId, Hash, LaneId, VenueId};
use crate::mutant::{self, Mutant};
use crate::time::Now;

/// The writing end of a journal, positioned after its last event. One per opening: it begins a new epoch.
#[derive(Clone, Debug)]
pub struct Journal {
    venue: VenueId,
    gate: GateId,
    device: DeviceId,
    epoch: u64,
    next: u64,
    head: Hash,
}

/// An event that is ready to be stored.
#[derive(Clone, Debug)]
pub struct SealedEvent {
    /// The event.
    pub event: Event,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
    /// Their hash.
    pub hash: Hash,
}

impl Journal {
    /// Opens a new epoch (random, below 2^63) after the head that storage holds, and gives the event that must be
    /// stored first.
    pub fn open(
        (venue, gate, device): (VenueId, GateId, DeviceId),
        epoch: u64,
        continues: Option<Head>,
        software: String,
        now: Now,
    ) -> (Self, SealedEvent) {
        let head = continues.map_or(Hash::ZERO, |head| head.hash);
        let mut journal = Self { venue, gate, device, epoch, next: 0, head };
        let first = journal.append(None, now, EventBody::EpochOpened { continues, software });
        (journal, first)
    }

    /// Seals the next event. If it can't be stored, continue with the journal as it was before (`clone` it first).
    pub fn append(&mut self, lane: Option<LaneId>, now: Now, body: EventBody) -> SealedEvent {
        let id = EventId { device: self.device, epoch: self.epoch, seq: self.next };
        let previous = if mutant::active(Mutant::UnlinkedChain) { Hash::ZERO } else { self.head };
        let event = Event { id, previous, venue: self.venue, gate: self.gate, lane, at: now, body };
        let bytes = event.encode();
        let hash = event::hash(&bytes);
        self.next += 1;
        self.head = hash;
        SealedEvent { event, bytes, hash }
    }

    /// The epoch this opening writes.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Where the journal stands.
    pub fn head(&self) -> Head {
        Head {
            event: EventId { device: self.device, epoch: self.epoch, seq: self.next.saturating_sub(1) },
            hash: self.head,
        }
    }
}

/// What is wrong with a journal, at its first wrong event.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JournalError {
    /// The bytes are not an event.
    #[error("event {at} is damaged: {why}")]
    Damaged {
        /// Position from the start of what was checked, or the id the store gave it.
        at: String,
        /// What is wrong.
        why: String,
    },
    /// The event is not the one that belongs there.
    #[error("event {found} stands where {expected} belongs: events are missing or out of order")]
    Missing {
        /// What should stand there.
        expected: String,
        /// What does.
        found: EventId,
    },
    /// The event does not follow the one before it.
    #[error("event {at} does not follow the event before it: one of the two was changed")]
    BrokenLink {
        /// The event whose link is broken.
        at: EventId,
    },
    /// The journal ends before a head that was signed or acknowledged.
    #[error("the journal ends at {found}, but {expected} was acknowledged: its tail is missing")]
    TailMissing {
        /// The acknowledged head.
        expected: EventId,
        /// The last event that is there.
        found: String,
    },
    /// An acknowledged event has another hash: history was rewritten.
    #[error("event {at} is not the one that was acknowledged: history was rewritten")]
    Rewritten {
        /// The event.
        at: EventId,
    },
}

/// Checks a journal event by event.
#[derive(Clone, Debug)]
pub struct Verifier {
    device: Option<DeviceId>,
    last: Option<Head>,
    /// Where pruning left off; the first event must follow it.
    start: Option<Head>,
    acknowledged: Vec<Head>,
    count: u64,
}

impl Verifier {
    /// Begins at the journal's start, or after the head that a signed pruning receipt names. `acknowledged` are heads
    /// that the cloud signed for; all must be found.
    pub fn new(start: Option<Head>, acknowledged: Vec<Head>) -> Self {
        Self { device: None, last: start, start, acknowledged, count: 0 }
    }

    /// Checks the next event.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Event, JournalError> {
        let at = || self.last.map_or_else(|| "0 (the first)".to_owned(), |head| format!("after {}", head.event));
        let event = Event::decode(bytes).map_err(|e| JournalError::Damaged { at: at(), why: e.to_string() })?;
        let id = event.id;
        let opens = matches!(event.body, EventBody::EpochOpened { .. });
        let fits = match self.last {
            None => opens && id.seq == 0,
            Some(last) if last.event.epoch == id.epoch => last.event.seq.checked_add(1) == Some(id.seq) && !opens,
            Some(_) => opens && id.seq == 0,
        };
        if !fits || self.device.is_some_and(|device| device != id.device) {
            return Err(JournalError::Missing { expected: at(), found: id });
        }
        let expected = self.last.map_or(Hash::ZERO, |head| head.hash);
        let named =
            if let EventBody::EpochOpened { continues, .. } = &event.body { *continues == self.last } else { true };
        // After pruning, the first epoch event names a head that is the receipt's.
        if event.previous != expected || !named {
            return Err(JournalError::BrokenLink { at: id });
        }
        let hash = event::hash(bytes);
        if let Some(position) = self.acknowledged.iter().position(|head| head.event == id) {
            if self.acknowledged[position].hash != hash {
                return Err(JournalError::Rewritten { at: id });
            }
            self.acknowledged.swap_remove(position);
        }
        self.device = Some(id.device);
        self.last = Some(Head { event: id, hash });
        self.count += 1;
        Ok(event)
    }

    /// Ends the check: how many events there were and where the journal stands.
    pub fn finish(self) -> Result<(u64, Option<Head>), JournalError> {
        let before_start = |head: &Head| self.start.is_some_and(|start| start == *head);
        if let Some(missing) = self.acknowledged.iter().find(|head| !before_start(head)) {
            return Err(JournalError::TailMissing {
                expected: missing.event,
                found: self.last.map_or_else(|| "nothing".to_owned(), |head| head.event.to_string()),
            });
        }
        Ok((self.count, self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Part;
    use crate::ids::BootId;
    use crate::time::Trust;
    use uuid::Uuid;

    fn now(n: i64) -> Now {
        Now { wall_ms: n, mono_us: n as u64, boot: BootId(Uuid::from_u128(9)), trust: Trust::Ntp }
    }

    fn health(n: i64) -> EventBody {
        EventBody::Health { part: Part::Camera, working: n % 2 == 0, detail: format!("{n}") }
    }

    /// Two epochs of five events each.
    fn journal() -> Vec<SealedEvent> {
        let ids = (VenueId(Uuid::from_u128(1)), GateId(Uuid::from_u128(2)), DeviceId(Uuid::from_u128(3)));
        let (mut first, opened) = Journal::open(ids, 77, None, "test".into(), now(0));
        let mut events = vec![opened];
        for n in 1..5 {
            events.push(first.append(None, now(n), health(n)));
        }
        let (mut second, opened) = Journal::open(ids, 78, Some(first.head()), "test".into(), now(5));
        events.push(opened);
        for n in 6..10 {
            events.push(second.append(None, now(n), health(n)));
        }
        events
    }

    fn verify(bytes: &[Vec<u8>], acknowledged: Vec<Head>) -> Result<u64, JournalError> {
        let mut verifier = Verifier::new(None, acknowledged);
        for event in bytes {
            verifier.next(event)?;
        }
        verifier.finish().map(|(count, _)| count)
    }

    #[test]
    fn an_untouched_journal_verifies() {
        let events = journal();
        let bytes: Vec<_> = events.iter().map(|e| e.bytes.clone()).collect();
        let heads = events.iter().map(|e| Head { event: e.event.id, hash: e.hash }).collect();
        assert_eq!(verify(&bytes, heads), Ok(10));
    }

    #[test]
    fn every_tampering_is_found_and_the_first_bad_event_is_named() {
        let events = journal();
        let bytes: Vec<_> = events.iter().map(|e| e.bytes.clone()).collect();
        let last = Head { event: events[9].event.id, hash: events[9].hash };
        for at in 0..10 {
            let mut removed = bytes.clone();
            removed.remove(at);
            let error = verify(&removed, vec![last]).unwrap_err();
            if at == 9 {
                assert!(matches!(error, JournalError::TailMissing { .. }), "tail: {error}");
            } else {
                let next = events[at + 1].event.id;
                let named = match &error {
                    JournalError::Missing { found, .. } => Some(*found),
                    JournalError::BrokenLink { at } => Some(*at),
                    JournalError::Damaged { .. }
                    | JournalError::TailMissing { .. }
                    | JournalError::Rewritten { .. } => None,
                };
                assert_eq!(named, Some(next), "removed {at}: {error}");
            }
            if at < 9 {
                let mut swapped = bytes.clone();
                swapped.swap(at, at + 1);
                assert!(verify(&swapped, vec![last]).is_err(), "swapped {at}");
            }
            // An edit that is itself a proper event breaks the next link, or the acknowledged head.
            if let EventBody::Health { .. } = events[at].event.body {
                let mut edited = events[at].event.clone();
                edited.body = health(100);
                let mut changed = bytes.clone();
                changed[at] = edited.encode();
                let error = verify(&changed, vec![last]).unwrap_err();
                if at == 9 {
                    assert_eq!(error, JournalError::Rewritten { at: events[9].event.id });
                } else {
                    assert_eq!(error, JournalError::BrokenLink { at: events[at + 1].event.id }, "edited {at}");
                }
            }
        }
        assert!(matches!(verify(&[], vec![last]), Err(JournalError::TailMissing { .. })), "whole journal gone");
    }

    #[test]
    fn a_pruned_journal_verifies_from_its_receipt() {
        let events = journal();
        let receipt = Head { event: events[4].event.id, hash: events[4].hash };
        let mut verifier = Verifier::new(Some(receipt), vec![receipt]);
        for event in &events[5..] {
            verifier.next(&event.bytes).unwrap();
        }
        assert_eq!(verifier.finish().unwrap().0, 5);
    }

    #[test]
    fn forks_strangers_and_absurd_numbers_are_found() {
        let events = journal();
        let head = |at: usize| Head { event: events[at].event.id, hash: events[at].hash };
        let after = |at: usize, change: fn(&mut Event)| {
            let mut next = events[at + 1].event.clone();
            change(&mut next);
            Verifier::new(Some(head(at)), vec![]).next(&next.encode()).map(|_| ())
        };
        assert_eq!(after(1, |_| {}), Ok(()));
        let missing = |result| matches!(result, Err(JournalError::Missing { .. }));
        assert!(missing(after(1, |event| event.id.seq = u64::MAX)));
        assert!(missing(after(1, |event| event.id.epoch = 99)), "a new epoch must be opened");
        assert!(missing(after(4, |event| event.id.epoch = 77)), "an epoch is not opened twice in a row");
        let last = Head { event: EventId { seq: u64::MAX, ..events[1].event.id }, hash: events[1].hash };
        assert!(missing(Verifier::new(Some(last), vec![]).next(&events[2].bytes).map(|_| ())));
        // Another device's event does not continue this journal, even if it names the right predecessor.
        let mut verifier = Verifier::new(None, vec![]);
        verifier.next(&events[0].bytes).unwrap();
        let mut stranger = events[1].event.clone();
        stranger.id.device = DeviceId(Uuid::from_u128(99));
        assert!(missing(verifier.next(&stranger.encode()).map(|_| ())));
        // The opening of an epoch names the head before it twice: in its link and in its body.
        let lies = |event: &mut Event| event.body = EventBody::EpochOpened { continues: None, software: "x".into() };
        assert_eq!(after(4, lies), Err(JournalError::BrokenLink { at: events[5].event.id }));
        let cut = &events[3].bytes[..20];
        assert!(matches!(Verifier::new(Some(head(2)), vec![]).next(cut), Err(JournalError::Damaged { .. })));
    }
}
