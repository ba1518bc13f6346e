//! Making passes: the keys that sign them, the log of what was issued, and the forms in which people get them.
//!
//! Tokens are stored nowhere. Signing is deterministic, so a pass is signed again from its row of the issue log whenever
//! it is printed or sent, and comes out as the same bytes.

mod code;
mod sheet;

use gate_core::ids::{Cti, Kid, PassId, VendorCode, VenueCode, VenueId};
use gate_core::keys::PublicKey;
use gate_core::pass::{Claims, IssuerKey, PASS_LIMIT, PassFlags, ShortCode, VISITOR_LIMIT, issue};
use gate_core::product::{Product, ProductKind};
use gate_core::statement::StatementBody;
use gate_core::sync::v1::Change;
use gate_core::view::PassStanding;
use serde_bytes::ByteBuf;

pub use code::Code;
pub use sheet::{Sheet, Validity, render};

use crate::app::App;
use crate::keys::{self, KeyError};
use crate::problem::ApiError;
use crate::store::{DbError, Row, Tx, params};

/// How long an issuing key may sign for, seconds (two years): rotation bounds what a lost key is worth.
const KEY_LIFE_S: i64 = 2 * 365 * 24 * 3600;
/// Passes may begin this long before their key was made, seconds.
const KEY_LEEWAY_S: i64 = 2 * 24 * 3600;
/// The farthest end of a pass, seconds from now (three years).
pub const PASS_LIFE_S: i64 = 3 * 365 * 24 * 3600;

fn place(venue: VenueId, kid: Kid) -> String {
    format!("{venue}/issuer/{kid}")
}

/// Makes an issuing key for a vendor and gives the statement about it. `until_s` where it must reach farther than usual.
pub async fn new_issuer(
    tx: &mut Tx,
    app: &App,
    venue: VenueId,
    vendor: &str,
    until_s: Option<i64>,
) -> Result<Change, KeyError> {
    let row = tx
        .first(
            "SELECT n.code, v.code FROM vendors n JOIN venues v ON v.venue_id = n.venue_id WHERE n.venue_id = $1 AND n.vendor_id = $2",
            params![venue, vendor],
        )
        .await?
        .ok_or(KeyError::Absent("vendor's"))?;
    let signing = ed25519_dalek::SigningKey::from_bytes(&app.entropy().bytes());
    let now_s = app.now_ms().div_euclid(1000);
    let mut kid = Kid(app.entropy().bytes());
    while tx.number("SELECT COUNT(*) FROM issuers WHERE venue_id = $1 AND kid = $2", params![venue, kid]).await? > 0 {
        kid = Kid(app.entropy().bytes());
    }
    let key = IssuerKey {
        kid,
        vendor: row.get::<VendorCode>(0)?,
        venue: row.get::<VenueCode>(1)?,
        key: PublicKey::from(&signing),
        from: now_s - KEY_LEEWAY_S,
        until: until_s.unwrap_or(0).max(now_s + KEY_LIFE_S),
        revoked: false,
    };
    tx.execute(
        "INSERT INTO issuers (venue_id, kid, vendor_id, public_key, sealed, from_s, until_s, revoked) VALUES ($1, $2, $3, $4, $5, $6, $7, 0)",
        params![venue, key.kid, vendor, key.key.as_bytes().as_slice(), app.master().seal(&signing, &place(venue, key.kid), app.entropy())?, key.from, key.until],
    )
    .await?;
    let statement = keys::state(tx, app.master(), venue, StatementBody::Issuer(key)).await?;
    Ok(Change::Statement(ByteBuf::from(statement)))
}

/// The vendor's key that may sign for this window; made now, with its statement, if there is none.
pub async fn key_for(
    tx: &mut Tx,
    app: &App,
    venue: VenueId,
    vendor: &str,
    (not_before_s, expires_s): (i64, i64),
) -> Result<(Kid, Option<Change>), ApiError> {
    let find = async |tx: &mut Tx| -> Result<Option<Kid>, DbError> {
        let row = tx
            .first(
                "SELECT kid FROM issuers WHERE venue_id = $1 AND vendor_id = $2 AND from_s <= $3 AND until_s >= $4 AND revoked = 0 ORDER BY until_s DESC, kid LIMIT 1",
                params![venue, vendor, not_before_s, expires_s],
            )
            .await?;
        row.map(|row| row.get(0)).transpose()
    };
    if let Some(kid) = find(tx).await? {
        return Ok((kid, None));
    }
    let change = new_issuer(tx, app, venue, vendor, Some(expires_s)).await?;
    let kid = find(tx)
        .await?
        .ok_or_else(|| ApiError::field("/valid_from_ms", "A pass can't begin more than two days before now."))?;
    Ok((kid, Some(change)))
}

/// One line of the issue log.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Its claims.
    pub claims: Claims,
    /// The key that signs it.
    pub kid: Kid,
    /// The batch it belongs to.
    pub batch: String,
    /// The vendor's id.
    pub vendor_id: String,
    /// Good, on hold, withdrawn or replaced.
    pub standing: PassStanding,
    /// What replaced it.
    pub superseded_by: Option<Cti>,
    /// What the vendor wants to remember.
    pub reference: Option<String>,
    /// When it was issued, Unix milliseconds.
    pub issued_ms: i64,
}

impl Issued {
    /// What is printed under the code.
    pub fn short_code(&self) -> ShortCode {
        ShortCode::of(&self.claims.id())
    }
}

/// The columns that [`read`] reads, of `passes p` joined with `venues v`.
pub const COLUMNS: &str = "p.cti, p.vendor_code, v.code, p.not_before_s, p.expires_s, p.product, p.flags, p.kid, p.batch_id, p.vendor_id, p.standing, p.superseded_by, p.reference, p.issued_ms";

/// Reads a line of the issue log.
pub fn read(row: &Row) -> Result<Issued, DbError> {
    Ok(Issued {
        claims: Claims {
            cti: row.get(0)?,
            vendor: row.get(1)?,
            venue: row.get(2)?,
            not_before: row.get(3)?,
            expires: row.get(4)?,
            product: row.get(5)?,
            flags: PassFlags(row.get(6)?),
            subject: None,
        },
        kid: row.get(7)?,
        batch: row.get(8)?,
        vendor_id: row.get(9)?,
        standing: standing(&row.get::<String>(10)?)?,
        superseded_by: row.get(11)?,
        reference: row.get(12)?,
        issued_ms: row.get(13)?,
    })
}

/// Finds a pass by its id.
pub async fn find(tx: &mut Tx, venue: VenueId, cti: Cti) -> Result<Option<Issued>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM passes p JOIN venues v ON v.venue_id = p.venue_id WHERE p.venue_id = $1 AND p.cti = $2"
    );
    tx.first(&sql, params![venue, cti]).await?.as_ref().map(read).transpose()
}

/// Adds a pass to the log.
pub async fn log(tx: &mut Tx, venue: VenueId, pass: &Issued, at: usize) -> Result<(), DbError> {
    let claims = &pass.claims;
    tx.execute(
        "INSERT INTO passes (venue_id, cti, vendor_id, vendor_code, batch_id, place, kid, product, flags, not_before_s, expires_s, short_code, standing, superseded_by, reference, issued_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        params![venue, claims.cti, pass.vendor_id.as_str(), &claims.vendor, pass.batch.as_str(), at, pass.kid, claims.product, claims.flags.0, claims.not_before, claims.expires, pass.short_code().as_str(), standing_text(pass.standing), pass.superseded_by, pass.reference.clone(), pass.issued_ms],
    )
    .await
    .map(|_| ())
}

/// The pass as the text of its code.
pub fn token(pass: &Issued, key: &ed25519_dalek::SigningKey, product: &Product) -> Result<String, ApiError> {
    let limit = match product.kind {
        ProductKind::Visitor => VISITOR_LIMIT,
        ProductKind::Subscription => PASS_LIMIT,
    };
    issue(&pass.claims, pass.kid, key, limit).map_err(|error| ApiError::field("", error.to_string()))
}

/// The private half of an issuing key.
pub async fn signing_key(
    tx: &mut Tx,
    app: &App,
    venue: VenueId,
    kid: Kid,
) -> Result<ed25519_dalek::SigningKey, KeyError> {
    let row = tx
        .first("SELECT sealed FROM issuers WHERE venue_id = $1 AND kid = $2", params![venue, kid])
        .await?
        .ok_or(KeyError::Absent("issuing"))?;
    app.master().unseal(&row.get::<Vec<u8>>(0)?, &place(venue, kid))
}

/// The standing as it is stored and shown.
pub fn standing_text(standing: PassStanding) -> &'static str {
    match standing {
        PassStanding::Live => "live",
        PassStanding::Blocked => "blocked",
        PassStanding::Revoked => "revoked",
        PassStanding::Superseded => "superseded",
    }
}

/// Reads a stored standing.
pub fn standing(text: &str) -> Result<PassStanding, DbError> {
    match text {
        "live" => Ok(PassStanding::Live),
        "blocked" => Ok(PassStanding::Blocked),
        "revoked" => Ok(PassStanding::Revoked),
        "superseded" => Ok(PassStanding::Superseded),
        _ => Err(DbError::Statement(format!("{text:?} is no standing"))),
    }
}

/// The id of a line's pass.
pub fn pass_id(pass: &Issued) -> PassId {
    pass.claims.id()
}

#[cfg(test)]
mod tests;
