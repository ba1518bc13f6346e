//! The inbox: contradictions with their evidence, whose they are, and what became of them.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use gate_core::event::Event;
use gate_core::ids::{DeviceId, EventId, Hash, VenueId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::setup::text;
use super::{gates, people};
use crate::app::App;
use crate::auth::Manager;
use crate::conflict::Kind;
use crate::extract::{Json, Query, Within};
use crate::page::{self, PageAsked};
use crate::problem::{ApiError, Problem};
use crate::store::{DbError, Row, Tx, params};
use crate::{audit, fence, ingest, replica};

/// Items of evidence that are shown with one conflict.
const SHOWN: usize = 20;

/// Whose a conflict is.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub struct Owner {
    id: String,
    name: String,
}

/// A contradiction.
#[derive(Clone, Serialize, ToSchema)]
pub struct ConflictInfo {
    id: String,
    /// `double_use`, `revoked_use`, `over_capacity`, `late_exit`, `passage_after_annulment`, `clock_fault`, `fork`,
    /// `journal_shorter`, `poison`, `recount_lost`, `drift`, `cloud_restored`, `withdrawn_device` or `count_due`.
    kind: String,
    /// It is still so; false if it ended, or was explained later.
    standing: bool,
    /// What was found, in a sentence.
    evidence: String,
    /// The numbers in that sentence, by name, where there are some.
    #[schema(value_type = Option<Object>)]
    details: serde_json::Value,
    gate_id: Option<String>,
    device_id: Option<String>,
    zone_id: Option<String>,
    /// The pass, if one is concerned.
    pass: Option<String>,
    product_id: Option<u16>,
    at_ms: i64,
    raised_ms: i64,
    /// `open` or `resolved`.
    state: &'static str,
    /// Somebody it was given to; else the venue's owner.
    owner: Option<Owner>,
    resolved_ms: Option<i64>,
    /// Who resolved it; nothing for a suggestion that ended by itself.
    resolved_by: Option<String>,
    note: Option<String>,
}

/// One piece of evidence.
#[derive(Serialize, ToSchema)]
pub struct Evidence {
    /// An event's id, or the hash of an item that is kept aside.
    id: String,
    /// `event`, `parked` or `word` (what a device said beside its events).
    form: &'static str,
    /// What kind of event.
    kind: Option<String>,
    gate_id: Option<String>,
    at_ms: Option<i64>,
    received_ms: Option<i64>,
    /// Why it is kept aside.
    reason: Option<String>,
    /// Its bytes, hexadecimal, so that nothing has to be believed.
    bytes: Option<String>,
}

/// A contradiction with what shows it.
#[derive(Serialize, ToSchema)]
pub struct ConflictWhole {
    #[serde(flatten)]
    conflict: ConflictInfo,
    /// Its device is fenced for it: the gate waits until the device is released or withdrawn.
    fenced: bool,
    /// What was found.
    events: Vec<Evidence>,
    /// What it contradicts.
    against: Vec<Evidence>,
}

/// Which conflicts.
#[derive(Deserialize)]
pub struct Wanted {
    kind: Option<String>,
    state: Option<String>,
    limit: Option<i64>,
    after: Option<String>,
}

const COLUMNS: &str = "conflict_id, kind, standing, evidence, gate_id, device_id, zone_id, vendor_code, cti, product, at_ms, raised_ms, assigned_to, resolved_ms, resolved_by, note, details";

fn info(row: &Row, names: &BTreeMap<String, String>, owner: Option<&String>) -> Result<ConflictInfo, DbError> {
    let assigned: Option<String> = row.get(12)?;
    let pass = match (row.get::<Option<String>>(7)?, row.get::<Option<String>>(8)?) {
        (Some(vendor), Some(cti)) => Some(format!("{vendor}-{cti}")),
        (_, cti) => cti,
    };
    let resolved_ms: Option<i64> = row.get(13)?;
    Ok(ConflictInfo {
        id: row.get(0)?,
        kind: row.get(1)?,
        standing: row.get(2)?,
        evidence: row.get(3)?,
        details: row
            .get::<Option<String>>(16)?
            .and_then(|details| serde_json::from_str(&details).ok())
            .unwrap_or_default(),
        gate_id: row.get(4)?,
        device_id: row.get(5)?,
        zone_id: row.get(6)?,
        pass,
        product_id: row.get(9)?,
        at_ms: row.get(10)?,
        raised_ms: row.get(11)?,
        state: if resolved_ms.is_some() { "resolved" } else { "open" },
        owner: assigned
            .as_ref()
            .or(owner)
            .map(|id| Owner { id: id.clone(), name: names.get(id).cloned().unwrap_or_default() }),
        resolved_ms,
        resolved_by: row.get(14)?,
        note: row.get(15)?,
    })
}

/// The inbox, newest first; the `Link` header of a full page leads to the next.
#[utoipa::path(get, path = "/v1/venues/{venue}/conflicts", tag = "inbox",
    params(("venue" = String, Path), ("kind" = Option<String>, Query), ("state" = Option<String>, Query, description = "open (usually), resolved or all"), ("limit" = Option<i64>, Query, description = "1 to 500, usually 100"), ("after" = Option<String>, Query, description = "from the Link header of the page before")),
    responses((status = 200, body = Vec<ConflictInfo>), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    State(app): State<App>,
    manager: Manager,
    Query(wanted): Query<Wanted>,
) -> Result<(HeaderMap, Json<Vec<ConflictInfo>>), ApiError> {
    let page = PageAsked::new(wanted.limit, wanted.after);
    let (limit, place) = (page.limit()?, page.place()?);
    if wanted.kind.as_ref().is_some_and(|kind| !Kind::ALL.iter().any(|known| known.name() == kind)) {
        return Err(ApiError::field("/kind", "There is no such kind of conflict."));
    }
    let state = wanted.state.as_deref().unwrap_or("open");
    let of_state = match state {
        "open" => " AND resolved_ms IS NULL",
        "resolved" => " AND resolved_ms IS NOT NULL",
        "all" => "",
        _ => return Err(ApiError::field("/state", "A state is open, resolved or all.")),
    };
    let of_kind = if wanted.kind.is_some() { " AND kind = $4" } else { "" };
    let sql = format!(
        "SELECT {COLUMNS} FROM conflicts WHERE venue_id = $1 AND (raised_ms < $2 OR (raised_ms = $2 AND conflict_id > $3)){of_kind}{of_state} ORDER BY raised_ms DESC, conflict_id LIMIT {limit}"
    );
    let mut values = params![manager.venue, place.at_ms, place.id].to_vec();
    values.extend(wanted.kind.clone().map(crate::store::Value::from));
    let conflicts = app
        .db()
        .read(async |tx| {
            let (names, owner) = people::names(tx, manager.venue).await?;
            let rows = tx.query(&sql, &values).await?;
            rows.iter().map(|row| info(row, &names, owner.as_ref())).collect::<Result<Vec<_>, DbError>>()
        })
        .await?;
    let last = conflicts.last().map(|conflict| (conflict.raised_ms, conflict.id.as_str()));
    let mut path = format!("/v1/venues/{}/conflicts?state={state}", manager.venue);
    if let Some(kind) = &wanted.kind {
        path.push_str(&format!("&kind={kind}"));
    }
    Ok((page::more(&path, limit, conflicts.len(), last), Json(conflicts)))
}

async fn one(tx: &mut Tx, venue: VenueId, id: &str) -> Result<ConflictInfo, ApiError> {
    let sql = format!("SELECT {COLUMNS} FROM conflicts WHERE venue_id = $1 AND conflict_id = $2");
    let row = tx.first(&sql, params![venue, id]).await?.ok_or_else(|| ApiError::not_found("conflict"))?;
    let (names, owner) = people::names(tx, venue).await?;
    Ok(info(&row, &names, owner.as_ref())?)
}

async fn evidence(tx: &mut Tx, venue: VenueId, id: String) -> Result<Evidence, DbError> {
    let word = Evidence {
        id: id.clone(),
        form: "word",
        kind: None,
        gate_id: None,
        at_ms: None,
        received_ms: None,
        reason: None,
        bytes: None,
    };
    if let Ok(event) = id.parse::<EventId>() {
        let row = tx
            .first(
                "SELECT kind, gate_id, at_ms, received_ms, bytes FROM events WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq = $4",
                params![venue, event.device, event.epoch, event.seq],
            )
            .await?;
        return match row {
            Some(row) => Ok(Evidence {
                form: "event",
                kind: row.get(0)?,
                gate_id: row.get(1)?,
                at_ms: row.get(2)?,
                received_ms: row.get(3)?,
                bytes: Some(hex::encode(row.get::<Vec<u8>>(4)?)),
                ..word
            }),
            None => Ok(word),
        };
    }
    let Ok(hash) = id.parse::<Hash>() else { return Ok(word) };
    let row = tx
        .first("SELECT reason, received_ms, bytes FROM parked WHERE venue_id = $1 AND hash = $2", params![venue, hash])
        .await?;
    let Some(row) = row else { return Ok(word) };
    let bytes: Vec<u8> = row.get(2)?;
    let event = Event::decode(&bytes).ok();
    Ok(Evidence {
        form: "parked",
        gate_id: event.as_ref().map(|event| event.gate.to_string()),
        at_ms: event.as_ref().map(|event| event.at.wall_ms),
        received_ms: row.get(1)?,
        reason: row.get(0)?,
        bytes: Some(hex::encode(bytes)),
        ..word
    })
}

/// One conflict with its evidence.
#[utoipa::path(get, path = "/v1/venues/{venue}/conflicts/{conflict}", tag = "inbox", params(("venue" = String, Path), ("conflict" = String, Path)),
    responses((status = 200, body = ConflictWhole), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn show(
    State(app): State<App>,
    manager: Manager,
    Within(id): Within<String>,
) -> Result<Json<ConflictWhole>, ApiError> {
    let whole = app
        .db()
        .read(async |tx| {
            let conflict = one(tx, manager.venue, &id).await?;
            let row = tx
                .first(
                    "SELECT events, against FROM conflicts WHERE venue_id = $1 AND conflict_id = $2",
                    params![manager.venue, id.as_str()],
                )
                .await?
                .ok_or_else(|| ApiError::not_found("conflict"))?;
            let mut lists = [Vec::new(), Vec::new()];
            for (column, list) in lists.iter_mut().enumerate() {
                let ids: Vec<String> = serde_json::from_str(&row.get::<String>(column)?).unwrap_or_default();
                for id in ids.into_iter().take(SHOWN) {
                    list.push(evidence(tx, manager.venue, id).await?);
                }
            }
            let [events, against] = lists;
            let fenced = fenced_for(tx, manager.venue, &id).await?;
            Ok::<_, ApiError>(ConflictWhole { conflict, fenced, events, against })
        })
        .await?;
    Ok(Json(whole))
}

/// Who shall look at it.
#[derive(Deserialize, ToSchema)]
pub struct Assigned {
    /// Somebody who works at the venue; `null` gives it back to the owner.
    person_id: Option<String>,
}

/// Gives a conflict to somebody.
#[utoipa::path(post, path = "/v1/venues/{venue}/conflicts/{conflict}/assign", tag = "inbox", params(("venue" = String, Path), ("conflict" = String, Path)), request_body = Assigned,
    responses((status = 200, body = ConflictInfo), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn assign(
    State(app): State<App>,
    manager: Manager,
    Within(id): Within<String>,
    Json(asked): Json<Assigned>,
) -> Result<Json<ConflictInfo>, ApiError> {
    let after = app
        .change(manager.venue, async |tx| {
            let before = one(tx, manager.venue, &id).await?;
            let (names, _) = people::names(tx, manager.venue).await?;
            if asked.person_id.as_ref().is_some_and(|person| !names.contains_key(person)) {
                return Err(ApiError::field("/person_id", "Nobody of this id works at the venue."));
            }
            tx.execute(
                "UPDATE conflicts SET assigned_to = $1 WHERE venue_id = $2 AND conflict_id = $3",
                params![asked.person_id.clone(), manager.venue, id.as_str()],
            )
            .await?;
            let after = one(tx, manager.venue, &id).await?;
            audit::record(tx, &app, &manager, "conflict.assign", Some(&before), Some(&after)).await?;
            Ok(after)
        })
        .await?;
    Ok(Json(after))
}

/// What to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Somebody looked; nothing more is to be done.
    Close,
    /// The fenced device may go on; what was kept aside of it is applied.
    Release,
    /// The device is withdrawn; its gate needs a new one.
    Withdraw,
    /// What is kept aside is tried again.
    Retry,
}

/// How a conflict is resolved.
#[derive(Deserialize, ToSchema)]
pub struct Resolution {
    action: Option<Doing>,
    /// What was found out, for whoever looks later.
    note: String,
}

/// Resolves a conflict. Once resolved it stays so, also when the same evidence comes again.
#[utoipa::path(post, path = "/v1/venues/{venue}/conflicts/{conflict}/resolve", tag = "inbox", params(("venue" = String, Path), ("conflict" = String, Path)), request_body = Resolution,
    responses((status = 200, body = ConflictInfo), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn resolve(
    State(app): State<App>,
    manager: Manager,
    Within(id): Within<String>,
    Json(asked): Json<Resolution>,
) -> Result<Json<ConflictInfo>, ApiError> {
    let note = text("/note", &asked.note, 500)?;
    let after = app
        .change(manager.venue, async |tx| {
            let before = one(tx, manager.venue, &id).await?;
            if before.state == "resolved" {
                return Err(ApiError::conflict("resolved", "Somebody resolved it already."));
            }
            // Resolved first: what is then applied finds the same evidence again and must not fence anew.
            tx.execute(
                "UPDATE conflicts SET resolved_ms = $1, resolved_by = $2, note = $3 WHERE venue_id = $4 AND conflict_id = $5",
                params![app.now_ms(), manager.person.as_str(), note.as_str(), manager.venue, id.as_str()],
            )
            .await?;
            carry_out(tx, &app, &manager, &before, asked.action.unwrap_or(Doing::Close)).await?;
            let after = one(tx, manager.venue, &id).await?;
            audit::record(tx, &app, &manager, "conflict.resolve", Some(&before), Some(&after)).await?;
            Ok(after)
        })
        .await?;
    Ok(Json(after))
}

/// Whether a device waits for this conflict to be looked at.
async fn fenced_for(tx: &mut Tx, venue: VenueId, conflict: &str) -> Result<bool, DbError> {
    let sql = "SELECT COUNT(*) FROM devices WHERE venue_id = $1 AND fenced_for = $2 AND revoked_ms IS NULL";
    Ok(tx.number(sql, params![venue, conflict]).await? > 0)
}

async fn carry_out(
    tx: &mut Tx,
    app: &App,
    manager: &Manager,
    conflict: &ConflictInfo,
    doing: Doing,
) -> Result<(), ApiError> {
    let venue = manager.venue;
    let device = || {
        let device = conflict.device_id.as_ref().and_then(|device| device.parse::<DeviceId>().ok());
        device.ok_or_else(|| ApiError::conflict("no_device", "No device is concerned: close it with a note."))
    };
    let changes = match doing {
        Doing::Close => {
            if fenced_for(tx, venue, &conflict.id).await? {
                return Err(ApiError::conflict(
                    "fenced",
                    "The device is fenced for it: release it or withdraw it, so that its gate does not wait for ever.",
                ));
            }
            vec![]
        }
        Doing::Release => {
            let before = gates::standing(tx, venue, device()?).await?;
            if !fence::lift(tx, venue, device()?).await? {
                return Err(ApiError::conflict("not_fenced", "The device is not fenced: close it with a note."));
            }
            let after = gates::standing(tx, venue, device()?).await?;
            audit::record(tx, app, manager, "device.release", Some(&before), Some(&after)).await?;
            ingest::retry(tx, venue, device()?, None, app.now_ms()).await?.1
        }
        Doing::Withdraw => {
            let change = gates::withdraw_noted(tx, app, manager, device()?).await?;
            vec![change.ok_or_else(|| ApiError::not_found("device"))?]
        }
        Doing::Retry => {
            let item = tx
                .first(
                    "SELECT events FROM conflicts WHERE venue_id = $1 AND conflict_id = $2",
                    params![venue, conflict.id.as_str()],
                )
                .await?;
            let item = item.map(|row| row.get::<String>(0)).transpose()?.unwrap_or_default();
            let hash = serde_json::from_str::<Vec<String>>(&item).unwrap_or_default().into_iter().next();
            let hash = hash.and_then(|hash| hash.parse::<Hash>().ok());
            let hash = hash
                .filter(|_| conflict.kind == Kind::Poison.name())
                .ok_or_else(|| ApiError::conflict("nothing_aside", "Nothing is kept aside for it."))?;
            again(tx, app, venue, (device()?, hash)).await?
        }
    };
    replica::publish(tx, app.master(), venue, changes).await?;
    Ok(())
}

async fn again(
    tx: &mut Tx,
    app: &App,
    venue: VenueId,
    (device, hash): (DeviceId, Hash),
) -> Result<Vec<gate_core::sync::v1::Change>, ApiError> {
    let (applied, changes) = ingest::retry(tx, venue, device, Some(hash), app.now_ms()).await?;
    if applied == 0 {
        return Err(ApiError::conflict("still_aside", "It still can't be applied, for the same reason."));
    }
    Ok(changes)
}

/// Tries again to apply an item that is kept aside.
#[utoipa::path(post, path = "/v1/venues/{venue}/parked/{item}/retry", tag = "inbox", params(("venue" = String, Path), ("item" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub async fn retry(
    State(app): State<App>,
    manager: Manager,
    Within(hash): Within<String>,
) -> Result<StatusCode, ApiError> {
    let hash: Hash = hash.parse().map_err(|_| ApiError::not_found("item"))?;
    app.change(manager.venue, async |tx| {
        let row = tx
            .first(
                "SELECT p.device_id, d.fenced_ms, d.revoked_ms FROM parked p JOIN devices d ON d.venue_id = p.venue_id AND d.device_id = p.device_id WHERE p.venue_id = $1 AND p.hash = $2",
                params![manager.venue, hash],
            )
            .await?
            .ok_or_else(|| ApiError::not_found("item"))?;
        if row.get::<Option<i64>>(1)?.is_some() || row.get::<Option<i64>>(2)?.is_some() {
            return Err(ApiError::conflict("not_believed", "Its device is fenced or withdrawn: look at that conflict first."));
        }
        let changes = again(tx, &app, manager.venue, (row.get(0)?, hash)).await?;
        let noted = |parked: bool| serde_json::json!({"hash": hash, "parked": parked});
        audit::record(tx, &app, &manager, "parked.retry", Some(&noted(true)), Some(&noted(false))).await?;
        replica::publish(tx, app.master(), manager.venue, changes).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// How often passes of a product were used once too often.
#[derive(Serialize, ToSchema)]
pub struct ProductUses {
    product_id: u16,
    extra_uses: i64,
}

/// What came in, and what of it contradicts something.
#[derive(Serialize, ToSchema)]
pub struct Figures {
    /// Different items that came in.
    events_in: i64,
    /// Events that were applied.
    applied: i64,
    /// Items that are kept aside.
    parked: i64,
    /// `events_in` = `applied` + `parked`, and the events and items are really there. Never false.
    balanced: bool,
    /// Open conflicts that still stand, by kind.
    open: BTreeMap<String, i64>,
    /// Extra uses by product.
    double_uses: Vec<ProductUses>,
}

/// Whether nothing was lost, in numbers.
#[utoipa::path(get, path = "/v1/venues/{venue}/figures", tag = "inbox", params(("venue" = String, Path)),
    responses((status = 200, body = Figures), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn figures(State(app): State<App>, manager: Manager) -> Result<Json<Figures>, ApiError> {
    let figures = app.db().read(async |tx| read_figures(tx, manager.venue).await).await?;
    Ok(Json(figures))
}

async fn read_figures(tx: &mut Tx, venue: VenueId) -> Result<Figures, DbError> {
    let row = tx.first("SELECT events_in, applied FROM venues WHERE venue_id = $1", params![venue]).await?;
    let (events_in, applied): (i64, i64) = match row {
        Some(row) => (row.get(0)?, row.get(1)?),
        None => (0, 0),
    };
    let stored = tx.number("SELECT COUNT(*) FROM events WHERE venue_id = $1", params![venue]).await?;
    let parked = tx.number("SELECT COUNT(*) FROM parked WHERE venue_id = $1", params![venue]).await?;
    let open = tx
        .query(
            "SELECT kind, COUNT(*) FROM conflicts WHERE venue_id = $1 AND resolved_ms IS NULL AND standing = 1 GROUP BY kind",
            params![venue],
        )
        .await?;
    let extra = extra_uses(tx, venue).await?;
    Ok(Figures {
        events_in,
        applied,
        parked,
        balanced: events_in == applied + parked && stored == applied,
        open: open.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect::<Result<_, DbError>>()?,
        double_uses: extra.into_iter().map(|(product_id, extra_uses)| ProductUses { product_id, extra_uses }).collect(),
    })
}

/// Extra uses that really happened, by product.
pub async fn extra_uses(tx: &mut Tx, venue: VenueId) -> Result<BTreeMap<u16, i64>, DbError> {
    let rows = tx
        .query(
            "SELECT COALESCE(product, 0), COUNT(*) FROM conflicts WHERE venue_id = $1 AND kind = 'double_use' AND standing = 1 GROUP BY 1",
            params![venue],
        )
        .await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}
