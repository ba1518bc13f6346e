//! Gates and the devices that watch them.

use axum::extract::State;
use axum::http::StatusCode;
use gate_core::ids::{DeviceId, Direction, GateId, LaneId, VenueId, ZoneId};
use gate_core::keys::PublicKey;
use gate_core::statement::{DeviceKey, StatementBody};
use gate_core::sync::v1::{Change, GateRow};
use gate_core::view::Egress;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use utoipa::ToSchema;

use super::setup::text;
use super::zones::ZoneInfo;
use super::{rights, zones};
use crate::app::App;
use crate::auth::Manager;
use crate::extract::{Json, Within};
use crate::problem::{ApiError, Problem};
use crate::store::{DbError, Tx, params};
use crate::{audit, keys, replica};

/// Which way a gate leads.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Into its zone.
    In,
    /// Out of it.
    Out,
}

/// How one leaves through it.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Leaving {
    /// It opens for anybody.
    Free,
    /// It opens for a pass.
    Scan,
}

/// A gate.
#[derive(Serialize, ToSchema)]
pub struct GateInfo {
    id: String,
    lane_id: String,
    zone_id: String,
    name: String,
    direction: Way,
    staffed: bool,
    egress: Leaving,
    /// How long it opens, milliseconds.
    open_ms: u32,
    /// The device that watches it, once one is enrolled.
    device_id: Option<String>,
}

/// A new gate.
#[derive(Deserialize, ToSchema)]
pub struct GateAsked {
    name: String,
    direction: Way,
    #[schema(value_type = String)]
    zone_id: ZoneId,
    /// Somebody stands by and can answer a question.
    #[serde(default)]
    staffed: bool,
    /// For exits; by default the gate opens for a pass.
    egress: Option<Leaving>,
    /// How long it opens, 100 to 60,000 milliseconds; by default 800.
    open_ms: Option<u32>,
}

fn direction_text(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "in",
        Direction::Out => "out",
    }
}

/// The gates of a venue, oldest first.
#[utoipa::path(get, path = "/v1/venues/{venue}/gates", tag = "gates", params(("venue" = String, Path)),
    responses((status = 200, body = Vec<GateInfo>), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn list(State(app): State<App>, manager: Manager) -> Result<Json<Vec<GateInfo>>, ApiError> {
    let rows = app
        .db()
        .read(async |tx| {
            tx.query(
                "SELECT g.gate_id, g.lane_id, g.zone_id, g.name, g.direction, g.staffed, g.egress, g.open_ms, d.device_id FROM gates g LEFT JOIN devices d ON d.venue_id = g.venue_id AND d.gate_id = g.gate_id AND d.revoked_ms IS NULL WHERE g.venue_id = $1 ORDER BY g.created_ms, g.gate_id",
                params![manager.venue],
            )
            .await
        })
        .await?;
    let info = |row: &crate::store::Row| {
        Ok::<_, DbError>(GateInfo {
            id: row.get(0)?,
            lane_id: row.get(1)?,
            zone_id: row.get(2)?,
            name: row.get(3)?,
            direction: if row.get::<String>(4)? == "in" { Way::In } else { Way::Out },
            staffed: row.get(5)?,
            egress: if row.get::<String>(6)? == "free" { Leaving::Free } else { Leaving::Scan },
            open_ms: row.get(7)?,
            device_id: row.get(8)?,
        })
    };
    Ok(Json(rows.iter().map(info).collect::<Result<_, _>>()?))
}

/// Makes a gate with its lane. The first entrance of a zone gets its capacity rights, and those of the zones around it
/// that nobody has: who enters a zone enters all of them.
#[utoipa::path(post, path = "/v1/venues/{venue}/gates", tag = "gates", params(("venue" = String, Path)), request_body = GateAsked,
    responses((status = 201, body = GateInfo), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn create(
    State(app): State<App>,
    manager: Manager,
    Json(asked): Json<GateAsked>,
) -> Result<(StatusCode, Json<GateInfo>), ApiError> {
    let open_ms = asked.open_ms.unwrap_or(800);
    if !(100..=60_000).contains(&open_ms) {
        return Err(ApiError::field("/open_ms", "A gate opens for 100 to 60,000 milliseconds."));
    }
    let egress = asked.egress.unwrap_or(Leaving::Scan);
    let gate = GateRow {
        id: GateId(app.new_id()),
        lane: LaneId(app.new_id()),
        name: text("/name", &asked.name, 60)?,
        zone: asked.zone_id,
        direction: match asked.direction {
            Way::In => Direction::In,
            Way::Out => Direction::Out,
        },
        staffed: asked.staffed,
        egress: match egress {
            Leaving::Free => Egress::Free,
            Leaving::Scan => Egress::Scan,
        },
        open_ms,
    };
    let info = app
        .change(manager.venue, async |tx| {
            let zone = zones::one(tx, manager.venue, gate.zone)
                .await?
                .ok_or_else(|| ApiError::field("/zone_id", "There is no such zone in this venue."))?;
            tx.execute(
                "INSERT INTO gates (venue_id, gate_id, lane_id, zone_id, name, direction, staffed, egress, open_ms, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                params![manager.venue, gate.id, gate.lane, gate.zone, gate.name.as_str(), direction_text(gate.direction), gate.staffed, if gate.egress == Egress::Free { "free" } else { "scan" }, gate.open_ms, app.now_ms()],
            )
            .await?;
            let mut changes = vec![Change::Gate(gate.clone())];
            if gate.direction == Direction::In {
                for mut zone in rights::around(tx, manager.venue, zone).await? {
                    if zone.rights_holder.is_none() && rights::free(tx, manager.venue, zone.id, gate.id).await? {
                        let before = zone.clone();
                        zone.rights_holder = Some(gate.id);
                        zones::update(tx, manager.venue, &zone).await?;
                        rights::note(tx, manager.venue, &before, &zone, 0).await?;
                        let daily = zones::daily(tx, manager.venue, zone.id).await?;
                        let (was, is) = (ZoneInfo::of(&before, daily), ZoneInfo::of(&zone, daily));
                        audit::record(tx, &app, &manager, "zone.change", Some(&was), Some(&is)).await?;
                        changes.push(Change::Zone(zone));
                    }
                }
            }
            let info = GateInfo {
                id: gate.id.to_string(),
                lane_id: gate.lane.to_string(),
                zone_id: gate.zone.to_string(),
                name: gate.name,
                direction: asked.direction,
                staffed: gate.staffed,
                egress,
                open_ms: gate.open_ms,
                device_id: None,
            };
            audit::record(tx, &app, &manager, "gate.create", None, Some(&info)).await?;
            replica::publish(tx, app.master(), manager.venue, changes).await?;
            Ok(info)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(info)))
}

/// Withdraws a device: nothing it says from now on is believed, and its live channel ends.
#[utoipa::path(post, path = "/v1/venues/{venue}/devices/{device}/revoke", tag = "gates",
    params(("venue" = String, Path), ("device" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn revoke_device(
    State(app): State<App>,
    manager: Manager,
    Within(device): Within<DeviceId>,
) -> Result<StatusCode, ApiError> {
    app.change(manager.venue, async |tx| {
        let change = withdraw_noted(tx, &app, &manager, device).await?.ok_or_else(|| ApiError::not_found("device"))?;
        replica::publish(tx, app.master(), manager.venue, vec![change]).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// States that a device is withdrawn, and who wanted it.
pub async fn withdraw_noted(
    tx: &mut Tx,
    app: &App,
    manager: &Manager,
    device: DeviceId,
) -> Result<Option<Change>, ApiError> {
    let before = standing(tx, manager.venue, device).await?;
    let change = withdraw(tx, app, manager.venue, device).await?;
    let after = standing(tx, manager.venue, device).await?;
    if change.is_some() {
        audit::record(tx, app, manager, "device.revoke", Some(&before), Some(&after)).await?;
    }
    Ok(change)
}

/// Whether a device is believed, as the audit keeps it.
pub async fn standing(tx: &mut Tx, venue: VenueId, device: DeviceId) -> Result<serde_json::Value, DbError> {
    let row = tx
        .first(
            "SELECT revoked_ms, fenced_ms FROM devices WHERE venue_id = $1 AND device_id = $2",
            params![venue, device],
        )
        .await?;
    let Some(row) = row else { return Ok(serde_json::Value::Null) };
    let (revoked_ms, fenced_ms): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
    Ok(serde_json::json!({"device_id": device, "revoked_ms": revoked_ms, "fenced_ms": fenced_ms}))
}

/// States that a device is withdrawn.
pub async fn withdraw(tx: &mut Tx, app: &App, venue: VenueId, device: DeviceId) -> Result<Option<Change>, ApiError> {
    let row = tx
        .first(
            "UPDATE devices SET revoked_ms = COALESCE(revoked_ms, $1) WHERE venue_id = $2 AND device_id = $3 RETURNING gate_id, public_key",
            params![app.now_ms(), venue, device],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let key = PublicKey::register(&row.get::<Vec<u8>>(1)?).map_err(|error| ApiError::internal(&error))?;
    let body = StatementBody::Device(DeviceKey { device, gate: row.get(0)?, key, revoked: true });
    let statement = keys::state(tx, app.master(), venue, body).await?;
    Ok(Some(Change::Statement(ByteBuf::from(statement))))
}
