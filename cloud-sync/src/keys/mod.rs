//! Private keys at rest: sealed in the database under a master key that lies beside it in a file of its own.
//!
//! A copy of the database alone signs nothing. Whoever has both the database and the master key is the venue, so the
//! file is readable by the service alone and belongs in another backup than the database.

mod master;
mod venue;

pub use master::{Master, MasterError};
pub use venue::{Role, create_venue_keys, load, public, state, state_above, statement_about, statements_in_force};

use crate::store::DbError;

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The sealed key does not open under this master key.
    #[error("a private key does not open: master.key is not the one this database was made with; restore it")]
    Sealed,
    /// There is no such key.
    #[error("there is no {0} key")]
    Absent(&'static str),
}
