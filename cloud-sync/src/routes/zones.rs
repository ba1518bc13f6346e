//! Zones: places with a capacity.

use axum::extract::State;
use axum::http::StatusCode;
use gate_core::ids::{GateId, VenueId, ZoneId};
use gate_core::occupancy::Basis;
use gate_core::reset::Daily;
use gate_core::sync::v1::{Change, ZoneReset, ZoneRow};
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

/// A zone. The audit keeps it as it is shown.
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
    /// At this time it begins again each day with nobody in it, minutes after midnight in the venue's time zone; `null`:
    /// never.
    daily_reset_min: Option<u16>,
}

impl ZoneInfo {
    /// A zone as it is shown.
    pub fn of(row: &ZoneRow, daily: Option<Daily>) -> Self {
        Self {
            id: row.id.to_string(),
            name: row.name.clone(),
            parent_id: row.parent.map(|id| id.to_string()),
            capacity: row.capacity,
            warn_percent: row.warn_percent,
            best_effort: row.best_effort,
            rights_holder: row.rights_holder.map(|id| id.to_string()),
            daily_reset_min: daily.map(|daily| daily.minute),
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
    /// When it begins again each day with nobody in it, minutes after midnight in the venue's time zone, 0 to 1439.
    daily_reset_min: Option<u16>,
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
    /// When it begins again each day with nobody in it, minutes after midnight in the venue's time zone, 0 to 1439, from
    /// the next time on; `null` ends that.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u16>)]
    daily_reset_min: Option<Option<u16>>,
}

/// A field that is there: `null` is another wish than none.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

const COLUMNS: &str =
    "zone_id, name, parent_id, capacity, warn_percent, best_effort, rights_holder, reset_min, reset_since_ms";

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

fn read_daily(row: &Row) -> Result<Option<Daily>, DbError> {
    let minute: Option<u16> = row.get(7)?;
    minute.map(|minute| Ok(Daily { minute, since_ms: row.get(8)? })).transpose()
}

/// All zones of a venue, oldest first, each with its daily reset.
pub async fn all(tx: &mut Tx, venue: VenueId) -> Result<Vec<(ZoneRow, Option<Daily>)>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM zones WHERE venue_id = $1 ORDER BY created_ms, zone_id");
    tx.query(&sql, params![venue]).await?.iter().map(|row| Ok((read(row)?, read_daily(row)?))).collect()
}

/// When a zone begins again each day, if it does.
pub async fn daily(tx: &mut Tx, venue: VenueId, zone: ZoneId) -> Result<Option<Daily>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM zones WHERE venue_id = $1 AND zone_id = $2");
    tx.first(&sql, params![venue, zone]).await?.as_ref().map_or(Ok(None), read_daily)
}

/// Sets when a zone begins again each day, and gives what gates must be told of it.
async fn set_daily(tx: &mut Tx, venue: VenueId, zone: ZoneId, daily: Option<Daily>) -> Result<Change, DbError> {
    tx.execute(
        "UPDATE zones SET reset_min = $1, reset_since_ms = $2 WHERE venue_id = $3 AND zone_id = $4",
        params![daily.map(|daily| daily.minute), daily.map_or(0, |daily| daily.since_ms), venue, zone],
    )
    .await?;
    Ok(Change::Reset(ZoneReset { zone, daily }))
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

fn check(capacity: Option<u32>, warn_percent: Option<u8>, daily_reset_min: Option<u16>) -> Result<(), ApiError> {
    if daily_reset_min.is_some_and(|minute| minute >= 1440) {
        return Err(ApiError::field("/daily_reset_min", "A day has 1440 minutes: 180 is three in the morning."));
    }
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
    Ok(Json(zones.iter().map(|(row, daily)| ZoneInfo::of(row, *daily)).collect()))
}

/// Makes a zone.
#[utoipa::path(post, path = "/v1/venues/{venue}/zones", tag = "zones", params(("venue" = String, Path)), request_body = ZoneAsked,
    responses((status = 201, body = ZoneInfo), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn create(
    State(app): State<App>,
    manager: Manager,
    Json(asked): Json<ZoneAsked>,
) -> Result<(StatusCode, Json<ZoneInfo>), ApiError> {
    check(Some(asked.capacity), asked.warn_percent, asked.daily_reset_min)?;
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
            let daily = asked.daily_reset_min.map(|minute| Daily { minute, since_ms: app.now_ms() });
            let mut changes = vec![Change::Zone(zone.clone())];
            if daily.is_some() {
                changes.push(set_daily(tx, manager.venue, zone.id, daily).await?);
            }
            let made = ZoneInfo::of(&zone, daily);
            audit::record(tx, &app, &manager, "zone.create", None, Some(&made)).await?;
            replica::publish(tx, app.master(), manager.venue, changes).await?;
            Ok(made)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(zone)))
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
    check(asked.capacity, asked.warn_percent, asked.daily_reset_min.flatten())?;
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
            let was = daily(tx, manager.venue, id).await?;
            let mut changes = vec![Change::Zone(after.clone())];
            let mut is = was;
            if let Some(minute) = asked.daily_reset_min.filter(|minute| *minute != was.map(|daily| daily.minute)) {
                is = minute.map(|minute| Daily { minute, since_ms: app.now_ms() });
                changes.push(set_daily(tx, manager.venue, id, is).await?);
            }
            let (shown, shows) = (ZoneInfo::of(&before, was), ZoneInfo::of(&after, is));
            audit::record(tx, &app, &manager, "zone.change", Some(&shown), Some(&shows)).await?;
            let told = replica::publish(tx, app.master(), manager.venue, changes).await?;
            rights::note(tx, manager.venue, &before, &after, told).await?;
            ingest::note_conditions(tx, manager.venue, id, None, app.now_ms()).await?;
            Ok(shows)
        })
        .await?;
    Ok(Json(zone))
}
