//! What must hold whatever happens in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// A random thing that happens next, with the pause before it in milliseconds.
#[derive(Clone, Debug)]
enum Next {
    See(Vec<char>),
    /// The shell answers the question it was asked last, or an older one.
    Answer {
        kind: u8,
        newest: bool,
    },
    /// Storage answers the record at this place in its queue, well or badly.
    Storage {
        at: usize,
        well: bool,
    },
    /// gate-io says something of the pulse at this place.
    Hand {
        at: usize,
        result: PulseResult,
    },
    Input(Input, bool),
    Staff {
        yes: bool,
        late: bool,
    },
    Close(bool),
    Part(Part, bool),
    Zone(Fullness),
    Wake,
    /// A pass is shown and everything works.
    Serve(char),
    /// The barrier opens for a car, and it drives through or turns back.
    Car {
        through: bool,
    },
    /// A car comes, is served, and drives through or turns back.
    Visit {
        name: char,
        through: bool,
    },
}

fn any_next() -> impl Strategy<Value = (u64, Next)> {
    let pause = prop_oneof![5 => 0u64..50, 3 => 50u64..1500, 1 => 1500u64..25_000, 1 => 25_000u64..150_000];
    let codes = prop::collection::vec(prop::sample::select(vec!['A', 'B', 'C']), 0..3);
    let input = prop::sample::select(vec![Input::Presence, Input::BarrierOpen, Input::ExitButton, Input::Fire]);
    let part = prop::sample::select(vec![Part::Camera, Part::GateIo, Part::Storage, Part::Clock, Part::Barrier]);
    let result = prop::sample::select(vec![
        PulseResult::Started,
        PulseResult::Done,
        PulseResult::Done,
        PulseResult::Done,
        PulseResult::Refused,
        PulseResult::CutShort,
        PulseResult::Unknown,
    ]);
    let fullness = prop::sample::select(vec![Fullness::Open, Fullness::NearFull, Fullness::Full]);
    let next = prop_oneof![
        5 => codes.prop_map(Next::See),
        6 => (0u8..6, prop::bool::weighted(0.9)).prop_map(|(kind, newest)| Next::Answer { kind, newest }),
        6 => (0usize..3, prop::bool::weighted(0.9)).prop_map(|(at, well)| Next::Storage { at, well }),
        5 => (0usize..2, result).prop_map(|(at, result)| Next::Hand { at, result }),
        3 => (input, any::<bool>()).prop_map(|(input, active)| Next::Input(input, active)),
        1 => (any::<bool>(), prop::bool::weighted(0.2)).prop_map(|(yes, late)| Next::Staff { yes, late }),
        1 => prop::bool::weighted(0.3).prop_map(Next::Close),
        2 => (part, prop::bool::weighted(0.7)).prop_map(|(part, working)| Next::Part(part, working)),
        1 => fullness.prop_map(Next::Zone),
        3 => Just(Next::Wake),
        2 => prop::sample::select(vec!['A', 'B', 'C']).prop_map(Next::Serve),
        1 => any::<bool>().prop_map(|through| Next::Car { through }),
        2 => (prop::sample::select(vec!['A', 'B', 'C']), any::<bool>())
            .prop_map(|(name, through)| Next::Visit { name, through }),
    ];
    (pause, next)
}

fn any_setup() -> impl Strategy<Value = LaneSetup> {
    (any::<bool>(), any::<bool>(), prop::bool::weighted(0.7), prop::bool::weighted(0.7)).prop_map(
        |(out, free, presence, barrier)| LaneSetup {
            direction: if out { Direction::Out } else { Direction::In },
            egress: if free { Egress::Free } else { Egress::Scan },
            open_ms: 800,
            presence,
            barrier,
        },
    )
}

/// The world around a lane, and what it has seen the lane do.
struct World {
    lane: Lane,
    setup: LaneSetup,
    now_ms: u64,
    asked: Vec<char>,
    waiting: Vec<(Ticket, EventBody)>,
    pulses: Vec<PulseKey>,
    next_seq: u64,
    /// Stored events that allow one opening each.
    may_open: BTreeMap<EventId, EventBody>,
    tickets: BTreeSet<Ticket>,
    opened: BTreeSet<PulseKey>,
    inquired: BTreeSet<PulseKey>,
    unknown: BTreeSet<EventId>,
    settled: BTreeSet<EventId>,
    annulled: BTreeSet<EventId>,
    passed: BTreeSet<EventId>,
    presentation: u64,
}

impl World {
    fn new(setup: LaneSetup) -> Self {
        Self {
            lane: Lane::new(setup, FIRST),
            setup,
            now_ms: 0,
            asked: vec![],
            waiting: vec![],
            pulses: vec![],
            next_seq: 0,
            may_open: BTreeMap::new(),
            tickets: BTreeSet::new(),
            opened: BTreeSet::new(),
            inquired: BTreeSet::new(),
            unknown: BTreeSet::new(),
            settled: BTreeSet::new(),
            annulled: BTreeSet::new(),
            passed: BTreeSet::new(),
            presentation: 0,
        }
    }

    fn free(&self) -> bool {
        self.setup.direction == Direction::Out && self.setup.egress == Egress::Free
    }

    /// Does what comes next; of several events, those that make sense.
    fn play(&mut self, next: Next) -> Result<(), TestCaseError> {
        let each = match next {
            Next::Serve(name) => {
                self.play(Next::See(vec![name]))?;
                self.play(Next::Answer { kind: 0, newest: true })?;
                let newest = self.waiting.len().saturating_sub(1);
                vec![Next::Storage { at: newest, well: true }, Next::Hand { at: 0, result: PulseResult::Done }]
            }
            Next::Visit { name, through } => {
                self.play(Next::Input(Input::Presence, true))?;
                self.play(Next::Serve(name))?;
                self.play(Next::Car { through })?;
                vec![]
            }
            Next::Car { through } => {
                let [first, second] =
                    if through { [Input::Presence, Input::BarrierOpen] } else { [Input::BarrierOpen, Input::Presence] };
                vec![
                    Next::Input(Input::Presence, true),
                    Next::Input(Input::BarrierOpen, true),
                    Next::Input(first, false),
                    Next::Input(second, false),
                ]
            }
            Next::See(_)
            | Next::Answer { .. }
            | Next::Storage { .. }
            | Next::Hand { .. }
            | Next::Input(..)
            | Next::Staff { .. }
            | Next::Close(_)
            | Next::Part(..)
            | Next::Zone(_)
            | Next::Wake => vec![next],
        };
        for one in each {
            self.now_ms += 10;
            if let Some(event) = self.event(&one) {
                self.step(event)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, next: &Next) -> Option<LaneEvent> {
        let direction = self.setup.direction;
        Some(match next.clone() {
            Next::See(codes) => LaneEvent::Seen(codes.into_iter().map(code).collect()),
            Next::Answer { kind, newest } => {
                let name = if newest { self.asked.pop()? } else { *self.asked.first()? };
                event(
                    match kind {
                        0..3 => Do::Admits(name),
                        3 => Do::Refuses(name, Reason::AlreadyUsed),
                        4 => Do::Refuses(name, Reason::NotAPass),
                        _ => Do::Asks(name, Reason::ChildNeedsAdult),
                    },
                    direction,
                )
            }
            Next::Storage { at, well } => {
                if at >= self.waiting.len() {
                    return None;
                }
                let (ticket, body) = self.waiting.remove(at);
                if !well {
                    // It is written again when storage works.
                    if let EventBody::NotOpened { of, .. } | EventBody::Opened { of, .. } = &body {
                        self.settled.remove(of);
                    }
                    if let EventBody::Annulled { of } = &body {
                        self.annulled.remove(of);
                    }
                    return Some(LaneEvent::NotStored(ticket));
                }
                let event = event_id(self.next_seq);
                self.next_seq += 1;
                if matches!(body, EventBody::Authorised { .. } | EventBody::ExitButton { .. }) {
                    self.may_open.insert(event, body);
                }
                LaneEvent::Stored(ticket, event)
            }
            Next::Hand { at, result } => LaneEvent::Pulse(*self.pulses.get(at)?, result),
            Next::Input(input, active) => LaneEvent::Input(input, active),
            Next::Staff { yes, late } => {
                let presentation = self.lane.status().presentation.saturating_sub(u64::from(late));
                LaneEvent::Staff(StaffRequest::Answer { yes, presentation, staff: None })
            }
            Next::Close(closed) => LaneEvent::Staff(StaffRequest::Close { closed, staff: None }),
            Next::Part(part, working) => LaneEvent::Part { part, working, detail: String::new() },
            Next::Zone(fullness) => LaneEvent::Zone(fullness),
            Next::Wake => LaneEvent::Woke,
            Next::Serve(_) | Next::Car { .. } | Next::Visit { .. } => panic!("{next:?} is several events"),
        })
    }

    fn step(&mut self, event: LaneEvent) -> Result<(), TestCaseError> {
        for effect in self.lane.handle(event, at(self.now_ms)) {
            match effect {
                Effect::Judge(hash) => self.asked.push(char::from(hash.0[0])),
                Effect::Record(ticket, body) => {
                    prop_assert!(self.tickets.insert(ticket), "a ticket is used once");
                    self.recorded(&body)?;
                    self.waiting.push((ticket, body));
                }
                Effect::Open { key, ms } => {
                    prop_assert_eq!(ms, 800);
                    prop_assert!(self.opened.insert(key), "{:?} opens twice", key);
                    match key {
                        PulseKey::Event(event) => {
                            prop_assert!(self.may_open.contains_key(&event), "{event} opens but is not stored");
                        }
                        PulseKey::Free(_) => {
                            prop_assert!(self.setup.direction == Direction::Out, "an entrance opens without a record");
                        }
                    }
                    self.pulses.insert(0, key);
                }
                Effect::Inquire(key) => {
                    prop_assert_eq!(self.lane.inquires(), Some(key));
                    prop_assert!(self.inquired.insert(key), "{:?} is asked about twice", key);
                }
                Effect::Show(status) => prop_assert_eq!(&*status, &self.lane.status()),
            }
        }
        self.settled_well()
    }

    /// Records about an opening are about one that was stored, and contradict nothing.
    fn recorded(&mut self, body: &EventBody) -> Result<(), TestCaseError> {
        if let EventBody::Opened { of, .. } | EventBody::NotOpened { of, .. } = body {
            prop_assert!(self.may_open.contains_key(of), "{of} was never stored");
            // A barrier that is seen to rise late says more than was known.
            let knows_more = matches!(body, EventBody::Opened { .. }) && self.unknown.remove(of);
            prop_assert!(self.settled.insert(*of) || knows_more, "{of} is settled twice");
        }
        if let EventBody::NotOpened { of, unknown: true } = body {
            self.unknown.insert(*of);
        }
        if let EventBody::NotOpened { of, .. } = body {
            prop_assert!(!self.passed.contains(of) && !self.annulled.contains(of), "{of} did not open");
        }
        if let EventBody::Annulled { of } = body {
            prop_assert!(self.setup.presence && self.setup.barrier, "only a watched lane annuls");
            prop_assert!(self.annulled.insert(*of), "{of} is annulled twice");
            prop_assert!(!self.passed.contains(of), "{of} went through and is annulled");
        }
        if let EventBody::Passed { of: Some(of), .. } = body {
            prop_assert!(self.passed.insert(*of), "{of} passes twice");
            prop_assert!(!self.annulled.contains(of), "{of} is annulled and went through");
        }
        Ok(())
    }

    fn settled_well(&mut self) -> Result<(), TestCaseError> {
        let status = self.lane.status();
        prop_assert!(status.presentation >= self.presentation, "presentations are numbered upwards");
        self.presentation = status.presentation;
        // Green means open: a gate that opens or is open, a free exit, or fire.
        let green = [ScreenKind::Admit, ScreenKind::Goodbye, ScreenKind::FreeExit, ScreenKind::Fire];
        prop_assert_eq!(status.signal.lamp == Lamp::Green, green.contains(&status.kind));
        if status.kind == ScreenKind::Fault {
            prop_assert!(!status.faults.is_empty() || status.reason == Some(Reason::LaneFault));
        }
        // Whatever ends by itself ends when it says so: the shell must not be woken for nothing, again and again.
        if let Some(wake) = self.lane.next_wake() {
            prop_assert!(wake > self.now_ms * 1000, "wakes at {wake} us, but it is {} ms", self.now_ms);
        }
        Ok(())
    }

    /// Lets time pass without anything happening: everything but a question of storage comes to rest.
    fn rest(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..64 {
            let Some(wake) = self.lane.next_wake() else { break };
            self.now_ms = wake.div_ceil(1000);
            self.step(LaneEvent::Woke)?;
        }
        prop_assert_eq!(self.lane.next_wake(), None, "never comes to rest");
        let kind = self.lane.status().kind;
        let resting = [
            ScreenKind::Idle,
            ScreenKind::FreeExit,
            ScreenKind::Full,
            ScreenKind::Closed,
            ScreenKind::Fault,
            ScreenKind::Fire,
        ];
        prop_assert!(resting.contains(&kind), "rests as {:?}", kind);
        Ok(())
    }

    /// After all that, a driver with a good pass is served.
    fn serves(&mut self) -> Result<(), TestCaseError> {
        // Longer than anything is waited for, and than anybody who followed an admitted code is held back.
        self.now_ms += 8_000;
        for part in [Part::Camera, Part::GateIo, Part::Storage, Part::Clock, Part::Barrier] {
            self.step(LaneEvent::Part { part, working: true, detail: String::new() })?;
        }
        self.step(LaneEvent::Staff(StaffRequest::Close { closed: false, staff: None }))?;
        self.step(LaneEvent::Input(Input::Fire, false))?;
        self.step(LaneEvent::Input(Input::BarrierOpen, false))?;
        self.step(LaneEvent::Input(Input::Presence, true))?;
        prop_assert_eq!(self.lane.readiness(), Readiness::Ready);
        while let Some(stored) = self.event(&Next::Storage { at: 0, well: true }) {
            self.step(stored)?;
        }
        self.asked.clear();
        let opened = self.opened.len();
        self.step(LaneEvent::Seen(vec![code('Z')]))?;
        prop_assert_eq!(&self.asked, &['Z']);
        self.step(event(Do::Admits('Z'), self.setup.direction))?;
        let next = Next::Storage { at: 0, well: true };
        let stored = self.event(&next).expect("an admission is recorded");
        self.step(stored)?;
        prop_assert_eq!(self.opened.len(), opened + 1);
        Ok(())
    }
}

fn runs(setup: LaneSetup, script: Vec<(u64, Next)>) -> Result<World, TestCaseError> {
    let mut world = World::new(setup);
    for (pause, next) in script {
        world.now_ms += pause;
        world.play(next)?;
    }
    Ok(world)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(18),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens(setup in any_setup(), script in prop::collection::vec(any_next(), 1..120)) {
        let mut world = runs(setup, script)?;
        world.rest()?;
        world.serves()?;
    }
}

/// The property says something only if the scripts open gates, lose pulses, annul and pass.
#[test]
fn the_random_scripts_reach_everything() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let script = (any_setup(), prop::collection::vec(any_next(), 100));
    let (mut opened, mut free, mut annulled, mut passed, mut settled) = (0, 0, 0, 0, 0);
    for _ in 0..300 {
        let (setup, script) = script.new_tree(&mut runner).unwrap().current();
        let world = runs(setup, script).unwrap();
        let without_record = world.opened.iter().filter(|key| matches!(key, PulseKey::Free(_))).count();
        free += without_record;
        opened += world.opened.len() - without_record;
        annulled += world.annulled.len();
        passed += world.passed.len();
        settled += world.settled.len();
        assert!(world.free() || without_record == 0 || setup.direction == Direction::Out);
    }
    let reached = [opened, free, annulled, passed, settled];
    assert!(reached.iter().all(|n| *n > 10), "opened, free, annulled, passed, settled: {reached:?}");
}
