//! Zones: places with a capacity.

use axum::extract::State;
use axum::http::StatusCode;
use gate_core::ids::{GateId, VenueId, ZoneId};
use gate_core::occupancy::Basis;
use gate_core::sync::v1::{Change, ZoneRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rights;
use super::setup::text;
use crate::app::App;
use crate::auth::Manager;
use crate::extract::{Json, Within};
use crate::problem::{ApiError, Problem};
use crate::store::{DbError, Row, Tx, params};
use crate::{audit, ingest, replica};

/// The most that a zone may hold.
pub const CAPACITY_MAX: u32 = 1_000_000;

/// A zone.
#[derive(Serialize, ToSchema)]
pub struct ZoneInfo {
    id: String,
    name: String,
    parent_id: Option<String>,
    capacity: u32,
    /// From this share on, entrances warn, percent.
    warn_percent: u8,
    /// Lets people in when no capacity right is left.
    best_effort: bool,
    /// The one gate that may spend the zone's capacity rights; its first entrance.
    rights_holder: Option<String>,
}

impl From<ZoneRow> for ZoneInfo {
    fn from(row: ZoneRow) -> Self {
        Self {
            id: row.id.to_string(),
            name: row.name,
            parent_id: row.parent.map(|id| id.to_string()),
            capacity: row.capacity,
            warn_percent: row.warn_percent,
            best_effort: row.best_effort,
            rights_holder: row.rights_holder.map(|id| id.to_string()),
        }
    }
}

/// A new zone.
#[derive(Deserialize, ToSchema)]
pub struct ZoneAsked {
    name: String,
    capacity: u32,
    /// The zone around it.
    #[schema(value_type = Option<String>)]
    parent_id: Option<ZoneId>,
    warn_percent: Option<u8>,
    #[serde(default)]
    best_effort: bool,
}

/// What to change; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub struct ZoneChange {
    name: Option<String>,
    capacity: Option<u32>,
    warn_percent: Option<u8>,
    best_effort: Option<bool>,
    /// The entrance that gets the capacity rights, of this zone or of one within it; `null` takes them from the one
    /// that has them. Another entrance can have them only when that one is known to admit nobody by them any more.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    rights_holder: Option<Option<GateId>>,
}

/// A field that is there: `null` is another wish than none.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<GateId>>, D::Error> {
    Option::<GateId>::deserialize(deserializer).map(Some)
}

const COLUMNS: &str = "zone_id, name, parent_id, capacity, warn_percent, best_effort, rights_holder";

fn read(row: &Row) -> Result<ZoneRow, DbError> {
    Ok(ZoneRow {
        id: row.get(0)?,
        name: row.get(1)?,
        parent: row.get(2)?,
        capacity: row.get(3)?,
        warn_percent: row.get(4)?,
        best_effort: row.get(5)?,
        rights_holder: row.get(6)?,
    })
}

/// All zones of a venue, oldest first.
pub async fn all(tx: &mut Tx, venue: VenueId) -> Result<Vec<ZoneRow>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM zones WHERE venue_id = $1 ORDER BY created_ms, zone_id");
    tx.query(&sql, params![venue]).await?.iter().map(read).collect()
}

/// One zone.
pub async fn one(tx: &mut Tx, venue: VenueId, zone: ZoneId) -> Result<Option<ZoneRow>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM zones WHERE venue_id = $1 AND zone_id = $2");
    tx.first(&sql, params![venue, zone]).await?.as_ref().map(read).transpose()
}

/// Writes a zone's settings.
pub async fn update(tx: &mut Tx, venue: VenueId, zone: &ZoneRow) -> Result<(), DbError> {
    tx.execute(
        "UPDATE zones SET name = $1, capacity = $2, warn_percent = $3, best_effort = $4, rights_holder = $5 WHERE venue_id = $6 AND zone_id = $7",
        params![zone.name.as_str(), zone.capacity, zone.warn_percent, zone.best_effort, zone.rights_holder, venue, zone.id],
    )
    .await
    .map(|_| ())
}

fn check(capacity: Option<u32>, warn_percent: Option<u8>) -> Result<(), ApiError> {
    if capacity.is_some_and(|n| !(1..=CAPACITY_MAX).contains(&n)) {
        return Err(ApiError::field("/capacity", format!("A capacity is between 1 and {CAPACITY_MAX}.")));
    }
    if warn_percent.is_some_and(|n| !(1..=100).contains(&n)) {
        return Err(ApiError::field("/warn_percent", "The warning line is between 1 and 100 percent."));
    }
    Ok(())
}

/// The zones of a venue.
#[utoipa::path(get, path = "/v1/venues/{venue}/zones", tag = "zones", params(("venue" = String, Path)),
    responses((status = 200, body = Vec<ZoneInfo>), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn list(State(app): State<App>, manager: Manager) -> Result<Json<Vec<ZoneInfo>>, ApiError> {
    let zones = app.db().read(async |tx| all(tx, manager.venue).await).await?;
    Ok(Json(zones.into_iter().map(ZoneInfo::from).collect()))
}

/// Makes a zone.
#[utoipa::path(post, path = "/v1/venues/{venue}/zones", tag = "zones", params(("venue" = String, Path)), request_body = ZoneAsked,
    responses((status = 201, body = ZoneInfo), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn create(
    State(app): State<App>,
    manager: Manager,
    Json(asked): Json<ZoneAsked>,
) -> Result<(StatusCode, Json<ZoneInfo>), ApiError> {
    check(Some(asked.capacity), asked.warn_percent)?;
    let zone = ZoneRow {
        id: ZoneId(app.new_id()),
        name: text("/name", &asked.name, 60)?,
        parent: asked.parent_id,
        capacity: asked.capacity,
        warn_percent: asked.warn_percent.unwrap_or(90),
        best_effort: asked.best_effort,
        rights_holder: None,
    };
    let zone = app
        .change(manager.venue, async |tx| {
            if let Some(parent) = zone.parent
                && one(tx, manager.venue, parent).await?.is_none()
            {
                return Err(ApiError::field("/parent_id", "There is no such zone in this venue."));
            }
            let basis = gate_core::canonical::encode(&Basis::START);
            tx.execute(
                "INSERT INTO zones (venue_id, zone_id, name, parent_id, capacity, warn_percent, best_effort, rights_holder, fullness, basis, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, 'open', $8, $9)",
                params![manager.venue, zone.id, zone.name.as_str(), zone.parent, zone.capacity, zone.warn_percent, zone.best_effort, basis, app.now_ms()],
            )
            .await?;
            audit::record(tx, &app, &manager, "zone.create", None, Some(&zone)).await?;
            replica::publish(tx, app.master(), manager.venue, vec![Change::Zone(zone.clone())]).await?;
            Ok(zone)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(zone.into())))
}

/// Changes a zone's settings. A capacity below what is in it is taken: then nobody gets in until enough have left.
#[utoipa::path(patch, path = "/v1/venues/{venue}/zones/{zone}", tag = "zones", params(("venue" = String, Path), ("zone" = String, Path)),
    request_body = ZoneChange, responses((status = 200, body = ZoneInfo), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn change(
    State(app): State<App>,
    manager: Manager,
    Within(id): Within<ZoneId>,
    Json(asked): Json<ZoneChange>,
) -> Result<Json<ZoneInfo>, ApiError> {
    check(asked.capacity, asked.warn_percent)?;
    let name = asked.name.map(|name| text("/name", &name, 60)).transpose()?;
    let zone = app
        .change(manager.venue, async |tx| {
            let before = one(tx, manager.venue, id).await?.ok_or_else(|| ApiError::not_found("zone"))?;
            let mut after = before.clone();
            after.name = name.unwrap_or(after.name);
            after.capacity = asked.capacity.unwrap_or(after.capacity);
            after.warn_percent = asked.warn_percent.unwrap_or(after.warn_percent);
            after.best_effort = asked.best_effort.unwrap_or(after.best_effort);
            if let Some(Some(gate)) = asked.rights_holder {
                if !rights::leads_into(tx, manager.venue, gate, id).await? {
                    return Err(ApiError::field("/rights_holder", "This gate is no entrance of the zone."));
                }
                rights::may_hold(tx, manager.venue, id, gate).await?;
            }
            after.rights_holder = asked.rights_holder.unwrap_or(after.rights_holder);
            update(tx, manager.venue, &after).await?;
            audit::record(tx, &app, &manager, "zone.change", Some(&before), Some(&after)).await?;
            let told = replica::publish(tx, app.master(), manager.venue, vec![Change::Zone(after.clone())]).await?;
            rights::note(tx, manager.venue, &before, &after, told).await?;
            ingest::note_conditions(tx, manager.venue, id, None, app.now_ms()).await?;
            Ok(after)
        })
        .await?;
    Ok(Json(zone.into()))
}
