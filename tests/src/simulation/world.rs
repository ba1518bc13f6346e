//! The run itself: one queue of things to come, one clock, and the real parts in between.
//!
//! Nothing below this line has a thread, an operating system's clock or randomness: everything follows from the seed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gate_agent::lane_runner::{HEARTBEAT, StorageNews, beats_by_itself};
use gate_agent::sync::{RoadAnswer, RoadRequest, SyncError};
use gate_core::ids::{Hash, ZoneId};
use gate_core::lane::LaneEvent;
use hardware::compose::Chance;
use hardware::gate_io::hand::HandEvent;
use hardware::gate_io::{Command, IoEvent};
use hardware::lines::Input;
use hardware::reader::ReaderEvent;

use super::cards::Exchange;
use super::checks::Watch;
use super::cloud::Cloud;
use super::faults::Fault;
use super::gate::{Agent, Gate, Machine};
use super::hand::SimHand;
use super::office::Office;
use super::people::Step;
use super::plan::Plan;
use super::template::{BEGIN_MS, Template};

/// A run with more violations than this is broken off.
const TOO_MANY: usize = 20;

/// Something that will happen.
pub enum What {
    /// Somebody comes to a gate.
    Visit(usize),
    /// What a visitor does next: gate, visit.
    Visitor(usize, u64, Step),
    /// The camera looks: gate, life.
    Frame(usize, u64),
    /// A picture beside these: gate, life.
    Glance(usize, u64),
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
    /// The operator has what was put aside tried again.
    Release(usize),
    /// The cloud does what it does by itself.
    Rounds,
    /// The hour at which a zone begins anew.
    Anew(ZoneId),
    /// Somebody looks at the dashboard.
    Look,
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
    /// Until when something on the way refuses certain pushes, microseconds.
    pub refusing_until: u64,
    /// Seasons that went by while nobody was there, milliseconds.
    pub leap_ms: i64,
    queue: BTreeMap<(u64, u64), What>,
    serial: u64,
    /// The gates.
    pub gates: Vec<Gate>,
    /// The cloud, while it is up.
    pub cloud: Option<Cloud>,
    /// How often the cloud was started.
    pub cloud_life: u64,
    /// Its data.
    pub cloud_data: PathBuf,
    /// Its backup.
    pub backup: PathBuf,
    /// Requests so far.
    pub calls: u64,
    /// Visits so far.
    pub visits: u64,
    /// Everything is mended: only good things happen.
    pub healed: bool,
    /// Cards that are not in their own gates.
    pub exchange: Option<Exchange>,
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
    // The files of a seed that holds are of no use to anybody: the seed makes them again.
    if !run.tell || outcome.as_ref().is_ok_and(|outcome| outcome.violations.is_empty()) {
        let _left = std::fs::remove_dir_all(&run.folder);
    }
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
            let machine = Machine::boot(0, 0, &mut chance);
            gates.push(Gate::new(made.clone(), plan.inputs[index], folder, machine));
        }
        let watch = Watch::new(gates.len());
        let mut world = Self {
            template: run.template,
            plan,
            chance,
            now_us: 0,
            refusing_until: 0,
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
            exchange: None,
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
        world.plan_faults()?;
        world.plan_office();
        let chaos_us = world.plan.chaos_us;
        world.at(chaos_us, What::Heal);
        world.later(1_000_000, What::Rounds);
        world.later(10_000_000, What::Look);
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
            if at_us > end_us || self.watch.violations.len() > TOO_MANY {
                break;
            }
            self.now_us = at_us;
            self.happen(what)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<Outcome> {
        // Of a run that was broken off there is no end to look at.
        if self.watch.violations.len() <= TOO_MANY {
            self.check_end()?;
        }
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
        let of_hand = matches!(what, What::ToBrain(..));
        let until = |agent: &Agent| if of_hand { agent.deaf_until } else { agent.hung_until };
        let hung_until = self.gates[gate].agent.as_ref().map_or(0, until);
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
            | What::Glance(gate, life)
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
            | What::Release(_)
            | What::Rounds
            | What::Anew(_)
            | What::Look
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
            What::Glance(gate, _) => self.glance(gate),
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
            What::Release(gate) => {
                if let Some(agent) = &self.gates[gate].agent {
                    agent.with_writer(|replica| replica.release_quarantine())?;
                }
                self.engine_soon(gate, 1_000);
            }
            What::Rounds => self.rounds()?,
            What::Anew(zone) => {
                self.watch.anew.insert(zone, self.now_us);
            }
            What::Look => {
                self.later(17_000_000, What::Look);
                self.look_at_numbers()?;
            }
            What::Heal => self.heal()?,
        }
        Ok(())
    }
}
