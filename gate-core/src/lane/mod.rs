//! One way through one gate, as a state machine that returns effects and never acts.
//!
//! ```text
//!            Seen ──► Judge ──► Judged
//!   Idle ───────────────────────┬─ refuse ──► Refusing ─────────────────────────► Idle
//!     ▲                         ├─ ask ─────► Asking ── no, or nobody answers ──► Refusing
//!     │                         │                └──── yes ─┐
//!     │                         └─ admit ─────────────────► Recording ── Stored ──► Opening ── pulse done ──► Open
//!     └──────────── shown long enough, or through ────────────────────────────────────────────────────────────┘
//! ```
//!
//! Nothing opens before its record is stored. Two exceptions are wanted: a lane whose exit is free opens also when nothing
//! can be read or stored, and fire is latched in gate-io without asking anybody.
//! A code that stays in view is decided once, whatever else is in view; one shown again within the hold time after its
//! admission sees the same ADMIT, so that nobody who was just admitted reads "already used".
//! So does a strip of passes: one is charged, and those that were in view beside it must leave before they count.
//! Nobody is judged while the word that an opening did not happen waits to be stored: what it gives back would still be
//! read as used.
//! A part that failed, by the shell's word or because the lane saw it fail, works again only when the shell says so.
//! The barrier is different: that it did not do what was asked is seen by the lane alone, and gate-io's socket being up
//! says nothing about it. The lane goes on judging, because the next try is what shows whether it works, and shows FAULT
//! while nobody is there; a pulse that works ends the fault, and so do staff, by the shell's word or by reopening the lane.
//! A pulse of whose end nothing is heard is asked about before it is called lost; one that gate-io cut short because this
//! program stood still says nothing about the barrier, and whoever still shows the code is judged again.
//!
//! `machine` runs the lane, `records` waits for storage, `passage` is what happens between record and passage, `visit` who
//! stood there without anything coming of it, `status` what people see of it.

mod codes;
mod machine;
mod passage;
mod records;
mod status;
mod trace;
mod visit;

use serde::Serialize;

use crate::decision::{DecisionInput, Question, Refusal, Verdict};
use crate::event::{EventBody, Part};
use crate::ids::{Direction, EventId, Hash, StaffId};
use crate::occupancy::Fullness;
use crate::reason::Reason;
use crate::signals::{ScreenKind, Signal};
use crate::view::Egress;

pub use machine::Lane;

/// What is fixed about a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneSetup {
    /// In or out.
    pub direction: Direction,
    /// How one leaves, for lanes that lead out.
    pub egress: Egress,
    /// How long it opens, milliseconds.
    pub open_ms: u32,
    /// It has an input that says whether somebody stands there.
    pub presence: bool,
    /// It has an input that says whether the barrier is open.
    pub barrier: bool,
}

impl LaneSetup {
    /// Whether the lane sees somebody go through: then it tells passing from turning back.
    pub fn watches_passage(&self) -> bool {
        self.presence && self.barrier
    }
}

/// What happens to a lane.
#[derive(Clone, Debug)]
pub enum LaneEvent {
    /// The reader looked at a frame and found these codes; often none.
    Seen(Vec<Hash>),
    /// The shell decided about the code that [`Effect::Judge`] named.
    Judged {
        /// What it was decided from.
        input: Box<DecisionInput>,
        /// The verdict.
        verdict: Verdict,
    },
    /// The record with this ticket is stored.
    Stored(Ticket, EventId),
    /// The record with this ticket could not be stored.
    NotStored(Ticket),
    /// What gate-io says of a pulse.
    Pulse(PulseKey, PulseResult),
    /// What gate-io says of an opening of an earlier run, as it is to be written down.
    Settled(EventBody),
    /// An input changed.
    Input(Input, bool),
    /// Staff did something on the touchscreen.
    Staff(StaffRequest),
    /// A part failed or works again.
    Part {
        /// Which.
        part: Part,
        /// True when it works.
        working: bool,
        /// One line for the person on call.
        detail: String,
    },
    /// The zone behind the lane became more or less full.
    Zone(Fullness),
    /// The time that [`Lane::next_wake`] named has come.
    Woke,
}

/// Inputs that a lane may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// Somebody stands at the lane.
    Presence,
    /// The barrier is open.
    BarrierOpen,
    /// The exit button.
    ExitButton,
    /// The fire panel; gate-io has opened already.
    Fire,
}

/// What staff can ask of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StaffRequest {
    /// The answer to the question on the screen.
    Answer {
        /// Yes or no.
        yes: bool,
        /// The presentation that was on the screen when they tapped.
        presentation: u64,
        /// Who, where the screen knows.
        staff: Option<StaffId>,
    },
    /// Close the lane, or open it for use again.
    Close {
        /// True to close.
        closed: bool,
        /// Who.
        staff: Option<StaffId>,
    },
}

/// Links a record to what waits for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Names a pulse, so that gate-io can refuse a repeat.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PulseKey {
    /// The event that authorised it.
    Event(EventId),
    /// A free exit of which nothing could be stored: boot-unique number.
    Free(u64),
}

/// What gate-io says of a pulse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PulseResult {
    /// The relay is on.
    Started,
    /// It was on for as long as asked.
    Done,
    /// gate-io did not do it.
    Refused,
    /// gate-io is away: the command was never given.
    Away,
    /// gate-io stopped it early, because this program stood still or in a fire: perhaps the gate opened, perhaps not. The
    /// barrier is not to blame.
    CutShort,
    /// gate-io can't tell, or is gone: nobody knows whether the gate opened.
    Unknown,
}

/// What the shell must do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Read the view for this code, decide, and answer with [`LaneEvent::Judged`].
    Judge(Hash),
    /// Store this, and answer with [`LaneEvent::Stored`] or [`LaneEvent::NotStored`].
    Record(Ticket, EventBody),
    /// Ask gate-io for a pulse.
    Open {
        /// Its name.
        key: PulseKey,
        /// How long, milliseconds.
        ms: u32,
    },
    /// Ask gate-io what became of this pulse, and answer with [`LaneEvent::Pulse`].
    Inquire(PulseKey),
    /// Show this on lamps and screens.
    Show(Box<LaneStatus>),
}

/// What a lane shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LaneStatus {
    /// The kind of screen.
    pub kind: ScreenKind,
    /// Lamps and sound.
    pub signal: Signal,
    /// Why, where something is refused or asked.
    pub reason: Option<Reason>,
    /// Changes with each new verdict, so that a screen knows when to sound.
    pub presentation: u64,
    /// The holder's language is Romanian.
    pub romanian: bool,
    /// The refusal, for its details.
    pub refusal: Option<Refusal>,
    /// The question, for staff.
    pub question: Option<Question>,
    /// The parts that do not work.
    pub faults: Vec<Part>,
    /// The zone is above its warning line.
    pub near_full: bool,
}

#[cfg(test)]
mod tests;
