//! Sessions of people: a random token in a cookie, its hash in a table.

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use gate_core::ids::Hash;

use crate::app::App;
use crate::store::{DbError, Tx, params};

/// The cookie's name.
const COOKIE_NAME: &str = "gate_session";
/// A session ends after this long without a request, milliseconds.
const IDLE_MS: i64 = 24 * 3600 * 1000;
/// A session ends after this long at the latest, milliseconds.
const LIFE_MS: i64 = 14 * 24 * 3600 * 1000;
/// The last-seen stamp is written at most this often, milliseconds.
const SEEN_EVERY_MS: i64 = 5 * 60 * 1000;

fn hashed(token: &str) -> Hash {
    // 256 random bits need no salt.
    Hash::of("gatesession/1", token.as_bytes())
}

/// Begins a session and gives its token, which is told once and stored nowhere.
pub async fn start(tx: &mut Tx, app: &App, person: &str) -> Result<String, DbError> {
    let token = hex::encode(app.entropy().bytes::<32>());
    let now = app.now_ms();
    tx.execute("DELETE FROM sessions WHERE expires_ms < $1 OR seen_ms < $2", params![now, now - IDLE_MS]).await?;
    tx.execute(
        "INSERT INTO sessions (token, person_id, created_ms, seen_ms, expires_ms) VALUES ($1, $2, $3, $4, $5)",
        params![hashed(&token), person, now, now, now + LIFE_MS],
    )
    .await?;
    Ok(token)
}

/// Ends the session of these headers.
pub async fn end(tx: &mut Tx, headers: &HeaderMap) -> Result<(), DbError> {
    if let Some(token) = token_in(headers) {
        tx.execute("DELETE FROM sessions WHERE token = $1", params![hashed(&token)]).await?;
    }
    Ok(())
}

/// Who is logged in, by id.
pub(super) async fn person(app: &App, headers: &HeaderMap) -> Result<Option<String>, DbError> {
    let Some(token) = token_in(headers) else { return Ok(None) };
    let now = app.now_ms();
    let hash = hashed(&token);
    let row = app
        .db()
        .read(async |tx| {
            tx.first(
                "SELECT person_id, seen_ms FROM sessions WHERE token = $1 AND expires_ms > $2 AND seen_ms > $3",
                params![hash, now, now - IDLE_MS],
            )
            .await
        })
        .await?;
    let Some(row) = row else { return Ok(None) };
    if row.get::<i64>(1)? < now - SEEN_EVERY_MS {
        app.db()
            .write(async |tx| tx.execute("UPDATE sessions SET seen_ms = $1 WHERE token = $2", params![now, hash]).await)
            .await?;
    }
    row.get(0).map(Some)
}

fn token_in(headers: &HeaderMap) -> Option<String> {
    cookie_in(headers, COOKIE_NAME)
}

/// The one cookie of a name.
pub(super) fn cookie_in(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = cookies.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == wanted).then(|| value.to_owned())
    });
    // Two cookies of this name mean that somebody planted one: believe neither.
    let token = found.next()?;
    found.next().is_none().then_some(token)
}

/// The cookie that carries a token.
pub fn cookie_for(app: &App, token: &str) -> String {
    let secure = if app.config().public_url.secure { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}", LIFE_MS / 1000)
}

/// The cookie that removes it.
pub fn cookie_gone(app: &App) -> String {
    let secure = if app.config().public_url.secure { "; Secure" } else { "" };
    format!("{COOKIE_NAME}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0{secure}")
}
