//! What time it is, signed: a Raspberry Pi may boot without knowing.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use gate_core::ids::VenueId;
use gate_core::sync::v1::{MEDIA_TYPE, Signed, SignedTime};
use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::app::App;
use crate::extract::Query;
use crate::keys::{self, Role};
use crate::problem::{ApiError, Problem};
use crate::store::Tx;

/// What a gate asks with.
#[derive(Deserialize)]
pub struct Asked {
    nonce: String,
    venue: Option<VenueId>,
}

/// The time, signed by the venue's time key together with the nonce (16 to 32 bytes in hex).
#[utoipa::path(get, path = "/v1/time", tag = "devices",
    params(("nonce" = String, Query, description = "16 to 32 random bytes in hex"), ("venue" = Option<String>, Query, description = "Needed once the service has several venues")),
    responses((status = 200, content_type = "application/cbor"), (status = 400, body = Problem, content_type = "application/problem+json"), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn time(State(app): State<App>, Query(asked): Query<Asked>) -> Result<impl IntoResponse, ApiError> {
    let nonce = hex::decode(&asked.nonce)
        .ok()
        .filter(|nonce| (16..=32).contains(&nonce.len()))
        .ok_or_else(|| ApiError::malformed("A nonce of 16 to 32 bytes in hex is needed."))?;
    let (venue, key) = app
        .db()
        .read(async |tx| {
            let venue = match asked.venue {
                Some(venue) => venue,
                None => only_venue(tx).await?,
            };
            let key = keys::load(tx, app.master(), venue, Role::Time).await.map_err(|error| match error {
                keys::KeyError::Absent(_) => ApiError::not_found("venue"),
                keys::KeyError::Db(_) | keys::KeyError::Sealed => error.into(),
            })?;
            Ok::<_, ApiError>((venue, key))
        })
        .await?;
    // Read after the database, so that the answer is as old as its way back and no older.
    let time = SignedTime { venue, nonce: ByteBuf::from(nonce), now_ms: app.now_ms() };
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], time.sign(&key)))
}

async fn only_venue(tx: &mut Tx) -> Result<VenueId, ApiError> {
    let rows = tx.query("SELECT venue_id FROM venues LIMIT 2", &[]).await?;
    match rows.as_slice() {
        [row] => Ok(row.get(0)?),
        [] => Err(ApiError::not_found("venue")),
        _ => Err(ApiError::malformed("This service has several venues: name yours with venue=.")),
    }
}
