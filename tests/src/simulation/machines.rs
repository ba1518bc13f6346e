//! At a gate: brain, hand and disk, and the time that each of them takes.

use gate_agent::lane_runner::{Job, StorageNews};
use gate_core::event::EventBody;
use gate_core::lane::Ticket;
use hardware::gate_io::hand::HandEvent;
use hardware::lines::Input;
use hardware::reader::ReaderEvent;

use super::faults::Fault;
use super::hand::SimHand;
use super::ports::Out;
use super::world::{What, World};

impl World<'_> {
    /// Gives the lane something, and carries out what it asks for.
    pub fn lane(
        &mut self,
        gate: usize,
        work: impl FnOnce(&mut gate_agent::lane_runner::Runner<super::ports::SimPorts>),
    ) {
        let (now_us, leap_ms) = (self.now_us, self.leap_ms);
        let one = &mut self.gates[gate];
        let reading = one.machine.reading(now_us, leap_ms);
        let Some(agent) = &mut one.agent else { return };
        agent.tick(reading);
        work(&mut agent.runner);
        self.carry_out(gate);
    }

    /// Carries out what the lane asked for, and sets its alarm.
    pub(super) fn carry_out(&mut self, gate: usize) {
        let now_us = self.now_us;
        let one = &self.gates[gate];
        let Some(agent) = &one.agent else { return };
        let (life, hand_life, mono_us) = (one.life, one.hand_life, one.machine.mono_us(now_us));
        for out in agent.asked() {
            match out {
                Out::Hand(command) => {
                    let takes = 30 + self.below(400);
                    let at = self.in_order(gate, 0, takes);
                    self.at(at, What::ToHand(gate, hand_life, life, command));
                }
                Out::Store(job) => {
                    self.called_lost(gate, &job);
                    if let Some(agent) = &mut self.gates[gate].agent {
                        agent.jobs.push_back(job);
                    }
                    self.disk(gate);
                }
            }
        }
        let Some(agent) = &mut self.gates[gate].agent else { return };
        if let Some(wake) = agent.runner.next_wake_us() {
            let at = now_us + wake.saturating_sub(mono_us).max(1);
            if agent.wake_at.is_none_or(|known| at < known || known <= now_us) {
                agent.wake_at = Some(at);
                self.at(at, What::Wake(gate, life));
            }
        }
        self.look_at_screen(gate);
    }

    /// Whether a pulse is called lost that the hand, which is there, carried out: what was not heard can be asked.
    fn called_lost(&mut self, gate: usize, job: &Job) {
        let Job::Record { body: EventBody::NotOpened { of, unknown: true }, .. } = job else { return };
        let one = &self.gates[gate];
        let connected = one.agent.as_ref().is_some_and(super::gate::Agent::has_hand);
        let watched = one.inputs.presence && one.inputs.barrier;
        let did = one.hand.as_ref().is_some_and(|hand| hand.has_carried_out(&of.to_string()));
        // Where the barrier can be seen a pulse that was given says little.
        if connected && did && !watched {
            self.violated(Some(gate), &format!("R-04: {of} is called lost, and the hand carried it out"));
        }
    }

    /// A moment for a message between brain and hand that does not overtake the one before.
    pub(super) fn in_order(&mut self, gate: usize, way: usize, takes_us: u64) -> u64 {
        let last = &mut self.gates[gate].last_io_us[way];
        *last = (*last + 1).max(self.now_us + takes_us);
        *last
    }

    /// Starts the disk on the next piece of work.
    pub(super) fn disk(&mut self, gate: usize) {
        let slow = self.percent(1);
        let takes = if slow { 50_000 + self.below(350_000) } else { 300 + self.below(4_000) };
        let life = self.gates[gate].life;
        let Some(agent) = &mut self.gates[gate].agent else { return };
        if agent.busy || agent.jobs.is_empty() {
            return;
        }
        agent.busy = true;
        self.later(takes, What::Commit(gate, life));
    }

    /// The disk has finished.
    pub(super) fn commit(&mut self, gate: usize, life: u64) {
        let fails = self.gates[gate].disk_fails;
        let Some(agent) = &mut self.gates[gate].agent else { return };
        agent.busy = false;
        let Some(job) = agent.jobs.pop_front() else { return };
        let told = format!("{job:?}");
        let resets = matches!(job, Job::ResetZones { .. });
        let head = resets.then(|| agent.with_writer(|replica| replica.journal_head()));
        let news = if fails { refused(&job) } else { agent.with_writer(|replica| job.carry_out(replica)) };
        if head.is_some_and(|head| head != agent.with_writer(|replica| replica.journal_head())) {
            let zone = self.gates[gate].made.zone;
            self.watch.forgotten.insert(zone, self.now_us);
            self.watch.figures.resets += 1;
            self.tell(Some(gate), "the gate lets its zone begin anew");
        }
        if let Some(StorageNews::Stored(_, event)) = &news {
            self.watch.durable(gate, &event.to_string());
        }
        let what = if fails { "not stored" } else { "stored" };
        self.tell(Some(gate), &format!("{what}: {}", short(&told)));
        if told.contains("Authorised") && self.is_ambushed(gate) {
            self.ambush(gate);
            return;
        }
        if let Some(news) = news {
            let after = 20 + self.below(200);
            self.later(after, What::News(gate, life, Box::new(news)));
        }
        if self.gates[gate].agent.as_ref().is_some_and(super::gate::Agent::take_recorded) {
            self.engine_soon(gate, 1_000);
        }
        self.disk(gate);
    }

    /// Whether the next admission is cut off between record and pulse.
    pub(super) fn is_ambushed(&mut self, gate: usize) -> bool {
        if std::mem::take(&mut self.gates[gate].place.ambushed_again) {
            return !self.healed;
        }
        let due = self.watch.ambushes.iter().position(|at| *at <= self.now_us);
        due.map(|at| self.watch.ambushes.swap_remove(at)).is_some() && !self.healed
    }

    /// The record is stored and nobody has heard of it: now the agent dies, or the power goes.
    pub(super) fn ambush(&mut self, gate: usize) {
        self.tell(Some(gate), "ambush: the record is stored, the pulse was not asked for");
        if self.percent(60) {
            let pass = self.gates[gate].place.visit.as_ref().and_then(|visit| visit.pass);
            self.gates[gate].place.again = pass;
            self.gates[gate].place.ambushed_again = self.percent(40);
        }
        let back = 300_000 + self.below(3_000_000);
        let fault = match self.below(3) {
            0 => Fault::PowerCut(gate, 5_000_000, super::faults::Wakes::AtTheCut),
            1 => Fault::KillHand(gate, back / 2),
            _ => Fault::KillAgent(gate, back),
        };
        if matches!(fault, Fault::KillHand(..)) {
            self.at(self.now_us, What::Fault(Fault::KillAgent(gate, back)));
        }
        self.at(self.now_us, What::Fault(fault));
    }

    /// Gives the hand something, shows what its relay did and hands on what it says.
    pub fn hand(&mut self, gate: usize, event: HandEvent) {
        let now_us = self.now_us;
        let one = &mut self.gates[gate];
        let mono_us = one.machine.mono_us(now_us);
        let (life, hand_life) = (one.life, one.hand_life);
        let Some(hand) = &mut one.hand else { return };
        let gone = event == HandEvent::Disconnected;
        let (said, edge) = hand.handle(event, mono_us);
        let client = hand.client;
        if gone {
            hand.client = None;
        }
        let wake = hand.next_wake(mono_us);
        if let Some(edge) = edge {
            self.edge(gate, &edge);
        }
        for event in said {
            if client == Some(life) && !gone {
                let takes = 30 + self.below(400);
                let at = self.in_order(gate, 1, takes);
                self.at(at, What::ToBrain(gate, life, event));
            }
        }
        let Some(at) = wake.map(|wake| now_us + wake.saturating_sub(mono_us).max(1)) else { return };
        let Some(hand) = &mut self.gates[gate].hand else { return };
        if hand.tick_at.is_none_or(|known| at < known || known <= now_us) {
            hand.tick_at = Some(at);
            self.at(at, What::HandTick(gate, hand_life));
        }
    }

    /// A wire at the gate changes.
    pub(super) fn line(&mut self, gate: usize, input: Input, active: bool) {
        let one = &mut self.gates[gate];
        one.active.retain(|known| *known != input);
        if active {
            one.active.push(input);
        }
        let mono_us = one.machine.mono_us(self.now_us);
        self.hand(gate, HandEvent::Edge { input, active, mono_us });
    }

    /// gate-io starts.
    pub fn start_hand(&mut self, gate: usize) {
        let one = &mut self.gates[gate];
        let mono_us = one.machine.mono_us(self.now_us);
        let active = one.active.clone();
        one.hand_life += 1;
        one.hand = Some(SimHand::start(&active, mono_us));
        self.tell(Some(gate), "gate-io starts");
        self.hand(gate, HandEvent::Tick);
        let life = self.gates[gate].life;
        self.later(60_000, What::Connect(gate, life));
    }

    /// gate-agent starts.
    pub fn start_agent(&mut self, gate: usize) -> anyhow::Result<()> {
        if !self.gates[gate].powered || !self.card_fits(gate) {
            return Ok(());
        }
        if let Err(error) = self.gates[gate].start_agent(self.now_us, self.leap_ms, &mut self.chance) {
            self.violated(Some(gate), &format!("gate-agent does not start: {error:#}"));
            return Ok(());
        }
        let life = self.gates[gate].life;
        self.tell(Some(gate), &format!("gate-agent starts, life {life}"));
        self.lane(gate, gate_agent::lane_runner::Runner::begin);
        self.later(1_000, What::Beat(gate, life));
        self.later(40_000, What::Connect(gate, life));
        self.engine_soon(gate, 50_000);
        if self.gates[gate].camera {
            self.camera_up(gate, 120_000);
        }
        Ok(())
    }

    /// The camera delivers from then on.
    pub fn camera_up(&mut self, gate: usize, after_us: u64) {
        let event = ReaderEvent::CameraUp {
            camera: "simulated".to_owned(),
            width: 1280,
            height: 720,
            sandboxed: hardware::reader::Sandboxed::None,
        };
        let life = self.gates[gate].life;
        self.later(after_us, What::Eye(gate, life, event));
    }

    /// The agent's client reaches gate-io, or tries again.
    pub(super) fn connect(&mut self, gate: usize, life: u64) {
        let hand = self.gates[gate].hand.as_mut();
        match hand {
            None => self.later(100_000, What::Connect(gate, life)),
            Some(hand) if hand.client == Some(life) => {}
            Some(hand) => {
                hand.client = Some(life);
                self.hand(gate, HandEvent::Connected);
            }
        }
    }
}

/// What a disk that takes nothing says.
fn refused(job: &gate_agent::lane_runner::Job) -> Option<StorageNews> {
    match job {
        Job::Record { ticket: Some(Ticket(number)), .. } => {
            Some(StorageNews::NotStored(Ticket(*number), "the disk takes nothing".to_owned()))
        }
        Job::Probe { .. } => Some(StorageNews::StillFails),
        Job::Record { ticket: None, .. } | Job::Unsettled => Some(StorageNews::Failed("the disk fails".to_owned())),
        Job::RaiseFloor { .. } | Job::ResetZones { .. } => None,
    }
}

/// The beginning of a long text, for the story.
fn short(text: &str) -> String {
    let from = text.find("body: ").map_or(0, |at| at + 6);
    text[from..].chars().take(100).collect()
}
