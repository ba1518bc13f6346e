//! What the hand promises, as tables and over random command sequences.

use proptest::prelude::*;

use super::super::past::REMEMBERED;
use super::*;
use crate::lines::Output;

const MS: u64 = 1_000;

/// A hand and a clock the test owns. Time passes as the server lets it pass: from wake to wake.
struct Gate {
    hand: Hand,
    now: u64,
    /// Every stretch of constant levels: from when, and what.
    record: Vec<(u64, Levels)>,
    said: Vec<Message>,
}

impl Gate {
    fn new(config: HandConfig) -> Self {
        let hand = Hand::new(config.checked().unwrap(), &[], 0);
        let levels = hand.levels(0);
        Self { hand, now: 0, record: vec![(0, levels)], said: Vec::new() }
    }

    /// A gate with a connected brain whose heartbeat is fresh.
    fn alive() -> Self {
        let mut gate = Self::new(HandConfig::example());
        gate.event(HandEvent::Connected);
        gate.command(Command::Heartbeat { hold: false });
        gate.said.clear();
        gate
    }

    fn with_gap(pulse_gap_ms: u64) -> Self {
        let mut gate =
            Self::new(HandConfig { pulse_gap_ms: pulse_gap_ms.try_into().unwrap(), ..HandConfig::example() });
        gate.event(HandEvent::Connected);
        gate.command(Command::Heartbeat { hold: false });
        gate.said.clear();
        gate
    }

    fn event(&mut self, event: HandEvent) {
        let said = self.hand.handle(event, self.now);
        self.said.extend(said);
        self.note();
    }

    fn command(&mut self, command: Command) {
        self.event(HandEvent::Command(command));
    }

    fn pulse(&mut self, event: &str, ms: u32) -> Option<PulseResult> {
        self.command(Command::Pulse { event: event.to_owned(), ms });
        match self.said.last() {
            Some(Message::Pulse { event: said, result }) if said == event => Some(*result),
            _ => None,
        }
    }

    fn input(&mut self, input: Input, active: bool) {
        self.event(HandEvent::Edge { input, active, mono_us: self.now });
    }

    fn pass(&mut self, us: u64) {
        let until = self.now + us;
        while let Some(wake) = self.hand.next_wake(self.now).filter(|wake| *wake <= until) {
            assert!(wake > self.now || self.now == 0, "a wake in the past: the server would spin");
            self.now = wake;
            self.event(HandEvent::Tick);
        }
        self.now = until;
        self.event(HandEvent::Tick);
    }

    /// Lets time pass while the brain is alive.
    fn live(&mut self, us: u64) {
        let until = self.now + us;
        while self.now < until {
            self.command(Command::Heartbeat { hold: true });
            self.pass((250 * MS).min(until - self.now));
        }
    }

    fn levels(&self) -> Levels {
        self.hand.levels(self.now)
    }

    fn note(&mut self) {
        let levels = self.levels();
        if self.record.last().is_none_or(|(_, last)| *last != levels) {
            self.record.push((self.now, levels));
        }
    }

    /// How long an output was on in all, in microseconds, and how often it came on.
    fn on(&self, output: Output) -> (u64, usize) {
        let ends = self.record.iter().skip(1).map(|(at, _)| *at).chain([self.now]);
        let mut time = 0;
        let mut edges = 0;
        let mut was = false;
        for ((from, levels), to) in self.record.iter().zip(ends) {
            let is = levels.get(output);
            time += if is { to - from } else { 0 };
            edges += usize::from(is && !was);
            was = is;
        }
        (time, edges)
    }
}

fn lit(levels: Levels) -> usize {
    [levels.red, levels.yellow, levels.green].into_iter().filter(|lit| *lit).count()
}

fn says_safe(said: &[Message], wanted: SafeWhy) -> bool {
    said.iter().any(|message| matches!(message, Message::Safe { why } if *why == wanted))
}

#[test]
fn a_pulse_lasts_as_long_as_asked_and_never_longer_than_the_maximum() {
    for (asked_ms, on_ms) in [(1, 1), (800, 800), (5_000, 5_000), (5_001, 5_000), (u32::MAX, 5_000)] {
        let mut gate = Gate::alive();
        assert_eq!(gate.pulse("e", asked_ms), Some(PulseResult::Started));
        assert!(gate.levels().relay);
        gate.live(10_000 * MS);
        assert_eq!(gate.on(Output::Relay), (on_ms * MS, 1), "{asked_ms} ms");
        assert!(gate.said.contains(&Message::Pulse { event: "e".into(), result: PulseResult::Done }));
    }
}

#[test]
fn a_late_tick_ends_a_pulse_before_anything_else_happens() {
    for (gap_ms, second) in [(0, PulseResult::Started), (200, PulseResult::RefusedBusy)] {
        let mut gate = Gate::with_gap(gap_ms);
        gate.pulse("first", 100);
        gate.now += 400 * MS;
        // With a gap: the relay opens only now, however long ago it should have, and has to rest.
        assert_eq!(gate.pulse("second", 100), Some(second), "gap {gap_ms} ms");
        gate.pass(gap_ms * MS);
        let done = Message::Pulse { event: "first".into(), result: PulseResult::Done };
        assert_eq!(gate.said.iter().filter(|said| **said == done).count(), 1, "gap {gap_ms} ms");
    }
}

#[test]
fn the_relay_rests_between_two_pulses() {
    let busy = PulseResult::RefusedBusy;
    // The gap, whether the first pulse of 100 ms is cut short after 50, when the second is asked, what becomes of it.
    for (gap_ms, cut, asked_ms, second) in [
        (0, false, 99, busy),
        (0, false, 100, PulseResult::Started),
        (0, true, 50, PulseResult::Started),
        (200, false, 100, busy),
        (200, false, 299, busy),
        (200, false, 300, PulseResult::Started),
        (200, true, 50, busy),
        (200, true, 249, busy),
        (200, true, 250, PulseResult::Started),
        (500, false, 599, busy),
        (500, false, 600, PulseResult::Started),
    ] {
        let row = format!("gap {gap_ms} ms, cut short: {cut}, asked at {asked_ms} ms");
        let mut gate = Gate::with_gap(gap_ms);
        gate.pulse("first", 100);
        if cut {
            gate.pass(50 * MS);
            gate.command(Command::Safe);
        }
        gate.pass(asked_ms * MS - gate.now);
        assert_eq!(gate.pulse("second", 100), Some(second), "{row}");
        // A brain that waits for "done" is never refused for the gap.
        let done = Message::Pulse { event: "first".into(), result: PulseResult::Done };
        assert_eq!(gate.said.contains(&done), !cut && second == PulseResult::Started, "{row}");
        gate.live(2_000 * MS);
        assert_eq!(gate.on(Output::Relay).1, if second == busy { 1 } else { 2 }, "{row}");
        // What was refused for the gap may be asked again.
        let again = if second == busy { PulseResult::Started } else { PulseResult::RefusedRepeat };
        assert_eq!(gate.pulse("second", 100), Some(again), "{row}");
    }
}

#[test]
fn a_pulse_that_is_over_is_done_even_when_its_rest_is_disturbed() {
    for disturbance in ["safe", "fire", "heartbeat", "socket"] {
        let mut gate = Gate::alive();
        gate.pass(500 * MS);
        gate.pulse("e", 200);
        gate.pass(210 * MS);
        match disturbance {
            "safe" => gate.command(Command::Safe),
            "fire" => {
                gate.input(Input::Fire, true);
                gate.pass(20 * MS);
            }
            "heartbeat" => gate.pass(40 * MS),
            _ => gate.event(HandEvent::Disconnected),
        }
        let told = gate.said.iter().filter(|said| matches!(said, Message::Pulse { .. })).skip(1).collect::<Vec<_>>();
        assert_eq!(told, [&Message::Pulse { event: "e".into(), result: PulseResult::Done }], "{disturbance}");
        gate.pass(500 * MS);
        assert_eq!(gate.said.iter().filter(|said| matches!(said, Message::Pulse { .. })).count(), 2, "{disturbance}");
    }
}

#[test]
fn pulses_that_are_refused_move_nothing() {
    let mut gate = Gate::new(HandConfig::example());
    gate.event(HandEvent::Connected);
    assert_eq!(gate.pulse("early", 100), Some(PulseResult::RefusedNoHeartbeat));
    gate.command(Command::Heartbeat { hold: false });
    assert_eq!(gate.pulse("a", 100), Some(PulseResult::Started));
    assert_eq!(gate.pulse("a", 100), Some(PulseResult::RefusedRepeat));
    assert_eq!(gate.pulse("b", 100), Some(PulseResult::RefusedBusy));
    gate.pass(300 * MS);
    assert_eq!(gate.pulse("a", 100), Some(PulseResult::RefusedRepeat));
    assert_eq!(gate.on(Output::Relay), (100 * MS, 1));
    // What was refused was not done, so it may be asked again.
    assert_eq!(gate.pulse("b", 100), Some(PulseResult::Started));
    gate.pass(300 * MS);
    assert_eq!(gate.pulse("early", 100), Some(PulseResult::Started));
}

#[test]
fn malformed_pulses_change_nothing() {
    let mut gate = Gate::alive();
    for (event, ms) in [("", 100), ("e", 0), (&"x".repeat(MAX_EVENT + 1), 100)] {
        assert_eq!(gate.pulse(event, ms), None);
        assert!(matches!(gate.said.last(), Some(Message::Malformed { .. })));
    }
    assert_eq!(gate.on(Output::Relay), (0, 0));
}

#[test]
fn a_lost_heartbeat_is_safe_within_750_ms() {
    for keep_on in ["pulse", "hold", "lamps"] {
        let mut gate = Gate::alive();
        match keep_on {
            "pulse" => assert_eq!(gate.pulse("e", 5_000), Some(PulseResult::Started)),
            "hold" => gate.command(Command::Hold { reason: "test".into() }),
            _ => gate.command(Command::Lamps { pattern: Pattern::Green }),
        }
        gate.pass(749 * MS);
        assert_ne!(gate.levels(), HandConfig::example().safe_levels(), "{keep_on}: too early");
        gate.pass(MS);
        assert_eq!(gate.levels(), HandConfig::example().safe_levels(), "{keep_on}");
        assert!(says_safe(&gate.said, SafeWhy::Heartbeat));
        assert_eq!(gate.pulse("later", 100), Some(PulseResult::RefusedNoHeartbeat));
    }
}

#[test]
fn a_closed_or_taken_over_socket_is_safe_at_once() {
    for end in [HandEvent::Disconnected, HandEvent::Connected] {
        let mut gate = Gate::alive();
        gate.pulse("e", 5_000);
        gate.pass(10 * MS);
        gate.event(end.clone());
        assert_eq!(gate.levels(), HandConfig::example().safe_levels(), "{end:?}");
        assert_eq!(gate.pulse("f", 100), Some(PulseResult::RefusedNoHeartbeat), "{end:?}");
    }
}

#[test]
fn safe_on_command_is_left_by_the_next_command_of_a_living_brain() {
    let mut gate = Gate::alive();
    gate.pulse("e", 5_000);
    gate.command(Command::Safe);
    assert_eq!(gate.levels(), HandConfig::example().safe_levels());
    assert!(gate.said.contains(&Message::Pulse { event: "e".into(), result: PulseResult::CutShort }));
    assert!(says_safe(&gate.said, SafeWhy::Command));
    gate.live(1_000 * MS);
    assert_eq!(gate.levels(), HandConfig::example().safe_levels(), "a heartbeat alone left the safe levels");
    gate.command(Command::Lamps { pattern: Pattern::Green });
    assert!(gate.levels().green && !gate.levels().red);
}

#[test]
fn a_hold_lives_on_heartbeats_that_say_so() {
    let mut gate = Gate::alive();
    gate.command(Command::Hold { reason: "market day".into() });
    gate.live(60_000 * MS);
    assert!(gate.levels().relay);
    gate.command(Command::Heartbeat { hold: false });
    assert!(!gate.levels().relay);
    gate.command(Command::Heartbeat { hold: true });
    assert!(!gate.levels().relay, "a heartbeat alone began a hold");
}

#[test]
fn fire_is_latched_needs_no_brain_and_wins() {
    let mut gate = Gate::new(HandConfig::example());
    gate.input(Input::Fire, true);
    gate.pass(19 * MS);
    assert!(!gate.levels().relay, "fire before it was debounced");
    gate.pass(MS);
    let open = Levels { relay: true, green: true, ..Levels::default() };
    assert_eq!(gate.levels(), open);
    assert!(gate.said.contains(&Message::Fire { latched: true }));
    gate.input(Input::Fire, false);
    gate.pass(3_600_000 * MS);
    assert_eq!(gate.levels(), open, "fire is not latched");
    for event in [
        HandEvent::Connected,
        HandEvent::Command(Command::Heartbeat { hold: false }),
        HandEvent::Command(Command::Safe),
        HandEvent::Command(Command::Lamps { pattern: Pattern::Red }),
        HandEvent::Command(Command::Hold { reason: "x".into() }),
        HandEvent::Disconnected,
    ] {
        gate.event(event.clone());
        assert_eq!(gate.levels(), open, "{event:?}");
    }
    gate.event(HandEvent::Connected);
    gate.command(Command::Heartbeat { hold: false });
    assert_eq!(gate.pulse("e", 100), Some(PulseResult::RefusedBusy));
    // Still burning: no reset.
    gate.input(Input::Fire, true);
    gate.pass(20 * MS);
    gate.command(Command::ResetFire);
    assert_eq!(gate.levels(), open);
    gate.input(Input::Fire, false);
    gate.pass(20 * MS);
    gate.command(Command::ResetFire);
    assert_eq!(gate.levels(), HandConfig::example().safe_levels());
    assert!(gate.said.contains(&Message::Fire { latched: false }));
}

#[test]
fn fire_cuts_a_pulse_short_and_a_fire_that_burns_at_the_start_counts() {
    let mut gate = Gate::alive();
    gate.pulse("e", 5_000);
    gate.input(Input::Fire, true);
    gate.pass(20 * MS);
    assert!(gate.said.contains(&Message::Pulse { event: "e".into(), result: PulseResult::CutShort }));
    let mut hand = Hand::new(HandConfig::example(), &[Input::Fire], 0);
    hand.handle(HandEvent::Tick, 20 * MS);
    assert!(hand.fire() && hand.levels(20 * MS).relay);
}

#[test]
fn every_output_takes_its_own_safe_level() {
    for mask in 0..16_u8 {
        let mut config = HandConfig::example();
        let on = |bit: u8| mask & (1 << bit) != 0;
        config.outputs.relay.safe = on(0);
        config.outputs.red.safe = on(1);
        config.outputs.yellow.safe = on(2);
        config.outputs.green.safe = on(3);
        if [on(1), on(2), on(3)].into_iter().filter(|lit| *lit).count() > 1 {
            assert!(config.checked().is_err());
            continue;
        }
        let safe = Levels { relay: on(0), red: on(1), yellow: on(2), green: on(3) };
        let mut gate = Gate::new(config);
        assert_eq!(gate.levels(), safe, "at the start, {mask:04b}");
        gate.event(HandEvent::Connected);
        gate.command(Command::Heartbeat { hold: false });
        gate.command(Command::Lamps { pattern: Pattern::Yellow });
        let in_command = Levels { yellow: true, ..Levels::default() };
        assert_eq!(gate.levels(), in_command, "a fail-safe level outlived the command, {mask:04b}");
        gate.event(HandEvent::Disconnected);
        assert_eq!(gate.levels(), safe, "after the socket closed, {mask:04b}");
    }
}

#[test]
fn queries_tell_done_from_not_done_from_unknown() {
    let mut gate = Gate::alive();
    gate.pulse("done", 100);
    gate.pulse("busy", 100);
    gate.pass(300 * MS);
    gate.pulse("cut", 5_000);
    gate.command(Command::Safe);
    for (event, result) in
        [("done", Answer::Done), ("busy", Answer::NotDone), ("cut", Answer::Done), ("never", Answer::Unknown)]
    {
        gate.command(Command::Query { event: event.into() });
        assert_eq!(gate.said.last(), Some(&Message::Answer { event: event.into(), result }));
    }
    gate.event(HandEvent::Connected);
    let Some(Message::Hello(Hello { last_pulses, .. })) = gate.said.last() else { panic!("no hello") };
    let known: Vec<_> = last_pulses.iter().map(|past| (past.event.as_str(), past.result)).collect();
    assert_eq!(known, [("done", Answer::Done), ("busy", Answer::NotDone), ("cut", Answer::Done)]);
}

#[test]
fn the_memory_of_pulses_is_bounded() {
    let mut gate = Gate::alive();
    for number in 0..REMEMBERED + 10 {
        gate.command(Command::Heartbeat { hold: false });
        assert_eq!(gate.pulse(&number.to_string(), 1), Some(PulseResult::Started));
        gate.pass(201 * MS);
    }
    gate.command(Command::Query { event: "0".into() });
    assert_eq!(gate.said.last(), Some(&Message::Answer { event: "0".into(), result: Answer::Unknown }));
    assert_eq!(gate.pulse("500", 1), Some(PulseResult::RefusedRepeat));
}

#[test]
fn inputs_are_told_debounced_with_the_time_of_their_edge() {
    let mut gate = Gate::alive();
    gate.pass(100 * MS);
    gate.input(Input::Presence, true);
    gate.pass(5 * MS);
    gate.input(Input::Presence, false);
    gate.pass(5 * MS);
    assert!(gate.said.is_empty(), "a bounce was told");
    gate.input(Input::Presence, true);
    gate.pass(30 * MS);
    let told = Message::Input { input: Input::Presence, active: true, mono_us: 110 * MS };
    assert_eq!(gate.said, [told]);
    gate.event(HandEvent::Connected);
    assert!(matches!(gate.said.last(), Some(Message::Hello(Hello { active, .. })) if *active == [Input::Presence]));
}

#[test]
fn red_and_green_are_never_lit_together() {
    // The last word before the wires, over every mask.
    for mask in 0..8_u8 {
        let asked = Levels { relay: true, red: mask & 1 != 0, yellow: mask & 2 != 0, green: mask & 4 != 0 };
        let shown = asked.guarded();
        assert!(!(shown.red && shown.green), "{mask:03b}");
        assert_eq!(shown.red, asked.red, "red was dropped, {mask:03b}");
        assert_eq!(shown.green, asked.green && !asked.red, "{mask:03b}");
    }
}

#[test]
fn at_most_one_lamp_is_lit_in_every_pattern_and_change() {
    // Every change of pattern, at every phase of the old one, in every state.
    for from in Pattern::ALL {
        for to in Pattern::ALL {
            for phase in (0..3_200).step_by(100) {
                let mut gate = Gate::alive();
                gate.command(Command::Lamps { pattern: from });
                gate.live(phase * MS);
                gate.command(Command::Lamps { pattern: to });
                gate.live(1_700 * MS);
                gate.input(Input::Fire, true);
                gate.pass(20 * MS);
                gate.command(Command::Safe);
                assert!(gate.record.iter().all(|(_, levels)| lit(*levels) <= 1), "{from:?} -> {to:?} after {phase} ms");
            }
        }
    }
}

#[test]
fn fault_alternates_at_one_hertz() {
    let mut gate = Gate::alive();
    gate.command(Command::Lamps { pattern: Pattern::Fault });
    let mut seen = Vec::new();
    for _ in 0..8 {
        gate.live(250 * MS);
        seen.push((gate.levels().yellow, gate.levels().red, gate.levels().green));
        gate.live(250 * MS);
    }
    let (yellow, red) = ((true, false, false), (false, true, false));
    assert_eq!(seen, [yellow, red, yellow, red, yellow, red, yellow, red]);
}

#[test]
fn the_yellow_flash_is_one_hertz() {
    let mut gate = Gate::alive();
    gate.command(Command::Lamps { pattern: Pattern::YellowFlash });
    gate.live(10_000 * MS);
    // Half a second lit, half a second dark, for ten seconds.
    let changes: Vec<(u64, bool)> = gate.record[1..].iter().map(|(at, levels)| (*at, levels.yellow)).collect();
    let expected: Vec<(u64, bool)> = (0..=20).map(|half| (half * 500 * MS, half % 2 == 0)).collect();
    assert_eq!(changes, expected);
    assert!(gate.record[1..].iter().all(|(_, levels)| !levels.red && !levels.green));
}

#[test]
fn no_lamp_flashes_faster_than_three_hertz() {
    for pattern in Pattern::ALL {
        let mut gate = Gate::alive();
        gate.command(Command::Lamps { pattern });
        gate.live(10_000 * MS);
        for output in [Output::Red, Output::Yellow, Output::Green] {
            let (_, times_on) = gate.on(output);
            assert!(times_on <= 30, "{pattern:?}: {output:?} came on {times_on} times in 10 s");
        }
        // Asking again for what is shown does not restart its rhythm.
        gate.command(Command::Lamps { pattern });
        assert_eq!(gate.levels(), gate.record.last().unwrap().1);
    }
}

fn any_event() -> impl Strategy<Value = HandEvent> {
    let id = (0..6_u8).prop_map(|id| id.to_string());
    let pattern = prop::sample::select(&Pattern::ALL[..]);
    let input = prop::sample::select(&Input::ALL[..]);
    prop_oneof![
        6 => any::<bool>().prop_map(|hold| HandEvent::Command(Command::Heartbeat { hold })),
        4 => (id.clone(), 0..7_000_u32).prop_map(|(event, ms)| HandEvent::Command(Command::Pulse { event, ms })),
        1 => Just(HandEvent::Command(Command::Hold { reason: "x".into() })),
        2 => pattern.prop_map(|pattern| HandEvent::Command(Command::Lamps { pattern })),
        1 => Just(HandEvent::Command(Command::Safe)),
        1 => id.prop_map(|event| HandEvent::Command(Command::Query { event })),
        1 => Just(HandEvent::Command(Command::ResetFire)),
        1 => Just(HandEvent::Connected),
        1 => Just(HandEvent::Disconnected),
        2 => (input, any::<bool>()).prop_map(|(input, active)| HandEvent::Edge { input, active, mono_us: 0 }),
        2 => Just(HandEvent::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order: the relay is on no longer and no oftener than somebody paid for.
    #[test]
    fn the_relay_is_driven_only_for_a_reason(steps in prop::collection::vec((any_event(), 0..900_000_u64), 1..120)) {
        let config = HandConfig::example();
        let mut gate = Gate::new(config.clone());
        let mut allowed_us = 0;
        let mut accepted = 0;
        let mut held_or_fire = false;
        let mut last_heartbeat: Option<u64> = None;
        for (event, wait_us) in steps {
            let before = gate.said.len();
            let event = match event {
                HandEvent::Edge { input, active, .. } => HandEvent::Edge { input, active, mono_us: gate.now },
                other @ (HandEvent::Connected | HandEvent::Command(_) | HandEvent::Disconnected | HandEvent::Tick) => other,
            };
            gate.event(event.clone());
            match &event {
                HandEvent::Command(Command::Heartbeat { .. }) => last_heartbeat = Some(gate.now),
                HandEvent::Connected | HandEvent::Disconnected => last_heartbeat = None,
                _ => {}
            }
            if let HandEvent::Command(Command::Pulse { event, ms }) = &event {
                let started = Message::Pulse { event: event.clone(), result: PulseResult::Started };
                if gate.said[before..].contains(&started) {
                    accepted += 1;
                    allowed_us += u64::from((*ms).min(config.pulse_max_ms)) * MS;
                }
            }
            held_or_fire |= matches!(event, HandEvent::Command(Command::Hold { .. })) || gate.hand.fire();
            gate.pass(wait_us);
            held_or_fire |= gate.hand.fire();
            let alive = last_heartbeat.is_some_and(|at| gate.now < at + 750 * MS);
            if !alive && !gate.hand.fire() {
                prop_assert_eq!(gate.levels(), config.safe_levels());
            }
        }
        let (on_us, times_on) = gate.on(Output::Relay);
        if !held_or_fire {
            prop_assert!(on_us <= allowed_us, "on for {on_us} us, paid for {allowed_us}");
            prop_assert!(times_on <= accepted, "came on {times_on} times for {accepted} pulses");
            let gap_us = u64::from(config.pulse_gap_ms) * MS;
            let mut off_since: Option<u64> = None;
            for (before, after) in gate.record.iter().zip(&gate.record[1..]) {
                match (before.1.relay, after.1.relay) {
                    (true, false) => off_since = Some(after.0),
                    (false, true) => {
                        let rested = off_since.is_none_or(|since| after.0 - since >= gap_us);
                        prop_assert!(rested, "on at {}, off since {:?}", after.0, off_since);
                    }
                    (true, true) | (false, false) => {}
                }
            }
        }
        prop_assert!(gate.record.iter().all(|(_, levels)| lit(*levels) <= 1));
        let answered = |wanted: PulseResult| {
            gate.said.iter().filter(|said| matches!(said, Message::Pulse { result, .. } if *result == wanted)).count()
        };
        let running = usize::from(gate.hand.pulse.is_some());
        // A pulse cut by a new connection is not told to it: it comes in hello instead.
        prop_assert!(answered(PulseResult::Done) + answered(PulseResult::CutShort) + running <= accepted);
    }
}
