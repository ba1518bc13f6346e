//! The kinds of pass a venue offers.

use axum::extract::State;
use axum::http::StatusCode;
use gate_core::decision::{Exposure, exposure};
use gate_core::ids::{GateId, VenueId, ZoneId};
use gate_core::product::{OfflineScope, Product, ProductKind, Rule, RuleText, SecondScan};
use gate_core::sync::v1::Change;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::setup::text;
use super::{conflicts, rights, zones};
use crate::app::App;
use crate::auth::Manager;
use crate::extract::Json;
use crate::problem::{ApiError, Problem};
use crate::store::{DbError, Tx, params};
use crate::{audit, replica};

/// A rule: a name and whole numbers. Known: `single`, `times [n]`, `per_day [n]`, `unlimited`,
/// `hours [weekdays, from_min, to_min]`, `reentry_after_exit`, `min_interval [seconds]`, `child_with_adult`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct RuleInfo {
    name: String,
    #[serde(default)]
    args: Vec<i64>,
}

/// A kind of pass.
#[derive(Serialize, ToSchema)]
pub struct ProductInfo {
    /// The same as `number`.
    id: u16,
    number: u16,
    name: String,
    /// `visitor` or `subscription`.
    kind: String,
    rules: Vec<RuleInfo>,
    /// The zones it opens; empty means all.
    zones: Vec<String>,
    /// `hard` or `soft`.
    second_scan: String,
    /// `home_gate`, `site` or `any`.
    offline_scope: String,
    /// The only entrance that takes it, for `home_gate`.
    home_gate: Option<String>,
    max_staleness_s: Option<u32>,
    attention: Option<String>,
    open_ms: Option<u32>,
    /// How often one pass can be used too often while gates are apart.
    exposure: ExposureInfo,
}

/// What can happen to one pass while gates can't hear each other, and what did.
#[derive(Serialize, ToSchema)]
pub struct ExposureInfo {
    /// Entrances that take it.
    gates: u32,
    /// Extra uses in its whole life, at most; nothing where there is no limit in all.
    extra_in_all: Option<u64>,
    /// Extra uses on one day, at most; nothing where there is no limit per day.
    extra_per_day: Option<u64>,
    /// Extra uses of all its passes that gates have reported.
    extra_uses: i64,
}

impl ExposureInfo {
    fn new(exposure: Exposure, extra_uses: i64) -> Self {
        Self {
            gates: exposure.gates,
            extra_in_all: exposure.extra_in_all,
            extra_per_day: exposure.extra_per_day,
            extra_uses,
        }
    }
}

impl From<(Product, ExposureInfo)> for ProductInfo {
    fn from((product, exposure): (Product, ExposureInfo)) -> Self {
        Self {
            id: product.number,
            number: product.number,
            name: product.name,
            kind: match product.kind {
                ProductKind::Visitor => "visitor",
                ProductKind::Subscription => "subscription",
            }
            .to_owned(),
            rules: product.rules.into_iter().map(|rule| RuleInfo { name: rule.name, args: rule.args }).collect(),
            zones: product.zones.iter().map(ToString::to_string).collect(),
            second_scan: match product.second_scan {
                SecondScan::Hard => "hard",
                SecondScan::Soft => "soft",
            }
            .to_owned(),
            offline_scope: match product.offline_scope {
                OfflineScope::HomeGate => "home_gate",
                OfflineScope::Site => "site",
                OfflineScope::Any => "any",
            }
            .to_owned(),
            home_gate: product.home_gate.map(|gate| gate.to_string()),
            max_staleness_s: product.max_staleness_s,
            attention: product.attention,
            open_ms: product.open_ms,
            exposure,
        }
    }
}

/// A new kind of pass.
#[derive(Deserialize, ToSchema)]
pub struct ProductAsked {
    name: String,
    /// Visitor products have 0 to 23, so that a pass fits a small code.
    number: u16,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    kind: Option<ProductKind>,
    #[serde(default)]
    rules: Vec<RuleInfo>,
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    zones: Vec<ZoneId>,
    #[schema(value_type = Option<String>)]
    second_scan: Option<SecondScan>,
    #[schema(value_type = Option<String>)]
    offline_scope: Option<OfflineScope>,
    /// The one entrance that takes it; needed for the scope `home_gate`.
    #[schema(value_type = Option<String>)]
    home_gate: Option<GateId>,
    max_staleness_s: Option<u32>,
    attention: Option<String>,
    open_ms: Option<u32>,
}

/// Writes a product.
pub async fn store(tx: &mut Tx, venue: VenueId, product: &Product) -> Result<(), DbError> {
    let body = serde_json::to_string(product).map_err(|error| DbError::Statement(error.to_string()))?;
    tx.execute(
        "INSERT INTO products (venue_id, number, body) VALUES ($1, $2, $3)",
        params![venue, product.number, body],
    )
    .await
    .map(|_| ())
}

/// Reads a product.
pub async fn one(tx: &mut Tx, venue: VenueId, number: u16) -> Result<Option<Product>, DbError> {
    let row = tx.first("SELECT body FROM products WHERE venue_id = $1 AND number = $2", params![venue, number]).await?;
    row.map(|row| read(&row.get::<String>(0)?)).transpose()
}

fn read(body: &str) -> Result<Product, DbError> {
    serde_json::from_str(body).map_err(|error| DbError::Statement(format!("a product can't be read: {error}")))
}

/// The products of a venue, by number.
#[utoipa::path(get, path = "/v1/venues/{venue}/products", tag = "products", params(("venue" = String, Path)),
    responses((status = 200, body = Vec<ProductInfo>), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn list(State(app): State<App>, manager: Manager) -> Result<Json<Vec<ProductInfo>>, ApiError> {
    let products = app
        .db()
        .read(async |tx| {
            let rows = tx
                .query("SELECT body FROM products WHERE venue_id = $1 ORDER BY number", params![manager.venue])
                .await?;
            let extra = conflicts::extra_uses(tx, manager.venue).await?;
            let mut products = Vec::new();
            for row in rows {
                let product = read(&row.get::<String>(0)?)?;
                let found = exposure(&product, entrances(tx, manager.venue, &product).await?, None);
                let uses = extra.get(&product.number).copied().unwrap_or(0);
                products.push(ProductInfo::from((product, ExposureInfo::new(found, uses))));
            }
            Ok::<_, DbError>(products)
        })
        .await?;
    Ok(Json(products))
}

/// Entrances that lead into one of a product's zones, or into any if it names none.
async fn entrances(tx: &mut Tx, venue: VenueId, product: &Product) -> Result<u32, DbError> {
    let rows = tx.query("SELECT gate_id FROM gates WHERE venue_id = $1 AND direction = 'in'", params![venue]).await?;
    let mut found = 0;
    for row in rows {
        let gate: GateId = row.get(0)?;
        let mut leads = product.zones.is_empty();
        for zone in &product.zones {
            leads = leads || rights::leads_into(tx, venue, gate, *zone).await?;
        }
        found += u32::from(leads);
    }
    Ok(found)
}

/// Makes a product.
#[utoipa::path(post, path = "/v1/venues/{venue}/products", tag = "products", params(("venue" = String, Path)), request_body = ProductAsked,
    responses((status = 201, body = ProductInfo), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn create(
    State(app): State<App>,
    manager: Manager,
    Json(asked): Json<ProductAsked>,
) -> Result<(StatusCode, Json<ProductInfo>), ApiError> {
    let kind = asked.kind.unwrap_or(ProductKind::Visitor);
    if kind == ProductKind::Visitor && asked.number > 23 {
        return Err(ApiError::field("/number", "Visitor products have numbers from 0 to 23."));
    }
    let mut rules = Vec::new();
    for (at, rule) in asked.rules.into_iter().enumerate() {
        let rule = RuleText { name: rule.name, args: rule.args };
        if Rule::read(&rule).is_none() {
            return Err(ApiError::field(
                &format!("/rules/{at}"),
                "This rule is not known, or its numbers are not possible.",
            ));
        }
        rules.push(rule);
    }
    if asked.open_ms.is_some_and(|ms| !(100..=60_000).contains(&ms)) {
        return Err(ApiError::field("/open_ms", "A gate opens for 100 to 60,000 milliseconds."));
    }
    let product = Product {
        number: asked.number,
        name: text("/name", &asked.name, 60)?,
        kind,
        rules,
        zones: asked.zones,
        second_scan: asked.second_scan.unwrap_or(SecondScan::Hard),
        offline_scope: asked.offline_scope.unwrap_or(OfflineScope::Site),
        max_staleness_s: asked.max_staleness_s,
        attention: asked.attention.map(|words| text("/attention", &words, 120)).transpose()?,
        open_ms: asked.open_ms,
        home_gate: asked.home_gate,
    };
    let at_home = product.offline_scope == OfflineScope::HomeGate;
    if at_home != product.home_gate.is_some() {
        let detail = "The scope home_gate needs the one entrance that takes the pass, and no other scope has one.";
        return Err(ApiError::field("/home_gate", detail));
    }
    let made = app
        .change(manager.venue, async |tx| {
            for (at, zone) in product.zones.iter().enumerate() {
                if zones::one(tx, manager.venue, *zone).await?.is_none() {
                    return Err(ApiError::field(&format!("/zones/{at}"), "There is no such zone in this venue."));
                }
            }
            if let Some(gate) = product.home_gate {
                let known = tx
                    .number(
                        "SELECT COUNT(*) FROM gates WHERE venue_id = $1 AND gate_id = $2 AND direction = 'in'",
                        params![manager.venue, gate],
                    )
                    .await?;
                if known == 0 {
                    return Err(ApiError::field("/home_gate", "There is no such entrance in this venue."));
                }
            }
            match store(tx, manager.venue, &product).await {
                Err(DbError::Conflict(_)) => {
                    return Err(ApiError::conflict("number_taken", "Another product has this number already."));
                }
                other => other?,
            }
            replica::publish(tx, app.master(), manager.venue, vec![Change::Product(product.clone())]).await?;
            let found = exposure(&product, entrances(tx, manager.venue, &product).await?, None);
            let made = ProductInfo::from((product, ExposureInfo::new(found, 0)));
            audit::record(tx, &app, &manager, "product.create", None, Some(&made)).await?;
            Ok(made)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made)))
}
