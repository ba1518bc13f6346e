//! A browser from which somebody has logged in before: it does not wait behind strangers who guess at the account.
//!
//! The cookie names nobody and opens nothing: it only gives the browser a pause of its own. It can't be made up, because
//! it carries a hash under the master key.

use axum::http::HeaderMap;

use super::session;
use crate::app::App;

/// The cookie's name.
const COOKIE_NAME: &str = "gate_known";
/// How long a browser is known after the last login, seconds.
const LIFE_S: i64 = 90 * 24 * 3600;

fn proof(app: &App, email: &str, number: &str) -> String {
    app.master().peppered("gateknown/1", &format!("{number}/{email}")).to_string()
}

/// The cookie for a browser that has just logged in to this account.
pub fn cookie(app: &App, email: &str) -> String {
    let number = hex::encode(app.entropy().bytes::<16>());
    let secure = if app.config().public_url.secure { "; Secure" } else { "" };
    let proof = proof(app, email, &number);
    format!("{COOKIE_NAME}={number}.{proof}; Path=/v1/session; HttpOnly; SameSite=Strict; Max-Age={LIFE_S}{secure}")
}

/// Which known browser of this account is asking, if it is one.
pub fn browser(app: &App, headers: &HeaderMap, email: &str) -> Option<String> {
    let value = session::cookie_in(headers, COOKIE_NAME)?;
    let (number, told) = value.split_once('.')?;
    // Both sides are hashes of secrets: comparing them in parts tells nothing that helps.
    (told == proof(app, email, number)).then(|| number.to_owned())
}
