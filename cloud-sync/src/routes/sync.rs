//! What gates say to the cloud and hear from it (`gate_core::sync::v1`).

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use gate_core::canonical;
use gate_core::ids::{DeviceId, VenueId};
use gate_core::sync::v1::{Hint, MEDIA_TYPE, PUSH_BYTES, PUSH_LIMIT, Pull, Push};

use crate::app::App;
use crate::auth::{AnyDevice, DeviceChannel, EnrolledDevice, revoked};
use crate::ingest::{self, Unbelieved};
use crate::live::Listener;
use crate::problem::{ApiError, Problem, too_large};
use crate::replica::Answer;
use crate::store::{DbError, params};
use crate::{fence, replica};

/// A held channel ends after this long; the gate opens a new one with a new signature.
const LIVE: Duration = Duration::from_secs(600);
/// Without a notice, the database is asked this often: another process may have written.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Takes a journal's events (`Push` in, `PushReply` out). What a withdrawn or fenced device sends is kept aside, and it hears 403.
#[utoipa::path(post, path = "/v1/sync/events", tag = "devices", request_body(content = Vec<u8>, content_type = "application/cbor"),
    responses((status = 200, content_type = "application/cbor"), (status = 400, body = Problem, content_type = "application/problem+json"), (status = 401, body = Problem, content_type = "application/problem+json"), (status = 403, body = Problem, content_type = "application/problem+json"), (status = 413, body = Problem, content_type = "application/problem+json"), (status = 429, body = Problem, content_type = "application/problem+json"), (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn events(State(app): State<App>, device: AnyDevice) -> Result<impl IntoResponse, ApiError> {
    let push: Push = canonical::decode(&device.body).map_err(|error| ApiError::malformed(error.to_string()))?;
    let size: usize = push.events.iter().map(|event| event.len()).sum();
    if push.events.len() > PUSH_LIMIT || size > PUSH_BYTES {
        return Err(too_large());
    }
    match app.change(device.venue, async |tx| ingest::receive(tx, &app, &device, &push).await).await? {
        Ok(reply) => Ok(([(CONTENT_TYPE, MEDIA_TYPE)], canonical::encode(&reply))),
        Err(Unbelieved::Withdrawn) => Err(revoked(&app, &device).await),
        Err(Unbelieved::Fenced) => Err(fence::told()),
    }
}

/// Tells what changed (`Pull` in, `PullReply` out).
#[utoipa::path(post, path = "/v1/sync/changes", tag = "devices", request_body(content = Vec<u8>, content_type = "application/cbor"),
    responses((status = 200, content_type = "application/cbor"), (status = 400, body = Problem, content_type = "application/problem+json"), (status = 401, body = Problem, content_type = "application/problem+json"), (status = 403, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub async fn changes(
    State(app): State<App>,
    EnrolledDevice(device): EnrolledDevice,
) -> Result<impl IntoResponse, ApiError> {
    let pull: Pull = canonical::decode(&device.body).map_err(|error| ApiError::malformed(error.to_string()))?;
    let reply = match app.db().read(async |tx| replica::answer(tx, &app, &device, &pull).await).await? {
        Answer::Follows(reply) => reply,
        Answer::Unknown => {
            return Err(app.change(device.venue, async |tx| replica::cut(tx, &app, &device, &pull).await).await?);
        }
    };
    // Only a position that the answer found true is believed.
    app.db().write(async |tx| replica::note_pull(tx, &device, pull.position).await).await?;
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], canonical::encode(&reply)))
}

/// The held channel: a `Hint` at once and with every new change. The upgrade request is signed like any other.
#[utoipa::path(get, path = "/v1/sync/live", tag = "devices",
    responses((status = 101), (status = 401, body = Problem, content_type = "application/problem+json"), (status = 403, body = Problem, content_type = "application/problem+json"), (status = 426, body = Problem, content_type = "application/problem+json")))]
pub async fn live(State(app): State<App>, DeviceChannel { device, upgrade }: DeviceChannel) -> Response {
    // Listen before the first look, so that no change falls between the two.
    let news = app.hub().listen(device.venue);
    upgrade.max_message_size(4096).on_upgrade(move |socket| hint(app, socket, device.venue, device.device, news))
}

async fn hint(app: App, mut socket: WebSocket, venue: VenueId, device: DeviceId, mut news: Listener) {
    let end = tokio::time::sleep(LIVE);
    tokio::pin!(end);
    let mut told = None;
    loop {
        let state = app
            .db()
            .read(async |tx| {
                let at = replica::position(tx, venue).await?.next;
                let withdrawn = tx
                    .number(
                        "SELECT COUNT(*) FROM devices WHERE venue_id = $1 AND device_id = $2 AND revoked_ms IS NOT NULL",
                        params![venue, device],
                    )
                    .await?;
                Ok::<_, DbError>((at, withdrawn > 0))
            })
            .await;
        let position = match state {
            Ok((position, false)) => position,
            Ok((_, true)) => break,
            Err(error) => {
                tracing::warn!(%error, device.id = %device, "a live channel ends");
                break;
            }
        };
        if told != Some(position) {
            let message = Message::Binary(canonical::encode(&Hint { position }).into());
            if socket.send(message).await.is_err() {
                return;
            }
            told = Some(position);
        }
        tokio::select! {
            () = news.changed() => {}
            () = tokio::time::sleep(ASK_AGAIN) => {}
            () = &mut end => break,
            received = socket.recv() => match received {
                // A gate has nothing to say here; pings are answered below us.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Close(_)) | Err(_)) | None => break,
            },
        }
    }
    // The other side may be gone already.
    let _ = socket.send(Message::Close(None)).await;
}
