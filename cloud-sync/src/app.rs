//! The service as one value: what every route is given, and the router they make together.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use gate_core::ids::VenueId;
use tokio::sync::Semaphore;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;

use crate::config::Config;
use crate::entropy::Entropy;
use crate::keys::Master;
use crate::limits::Limits;
use crate::live::Hub;
use crate::problem::{self, ApiError};
use crate::routes;
use crate::store::{Db, Mode, Tx, params};

/// A request takes no longer than this; a sheet of 5,000 passes is the slowest.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Password hashes computed at once; each takes 19 MiB.
const HASHES: usize = 4;

/// The service; clones share it.
#[derive(Clone)]
pub struct App(Arc<Parts>);

struct Parts {
    db: Db,
    master: Master,
    config: Config,
    hub: Hub,
    hashing: Semaphore,
    limits: Limits,
}

impl App {
    /// Puts the parts together.
    pub fn new(db: Db, master: Master, config: Config) -> Self {
        Self(Arc::new(Parts {
            db,
            master,
            config,
            hub: Hub::default(),
            hashing: Semaphore::new(HASHES),
            limits: Limits::default(),
        }))
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.0.db
    }

    /// The key over all keys.
    pub fn master(&self) -> &Master {
        &self.0.master
    }

    /// What the service was told at its start.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Who waits for news.
    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// How much one caller may ask.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Randomness.
    pub fn entropy(&self) -> &Entropy {
        &self.0.config.entropy
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        (self.0.config.clock)()
    }

    /// A new id of this moment.
    pub fn new_id(&self) -> Uuid {
        self.entropy().id(self.now_ms())
    }

    /// Runs a transaction that changes a venue, then wakes everybody who watches it.
    pub async fn change<T, F>(&self, venue: VenueId, work: F) -> Result<T, ApiError>
    where
        F: AsyncFnOnce(&mut Tx) -> Result<T, ApiError>,
    {
        let mut tx_work = Some(work);
        let value = self
            .db()
            .write(async |tx| {
                let work = tx_work.take().ok_or_else(|| ApiError::internal(&"a transaction ran twice"))?;
                let value = work(tx).await?;
                tx.execute("UPDATE venues SET live_seq = live_seq + 1 WHERE venue_id = $1", params![venue]).await?;
                Ok::<T, ApiError>(value)
            })
            .await?;
        self.hub().tell(venue);
        Ok(value)
    }

    /// Runs slow computing off the threads that answer requests, or in place where nothing may run elsewhere.
    pub async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        match self.config().mode {
            Mode::Inline => Ok(work()),
            Mode::Threads => tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(&error)),
        }
    }

    /// Computes a password hash; a few at once and no more, so that whoever asks for many fills neither the memory nor
    /// all processors.
    pub async fn hash<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let _turn = self.0.hashing.acquire().await.map_err(|error| ApiError::internal(&error))?;
        self.compute(work).await
    }

    /// All routes, with their description.
    pub fn router(self) -> Router {
        let (router, api) = described().split_for_parts();
        let document = Arc::new(api);
        let header = |name: &'static str, value: &'static str| {
            SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let secure = self.config().public_url.secure;
        let router = router
            .route(
                "/openapi.json",
                axum::routing::get(move || {
                    let document = Arc::clone(&document);
                    async move { axum::Json(document.as_ref().clone()) }
                }),
            )
            .fallback(routes::pages::page)
            .method_not_allowed_fallback(routes::pages::wrong_method)
            .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIME_LIMIT))
            .layer(axum::middleware::map_response(problem::dress))
            .layer(DefaultBodyLimit::max(64 * 1024))
            .layer(header("cache-control", "no-store"))
            .layer(header(
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
            ))
            .layer(header("x-content-type-options", "nosniff"))
            .layer(header("x-frame-options", "DENY"))
            .layer(header("referrer-policy", "no-referrer"))
            .layer(header("cross-origin-opener-policy", "same-origin"))
            .layer(header("cross-origin-resource-policy", "same-origin"))
            .layer(header("permissions-policy", "camera=(self), microphone=(), geolocation=()"));
        let router = if secure {
            router.layer(header("strict-transport-security", "max-age=31536000; includeSubDomains"))
        } else {
            router
        };
        router.layer(TraceLayer::new_for_http().make_span_with(span)).with_state(self)
    }
}

/// What a log line says of a request: never its query, its headers or its body.
fn span(request: &Request) -> tracing::Span {
    tracing::debug_span!("request", method = %request.method(), path = request.uri().path())
}

#[derive(OpenApi)]
#[openapi(info(
    title = "cloud-sync",
    description = "Gates, zones, vendors and passes of a venue. People log in with a session cookie and add `X-Requested-With: gate-dashboard` to every change; devices sign their requests (RFC 9421). Every error is `application/problem+json`."
))]
struct Document;

/// Routes and their description come from the same list.
fn described() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::with_openapi(Document::openapi()).merge(routes::all());
    describe_callers(router.get_openapi_mut());
    router
}

/// Says of each operation who may call it; the routes themselves insist on it by their arguments.
fn describe_callers(document: &mut utoipa::openapi::OpenApi) {
    let cookie = ApiKeyValue::with_description("gate_session", "A person's session; see POST /v1/session");
    let signature = ApiKeyValue::with_description(
        "Signature",
        "An enrolled device's RFC 9421 signature over method, authority, path, query and content digest",
    );
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    components.add_security_scheme("device", SecurityScheme::ApiKey(ApiKey::Header(signature)));
    for (path, item) in &mut document.paths.paths {
        let scheme = if path.starts_with("/v1/venues") {
            "session"
        } else if path.starts_with("/v1/sync") {
            "device"
        } else {
            continue;
        };
        let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.security = Some(vec![SecurityRequirement::new(scheme, Vec::<String>::new())]);
        }
    }
}

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    described().into_openapi()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_few_passwords_are_hashed_at_once_and_no_more() {
        let folder = crate::testing::Folder::new("hashing");
        let url = "http://127.0.0.1:1".parse().unwrap();
        let app = crate::open(Config::new(folder.root(), url)).await.unwrap();
        let (started, starts) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        let mut asked = Vec::new();
        for n in 0..6 {
            let (app, started, released) = (app.clone(), started.clone(), Arc::clone(&released));
            asked.push(tokio::spawn(async move {
                let wait = move || {
                    started.send(n).unwrap();
                    released.lock().unwrap().recv().unwrap();
                };
                app.hash(wait).await.unwrap();
            }));
        }
        let starts = tokio::task::spawn_blocking(move || {
            let first: Vec<i32> = (0..HASHES).map(|_| starts.recv().unwrap()).collect();
            (first, starts)
        });
        let (first, starts) = starts.await.unwrap();
        assert_eq!(first.len(), HASHES);
        assert_eq!(app.0.hashing.available_permits(), 0, "the next one waits for its turn");
        assert!(starts.try_recv().is_err());
        for _ in 0..6 {
            release.send(()).unwrap();
        }
        for hashed in asked {
            hashed.await.unwrap();
        }
        assert_eq!((starts.try_iter().count(), app.0.hashing.available_permits()), (2, HASHES));
    }
}
