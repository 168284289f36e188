//! The overview page and its files.

use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;

use super::params::{Nothing, Strict};

type File = ([(http::HeaderName, &'static str); 1], &'static str);

fn file(kind: &'static str, text: &'static str) -> File {
    ([(CONTENT_TYPE, kind)], text)
}

#[utoipa::path(
    get, path = "/", tag = "console", operation_id = "console",
    summary = "The console: how the targets stand, for people",
    responses((status = 200, content_type = "text/html", body = String)),
)]
pub(super) async fn page(_: Strict<Nothing>) -> impl IntoResponse {
    file("text/html; charset=utf-8", include_str!("console/index.html"))
}

pub(super) async fn style() -> impl IntoResponse {
    file("text/css; charset=utf-8", include_str!("console/console.css"))
}

pub(super) async fn script() -> impl IntoResponse {
    file("text/javascript; charset=utf-8", include_str!("console/console.js"))
}

pub(super) async fn icon() -> impl IntoResponse {
    file("image/svg+xml", include_str!("console/icon.svg"))
}
