//! one pass in two codes, in one frame, by turns, or from two cameras in the same millisecond: one opening.
//!
//! Two texts of one pass can exist: the vendor issued it twice, with another flag. Both are genuine, and both name one
//! (vendor, cti). The shell here does what the real one does: it judges by what is stored, and stores before it answers.

use std::collections::VecDeque;

use super::*;
use crate::decision::Verdict;
use crate::event::EventBody;
use crate::pass::PassFlags;

/// A lane with a shell that stores everything at once and a hand that always obeys.
struct Shell {
    lane: Lane,
    /// Uses that are stored.
    used: u32,
    opened: u32,
    refused: Vec<Reason>,
    seq: u64,
}

impl Shell {
    fn new() -> Self {
        let setup =
            LaneSetup { direction: Direction::In, egress: Egress::Scan, open_ms: 800, presence: false, barrier: false };
        Self { lane: Lane::new(setup, FIRST), used: 0, opened: 0, refused: vec![], seq: 0 }
    }

    /// Both codes are one pass.
    fn judge(&self, code: Hash) -> LaneEvent {
        let mut input = *input_of('A');
        input.pass.token = code;
        if let Finding::Genuine { claims, .. } = &mut input.pass.finding {
            claims.flags = if code == super::code('A') { PassFlags::default() } else { PassFlags::ROMANIAN };
        }
        input.view.uses.total = self.used;
        let verdict = input.replay();
        LaneEvent::Judged { input: Box::new(input), verdict }
    }

    fn handle(&mut self, event: LaneEvent, us: u64) {
        let mut waiting = VecDeque::from([event]);
        while let Some(event) = waiting.pop_front() {
            let now = Now { mono_us: us, ..noon() };
            if let LaneEvent::Judged { verdict: Verdict::Refuse(refusal), .. } = &event {
                self.refused.push(refusal.reason);
            }
            for effect in self.lane.handle(event, now) {
                match effect {
                    Effect::Judge(code) => waiting.push_back(self.judge(code)),
                    Effect::Record(ticket, body) => {
                        self.seq += 1;
                        self.used += u32::from(matches!(body, EventBody::Authorised { .. }));
                        waiting.push_back(LaneEvent::Stored(ticket, event_id(self.seq)));
                    }
                    Effect::Open { key, .. } => {
                        self.opened += 1;
                        waiting.push_back(LaneEvent::Pulse(key, PulseResult::Started));
                        waiting.push_back(LaneEvent::Pulse(key, PulseResult::Done));
                    }
                    Effect::Inquire(_) | Effect::Show(_) => {}
                }
            }
        }
    }
}

#[test]
fn two_codes_of_one_pass_open_once() {
    let (a, b) = (code('A'), code('B'));
    type Frames = fn(u64, Hash, Hash) -> Vec<Vec<Hash>>;
    // What the cameras see in the frame of this number, 20 a second.
    let scenes: [(&str, Frames); 6] = [
        ("both in every frame", |_, a, b| vec![vec![a, b]]),
        ("the other first", |_, a, b| vec![vec![b, a]]),
        ("by turns", |n, a, b| vec![vec![if n % 2 == 0 { a } else { b }]]),
        ("two cameras in the same millisecond", |_, a, b| vec![vec![a], vec![b]]),
        ("one after the other", |n, a, b| vec![if n < 40 { vec![a] } else { vec![b] }]),
        ("one, a long pause, the other", |n, a, b| match n {
            0..20 => vec![vec![a]],
            20..500 => vec![vec![]],
            _ => vec![vec![b]],
        }),
    ];
    for (name, frames) in scenes {
        let mut shell = Shell::new();
        for n in 0..800 {
            for codes in frames(n, a, b) {
                shell.handle(LaneEvent::Seen(codes), 1_000_000 + n * 50_000);
            }
        }
        assert_eq!((shell.opened, shell.used), (1, 1), "{name}");
        let only_used = shell.refused.iter().all(|reason| *reason == Reason::AlreadyUsed);
        assert!(only_used, "{name}: {:?}", shell.refused);
        if name.contains("pause") {
            assert!(!shell.refused.is_empty(), "{name}: the second was judged, and refused");
        }
    }
}
