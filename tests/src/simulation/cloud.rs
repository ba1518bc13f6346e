//! The real cloud in this thread: its router over inline SQLite, with the run's clock and seeded randomness.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, bail};
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use cloud_sync::config::{Config, PublicUrl};
use cloud_sync::entropy::Entropy;
use cloud_sync::store::Mode;
use serde_json::{Value, json};
use tower::ServiceExt;

/// The authority that gates sign for.
pub const AUTHORITY: &str = "cloud.example";

/// The owner's address and password.
pub const OWNER: (&str, &str) = ("owner@venue.example", "correct horse battery");
const SESSION_PATH: &str = "/v1/session";

/// The cloud, as long as it runs.
pub struct Cloud {
    app: cloud_sync::App,
    router: axum::Router,
    runtime: tokio::runtime::Runtime,
    clock: Arc<AtomicI64>,
    data: PathBuf,
    /// The office's session.
    pub cookie: String,
}

/// An answer, wholly read.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer of the office's API.
pub struct JsonAnswer {
    /// The body.
    pub body: Value,
    /// The session it set, if it set one.
    pub cookie: Option<String>,
}

impl Cloud {
    /// Opens a data folder. `seed` seeds all its randomness from here on.
    pub fn open(data: &Path, now_ms: i64, seed: u64, cookie: String) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let clock = Arc::new(AtomicI64::new(now_ms));
        let mut config = Config::new(data, PublicUrl { secure: true, authority: AUTHORITY.to_owned() });
        config.mode = Mode::Inline;
        config.entropy = Entropy::seeded(seed);
        let reading = Arc::clone(&clock);
        config.clock = Arc::new(move || reading.load(Ordering::Relaxed));
        let app = runtime.block_on(cloud_sync::open(config)).context("the cloud opens its folder")?;
        Ok(Self { router: app.clone().router(), app, runtime, clock, data: data.to_path_buf(), cookie })
    }

    /// Moves its clock.
    pub fn set_clock(&self, now_ms: i64) {
        self.clock.store(now_ms, Ordering::Relaxed);
    }

    /// It does what it does by itself.
    pub fn make_rounds(&self) {
        self.runtime.block_on(cloud_sync::make_rounds(&self.app));
    }

    /// Its database, for looking on from outside.
    pub fn database(&self) -> PathBuf {
        self.data.join("cloud.db")
    }

    /// A request as it comes from the network.
    pub fn send_raw(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header("x-requested-with", "gate-dashboard");
        if !self.cookie.is_empty() && path.starts_with("/v1/venues") {
            request = request.header("cookie", &self.cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(body))?;
        let router = self.router.clone();
        self.runtime.block_on(async move {
            let (parts, body) = router.oneshot(request).await?.into_parts();
            let body = axum::body::to_bytes(body, 64 * 1024 * 1024).await?;
            Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_vec() })
        })
    }

    /// A request of the office, expecting success.
    pub fn send_json(&mut self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<JsonAnswer> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        if path.ends_with("/batches") {
            let named = gate_core::pass::token_hash(&body.map(ToString::to_string).unwrap_or_default());
            headers.push(("idempotency-key", format!("simulation-{named}").chars().take(43).collect()));
        }
        let bytes = body.map(|b| b.to_string().into_bytes()).unwrap_or_default();
        let mut answer = self.send_raw(method, path, &headers, bytes.clone())?;
        if answer.status == StatusCode::UNAUTHORIZED && path != SESSION_PATH {
            // A season later the session has ended.
            let login = json!({"email": OWNER.0, "password": OWNER.1});
            let session = self.send_json("POST", SESSION_PATH, Some(&login))?;
            self.cookie = session.cookie.context("a login sets a cookie")?;
            answer = self.send_raw(method, path, &headers, bytes)?;
        }
        if !answer.status.is_success() {
            bail!("{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        let cookie = answer.headers.get("set-cookie").and_then(|value| value.to_str().ok());
        let cookie = cookie.and_then(|text| text.split(';').next()).map(str::to_owned);
        let body = if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body)? };
        Ok(JsonAnswer { body, cookie })
    }
}
