//! The first run: whoever reaches the service first becomes its owner. There is no default password.

use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse};
use gate_core::time::DayRule;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::session::Me;
use super::venues::{self, NewVenue};
use crate::app::App;
use crate::auth::{self, Address, Browser};
use crate::extract::Json;
use crate::problem::{ApiError, Problem};
use crate::store::params;

/// Shortest password, characters.
const PASSWORD_MIN: usize = 10;
/// Longest password, bytes: hashing must not be a way to keep the service busy.
const PASSWORD_MAX: usize = 256;

/// Whether somebody owns this service.
#[derive(Serialize, ToSchema)]
pub struct Needed {
    owner_exists: bool,
}

/// Who owns it, and the first venue.
#[derive(Deserialize, ToSchema)]
pub struct FirstRun {
    /// Address to log in with.
    email: String,
    /// What people call you.
    name: String,
    /// 10 characters or more.
    password: String,
    /// What people call the venue.
    venue_name: String,
    /// IANA time zone, for example `Europe/Bucharest`.
    time_zone: String,
}

/// Whether the first run is still to be done.
#[utoipa::path(get, path = "/v1/setup", tag = "people", responses((status = 200, body = Needed)))]
pub async fn needed(State(app): State<App>) -> Result<Json<Needed>, ApiError> {
    let people = app.db().read(async |tx| tx.number("SELECT COUNT(*) FROM people", &[]).await).await?;
    Ok(Json(Needed { owner_exists: people > 0 }))
}

/// Makes the owner and the first venue, and logs in. Once.
#[utoipa::path(post, path = "/v1/setup", tag = "people", request_body = FirstRun,
    responses((status = 200, body = Me), (status = 409, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn first_run(
    State(app): State<App>,
    _browser: Browser,
    address: Address,
    Json(asked): Json<FirstRun>,
) -> Result<impl IntoResponse, ApiError> {
    let now = app.now_ms();
    app.db().write(async |tx| auth::attempt(tx, &format!("setup/{}", address.neighbourhood()), 20, now).await).await?;
    let email = email(&asked.email)?;
    let name = text("/name", &asked.name, 80)?;
    let venue = NewVenue {
        name: text("/venue_name", &asked.venue_name, 80)?,
        day_rule: day_rule("/time_zone", &asked.time_zone)?,
    };
    check_password("/password", &asked.password)?;
    let salt = app.entropy().bytes();
    let password = asked.password;
    let hash = app.hash(move || auth::make_password(&password, salt)).await??;
    let id = app.new_id().to_string();
    let token = app
        .db()
        .write(async |tx| {
            if tx.number("SELECT COUNT(*) FROM people", &[]).await? > 0 {
                return Err(ApiError::conflict("owner_exists", "Somebody owns this service already: log in."));
            }
            tx.execute(
                "INSERT INTO people (id, email, name, password, created_ms) VALUES ($1, $2, $3, $4, $5)",
                params![id.as_str(), email, name, hash.0, now],
            )
            .await?;
            venues::found(tx, &app, venue, &id).await?;
            Ok(auth::start_session(tx, &app, &id).await?)
        })
        .await?;
    tracing::info!("the owner's account was made");
    let me = app.db().read(async |tx| super::session::me(tx, &id).await).await?;
    Ok((AppendHeaders([(SET_COOKIE, auth::cookie_for(&app, &token))]), Json(me)))
}

/// An address people log in with, in its one spelling.
pub fn email(text: &str) -> Result<String, ApiError> {
    let email = text.trim().to_lowercase();
    let good = email.len() <= 254
        && !email.contains(char::is_whitespace)
        && email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    if good { Ok(email) } else { Err(ApiError::field("/email", "This is not an e-mail address.")) }
}

/// A name that people typed: not empty, not endless, one line.
pub fn text(pointer: &str, text: &str, limit: usize) -> Result<String, ApiError> {
    let text = text.trim();
    let good = !text.is_empty() && text.chars().count() <= limit && !text.chars().any(char::is_control);
    if good {
        Ok(text.to_owned())
    } else {
        Err(ApiError::field(pointer, format!("One line of 1 to {limit} characters is needed.")))
    }
}

/// The calendar of a venue; its days begin at three in the morning unless told otherwise.
pub fn day_rule(pointer: &str, time_zone: &str) -> Result<DayRule, ApiError> {
    let rule = DayRule { time_zone: time_zone.trim().to_owned(), boundary_min: 180 };
    rule.local(0).map_err(|error| ApiError::field(pointer, format!("{error}. Use a name like Europe/Bucharest.")))?;
    Ok(rule)
}

fn check_password(pointer: &str, password: &str) -> Result<(), ApiError> {
    if password.chars().count() < PASSWORD_MIN || password.len() > PASSWORD_MAX {
        return Err(ApiError::field(pointer, format!("A password has {PASSWORD_MIN} to {PASSWORD_MAX} characters.")));
    }
    Ok(())
}
