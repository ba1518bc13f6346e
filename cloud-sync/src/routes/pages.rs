//! The dashboard: its files are inside the binary; a debug build reads them from disk.

use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use rust_embed::Embed;

use crate::problem::ApiError;

#[derive(Embed)]
#[folder = "../web/dashboard/dist"]
#[cfg_attr(debug_assertions, allow_missing = true)]
struct Site;

/// Any path that is no route: a file of the dashboard, or the dashboard itself, which knows its own addresses.
pub async fn page(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    if path.starts_with("v1/") || path == "v1" || !matches!(*request.method(), Method::GET | Method::HEAD) {
        return ApiError::not_found("route").into_response();
    }
    if let Some(file) = Site::get(path) {
        // Vite puts a hash of the content into the names under assets/.
        let cache = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
        return ([(CONTENT_TYPE, file.metadata.mimetype().to_owned()), (CACHE_CONTROL, cache.to_owned())], file.data)
            .into_response();
    }
    let is_a_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    match Site::get("index.html") {
        Some(index) if !is_a_file => {
            ([(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-cache")], index.data).into_response()
        }
        Some(_) => ApiError::not_found("file").into_response(),
        None => ApiError::new(
            StatusCode::NOT_FOUND,
            "no_dashboard",
            "The dashboard is not built",
            "Run `cargo xtask web`, then start again. The API works without it: see /openapi.json.",
        )
        .into_response(),
    }
}

/// A route that knows other methods.
pub async fn wrong_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "This can't be done here",
        "The route knows other methods: see /openapi.json.",
    )
}

#[cfg(all(test, not(debug_assertions)))]
mod tests {
    #[test]
    fn a_release_carries_its_dashboard() {
        assert!(super::Site::get("index.html").is_some());
    }
}
