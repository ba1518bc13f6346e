//! Drivers and members: they come, show a pass, and go through if it opens; some turn back.

use std::collections::BTreeSet;

use gate_agent::replica::ReplicaReader;
use gate_core::event::{Event, EventBody};
use gate_core::ids::{Direction, ZoneId};
use gate_core::signals::ScreenKind;
use hardware::lines::Input;
use hardware::reader::ReaderEvent;

use super::faults::Fault;
use super::gate::Visit;
use super::hand::Edge;
use super::inside::Inside;
use super::template::LOT_PLACES;
use super::world::{What, World};
use crate::journal::journal_of;

/// What a visitor does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Holds up the pass.
    Show,
    /// Takes it away.
    Hide,
    /// Presses the exit button.
    Press,
    /// Must have been answered by now, if nothing was wrong meanwhile.
    MustBeAnswered,
    /// Has waited long enough.
    GiveUp,
    /// Is through.
    Through,
    /// Turns back under the open barrier.
    TurnBack,
}

/// Frames are looked at this often while something is in view, microseconds.
const FRAME_US: u64 = 120_000;
/// A verdict must be seen this soon after the pass was held up, microseconds.
const ANSWER_US: u64 = 1_000_000;

impl World<'_> {
    /// Somebody comes to a gate.
    pub fn visit(&mut self, gate: usize) {
        let over_us = self.plan.chaos_us + 40_000_000;
        if self.now_us > over_us {
            return;
        }
        if self.gates[gate].place.visit.is_some() {
            let after = 1_000_000 + self.below(2_000_000);
            self.later(after, What::Visit(gate));
            return;
        }
        let Some(pass) = self.choose(gate) else {
            let after = 2_000_000 + self.below(6_000_000);
            self.later(after, What::Visit(gate));
            return;
        };
        self.visits += 1;
        let id = self.visits;
        let goes = !self.gates[gate].inputs.barrier || self.percent(75);
        let visit = Visit { id, pass, shown_us: 0, opened_by: None, goes, left: false, answered: false };
        self.gates[gate].place.visit = Some(visit);
        self.tell(Some(gate), &format!("visitor {id} comes with pass {pass:?}"));
        if self.gates[gate].inputs.presence {
            self.later(0, What::Line(gate, Input::Presence, true));
        }
        let step = if pass.is_some() { Step::Show } else { Step::Press };
        let after = 400_000 + self.below(400_000);
        self.later(after, What::Visitor(gate, id, step));
        self.later(after + 20_000_000, What::Visitor(gate, id, Step::GiveUp));
    }

    /// What they bring: `Some(None)` is the exit button, `None` nobody.
    fn choose(&mut self, gate: usize) -> Option<Option<usize>> {
        if let Some(pass) = self.gates[gate].place.again.take() {
            return Some(Some(pass));
        }
        let ((zone, direction), free) = (self.gates[gate].behind, self.gates[gate].made.free_exit);
        if direction == Direction::Out {
            // People stay a while, so that the lot is nearly always nearly full.
            let there = self.watch.inside.get(&zone).map_or(0, Inside::count);
            let room = there + 1 < LOT_PLACES as usize;
            if zone == self.template.lot && room && self.percent(85) {
                return None;
            }
            let one = usize::try_from(self.below(there as u64)).unwrap_or(0);
            let one = self.watch.inside.get(&zone)?.pass(one)?;
            return Some(if free && self.percent(50) { None } else { Some(one) });
        }
        let count = self.template.passes.len() as u64;
        let any = usize::try_from(self.below(count)).unwrap_or(0);
        if self.percent(55) {
            // A pass nobody has shown yet, as long as there are any.
            let fresh = (0..self.template.passes.len()).find(|one| !self.watch.shown.contains(one));
            return Some(Some(fresh.unwrap_or(any)));
        }
        if self.percent(60) {
            let shown: Vec<usize> = self.watch.shown.iter().copied().collect();
            let at = usize::try_from(self.below(shown.len() as u64)).unwrap_or(0);
            return Some(Some(shown.get(at).copied().unwrap_or(any)));
        }
        Some(Some(any))
    }

    /// A visitor does something.
    pub fn visitor(&mut self, gate: usize, id: u64, step: Step) {
        let Some(visit) = self.gates[gate].place.visit.clone().filter(|visit| visit.id == id) else { return };
        match step {
            Step::Show => {
                let Some(pass) = visit.pass else { return };
                self.watch.shown.insert(pass);
                self.gates[gate].place.texts = vec![self.template.passes[pass].text.clone()];
                self.with_visit(gate, |visit, now_us| visit.shown_us = now_us);
                self.look(gate, 6_000_000);
                let hold = 1_800_000 + self.below(2_500_000);
                self.later(hold, What::Visitor(gate, id, Step::Hide));
                if self.is_fit(gate) {
                    self.later(ANSWER_US, What::Visitor(gate, id, Step::MustBeAnswered));
                }
            }
            Step::Hide => {
                self.gates[gate].place.texts.clear();
                self.look(gate, 2_500_000);
            }
            Step::Press => {
                self.later(0, What::Line(gate, Input::ExitButton, true));
                self.later(300_000, What::Line(gate, Input::ExitButton, false));
            }
            Step::MustBeAnswered => {
                let quiet = self.watch.troubled_us[gate] < visit.shown_us.saturating_sub(2_000_000) || visit.answered;
                if !visit.answered && quiet && self.is_fit(gate) {
                    let shows = self.gates[gate]
                        .agent
                        .as_ref()
                        .map(|agent| format!("{:?}", agent.facts.borrow().lane.as_ref().map(|lane| lane.kind)));
                    self.violated(
                        Some(gate),
                        &format!("I11: a pass was held up for {ANSWER_US} us and nobody answered: {shows:?}"),
                    );
                }
            }
            Step::GiveUp => {
                if visit.opened_by.is_none() {
                    self.tell(Some(gate), &format!("visitor {id} gives up"));
                    self.leave(gate, 0);
                }
            }
            Step::Through => {
                self.crossed(gate, &visit);
                if self.gates[gate].inputs.presence {
                    self.later(0, What::Line(gate, Input::Presence, false));
                    self.later(1_500_000, What::Line(gate, Input::BarrierOpen, false));
                }
                self.leave(gate, 1_800_000);
            }
            Step::TurnBack => {
                self.tell(Some(gate), &format!("visitor {id} turns back"));
                self.later(0, What::Line(gate, Input::BarrierOpen, false));
                self.later(1_000_000, What::Line(gate, Input::Presence, false));
                self.leave(gate, 1_500_000);
            }
        }
    }

    fn with_visit(&mut self, gate: usize, change: impl FnOnce(&mut Visit, u64)) {
        let now_us = self.now_us;
        if let Some(visit) = &mut self.gates[gate].place.visit {
            change(visit, now_us);
        }
    }

    /// The place is free for the next one after a while.
    fn leave(&mut self, gate: usize, after_us: u64) {
        self.gates[gate].place.texts.clear();
        self.gates[gate].place.visit = None;
        self.look(gate, 2_500_000);
        if after_us == 0 && self.gates[gate].inputs.presence {
            self.later(0, What::Line(gate, Input::Presence, false));
        }
        let next = after_us + 2_700_000 + self.below(6_000_000);
        self.later(next, What::Visit(gate));
    }

    /// Somebody is really through.
    fn crossed(&mut self, gate: usize, visit: &Visit) {
        let (zone, direction) = self.gates[gate].behind;
        let by = visit.opened_by.clone().unwrap_or_default();
        self.watch.crossings.push((gate, by.clone()));
        let inside = self.watch.inside.entry(zone).or_default();
        match direction {
            Direction::In => inside.enter(visit.pass.unwrap_or(0), visit.shown_us),
            Direction::Out => inside.leave(visit.pass, self.now_us),
        }
        let there = inside.count();
        let (counted, before) = inside.since(self.watch.forgotten.get(&zone).copied().unwrap_or(0));
        self.tell(Some(gate), &format!("visitor {} is through by {by}; {there} are inside", visit.id));
        // Where nobody watches the passage, whoever stands before the open exit has left.
        let lot_is_true = self.watch.set_back.is_none() && !self.watch.exchanged;
        let leaving = self.leaving(zone, gate);
        let places = LOT_PLACES as usize;
        let full = zone == self.template.lot && counted > places + leaving + before && lot_is_true;
        if full && counted > places + leaving + before + self.let_in_by_one_place(gate) {
            self.violated(Some(gate), &format!("capacity: {counted} vehicles are in {places} places"));
        }
    }

    /// How often somebody went in to make up for an opening of which nobody knew, and for that one somebody had too: a
    /// pass is shown again within ten minutes, by another one than the first.
    fn let_in_by_one_place(&self, gate: usize) -> usize {
        let through: BTreeSet<&str> = self.watch.crossings.iter().map(|(_, by)| by.as_str()).collect();
        let went_in_twice = |event: &Event| {
            matches!(&event.body, EventBody::Authorised { admission, .. } if admission.reopens.is_some_and(|first| {
                [event.id, first].iter().all(|id| through.contains(id.to_string().as_str()))
            }))
        };
        let journal = ReplicaReader::open(&self.gates[gate].database()).map(|reader| journal_of(&reader));
        // One that can't be read excuses nobody.
        let Ok(Ok(journal)) = journal else { return 0 };
        journal.iter().filter(|(event, _)| went_in_twice(event)).count()
    }

    /// How many stand before an open exit that does not see whether they drive on.
    fn leaving(&self, zone: ZoneId, but: usize) -> usize {
        let exits = self.gates.iter().enumerate().filter(|(at, gate)| {
            *at != but
                && gate.behind == (zone, Direction::Out)
                && !gate.inputs.barrier
                && gate.place.visit.as_ref().is_some_and(|visit| visit.opened_by.is_some())
        });
        exits.count()
    }

    /// The relay moved.
    pub fn edge(&mut self, gate: usize, edge: &Edge) {
        self.tell(Some(gate), &format!("relay {edge:?}"));
        let name = match edge {
            Edge::Off(on_us, asked_ms) => {
                if asked_ms.is_some_and(|ms| *on_us > u64::from(ms) * 1000 + 50_000) {
                    self.violated(
                        Some(gate),
                        &format!("I7: the relay was on for {on_us} us, asked for {asked_ms:?} ms"),
                    );
                }
                return;
            }
            Edge::On(None) => {
                self.violated(Some(gate), "I7: the relay closed for no pulse");
                return;
            }
            Edge::On(Some(name)) => name.clone(),
        };
        self.watch.figures.openings += 1;
        let stall = self.watch.stalls.iter().position(|at| *at <= self.now_us);
        if let Some(due) = stall.filter(|_| !self.healed) {
            self.watch.stalls.swap_remove(due);
            // Sometimes the next opening too, which may be the one that makes up for this.
            if self.percent(30) {
                self.watch.stalls.push(self.now_us);
            }
            // Early in a pulse it is cut short, later it goes on to its end.
            let early = self.percent(70);
            let after = if early { self.below(60_000) } else { self.below(900_000) };
            let still = 800_000 + self.below(2_500_000);
            self.later(after, What::Fault(Fault::Hang(gate, still)));
        }
        let free = name.starts_with("free/") && self.gates[gate].made.free_exit;
        if !free && !self.watch.is_durable(gate, &name) {
            self.violated(Some(gate), &format!("I1: the relay closed for {name}, which is not stored"));
        }
        if !self.watch.pulsed(gate, &name) {
            self.violated(Some(gate), &format!("I7: the relay closed twice for {name}"));
        }
        let barrier = self.gates[gate].inputs.barrier;
        let rises = 300_000 + self.below(2_200_000);
        if barrier {
            self.later(rises, What::Line(gate, Input::BarrierOpen, true));
        }
        let waiting = self.gates[gate].place.visit.clone().filter(|visit| visit.opened_by.is_none());
        match waiting {
            Some(visit) => {
                self.with_visit(gate, |visit, _| {
                    visit.opened_by = Some(name);
                    visit.answered = true;
                });
                // Some keep holding it up.
                let hold = if self.percent(70) { 700_000 } else { 4_000_000 };
                self.later(hold, What::Visitor(gate, visit.id, Step::Hide));
                let (step, after) = match (barrier, visit.goes) {
                    (true, true) => (Step::Through, rises + 1_500_000 + self.below(2_000_000)),
                    (true, false) => (Step::TurnBack, 6_000_000),
                    (false, _) => (Step::Through, 1_200_000),
                };
                self.later(after, What::Visitor(gate, visit.id, step));
            }
            None if barrier => self.later(6_000_000, What::Line(gate, Input::BarrierOpen, false)),
            None => {}
        }
    }

    /// Frames are looked at for a while.
    fn look(&mut self, gate: usize, for_us: u64) {
        let until = self.now_us + for_us;
        let life = self.gates[gate].life;
        let place = &mut self.gates[gate].place;
        place.frames_until = place.frames_until.max(until);
        if !place.running {
            place.running = true;
            self.later(1_000, What::Frame(gate, life));
        }
    }

    /// A new agent's eye looks at what is there.
    pub fn look_again(&mut self, gate: usize) {
        self.gates[gate].place.running = false;
        self.look(gate, 3_000_000);
    }

    /// The camera looks.
    pub fn frame(&mut self, gate: usize, life: u64) {
        let now_us = self.now_us;
        let one = &mut self.gates[gate];
        if now_us > one.place.frames_until {
            one.place.running = false;
            return;
        }
        self.glance(gate);
        self.later(FRAME_US, What::Frame(gate, life));
    }

    /// The eye reports what is in front of it.
    pub fn glance(&mut self, gate: usize) {
        let one = &self.gates[gate];
        if one.camera {
            let texts = one.place.texts.clone();
            let captured_mono_us = one.machine.mono_us(self.now_us).saturating_sub(2_000);
            let event = ReaderEvent::Seen { frame: 1, captured_mono_us, decode_us: 1_400, texts, luma_mean: 90 };
            self.lane(gate, |runner| runner.eye(event));
        }
    }

    /// Notes what the screen says to whoever stands there.
    pub fn look_at_screen(&mut self, gate: usize) {
        let Some(agent) = &self.gates[gate].agent else { return };
        let Some(kind) = agent.facts.borrow().lane.as_ref().map(|lane| lane.kind) else { return };
        let trusted = !self.watch.withdrawn.contains(&gate) && !self.is_evidence(gate);
        // Whoever is fit has no fault to show.
        let excuse = kind == ScreenKind::Fault && trusted && self.is_fit(gate);
        if kind != ScreenKind::Idle && kind != ScreenKind::Wait && !excuse {
            self.with_visit(gate, |visit, _| visit.answered |= visit.shown_us > 0);
        }
    }

    /// Whether nothing is wrong at this gate.
    fn is_fit(&self, gate: usize) -> bool {
        let one = &self.gates[gate];
        let calm = self.now_us.saturating_sub(self.watch.troubled_us[gate]) > 4_000_000;
        let brain = one.agent.as_ref().is_some_and(|agent| agent.hung_until <= self.now_us);
        one.powered && one.camera && !one.disk_fails && brain && one.hand.is_some() && calm
    }
}
