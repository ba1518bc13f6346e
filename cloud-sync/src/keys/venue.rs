//! A venue's own keys and the numbered statements its root signs about all others.

use ed25519_dalek::SigningKey;
use gate_core::ids::VenueId;
use gate_core::keys::PublicKey;
use gate_core::statement::{Duty, DutyKey, Statement, StatementBody};

use super::{KeyError, Master};
use crate::entropy::Entropy;
use crate::store::{Tx, params};

/// What a key of a venue is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Signs statements; pinned by gates.
    Root,
    /// Signs replica changes.
    Settings,
    /// Signs the time.
    Time,
    /// Signs receipts.
    Server,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Settings => "settings",
            Self::Time => "time",
            Self::Server => "server",
        }
    }
}

fn place(venue: VenueId, role: Role) -> String {
    format!("{venue}/{}", role.name())
}

/// Makes the four keys of a new venue and gives the statements about its three duties.
pub async fn create_venue_keys(
    tx: &mut Tx,
    master: &Master,
    entropy: &Entropy,
    venue: VenueId,
) -> Result<Vec<Vec<u8>>, KeyError> {
    for role in [Role::Root, Role::Settings, Role::Time, Role::Server] {
        let key = SigningKey::from_bytes(&entropy.bytes());
        let sealed = master.seal(&key, &place(venue, role), entropy)?;
        tx.execute(
            "INSERT INTO venue_keys (venue_id, duty, public_key, sealed) VALUES ($1, $2, $3, $4)",
            params![venue, role.name(), PublicKey::from(&key).as_bytes().as_slice(), sealed],
        )
        .await?;
    }
    let mut statements = Vec::new();
    for (duty, role) in [(Duty::Settings, Role::Settings), (Duty::Time, Role::Time), (Duty::Server, Role::Server)] {
        let key = public(tx, venue, role).await?;
        statements.push(state(tx, master, venue, StatementBody::Duty(DutyKey { duty, key })).await?);
    }
    Ok(statements)
}

/// A private key of a venue.
pub async fn load(tx: &mut Tx, master: &Master, venue: VenueId, role: Role) -> Result<SigningKey, KeyError> {
    let row = tx
        .first("SELECT sealed FROM venue_keys WHERE venue_id = $1 AND duty = $2", params![venue, role.name()])
        .await?
        .ok_or(KeyError::Absent(role.name()))?;
    master.unseal(&row.get::<Vec<u8>>(0)?, &place(venue, role))
}

/// A public key of a venue.
pub async fn public(tx: &mut Tx, venue: VenueId, role: Role) -> Result<PublicKey, KeyError> {
    let row = tx
        .first("SELECT public_key FROM venue_keys WHERE venue_id = $1 AND duty = $2", params![venue, role.name()])
        .await?
        .ok_or(KeyError::Absent(role.name()))?;
    PublicKey::register(&row.get::<Vec<u8>>(0)?).map_err(|_| KeyError::Absent(role.name()))
}

/// Numbers, signs and keeps a statement.
pub async fn state(tx: &mut Tx, master: &Master, venue: VenueId, body: StatementBody) -> Result<Vec<u8>, KeyError> {
    state_above(tx, master, venue, body, 0).await
}

/// The same, with a number greater than `least`, too. Those that follow are greater still.
pub async fn state_above(
    tx: &mut Tx,
    master: &Master,
    venue: VenueId,
    body: StatementBody,
    least: u64,
) -> Result<Vec<u8>, KeyError> {
    let root = load(tx, master, venue, Role::Root).await?;
    let last = tx.number("SELECT COALESCE(MAX(number), 0) FROM statements WHERE venue_id = $1", params![venue]).await?;
    let statement = Statement { venue, number: u64::try_from(last).unwrap_or(0).max(least) + 1, body };
    let bytes = statement.sign(&root);
    tx.execute(
        "INSERT INTO statements (venue_id, number, subject, bytes) VALUES ($1, $2, $3, $4)",
        params![venue, statement.number, statement.subject(), bytes.clone()],
    )
    .await?;
    Ok(bytes)
}

/// The newest statement about a subject, if there is one.
pub async fn statement_about(tx: &mut Tx, venue: VenueId, subject: &str) -> Result<Option<Vec<u8>>, KeyError> {
    let row = tx
        .first(
            "SELECT bytes FROM statements WHERE venue_id = $1 AND subject = $2 ORDER BY number DESC LIMIT 1",
            params![venue, subject],
        )
        .await?;
    row.map(|row| row.get(0).map_err(KeyError::Db)).transpose()
}

/// For each subject the statement with the highest number, oldest first. A cut of the chain concerns only gates that were
/// there before it.
pub async fn statements_in_force(tx: &mut Tx, venue: VenueId) -> Result<Vec<Vec<u8>>, KeyError> {
    let rows = tx
        .query(
            "SELECT s.bytes FROM statements s WHERE s.venue_id = $1 AND s.number = (SELECT MAX(n.number) FROM statements n WHERE n.venue_id = s.venue_id AND n.subject = s.subject) AND s.subject <> 'chain' ORDER BY s.number",
            params![venue],
        )
        .await?;
    rows.iter().map(|row| row.get(0).map_err(KeyError::Db)).collect()
}
