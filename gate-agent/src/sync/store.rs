//! How sync reaches the one writer of the database: through the storage thread at a gate, inline in a simulation.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use crate::replica::{Replica, ReplicaError};
use crate::storage::{Storage, StorageStopped};

/// Why the database gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database's own error.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The storage thread is busy or has ended.
    #[error(transparent)]
    Stopped(#[from] StorageStopped),
}

/// A way to the writer.
pub trait Store: Send + Sync {
    /// Does a piece of work on the writer. If the caller goes away, the work is done whole or not at all.
    fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Replica) -> Result<T, ReplicaError> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;
}

impl Store for Storage {
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Replica) -> Result<T, ReplicaError> + Send + 'static,
    ) -> Result<T, StoreError> {
        Ok(self.background(work).await??)
    }
}

/// The writer itself, for simulations and tests: no thread.
impl Store for Arc<Mutex<Replica>> {
    fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Replica) -> Result<T, ReplicaError> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        let result = work(&mut self.lock().unwrap_or_else(PoisonError::into_inner));
        std::future::ready(result.map_err(StoreError::from))
    }
}
