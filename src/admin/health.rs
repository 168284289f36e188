//! What machines ask: is it alive, does it take jobs, what are the figures.

use std::time::Duration;

use axum::extract::State;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use utoipa::ToSchema;

use super::AdminState;
use super::answer::Json;
use super::callbacks::CallbackStanding;
use super::error::AdminError;
use super::params::{Nothing, Strict};
use super::readiness::Readiness;
use super::step_functions_json::StepFunctionsJson;

/// A turn of the loop takes some milliseconds at most: one that lasts so long never ends.
const LOOP_STUCK: Duration = Duration::from_secs(10);
/// A commit takes some milliseconds, on a disk that has much to do some seconds.
const STORE_STUCK: Duration = Duration::from_secs(60);
/// What looks stuck may be a process that was stopped, and goes on now: it has so long to move.
const SECOND_LOOK: Duration = Duration::from_secs(1);

#[utoipa::path(
    get, path = "/healthz", tag = "health", operation_id = "healthz",
    summary = "Whether the process is alive: 503 where only a restart helps",
    description = "Says no where the loop has been at one turn for 10 s, or the store at one \
        commit for a minute. A daemon that drains, or whose disk is full, is alive.",
    responses((status = 200, content_type = "text/plain", body = String)),
)]
pub(super) async fn healthz(
    State(state): State<AdminState>,
    _: Strict<Nothing>,
) -> Result<&'static str, AdminError> {
    let Some(first) = stuck(&state) else { return Ok("ok\n") };
    #[expect(
        clippy::disallowed_methods,
        reason = "whether time passes without it is the question"
    )]
    tokio::time::sleep(SECOND_LOOK).await;
    match stuck(&state) {
        Some(still) if still.work == first.work => {
            Err(AdminError::Stuck { what: still.what, since: still.since })
        }
        _ => Ok("ok\n"),
    }
}

struct StuckAt {
    what: &'static str,
    since: Duration,
    /// Which piece of work.
    work: u64,
}

fn stuck(state: &AdminState) -> Option<StuckAt> {
    let (pulse, now) = (state.handle.pulse(), state.handle.mono_now());
    let parts = [
        ("the loop is at one turn", &pulse.turn, LOOP_STUCK),
        ("the store is at one commit", &pulse.commit, STORE_STUCK),
    ];
    parts.into_iter().find_map(|(what, beat, patience)| {
        let (since, work) = beat.at_work(now)?;
        (since >= patience).then_some(StuckAt { what, since, work })
    })
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// Always; what is not ready is a problem with status 503.
    ready: bool,
    /// Null where the configuration has no `[step_functions]` and nobody waits for an answer.
    step_functions: Option<StepFunctionsJson>,
    /// Left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    callbacks: Vec<CallbackStanding>,
}

/// A loop that does not answer for so long takes no jobs either.
const PATIENCE: Duration = Duration::from_secs(2);
/// Nor does a store that has been writing one commit for so long: nothing is acknowledged.
const SLOW_COMMIT: Duration = Duration::from_secs(5);

#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "readyz",
    summary = "Whether jobs are taken: 503 while draining, or where store or disk forbid it",
    description = "Trouble with Step Functions, or with a callback, does not keep jobs from being \
        taken, so it changes the body alone.",
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
    match state.handle.pulse().commit.at_work(state.handle.mono_now()) {
        Some((since, _)) if since >= SLOW_COMMIT => return Err(AdminError::SlowCommit(since)),
        _ => {}
    }
    let asked = async {
        state.handle.view().await?;
        let has_room = state.look(|records| Ok(records.has_room())).await?;
        Ok((has_room, state.step_functions().await?, state.callbacks().await?))
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok((true, step_functions, callbacks))) => {
            let callbacks = callbacks.into_iter().map(CallbackStanding::without_url).collect();
            Ok(Json(Ready { ready: true, step_functions, callbacks }))
        }
        Ok(Ok((false, ..))) => Err(AdminError::DiskLow),
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
