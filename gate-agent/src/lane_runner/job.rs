//! What the lane wants written, as values: carried out by the storage thread at a gate, inline in a simulation.

use gate_core::event::{EventBody, Part};
use gate_core::ids::{EventId, LaneId};
use gate_core::lane::Ticket;
use gate_core::time::Now;

use crate::replica::{Replica, ReplicaError};

/// A piece of work for the writer of the replica.
#[derive(Debug)]
pub enum Job {
    /// Write down what happened.
    Record {
        /// Who waits for it, if anybody does.
        ticket: Option<Ticket>,
        /// The lane, once the gate is set up.
        lane: Option<LaneId>,
        /// When it happened.
        now: Now,
        /// What happened.
        body: EventBody,
    },
    /// After a failed write: write that the disk works again, which is believed only when it is stored.
    Probe {
        /// When.
        now: Now,
    },
    /// Raise the persisted time floor.
    RaiseFloor {
        /// Unix milliseconds.
        floor_ms: i64,
        /// The word by which signed time was taken back last when this was proved: a later one takes this back too.
        reset: Option<i64>,
    },
    /// Begin the zones anew with nobody for which that is due.
    ResetZones {
        /// The lane, once the gate is set up.
        lane: Option<LaneId>,
        /// When.
        now: Now,
    },
    /// Look for admissions of an earlier run whose pulse nobody confirmed.
    Unsettled,
}

/// What the lane hears from storage.
#[derive(Debug)]
pub enum StorageNews {
    /// A record is stored.
    Stored(Ticket, EventId),
    /// A record could not be stored, and why.
    NotStored(Ticket, String),
    /// Something for which nobody waits could not be written or read, and why.
    Failed(String),
    /// The database is damaged, and how: the program must end, so that the next start mends it.
    Damaged(String),
    /// Storage took a probe after a failure: it works again.
    WorksAgain,
    /// Storage did not take the probe either.
    StillFails,
    /// A zone began anew with nobody.
    ZonesReset,
    /// Admissions of an earlier run whose pulse nobody confirmed.
    Unsettled(Vec<(EventId, Option<LaneId>)>),
}

impl Job {
    /// Does it. The news is for whoever gave the job.
    pub fn carry_out(self, replica: &mut Replica) -> Option<StorageNews> {
        match self {
            Self::Record { ticket, lane, now, body } => match (replica.record(lane, now, body), ticket) {
                (Ok(sealed), Some(ticket)) => Some(StorageNews::Stored(ticket, sealed.event.id)),
                (Err(error @ ReplicaError::Damaged { .. }), _) => Some(StorageNews::Damaged(error.to_string())),
                (Err(error), Some(ticket)) => Some(StorageNews::NotStored(ticket, error.to_string())),
                (Ok(_), None) => None,
                (Err(error), None) => Some(StorageNews::Failed(error.to_string())),
            },
            Self::Probe { now } => {
                let body =
                    EventBody::Health { part: Part::Storage, working: true, detail: "written as a test".to_owned() };
                Some(match replica.record(None, now, body) {
                    Ok(_) => StorageNews::WorksAgain,
                    Err(error) => {
                        tracing::error!(%error, "storage still fails");
                        StorageNews::StillFails
                    }
                })
            }
            Self::RaiseFloor { floor_ms, reset } => {
                let current = |replica: &mut Replica| Ok(replica.time_reset()? == reset);
                let stored =
                    current(replica).and_then(|current| if current { replica.set_floor_ms(floor_ms) } else { Ok(()) });
                if let Err(error) = stored {
                    tracing::error!(%error, "the time floor could not be stored");
                }
                None
            }
            Self::ResetZones { lane, now } => match replica.reset_zones(lane, now) {
                Ok(done) => (!done.is_empty()).then_some(StorageNews::ZonesReset),
                Err(error @ ReplicaError::Damaged { .. }) => Some(StorageNews::Damaged(error.to_string())),
                Err(error) => {
                    tracing::error!(%error, "a zone could not be reset; it is tried again");
                    None
                }
            },
            Self::Unsettled => match replica.unsettled() {
                Ok(events) => Some(StorageNews::Unsettled(events)),
                Err(error @ ReplicaError::Damaged { .. }) => Some(StorageNews::Damaged(error.to_string())),
                Err(error) => Some(StorageNews::Failed(error.to_string())),
            },
        }
    }
}
