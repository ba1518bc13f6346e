//! The dashboard's first page: one picture, and the channel that keeps it live.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::{self, Manager};
use crate::extract::{Json, Query, Upgrade};
use crate::live::{self, Listener, Overview};
use crate::page::{self, PageAsked};
use crate::problem::{ApiError, Problem};
use crate::store::{DbError, params};

/// Without a change the picture is sent again this often: silence itself changes it.
const AT_LEAST: Duration = Duration::from_secs(10);
/// After a picture the next one waits this long, so that a rush of events is one picture.
const AT_MOST: Duration = Duration::from_millis(150);

/// The picture now.
#[utoipa::path(get, path = "/v1/venues/{venue}/overview", tag = "live", params(("venue" = String, Path)),
    responses((status = 200, body = Overview), (status = 401, body = Problem, content_type = "application/problem+json"), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn overview(State(app): State<App>, manager: Manager) -> Result<Json<Overview>, ApiError> {
    app.db().read(async |tx| live::read(tx, manager.venue, app.now_ms()).await).await.map(Json)
}

/// Where a page left off.
#[derive(Deserialize)]
pub struct After {
    after: Option<i64>,
}

/// A message of the live channel.
#[derive(Serialize, ToSchema)]
pub struct Picture {
    seq: i64,
    overview: Overview,
}

/// The live channel (WebSocket): the picture with every change and at least every ten seconds. With `after` it begins
/// with the first picture newer than that.
#[utoipa::path(get, path = "/v1/venues/{venue}/live", tag = "live", params(("venue" = String, Path), ("after" = Option<i64>, Query)),
    responses((status = 101, body = Picture), (status = 401, body = Problem, content_type = "application/problem+json"), (status = 426, body = Problem, content_type = "application/problem+json"), (status = 403, body = Problem, content_type = "application/problem+json"), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn live(
    State(app): State<App>,
    manager: Manager,
    Query(left_off): Query<After>,
    headers: HeaderMap,
    Upgrade(upgrade): Upgrade,
) -> Response {
    let news = app.hub().listen(manager.venue);
    upgrade.max_message_size(4096).on_upgrade(move |socket| show(app, socket, manager, headers, left_off.after, news))
}

async fn show(
    app: App,
    mut socket: WebSocket,
    manager: Manager,
    headers: HeaderMap,
    mut after: Option<i64>,
    mut news: Listener,
) {
    loop {
        // Whoever logged out elsewhere, or works here no longer, sees nothing more.
        match auth::still_manages(&app, &headers, &manager).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::warn!(%error, "a live channel ends");
                break;
            }
        }
        let overview = match app.db().read(async |tx| live::read(tx, manager.venue, app.now_ms()).await).await {
            Ok(overview) => overview,
            Err(_) => break,
        };
        if after.take() != Some(overview.seq) {
            let picture = Picture { seq: overview.seq, overview };
            let Ok(text) = serde_json::to_string(&picture) else { break };
            if socket.send(Message::Text(text.into())).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(AT_MOST).await;
        tokio::select! {
            () = news.changed() => {}
            () = tokio::time::sleep(AT_LEAST) => {}
            received = socket.recv() => match received {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Close(_)) | Err(_)) | None => break,
            },
        }
    }
    // The page may be gone already.
    let _ = socket.send(Message::Close(None)).await;
}

/// Something that contradicts itself, with its evidence.
#[derive(Serialize, ToSchema)]
pub struct Alert {
    id: String,
    /// As in `conflicts`.
    kind: String,
    gate_id: Option<String>,
    evidence: String,
    raised_ms: i64,
}

/// Contradictions, and how much was parked.
#[derive(Serialize, ToSchema)]
pub struct Inbox {
    /// Newest first.
    alerts: Vec<Alert>,
    /// Items kept aside because they could not be applied.
    parked: i64,
    /// Events that were applied.
    applied: i64,
}

/// The inbox in short, newest first; `conflicts` has the evidence. The `Link` header of a full page leads to the next.
#[utoipa::path(get, path = "/v1/venues/{venue}/alerts", tag = "live",
    params(("venue" = String, Path), ("limit" = Option<i64>, Query, description = "1 to 500, usually 100"), ("after" = Option<String>, Query, description = "from the Link header of the page before")),
    responses((status = 200, body = Inbox), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn alerts(
    State(app): State<App>,
    manager: Manager,
    Query(asked): Query<PageAsked>,
) -> Result<(HeaderMap, Json<Inbox>), ApiError> {
    let (limit, place) = (asked.limit()?, asked.place()?);
    let inbox = app
        .db()
        .read(async |tx| {
            let rows = tx
                .query(
                    "SELECT conflict_id, kind, gate_id, evidence, raised_ms FROM conflicts WHERE venue_id = $1 AND (raised_ms < $2 OR (raised_ms = $2 AND conflict_id > $3)) ORDER BY raised_ms DESC, conflict_id LIMIT $4",
                    params![manager.venue, place.at_ms, place.id, limit],
                )
                .await?;
            let alert = |row: &crate::store::Row| {
                Ok::<_, DbError>(Alert {
                    id: row.get(0)?,
                    kind: row.get(1)?,
                    gate_id: row.get(2)?,
                    evidence: row.get(3)?,
                    raised_ms: row.get(4)?,
                })
            };
            let alerts: Vec<Alert> = rows.iter().map(alert).collect::<Result<_, _>>()?;
            Ok::<_, DbError>(Inbox {
                alerts,
                parked: tx.number("SELECT COUNT(*) FROM parked WHERE venue_id = $1", params![manager.venue]).await?,
                applied: tx.number("SELECT applied FROM venues WHERE venue_id = $1", params![manager.venue]).await?,
            })
        })
        .await?;
    let last = inbox.alerts.last().map(|alert| (alert.raised_ms, alert.id.as_str()));
    let path = format!("/v1/venues/{}/alerts", manager.venue);
    Ok((page::more(&path, limit, inbox.alerts.len(), last), Json(inbox)))
}

/// An item that could not be applied.
#[derive(Serialize, ToSchema)]
pub struct ParkedItem {
    /// The hash of its bytes.
    id: String,
    device_id: String,
    /// Why it was kept aside.
    reason: String,
    /// How large it is.
    size: u32,
    received_ms: i64,
}

/// What gates sent that could not be applied, newest first; the `Link` header of a full page leads to the next.
#[utoipa::path(get, path = "/v1/venues/{venue}/parked", tag = "live",
    params(("venue" = String, Path), ("limit" = Option<i64>, Query, description = "1 to 500, usually 100"), ("after" = Option<String>, Query, description = "from the Link header of the page before")),
    responses((status = 200, body = Vec<ParkedItem>), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn parked(
    State(app): State<App>,
    manager: Manager,
    Query(asked): Query<PageAsked>,
) -> Result<(HeaderMap, Json<Vec<ParkedItem>>), ApiError> {
    let (limit, place) = (asked.limit()?, asked.place()?);
    let rows = app
        .db()
        .read(async |tx| {
            tx.query(
                "SELECT hash, device_id, reason, LENGTH(bytes), received_ms FROM parked WHERE venue_id = $1 AND (received_ms < $2 OR (received_ms = $2 AND hash > $3)) ORDER BY received_ms DESC, hash LIMIT $4",
                params![manager.venue, place.at_ms, place.id, limit],
            )
            .await
        })
        .await?;
    let item = |row: &crate::store::Row| {
        Ok::<_, DbError>(ParkedItem {
            id: row.get(0)?,
            device_id: row.get(1)?,
            reason: row.get(2)?,
            size: row.get(3)?,
            received_ms: row.get(4)?,
        })
    };
    let items: Vec<ParkedItem> = rows.iter().map(item).collect::<Result<_, _>>()?;
    let last = items.last().map(|item| (item.received_ms, item.id.as_str()));
    let path = format!("/v1/venues/{}/parked", manager.venue);
    Ok((page::more(&path, limit, items.len(), last), Json(items)))
}
