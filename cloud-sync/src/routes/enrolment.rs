//! How a Raspberry Pi becomes the eyes of a gate: a one-time code, typed by an installer.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use gate_core::canonical;
use gate_core::cose::{self, Envelope, Purpose};
use gate_core::ids::{DeviceId, GateId, VenueId};
use gate_core::statement::{DeviceKey, StatementBody};
use gate_core::sync::v1::{Change, Enrol, Enrolled, MEDIA_TYPE};
use serde::Serialize;
use serde_bytes::ByteBuf;
use utoipa::ToSchema;

use super::{gates, venues};
use crate::app::App;
use crate::auth::{self, Address, Manager};
use crate::extract::{Json, Within};
use crate::keys::Role;
use crate::problem::{ApiError, Problem};
use crate::store::{Tx, params};
use crate::{audit, codes, keys, replica};

/// How long a code may be used, milliseconds.
const CODE_LIFE_MS: i64 = 7 * 24 * 3600 * 1000;
/// Attempts per address within the throttle's window: 40 random bits stay out of reach for ever.
const PER_ADDRESS: i64 = 20;

/// A code, told once.
#[derive(Serialize, ToSchema)]
pub struct Invitation {
    /// Eight characters.
    code: String,
    expires_ms: i64,
}

/// Makes a one-time code for a gate. A code made earlier for it no longer works.
#[utoipa::path(post, path = "/v1/venues/{venue}/gates/{gate}/enrolment", tag = "gates",
    params(("venue" = String, Path), ("gate" = String, Path)),
    responses((status = 201, body = Invitation), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn invite(
    State(app): State<App>,
    manager: Manager,
    Within(gate): Within<GateId>,
) -> Result<(StatusCode, Json<Invitation>), ApiError> {
    let code = codes::enrolment(app.entropy());
    let expires_ms = app.now_ms() + CODE_LIFE_MS;
    app.change(manager.venue, async |tx| {
        let exists = tx
            .number("SELECT COUNT(*) FROM gates WHERE venue_id = $1 AND gate_id = $2", params![manager.venue, gate])
            .await?;
        if exists == 0 {
            return Err(ApiError::not_found("gate"));
        }
        // A new code ends the one before it.
        let ended = tx
            .query(
                "DELETE FROM enrolments WHERE venue_id = $1 AND gate_id = $2 AND device_id IS NULL RETURNING expires_ms",
                params![manager.venue, gate],
            )
            .await?;
        let before = ended.first().map(|row| row.get::<i64>(0)).transpose()?;
        tx.execute(
            "INSERT INTO enrolments (code, venue_id, gate_id, expires_ms, device_id) VALUES ($1, $2, $3, $4, NULL)",
            params![app.master().peppered("gateenrolment/1", &code), manager.venue, gate, expires_ms],
        )
        .await?;
        let code = |expires_ms: i64| serde_json::json!({"gate_id": gate, "expires_ms": expires_ms});
        let before = before.map(code);
        Ok(audit::record(tx, &app, &manager, "gate.enrolment", before.as_ref(), Some(&code(expires_ms))).await?)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(Invitation { code, expires_ms })))
}

/// Enrols a device: `Enrol` signed by its new key, in; `Enrolled`, out (canonical CBOR). Asking again with the same
/// code and key gives the same answer, because the first one may have been lost on the way.
#[utoipa::path(post, path = "/v1/enrol", tag = "devices", request_body(content = Vec<u8>, content_type = "application/cbor"),
    responses((status = 200, content_type = "application/cbor"), (status = 400, body = Problem, content_type = "application/problem+json"), (status = 403, body = Problem, content_type = "application/problem+json"), (status = 429, body = Problem, content_type = "application/problem+json")))]
pub async fn enrol(
    State(app): State<App>,
    address: Address,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let body = body?;
    let now = app.now_ms();
    let subject = format!("enrol/{}", address.neighbourhood());
    app.db().write(async |tx| auth::attempt(tx, &subject, PER_ADDRESS, now).await).await?;
    let asked = read(&body)?;
    let code = app.master().peppered("gateenrolment/1", &codes::normal(&asked.code));
    let refused = || {
        ApiError::new(
            StatusCode::FORBIDDEN,
            "enrolment_code",
            "The code is not accepted",
            "It is wrong, used or older than seven days. Make a new one in the dashboard under the gate.",
        )
    };
    let row = app
        .db()
        .read(async |tx| {
            tx.first(
                "SELECT venue_id, gate_id, device_id FROM enrolments WHERE code = $1 AND expires_ms > $2",
                params![code, now],
            )
            .await
        })
        .await?
        .ok_or_else(refused)?;
    let (venue, gate): (VenueId, GateId) = (row.get(0)?, row.get(1)?);
    let enrolled = app
        .change(venue, async |tx| {
            auth::forgive(tx, &subject).await?;
            let used = tx.first("SELECT device_id FROM enrolments WHERE code = $1", params![code]).await?;
            let used: Option<DeviceId> = match used.ok_or_else(refused)?.get(0)? {
                Some(device) => {
                    let same = tx
                        .number(
                            "SELECT COUNT(*) FROM devices WHERE venue_id = $1 AND device_id = $2 AND public_key = $3 AND revoked_ms IS NULL",
                            params![venue, device, asked.key.as_bytes().as_slice()],
                        )
                        .await?;
                    if same == 0 {
                        return Err(refused());
                    }
                    Some(device)
                }
                None => None,
            };
            let device = match used {
                Some(device) => device,
                None => {
                    let device = admit(tx, &app, venue, gate, &asked).await?;
                    tx.execute("UPDATE enrolments SET device_id = $1 WHERE code = $2", params![device, code]).await?;
                    device
                }
            };
            let statements = keys::statements_in_force(tx, venue).await?;
            Ok(Enrolled {
                venue,
                venue_code: venues::row(tx, venue).await?.code,
                root: keys::public(tx, venue, Role::Root).await?,
                device,
                gate,
                statements: statements.into_iter().map(ByteBuf::from).collect(),
            })
        })
        .await?;
    tracing::info!(gate.id = %gate, device.id = %enrolled.device, "a device was enrolled");
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], canonical::encode(&enrolled)))
}

fn read(body: &[u8]) -> Result<Enrol, ApiError> {
    let malformed = |_| ApiError::malformed("An Enrol message signed by the new device's key is needed.");
    let envelope = Envelope::parse(body).map_err(|e| malformed(e.to_string()))?;
    let asked: Enrol = canonical::decode(&envelope.payload).map_err(|e| malformed(e.to_string()))?;
    // The key inside must have signed: nobody enrols a key they don't hold.
    cose::open(Purpose::Enrolment, body, &asked.key).map_err(|e| malformed(e.to_string()))?;
    let short = asked.code.len() <= 32 && asked.model.chars().count() <= 200 && asked.software.chars().count() <= 200;
    if short { Ok(asked) } else { Err(ApiError::malformed("Code, model or software are too long.")) }
}

/// Gives the gate a new device and withdraws the one it had.
async fn admit(tx: &mut Tx, app: &App, venue: VenueId, gate: GateId, asked: &Enrol) -> Result<DeviceId, ApiError> {
    let known = tx
        .number("SELECT COUNT(*) FROM devices WHERE public_key = $1", params![asked.key.as_bytes().as_slice()])
        .await?;
    if known > 0 {
        return Err(ApiError::conflict("key_known", "This key is enrolled already: make a new one on the device."));
    }
    let mut changes = Vec::new();
    let earlier = tx
        .query(
            "SELECT device_id FROM devices WHERE venue_id = $1 AND gate_id = $2 AND revoked_ms IS NULL",
            params![venue, gate],
        )
        .await?;
    for row in earlier {
        changes.extend(gates::withdraw(tx, app, venue, row.get(0)?).await?);
    }
    let device = DeviceId(app.new_id());
    // Not seen yet: until it asks for the replica it can let nobody in, so its silence widens no number.
    tx.execute(
        "INSERT INTO devices (venue_id, device_id, gate_id, public_key, model, software, enrolled_ms, revoked_ms, seen_ms, pending, clock_trust) VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, NULL, 0, NULL)",
        params![venue, device, gate, asked.key.as_bytes().as_slice(), asked.model.as_str(), asked.software.as_str(), app.now_ms()],
    )
    .await?;
    let body = StatementBody::Device(DeviceKey { device, gate, key: asked.key, revoked: false });
    changes.push(Change::Statement(ByteBuf::from(keys::state(tx, app.master(), venue, body).await?)));
    replica::publish(tx, app.master(), venue, changes).await?;
    Ok(device)
}
