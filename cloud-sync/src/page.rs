//! Long lists in pages: a cursor names the last item that was seen, so that nothing is missed or doubled while new items
//! come in. The `Link` header of a full page leads to the next one.

use axum::http::header::LINK;
use axum::http::{HeaderMap, HeaderValue};
use serde::Deserialize;

use crate::problem::ApiError;

/// Items in a page unless asked otherwise.
const USUAL: i64 = 100;
/// Most items in a page.
const MOST: i64 = 500;

/// Which page.
#[derive(Clone, Default, Deserialize)]
pub struct PageAsked {
    limit: Option<i64>,
    after: Option<String>,
}

/// Where a page begins, newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Items as new as this one or newer were seen, Unix milliseconds.
    pub at_ms: i64,
    /// Of those as new, the ones up to this id.
    pub id: String,
}

impl PageAsked {
    /// The page that these parts of a query name.
    pub fn new(limit: Option<i64>, after: Option<String>) -> Self {
        Self { limit, after }
    }

    /// How many items.
    pub fn limit(&self) -> Result<i64, ApiError> {
        let limit = self.limit.unwrap_or(USUAL);
        if (1..=MOST).contains(&limit) {
            Ok(limit)
        } else {
            Err(ApiError::field("/limit", format!("A page has 1 to {MOST} items.")))
        }
    }

    /// After which item; at first, before all.
    pub fn place(&self) -> Result<Place, ApiError> {
        let Some(cursor) = &self.after else { return Ok(Place { at_ms: i64::MAX, id: String::new() }) };
        let read = || {
            let text = String::from_utf8(hex::decode(cursor).ok()?).ok()?;
            let (at_ms, id) = text.split_once(' ')?;
            Some(Place { at_ms: at_ms.parse().ok()?, id: id.to_owned() })
        };
        read().ok_or_else(|| {
            ApiError::field("/after", "This is not a cursor: follow the Link header of the page before.")
        })
    }
}

/// The `Link` header that leads to the next page (RFC 8288), if this one was full. `path` may have a query.
pub fn more(path: &str, limit: i64, count: usize, last: Option<(i64, &str)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let full = i64::try_from(count).is_ok_and(|count| count == limit);
    if let Some((at_ms, id)) = last.filter(|_| full) {
        let cursor = hex::encode(format!("{at_ms} {id}"));
        let and = if path.contains('?') { '&' } else { '?' };
        if let Ok(link) = HeaderValue::from_str(&format!("<{path}{and}limit={limit}&after={cursor}>; rel=\"next\"")) {
            headers.insert(LINK, link);
        }
    }
    headers
}
