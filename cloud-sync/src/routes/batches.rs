//! Batches: so many passes of one vendor and one product, made at once or not at all.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use gate_core::ids::{Cti, Hash, VendorCode, VenueId};
use gate_core::pass::{Claims, PassFlags};
use gate_core::product::{ProductKind, Rule};
use gate_core::sync::v1::{Change, PassChange};
use gate_core::view::{PassRow, PassStanding};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{products, vendors, venues};
use crate::app::App;
use crate::auth::Manager;
use crate::extract::{Json, Query, Within};
use crate::issuing::{self, Issued, Sheet, Validity};
use crate::page::{self, PageAsked};
use crate::problem::{ApiError, Problem};
use crate::store::{DbError, Row, Tx, params};
use crate::{audit, ingest, replica};

/// Most passes in one batch.
const BATCH_MAX: usize = 5000;
/// How long an answer is kept for its key, milliseconds.
const ANSWER_LIFE_MS: i64 = 7 * 24 * 3600 * 1000;

/// What to issue.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct BatchAsked {
    /// The vendor's id.
    vendor_id: String,
    /// The product's number; a new venue has product 1, a visitor's single entry.
    #[serde(default = "visitor")]
    product_id: u16,
    /// 1 to 5,000.
    count: usize,
    /// Unix milliseconds.
    valid_from_ms: i64,
    /// Unix milliseconds.
    valid_until_ms: i64,
    /// Their holders read Romanian.
    #[serde(default)]
    romanian: bool,
    /// Their holders are children.
    #[serde(default)]
    child: bool,
    /// What the vendor wants to remember of it; never in the passes.
    #[serde(default)]
    reference: Option<String>,
}

fn visitor() -> u16 {
    1
}

/// Where to get it.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Links {
    /// The sheet to print.
    pdf: String,
    /// The batch with its passes.
    batch: String,
}

/// What was issued.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct BatchMade {
    batch_id: String,
    count: usize,
    links: Links,
}

/// A batch in a list.
#[derive(Serialize, ToSchema)]
pub struct BatchInfo {
    batch_id: String,
    vendor_id: String,
    product_id: u16,
    count: usize,
    valid_from_ms: i64,
    valid_until_ms: i64,
    issued_ms: i64,
}

/// What the audit keeps of a batch.
#[derive(Serialize)]
struct Issue<'a> {
    #[serde(flatten)]
    batch: BatchInfo,
    romanian: bool,
    child: bool,
    reference: Option<&'a str>,
}

/// A batch with its passes.
#[derive(Serialize, ToSchema)]
pub struct BatchWhole {
    #[serde(flatten)]
    batch: BatchInfo,
    passes: Vec<PassLine>,
}

/// A pass of a batch.
#[derive(Serialize, ToSchema)]
pub struct PassLine {
    /// Its id.
    cti: String,
    /// What people can type.
    short_code: String,
    /// `live`, `blocked`, `revoked` or `superseded`.
    standing: String,
}

const COLUMNS: &str = "batch_id, vendor_id, product, pass_count, not_before_s, expires_s, issued_ms";

fn read(row: &Row) -> Result<BatchInfo, DbError> {
    Ok(BatchInfo {
        batch_id: row.get(0)?,
        vendor_id: row.get(1)?,
        product_id: row.get(2)?,
        count: usize::from(row.get::<u16>(3)?),
        valid_from_ms: row.get::<i64>(4)? * 1000,
        valid_until_ms: row.get::<i64>(5)? * 1000,
        issued_ms: row.get(6)?,
    })
}

async fn one(tx: &mut Tx, venue: VenueId, batch: &str) -> Result<BatchInfo, ApiError> {
    let sql = format!("SELECT {COLUMNS} FROM batches WHERE venue_id = $1 AND batch_id = $2");
    let row = tx.first(&sql, params![venue, batch]).await?.ok_or_else(|| ApiError::not_found("batch"))?;
    Ok(read(&row)?)
}

/// The batches, newest first; the `Link` header of a full page leads to the next.
#[utoipa::path(get, path = "/v1/venues/{venue}/batches", tag = "passes",
    params(("venue" = String, Path), ("limit" = Option<i64>, Query, description = "1 to 500, usually 100"), ("after" = Option<String>, Query, description = "from the Link header of the page before")),
    responses((status = 200, body = Vec<BatchInfo>), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    State(app): State<App>,
    manager: Manager,
    Query(asked): Query<PageAsked>,
) -> Result<(HeaderMap, Json<Vec<BatchInfo>>), ApiError> {
    let (limit, place) = (asked.limit()?, asked.place()?);
    let sql = format!(
        "SELECT {COLUMNS} FROM batches WHERE venue_id = $1 AND (issued_ms < $2 OR (issued_ms = $2 AND batch_id > $3)) ORDER BY issued_ms DESC, batch_id LIMIT $4"
    );
    let rows =
        app.db().read(async |tx| tx.query(&sql, params![manager.venue, place.at_ms, place.id, limit]).await).await?;
    let items: Vec<BatchInfo> = rows.iter().map(read).collect::<Result<_, DbError>>()?;
    let last = items.last().map(|batch| (batch.issued_ms, batch.batch_id.as_str()));
    let path = format!("/v1/venues/{}/batches", manager.venue);
    Ok((page::more(&path, limit, items.len(), last), Json(items)))
}

/// Issues a batch, all of it or nothing. Asking again with the same `Idempotency-Key` issues nothing twice.
#[utoipa::path(post, path = "/v1/venues/{venue}/batches", tag = "passes",
    params(("venue" = String, Path), ("Idempotency-Key" = String, Header)), request_body = BatchAsked,
    responses((status = 201, body = BatchMade), (status = 400, body = Problem, content_type = "application/problem+json"), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn create(
    State(app): State<App>,
    manager: Manager,
    headers: HeaderMap,
    Json(asked): Json<BatchAsked>,
) -> Result<(StatusCode, Json<BatchMade>), ApiError> {
    let key = headers
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok())
        .map(|key| key.trim_matches('"'))
        .filter(|key| (1..=128).contains(&key.len()))
        .ok_or_else(|| {
            ApiError::new(
                StatusCode::BAD_REQUEST,
                "idempotency_key",
                "A key is needed",
                "Send an Idempotency-Key of 1 to 128 characters, new for each batch and the same for each repeat.",
            )
        })?;
    let body = serde_json::to_vec(&asked).map_err(|error| ApiError::internal(&error))?;
    let hash = Hash::of("gaterequest/1", &body);
    let now = app.now_ms();
    let made = app
        .change(manager.venue, async |tx| {
            tx.execute(
                "DELETE FROM idempotency WHERE venue_id = $1 AND made_ms < $2",
                params![manager.venue, now - ANSWER_LIFE_MS],
            )
            .await?;
            let known = tx
                .first(
                    "SELECT request_hash, answer FROM idempotency WHERE venue_id = $1 AND principal = $2 AND request_key = $3",
                    params![manager.venue, manager.person.as_str(), key],
                )
                .await?;
            if let Some(row) = known {
                if row.get::<Hash>(0)? != hash {
                    return Err(ApiError::new(
                        StatusCode::UNPROCESSABLE_ENTITY,
                        "idempotency_reused",
                        "This key was used for something else",
                        "The same Idempotency-Key came with another request before: use a new key for a new batch.",
                    ));
                }
                let answer: String = row.get(1)?;
                return serde_json::from_str(&answer).map_err(|error| ApiError::internal(&error));
            }
            let made = issue(tx, &app, &manager, &asked).await?;
            let answer = serde_json::to_string(&made).map_err(|error| ApiError::internal(&error))?;
            tx.execute(
                "INSERT INTO idempotency (venue_id, principal, request_key, request_hash, answer, made_ms) VALUES ($1, $2, $3, $4, $5, $6)",
                params![manager.venue, manager.person.as_str(), key, hash, answer, now],
            )
            .await?;
            Ok(made)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made)))
}

fn check(asked: &BatchAsked, now_ms: i64) -> Result<(), ApiError> {
    if !(1..=BATCH_MAX).contains(&asked.count) {
        return Err(ApiError::field("/count", format!("A batch has 1 to {BATCH_MAX} passes.")));
    }
    if asked.valid_until_ms <= asked.valid_from_ms {
        return Err(ApiError::field("/valid_until_ms", "A pass must end after it begins."));
    }
    if asked.valid_until_ms <= now_ms {
        return Err(ApiError::field("/valid_until_ms", "These passes would be over already."));
    }
    if asked.valid_until_ms.div_euclid(1000) > now_ms.div_euclid(1000) + issuing::PASS_LIFE_S {
        return Err(ApiError::field("/valid_until_ms", "A pass ends within three years."));
    }
    if asked.reference.as_ref().is_some_and(|reference| reference.chars().count() > 200) {
        return Err(ApiError::field("/reference", "200 characters at most."));
    }
    Ok(())
}

async fn issue(tx: &mut Tx, app: &App, manager: &Manager, asked: &BatchAsked) -> Result<BatchMade, ApiError> {
    let (venue, now) = (manager.venue, app.now_ms());
    check(asked, now)?;
    let vendor = vendors::one(tx, venue, &asked.vendor_id)
        .await?
        .ok_or_else(|| ApiError::field("/vendor_id", "There is no such vendor in this venue."))?;
    let product = products::one(tx, venue, asked.product_id)
        .await?
        .ok_or_else(|| ApiError::field("/product_id", "There is no such product in this venue."))?;
    if let Some(quota) = vendor.daily_quota {
        let left = i64::from(quota) - issued_today(tx, venue, &asked.vendor_id, now).await?;
        if i64::try_from(asked.count).unwrap_or(i64::MAX) > left {
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "quota",
                "More than the vendor may issue today",
                format!("{} of {quota} passes are left today.", left.max(0)),
            ));
        }
    }
    let window = (asked.valid_from_ms.div_euclid(1000), asked.valid_until_ms.div_euclid(1000));
    let (kid, key_change) = issuing::key_for(tx, app, venue, &asked.vendor_id, window).await?;
    let batch = app.new_id().to_string();
    let mut flags = PassFlags::default();
    if asked.child {
        flags = flags.with(PassFlags::CHILD);
    }
    if asked.romanian {
        flags = flags.with(PassFlags::ROMANIAN);
    }
    tx.execute(
        "INSERT INTO batches (venue_id, batch_id, vendor_id, product, pass_count, not_before_s, expires_s, issued_ms, issued_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        params![venue, batch.as_str(), asked.vendor_id.as_str(), asked.product_id, asked.count, window.0, window.1, now, manager.person.as_str()],
    )
    .await?;
    let code: VendorCode = vendor.code.parse().map_err(|error| ApiError::internal(&error))?;
    let venue_code = venues::row(tx, venue).await?.code;
    let signing = issuing::signing_key(tx, app, venue, kid).await?;
    let mut changes: Vec<Change> = key_change.into_iter().collect();
    for place in 0..asked.count {
        let pass = Issued {
            claims: Claims {
                vendor: code.clone(),
                venue: venue_code.clone(),
                not_before: window.0,
                expires: window.1,
                cti: Cti(app.entropy().bytes()),
                product: asked.product_id,
                flags,
                subject: None,
            },
            kid,
            batch: batch.clone(),
            vendor_id: asked.vendor_id.clone(),
            standing: PassStanding::Live,
            superseded_by: None,
            reference: asked.reference.clone(),
            issued_ms: now,
        };
        if place == 0 {
            // All of a batch have the same size: if one fits, all do.
            issuing::token(&pass, &signing, &product)?;
        }
        issuing::log(tx, venue, &pass, place).await?;
        if product.kind == ProductKind::Subscription {
            changes.push(Change::Pass(PassChange {
                pass: pass.claims.id(),
                row: PassRow { standing: PassStanding::Live, until: None, uses: None },
            }));
        }
    }
    let issued = one(tx, venue, &batch).await?;
    let noted =
        Issue { batch: issued, romanian: asked.romanian, child: asked.child, reference: asked.reference.as_deref() };
    audit::record(tx, app, manager, "batch.issue", None, Some(&noted)).await?;
    replica::publish(tx, app.master(), venue, changes).await?;
    let base = format!("/v1/venues/{venue}/batches/{batch}");
    Ok(BatchMade {
        batch_id: batch,
        count: asked.count,
        links: Links { pdf: format!("{base}/sheet.pdf"), batch: base },
    })
}

/// How many the vendor issued since the venue's day began.
async fn issued_today(tx: &mut Tx, venue: VenueId, vendor: &str, now_ms: i64) -> Result<i64, ApiError> {
    let rule = venues::row(tx, venue).await?.day_rule;
    let local = |ms: i64| rule.local(ms).map_err(|error| ApiError::internal(&error));
    let today = local(now_ms)?.day;
    let rows = tx
        .query(
            "SELECT issued_ms, CAST(SUM(pass_count) AS BIGINT) FROM batches WHERE venue_id = $1 AND vendor_id = $2 AND issued_ms > $3 GROUP BY issued_ms",
            params![venue, vendor, now_ms - 26 * 3600 * 1000],
        )
        .await?;
    let mut sum = 0;
    for row in rows {
        if local(row.get(0)?)?.day == today {
            sum += row.get::<i64>(1)?;
        }
    }
    Ok(sum)
}

/// A batch with its passes.
#[utoipa::path(get, path = "/v1/venues/{venue}/batches/{batch}", tag = "passes", params(("venue" = String, Path), ("batch" = String, Path)),
    responses((status = 200, body = BatchWhole), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn show(
    State(app): State<App>,
    manager: Manager,
    Within(id): Within<String>,
) -> Result<Json<BatchWhole>, ApiError> {
    let whole = app
        .db()
        .read(async |tx| {
            let batch = one(tx, manager.venue, &id).await?;
            let lines = passes(tx, manager.venue, &id).await?.into_iter().map(|pass| PassLine {
                cti: pass.claims.cti.to_string(),
                short_code: pass.short_code().to_string(),
                standing: issuing::standing_text(pass.standing).to_owned(),
            });
            Ok::<_, ApiError>(BatchWhole { batch, passes: lines.collect() })
        })
        .await?;
    Ok(Json(whole))
}

async fn passes(tx: &mut Tx, venue: VenueId, batch: &str) -> Result<Vec<Issued>, DbError> {
    let sql = format!(
        "SELECT {} FROM passes p JOIN venues v ON v.venue_id = p.venue_id WHERE p.venue_id = $1 AND p.batch_id = $2 ORDER BY p.place, p.cti",
        issuing::COLUMNS
    );
    tx.query(&sql, params![venue, batch]).await?.iter().map(issuing::read).collect()
}

/// The batch as a sheet to print and cut: A4, 24 passes a page. Withdrawn and replaced passes are left out.
#[utoipa::path(get, path = "/v1/venues/{venue}/batches/{batch}/sheet.pdf", tag = "passes", params(("venue" = String, Path), ("batch" = String, Path)),
    responses((status = 200, content_type = "application/pdf"), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn sheet(
    State(app): State<App>,
    manager: Manager,
    Within(id): Within<String>,
) -> Result<impl IntoResponse, ApiError> {
    let sheet = app
        .db()
        .read(async |tx| {
            let batch = one(tx, manager.venue, &id).await?;
            let venue = venues::row(tx, manager.venue).await?;
            let vendor = vendors::one(tx, manager.venue, &batch.vendor_id)
                .await?
                .ok_or_else(|| ApiError::not_found("vendor"))?;
            let product = products::one(tx, manager.venue, batch.product_id)
                .await?
                .ok_or_else(|| ApiError::not_found("product"))?;
            let rules: Vec<Rule> = product.rules.iter().filter_map(Rule::read).collect();
            let mut texts = Vec::new();
            let mut signing = None;
            for pass in passes(tx, manager.venue, &id).await? {
                match pass.standing {
                    PassStanding::Live | PassStanding::Blocked => {}
                    PassStanding::Revoked | PassStanding::Superseded => continue,
                }
                if signing.as_ref().is_none_or(|(kid, _)| *kid != pass.kid) {
                    signing = Some((pass.kid, issuing::signing_key(tx, &app, manager.venue, pass.kid).await?));
                }
                if let Some((_, key)) = &signing {
                    texts.push((issuing::token(&pass, key, &product)?, pass.short_code()));
                }
            }
            Ok::<_, ApiError>(Sheet {
                vendor: vendor.name,
                validity: Validity::new(
                    batch.valid_from_ms.div_euclid(1000),
                    batch.valid_until_ms.div_euclid(1000),
                    &venue.day_rule.time_zone,
                    &rules,
                ),
                venue: venue.name,
                passes: texts,
            })
        })
        .await?;
    let pdf = app.compute(move || issuing::render(&sheet)).await?.map_err(|error| ApiError::internal(&error))?;
    let name = format!("attachment; filename=\"passes-{}.pdf\"", id.chars().take(8).collect::<String>());
    Ok((
        [
            (CONTENT_TYPE, "application/pdf".to_owned()),
            (CONTENT_DISPOSITION, name),
            (CACHE_CONTROL, "no-store".to_owned()),
        ],
        pdf,
    ))
}

/// How much was done.
#[derive(Serialize, ToSchema)]
pub struct Revoked {
    /// Passes that were good until now.
    revoked: usize,
}

/// Withdraws every pass of a batch for good.
#[utoipa::path(post, path = "/v1/venues/{venue}/batches/{batch}/revoke", tag = "passes", params(("venue" = String, Path), ("batch" = String, Path)),
    responses((status = 200, body = Revoked), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn revoke(
    State(app): State<App>,
    manager: Manager,
    Within(id): Within<String>,
) -> Result<Json<Revoked>, ApiError> {
    let revoked = app
        .change(manager.venue, async |tx| {
            one(tx, manager.venue, &id).await?;
            let mut changes = Vec::new();
            let mut before = BTreeMap::new();
            for pass in passes(tx, manager.venue, &id).await? {
                match pass.standing {
                    PassStanding::Live | PassStanding::Blocked => {
                        let named = (&pass.claims.vendor, pass.claims.cti);
                        before.insert(pass.claims.cti.to_string(), issuing::standing_text(pass.standing));
                        ingest::recheck_standing(tx, manager.venue, named, "revoked", app.now_ms()).await?;
                        changes.push(Change::Pass(PassChange {
                            pass: pass.claims.id(),
                            row: PassRow { standing: PassStanding::Revoked, until: None, uses: None },
                        }));
                    }
                    PassStanding::Revoked | PassStanding::Superseded => {}
                }
            }
            tx.execute(
                "UPDATE passes SET standing = 'revoked' WHERE venue_id = $1 AND batch_id = $2 AND standing IN ('live', 'blocked')",
                params![manager.venue, id.as_str()],
            )
            .await?;
            let revoked = changes.len();
            let after: BTreeMap<_, _> = before.keys().map(|cti| (cti.clone(), "revoked")).collect();
            // Those that were revoked or superseded already stay as they were.
            let noted = |standing: &BTreeMap<String, &str>| serde_json::json!({"batch_id": id, "passes": standing});
            audit::record(tx, &app, &manager, "batch.revoke", Some(&noted(&before)), Some(&noted(&after))).await?;
            replica::publish(tx, app.master(), manager.venue, changes).await?;
            Ok(revoked)
        })
        .await?;
    Ok(Json(Revoked { revoked }))
}

/// The texts of a batch's codes, for tests: no route ever gives them in plain.
#[cfg(test)]
pub async fn texts(app: &App, venue: VenueId, batch: &str) -> Vec<String> {
    let read = async |tx: &mut Tx| -> Result<Vec<String>, ApiError> {
        let mut texts = Vec::new();
        for pass in passes(tx, venue, batch).await? {
            let product = products::one(tx, venue, pass.claims.product).await?.unwrap();
            let key = issuing::signing_key(tx, app, venue, pass.kid).await?;
            texts.push(issuing::token(&pass, &key, &product)?);
        }
        Ok(texts)
    };
    app.db().read(read).await.unwrap()
}
