//! What was done in a venue, by whom, and what it changed.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::people;
use crate::app::App;
use crate::auth::Manager;
use crate::extract::{Json, Query};
use crate::page::{self, PageAsked};
use crate::problem::{ApiError, Problem};
use crate::store::{DbError, Row, params};

/// Something that was done.
#[derive(Serialize, ToSchema)]
pub struct AuditEntry {
    id: String,
    at_ms: i64,
    /// Who did it.
    person_id: String,
    /// Their name now; nothing for somebody who does not work here any more.
    person: Option<String>,
    /// `zone.change`, `gate.create`, `pass.block` and so on.
    action: String,
    /// What was there, as the API showed it; `null` for something new.
    #[schema(value_type = Option<Object>)]
    before: serde_json::Value,
    /// What is there since. Laid over `before` it is the new state.
    #[schema(value_type = Option<Object>)]
    after: serde_json::Value,
}

/// Which entries.
#[derive(Deserialize)]
pub struct Wanted {
    action: Option<String>,
    limit: Option<i64>,
    after: Option<String>,
}

/// What was done, newest first; the `Link` header of a full page leads to the next. For owners and managers: it is about
/// what each of them did. Nothing can change it.
#[utoipa::path(get, path = "/v1/venues/{venue}/audit", tag = "people",
    params(("venue" = String, Path), ("action" = Option<String>, Query, description = "only entries of this action, for example zone.change"), ("limit" = Option<i64>, Query, description = "1 to 500, usually 100"), ("after" = Option<String>, Query, description = "from the Link header of the page before")),
    responses((status = 200, body = Vec<AuditEntry>), (status = 403, body = Problem, content_type = "application/problem+json"), (status = 404, body = Problem, content_type = "application/problem+json"), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    State(app): State<App>,
    manager: Manager,
    Query(wanted): Query<Wanted>,
) -> Result<(HeaderMap, Json<Vec<AuditEntry>>), ApiError> {
    let asked = PageAsked::new(wanted.limit, wanted.after);
    let (limit, place) = (asked.limit()?, asked.place()?);
    let known = |action: &String| action.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.' || byte == b'_');
    if !wanted.action.as_ref().is_none_or(known) {
        return Err(ApiError::field("/action", "An action is a word like zone.change."));
    }
    let of_action = if wanted.action.is_some() { " AND action = $4" } else { "" };
    let sql = format!(
        "SELECT audit_id, at_ms, person_id, action, before_value, after_value FROM audit WHERE venue_id = $1 AND (at_ms < $2 OR (at_ms = $2 AND audit_id > $3)){of_action} ORDER BY at_ms DESC, audit_id LIMIT {limit}"
    );
    let mut values = params![manager.venue, place.at_ms, place.id].to_vec();
    values.extend(wanted.action.clone().map(crate::store::Value::from));
    let entries = app
        .db()
        .read(async |tx| {
            let (names, _) = people::names(tx, manager.venue).await?;
            let rows = tx.query(&sql, &values).await?;
            rows.iter().map(|row| entry(row, &names)).collect::<Result<Vec<_>, DbError>>()
        })
        .await?;
    let last = entries.last().map(|entry| (entry.at_ms, entry.id.as_str()));
    let query = wanted.action.as_ref().map(|action| format!("?action={action}")).unwrap_or_default();
    let path = format!("/v1/venues/{}/audit{query}", manager.venue);
    Ok((page::more(&path, limit, entries.len(), last), Json(entries)))
}

fn entry(row: &Row, names: &BTreeMap<String, String>) -> Result<AuditEntry, DbError> {
    let value = |text: Option<String>| match text {
        None => Ok(serde_json::Value::Null),
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| DbError::Statement(format!("an entry of the audit can't be read: {error}"))),
    };
    let person_id: String = row.get(2)?;
    Ok(AuditEntry {
        id: row.get(0)?,
        at_ms: row.get(1)?,
        person: names.get(&person_id).cloned(),
        person_id,
        action: row.get(3)?,
        before: value(row.get(4)?)?,
        after: value(row.get(5)?)?,
    })
}
