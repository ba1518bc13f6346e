//! Vendors: who issues passes.

use axum::extract::State;
use axum::http::StatusCode;
use gate_core::ids::{VendorCode, VenueId};
use gate_core::sync::v1::{Change, VendorRow};
use gate_core::time::ServiceDay;
use gate_core::view::Vendor;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::setup::text;
use crate::app::App;
use crate::auth::Manager;
use crate::extract::{Json, Within};
use crate::issuing;
use crate::problem::{ApiError, Problem};
use crate::store::{DbError, Row, Tx, params};
use crate::{audit, codes, replica};

/// Every weekday.
const ALL_WEEK: u8 = 127;
/// Most days a vendor may be closed on, listed one by one.
const CLOSED_MAX: usize = 400;

/// A vendor.
#[derive(Clone, Serialize, ToSchema)]
pub struct VendorInfo {
    id: String,
    /// Two characters; what passes call it.
    pub(super) code: String,
    pub(super) name: String,
    /// Its passes are good.
    active: bool,
    /// Weekdays on which it trades, bit 0 = Monday.
    weekdays: u8,
    /// Days on which it does not trade (`2026-12-25`).
    closed_days: Vec<String>,
    /// Most passes it may issue per day of the venue.
    pub(super) daily_quota: Option<u32>,
}

/// A new vendor.
#[derive(Deserialize, ToSchema)]
pub struct VendorAsked {
    name: String,
    /// Two of `0-9 A-Z`, unique in the venue; by default made from the name.
    code: Option<String>,
    weekdays: Option<u8>,
    daily_quota: Option<u32>,
}

/// What to change; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub struct VendorChange {
    name: Option<String>,
    active: Option<bool>,
    weekdays: Option<u8>,
    closed_days: Option<Vec<String>>,
    /// 0 lifts the quota.
    daily_quota: Option<u32>,
}

const COLUMNS: &str = "vendor_id, code, name, active, weekdays, closed_days, daily_quota";

fn read(row: &Row) -> Result<VendorInfo, DbError> {
    let closed: String = row.get(5)?;
    Ok(VendorInfo {
        id: row.get(0)?,
        code: row.get(1)?,
        name: row.get(2)?,
        active: row.get(3)?,
        weekdays: row.get(4)?,
        closed_days: closed.split(',').filter(|day| !day.is_empty()).map(str::to_owned).collect(),
        daily_quota: row.get(6)?,
    })
}

/// One vendor.
pub async fn one(tx: &mut Tx, venue: VenueId, vendor: &str) -> Result<Option<VendorInfo>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM vendors WHERE venue_id = $1 AND vendor_id = $2");
    tx.first(&sql, params![venue, vendor]).await?.as_ref().map(read).transpose()
}

/// What gates know of it: its code and whether it trades, not its name.
fn change_of(vendor: &VendorInfo) -> Result<Change, ApiError> {
    let epoch = jiff::civil::date(1970, 1, 1);
    let day = |text: &String| {
        let date: Date = text
            .parse()
            .map_err(|_| ApiError::field("/closed_days", format!("{text:?} is not a date like 2026-12-25.")))?;
        let days = epoch.until(date).map_err(|error| ApiError::field("/closed_days", error.to_string()))?.get_days();
        Ok::<_, ApiError>(ServiceDay(days))
    };
    let code: VendorCode = vendor.code.parse().map_err(|error| ApiError::internal(&error))?;
    let closed_days = vendor.closed_days.iter().map(day).collect::<Result<_, _>>()?;
    Ok(Change::Vendor(VendorRow {
        code,
        standing: Vendor { active: vendor.active, weekdays: vendor.weekdays, closed_days },
    }))
}

fn check_weekdays(weekdays: Option<u8>) -> Result<(), ApiError> {
    if weekdays.is_some_and(|bits| bits > ALL_WEEK) {
        return Err(ApiError::field("/weekdays", "Seven bits are needed, bit 0 for Monday: 0 to 127."));
    }
    Ok(())
}

/// The vendors of a venue, oldest first.
#[utoipa::path(get, path = "/v1/venues/{venue}/vendors", tag = "vendors", params(("venue" = String, Path)),
    responses((status = 200, body = Vec<VendorInfo>), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn list(State(app): State<App>, manager: Manager) -> Result<Json<Vec<VendorInfo>>, ApiError> {
    let sql = format!("SELECT {COLUMNS} FROM vendors WHERE venue_id = $1 ORDER BY created_ms, vendor_id");
    let rows = app.db().read(async |tx| tx.query(&sql, params![manager.venue]).await).await?;
    Ok(Json(rows.iter().map(read).collect::<Result<_, DbError>>()?))
}

/// Makes a vendor with an issuing key of its own.
#[utoipa::path(post, path = "/v1/venues/{venue}/vendors", tag = "vendors", params(("venue" = String, Path)), request_body = VendorAsked,
    responses((status = 201, body = VendorInfo), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn create(
    State(app): State<App>,
    manager: Manager,
    Json(asked): Json<VendorAsked>,
) -> Result<(StatusCode, Json<VendorInfo>), ApiError> {
    check_weekdays(asked.weekdays)?;
    let name = text("/name", &asked.name, 60)?;
    if let Some(code) = &asked.code
        && (code.len() != 2 || code.parse::<VendorCode>().is_err())
    {
        return Err(ApiError::field("/code", "A code has two characters of 0-9 and A-Z: a pass has room for no more."));
    }
    let vendor = app
        .change(manager.venue, async |tx| {
            let mut code = asked.code.clone().unwrap_or_else(|| codes::from_name(&name));
            while tx
                .number("SELECT COUNT(*) FROM vendors WHERE venue_id = $1 AND code = $2", params![manager.venue, code.as_str()])
                .await?
                > 0
            {
                if asked.code.is_some() {
                    return Err(ApiError::conflict("code_taken", "Another vendor has this code already."));
                }
                code = codes::random(app.entropy());
            }
            let vendor = VendorInfo {
                id: app.new_id().to_string(),
                code,
                name,
                active: true,
                weekdays: asked.weekdays.unwrap_or(ALL_WEEK),
                closed_days: vec![],
                daily_quota: asked.daily_quota.filter(|quota| *quota > 0),
            };
            tx.execute(
                "INSERT INTO vendors (venue_id, vendor_id, code, name, active, weekdays, closed_days, daily_quota, created_ms) VALUES ($1, $2, $3, $4, 1, $5, '', $6, $7)",
                params![manager.venue, vendor.id.as_str(), vendor.code.as_str(), vendor.name.as_str(), vendor.weekdays, vendor.daily_quota, app.now_ms()],
            )
            .await?;
            let key = issuing::new_issuer(tx, &app, manager.venue, &vendor.id, None).await?;
            audit::record(tx, &app, &manager, "vendor.create", None, Some(&vendor)).await?;
            replica::publish(tx, app.master(), manager.venue, vec![key, change_of(&vendor)?]).await?;
            Ok(vendor)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(vendor)))
}

/// Changes a vendor; switched off, its passes are refused wherever the change has arrived.
#[utoipa::path(patch, path = "/v1/venues/{venue}/vendors/{vendor}", tag = "vendors", params(("venue" = String, Path), ("vendor" = String, Path)),
    request_body = VendorChange, responses((status = 200, body = VendorInfo), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn change(
    State(app): State<App>,
    manager: Manager,
    Within(id): Within<String>,
    Json(asked): Json<VendorChange>,
) -> Result<Json<VendorInfo>, ApiError> {
    check_weekdays(asked.weekdays)?;
    if asked.closed_days.as_ref().is_some_and(|days| days.len() > CLOSED_MAX) {
        return Err(ApiError::field("/closed_days", format!("{CLOSED_MAX} days at most.")));
    }
    let name = asked.name.map(|name| text("/name", &name, 60)).transpose()?;
    let vendor = app
        .change(manager.venue, async |tx| {
            let before = one(tx, manager.venue, &id).await?.ok_or_else(|| ApiError::not_found("vendor"))?;
            let mut after = before.clone();
            after.name = name.unwrap_or(after.name);
            after.active = asked.active.unwrap_or(after.active);
            after.weekdays = asked.weekdays.unwrap_or(after.weekdays);
            after.closed_days = asked.closed_days.unwrap_or(after.closed_days);
            after.daily_quota = asked.daily_quota.map_or(after.daily_quota, |quota| Some(quota).filter(|q| *q > 0));
            let told = change_of(&after)?;
            tx.execute(
                "UPDATE vendors SET name = $1, active = $2, weekdays = $3, closed_days = $4, daily_quota = $5 WHERE venue_id = $6 AND vendor_id = $7",
                params![after.name.as_str(), after.active, after.weekdays, after.closed_days.join(","), after.daily_quota, manager.venue, id.as_str()],
            )
            .await?;
            audit::record(tx, &app, &manager, "vendor.change", Some(&before), Some(&after)).await?;
            replica::publish(tx, app.master(), manager.venue, vec![told]).await?;
            Ok(after)
        })
        .await?;
    Ok(Json(vendor))
}
