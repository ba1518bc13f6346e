//! What a simulated gate's agent is given in place of a machine: clocks that stand still, a hand and a disk that answer
//! later, a road whose packets the run delivers, loses or delivers twice.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use gate_agent::lane_runner::{Job, Ports};
use gate_agent::sync::engine::{Engine, Step};
use gate_agent::sync::{Road, RoadAnswer, RoadRequest, Store, Surroundings, SyncError, Transport};
use gate_core::ids::BootId;
use gate_core::time::{ClockReading, Now, Trust};
use hardware::compose::Chance;
use hardware::gate_io::{Command, IoDown, Pattern};
use tokio::sync::oneshot;

/// Something the lane wants done.
#[expect(clippy::large_enum_variant, reason = "one at a time, handed over and carried out")]
pub enum Out {
    /// For the hand.
    Hand(Command),
    /// For the disk.
    Store(Job),
}

/// What the lane sees of its machine.
pub struct Desk {
    /// What the clocks read; set before every call into the lane.
    pub reading: Cell<ClockReading>,
    /// The hand is connected, as far as the lane's client knows.
    pub up: Cell<bool>,
    /// What was asked for since it was last looked at.
    pub out: RefCell<Vec<Out>>,
}

/// The lane's ports.
#[derive(Clone)]
pub struct SimPorts(pub Rc<Desk>);

impl SimPorts {
    fn command(&self, command: Command) -> Result<(), IoDown> {
        if !self.0.up.get() {
            return Err(IoDown);
        }
        self.0.out.borrow_mut().push(Out::Hand(command));
        Ok(())
    }
}

impl Ports for SimPorts {
    fn clocks(&self) -> ClockReading {
        self.0.reading.get()
    }

    fn pulse(&self, name: &str, ms: u32) -> Result<(), IoDown> {
        self.command(Command::Pulse { event: name.to_owned(), ms })
    }

    fn query(&self, name: &str) {
        let _away = self.command(Command::Query { event: name.to_owned() });
    }

    fn lamps(&self, pattern: Pattern) {
        let _away = self.command(Command::Lamps { pattern });
    }

    fn alive(&self) {
        let _away = self.command(Command::Heartbeat { hold: false });
    }

    fn store(&self, job: Job) {
        self.0.out.borrow_mut().push(Out::Store(job));
    }
}

/// The clock and randomness that sync runs on.
pub struct SimSurroundings {
    /// The system clock, Unix milliseconds.
    pub wall_ms: AtomicI64,
    /// Monotonic microseconds.
    pub mono_us: AtomicU64,
    boot: BootId,
    chance: Mutex<Chance>,
}

impl SimSurroundings {
    /// Of one boot, with randomness from a seed.
    pub fn new(boot: BootId, seed: u64) -> Self {
        Self { wall_ms: AtomicI64::new(0), mono_us: AtomicU64::new(0), boot, chance: Mutex::new(Chance::new(seed)) }
    }
}

impl Surroundings for SimSurroundings {
    fn now(&self) -> Now {
        Now {
            wall_ms: self.wall_ms.load(Ordering::Relaxed),
            mono_us: self.mono_us.load(Ordering::Relaxed),
            boot: self.boot,
            trust: Trust::Continued,
        }
    }

    fn random(&self) -> [u8; 32] {
        super::random32(&mut self.chance.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Requests that were sent and not yet picked up by the run.
pub type Mailbox = Arc<Mutex<Vec<(RoadRequest, oneshot::Sender<Result<RoadAnswer, SyncError>>)>>>;

/// The road: every request goes to the run.
pub struct SimRoad(pub Mailbox);

impl Road for SimRoad {
    fn send(&self, request: RoadRequest) -> impl Future<Output = Result<RoadAnswer, SyncError>> + Send {
        let (tell, told) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((request, tell));
        async move { told.await.unwrap_or_else(|_| Err(SyncError::Unreachable("the machine is gone".to_owned()))) }
    }
}

/// Until when the engine pauses, and whether it may go on.
#[derive(Default)]
pub struct Pause {
    /// Monotonic microseconds; `None` while it does something.
    pub until_us: Option<u64>,
    /// It may go on.
    pub go: bool,
}

/// Drives an engine step by step, pausing wherever the run wants to look at the clock.
pub async fn drive<T: Transport, S: Store>(mut engine: Engine<T, S>, pause: Arc<Mutex<Pause>>) {
    let lock = || pause.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let until_us = match engine.step().await {
            Step::Did => 0,
            Step::WaitUntil(us) => us,
        };
        lock().until_us = Some(until_us);
        poll_fn(|_| {
            let mut pause = lock();
            if std::mem::take(&mut pause.go) {
                pause.until_us = None;
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
