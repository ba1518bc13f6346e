//! The held channel on which the cloud says "there is something new", so that a revocation arrives within a second.
//!
//! Nothing is believed from it: a hint only makes the engine pull, and what is pulled is signed. It is authenticated when
//! opened and ends after ten minutes or on revocation; then it is opened again.

use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use futures_util::{SinkExt, StreamExt};
use gate_core::canonical;
use gate_core::ids::DeviceId;
use gate_core::sync::request_signature::Request;
use gate_core::sync::v1::{Hint, LIVE_PATH};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{Connector, connect_async_tls_with_config};

use super::transport::{CloudUrl, signed_headers};
use super::{Surroundings, Wake, number, tls};

/// For the connection and the upgrade.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// A ping goes out after this long without a message.
const QUIET: Duration = Duration::from_secs(20);
/// Shortest and longest pause before opening again, milliseconds.
const PAUSE_MS: (u64, u64) = (500, 30_000);
/// No hint is longer, bytes.
const HINT_LIMIT: usize = 1024;

/// Why the channel ended.
#[derive(Debug, thiserror::Error)]
enum LiveError {
    #[error("it did not open in time")]
    Slow,
    #[error("the cloud fell silent")]
    Silent,
    #[error(transparent)]
    Socket(#[from] tungstenite::Error),
    #[error("the request can't be made: {0}")]
    Request(String),
}

/// Listens for hints and wakes the engine, until dropped.
pub async fn listen(
    url: CloudUrl,
    device: DeviceId,
    key: SigningKey,
    surroundings: Arc<dyn Surroundings>,
    wake: Arc<Wake>,
) {
    let connector = match tls::config(surroundings.clone(), None) {
        Ok(config) => Connector::Rustls(Arc::new(config)),
        Err(error) => {
            tracing::warn!(%error, "no live channel: what is new is asked for every 15 s");
            return std::future::pending().await;
        }
    };
    let mut failures = 0u32;
    loop {
        let mut heard = false;
        let ended = hold((&url, &connector), (device, &key), surroundings.as_ref(), &wake, &mut heard).await;
        failures = if heard { 0 } else { failures.saturating_add(1) };
        if let Err(why) = ended {
            tracing::debug!(%why, failures, "the live channel ended");
        }
        let longest = PAUSE_MS.0.saturating_mul(1 << failures.min(8)).min(PAUSE_MS.1);
        let pause = longest / 2 + number(surroundings.random()) % (longest / 2 + 1);
        if timeout(Duration::from_millis(pause), wake.link_is_up()).await.is_ok() {
            failures = 0;
        }
    }
}

/// Opens the channel once and holds it until it ends.
async fn hold(
    road: (&CloudUrl, &Connector),
    who: (DeviceId, &SigningKey),
    surroundings: &dyn Surroundings,
    wake: &Wake,
    heard: &mut bool,
) -> Result<(), LiveError> {
    let mut nonce = hex::encode(&surroundings.random()[..16]);
    let mut again = true;
    let mut socket = loop {
        match timeout(OPEN_LIMIT, open(road, who, surroundings, nonce)).await.map_err(|_| LiveError::Slow)? {
            Ok(socket) => break socket,
            Err(error) => match offered_nonce(&error).filter(|_| again) {
                // This gate's clock is off: the nonce stands in for it, once.
                Some(offered) => (nonce, again) = (offered, false),
                None => return Err(error),
            },
        }
    };
    let mut pinged = false;
    loop {
        let message = match timeout(QUIET, socket.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(message)) => message?,
            Err(_) if pinged => return Err(LiveError::Silent),
            Err(_) => {
                pinged = true;
                timeout(OPEN_LIMIT, socket.send(Message::Ping(Vec::new().into())))
                    .await
                    .map_err(|_| LiveError::Silent)??;
                continue;
            }
        };
        pinged = false;
        match message {
            Message::Binary(bytes) => {
                if canonical::decode::<Hint>(&bytes).is_ok() {
                    *heard = true;
                    wake.hinted();
                }
            }
            Message::Close(_) => return Ok(()),
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// Asks for the channel, signed.
async fn open(
    (url, connector): (&CloudUrl, &Connector),
    (device, key): (DeviceId, &SigningKey),
    surroundings: &dyn Surroundings,
    nonce: String,
) -> Result<Socket, LiveError> {
    let mut upgrade = url.websocket(LIVE_PATH).into_client_request()?;
    let request = Request { method: "GET", authority: url.authority(), path: LIVE_PATH, query: "", body: &[] };
    let signed = signed_headers(&request, device, nonce, key, surroundings);
    let headers = upgrade.headers_mut();
    for (name, value) in [
        ("content-digest", signed.content_digest),
        ("signature-input", signed.signature_input),
        ("signature", signed.signature),
    ] {
        headers.insert(name, HeaderValue::from_str(&value).map_err(|e| LiveError::Request(e.to_string()))?);
    }
    let limits = WebSocketConfig::default().max_message_size(Some(HINT_LIMIT)).max_frame_size(Some(HINT_LIMIT));
    let (socket, _) = connect_async_tls_with_config(upgrade, Some(limits), true, Some(connector.clone())).await?;
    Ok(socket)
}

/// The nonce with which the cloud asks to sign again.
fn offered_nonce(error: &LiveError) -> Option<String> {
    match error {
        LiveError::Socket(tungstenite::Error::Http(answer)) if answer.status() == StatusCode::UNAUTHORIZED => {
            answer.headers().get("gate-nonce")?.to_str().ok().map(str::to_owned)
        }
        LiveError::Socket(_) | LiveError::Slow | LiveError::Silent | LiveError::Request(_) => None,
    }
}

#[cfg(test)]
mod tests;
