//! The run itself: one queue of things to come, one clock, and the real parts in between.
//!
//! Nothing below this line has a thread, an operating system's clock or randomness: everything follows from the seed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gate_agent::lane_runner::{HEARTBEAT, StorageNews, beats_by_itself};
use gate_agent::sync::{RoadAnswer, RoadRequest, SyncError};
use gate_core::ids::Hash;
use gate_core::lane::{LaneEvent, Ticket};
use hardware::compose::Chance;
use hardware::gate_io::hand::HandEvent;
use hardware::gate_io::{Command, IoEvent};
use hardware::lines::Input;
use hardware::reader::ReaderEvent;

use super::checks::Watch;
use super::cloud::Cloud;
use super::faults::Fault;
use super::gate::{Gate, Machine, Place, Way};
use super::hand::SimHand;
use super::office::Office;
use super::people::Step;
use super::plan::Plan;
use super::ports::Out;
use super::template::{BEGIN_MS, Template};

/// Something that will happen.
pub enum What {
    /// Somebody comes to a gate.
    Visit(usize),
    /// What a visitor does next: gate, visit.
    Visitor(usize, u64, Step),
    /// The camera looks: gate, life.
    Frame(usize, u64),
    /// The eye says something: gate, life.
    Eye(usize, u64, ReaderEvent),
    /// A quarter of a second is over: gate, life.
    Beat(usize, u64),
    /// The lane wanted to be woken: gate, life.
    Wake(usize, u64),
    /// The disk has finished a piece of work: gate, life.
    Commit(usize, u64),
    /// The lane hears of it: gate, life.
    News(usize, u64, Box<StorageNews>),
    /// The agent's client reaches gate-io: gate, life.
    Connect(usize, u64),
    /// The hand gets a command: gate, hand's life, agent's life.
    ToHand(usize, u64, u64, Command),
    /// The hand notices that its client is gone: gate, hand's life, agent's life.
    Gone(usize, u64, u64),
    /// Time passes for the hand: gate, hand's life.
    HandTick(usize, u64),
    /// The brain hears from the hand: gate, life.
    ToBrain(usize, u64, IoEvent),
    /// The engine goes on: gate, life, ticket.
    Sync(usize, u64, u64),
    /// A request reaches the cloud: gate, life, call; `None` for a second copy whose answer nobody takes.
    Arrive(usize, u64, Option<u64>, Box<RoadRequest>),
    /// An answer reaches the gate, or the gate gives up: gate, life, call.
    Answered(usize, u64, u64, Box<Result<RoadAnswer, SyncError>>),
    /// The cloud says that there is news.
    Hint(usize),
    /// Something breaks.
    Fault(Fault),
    /// The office does something.
    Office(Office),
    /// A wire at the gate changes.
    Line(usize, Input, bool),
    /// A hung brain must have let go of its hand by now.
    MustBeSafe(usize, u64),
    /// Everything is mended from here on.
    Heal,
}

/// What a run needs from outside.
pub struct Run<'a> {
    /// The venue.
    pub template: &'a Template,
    /// Everything follows from it.
    pub seed: u64,
    /// Where its files are; removed at the end.
    pub folder: PathBuf,
    /// Keep the story, not only its hash.
    pub tell: bool,
}

/// What came of a run.
pub struct Outcome {
    /// The hash of everything that happened, in order.
    pub trace: Hash,
    /// What must not have happened.
    pub violations: Vec<String>,
    /// What happened, if it was asked for.
    pub story: Vec<String>,
    /// What it was worth.
    pub figures: super::checks::Figures,
}

/// A world under way.
pub struct World<'a> {
    /// The venue.
    pub template: &'a Template,
    /// What follows from the seed.
    pub plan: Plan,
    /// Randomness.
    pub chance: Chance,
    /// Microseconds since the run began.
    pub now_us: u64,
    /// Seasons that went by while nobody was there, milliseconds.
    pub leap_ms: i64,
    queue: BTreeMap<(u64, u64), What>,
    serial: u64,
    /// The gates.
    pub gates: Vec<Gate>,
    /// The cloud, while it is up.
    pub cloud: Option<Cloud>,
    cloud_life: u64,
    /// Its data.
    pub cloud_data: PathBuf,
    /// Its backup.
    pub backup: PathBuf,
    calls: u64,
    /// Visits so far.
    pub visits: u64,
    /// Everything is mended: only good things happen.
    pub healed: bool,
    hash: Hash,
    story: Option<Vec<String>>,
    /// What must hold.
    pub watch: Watch,
}

/// Runs a seed.
pub fn run(run: &Run<'_>) -> anyhow::Result<Outcome> {
    let mut world = World::new(run)?;
    let ended = world.go();
    let outcome = ended.and_then(|()| world.finish());
    drop(world);
    // The files are of no use to anybody: a seed makes them again.
    let _left = std::fs::remove_dir_all(&run.folder);
    outcome
}

impl<'a> World<'a> {
    fn new(run: &Run<'a>) -> anyhow::Result<Self> {
        let mut chance = Chance::new(run.seed);
        let plan = Plan::draw(&mut chance);
        std::fs::create_dir_all(&run.folder)?;
        let (cloud_data, backup) = (run.folder.join("cloud"), run.folder.join("backup"));
        run.template.copy_cloud(&cloud_data)?;
        let cloud = Cloud::open(&cloud_data, BEGIN_MS, run.seed, run.template.cookie.clone())?;
        let mut gates = Vec::new();
        for (index, made) in run.template.gates.iter().take(plan.gates).enumerate() {
            let folder = run.folder.join(format!("gate{index}"));
            std::fs::create_dir_all(&folder)?;
            gates.push(Gate {
                made: made.clone(),
                inputs: plan.inputs[index],
                folder,
                machine: Machine::boot(0, 0, &mut chance),
                powered: true,
                agent: None,
                life: 0,
                hand: None,
                hand_life: 0,
                camera: true,
                disk_fails: false,
                active: Vec::new(),
                way: Way::default(),
                ntp_offset_ms: 0,
                place: Place::default(),
                last_io_us: [0; 2],
            });
        }
        let watch = Watch::new(gates.len());
        let mut world = Self {
            template: run.template,
            plan,
            chance,
            now_us: 0,
            leap_ms: 0,
            queue: BTreeMap::new(),
            serial: 0,
            gates,
            cloud: Some(cloud),
            cloud_life: 1,
            cloud_data,
            backup,
            calls: 0,
            visits: 0,
            healed: false,
            hash: Hash::ZERO,
            story: run.tell.then(Vec::new),
            watch,
        };
        for gate in 0..world.gates.len() {
            world.start_hand(gate);
            world.start_agent(gate)?;
            let first = 1_000_000 + world.below(5_000_000);
            world.later(first, What::Visit(gate));
        }
        world.plan_faults();
        world.plan_office();
        let chaos_us = world.plan.chaos_us;
        world.at(chaos_us, What::Heal);
        Ok(world)
    }

    /// What time it really is, Unix milliseconds.
    pub fn true_ms(&self) -> i64 {
        BEGIN_MS + self.leap_ms + (self.now_us / 1000).cast_signed()
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.chance.bits() % n.max(1)
    }

    /// Of a hundred times so many.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Puts something into the queue, at a moment.
    pub fn at(&mut self, at_us: u64, what: What) {
        self.serial += 1;
        self.queue.insert((at_us.max(self.now_us), self.serial), what);
    }

    /// Puts something into the queue, after a while.
    pub fn later(&mut self, after_us: u64, what: What) {
        self.at(self.now_us + after_us, what);
    }

    /// Notes that something happened.
    pub fn tell(&mut self, gate: Option<usize>, text: &str) {
        let line = match gate {
            Some(gate) => format!("{:>11.6} {:<13} {text}", self.now_us as f64 / 1e6, self.gates[gate].made.name),
            None => format!("{:>11.6} {:<13} {text}", self.now_us as f64 / 1e6, "-"),
        };
        let mut bytes = self.hash.0.to_vec();
        bytes.extend_from_slice(line.as_bytes());
        self.hash = Hash::of("gatetrace/1", &bytes);
        if let Some(story) = &mut self.story {
            story.push(line);
        }
    }

    /// Notes that something happened that must not.
    pub fn violated(&mut self, gate: Option<usize>, text: &str) {
        self.tell(gate, &format!("VIOLATION: {text}"));
        let name = gate.map_or("", |gate| self.gates[gate].made.name);
        self.watch.violations.push(format!("{:.6} s {name}: {text}", self.now_us as f64 / 1e6));
    }

    fn go(&mut self) -> anyhow::Result<()> {
        let end_us = self.plan.chaos_us + self.plan.calm_us;
        while let Some(((at_us, _), what)) = self.queue.pop_first() {
            if at_us > end_us || self.watch.violations.len() > 20 {
                break;
            }
            self.now_us = at_us;
            self.happen(what)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<Outcome> {
        self.check_end()?;
        Ok(Outcome {
            trace: self.hash,
            violations: std::mem::take(&mut self.watch.violations),
            story: self.story.take().unwrap_or_default(),
            figures: self.watch.figures,
        })
    }

    /// The living agent of this life, not hung: otherwise what happens is put off or dropped.
    fn lives(&self, gate: usize, life: u64) -> bool {
        self.gates[gate].life == life && self.gates[gate].agent.is_some()
    }

    /// Puts off what a hung loop can't take in now.
    fn hangs(&mut self, gate: usize, what: What) -> Option<What> {
        let hung_until = self.gates[gate].agent.as_ref().map_or(0, |agent| agent.hung_until);
        if hung_until > self.now_us {
            if let What::Beat(gate, life) = what
                && beats_by_itself()
            {
                let hand = self.gates[gate].hand_life;
                self.later(100, What::ToHand(gate, hand, life, Command::Heartbeat { hold: false }));
                self.later(HEARTBEAT.as_micros() as u64, What::Beat(gate, life));
                return None;
            }
            self.at(hung_until, what);
            return None;
        }
        Some(what)
    }

    fn happen(&mut self, what: What) -> anyhow::Result<()> {
        let of_loop = match &what {
            What::Frame(gate, life)
            | What::Eye(gate, life, _)
            | What::Beat(gate, life)
            | What::Wake(gate, life)
            | What::News(gate, life, _)
            | What::ToBrain(gate, life, _) => Some((*gate, *life)),
            What::Commit(gate, life) | What::Connect(gate, life) | What::Sync(gate, life, _) => {
                if !self.lives(*gate, *life) {
                    return Ok(());
                }
                None
            }
            What::Visit(_)
            | What::Visitor(..)
            | What::ToHand(..)
            | What::Gone(..)
            | What::HandTick(..)
            | What::Arrive(..)
            | What::Answered(..)
            | What::Hint(_)
            | What::Fault(_)
            | What::Office(_)
            | What::Line(..)
            | What::MustBeSafe(..)
            | What::Heal => None,
        };
        let what = match of_loop {
            None => what,
            Some((gate, life)) if !self.lives(gate, life) => return Ok(()),
            Some((gate, _)) => match self.hangs(gate, what) {
                Some(what) => what,
                None => return Ok(()),
            },
        };
        match what {
            What::Visit(gate) => self.visit(gate),
            What::Visitor(gate, visit, step) => self.visitor(gate, visit, step),
            What::Frame(gate, life) => self.frame(gate, life),
            What::Eye(gate, _, event) => self.lane(gate, |runner| runner.eye(event)),
            What::Beat(gate, life) => {
                self.lane(gate, |runner| runner.beat());
                self.later(HEARTBEAT.as_micros() as u64, What::Beat(gate, life));
            }
            What::Wake(gate, _) => {
                if let Some(agent) = &mut self.gates[gate].agent {
                    agent.wake_at = None;
                }
                self.lane(gate, |runner| runner.feed(LaneEvent::Woke));
            }
            What::Commit(gate, life) => self.commit(gate, life),
            What::News(gate, _, news) => self.lane(gate, |runner| runner.storage(*news)),
            What::Connect(gate, life) => self.connect(gate, life),
            What::ToHand(gate, hand, life, command) => {
                let fits = |h: &SimHand| h.client == Some(life);
                if self.gates[gate].hand_life == hand && self.gates[gate].hand.as_ref().is_some_and(fits) {
                    self.hand(gate, HandEvent::Command(command));
                }
            }
            What::Gone(gate, hand, life) => {
                let gates = &mut self.gates[gate];
                if gates.hand_life == hand && gates.hand.as_ref().is_some_and(|hand| hand.client == Some(life)) {
                    self.hand(gate, HandEvent::Disconnected);
                }
            }
            What::HandTick(gate, hand) => {
                if self.gates[gate].hand_life == hand && self.gates[gate].hand.is_some() {
                    self.hand(gate, HandEvent::Tick);
                }
            }
            What::ToBrain(gate, _, event) => {
                if let (IoEvent::Up { .. }, Some(agent)) = (&event, &self.gates[gate].agent) {
                    agent.hand_is_up(true);
                }
                if let (IoEvent::Lost { .. }, Some(agent)) = (&event, &self.gates[gate].agent) {
                    agent.hand_is_up(false);
                }
                self.lane(gate, |runner| runner.hand(event));
            }
            What::Sync(gate, life, ticket) => {
                if self.gates[gate].agent.as_ref().is_some_and(|agent| agent.sync_ticket == ticket) {
                    self.sync(gate, life);
                }
            }
            What::Arrive(gate, life, call, request) => self.arrive(gate, life, call, *request)?,
            What::Answered(gate, life, call, answer) => {
                if self.lives(gate, life) {
                    let call = self.gates[gate].agent.as_mut().and_then(|agent| agent.calls.remove(&call));
                    if let Some(call) = call {
                        let _gone = call.send(*answer);
                        self.sync(gate, life);
                    }
                }
            }
            What::Hint(gate) => {
                let life = self.gates[gate].life;
                if let Some(agent) = &self.gates[gate].agent {
                    agent.wake.hinted();
                    self.sync(gate, life);
                }
            }
            What::Fault(fault) => self.fault(fault)?,
            What::Office(act) => self.office(act)?,
            What::Line(gate, input, active) => self.line(gate, input, active),
            What::MustBeSafe(gate, hand) => {
                let mono_us = self.gates[gate].machine.mono_us(self.now_us);
                let hung = self.gates[gate].agent.as_ref().is_some_and(|agent| agent.hung_until > self.now_us);
                let unsafe_hand = self.gates[gate].hand.as_ref().is_some_and(|one| !one.is_safe(mono_us));
                if hung && unsafe_hand && self.gates[gate].hand_life == hand {
                    self.violated(Some(gate), "R-04: the brain hangs and the hand is not at its safe levels");
                }
            }
            What::Heal => self.heal()?,
        }
        Ok(())
    }

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
    fn carry_out(&mut self, gate: usize) {
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

    /// A moment for a message between brain and hand that does not overtake the one before.
    fn in_order(&mut self, gate: usize, way: usize, takes_us: u64) -> u64 {
        let last = &mut self.gates[gate].last_io_us[way];
        *last = (*last + 1).max(self.now_us + takes_us);
        *last
    }

    /// Starts the disk on the next piece of work.
    fn disk(&mut self, gate: usize) {
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
    fn commit(&mut self, gate: usize, life: u64) {
        let fails = self.gates[gate].disk_fails;
        let Some(agent) = &mut self.gates[gate].agent else { return };
        agent.busy = false;
        let Some(job) = agent.jobs.pop_front() else { return };
        let told = format!("{job:?}");
        let news = if fails { refused(&job) } else { agent.with_writer(|replica| job.carry_out(replica)) };
        if let Some(StorageNews::Stored(_, event)) = &news {
            self.watch.durable(gate, &event.to_string());
        }
        let what = if fails { "not stored" } else { "stored" };
        self.tell(Some(gate), &format!("{what}: {}", short(&told)));
        if told.contains("Authorised") && self.is_ambushed() {
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
    fn is_ambushed(&mut self) -> bool {
        let due = self.watch.ambushes.iter().position(|at| *at <= self.now_us);
        due.map(|at| self.watch.ambushes.swap_remove(at)).is_some() && !self.healed
    }

    /// The record is stored and nobody has heard of it: now the agent dies, or the power goes.
    fn ambush(&mut self, gate: usize) {
        self.tell(Some(gate), "ambush: the record is stored, the pulse was not asked for");
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
        if let Some(wake) = wake {
            self.later(wake.saturating_sub(mono_us).max(1), What::HandTick(gate, hand_life));
        }
    }

    /// A wire at the gate changes.
    fn line(&mut self, gate: usize, input: Input, active: bool) {
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
        if !self.gates[gate].powered {
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
    fn connect(&mut self, gate: usize, life: u64) {
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

    /// Lets the engine go on after a while.
    pub fn engine_soon(&mut self, gate: usize, after_us: u64) {
        let life = self.gates[gate].life;
        let Some(agent) = &mut self.gates[gate].agent else { return };
        agent.sync_ticket += 1;
        let ticket = agent.sync_ticket;
        self.later(after_us, What::Sync(gate, life, ticket));
    }

    /// Lets the engine run, and sends what it wants to send.
    fn sync(&mut self, gate: usize, life: u64) {
        let (now_us, leap_ms) = (self.now_us, self.leap_ms);
        let one = &mut self.gates[gate];
        let reading = one.machine.reading(now_us, leap_ms);
        let mono_us = one.machine.mono_us(now_us);
        let Some(agent) = &mut one.agent else { return };
        agent.tick(reading);
        let requests = agent.run_engine();
        let hung = agent.hung_until > now_us;
        for (request, call) in requests {
            self.calls += 1;
            let number = self.calls;
            if let Some(agent) = &mut self.gates[gate].agent {
                agent.calls.insert(number, call);
            }
            self.send(gate, life, number, request);
        }
        if !hung {
            if let Some(agent) = &mut self.gates[gate].agent {
                agent.hear();
            }
            self.carry_out(gate);
        }
        if let Some(until) = self.gates[gate].agent.as_ref().and_then(super::gate::Agent::pauses_until) {
            self.engine_soon(gate, until.saturating_sub(mono_us).clamp(200, 60_000_000));
        }
    }

    /// Puts a request on the way.
    fn send(&mut self, gate: usize, life: u64, call: u64, request: RoadRequest) {
        let way = self.gates[gate].way;
        let takes = 5_000 + self.below(60_000) + self.below(way.slow_ms * 1000 + 1);
        if way.up_cut || self.percent(way.loss) {
            // Nobody answers; the client gives up.
            let lost = Err(SyncError::Unreachable("no answer in time".to_owned()));
            self.later(3_000_000, What::Answered(gate, life, call, Box::new(lost)));
            return;
        }
        if self.percent(way.twice) {
            let again = takes + self.below(3_000_000);
            self.later(again, What::Arrive(gate, life, None, Box::new(request.clone())));
        }
        self.later(takes, What::Arrive(gate, life, Some(call), Box::new(request)));
    }

    /// A request reaches the cloud.
    fn arrive(&mut self, gate: usize, life: u64, call: Option<u64>, request: RoadRequest) -> anyhow::Result<()> {
        let (way, true_ms) = (self.gates[gate].way, self.true_ms());
        let lost = || Box::new(Err(SyncError::Unreachable("no answer in time".to_owned())));
        let Some(cloud) = &mut self.cloud else {
            if let Some(call) = call {
                self.later(20_000, What::Answered(gate, life, call, lost()));
            }
            return Ok(());
        };
        cloud.set_clock(true_ms);
        let path = if request.query.is_empty() {
            request.path.to_owned()
        } else {
            format!("{}?{}", request.path, request.query)
        };
        let headers: Vec<(&str, String)> = request.headers;
        let answer = cloud.send_raw(request.method.as_str(), &path, &headers, request.body)?;
        self.tell(Some(gate), &format!("{} -> {} ({} bytes)", request.path, answer.status.as_u16(), answer.body.len()));
        if answer.status.is_server_error() {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            self.violated(Some(gate), &format!("the cloud failed: {} {text}", answer.status));
        }
        if request.path.ends_with("/events") && answer.status.is_success() {
            for other in 0..self.gates.len() {
                let deaf = self.gates[other].way.down_cut || self.gates[other].way.up_cut;
                if !deaf && !self.percent(10) {
                    let takes = 5_000 + self.below(40_000);
                    self.later(takes, What::Hint(other));
                }
            }
        }
        let Some(call) = call else { return Ok(()) };
        if way.down_cut || self.percent(way.loss) {
            self.later(10_000_000, What::Answered(gate, life, call, lost()));
            return Ok(());
        }
        let answer = RoadAnswer { status: answer.status, headers: answer.headers, body: answer.body };
        let takes = 5_000 + self.below(60_000) + self.below(way.slow_ms * 1000 + 1);
        self.later(takes, What::Answered(gate, life, call, Box::new(Ok(answer))));
        Ok(())
    }

    /// The cloud's process ends.
    pub fn stop_cloud(&mut self) {
        self.cloud = None;
    }

    /// The cloud's process starts, on whatever is in its folder.
    pub fn start_cloud(&mut self) -> anyhow::Result<()> {
        if self.cloud.is_none() {
            self.cloud_life += 1;
            let seed = self.plan.seed_of_cloud.wrapping_add(self.cloud_life);
            let now_ms = self.true_ms();
            self.cloud = Some(Cloud::open(&self.cloud_data, now_ms, seed, self.template.cookie.clone())?);
        }
        Ok(())
    }

    /// The cloud's folder.
    pub fn cloud_folder(&self) -> &Path {
        &self.cloud_data
    }
}

/// What a disk that takes nothing says.
fn refused(job: &gate_agent::lane_runner::Job) -> Option<StorageNews> {
    use gate_agent::lane_runner::Job;
    match job {
        Job::Record { ticket: Some(Ticket(number)), .. } => {
            Some(StorageNews::NotStored(Ticket(*number), "the disk takes nothing".to_owned()))
        }
        Job::Probe { .. } => Some(StorageNews::StillFails),
        Job::Record { ticket: None, .. } | Job::RaiseFloor { .. } | Job::Unsettled => None,
    }
}

/// The beginning of a long text, for the story.
fn short(text: &str) -> String {
    let from = text.find("body: ").map_or(0, |at| at + 6);
    text[from..].chars().take(100).collect()
}
