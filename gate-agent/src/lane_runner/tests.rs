//! The runner without eye and hand: what it makes of what the replica says.

use std::cell::RefCell;
use std::rc::Rc;

use gate_core::ids::{Direction, EventId};
use gate_core::lane::StaffRequest;
use gate_core::signals::ScreenKind;
use gate_core::statement::{DeviceKey, StatementBody, TimeReset};
use gate_core::sync::v1::{Change, PullReply};

use serde_bytes::ByteBuf;

use super::*;
use crate::replica::Replica;
use crate::replica::testing::{DEVICE, Folder, GATE, T0, Venue, at, gate_row, open};
use crate::sync::SignedMoment;

/// Ports with a writer behind them, and no hand.
#[derive(Clone)]
struct Handless(Rc<RefCell<Replica>>);

impl Ports for Handless {
    fn clocks(&self) -> ClockReading {
        ClockReading { system_ms: crate::clock::system_ms(), mono_us: crate::clock::mono_us(), ntp: false }
    }
    fn pulse(&self, _name: &str, _ms: u32) -> Result<(), IoDown> {
        Err(IoDown)
    }
    fn query(&self, _name: &str) {}
    fn lamps(&self, _pattern: Pattern) {}
    fn alive(&self) {}
    fn store(&self, job: Job) {
        job.carry_out(&mut self.0.borrow_mut());
    }
}

/// A runner whose eye and hand are not there, and which nobody has told so.
struct Desk {
    folder: Folder,
    venue: Venue,
    runner: Runner<Handless>,
    writer: Rc<RefCell<Replica>>,
    facts: watch::Receiver<Facts>,
}

impl Desk {
    fn new() -> Self {
        let folder = Folder::new("runner");
        let venue = Venue::new();
        let mut replica = open(&folder.db(), 1);
        replica.set_identity(&venue.identity(), &venue.enrolled(), at(0)).unwrap();
        let reader = replica.reader().unwrap();
        let (facts, facts_seen) = watch::channel(Facts::default());
        let inputs = LaneInputs { presence: false, barrier: false };
        let writer = Rc::new(RefCell::new(replica));
        let known = Known { replica: reader, inputs, time: TimeKeeper::new(crate::clock::boot_id(), 0), facts };
        let mut runner = Runner::new(known, Handless(writer.clone()));
        runner.begin();
        Self { folder, venue, runner, writer, facts: facts_seen }
    }

    /// With what a venue says about a gate.
    fn set_up() -> Self {
        let mut desk = Self::new();
        let basics = desk.venue.basics();
        let reply = desk.venue.reply(basics, 1);
        desk.told(reply);
        desk
    }

    /// The venue's word that signed time was wrong, as the cloud brings it.
    fn time_was_wrong(&mut self, floor_ms: i64) -> PullReply {
        let word = StatementBody::Time(TimeReset { floor_ms });
        let change = Change::Statement(ByteBuf::from(self.venue.statement(30, word)));
        self.venue.reply(vec![change], floor_ms)
    }

    /// The venue's key says what time it is.
    fn signed(&mut self, ms: i64) {
        self.runner.signed(SignedMoment { ms, heard_us: crate::clock::mono_us() });
    }

    /// When the journal's newest event was written.
    fn newest_at(&self) -> Now {
        self.writer.borrow().newest_at().unwrap().unwrap()
    }

    fn told(&mut self, reply: PullReply) {
        self.writer.borrow_mut().apply(&reply, at(0)).unwrap();
        self.runner.replica_changed();
    }

    fn shows(&self) -> ScreenKind {
        self.facts.borrow().lane.as_ref().unwrap().kind
    }

    /// Holds a picture of something in front of the eye.
    fn hold_up(&mut self, text: &str) {
        let texts = vec![text.to_owned()];
        self.runner.eye(ReaderEvent::Seen { frame: 1, captured_mono_us: 1, decode_us: 1, texts, luma_mean: 90 });
    }

    /// How many events the journal holds.
    fn events(&self) -> u64 {
        let reader = crate::replica::ReplicaReader::open(&self.folder.db()).unwrap();
        crate::journal_check::check(&reader).unwrap().events
    }
}

#[test]
fn a_gate_that_is_not_set_up_shows_fault_and_writes_nothing() {
    let mut desk = Desk::new();
    let mut incomplete = {
        let basics = desk.venue.basics();
        desk.venue.reply(basics, 1)
    };
    incomplete.as_of = None;
    for reply in [None, Some(incomplete)] {
        if let Some(reply) = reply {
            desk.told(reply);
        }
        // The camera's first frame is an event of its own.
        desk.hold_up("GP1:X");
        let before = desk.events();
        for _ in 0..20 {
            desk.hold_up("GP1:X");
            desk.runner.beat();
        }
        assert_eq!(desk.shows(), ScreenKind::Fault);
        assert!(desk.facts.borrow().not_deciding.is_some());
        assert_eq!(desk.events(), before, "no news is no event");
    }
    let complete = desk.venue.reply(vec![], 1);
    desk.told(complete);
    assert_eq!((desk.shows(), desk.facts.borrow().not_deciding.clone()), (ScreenKind::Idle, None));
    let before = desk.events();
    desk.hold_up("GP1:X");
    assert_eq!(desk.shows(), ScreenKind::Deny, "the code that stayed is judged now");
    assert_eq!(desk.events(), before + 1);
}

#[test]
fn new_settings_change_nothing_that_the_lane_knows() {
    let mut desk = Desk::set_up();
    desk.runner.feed(LaneEvent::Staff(StaffRequest::Close { closed: true, staff: None }));
    desk.runner.feed(LaneEvent::Part { part: Part::GateIo, working: false, detail: "socket".to_owned() });
    let before = desk.runner.lane.status();
    let row = GateRow { open_ms: 1500, ..gate_row(GATE, "North again", gate_core::ids::Direction::In) };
    let reply = desk.venue.reply(vec![Change::Gate(row)], 2);
    desk.told(reply);
    assert_eq!(desk.runner.gate.as_ref().unwrap().open_ms, 1500);
    assert_eq!(desk.runner.lane.status(), before);
    // Nor does the beat mend what only the hand can say.
    desk.runner.beat();
    assert_eq!(desk.runner.lane.status().faults, [Part::GateIo]);
}

#[test]
fn a_withdrawn_device_lets_nobody_in() {
    let mut desk = Desk::set_up();
    assert_eq!(desk.shows(), ScreenKind::Idle);
    let key = gate_core::keys::PublicKey::from(&desk.venue.device_key);
    let body = StatementBody::Device(DeviceKey { device: DEVICE, gate: GATE, key, revoked: true });
    let word = desk.venue.statement(9, body);
    assert!(desk.writer.borrow_mut().hear_withdrawal(&word).unwrap());
    desk.runner.replica_changed();
    assert_eq!(desk.shows(), ScreenKind::Fault);
    assert!(desk.facts.borrow().not_deciding.as_ref().unwrap().why.contains("withdrawn"));
    desk.runner.feed(LaneEvent::Input(Input::Fire, true));
    assert_eq!(desk.shows(), ScreenKind::Fire, "fire is nobody's to refuse");
}

#[test]
fn what_cannot_be_read_is_tried_again_and_blames_no_part() {
    let mut desk = Desk::set_up();
    let before = desk.events();
    desk.runner.cannot_read("bad sectors", Some("GP1:X".to_owned()));
    desk.runner.beat();
    desk.runner.replica_changed();
    assert_eq!(desk.shows(), ScreenKind::Fault, "nothing but a read that is due ends it");
    assert_eq!(desk.events(), before);
    desk.runner.unreadable = Some(Unreadable { retry: Retry::after(0), text: Some("GP1:X".to_owned()) });
    desk.runner.beat();
    assert_eq!(desk.shows(), ScreenKind::Idle);
    assert_eq!(desk.events(), before, "reading well again is no event either");
}

/// Ports that do nothing but remember which lamps were lit; records are stored when the test says so.
#[derive(Clone, Default)]
struct Watched(Rc<RefCell<Scene>>);

#[derive(Default)]
struct Scene {
    us: u64,
    lamps: Vec<Pattern>,
    tickets: Vec<Ticket>,
    /// How often storage was asked what is not settled, and tried.
    unsettled: u32,
    probes: u32,
    /// What the hand was asked about.
    queries: Vec<String>,
}

impl Ports for Watched {
    fn clocks(&self) -> ClockReading {
        ClockReading { system_ms: T0, mono_us: self.0.borrow().us, ntp: true }
    }
    fn pulse(&self, _name: &str, _ms: u32) -> Result<(), IoDown> {
        Ok(())
    }
    fn query(&self, name: &str) {
        self.0.borrow_mut().queries.push(name.to_owned());
    }
    fn lamps(&self, pattern: Pattern) {
        self.0.borrow_mut().lamps.push(pattern);
    }
    fn alive(&self) {}
    fn store(&self, job: Job) {
        let mut scene = self.0.borrow_mut();
        match job {
            Job::Record { ticket: Some(ticket), .. } => scene.tickets.push(ticket),
            Job::Unsettled => scene.unsettled += 1,
            Job::Probe { .. } => scene.probes += 1,
            Job::Record { ticket: None, .. } | Job::RaiseFloor { .. } | Job::ResetZones { .. } => {}
        }
    }
}

/// A pass of the venue's only vendor.
fn good_pass() -> String {
    let claims = gate_core::pass::Claims {
        vendor: "V1".parse().unwrap(),
        venue: "BC".parse().unwrap(),
        not_before: T0 / 1000 - 3600,
        expires: T0 / 1000 + 3600,
        cti: gate_core::ids::Cti([7; 16]),
        product: 0,
        flags: gate_core::pass::PassFlags::default(),
        subject: None,
    };
    let key = ed25519_dalek::SigningKey::from_bytes(&[6; 32]);
    gate_core::pass::issue(&claims, gate_core::ids::Kid([1, 2, 3, 4]), &key, gate_core::pass::VISITOR_LIMIT).unwrap()
}

/// A runner of a gate that is set up, its ports, and what its screens show.
fn watched(folder: &Folder, presence: bool) -> (Runner<Watched>, Watched, watch::Receiver<Facts>) {
    let mut venue = Venue::new();
    let replica = venue.gate(&folder.db());
    let (facts, facts_seen) = watch::channel(Facts::default());
    let inputs = LaneInputs { presence, barrier: false };
    let time = TimeKeeper::new(crate::clock::boot_id(), T0);
    let known = Known { replica: replica.reader().unwrap(), inputs, time, facts };
    let ports = Watched::default();
    let mut runner = Runner::new(known, ports.clone());
    runner.begin();
    (runner, ports, facts_seen)
}

#[test]
fn what_a_failing_disk_could_not_say_is_asked_for_again_when_it_works() {
    let why = || "no space left on the device".to_owned();
    asked_again_after(|runner| runner.storage(StorageNews::Failed(why())));
    asked_again_after(|runner| runner.storage(StorageNews::NotStored(Ticket(1), why())));
}

fn asked_again_after(failure: impl FnOnce(&mut Runner<Watched>)) {
    let folder = Folder::new("settle");
    let (mut runner, ports, facts) = watched(&folder, false);
    let at_start = ports.0.borrow().unsettled;
    failure(&mut runner);
    assert!(facts.borrow().storage_fault.is_some(), "nobody was told");
    for second in 1..=40 {
        ports.0.borrow_mut().us = second * 1_000_000;
        runner.beat();
    }
    assert_eq!(ports.0.borrow().probes, 1, "one try at a time");
    assert_eq!(ports.0.borrow().unsettled, at_start, "asked while it fails");
    for _ in 0..2 {
        runner.storage(StorageNews::WorksAgain);
        assert_eq!(ports.0.borrow().unsettled, at_start + 1, "asked once");
    }
    assert_eq!(facts.borrow().storage_fault, None);
    let event = EventId { device: DEVICE, epoch: 1, seq: 9 };
    runner.storage(StorageNews::Unsettled(vec![(event, None)]));
    assert_eq!(ports.0.borrow().queries, [event.to_string()]);
}

#[test]
fn a_wait_is_shown_only_if_it_lasts() {
    let text = good_pass();
    // How long the record takes, and which lamps are lit meanwhile.
    for (record_us, lit) in [
        (1_000, vec![Pattern::Green]),
        (99_999, vec![Pattern::Green]),
        (100_000, vec![Pattern::Yellow, Pattern::Green]),
    ] {
        let folder = Folder::new("wait");
        let (mut runner, ports, facts_seen) = watched(&folder, false);
        ports.0.borrow_mut().lamps.clear();
        let seen = |texts| ReaderEvent::Seen { frame: 1, captured_mono_us: 1, decode_us: 1, texts, luma_mean: 90 };
        runner.eye(seen(vec![text.clone()]));
        let [ticket] = ports.0.borrow().tickets[..] else { panic!("one admission is one record") };
        let end_us = ports.0.borrow().us + record_us;
        // The shell wakes the runner whenever it asks for it, and with every frame.
        while let Some(due) = runner.next_wake_us().filter(|due| *due <= end_us) {
            ports.0.borrow_mut().us = due;
            runner.feed(LaneEvent::Woke);
            runner.eye(seen(vec![text.clone()]));
        }
        ports.0.borrow_mut().us = end_us;
        let event = EventId { device: DEVICE, epoch: 1, seq: 9 };
        runner.storage(StorageNews::Stored(ticket, event));
        let reason = facts_seen.borrow().lane.as_ref().unwrap().reason;
        assert_eq!((reason, &ports.0.borrow().lamps), (None, &lit), "a record of {record_us} us");
        assert_eq!(facts_seen.borrow().lane.as_ref().unwrap().kind, ScreenKind::Admit);
    }
}

/// A runner that has asked about the pulse of its only admission.
fn inquiring(folder: &Folder, of: EventId) -> (Runner<Watched>, Watched) {
    let (mut runner, ports, _facts) = watched(folder, false);
    let texts = vec![good_pass()];
    runner.eye(ReaderEvent::Seen { frame: 1, captured_mono_us: 1, decode_us: 1, texts, luma_mean: 90 });
    let [ticket] = ports.0.borrow().tickets[..] else { panic!("one admission is one record") };
    runner.storage(StorageNews::Stored(ticket, of));
    // Its other waits end first.
    while ports.0.borrow().queries.is_empty() {
        ports.0.borrow_mut().us = runner.next_wake_us().unwrap();
        runner.feed(LaneEvent::Woke);
    }
    assert_eq!(ports.0.borrow().queries, [of.to_string()]);
    (runner, ports)
}

/// As after a stall of the whole program: the end of the pulse lies in the socket, but the lane's patience ends first.
#[test]
fn a_pulse_of_which_nothing_was_heard_is_asked_about_by_its_name() {
    use hardware::gate_io::Answer;
    let of = EventId { device: DEVICE, epoch: 1, seq: 9 };
    let other = EventId { seq: 8, ..of };
    for (answer, kind, records) in [
        (Answer::Done, ScreenKind::Admit, 1),
        (Answer::NotDone, ScreenKind::Fault, 2),
        (Answer::Unknown, ScreenKind::Fault, 2),
    ] {
        let folder = Folder::new("stall");
        let (mut runner, ports) = inquiring(&folder, of);
        // What is said of another pulse is not taken for it.
        runner.hand(IoEvent::Answer { event: other.to_string(), result: Answer::NotDone });
        assert_eq!((runner.lane.inquires(), ports.0.borrow().tickets.len()), (Some(PulseKey::Event(of)), 2));
        runner.hand(IoEvent::Answer { event: of.to_string(), result: answer });
        assert_eq!(runner.lane.status().kind, kind, "{answer:?}");
        assert_eq!(ports.0.borrow().tickets.len(), 2 + records, "{answer:?}");
    }
    // The word that had waited comes before the answer: it is written down once.
    let folder = Folder::new("stall-told");
    let (mut runner, ports) = inquiring(&folder, of);
    let done = IoEvent::Pulse { event: of.to_string(), result: hardware::gate_io::PulseResult::Done };
    runner.hand(done);
    assert_eq!(ports.0.borrow().tickets.len(), 2);
    runner.hand(IoEvent::Answer { event: of.to_string(), result: Answer::Done });
    assert_eq!(ports.0.borrow().tickets.len(), 2, "written twice");
}

#[test]
fn who_leaves_without_a_code_is_written_down_only_while_codes_are_taken() {
    for (standing, written) in [
        (Standing::Ready, 1),
        (Standing::NotSetUp, 0),
        (Standing::Withdrawn, 0),
        (Standing::Unreadable("bad sectors".to_owned()), 0),
    ] {
        let folder = Folder::new("visit");
        let (mut runner, ports, _facts) = watched(&folder, true);
        let presence = |active| IoEvent::Input { input: lines::Input::Presence, active, mono_us: 1 };
        runner.hand(presence(false));
        runner.stand(standing.clone());
        runner.hand(presence(true));
        for second in 1..=12 {
            ports.0.borrow_mut().us = second * 1_000_000;
            let frame = ReaderEvent::Seen { frame: 1, captured_mono_us: 1, decode_us: 1, texts: vec![], luma_mean: 90 };
            runner.eye(frame);
            if second == 10 {
                runner.hand(presence(false));
            }
        }
        assert_eq!(ports.0.borrow().tickets.len(), written, "{standing:?}");
    }
}

#[test]
fn on_another_machine_nobody_is_let_in_and_everybody_out() {
    let text = good_pass();
    for other_machine in [false, true] {
        let folder = Folder::new("other");
        let (mut runner, ports, facts) = watched(&folder, false);
        if other_machine {
            runner.stands_on_other_machine();
            runner.replica_changed();
            runner.beat();
        }
        let shows = |facts: &watch::Receiver<Facts>| facts.borrow().lane.as_ref().map(|lane| lane.kind);
        assert_eq!(shows(&facts) == Some(ScreenKind::Fault), other_machine);
        let why = facts.borrow().not_deciding.clone();
        assert_eq!(why.map(|why| why.code), other_machine.then_some("other_machine"));
        // The camera's first frame is an event of its own.
        let frame = |texts| ReaderEvent::Seen { frame: 1, captured_mono_us: 1, decode_us: 1, texts, luma_mean: 90 };
        runner.eye(frame(vec![]));
        let before = ports.0.borrow().tickets.len();
        runner.eye(frame(vec![text.clone()]));
        assert_eq!(ports.0.borrow().tickets.len() - before, usize::from(!other_machine), "an admission is recorded");
        // A replica that could not be read meanwhile changes nothing of it.
        runner.cannot_read("bad sectors", None);
        assert_eq!(runner.standing == Standing::OtherMachine, other_machine);
    }
    // The way out: the button opens as at any other fault.
    let folder = Folder::new("other-out");
    let (mut runner, ports, _facts) = watched(&folder, false);
    runner.stands_on_other_machine();
    runner.replica_changed();
    runner.beat();
    let out = gate_row(GATE, "South", Direction::Out);
    runner.gate = Some(out.clone());
    runner.lane.set_setup(setup(Some(&out), runner.inputs));
    let button = IoEvent::Input { input: lines::Input::ExitButton, active: true, mono_us: 1 };
    runner.hand(button);
    let tickets = ports.0.borrow().tickets.clone();
    let ticket = *tickets.last().unwrap();
    runner.storage(StorageNews::Stored(ticket, EventId { device: DEVICE, epoch: 1, seq: 9 }));
    assert!(runner.asked.is_some(), "the relay is asked to open");
}

#[test]
fn a_lane_whose_signed_time_was_wrong_goes_by_the_right_one_at_once() {
    let mut desk = Desk::set_up();
    let (system_ms, year) = (crate::clock::system_ms(), 365 * 86_400_000);
    desk.signed(system_ms + year);
    desk.hold_up("GP1:X");
    assert!(desk.newest_at().wall_ms >= system_ms + year, "it goes by what was signed");
    let reply = desk.time_was_wrong(system_ms);
    desk.told(reply);
    let now = desk.newest_at();
    assert!((system_ms..system_ms + 60_000).contains(&now.wall_ms), "{now:?}");
    assert_eq!(desk.writer.borrow_mut().floor_ms().unwrap(), system_ms);
    let events = desk.events();
    desk.runner.replica_changed();
    assert_eq!(desk.events(), events, "heeded once");
}

/// The right time, asked for at once, may be heard before anybody has told the lane that the wrong one was taken back; and
/// what was proved by the wrong one may still wait to be stored.
#[test]
fn wrong_signed_time_does_not_come_back_by_what_was_under_way() {
    let mut desk = Desk::set_up();
    let (system_ms, year) = (crate::clock::system_ms(), 365 * 86_400_000);
    desk.signed(system_ms + year);
    let mut reply = desk.time_was_wrong(system_ms);
    reply.as_of = None;
    desk.writer.borrow_mut().apply(&reply, at(0)).unwrap();
    let late = Job::RaiseFloor { floor_ms: system_ms + year, reset: None };
    late.carry_out(&mut desk.writer.borrow_mut());
    assert_eq!(desk.writer.borrow_mut().floor_ms().unwrap(), system_ms, "stored late");
    desk.signed(system_ms + 10);
    assert_eq!(desk.writer.borrow_mut().floor_ms().unwrap(), system_ms + 10, "the right time counts");
    desk.hold_up("GP1:X");
    let now = desk.newest_at();
    assert!((system_ms..system_ms + 60_000).contains(&now.wall_ms), "{now:?}");
}
