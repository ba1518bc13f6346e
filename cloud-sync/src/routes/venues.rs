//! Venues: everything else belongs to one.

use axum::extract::State;
use axum::http::StatusCode;
use gate_core::ids::{VenueCode, VenueId};
use gate_core::product::{OfflineScope, Product, ProductKind, Rule, SecondScan};
use gate_core::sync::v1::{Change, VenueRow};
use gate_core::time::DayRule;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use utoipa::ToSchema;

use super::setup::{day_rule, text};
use crate::app::App;
use crate::audit;
use crate::auth::{Manager, Person};
use crate::extract::Json;
use crate::problem::{ApiError, Problem};
use crate::store::{DbError, Tx, params};
use crate::{codes, keys, replica};

/// A venue to be made.
pub struct NewVenue {
    /// What people call it.
    pub name: String,
    /// Its calendar.
    pub day_rule: DayRule,
}

/// A venue.
#[derive(Serialize, ToSchema)]
pub struct VenueInfo {
    id: String,
    /// Two characters; what passes call it.
    code: String,
    name: String,
    time_zone: String,
    /// Minutes after midnight at which its day begins.
    day_begins_min: u16,
}

/// A further venue.
#[derive(Deserialize, ToSchema)]
pub struct VenueAsked {
    name: String,
    /// IANA time zone, for example `Europe/Bucharest`.
    time_zone: String,
}

/// What to change; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub struct VenueChange {
    name: Option<String>,
    /// Minutes after midnight at which the day begins, 0 to 719.
    day_begins_min: Option<u16>,
}

/// Makes a venue with its keys and its first product, owned by this person.
pub async fn found(tx: &mut Tx, app: &App, new: NewVenue, owner: &str) -> Result<VenueId, ApiError> {
    let id = VenueId(app.new_id());
    let now = app.now_ms();
    let mut code = codes::from_name(&new.name);
    while tx.number("SELECT COUNT(*) FROM venues WHERE code = $1", params![code.as_str()]).await? > 0 {
        code = codes::random(app.entropy());
    }
    tx.execute(
        "INSERT INTO venues (venue_id, code, name, time_zone, boundary_min, created_ms, live_seq) VALUES ($1, $2, $3, $4, $5, $6, 1)",
        params![id, code.as_str(), new.name.as_str(), new.day_rule.time_zone.as_str(), new.day_rule.boundary_min, now],
    )
    .await?;
    tx.execute("INSERT INTO members (venue_id, person_id, role) VALUES ($1, $2, 'owner')", params![id, owner]).await?;
    let statements = keys::create_venue_keys(tx, app.master(), app.entropy(), id).await?;
    let visitor = Product {
        number: 1,
        name: "Visitor".to_owned(),
        kind: ProductKind::Visitor,
        rules: vec![Rule::Single.text()],
        zones: vec![],
        second_scan: SecondScan::Hard,
        offline_scope: OfflineScope::Site,
        max_staleness_s: None,
        attention: None,
        open_ms: None,
        home_gate: None,
    };
    super::products::store(tx, id, &visitor).await?;
    let mut changes: Vec<Change> = statements.into_iter().map(|s| Change::Statement(ByteBuf::from(s))).collect();
    changes.push(Change::Venue(row(tx, id).await?));
    changes.push(Change::Product(visitor));
    replica::publish(tx, app.master(), id, changes).await?;
    Ok(id)
}

/// What gates know of a venue.
pub async fn row(tx: &mut Tx, venue: VenueId) -> Result<VenueRow, DbError> {
    let row = tx
        .first("SELECT code, name, time_zone, boundary_min FROM venues WHERE venue_id = $1", params![venue])
        .await?
        .ok_or_else(|| DbError::Statement("the venue is gone".to_owned()))?;
    Ok(VenueRow {
        code: row.get::<VenueCode>(0)?,
        name: row.get(1)?,
        day_rule: DayRule { time_zone: row.get(2)?, boundary_min: row.get(3)? },
    })
}

fn info(id: VenueId, row: VenueRow) -> VenueInfo {
    VenueInfo {
        id: id.to_string(),
        code: row.code.to_string(),
        name: row.name,
        time_zone: row.day_rule.time_zone,
        day_begins_min: row.day_rule.boundary_min,
    }
}

/// Makes a further venue. Whoever owns one may.
#[utoipa::path(post, path = "/v1/venues", tag = "venues", request_body = VenueAsked,
    responses((status = 201, body = VenueInfo), (status = 401, body = Problem, content_type = "application/problem+json"), (status = 403, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn create(
    State(app): State<App>,
    person: Person,
    Json(asked): Json<VenueAsked>,
) -> Result<(StatusCode, Json<VenueInfo>), ApiError> {
    let new = NewVenue { name: text("/name", &asked.name, 80)?, day_rule: day_rule("/time_zone", &asked.time_zone)? };
    let made = app
        .db()
        .write(async |tx| {
            let owns = tx
                .number(
                    "SELECT COUNT(*) FROM members WHERE person_id = $1 AND role = 'owner'",
                    params![person.id.as_str()],
                )
                .await?;
            if owns == 0 {
                return Err(ApiError::new(StatusCode::FORBIDDEN, "role", "Owners only", "Ask an owner to do it."));
            }
            let id = found(tx, &app, new, &person.id).await?;
            Ok(info(id, row(tx, id).await?))
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// One venue.
#[utoipa::path(get, path = "/v1/venues/{venue}", tag = "venues", params(("venue" = String, Path)),
    responses((status = 200, body = VenueInfo), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn show(State(app): State<App>, manager: Manager) -> Result<Json<VenueInfo>, ApiError> {
    let row = app.db().read(async |tx| row(tx, manager.venue).await).await?;
    Ok(Json(info(manager.venue, row)))
}

/// Renames a venue or moves the beginning of its day.
#[utoipa::path(patch, path = "/v1/venues/{venue}", tag = "venues", params(("venue" = String, Path)), request_body = VenueChange,
    responses((status = 200, body = VenueInfo), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn change(
    State(app): State<App>,
    manager: Manager,
    Json(asked): Json<VenueChange>,
) -> Result<Json<VenueInfo>, ApiError> {
    let name = asked.name.map(|name| text("/name", &name, 80)).transpose()?;
    if asked.day_begins_min.is_some_and(|minute| minute > 719) {
        return Err(ApiError::field("/day_begins_min", "A day begins between 0 and 719 minutes after midnight."));
    }
    let row = app
        .change(manager.venue, async |tx| {
            let before = row(tx, manager.venue).await?;
            let mut after = before.clone();
            after.name = name.unwrap_or(after.name);
            after.day_rule.boundary_min = asked.day_begins_min.unwrap_or(after.day_rule.boundary_min);
            tx.execute(
                "UPDATE venues SET name = $1, boundary_min = $2 WHERE venue_id = $3",
                params![after.name.as_str(), after.day_rule.boundary_min, manager.venue],
            )
            .await?;
            let (was, is) = (info(manager.venue, before), info(manager.venue, after.clone()));
            audit::record(tx, &app, &manager, "venue.change", Some(&was), Some(&is)).await?;
            replica::publish(tx, app.master(), manager.venue, vec![Change::Venue(after.clone())]).await?;
            Ok(after)
        })
        .await?;
    Ok(Json(info(manager.venue, row)))
}
