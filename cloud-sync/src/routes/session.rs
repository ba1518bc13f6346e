//! Logging in and out.

use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::{self, Address, Browser, PasswordHash, Person};
use crate::extract::Json;
use crate::problem::{ApiError, Problem};
use crate::store::{DbError, Tx, params};

/// Attempts per address, whatever the account.
const PER_ADDRESS: i64 = 60;

/// Who wants to log in.
#[derive(Deserialize, ToSchema)]
pub struct Login {
    email: String,
    password: String,
}

/// Who is logged in, and where they work.
#[derive(Serialize, ToSchema)]
pub struct Me {
    user: User,
    venues: Vec<MyVenue>,
}

/// A person.
#[derive(Serialize, ToSchema)]
pub struct User {
    id: String,
    name: String,
    email: String,
}

/// A venue somebody works at.
#[derive(Serialize, ToSchema)]
pub struct MyVenue {
    id: String,
    code: String,
    name: String,
    /// `owner`, `manager` or `staff`.
    role: String,
    time_zone: String,
}

/// Reads what [`Me`] tells.
pub async fn me(tx: &mut Tx, person: &str) -> Result<Me, ApiError> {
    let row = tx
        .first("SELECT id, name, email FROM people WHERE id = $1", params![person])
        .await?
        .ok_or_else(ApiError::login_needed)?;
    let user = User { id: row.get(0)?, name: row.get(1)?, email: row.get(2)? };
    let rows = tx
        .query(
            "SELECT v.venue_id, v.code, v.name, m.role, v.time_zone FROM members m JOIN venues v ON v.venue_id = m.venue_id WHERE m.person_id = $1 ORDER BY v.created_ms, v.venue_id",
            params![person],
        )
        .await?;
    let venue = |row: &crate::store::Row| {
        Ok::<_, DbError>(MyVenue {
            id: row.get(0)?,
            code: row.get(1)?,
            name: row.get(2)?,
            role: row.get(3)?,
            time_zone: row.get(4)?,
        })
    };
    Ok(Me { user, venues: rows.iter().map(venue).collect::<Result<_, _>>()? })
}

/// Who am I?
#[utoipa::path(get, path = "/v1/session", tag = "people", responses((status = 200, body = Me), (status = 401, body = Problem, content_type = "application/problem+json")))]
pub async fn who(State(app): State<App>, person: Person) -> Result<Json<Me>, ApiError> {
    app.db().read(async |tx| me(tx, &person.id).await).await.map(Json)
}

/// Logs in. A wrong address and a wrong password get the same answer after the same time.
#[utoipa::path(post, path = "/v1/session", tag = "people", request_body = Login,
    responses((status = 200, body = Me), (status = 401, body = Problem, content_type = "application/problem+json"), (status = 429, body = Problem, content_type = "application/problem+json")))]
pub async fn log_in(
    State(app): State<App>,
    _browser: Browser,
    address: Address,
    headers: HeaderMap,
    Json(asked): Json<Login>,
) -> Result<impl IntoResponse, ApiError> {
    let email = asked.email.trim().to_lowercase();
    let email: String = email.chars().take(254).collect();
    // A browser that was let in before has a pause of its own, which no stranger can fill.
    let subject = match auth::known_browser(&app, &headers, &email) {
        Some(browser) => format!("known/{browser}"),
        None => format!("login//{email}"),
    };
    let now = app.now_ms();
    let found = app
        .db()
        .write(async |tx| {
            auth::attempt(tx, &format!("login/{}", address.neighbourhood()), PER_ADDRESS, now).await?;
            auth::attempt_account(tx, &subject, now).await?;
            let row = tx.first("SELECT id, password FROM people WHERE email = $1", params![email.as_str()]).await?;
            Ok::<_, ApiError>(row)
        })
        .await?;
    let (id, stored) = match found {
        Some(row) => (row.get::<String>(0)?, Some(PasswordHash(row.get(1)?))),
        None => (String::new(), None),
    };
    let password = asked.password;
    if !app.hash(move || auth::check_password(&password, stored.as_ref())).await? {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "wrong_login",
            "Not logged in",
            "The e-mail address or the password is wrong.",
        ));
    }
    let token = app
        .db()
        .write(async |tx| {
            auth::forgive(tx, &subject).await?;
            auth::start_session(tx, &app, &id).await
        })
        .await?;
    let me = app.db().read(async |tx| me(tx, &id).await).await?;
    let cookies = [auth::cookie_for(&app, &token), auth::known_cookie(&app, &email)];
    Ok((AppendHeaders(cookies.map(|cookie| (SET_COOKIE, cookie))), Json(me)))
}

/// Logs out; also works when the session is over already.
#[utoipa::path(delete, path = "/v1/session", tag = "people", responses((status = 204)))]
pub async fn log_out(
    State(app): State<App>,
    _browser: Browser,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    app.db().write(async |tx| auth::end_session(tx, &headers).await).await?;
    Ok((StatusCode::NO_CONTENT, AppendHeaders([(SET_COOKIE, auth::cookie_gone(&app))])))
}
