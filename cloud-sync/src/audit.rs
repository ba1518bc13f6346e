//! What managers did, with the values before and after. Only ever added to.
//!
//! Values have the names that the API shows them by, so that `after` laid over `before` is what a look at it gives.

use serde::Serialize;

use crate::app::App;
use crate::auth::Manager;
use crate::store::{DbError, Tx, params};

/// Writes down an action in the transaction that does it.
pub async fn record<T: Serialize>(
    tx: &mut Tx,
    app: &App,
    manager: &Manager,
    action: &str,
    before: Option<&T>,
    after: Option<&T>,
) -> Result<(), DbError> {
    let text = |value: Option<&T>| value.and_then(|value| serde_json::to_string(value).ok());
    tx.execute(
        "INSERT INTO audit (venue_id, audit_id, person_id, action, before_value, after_value, at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![manager.venue, app.new_id().to_string(), manager.person.as_str(), action, text(before), text(after), app.now_ms()],
    )
    .await
    .map(|_| ())
}
