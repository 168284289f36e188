//! The description of both addresses, generated from the code.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use utoipa::openapi::path::{Operation, Parameter, PathItem};
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
        super::plan::plan,
        super::targets::pause,
        super::targets::resume,
        super::dead::list,
        super::dead::errors,
        super::dead::purge,
        super::dead::redrive,
        super::jobs::list,
        super::jobs::show,
        super::jobs::patch,
        super::jobs::purge,
        super::redrive::one,
        super::jobs::cancel,
        super::callbacks::list,
        super::callbacks::undelivered,
        super::callbacks::redrive,
        super::callbacks::redrive_one,
        super::events::stream,
        super::reload::reload,
    ),
    components(schemas(Problem)),
    modifiers(&ErrorsAreProblems),
    tags(
        (name = "targets", description = "Legacy HTTP APIs and what they can bear"),
        (name = "jobs", description = "One HTTP request each, durable"),
        (name = "callbacks", description = "Who is told of a job's end"),
        (name = "dead jobs", description = "Jobs that ended without success"),
        (name = "configuration"),
        (name = "health"),
        (name = "console"),
        (name = "data address", description = "Not here, but at `[server] listen`"),
    ),
)]
struct AdminApi;

/// Every operation can fail in the same shape (RFC 9457).
struct ErrorsAreProblems;

impl Modify for ErrorsAreProblems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            for (_, operation) in operations(item) {
                let content =
                    ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
                let response = ResponseBuilder::new()
                    .description("What is wrong")
                    .content("application/problem+json", content)
                    .build();
                for told in operation.responses.responses.values_mut() {
                    // OpenAPI wants a description of each, and utoipa leaves an empty one out.
                    if let RefOr::T(told) = told
                        && told.description.is_empty()
                    {
                        told.description = "Done, or what was asked for".into();
                    }
                }
                operation.responses.responses.insert("default".into(), RefOr::T(response));
            }
        }
    }
}

/// This address.
pub(super) fn admin() -> utoipa::openapi::OpenApi {
    AdminApi::openapi()
}

/// Both addresses. Where both have the same method at the same path, the operation is this
/// address's, and says what it is at the other.
fn both() -> utoipa::openapi::OpenApi {
    let mut document = admin();
    // The one place where the data address comes in.
    let mut data = crate::sources::openapi();
    let mut ids = BTreeSet::new();
    for (path, item) in &mut data.paths.paths {
        for (method, theirs) in operations(item) {
            theirs.tags.get_or_insert_default().push(DATA.into());
            // The proxy is one operation of many methods; an id may be there once.
            if let Some(id) = &mut theirs.operation_id
                && !ids.insert(id.clone())
            {
                *id = format!("{id}_{method}");
            }
            let ours = document.paths.paths.get_mut(path).map(operations);
            let same = ours.into_iter().flatten().find(|(other, _)| *other == method);
            if let Some((_, ours)) = same {
                let there = theirs.summary.as_deref().or(theirs.description.as_deref());
                let before = ours.description.take().map_or_else(String::new, |text| text + "\n\n");
                ours.description = Some(format!(
                    "{before}At the data address: {}",
                    there.unwrap_or("another one")
                ));
                let parameters = ours.parameters.get_or_insert_default();
                for theirs in theirs.parameters.iter().flatten() {
                    if parameters.iter().all(|ours| name_of(ours) != name_of(theirs)) {
                        parameters.push(theirs.clone());
                    }
                }
                for (status, theirs) in &theirs.responses.responses {
                    let responses = &mut ours.responses.responses;
                    responses.entry(status.clone()).or_insert_with(|| theirs.clone());
                }
            }
        }
    }
    document.merge(data);
    document
}

const DATA: &str = "data address";

fn name_of(parameter: &RefOr<Parameter>) -> Option<&str> {
    match parameter {
        RefOr::T(parameter) => Some(&parameter.name),
        RefOr::Ref(_) => None,
    }
}

/// Those that there are, each with its method.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
        ("options", &mut item.options),
        ("head", &mut item.head),
        ("patch", &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    both().to_json().unwrap_or_else(|error| {
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
