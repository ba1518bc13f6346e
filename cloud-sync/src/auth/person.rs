//! People: a browser of ours, somebody logged in, a manager of a venue.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header::{ORIGIN, UPGRADE};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use gate_core::ids::VenueId;

use super::session;
use crate::app::App;
use crate::problem::ApiError;
use crate::store::params;

/// The header that another site's form can't send.
const MARK: &str = "x-requested-with";
/// Its value.
const MARK_VALUE: &str = "gate-dashboard";

/// A call that came from our own pages, or from no browser at all: not forged by another site.
#[derive(Clone, Copy, Debug)]
pub struct Browser(());

impl FromRequestParts<App> for Browser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let forged = |detail: &str| ApiError::new(StatusCode::FORBIDDEN, "forged", "Not from our own page", detail);
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        // A WebSocket is opened by GET, and no rule of browsers keeps another site from opening one.
        let socket = parts.headers.contains_key(UPGRADE);
        if let Some(origin) = parts.headers.get(ORIGIN) {
            if !origin.to_str().is_ok_and(|origin| app.config().is_own_origin(origin)) {
                return Err(forged("The Origin header names another site."));
            }
        } else if socket {
            return Err(forged("A live channel needs the Origin header."));
        }
        let marked = parts.headers.get(MARK).is_some_and(|value| value.as_bytes() == MARK_VALUE.as_bytes());
        if !reads && !marked {
            return Err(forged("Changes need the header X-Requested-With: gate-dashboard."));
        }
        Ok(Self(()))
    }
}

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub struct Person {
    /// Who.
    pub id: String,
}

impl FromRequestParts<App> for Person {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let id = session::person(app, &parts.headers).await?.ok_or_else(ApiError::login_needed)?;
        Browser::from_request_parts(parts, app).await?;
        Ok(Self { id })
    }
}

/// Somebody who manages the venue that the path names (`{venue}`).
#[derive(Clone, Debug)]
pub struct Manager {
    /// Who.
    pub person: String,
    /// Of which venue.
    pub venue: VenueId,
}

impl FromRequestParts<App> for Manager {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let person = Person::from_request_parts(parts, app).await?.id;
        let path = RawPathParams::from_request_parts(parts, app).await.map_err(|_| ApiError::not_found("venue"))?;
        let named = path.iter().find(|(name, _)| *name == "venue").and_then(|(_, value)| value.parse::<VenueId>().ok());
        // A venue of others is as absent as one that never was.
        let venue = named.ok_or_else(|| ApiError::not_found("venue"))?;
        let role = app
            .db()
            .read(async |tx| {
                tx.first(
                    "SELECT role FROM members WHERE venue_id = $1 AND person_id = $2",
                    params![venue, person.as_str()],
                )
                .await
            })
            .await?;
        match role.map(|row| row.get::<String>(0)).transpose()?.as_deref() {
            Some("owner" | "manager") => Ok(Self { person, venue }),
            Some(_) => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "role",
                "Managers only",
                "Ask a manager of this venue to do it.",
            )),
            None => Err(ApiError::not_found("venue")),
        }
    }
}

/// Whether the session of these headers is still this manager's, and the venue still theirs.
pub async fn still_manages(
    app: &App,
    headers: &axum::http::HeaderMap,
    manager: &Manager,
) -> Result<bool, crate::store::DbError> {
    if session::person(app, headers).await?.as_deref() != Some(manager.person.as_str()) {
        return Ok(false);
    }
    let roles = app
        .db()
        .read(async |tx| {
            tx.number(
                "SELECT COUNT(*) FROM members WHERE venue_id = $1 AND person_id = $2 AND role IN ('owner', 'manager')",
                params![manager.venue, manager.person.as_str()],
            )
            .await
        })
        .await?;
    Ok(roles > 0)
}
