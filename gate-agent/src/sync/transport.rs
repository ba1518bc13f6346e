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
use reqwest::{Client, Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Surroundings, SyncError, ThisMachine, tls};

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
        Self { connect: Duration::from_secs(3), request: Duration::from_secs(8) }
    }
}

/// Most bytes of an answer, unpacked.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;
/// The media type of the cloud's errors (RFC 9457).
const PROBLEM_TYPE: &str = "application/problem+json";
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

/// An HTTP client with every limit set: no redirects, no proxy from the environment, no patience without end. It judges
/// certificates by the machine's clock.
pub fn client(limits: Limits) -> Result<Client, SyncError> {
    client_by(limits, Arc::new(ThisMachine::default()), None)
}

/// The same by another clock, and with an authority (PEM) of a venue's own.
pub fn client_by(
    limits: Limits,
    surroundings: Arc<dyn Surroundings>,
    authority: Option<&str>,
) -> Result<Client, SyncError> {
    let mut tls = tls::config(surroundings, authority)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(limits.connect)
        .timeout(limits.request)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("gate-agent/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| SyncError::Unreachable(describe(&e)))
}

/// A raw request to the cloud.
#[derive(Clone, Debug)]
pub struct RoadRequest {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: &'static str,
    /// The query, without its question mark; often empty.
    pub query: String,
    /// The headers, the signature among them.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A raw answer, from whomever it came.
#[derive(Clone, Debug)]
pub struct RoadAnswer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; empty where it is a stranger's and nobody will look at it.
    pub body: Vec<u8>,
}

/// Carries requests there and answers back, and believes nothing.
pub trait Road: Send + Sync {
    /// Sends a request and waits for its answer, with a limit on everything.
    fn send(&self, request: RoadRequest) -> impl Future<Output = Result<RoadAnswer, SyncError>> + Send;
}

/// The road over HTTP.
pub struct HttpRoad {
    client: Client,
    url: CloudUrl,
}

impl HttpRoad {
    /// A road by this client.
    pub fn new(client: Client, url: CloudUrl) -> Self {
        Self { client, url }
    }
}

impl Road for HttpRoad {
    async fn send(&self, request: RoadRequest) -> Result<RoadAnswer, SyncError> {
        let mut address = self.url.http(request.path);
        if !request.query.is_empty() {
            address = format!("{address}?{}", request.query);
        }
        let mut asked = self.client.request(request.method, address).body(request.body);
        for (name, value) in request.headers {
            asked = asked.header(name, value);
        }
        taken_in(asked.send().await.map_err(|e| SyncError::Unreachable(describe(&e)))?).await
    }
}

/// Takes in an answer, as much of it as is worth reading.
pub(crate) async fn taken_in(response: Response) -> Result<RoadAnswer, SyncError> {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = match wanted(status, &headers) {
        0 => Vec::new(),
        limit => body(response, limit).await?,
    };
    Ok(RoadAnswer { status, headers, body })
}

/// What sync asks, signed with the device's key, over any road.
pub struct SignedTransport<R> {
    road: R,
    url: CloudUrl,
    device: DeviceId,
    key: SigningKey,
    surroundings: Arc<dyn Surroundings>,
}

/// The transport of a gate.
pub type HttpTransport = SignedTransport<HttpRoad>;

impl HttpTransport {
    /// Prepares the road from this machine; connects to nothing yet.
    pub fn new(
        cloud_url: &str,
        device: (DeviceId, SigningKey),
        surroundings: Arc<dyn Surroundings>,
    ) -> Result<Self, SyncError> {
        Self::with(CloudUrl::parse(cloud_url)?, device, surroundings, Limits::default())
    }

    /// Prepares the road with a clock, randomness and limits of one's own.
    pub fn with(
        url: CloudUrl,
        device: (DeviceId, SigningKey),
        surroundings: Arc<dyn Surroundings>,
        limits: Limits,
    ) -> Result<Self, SyncError> {
        let client = client_by(limits, surroundings.clone(), None)?;
        Ok(Self::over(HttpRoad { client, url: url.clone() }, url, device, surroundings))
    }
}

impl<R: Road> SignedTransport<R> {
    /// Speaks as this device over a road.
    pub fn over(
        road: R,
        url: CloudUrl,
        (device, key): (DeviceId, SigningKey),
        surroundings: Arc<dyn Surroundings>,
    ) -> Self {
        Self { road, url, device, key, surroundings }
    }

    /// What the live channel needs to speak as the same device.
    pub fn listener(&self) -> (CloudUrl, DeviceId, SigningKey, Arc<dyn Surroundings>) {
        (self.url.clone(), self.device, self.key.clone(), self.surroundings.clone())
    }

    async fn post<A: Serialize, B: Serialize + DeserializeOwned>(
        &self,
        path: &'static str,
        body: &A,
    ) -> Result<B, SyncError> {
        let body = canonical::encode(body);
        let mut nonce = hex::encode(&self.surroundings.random()[..16]);
        for attempt in 0..2 {
            let request = Request { method: "POST", authority: self.url.authority(), path, query: "", body: &body };
            let signed = signed_headers(&request, self.device, nonce.clone(), &self.key, self.surroundings.as_ref());
            let headers = vec![
                ("content-type", MEDIA_TYPE.to_owned()),
                ("content-digest", signed.content_digest),
                ("signature-input", signed.signature_input),
                ("signature", signed.signature),
            ];
            let request = RoadRequest { method: Method::POST, path, query: String::new(), headers, body: body.clone() };
            let response = self.road.send(request).await?;
            let offered = response.headers.get("gate-nonce").and_then(|value| value.to_str().ok()).map(str::to_owned);
            match answer(response) {
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

impl<R: Road> Transport for SignedTransport<R> {
    async fn push(&self, push: &Push) -> Result<PushReply, SyncError> {
        self.post(EVENTS_PATH, push).await
    }

    async fn pull(&self, pull: &Pull) -> Result<PullReply, SyncError> {
        self.post(CHANGES_PATH, pull).await
    }

    async fn time(&self, venue: VenueId, nonce: &[u8]) -> Result<Vec<u8>, SyncError> {
        let query = format!("nonce={}&venue={venue}", hex::encode(nonce));
        let request =
            RoadRequest { method: Method::GET, path: TIME_PATH, query, headers: Vec::new(), body: Vec::new() };
        answer(self.road.send(request).await?)
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

/// How much of an answer's body is worth reading, bytes: none of a stranger's.
fn wanted(status: StatusCode, headers: &HeaderMap) -> usize {
    let media = media_type(headers);
    if status == StatusCode::OK && media == MEDIA_TYPE {
        ANSWER_LIMIT
    } else if media == PROBLEM_TYPE && !status.is_success() && !status.is_redirection() {
        PROBLEM_LIMIT
    } else {
        0
    }
}

/// Reads an answer of the cloud: our media type, or its problem document; anything else is a stranger's.
pub(crate) fn answer(response: RoadAnswer) -> Result<Vec<u8>, SyncError> {
    let RoadAnswer { status, headers, body } = response;
    match wanted(status, &headers) {
        0 => return Err(SyncError::Stranger(format!("status {}, {:?}", status.as_u16(), media_type(&headers)))),
        limit if body.len() > limit => return Err(SyncError::TooLong(limit)),
        _ if status == StatusCode::OK => return Ok(body),
        _ => {}
    }
    let retry_after_s =
        headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
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
