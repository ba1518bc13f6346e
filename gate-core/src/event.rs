//! Facts: what happened at a gate, written once by the device that saw it, before anything else is done.
//!
//! An event's canonical bytes are hashed together with the hash of the one before, so that a journal can be extended but
//! not edited. Nothing personal enters: free text only as a salted hash whose text lives in an erasable row.

use serde::{Deserialize, Serialize};

use crate::decision::{Admission, DecisionInput};
use crate::ids::{Direction, EventId, GateId, Hash, LaneId, PassId, StaffId, VenueId, ZoneId};
use crate::mutant::{self, Mutant};
use crate::occupancy::Recount;
use crate::reason::Reason;
use crate::time::{ClockAnomaly, Now};

/// The hash domain of events. Frozen.
const EVENT_DOMAIN: &str = "gateevent/1";

/// One event as it is hashed, stored and sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its name.
    pub id: EventId,
    /// Hash of the event before it; the first of an epoch names the previous epoch's head, the very first [`Hash::ZERO`].
    pub previous: Hash,
    /// The venue.
    pub venue: VenueId,
    /// The gate.
    pub gate: GateId,
    /// The lane, where one is concerned.
    pub lane: Option<LaneId>,
    /// When, by the device's clock.
    pub at: Now,
    /// What.
    pub body: EventBody,
}

/// Where a journal stands: its last event and that event's hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// The last event.
    pub event: EventId,
    /// Its hash.
    pub hash: Hash,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventBody {
    /// A journal was opened: always the first event of an epoch.
    EpochOpened {
        /// The head of the epoch before, unless this is the device's first.
        continues: Option<Head>,
        /// Name and version of the software.
        software: String,
    },
    /// A decision to let somebody through. The use and the rights are taken from this moment.
    Authorised {
        /// What it was decided from.
        input: Box<DecisionInput>,
        /// What was granted.
        admission: Admission,
        /// The recount generation each zone's count rested on, in the order of `admission.zones`.
        generations: Vec<u64>,
        /// The question that staff answered with yes, if there was one.
        confirmed: Option<Confirmation>,
    },
    /// The relay pulse of an admission or override was carried out; where barrier and lane are watched, the barrier was
    /// seen open too.
    Opened {
        /// The event that authorised it.
        of: EventId,
        /// The lane also sees whether somebody goes through, so this alone is no exit yet. Absent where false, as in all
        /// that was written before there was this field.
        #[serde(default, skip_serializing_if = "is_false")]
        watched: bool,
    },
    /// The relay pulse was not carried out, or nobody knows whether the gate opened.
    NotOpened {
        /// The event that authorised it.
        of: EventId,
        /// True if it may have opened: gate-io can't tell, or the barrier was not seen to follow the relay.
        unknown: bool,
    },
    /// Something really went through.
    Passed {
        /// The admission it belongs to, if one does. None: it followed another one, or nobody had let it in.
        of: Option<EventId>,
        /// Which way the lane leads.
        direction: Direction,
    },
    /// The admission is taken back: its use and rights are free again.
    Annulled {
        /// The event that authorised it.
        of: EventId,
    },
    /// A genuine pass was refused. Written at the first presentation of a minute.
    Refused {
        /// What it was decided from.
        input: Box<DecisionInput>,
        /// The first failing reason.
        reason: Reason,
    },
    /// Texts that are no genuine pass, and visits without any text ([`Reason::Unreadable`]). Written at the first
    /// presentation of a minute, one per reason.
    Noise {
        /// Why they are none.
        reason: Reason,
        /// SHA-256 of the first text; [`Hash::ZERO`] where there was none.
        token: Hash,
    },
    /// The event named was the first of several alike within its minute.
    Repeated {
        /// The first of them.
        of: EventId,
        /// How many more there were.
        more: u32,
    },
    /// Staff opened without an accepted pass.
    Overridden {
        /// Who.
        staff: Option<StaffId>,
        /// Why, from the venue's list.
        why: String,
        /// SHA-256(salt, free text); the text is kept in an erasable row.
        note: Option<Hash>,
        /// Which way.
        direction: Direction,
        /// The zones it leads into or out of.
        zones: Vec<ZoneId>,
        /// The recount generation of each.
        generations: Vec<u64>,
        /// The decision that was overridden.
        over: Option<EventId>,
    },
    /// The exit button opened the gate.
    ExitButton {
        /// The zones it leads out of.
        zones: Vec<ZoneId>,
        /// The recount generation of each.
        generations: Vec<u64>,
    },
    /// The fire input opened the gate, or was reset.
    Fire {
        /// True when it began.
        active: bool,
    },
    /// People counted what is really there.
    Recounted(Recount),
    /// Something broke or recovered.
    Health {
        /// What.
        part: Part,
        /// True when it works again.
        working: bool,
        /// One line for the person on call; no personal data.
        detail: String,
    },
    /// The system clock stepped.
    ClockStepped(ClockAnomaly),
    /// Staff closed or reopened the lane.
    LaneClosed {
        /// True when closed.
        closed: bool,
        /// Who.
        staff: Option<StaffId>,
    },
}

/// Staff were asked and said yes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Confirmation {
    /// What they were asked.
    pub reason: Reason,
    /// Who, where the screen knows.
    pub staff: Option<StaffId>,
}

/// A part of a gate that can fail by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The camera and its reader.
    Camera,
    /// gate-io and its lines.
    GateIo,
    /// The database.
    Storage,
    /// The wall clock.
    Clock,
    /// What gate-io moves: a pulse was refused or lost, or the barrier did not follow it. Found out by the lane itself,
    /// and mended only by a pulse that works or by staff, never by gate-io's socket coming back.
    Barrier,
}

impl Event {
    /// The canonical bytes: what is stored, sent and hashed.
    pub fn encode(&self) -> Vec<u8> {
        crate::canonical::encode(self)
    }

    /// Reads canonical bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, crate::canonical::CanonicalError> {
        crate::canonical::decode(bytes)
    }
}

/// What a body adds to the counts of its zones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted<'a> {
    /// In adds one to each zone, out takes one away.
    pub direction: Direction,
    /// The zones.
    pub zones: &'a [ZoneId],
    /// The recount generation that each zone's number rested on, in the order of `zones`.
    pub generations: &'a [u64],
}

/// What a body counts, if it counts anything: the one answer for gates and cloud.
///
/// An entry counts from this event on, because its place must be taken before anybody can drive in. An exit counts from
/// the moment that it is known to have happened ([`completes`]) or is taken back: a place that may still be filled must
/// not be given away. So a count is never lower than what is really there.
pub fn counts_of(body: &EventBody) -> Option<Counted<'_>> {
    let (direction, zones, generations) = match body {
        EventBody::Authorised { admission, generations, .. } => (admission.direction, &admission.zones, generations),
        EventBody::Overridden { direction, zones, generations, .. } => (*direction, zones, generations),
        EventBody::ExitButton { zones, generations } => (Direction::Out, zones, generations),
        EventBody::EpochOpened { .. }
        | EventBody::Opened { .. }
        | EventBody::NotOpened { .. }
        | EventBody::Passed { .. }
        | EventBody::Annulled { .. }
        | EventBody::Refused { .. }
        | EventBody::Noise { .. }
        | EventBody::Repeated { .. }
        | EventBody::Fire { .. }
        | EventBody::Recounted(_)
        | EventBody::Health { .. }
        | EventBody::ClockStepped(_)
        | EventBody::LaneClosed { .. } => return None,
    };
    Some(Counted { direction, zones, generations })
}

/// The event whose use and places a body takes back: an annulment does, and so does a pulse that certainly never moved
/// the relay. A pulse of which nobody knows takes nothing back.
///
/// It counts exactly where the event it takes back counts, and for that event's epoch: so whichever of several is heard
/// first, each actor's number only grows. Taking back twice is once.
pub fn taken_back(body: &EventBody) -> Option<EventId> {
    match body {
        EventBody::Annulled { of } => Some(*of),
        EventBody::NotOpened { of, unknown } => (!unknown || mutant::active(Mutant::UnknownIsNotDone)).then_some(*of),
        EventBody::EpochOpened { .. }
        | EventBody::Authorised { .. }
        | EventBody::Opened { .. }
        | EventBody::Passed { .. }
        | EventBody::Refused { .. }
        | EventBody::Noise { .. }
        | EventBody::Repeated { .. }
        | EventBody::Overridden { .. }
        | EventBody::ExitButton { .. }
        | EventBody::Fire { .. }
        | EventBody::Recounted(_)
        | EventBody::Health { .. }
        | EventBody::ClockStepped(_)
        | EventBody::LaneClosed { .. } => None,
    }
}

/// The earlier admission whose places an event takes over: whoever is let in to make up for an opening of which nobody knows
/// takes the place at that moment, and the first one is counted back exactly where it counted, so that a recount between
/// the two makes no difference. Its use stays taken. Only of its own device: nobody gives back what another one counted.
pub fn takes_over(event: &Event) -> Option<EventId> {
    let EventBody::Authorised { admission, .. } = &event.body else { return None };
    // Without zones it takes no place, so it leaves the first one's.
    admission.reopens.filter(|first| first.device == event.id.device && !admission.zones.is_empty())
}

/// The opening of which a body says that it happened, for an opening that leads this way: a place is free when somebody
/// has left, and where the lane watches its passage that is seen; it is taken when the way in was open.
pub fn completes(body: &EventBody, direction: Direction) -> Option<EventId> {
    match (body, direction) {
        (EventBody::Opened { of, watched: false }, _)
        | (EventBody::Opened { of, watched: true }, Direction::In)
        | (EventBody::Passed { of: Some(of), .. }, Direction::Out) => Some(*of),
        (_, Direction::In | Direction::Out) => None,
    }
}

/// The pass that a body lets through, if it names one: the pass whose uses it belongs to.
pub fn pass_of(body: &EventBody) -> Option<&PassId> {
    match body {
        EventBody::Authorised { admission, .. } => admission.pass.as_ref(),
        EventBody::EpochOpened { .. }
        | EventBody::Opened { .. }
        | EventBody::NotOpened { .. }
        | EventBody::Passed { .. }
        | EventBody::Annulled { .. }
        | EventBody::Refused { .. }
        | EventBody::Noise { .. }
        | EventBody::Repeated { .. }
        | EventBody::Overridden { .. }
        | EventBody::ExitButton { .. }
        | EventBody::Fire { .. }
        | EventBody::Recounted(_)
        | EventBody::Health { .. }
        | EventBody::ClockStepped(_)
        | EventBody::LaneClosed { .. } => None,
    }
}

/// Who answers for an opening.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opener {
    /// The gate by itself.
    Gate,
    /// Staff: by saying yes to a question, or against the gate's verdict. `None` where the screen does not know whom.
    Staff(Option<StaffId>),
    /// Whoever pressed the exit button.
    Button,
}

impl std::fmt::Display for Opener {
    /// `auto`, `staff`, the id of the member of staff, or `button`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gate => f.write_str("auto"),
            Self::Staff(None) => f.write_str("staff"),
            Self::Staff(Some(staff)) => staff.fmt(f),
            Self::Button => f.write_str("button"),
        }
    }
}

/// Who answers for the opening that a body authorises; `None` if it authorises none.
pub fn actor_of(body: &EventBody) -> Option<Opener> {
    match body {
        EventBody::Authorised { confirmed: None, .. } => Some(Opener::Gate),
        EventBody::Authorised { confirmed: Some(confirmed), .. } => Some(Opener::Staff(confirmed.staff)),
        EventBody::Overridden { staff, .. } => Some(Opener::Staff(*staff)),
        EventBody::ExitButton { .. } => Some(Opener::Button),
        EventBody::EpochOpened { .. }
        | EventBody::Opened { .. }
        | EventBody::NotOpened { .. }
        | EventBody::Passed { .. }
        | EventBody::Annulled { .. }
        | EventBody::Refused { .. }
        | EventBody::Noise { .. }
        | EventBody::Repeated { .. }
        | EventBody::Fire { .. }
        | EventBody::Recounted(_)
        | EventBody::Health { .. }
        | EventBody::ClockStepped(_)
        | EventBody::LaneClosed { .. } => None,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The hash of an event's canonical bytes.
pub fn hash(bytes: &[u8]) -> Hash {
    Hash::of(EVENT_DOMAIN, bytes)
}

/// SHA-256 of a salt and a free text: what enters the chain in place of the text.
pub fn note_hash(salt: &[u8; 16], text: &str) -> Hash {
    let mut bytes = salt.to_vec();
    bytes.extend_from_slice(text.as_bytes());
    Hash::of("gatenote/1", &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{LOT, admission, event_id, input};

    fn authorised() -> EventBody {
        EventBody::Authorised {
            input: Box::new(input()),
            admission: admission(),
            generations: vec![2],
            confirmed: None,
        }
    }

    fn overridden(direction: Direction) -> EventBody {
        let (zones, generations) = (vec![LOT], vec![3]);
        EventBody::Overridden { staff: None, why: "lost".into(), note: None, direction, zones, generations, over: None }
    }

    fn exit_button() -> EventBody {
        EventBody::ExitButton { zones: vec![LOT], generations: vec![4] }
    }

    #[test]
    fn what_each_body_counts_and_takes_back() {
        let of = event_id(5);
        let counts = |direction, generation| Some((direction, vec![LOT], vec![generation]));
        for (name, body, counted, back) in [
            ("authorised", authorised(), counts(Direction::In, 2), None),
            ("override in", overridden(Direction::In), counts(Direction::In, 3), None),
            ("override out", overridden(Direction::Out), counts(Direction::Out, 3), None),
            ("exit button", exit_button(), counts(Direction::Out, 4), None),
            ("annulled", EventBody::Annulled { of }, None, Some(of)),
            ("never moved", EventBody::NotOpened { of, unknown: false }, None, Some(of)),
            ("perhaps moved", EventBody::NotOpened { of, unknown: true }, None, None),
            ("opened", EventBody::Opened { of, watched: false }, None, None),
            ("passed", EventBody::Passed { of: Some(of), direction: Direction::In }, None, None),
            ("repeated", EventBody::Repeated { of, more: 2 }, None, None),
            ("fire", EventBody::Fire { active: true }, None, None),
        ] {
            let found = counts_of(&body).map(|c| (c.direction, c.zones.to_vec(), c.generations.to_vec()));
            assert_eq!(found, counted, "{name}");
            assert_eq!(taken_back(&body), back, "{name}");
        }
    }

    #[test]
    fn every_opening_has_somebody_who_answers_for_it() {
        let staff = StaffId(uuid::Uuid::from_u128(0x51));
        let confirmed = |staff| {
            let confirmed = Some(Confirmation { reason: Reason::Attention, staff });
            let (input, admission) = (Box::new(input()), admission());
            EventBody::Authorised { input, admission, generations: vec![2], confirmed }
        };
        let over = |staff| {
            let (zones, generations, direction) = (vec![LOT], vec![3], Direction::In);
            EventBody::Overridden { staff, why: "lost".into(), note: None, direction, zones, generations, over: None }
        };
        let of = event_id(5);
        let id = staff.to_string();
        for (name, body, opener, text) in [
            ("by itself", authorised(), Some(Opener::Gate), Some("auto")),
            ("staff said yes", confirmed(Some(staff)), Some(Opener::Staff(Some(staff))), Some(id.as_str())),
            ("somebody said yes", confirmed(None), Some(Opener::Staff(None)), Some("staff")),
            ("against the verdict", over(Some(staff)), Some(Opener::Staff(Some(staff))), Some(id.as_str())),
            ("exit button", exit_button(), Some(Opener::Button), Some("button")),
            ("a pulse is no decision", EventBody::Opened { of, watched: false }, None, None),
            ("nor a passage", EventBody::Passed { of: None, direction: Direction::In }, None, None),
        ] {
            assert_eq!(actor_of(&body), opener, "{name}");
            assert_eq!(opener.map(|opener| opener.to_string()).as_deref(), text, "{name}");
            assert_eq!(pass_of(&body).is_some(), matches!(body, EventBody::Authorised { .. }), "{name}");
            // What names the opener is part of the bytes that travel, so it arrives as it was written.
            let event = Event {
                id: of,
                previous: Hash::ZERO,
                venue: crate::examples::VENUE,
                gate: crate::examples::ENTRANCE,
                lane: None,
                at: crate::examples::noon(),
                body,
            };
            assert_eq!(actor_of(&Event::decode(&event.encode()).unwrap().body), opener, "{name}");
        }
    }
}
