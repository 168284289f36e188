//! What machines ask: is it alive, does it take jobs, what are the figures.

use std::time::Duration;

use axum::extract::State;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use utoipa::ToSchema;

use super::AdminState;
use super::answer::Json;
use super::error::AdminError;
use super::params::{Nothing, Strict};
use super::readiness::Readiness;
use super::step_functions_json::StepFunctionsJson;

#[utoipa::path(
    get, path = "/healthz", tag = "health", operation_id = "healthz",
    summary = "Whether the process is alive",
    responses((status = 200, content_type = "text/plain", body = String)),
)]
pub(super) async fn healthz(_: Strict<Nothing>) -> &'static str {
    "ok\n"
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// Always; what is not ready is a problem with status 503.
    ready: bool,
    /// Null where the configuration has no `[step_functions]` and nobody waits for an answer.
    step_functions: Option<StepFunctionsJson>,
}

/// A loop that does not answer for so long takes no jobs either.
const PATIENCE: Duration = Duration::from_secs(2);

#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "readyz",
    summary = "Whether jobs are taken: 503 while draining, or where store or disk forbid it",
    description = "Trouble with Step Functions does not keep jobs from being taken, so it changes \
        the body alone.",
    responses((status = 200, body = Ready)),
)]
pub(super) async fn readyz(
    State(state): State<AdminState>,
    _: Strict<Nothing>,
) -> Result<Json<Ready>, AdminError> {
    match state.readiness.get() {
        Readiness::Ready => {}
        Readiness::Draining => return Err(AdminError::Draining),
        Readiness::StoreFailed(reason) => return Err(AdminError::StoreFailed(reason)),
    }
    let asked = async {
        state.handle.view().await?;
        let has_room = state.look(|records| Ok(records.has_room())).await?;
        Ok((has_room, state.step_functions().await?))
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok((true, step_functions))) => Ok(Json(Ready { ready: true, step_functions })),
        Ok(Ok((false, _))) => Err(AdminError::DiskLow),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(AdminError::NoAnswer(PATIENCE)),
    }
}

#[utoipa::path(
    get, path = "/metrics", tag = "health", operation_id = "metrics",
    summary = "Metrics in the Prometheus text format",
    responses((status = 200, content_type = "text/plain", body = String)),
)]
pub(super) async fn metrics(
    State(state): State<AdminState>,
    _: Strict<Nothing>,
) -> Result<([(http::HeaderName, &'static str); 1], String), AdminError> {
    let view = state.handle.view().await?;
    state.recent.observe(&view);
    let bytes = state.look(|records| Ok(records.bytes())).await?;
    let text = state.metrics.render(&view, bytes);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}
