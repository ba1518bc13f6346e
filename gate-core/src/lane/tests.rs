//! Scripts: what happens to a lane, one line each, and everything it does about it.
//!
//! A line is a time (milliseconds), an event, and what must follow. Effects are written short: `judge A`,
//! `record authorised #0`, `open 1 800ms`, `show admit green`. Every effect of every line is compared, so that nothing
//! happens unseen. Records are numbered as they are asked for; the event of record `n` has the sequence number `n`.

mod counted;
mod hand_lost;
mod in_view;
mod invariants;
mod same_pass;
mod scripts;
mod visits;
mod watched;

use super::*;
use crate::decision::{Admission, Refusal};
use crate::event::Confirmation;
use crate::examples::*;
use crate::pass::Finding;
use crate::signals::Lamp;
use crate::time::Now;
use crate::view::Readiness;

/// Something that happens in a script.
#[derive(Clone, Debug)]
enum Do {
    /// These codes are in the frame.
    See(&'static str),
    /// The verdict about a code.
    Admits(char),
    /// In place of the admission of record 0, whose opening is unknown.
    AdmitsAgain(char),
    Refuses(char, Reason),
    Asks(char, Reason),
    /// Record `n` is stored, or not.
    Stored(u64),
    NotStored(u64),
    /// What gate-io says of the pulse for record `n`.
    Pulse(u64, PulseResult),
    FreePulse(u64, PulseResult),
    Sensor(Input, bool),
    Answer(bool, u64),
    Close(bool),
    Fails(Part),
    Works(Part),
    Zone(Fullness),
    Wake,
}

/// Where a lane's numbering begins in tests: numbers of free pulses and of tickets are told apart from small ones.
const FIRST: u64 = 1_000;

fn code(name: char) -> Hash {
    Hash([name as u8; 32])
}

fn input_of(name: char) -> Box<DecisionInput> {
    let mut input = input();
    input.pass.token = code(name);
    let mut claims = claims();
    claims.cti = crate::ids::Cti([name as u8; 16]);
    input.pass.finding = Finding::Genuine { claims, kid: KID };
    Box::new(input)
}

fn admission_of(name: char, direction: Direction) -> Admission {
    let input = input_of(name);
    let Finding::Genuine { claims, .. } = &input.pass.finding else { panic!("genuine") };
    Admission { pass: Some(claims.id()), direction, ..admission() }
}

fn refusal_of(name: char, reason: Reason) -> (Box<DecisionInput>, Refusal) {
    let mut input = input_of(name);
    let mut pass = admission_of(name, Direction::In).pass;
    if reason <= Reason::IssuerRevoked {
        input.pass.finding = Finding::Defective(crate::pass::Defect::NotAPass);
        pass = None;
    }
    (input, Refusal { reason, pass, last: None, right_gates: vec![], romanian: false })
}

fn event(what: Do, direction: Direction) -> LaneEvent {
    let judged = |input, verdict| LaneEvent::Judged { input, verdict };
    let ticket = |n: u64| Ticket(FIRST + n);
    match what {
        Do::See(codes) => LaneEvent::Seen(codes.chars().map(code).collect()),
        Do::Admits(name) => judged(input_of(name), Verdict::Admit(admission_of(name, direction))),
        Do::AdmitsAgain(name) => {
            let admission = Admission { reopens: Some(event_id(0)), ..admission_of(name, direction) };
            judged(input_of(name), Verdict::Admit(admission))
        }
        Do::Refuses(name, reason) => {
            let (input, refusal) = refusal_of(name, reason);
            judged(input, Verdict::Refuse(refusal))
        }
        Do::Asks(name, reason) => {
            let admission = admission_of(name, direction);
            let question = Question { reason, also: vec![], text: None, last: None, admission };
            judged(input_of(name), Verdict::Ask(question))
        }
        Do::Stored(n) => LaneEvent::Stored(ticket(n), event_id(n)),
        Do::NotStored(n) => LaneEvent::NotStored(ticket(n)),
        Do::Pulse(n, result) => LaneEvent::Pulse(PulseKey::Event(event_id(n)), result),
        Do::FreePulse(n, result) => LaneEvent::Pulse(PulseKey::Free(FIRST + n), result),
        Do::Sensor(input, active) => LaneEvent::Input(input, active),
        Do::Answer(yes, presentation) => LaneEvent::Staff(StaffRequest::Answer { yes, presentation, staff: None }),
        Do::Close(closed) => LaneEvent::Staff(StaffRequest::Close { closed, staff: None }),
        Do::Fails(part) => LaneEvent::Part { part, working: false, detail: String::new() },
        Do::Works(part) => LaneEvent::Part { part, working: true, detail: String::new() },
        Do::Zone(fullness) => LaneEvent::Zone(fullness),
        Do::Wake => LaneEvent::Woke,
    }
}

fn body_text(body: &EventBody) -> String {
    match body {
        EventBody::Authorised { confirmed, .. } => match confirmed {
            Some(Confirmation { reason, .. }) => format!("authorised, asked {reason}"),
            None => "authorised".into(),
        },
        EventBody::Opened { of, .. } => format!("opened {}", of.seq),
        EventBody::NotOpened { of, unknown: true } => format!("not opened {}, unknown", of.seq),
        EventBody::NotOpened { of, unknown: false } => format!("not opened {}", of.seq),
        EventBody::Passed { of, .. } => format!("passed {:?}", of.map(|of| of.seq)),
        EventBody::Annulled { of } => format!("annulled {}", of.seq),
        EventBody::Refused { reason, .. } => format!("refused {reason}"),
        EventBody::Noise { reason, .. } => format!("noise {reason}"),
        EventBody::Repeated { of, more } => format!("repeated {} x{more}", of.seq),
        EventBody::ExitButton { .. } => "exit button".into(),
        EventBody::Fire { active } => format!("fire {active}"),
        EventBody::Health { part, working, .. } => format!("health {part:?} {working}"),
        EventBody::LaneClosed { closed, .. } => format!("closed {closed}"),
        EventBody::EpochOpened { .. }
        | EventBody::Overridden { .. }
        | EventBody::Recounted(_)
        | EventBody::ClockStepped(_) => panic!("a lane does not write {body:?}"),
    }
}

fn effect_text(effect: &Effect) -> String {
    match effect {
        Effect::Judge(hash) => format!("judge {}", char::from(hash.0[0])),
        Effect::Record(ticket, body) => format!("record {} #{}", body_text(body), ticket.0 - FIRST),
        Effect::Open { key: PulseKey::Event(event), ms } => format!("open {} {ms}ms", event.seq),
        Effect::Open { key: PulseKey::Free(n), ms } => format!("open free {} {ms}ms", n - FIRST),
        Effect::Inquire(PulseKey::Event(event)) => format!("inquire {}", event.seq),
        Effect::Inquire(PulseKey::Free(n)) => format!("inquire free {}", n - FIRST),
        Effect::Show(status) => {
            let reason = status.reason.map_or(String::new(), |reason| format!(" {reason}"));
            let lamp = format!("{:?}", status.signal.lamp).to_lowercase();
            format!("show {:?} {lamp}{reason} p{}", status.kind, status.presentation).to_lowercase()
        }
    }
}

/// A lane and its clock.
struct Rig {
    lane: Lane,
    direction: Direction,
}

fn entrance_setup() -> LaneSetup {
    LaneSetup { direction: Direction::In, egress: Egress::Scan, open_ms: 800, presence: false, barrier: false }
}

/// A lane that watches the passage.
fn watched_setup() -> LaneSetup {
    LaneSetup { presence: true, barrier: true, ..entrance_setup() }
}

fn free_exit_setup() -> LaneSetup {
    LaneSetup { direction: Direction::Out, egress: Egress::Free, ..entrance_setup() }
}

fn at(ms: u64) -> Now {
    Now { mono_us: ms * 1000, ..noon() }
}

impl Rig {
    fn new(setup: LaneSetup) -> Self {
        Self { lane: Lane::new(setup, FIRST), direction: setup.direction }
    }

    fn handle(&mut self, ms: u64, what: Do) -> Vec<String> {
        let effects = self.lane.handle(event(what, self.direction), at(ms));
        effects.iter().map(effect_text).collect()
    }
}

/// Plays a script on a lane: (milliseconds, event, every effect).
fn check(name: &str, setup: LaneSetup, script: &[(u64, Do, &[&str])]) -> Rig {
    let mut rig = Rig::new(setup);
    for (line, (ms, what, expected)) in script.iter().enumerate() {
        let effects = rig.handle(*ms, what.clone());
        assert_eq!(effects, *expected, "{name}, line {line}: {what:?} at {ms} ms");
    }
    rig
}
