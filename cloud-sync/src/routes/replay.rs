//! A recorded decision, made again from what the event holds and told in words.

use axum::extract::{Path, State};
use gate_core::decision::{self, Verdict};
use gate_core::event::{self, Event};
use gate_core::ids::{DeviceId, EventId};
use gate_core::reason::Language;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Manager;
use crate::extract::Json;
use crate::problem::{ApiError, Problem};
use crate::store::params;

/// A decision made again.
#[derive(Serialize, ToSchema)]
pub struct ReplayInfo {
    event: String,
    gate_id: String,
    /// When it was decided, by the gate's clock, Unix milliseconds.
    at_ms: i64,
    /// Who answers for it: `auto`, `staff` or the id of the member of staff, `button`; nothing for a refusal.
    actor: Option<String>,
    /// `admit`, `ask` or `refuse`: what the rules of this software say to the same input.
    verdict: &'static str,
    /// Deciding again gives bit for bit what was recorded.
    same: bool,
    /// The rules by which it was decided, and those of this software. Where they differ, another answer is no mistake.
    rules: (u16, u16),
    /// The decision in words, a line for each thing that was looked at.
    en: Vec<String>,
    ro: Vec<String>,
}

/// Makes the decision of a stored event again. `{event}` is the event's id: device, epoch and number.
#[utoipa::path(get, path = "/v1/venues/{venue}/events/{device}/{epoch}/{seq}/replay", tag = "live",
    params(("venue" = String, Path), ("device" = String, Path), ("epoch" = String, Path, description = "16 hex digits, as in event ids"), ("seq" = u64, Path)),
    responses((status = 200, body = ReplayInfo), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub async fn replay(
    State(app): State<App>,
    manager: Manager,
    path: Result<Path<(String, DeviceId, String, u64)>, axum::extract::rejection::PathRejection>,
) -> Result<Json<ReplayInfo>, ApiError> {
    let Path((_, device, epoch, seq)) = path?;
    let epoch = u64::from_str_radix(&epoch, 16).map_err(|_| ApiError::not_found("event"))?;
    let id = EventId { device, epoch, seq };
    let row = app
        .db()
        .read(async |tx| {
            tx.first(
                "SELECT bytes FROM events WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq = $4",
                params![manager.venue, id.device, id.epoch, id.seq],
            )
            .await
        })
        .await?
        .ok_or_else(|| ApiError::not_found("event"))?;
    let event = Event::decode(&row.get::<Vec<u8>>(0)?).map_err(|error| ApiError::internal(&error))?;
    let replayed = decision::replay(&event).ok_or_else(|| {
        ApiError::conflict(
            "no_decision",
            "This event holds no decision about a pass: there is nothing to decide again.",
        )
    })?;
    Ok(Json(ReplayInfo {
        event: id.to_string(),
        gate_id: event.gate.to_string(),
        at_ms: event.at.wall_ms,
        actor: event::actor_of(&event.body).map(|actor| actor.to_string()),
        verdict: match replayed.again {
            Verdict::Admit(_) => "admit",
            Verdict::Ask(_) => "ask",
            Verdict::Refuse(_) => "refuse",
        },
        same: replayed.same,
        rules: replayed.rules,
        en: replayed.words(Language::En),
        ro: replayed.words(Language::Ro),
    }))
}
