//! Single passes: looking one up, its code as a picture, and taking it back.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use gate_core::ids::{Cti, VenueId};
use gate_core::pass::ShortCode;
use gate_core::sync::v1::{Change, PassChange};
use gate_core::view::{PassRow, PassStanding};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{products, vendors};
use crate::app::App;
use crate::auth::Manager;
use crate::extract::{Json, Query, Within};
use crate::issuing::{self, Code, Issued};
use crate::problem::{ApiError, Problem};
use crate::store::{DbError, Tx, params};
use crate::{audit, ingest, replica};

/// A pass and what happened to it.
#[derive(Serialize, ToSchema)]
pub struct PassInfo {
    /// Its id.
    cti: String,
    short_code: String,
    batch_id: String,
    vendor_id: String,
    vendor: String,
    product_id: u16,
    product: String,
    /// `not_yet_valid`, `valid`, `used` (at least once), `expired`, `blocked`, `revoked` or `superseded`.
    status: &'static str,
    valid_from_ms: i64,
    valid_until_ms: i64,
    issued_ms: i64,
    superseded_by: Option<String>,
    reference: Option<String>,
    /// Admissions that gates have reported, newest first.
    uses: Vec<UseInfo>,
}

/// An admission.
#[derive(Serialize, ToSchema)]
pub struct UseInfo {
    gate_id: String,
    gate: String,
    /// `in` or `out`.
    direction: String,
    at_ms: i64,
    annulled: bool,
}

/// What was found.
#[derive(Serialize, ToSchema)]
pub struct Found {
    /// Usually one; two passes may share a short code.
    passes: Vec<PassInfo>,
}

/// What somebody typed.
#[derive(Deserialize)]
pub struct Typed {
    code: String,
}

async fn info(tx: &mut Tx, venue: VenueId, pass: Issued, now_ms: i64) -> Result<PassInfo, ApiError> {
    let rows = tx
        .query(
            "SELECT u.gate_id, g.name, u.direction, u.at_ms, u.annulled, u.charged FROM uses u LEFT JOIN gates g ON g.venue_id = u.venue_id AND g.gate_id = u.gate_id WHERE u.venue_id = $1 AND u.cti = $2 AND u.vendor_code = $3 ORDER BY u.at_ms DESC, u.event LIMIT 100",
            params![venue, pass.claims.cti, &pass.claims.vendor],
        )
        .await?;
    let mut used = false;
    let mut uses = Vec::new();
    for row in rows {
        let annulled: bool = row.get(4)?;
        used |= row.get::<bool>(5)? && !annulled;
        uses.push(UseInfo {
            gate_id: row.get(0)?,
            gate: row.get::<Option<String>>(1)?.unwrap_or_default(),
            direction: row.get(2)?,
            at_ms: row.get(3)?,
            annulled,
        });
    }
    let now_s = now_ms.div_euclid(1000);
    let status = match pass.standing {
        PassStanding::Blocked => "blocked",
        PassStanding::Revoked => "revoked",
        PassStanding::Superseded => "superseded",
        PassStanding::Live if used => "used",
        PassStanding::Live if now_s >= pass.claims.expires => "expired",
        PassStanding::Live if now_s < pass.claims.not_before => "not_yet_valid",
        PassStanding::Live => "valid",
    };
    let vendor = vendors::one(tx, venue, &pass.vendor_id).await?.map(|vendor| vendor.name).unwrap_or_default();
    let product = products::one(tx, venue, pass.claims.product).await?.map(|product| product.name).unwrap_or_default();
    Ok(PassInfo {
        cti: pass.claims.cti.to_string(),
        short_code: pass.short_code().to_string(),
        batch_id: pass.batch,
        vendor_id: pass.vendor_id,
        vendor,
        product_id: pass.claims.product,
        product,
        status,
        valid_from_ms: pass.claims.not_before * 1000,
        valid_until_ms: pass.claims.expires * 1000,
        issued_ms: pass.issued_ms,
        superseded_by: pass.superseded_by.map(|cti| cti.to_string()),
        reference: pass.reference,
        uses,
    })
}

/// Finds passes by the short code under their picture, without using them.
#[utoipa::path(get, path = "/v1/venues/{venue}/passes/lookup", tag = "passes", params(("venue" = String, Path), ("code" = String, Query)),
    responses((status = 200, body = Found), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn lookup(
    State(app): State<App>,
    manager: Manager,
    Query(typed): Query<Typed>,
) -> Result<Json<Found>, ApiError> {
    let code: ShortCode = typed.code.parse().map_err(|error: gate_core::pass::ShortCodeError| {
        ApiError::field("/code", format!("Check it again: {error}."))
    })?;
    let found = app
        .db()
        .read(async |tx| {
            let sql = format!(
                "SELECT {} FROM passes p JOIN venues v ON v.venue_id = p.venue_id WHERE p.venue_id = $1 AND p.short_code = $2 ORDER BY p.issued_ms DESC LIMIT 10",
                issuing::COLUMNS
            );
            let rows = tx.query(&sql, params![manager.venue, code.as_str()]).await?;
            let mut passes = Vec::new();
            for row in rows {
                passes.push(info(tx, manager.venue, issuing::read(&row)?, app.now_ms()).await?);
            }
            Ok::<_, ApiError>(passes)
        })
        .await?;
    if found.is_empty() {
        return Err(ApiError::not_found("pass"));
    }
    Ok(Json(Found { passes: found }))
}

/// One pass: `{pass}` is its id for its facts, or its id with `.png` or `.svg` for its code.
#[utoipa::path(get, path = "/v1/venues/{venue}/passes/{pass}", tag = "passes", params(("venue" = String, Path), ("pass" = String, Path)),
    responses((status = 200, body = PassInfo), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn show(
    State(app): State<App>,
    manager: Manager,
    Within(name): Within<String>,
) -> Result<Response, ApiError> {
    let (cti, form) = name.split_once('.').map_or((name.as_str(), None), |(cti, form)| (cti, Some(form)));
    let cti: Cti = cti.parse().map_err(|_| ApiError::not_found("pass"))?;
    if form.is_none() {
        let info = app
            .db()
            .read(async |tx| {
                let pass = issuing::find(tx, manager.venue, cti).await?.ok_or_else(|| ApiError::not_found("pass"))?;
                info(tx, manager.venue, pass, app.now_ms()).await
            })
            .await?;
        return Ok(Json(info).into_response());
    }
    let text = app
        .db()
        .read(async |tx| {
            let pass = issuing::find(tx, manager.venue, cti).await?.ok_or_else(|| ApiError::not_found("pass"))?;
            let product = products::one(tx, manager.venue, pass.claims.product)
                .await?
                .ok_or_else(|| ApiError::not_found("product"))?;
            let key = issuing::signing_key(tx, &app, manager.venue, pass.kid).await?;
            issuing::token(&pass, &key, &product)
        })
        .await?;
    let code = Code::new(&text).map_err(|error| ApiError::internal(&error))?;
    let (kind, bytes) = match form {
        Some("png") => ("image/png", code.png().map_err(|error| ApiError::internal(&error))?),
        Some("svg") => ("image/svg+xml", code.svg().into_bytes()),
        _ => return Err(ApiError::not_found("form of a pass")),
    };
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], bytes).into_response())
}

/// Moves a pass from one standing to another and tells the gates.
async fn stand(
    app: &App,
    manager: &Manager,
    cti: &str,
    to: PassStanding,
    from: &[PassStanding],
    action: &str,
) -> Result<StatusCode, ApiError> {
    let cti: Cti = cti.parse().map_err(|_| ApiError::not_found("pass"))?;
    app.change(manager.venue, async |tx| {
        let pass = issuing::find(tx, manager.venue, cti).await?.ok_or_else(|| ApiError::not_found("pass"))?;
        if pass.standing == to {
            return Ok(StatusCode::NO_CONTENT);
        }
        if !from.contains(&pass.standing) {
            let now = issuing::standing_text(pass.standing);
            return Err(ApiError::conflict("standing", format!("The pass is {now}; that can't be changed any more.")));
        }
        set(tx, manager.venue, &pass, to, app.now_ms()).await?;
        let (before, after) = (issuing::standing_text(pass.standing), issuing::standing_text(to));
        let noted = |standing: &str| serde_json::json!({"cti": cti, "standing": standing});
        audit::record(tx, app, manager, action, Some(&noted(before)), Some(&noted(after))).await?;
        replica::publish(tx, app.master(), manager.venue, vec![told(&pass, to)]).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

async fn set(tx: &mut Tx, venue: VenueId, pass: &Issued, to: PassStanding, now_ms: i64) -> Result<(), DbError> {
    tx.execute(
        "UPDATE passes SET standing = $1 WHERE venue_id = $2 AND cti = $3",
        params![issuing::standing_text(to), venue, pass.claims.cti],
    )
    .await?;
    ingest::recheck_standing(tx, venue, (&pass.claims.vendor, pass.claims.cti), issuing::standing_text(to), now_ms)
        .await
}

fn told(pass: &Issued, standing: PassStanding) -> Change {
    Change::Pass(PassChange { pass: issuing::pass_id(pass), row: PassRow { standing, until: None, uses: None } })
}

/// Withdraws a pass for good.
#[utoipa::path(post, path = "/v1/venues/{venue}/passes/{pass}/revoke", tag = "passes", params(("venue" = String, Path), ("pass" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub async fn revoke(
    State(app): State<App>,
    manager: Manager,
    Within(cti): Within<String>,
) -> Result<StatusCode, ApiError> {
    let from = [PassStanding::Live, PassStanding::Blocked];
    stand(&app, &manager, &cti, PassStanding::Revoked, &from, "pass.revoke").await
}

/// Puts a pass on hold.
#[utoipa::path(post, path = "/v1/venues/{venue}/passes/{pass}/block", tag = "passes", params(("venue" = String, Path), ("pass" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub async fn block(
    State(app): State<App>,
    manager: Manager,
    Within(cti): Within<String>,
) -> Result<StatusCode, ApiError> {
    stand(&app, &manager, &cti, PassStanding::Blocked, &[PassStanding::Live], "pass.block").await
}

/// Takes a pass off hold.
#[utoipa::path(post, path = "/v1/venues/{venue}/passes/{pass}/unblock", tag = "passes", params(("venue" = String, Path), ("pass" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub async fn unblock(
    State(app): State<App>,
    manager: Manager,
    Within(cti): Within<String>,
) -> Result<StatusCode, ApiError> {
    stand(&app, &manager, &cti, PassStanding::Live, &[PassStanding::Blocked], "pass.unblock").await
}

/// The new pass.
#[derive(Serialize, ToSchema)]
pub struct Reissued {
    cti: String,
    short_code: String,
}

/// Replaces a pass by a new one with the same rights; the old one is refused with the advice to show the new one.
#[utoipa::path(post, path = "/v1/venues/{venue}/passes/{pass}/reissue", tag = "passes", params(("venue" = String, Path), ("pass" = String, Path)),
    responses((status = 201, body = Reissued), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub async fn reissue(
    State(app): State<App>,
    manager: Manager,
    Within(cti): Within<String>,
) -> Result<(StatusCode, Json<Reissued>), ApiError> {
    let cti: Cti = cti.parse().map_err(|_| ApiError::not_found("pass"))?;
    let made = app
        .change(manager.venue, async |tx| {
            let old = issuing::find(tx, manager.venue, cti).await?.ok_or_else(|| ApiError::not_found("pass"))?;
            if old.standing != PassStanding::Live {
                let now = issuing::standing_text(old.standing);
                return Err(ApiError::conflict("standing", format!("The pass is {now}: only a good one can be replaced.")));
            }
            let used = tx
                .number(
                    "SELECT COUNT(*) FROM uses WHERE venue_id = $1 AND cti = $2 AND vendor_code = $3 AND charged = 1 AND annulled = 0",
                    params![manager.venue, cti, &old.claims.vendor],
                )
                .await?;
            if used > 0 {
                return Err(ApiError::conflict("used", "The pass was used already: a new one would be a second entry."));
            }
            let mut new = old.clone();
            new.claims.cti = Cti(app.entropy().bytes());
            new.issued_ms = app.now_ms();
            let place = tx
                .number(
                    "SELECT COUNT(*) FROM passes WHERE venue_id = $1 AND batch_id = $2",
                    params![manager.venue, old.batch.as_str()],
                )
                .await?;
            issuing::log(tx, manager.venue, &new, usize::try_from(place).unwrap_or(0)).await?;
            set(tx, manager.venue, &old, PassStanding::Superseded, app.now_ms()).await?;
            tx.execute(
                "UPDATE passes SET superseded_by = $1 WHERE venue_id = $2 AND cti = $3",
                params![new.claims.cti, manager.venue, cti],
            )
            .await?;
            let names = (cti.to_string(), new.claims.cti.to_string());
            let noted = |standing: PassStanding, by: Option<&String>| serde_json::json!({"cti": names.0, "standing": issuing::standing_text(standing), "superseded_by": by});
            let (before, after) = (noted(old.standing, None), noted(PassStanding::Superseded, Some(&names.1)));
            audit::record(tx, &app, &manager, "pass.reissue", Some(&before), Some(&after)).await?;
            let changes = vec![told(&old, PassStanding::Superseded), told(&new, PassStanding::Live)];
            replica::publish(tx, app.master(), manager.venue, changes).await?;
            Ok(Reissued { cti: names.1, short_code: new.short_code().to_string() })
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made)))
}
