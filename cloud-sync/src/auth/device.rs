//! Devices: which gate speaks, proved by the signature of its request (RFC 9421, in gate-core's one strict form).

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use gate_core::ids::{DeviceId, GateId, VenueId};
use gate_core::keys::PublicKey;
use gate_core::sync::request_signature::{self, SignatureHeaders, Signer9421, WINDOW_S};

use tokio::sync::OwnedSemaphorePermit;

use super::Address;
use crate::app::App;
use crate::extract::Upgrade;
use crate::keys;
use crate::problem::{ApiError, too_large};
use crate::store::{Tx, params};

/// The largest body a device may send: a full push and its frame.
const BODY_LIMIT: usize = 320 * 1024;
/// How long a nonce that the service offered may be used, milliseconds.
const OFFER_MS: i64 = 60 * 1000;
/// A gate that was silent this long and speaks again is news for the dashboard, milliseconds.
const SILENCE_MS: i64 = 60 * 1000;

/// A device of a venue that signed this request, revoked or not.
#[derive(Clone, Debug)]
pub struct AnyDevice {
    /// The venue.
    pub venue: VenueId,
    /// The device.
    pub device: DeviceId,
    /// The gate it watches.
    pub gate: GateId,
    /// Its key.
    pub key: PublicKey,
    /// Nothing it says is believed any more.
    pub revoked: bool,
    /// When it signed this request, by its own clock, Unix seconds.
    pub signed_s: i64,
    /// Its turn among those that are worked on at once.
    turn: Option<Arc<OwnedSemaphorePermit>>,
    /// What it sent.
    pub body: Bytes,
}

/// A device that is enrolled and believed.
#[derive(Clone, Debug)]
pub struct EnrolledDevice(pub AnyDevice);

/// The answer to a device that was withdrawn. It carries the statement that the venue's root signed, because a gate
/// believes nobody's mere word that it is withdrawn.
pub async fn revoked(app: &App, device: &AnyDevice) -> ApiError {
    let subject = format!("device/{}", device.device);
    match app.db().read(async |tx| keys::statement_about(tx, device.venue, &subject).await).await {
        Ok(statement) => ApiError::new(
            StatusCode::FORBIDDEN,
            "device_revoked",
            "This device was withdrawn",
            "Enrol the gate again with a new code from the dashboard. What it sends meanwhile is kept aside.",
        )
        .with_statement(statement.as_deref()),
        Err(error) => error.into(),
    }
}

impl FromRequest<App> for EnrolledDevice {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let device = AnyDevice::from_request(request, app).await?;
        if device.revoked { Err(revoked(app, &device).await) } else { Ok(Self(device)) }
    }
}

/// A device that is enrolled and believed, and wants to be held on the line.
pub struct DeviceChannel {
    /// The device.
    pub device: AnyDevice,
    /// Its wish; looked at only once the device is known.
    pub upgrade: WebSocketUpgrade,
}

impl FromRequest<App> for DeviceChannel {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let mut device = AnyDevice::read(&mut parts, body, app).await?;
        if device.revoked {
            return Err(revoked(app, &device).await);
        }
        // A held channel waits for hours; it is not being worked on.
        device.turn = None;
        let Upgrade(upgrade) = Upgrade::from_request_parts(&mut parts, app).await?;
        Ok(Self { device, upgrade })
    }
}

impl FromRequest<App> for AnyDevice {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        Self::read(&mut parts, body, app).await
    }
}

impl AnyDevice {
    async fn read(parts: &mut Parts, body: Body, app: &App) -> Result<Self, ApiError> {
        let Ok(address) = Address::from_request_parts(parts, app).await;
        let now_ms = app.now_ms();
        let device = Self::believe(parts, body, app).await;
        if device.as_ref().is_err_and(|error| error.code() == "signature") {
            app.limits().stranger(&address.neighbourhood(), now_ms)?;
        }
        device
    }

    async fn believe(parts: &Parts, body: Body, app: &App) -> Result<Self, ApiError> {
        let headers = SignatureHeaders {
            content_digest: only(&parts.headers, "content-digest")?,
            signature_input: only(&parts.headers, "signature-input")?,
            signature: only(&parts.headers, "signature")?,
        };
        let claimed =
            request_signature::claimed_signer(&headers.signature_input).map_err(|e| unsigned(&e.to_string()))?;
        let body = axum::body::to_bytes(body, BODY_LIMIT).await.map_err(|_| too_large())?;
        let known = app.db().read(async |tx| known(tx, claimed.device).await).await?;
        // An unknown device and a wrong signature sound alike.
        let known = known.ok_or_else(|| unsigned("the signature does not hold"))?;
        let holds = |authority: String| {
            let request = request_signature::Request {
                method: parts.method.as_str(),
                authority: &authority,
                path: parts.uri.path(),
                query: parts.uri.query().unwrap_or_default(),
                body: &body,
            };
            request_signature::verify(&request, &headers, &known.key).is_ok()
        };
        if !app.config().known_authorities().any(holds) {
            return Err(unsigned("the signature does not hold"));
        }
        app.limits().device(&known.device.to_string(), app.now_ms())?;
        // Only who is known and has sent everything takes a turn: nobody else can hold one.
        let turn = Some(Arc::new(app.limits().turn(app.entropy())?));
        let device = Self { body, signed_s: claimed.created, turn, ..known };
        let news = app.db().write(async |tx| device.admit(tx, app, &claimed).await).await?;
        match news {
            Heard::Silence => app.hub().tell(device.venue),
            Heard::Lately => {}
            Heard::WrongClock(nonce) => {
                return Err(ApiError::new(
                    StatusCode::UNAUTHORIZED,
                    "clock_skew",
                    "The device's clock is off",
                    "Sign the request again with the nonce of the gate-nonce header.",
                )
                .with_header("gate-nonce", nonce));
            }
        }
        Ok(device)
    }
}

enum Heard {
    Lately,
    /// For the first time in a while.
    Silence,
    /// The request is genuine, but its time is not ours; this nonce will be taken instead.
    WrongClock(String),
}

impl AnyDevice {
    /// Takes a genuine request once, within the window or under an offered nonce.
    async fn admit(&self, tx: &mut Tx, app: &App, signer: &Signer9421) -> Result<Heard, ApiError> {
        let now = app.now_ms();
        let keep = now + 2 * WINDOW_S * 1000;
        tx.execute(
            "DELETE FROM nonces WHERE venue_id = $1 AND device_id = $2 AND expires_ms < $3",
            params![self.venue, self.device, now],
        )
        .await?;
        let in_time = (now.div_euclid(1000) - signer.created).abs() <= WINDOW_S;
        if in_time {
            let fresh = tx
                .execute(
                    "INSERT INTO nonces (venue_id, device_id, nonce, offered, expires_ms) VALUES ($1, $2, $3, 0, $4) ON CONFLICT (venue_id, device_id, nonce) DO UPDATE SET offered = 0, expires_ms = excluded.expires_ms WHERE nonces.offered = 1",
                    params![self.venue, self.device, signer.nonce.as_str(), keep],
                )
                .await?;
            if fresh == 0 {
                return Err(ApiError::new(
                    StatusCode::UNAUTHORIZED,
                    "replayed",
                    "This request came before",
                    "Every request needs a nonce of its own.",
                ));
            }
        } else {
            let offered = tx
                .execute(
                    "UPDATE nonces SET offered = 0, expires_ms = $1 WHERE venue_id = $2 AND device_id = $3 AND nonce = $4 AND offered = 1",
                    params![keep, self.venue, self.device, signer.nonce.as_str()],
                )
                .await?;
            if offered == 0 {
                let nonce = hex::encode(app.entropy().bytes::<16>());
                tx.execute(
                    "INSERT INTO nonces (venue_id, device_id, nonce, offered, expires_ms) VALUES ($1, $2, $3, 1, $4)",
                    params![self.venue, self.device, nonce.as_str(), now + OFFER_MS],
                )
                .await?;
                return Ok(Heard::WrongClock(nonce));
            }
        }
        let seen = tx
            .first(
                "SELECT seen_ms FROM devices WHERE venue_id = $1 AND device_id = $2",
                params![self.venue, self.device],
            )
            .await?;
        let seen: Option<i64> = match seen {
            Some(row) => row.get(0)?,
            None => None,
        };
        tx.execute(
            "UPDATE devices SET seen_ms = $1 WHERE venue_id = $2 AND device_id = $3",
            params![now, self.venue, self.device],
        )
        .await?;
        if seen.is_some_and(|seen| now - seen < SILENCE_MS) {
            return Ok(Heard::Lately);
        }
        tx.execute("UPDATE venues SET live_seq = live_seq + 1 WHERE venue_id = $1", params![self.venue]).await?;
        Ok(Heard::Silence)
    }
}

pub(crate) async fn known(tx: &mut Tx, device: DeviceId) -> Result<Option<AnyDevice>, ApiError> {
    let row = tx
        .first("SELECT venue_id, gate_id, public_key, revoked_ms FROM devices WHERE device_id = $1", params![device])
        .await?;
    let Some(row) = row else { return Ok(None) };
    let key = PublicKey::register(&row.get::<Vec<u8>>(2)?).map_err(|error| ApiError::internal(&error))?;
    Ok(Some(AnyDevice {
        venue: row.get(0)?,
        device,
        gate: row.get(1)?,
        key,
        revoked: row.get::<Option<i64>>(3)?.is_some(),
        signed_s: 0,
        turn: None,
        body: Bytes::new(),
    }))
}

fn unsigned(why: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "signature", "Not signed by a device of ours", why.to_owned())
}

/// The one value of a header that must be there exactly once.
fn only(headers: &HeaderMap, name: &'static str) -> Result<String, ApiError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            value.to_str().map(str::to_owned).map_err(|_| unsigned("a signature header is not text"))
        }
        _ => Err(unsigned(&format!("the header {name} must be there exactly once"))),
    }
}
