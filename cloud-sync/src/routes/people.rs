//! Who works at a venue: to whom something can be given.

use std::collections::BTreeMap;

use axum::extract::State;
use gate_core::ids::VenueId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Manager;
use crate::extract::Json;
use crate::problem::{ApiError, Problem};
use crate::store::{DbError, Row, Tx, params};

/// Somebody who works at the venue.
#[derive(Serialize, ToSchema)]
pub struct PersonInfo {
    id: String,
    name: String,
    /// `owner`, `manager` and so on.
    role: String,
}

/// Everybody who works at the venue, whoever came first before the others.
#[utoipa::path(get, path = "/v1/venues/{venue}/people", tag = "people", params(("venue" = String, Path)),
    responses((status = 200, body = Vec<PersonInfo>), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn list(State(app): State<App>, manager: Manager) -> Result<Json<Vec<PersonInfo>>, ApiError> {
    Ok(Json(app.db().read(async |tx| all(tx, manager.venue).await).await?))
}

async fn all(tx: &mut Tx, venue: VenueId) -> Result<Vec<PersonInfo>, DbError> {
    let rows = tx
        .query(
            "SELECT p.id, p.name, m.role FROM members m JOIN people p ON p.id = m.person_id WHERE m.venue_id = $1 ORDER BY p.created_ms, p.id",
            params![venue],
        )
        .await?;
    let person = |row: &Row| Ok::<_, DbError>(PersonInfo { id: row.get(0)?, name: row.get(1)?, role: row.get(2)? });
    rows.iter().map(person).collect()
}

/// The names of a venue's people by their ids, and the id of its owner.
pub(super) async fn names(tx: &mut Tx, venue: VenueId) -> Result<(BTreeMap<String, String>, Option<String>), DbError> {
    let people = all(tx, venue).await?;
    let owner = people.iter().find(|person| person.role == "owner").map(|person| person.id.clone());
    Ok((people.into_iter().map(|person| (person.id, person.name)).collect(), owner))
}
