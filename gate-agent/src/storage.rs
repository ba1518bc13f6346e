//! The storage thread: the one writer of the replica.
//!
//! The decision loop never waits for a disk. It queues a piece of work here and hears of the outcome as an event; what the
//! lane waits for goes before what sync wants to write.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::replica::Replica;

type Work = Box<dyn FnOnce(&mut Replica) + Send>;

/// A handle to the storage thread.
#[derive(Clone)]
pub struct Storage {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    urgent: VecDeque<Work>,
    background: VecDeque<Work>,
    ended: bool,
}

/// The storage thread has ended: the program is stopping.
#[derive(Debug, thiserror::Error)]
#[error("storage has stopped")]
pub struct StorageStopped;

/// Most pieces of work that may wait for the disk before sync is told to come back later.
const BACKGROUND_LIMIT: usize = 64;

impl Storage {
    /// Starts the thread. It ends, after finishing what was queued, when [`Storage::stop`] is called.
    pub fn start(mut replica: Replica) -> std::io::Result<(Self, JoinHandle<()>)> {
        let queue = Arc::new(Queue::default());
        let own = queue.clone();
        let thread = std::thread::Builder::new().name("storage".to_owned()).spawn(move || {
            while let Some(work) = own.next() {
                work(&mut replica);
            }
        })?;
        Ok((Self { queue }, thread))
    }

    /// Queues what a lane waits for.
    pub fn urgent(&self, work: impl FnOnce(&mut Replica) + Send + 'static) {
        let work = Box::new(work);
        self.queue.lock().urgent.push_back(work);
        // The lock is free again: the thread that wakes must not run into it.
        self.queue.changed.notify_one();
    }

    /// Queues what can wait, and gives its result.
    pub async fn background<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Replica) -> T + Send + 'static,
    ) -> Result<T, StorageStopped> {
        let (tell, told) = oneshot::channel();
        {
            let mut waiting = self.queue.lock();
            if waiting.ended || waiting.background.len() >= BACKGROUND_LIMIT {
                return Err(StorageStopped);
            }
            waiting.background.push_back(Box::new(move |replica| {
                // Whoever asked may have gone: the work is done all the same.
                let _gone = tell.send(work(replica));
            }));
            self.queue.changed.notify_one();
        }
        told.await.map_err(|_| StorageStopped)
    }

    /// Lets the thread end once everything queued is done.
    pub fn stop(&self) {
        self.queue.lock().ended = true;
        self.queue.changed.notify_one();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // The guarded queues are whole after every statement, also if a piece of work panicked elsewhere.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Work> {
        let mut waiting = self.lock();
        loop {
            if let Some(work) = waiting.urgent.pop_front().or_else(|| waiting.background.pop_front()) {
                return Some(work);
            }
            if waiting.ended {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
