//! What people counted in a zone, and what passed through it day by day.

use axum::extract::State;
use axum::http::StatusCode;
use gate_core::ids::ZoneId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::setup::text;
use super::zones;
use crate::app::App;
use crate::auth::Manager;
use crate::extract::{Json, Within};
use crate::problem::{ApiError, Problem};
use crate::store::{DbError, Row, params};
use crate::{audit, ingest, office, replica};

/// What was counted.
#[derive(Deserialize, ToSchema)]
pub struct Counted {
    /// How many are in the zone.
    observed: u32,
    /// Why it was counted, for the audit.
    reason: String,
}

/// The recount that was recorded.
#[derive(Serialize, ToSchema)]
pub struct Recounted {
    /// The event, in the office's own journal.
    event: String,
    /// What the zone counted before.
    before: u32,
    /// What it counts now.
    after: u32,
}

/// What the audit keeps of a recount.
#[derive(Serialize)]
struct Audited<'a> {
    id: ZoneId,
    occupancy: u32,
    event: Option<String>,
    reason: Option<&'a str>,
}

/// Enters what somebody counted. It becomes an event of the office's own journal: nothing is overwritten, and gates hear
/// of it like of any other recount.
#[utoipa::path(post, path = "/v1/venues/{venue}/zones/{zone}/recount", tag = "zones", params(("venue" = String, Path), ("zone" = String, Path)), request_body = Counted,
    responses((status = 201, body = Recounted), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn recount(
    State(app): State<App>,
    manager: Manager,
    Within(id): Within<ZoneId>,
    Json(asked): Json<Counted>,
) -> Result<(StatusCode, Json<Recounted>), ApiError> {
    let reason = text("/reason", &asked.reason, 200)?;
    if asked.observed > zones::CAPACITY_MAX {
        return Err(ApiError::field("/observed", format!("No zone holds more than {}.", zones::CAPACITY_MAX)));
    }
    let done = app
        .change(manager.venue, async |tx| {
            zones::one(tx, manager.venue, id).await?.ok_or_else(|| ApiError::not_found("zone"))?;
            let before = ingest::merged(&ingest::tally(tx, manager.venue, id).await?).occupancy();
            let (event, changes) = office::recount(tx, &app, manager.venue, id, asked.observed).await?;
            let after = ingest::merged(&ingest::tally(tx, manager.venue, id).await?).occupancy();
            tx.execute(
                "INSERT INTO recount_reasons (venue_id, event, person_id, reason) VALUES ($1, $2, $3, $4)",
                params![manager.venue, event, manager.person.as_str(), reason.as_str()],
            )
            .await?;
            let was = Audited { id, occupancy: before, event: None, reason: None };
            let is = Audited { id, occupancy: after, event: Some(event.to_string()), reason: Some(&reason) };
            audit::record(tx, &app, &manager, "zone.recount", Some(&was), Some(&is)).await?;
            replica::publish(tx, app.master(), manager.venue, changes).await?;
            Ok(Recounted { event: event.to_string(), before, after })
        })
        .await?;
    Ok((StatusCode::CREATED, Json(done)))
}

/// What passed through a zone on one day of the venue.
#[derive(Serialize, ToSchema)]
pub struct ZoneDay {
    /// The day, `2026-11-20`.
    day: String,
    /// What came in, less what was taken back.
    entries: i64,
    /// What left.
    exits: i64,
}

/// Who came and went, newest day first, at most a year. What is heard late is in the day in which it happened.
#[utoipa::path(get, path = "/v1/venues/{venue}/zones/{zone}/days", tag = "zones", params(("venue" = String, Path), ("zone" = String, Path)),
    responses((status = 200, body = Vec<ZoneDay>), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn days(
    State(app): State<App>,
    manager: Manager,
    Within(id): Within<ZoneId>,
) -> Result<Json<Vec<ZoneDay>>, ApiError> {
    let rows = app
        .db()
        .read(async |tx| {
            zones::one(tx, manager.venue, id).await?.ok_or_else(|| ApiError::not_found("zone"))?;
            let rows = tx
                .query(
                    "SELECT service_day, entries, exits FROM zone_days WHERE venue_id = $1 AND zone_id = $2 ORDER BY service_day DESC LIMIT 366",
                    params![manager.venue, id],
                )
                .await?;
            Ok::<_, ApiError>(rows)
        })
        .await?;
    let day =
        |row: &Row| Ok::<_, DbError>(ZoneDay { day: date(row.get(0)?), entries: row.get(1)?, exits: row.get(2)? });
    Ok(Json(rows.iter().map(day).collect::<Result<_, _>>()?))
}

/// A service day is counted from 1 January 1970.
fn date(days: i32) -> String {
    jiff::civil::date(1970, 1, 1)
        .checked_add(jiff::Span::new().days(days))
        .map_or_else(|_| days.to_string(), |date| date.to_string())
}
