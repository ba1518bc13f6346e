//! One simulated gate: a machine with clocks, the agent that runs on it, the hand beside it, and what stands before it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use gate_agent::config::LaneInputs;
use gate_agent::daemon::time_keeper;
use gate_agent::identity::Identity;
use gate_agent::lane_runner::{Job, Known, Runner};
use gate_agent::replica::{Replica, ReplicaError, Start};
use gate_agent::screen::Facts;
use gate_agent::sync::engine::{Ears, Engine, SignedMoment};
use gate_agent::sync::{CloudUrl, RoadAnswer, RoadRequest, SignedTransport, SyncError, Wake};
use gate_core::ids::{BootId, Direction, ZoneId};
use gate_core::sync::session::Link;
use gate_core::time::{ClockReading, TimeKeeper};
use hardware::compose::Chance;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::cloud::AUTHORITY;
use super::hand::SimHand;
use super::ports::{Desk, Mailbox, Out, Pause, SimPorts, SimRoad, SimSurroundings, drive};
use super::template::{BEGIN_MS, GateMade};

/// A machine's clocks.
#[derive(Clone, Copy)]
pub struct Machine {
    /// When it booted, microseconds of the run.
    pub booted_us: u64,
    /// Which boot this is.
    pub boot: BootId,
    /// How wrong its system clock is, milliseconds.
    pub offset_ms: i64,
    /// Something that calls itself NTP keeps its clock.
    pub ntp: bool,
}

impl Machine {
    /// A fresh boot.
    pub fn boot(now_us: u64, offset_ms: i64, chance: &mut Chance) -> Self {
        let id = Uuid::from_u64_pair(chance.bits(), chance.bits());
        Self { booted_us: now_us, boot: BootId(id), offset_ms, ntp: false }
    }

    /// Monotonic microseconds at this moment of the run.
    pub fn mono_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.booted_us) + 4_000_000
    }

    /// What the clocks read.
    pub fn reading(&self, now_us: u64, leap_ms: i64) -> ClockReading {
        let system_ms = BEGIN_MS + leap_ms + (now_us / 1000).cast_signed() + self.offset_ms;
        ClockReading { system_ms, mono_us: self.mono_us(now_us), ntp: self.ntp }
    }
}

/// The way between a gate and the cloud.
#[derive(Clone, Copy, Default, Debug)]
pub struct Way {
    /// Nothing gets from the gate to the cloud.
    pub up_cut: bool,
    /// Nothing gets from the cloud to the gate.
    pub down_cut: bool,
    /// Of a hundred packets so many are lost.
    pub loss: u64,
    /// Of a hundred packets so many come twice.
    pub twice: u64,
    /// Everything takes up to this long, milliseconds.
    pub slow_ms: u64,
}

type EngineTask = Pin<Box<dyn Future<Output = ()>>>;
type Call = oneshot::Sender<Result<RoadAnswer, SyncError>>;

/// A running agent.
pub struct Agent {
    /// The lane.
    pub runner: Runner<SimPorts>,
    desk: Rc<Desk>,
    /// The one writer.
    pub writer: Arc<Mutex<Replica>>,
    /// What waits for the disk.
    pub jobs: VecDeque<Job>,
    /// The disk is at work.
    pub busy: bool,
    engine: EngineTask,
    pause: Arc<Mutex<Pause>>,
    mailbox: Mailbox,
    /// Wakes the engine.
    pub wake: Arc<Wake>,
    recorded: Arc<AtomicBool>,
    surroundings: Arc<SimSurroundings>,
    signed: mpsc::Receiver<SignedMoment>,
    changed: watch::Receiver<u64>,
    /// What its screen shows.
    pub facts: watch::Receiver<Facts>,
    /// Requests on their way, by number.
    pub calls: BTreeMap<u64, Call>,
    /// When the lane is to be woken, as scheduled.
    pub wake_at: Option<u64>,
    /// The newest schedule of the engine.
    pub sync_ticket: u64,
    /// Until when the decision loop stands still, microseconds of the run.
    pub hung_until: u64,
    /// And until when it hears nothing from the hand: its own alarms may go off before the words that waited in the socket.
    pub deaf_until: u64,
}

/// What stands before the camera and at the barrier.
#[derive(Default)]
pub struct Place {
    /// What the camera would read.
    pub texts: Vec<String>,
    /// Until when frames are worth looking at.
    pub frames_until: u64,
    /// Frames are coming.
    pub running: bool,
    /// Who is there.
    pub visit: Option<Visit>,
    /// A pass for which the gate perhaps did not open: whoever holds it comes again.
    pub again: Option<usize>,
    /// And then the machine dies at the same moment.
    pub ambushed_again: bool,
}

/// Somebody at a gate.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Number of the visit.
    pub id: u64,
    /// The pass they show, as a place in the template's list; `None`: they press the exit button.
    pub pass: Option<usize>,
    /// When they showed it.
    pub shown_us: u64,
    /// The pulse that opened for them.
    pub opened_by: Option<String>,
    /// They mean to go through.
    pub goes: bool,
    /// They turned away or went.
    pub left: bool,
    /// What the screen said was seen.
    pub answered: bool,
}

/// A gate with everything about it.
pub struct Gate {
    /// As the venue made it: what its card says.
    pub made: GateMade,
    /// What really lies behind its barrier, and which way it leads.
    pub behind: (ZoneId, Direction),
    /// The files that name its board, where the card's key is bound to it.
    pub board: Option<PathBuf>,
    /// The card is in another gate's board.
    pub astray: bool,
    /// What is wired.
    pub inputs: LaneInputs,
    /// The state folder.
    pub folder: PathBuf,
    /// Its clocks.
    pub machine: Machine,
    /// The power is on.
    pub powered: bool,
    /// The brain.
    pub agent: Option<Agent>,
    /// How many brains there were.
    pub life: u64,
    /// The hand.
    pub hand: Option<SimHand>,
    /// How many hands there were.
    pub hand_life: u64,
    /// The camera works.
    pub camera: bool,
    /// The disk takes nothing.
    pub disk_fails: bool,
    /// Inputs that are active.
    pub active: Vec<hardware::lines::Input>,
    /// The way to the cloud.
    pub way: Way,
    /// Somebody's lies about the time.
    pub ntp_offset_ms: i64,
    /// In front of it.
    pub place: Place,
    /// The last delivery between brain and hand, each way, so that nothing overtakes.
    pub last_io_us: [u64; 2],
}

impl Gate {
    /// A gate with power and a card that was never used.
    pub fn new(made: GateMade, inputs: LaneInputs, folder: PathBuf, machine: Machine) -> Self {
        let behind = (made.zone, made.direction);
        Self {
            made,
            behind,
            board: None,
            astray: false,
            inputs,
            folder,
            machine,
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
        }
    }

    /// Where its database is.
    pub fn database(&self) -> PathBuf {
        self.folder.join("replica.db")
    }

    /// Opens the replica as the daemon does, and enrols it if it is new.
    fn open_replica(&self, time: &mut TimeKeeper, reading: ClockReading, epoch: u64) -> Result<Replica, ReplicaError> {
        let (now, _) = time.now(reading);
        let start = Start { epoch, now, software: "simulated".to_owned() };
        let mut replica = Replica::open(&self.database(), start)?;
        if replica.identity().is_none() {
            let identity = Identity::of(&self.made.enrolled, &format!("https://{AUTHORITY}"));
            replica.set_identity(&identity, &self.made.enrolled, now)?;
        }
        Ok(replica)
    }

    /// Starts the agent.
    pub fn start_agent(&mut self, now_us: u64, leap_ms: i64, chance: &mut Chance) -> anyhow::Result<()> {
        let reading = self.machine.reading(now_us, leap_ms);
        let mut time = time_keeper(&self.database(), self.machine.boot);
        let mut replica = self.open_replica(&mut time, reading, chance.bits() >> 1)?;
        let reader = replica.reader()?;
        let recorded = Arc::new(AtomicBool::new(true));
        let told = Arc::clone(&recorded);
        replica.on_record(Box::new(move || told.store(true, Ordering::Relaxed)));
        let (facts, facts_seen) = watch::channel(Facts::default());
        let desk = Rc::new(Desk { reading: Cell::new(reading), up: Cell::new(false), out: RefCell::new(Vec::new()) });
        let known = Known { replica: reader, inputs: self.inputs, time, facts };
        let runner = Runner::new(known, SimPorts(Rc::clone(&desk)));
        let writer = Arc::new(Mutex::new(replica));
        let surroundings = Arc::new(SimSurroundings::new(self.machine.boot, chance.bits()));
        let (signed, signed_heard) = mpsc::channel(4);
        let (changed, changed_seen) = watch::channel(0);
        let mailbox = Mailbox::default();
        let url = CloudUrl::parse(&format!("https://{AUTHORITY}"))?;
        let device = (self.made.enrolled.device, self.made.key.clone());
        let transport = SignedTransport::over(SimRoad(Arc::clone(&mailbox)), url, device, surroundings.clone());
        let wake = Arc::new(Wake::default());
        let ears = Ears { signed, changed, link: Box::new(|_: Link, _: Option<String>| {}) };
        let store = Arc::clone(&writer);
        let engine =
            Engine::new((transport, store), self.made.key.clone(), surroundings.clone(), Arc::clone(&wake), ears);
        let pause = Arc::new(Mutex::new(Pause::default()));
        self.life += 1;
        self.agent = Some(Agent {
            runner,
            desk,
            writer,
            jobs: VecDeque::new(),
            busy: false,
            engine: Box::pin(drive(engine, Arc::clone(&pause))),
            pause,
            mailbox,
            wake,
            recorded,
            surroundings,
            signed: signed_heard,
            changed: changed_seen,
            facts: facts_seen,
            calls: BTreeMap::new(),
            wake_at: None,
            sync_ticket: 0,
            hung_until: 0,
            deaf_until: 0,
        });
        Ok(())
    }
}

impl Agent {
    /// Sets what its clocks read.
    pub fn tick(&self, reading: ClockReading) {
        self.desk.reading.set(reading);
        self.surroundings.wall_ms.store(reading.system_ms, Ordering::Relaxed);
        self.surroundings.mono_us.store(reading.mono_us, Ordering::Relaxed);
    }

    /// The hand is connected, as far as the client knows.
    pub fn hand_is_up(&self, up: bool) {
        self.desk.up.set(up);
    }

    /// Whether it takes the hand for connected.
    pub fn has_hand(&self) -> bool {
        self.desk.up.get()
    }

    /// What the lane asked for since last time.
    pub fn asked(&self) -> Vec<Out> {
        std::mem::take(&mut self.desk.out.borrow_mut())
    }

    /// Whether an event was recorded since last time.
    pub fn take_recorded(&self) -> bool {
        self.recorded.swap(false, Ordering::Relaxed)
    }

    /// Lets the engine run as far as it gets without an answer. Gives the requests it sent.
    pub fn run_engine(&mut self) -> Vec<(RoadRequest, Call)> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner).go = true;
        let mut context = Context::from_waker(Waker::noop());
        // It never ends by itself.
        let _pending = self.engine.as_mut().poll(&mut context);
        std::mem::take(&mut *self.mailbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Until when the engine pauses, monotonic microseconds; `None` while it waits for an answer.
    pub fn pauses_until(&self) -> Option<u64> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner).until_us
    }

    /// Hands on what sync heard: signed time, and that the replica changed.
    pub fn hear(&mut self) {
        while let Ok(signed) = self.signed.try_recv() {
            self.runner.signed(signed);
        }
        if self.changed.has_changed().unwrap_or(false) {
            self.changed.mark_unchanged();
            self.runner.replica_changed();
        }
    }

    /// Something from the writer.
    pub fn with_writer<T>(&self, work: impl FnOnce(&mut Replica) -> T) -> T {
        work(&mut self.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
