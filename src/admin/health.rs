//! What machines ask: is it alive, does it take jobs, what are the figures.

use std::time::Duration;

use axum::extract::State;
use http::header::CONTENT_TYPE;

use super::AdminState;
use super::error::AdminError;
use super::params::{Nothing, Strict};
use super::readiness::Readiness;

#[utoipa::path(
    get, path = "/healthz", tag = "health", operation_id = "healthz",
    summary = "Whether the process is alive",
    responses((status = 200, content_type = "text/plain", body = String)),
)]
pub(super) async fn healthz(_: Strict<Nothing>) -> &'static str {
    "ok\n"
}

/// A loop that does not answer for so long takes no jobs either.
const PATIENCE: Duration = Duration::from_secs(2);

#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "readyz",
    summary = "Whether jobs are taken: 503 while draining, or where store or disk forbid it",
    responses((status = 200, content_type = "text/plain", body = String)),
)]
pub(super) async fn readyz(
    State(state): State<AdminState>,
    _: Strict<Nothing>,
) -> Result<&'static str, AdminError> {
    match state.readiness.get() {
        Readiness::Ready => {}
        Readiness::Draining => return Err(AdminError::Draining),
        Readiness::StoreFailed(reason) => return Err(AdminError::StoreFailed(reason)),
    }
    let asked = async {
        state.handle.view().await?;
        state.look(|records| Ok(records.has_room())).await
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(true)) => Ok("ready\n"),
        Ok(Ok(false)) => Err(AdminError::DiskLow),
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
    let space = state.look(|records| Ok(records.space())).await?;
    let text = state.metrics.render(&view, &space);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}
