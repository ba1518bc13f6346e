//! The road to the cloud: signed HTTPS requests with a limit on everything.
//!
//! An answer counts only if it has our media type: a captive portal's page is no answer. A 401 is believed only as far
//! as it asks to sign again with a nonce, once; nothing in an error answer changes what this gate believes, except a
//! statement that the venue's root signed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use gate_core::canonical;
use gate_core::ids::{DeviceId, VenueId};
use gate_core::sync::request_signature::{Request, SignatureHeaders, Signer9421, sign};
use gate_core::sync::v1::{CHANGES_PATH, EVENTS_PATH, MEDIA_TYPE, Pull, PullReply, Push, PushReply, TIME_PATH};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Surroundings, SyncError, ThisMachine};

/// How long a request may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// For a connection and its TLS.
    pub connect: Duration,
    /// For a whole request, answer included.
    pub request: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), request: Duration::from_secs(10) }
    }
}

/// Most bytes of an answer, unpacked.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;
/// Most bytes of an error answer.
const PROBLEM_LIMIT: usize = 16 * 1024;

/// What sync asks of the cloud, whatever carries it.
pub trait Transport: Send + Sync {
    /// Sends events.
    fn push(&self, push: &Push) -> impl Future<Output = Result<PushReply, SyncError>> + Send;
    /// Asks for changes.
    fn pull(&self, pull: &Pull) -> impl Future<Output = Result<PullReply, SyncError>> + Send;
    /// Asks for the time; gives the signed bytes.
    fn time(&self, venue: VenueId, nonce: &[u8]) -> impl Future<Output = Result<Vec<u8>, SyncError>> + Send;
}

/// Where the cloud is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CloudUrl {
    scheme: &'static str,
    authority: String,
}

impl CloudUrl {
    /// Understands an address like `https://cloud.example` or, on this machine only, `http://127.0.0.1:8080`.
    pub fn parse(text: &str) -> Result<Self, SyncError> {
        let wrong = |why: &str| SyncError::Address(format!("cloud address {text:?}: {why}"));
        let url = reqwest::Url::parse(text).map_err(|e| wrong(&e.to_string()))?;
        let host = url.host_str().ok_or_else(|| wrong("it names no host"))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let scheme = match url.scheme() {
            "https" => "https",
            "http" if loopback => "http",
            "http" => return Err(wrong("http is allowed only to this machine; use https")),
            _ => return Err(wrong("it must begin with https://")),
        };
        let plain = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !plain || !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("it must be scheme, host and port only"));
        }
        // `port()` is empty for the scheme's default, as the signature wants it.
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self { scheme, authority })
    }

    /// The address of a path.
    pub fn http(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.authority)
    }

    /// The address of a WebSocket path.
    pub fn websocket(&self, path: &str) -> String {
        let scheme = if self.scheme == "https" { "wss" } else { "ws" };
        format!("{scheme}://{}{path}", self.authority)
    }

    /// Host, with the port unless it is the scheme's default: what requests are signed for.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

/// An HTTP client with every limit set: no redirects, no proxy from the environment, no patience without end.
pub fn client(limits: Limits) -> Result<Client, SyncError> {
    // The first caller installs the provider; the others find it there.
    let _already = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(limits.connect)
        .timeout(limits.request)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("gate-agent/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| SyncError::Unreachable(describe(&e)))
}

/// The road over HTTP, signed with the device's key.
pub struct HttpTransport {
    client: Client,
    url: CloudUrl,
    device: DeviceId,
    key: SigningKey,
    surroundings: Arc<dyn Surroundings>,
}

impl HttpTransport {
    /// Prepares the road from this machine; connects to nothing yet.
    pub fn new(cloud_url: &str, device: DeviceId, key: SigningKey) -> Result<Self, SyncError> {
        Self::with(CloudUrl::parse(cloud_url)?, (device, key), Arc::new(ThisMachine::default()), Limits::default())
    }

    /// Prepares the road with a clock, randomness and limits of one's own.
    pub fn with(
        url: CloudUrl,
        (device, key): (DeviceId, SigningKey),
        surroundings: Arc<dyn Surroundings>,
        limits: Limits,
    ) -> Result<Self, SyncError> {
        Ok(Self { client: client(limits)?, url, device, key, surroundings })
    }

    /// What the live channel needs to speak as the same device.
    pub fn listener(&self) -> (CloudUrl, DeviceId, SigningKey, Arc<dyn Surroundings>) {
        (self.url.clone(), self.device, self.key.clone(), self.surroundings.clone())
    }

    async fn post<A: Serialize, B: Serialize + DeserializeOwned>(&self, path: &str, body: &A) -> Result<B, SyncError> {
        let body = canonical::encode(body);
        let mut nonce = hex::encode(&self.surroundings.random()[..16]);
        for attempt in 0..2 {
            let request = Request { method: "POST", authority: self.url.authority(), path, query: "", body: &body };
            let headers = signed_headers(&request, self.device, nonce.clone(), &self.key, self.surroundings.as_ref());
            let response = self
                .client
                .request(Method::POST, self.url.http(path))
                .header(CONTENT_TYPE, MEDIA_TYPE)
                .header("content-digest", headers.content_digest)
                .header("signature-input", headers.signature_input)
                .header("signature", headers.signature)
                .body(body.clone())
                .send()
                .await
                .map_err(|e| SyncError::Unreachable(describe(&e)))?;
            let offered = response.headers().get("gate-nonce").and_then(|value| value.to_str().ok()).map(str::to_owned);
            match answer(response).await {
                Ok(bytes) => return canonical::decode(&bytes).map_err(|e| SyncError::Unbelievable(e.to_string())),
                Err(SyncError::Refused { status: 401, code, .. })
                    if code == "clock_skew" && attempt == 0 && offered.is_some() =>
                {
                    // This gate's clock is off: the nonce stands in for it.
                    nonce = offered.unwrap_or_default();
                }
                Err(error) => return Err(error),
            }
        }
        Err(SyncError::Unbelievable("the cloud keeps asking for another signature".to_owned()))
    }
}

impl Transport for HttpTransport {
    async fn push(&self, push: &Push) -> Result<PushReply, SyncError> {
        self.post(EVENTS_PATH, push).await
    }

    async fn pull(&self, pull: &Pull) -> Result<PullReply, SyncError> {
        self.post(CHANGES_PATH, pull).await
    }

    async fn time(&self, venue: VenueId, nonce: &[u8]) -> Result<Vec<u8>, SyncError> {
        let address = format!("{}?nonce={}&venue={venue}", self.url.http(TIME_PATH), hex::encode(nonce));
        let response = self.client.get(address).send().await.map_err(|e| SyncError::Unreachable(describe(&e)))?;
        answer(response).await
    }
}

/// The headers that prove which device speaks.
pub(crate) fn signed_headers(
    request: &Request<'_>,
    device: DeviceId,
    nonce: String,
    key: &SigningKey,
    surroundings: &dyn Surroundings,
) -> SignatureHeaders {
    let signer = Signer9421 { device, created: surroundings.now().wall_ms.div_euclid(1000), nonce };
    sign(request, &signer, key)
}

/// Reads an answer of the cloud: our media type, or its problem document; anything else is a stranger's.
pub(crate) async fn answer(response: Response) -> Result<Vec<u8>, SyncError> {
    let status = response.status();
    let media = media_type(response.headers());
    if status == reqwest::StatusCode::OK && media == MEDIA_TYPE {
        return body(response, ANSWER_LIMIT).await;
    }
    if media != "application/problem+json" || status.is_success() || status.is_redirection() {
        return Err(SyncError::Stranger(format!("status {}, {media:?}", status.as_u16())));
    }
    let retry_after_s =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let bytes = body(response, PROBLEM_LIMIT).await?;
    let problem: Problem = serde_json::from_slice(&bytes).unwrap_or_default();
    // `type` ends with the code where there is no field for it.
    let code = problem.code.or_else(|| problem.kind.rsplit(['/', ':']).next().map(str::to_owned)).unwrap_or_default();
    let statement = problem.statement.and_then(|text| hex::decode(text).ok());
    let detail = problem.detail.or(problem.title);
    Err(SyncError::Refused { status: status.as_u16(), code, detail, retry_after_s, statement })
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    code: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    /// A signed statement, hexadecimal.
    statement: Option<String>,
}

fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    text.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, SyncError> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|e| SyncError::Unreachable(describe(&e)))? {
        if bytes.len() + piece.len() > limit {
            return Err(SyncError::TooLong(limit));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// An error with its causes, which reqwest leaves out, and without the address, which is known.
pub fn describe(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { "no connection".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        text = format!("{text}: {found}");
        cause = found.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests;
