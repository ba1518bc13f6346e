//! Whether the service can do its work, for whoever watches it.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::extract::Json;
use crate::problem::{ApiError, Problem};

/// It can.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`; otherwise the answer is a problem.
    status: &'static str,
    /// Version of the software.
    version: &'static str,
}

/// Reads the database once.
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, body = Health), (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn health(State(app): State<App>) -> Result<Json<Health>, ApiError> {
    app.db().read(async |tx| tx.number("SELECT COUNT(*) FROM schema_version", &[]).await).await?;
    Ok(Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") }))
}
