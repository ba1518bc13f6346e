//! A cloud in this process, without a network: requests go straight to the service's own router.

use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use gate_agent::sync::SyncError;
use gate_agent::sync::transport::{Road, RoadAnswer, RoadRequest};

/// A road that ends in the service itself. Its database runs on the caller's thread.
#[derive(Clone)]
pub struct Inline(Router);

impl Inline {
    /// The service over a cloud's data folder, known under this address.
    pub async fn open(data: &Path, address: SocketAddr, authorities: &[String]) -> anyhow::Result<Self> {
        let mut config = cloud_sync::Config::new(data, cloud_sync::PublicUrl::loopback(address));
        config.mode = cloud_sync::store::Mode::Inline;
        config.authorities = authorities.to_vec();
        Ok(Self(cloud_sync::open(config).await?.router()))
    }

    /// Nobody is there.
    pub fn nobody() -> Self {
        Self(Router::new())
    }
}

impl Road for Inline {
    async fn send(&self, request: RoadRequest) -> Result<RoadAnswer, SyncError> {
        let lost = |why: String| SyncError::Unreachable(why);
        let mut uri = request.path.to_owned();
        if !request.query.is_empty() {
            uri = format!("{uri}?{}", request.query);
        }
        let mut asked = Request::builder().method(request.method.as_str()).uri(uri);
        for (name, value) in &request.headers {
            asked = asked.header(*name, value);
        }
        let asked = asked.body(Body::from(request.body)).map_err(|e| lost(e.to_string()))?;
        let answer = tower::ServiceExt::oneshot(self.0.clone(), asked).await.map_err(|e| lost(e.to_string()))?;
        let (parts, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, 1 << 24).await.map_err(|e| lost(e.to_string()))?.to_vec();
        Ok(RoadAnswer { status: parts.status, headers: parts.headers, body })
    }
}
