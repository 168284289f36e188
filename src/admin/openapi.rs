//! The description of both addresses, generated from the code.

use std::sync::LazyLock;

use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::http_api::problem::Problem;

use super::params::{Nothing, Strict};

#[derive(OpenApi)]
#[openapi(
    info(title = "Tollgate"),
    paths(
        super::console::page,
        super::health::metrics,
        super::health::healthz,
        super::health::readyz,
        document,
        super::targets::list,
        super::targets::show,
        super::targets::pause,
        super::targets::resume,
        super::dead::list,
        super::dead::purge,
        super::dead::redrive,
        super::jobs::list,
        super::jobs::show,
        super::jobs::patch,
        super::jobs::purge,
        super::jobs::redrive,
        super::jobs::cancel,
        super::reload::reload,
    ),
    components(schemas(Problem)),
    modifiers(&ErrorsAreProblems),
    tags(
        (name = "targets", description = "Legacy HTTP APIs and what they can bear"),
        (name = "jobs", description = "One HTTP request each, durable"),
        (name = "dead jobs", description = "Jobs that ended without success"),
        (name = "configuration"),
        (name = "health"),
        (name = "console"),
    ),
)]
struct AdminApi;

/// Every operation can fail in the same shape (RFC 9457).
struct ErrorsAreProblems;

impl Modify for ErrorsAreProblems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            let operations: [&mut Option<Operation>; 4] =
                [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let content =
                    ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
                let response = ResponseBuilder::new()
                    .description("What is wrong")
                    .content("application/problem+json", content)
                    .build();
                operation.responses.responses.insert("default".into(), RefOr::T(response));
            }
        }
    }
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let document = AdminApi::openapi();
    // MERGE HERE: `document.merge(crate::sources::openapi())`, the data address. Where both have
    // a method at one path (GET and DELETE of /v1/jobs/{id}), utoipa keeps the one of this side.
    document.to_json().unwrap_or_else(|error| {
        // Maps with string keys always serialize.
        unreachable!("the generated document is not JSON: {error}")
    })
});

#[utoipa::path(
    get, path = "/openapi.json", tag = "health", operation_id = "openapi",
    summary = "This document",
    responses((status = 200, content_type = "application/json", body = serde_json::Value)),
)]
pub(super) async fn document(_: Strict<Nothing>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}
