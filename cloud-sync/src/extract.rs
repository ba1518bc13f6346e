//! Reading requests, with every refusal as a problem.

use std::error::Error;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequest, FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use crate::problem::{ApiError, FieldProblem, too_large};

/// A JSON body.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// The part of the path that names a thing within a venue: `/v1/venues/{venue}/things/{thing}`.
pub struct Within<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Within<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((_, thing)) = Path::<(String, T)>::from_request_parts(parts, state).await?;
        Ok(Self(thing))
    }
}

/// The query.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub struct Query<T>(pub T);

/// The wish to become a WebSocket. As the last argument of a route it is looked at after the caller is known.
pub struct Upgrade(pub WebSocketUpgrade);

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        WebSocketUpgrade::from_request_parts(parts, state).await.map(Self).map_err(|_| {
            ApiError::new(
                StatusCode::UPGRADE_REQUIRED,
                "upgrade",
                "This is a WebSocket",
                "Open it as a WebSocket (version 13). A proxy in front must pass the Upgrade header on.",
            )
            .with_header("upgrade", "websocket".to_owned())
            .with_header("sec-websocket-version", "13".to_owned())
        })
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let field = wrong_field::<serde_json::Error>(&rejection);
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            StatusCode::UNPROCESSABLE_ENTITY => match field {
                Some(field) => Self::field(&field.pointer, field.detail),
                None => Self::field("", WRONG_KIND),
            },
            status @ StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self::new(status, "media_type", "Another media type is needed", "Send application/json.")
            }
            _ => Self::malformed("The body is not JSON, or it ends too early."),
        }
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        let error = Self::malformed("The query after the ? of the address can't be read.");
        match wrong_field::<serde::de::value::Error>(&rejection) {
            Some(field) => error.with_field(field),
            None => error,
        }
    }
}

/// What is said of a value that is another kind of thing, or out of range.
const WRONG_KIND: &str = "This is not the kind of value that is expected here.";

/// Which field a reader stumbled over. Its own words are written for programmers and name our types, so only their kind
/// is told.
fn wrong_field<E: Error + 'static>(rejection: &(dyn Error + 'static)) -> Option<FieldProblem> {
    let mut at = Some(rejection);
    let error = loop {
        let error = at?;
        if let Some(found) = error.downcast_ref::<serde_path_to_error::Error<E>>() {
            break found;
        }
        at = error.source();
    };
    let mut pointer = String::new();
    for segment in error.path() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => push(&mut pointer, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let words = error.inner().to_string();
    let detail = if let Some(name) = words.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        push(&mut pointer, name);
        "This is needed."
    } else if words.starts_with("unknown variant") {
        "This is not one of the values that are known here."
    } else {
        WRONG_KIND
    };
    Some(FieldProblem { pointer, detail: detail.to_owned() })
}

fn push(pointer: &mut String, key: &str) {
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
}
