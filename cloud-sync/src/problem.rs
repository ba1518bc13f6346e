//! Every error a caller sees: `application/problem+json` (RFC 9457), made in this one place.
//!
//! `code` is for programs and never changes; `title` and `detail` are for people. Nothing internal is ever told: what
//! went wrong inside is logged here, once, and the caller hears that it was not their fault.

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::keys::KeyError;
use crate::store::DbError;

/// One field that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct FieldProblem {
    /// JSON pointer to the field.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

/// The body of every error.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// A stable name of this kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What exactly, and what to do about it.
    pub detail: String,
    /// The last part of `type`, for programs.
    pub code: String,
    /// The fields that are wrong, if any.
    pub errors: Vec<FieldProblem>,
    /// With `device_revoked`: the venue's signed statement that withdraws the device, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

/// Why a request was not done.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Box<str>,
    errors: Vec<FieldProblem>,
    statement: Option<Box<str>>,
    headers: Vec<(&'static str, String)>,
}

impl ApiError {
    /// A problem of this kind.
    pub fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into().into(), errors: vec![], statement: None, headers: vec![] }
    }

    /// Nobody is logged in.
    pub fn login_needed() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "login_needed", "Not logged in", "Log in, then try again.")
    }

    /// There is no such thing, or it is not the caller's to know.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", format!("There is no such {what} here."))
    }

    /// A field has a value that can't be.
    pub fn field(pointer: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let mut error =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A value is not accepted", detail.clone());
        error.errors.push(FieldProblem { pointer: pointer.to_owned(), detail });
        error
    }

    /// The request can't be read.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request can't be read", detail)
    }

    /// Names a field that kept the request from being read.
    #[must_use]
    pub fn with_field(mut self, field: FieldProblem) -> Self {
        self.errors.push(field);
        self
    }

    /// It clashes with what is there.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, "It clashes with what is there", detail)
    }

    /// Too many attempts; try again after so many seconds.
    pub fn throttled(after_s: i64) -> Self {
        let error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "throttled",
            "Too many attempts",
            if after_s <= 60 {
                format!("Wait {} seconds, then try again.", after_s.max(1))
            } else {
                format!("Wait {} minutes, then try again.", after_s.div_euclid(60) + 1)
            },
        );
        error.with_header("retry-after", after_s.max(1).to_string())
    }

    /// Something failed inside. The caller hears nothing of it, the log everything.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong here",
            "It is not your fault. Nothing was changed; try again.",
        )
    }

    /// Adds the signed statement that proves it to a gate.
    #[must_use]
    pub fn with_statement(mut self, statement: Option<&[u8]>) -> Self {
        self.statement = statement.map(|bytes| hex::encode(bytes).into());
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// What is told of it.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The code, for callers inside.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: format!("/problems/{}", self.code),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.into(),
            code: self.code.to_owned(),
            errors: self.errors,
            statement: self.statement.map(String::from),
        };
        let mut response = (self.status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Storage(_) => {
                tracing::error!(%error, "the database refused");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "storage",
                    "The service can't store anything now",
                    "Nothing was changed. Whoever runs the service must free some disk space.",
                )
                .with_header("retry-after", "60".to_owned())
            }
            DbError::Conflict(_)
            | DbError::Damaged(_)
            | DbError::Foreign
            | DbError::Type { .. }
            | DbError::Closed
            | DbError::Statement(_)
            | DbError::Newer { .. } => Self::internal(&error),
        }
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Db(error) => error.into(),
            KeyError::Sealed | KeyError::Absent(_) => Self::internal(&error),
        }
    }
}

/// The body is larger than anything asked for here.
pub fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The request is too large", "Send less at once.")
}

impl From<PathRejection> for ApiError {
    fn from(_: PathRejection) -> Self {
        Self::not_found("thing")
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            too_large()
        } else {
            Self::malformed(rejection.body_text())
        }
    }
}

/// Turns any refusal that a layer below made in its own words into a problem: no caller ever has to guess.
pub async fn dress(response: Response) -> Response {
    let status = response.status();
    let dressed = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
    if dressed || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (code, title) = match status {
        StatusCode::METHOD_NOT_ALLOWED => ("method", "This can't be done here"),
        StatusCode::NOT_FOUND => ("not_found", "Not found"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "The request is too large"),
        StatusCode::UPGRADE_REQUIRED => ("upgrade", "This is a WebSocket"),
        _ if status.is_server_error() => ("internal", "Something went wrong here"),
        _ => ("malformed", "The request can't be read"),
    };
    let mut new = ApiError::new(status, code, title, "See /openapi.json for what is offered.").into_response();
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            new.headers_mut().insert(name, value.clone());
        }
    }
    new
}
