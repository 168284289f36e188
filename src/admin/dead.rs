//! The dead jobs of a target: looking at them, sending them again, forgetting them.

use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::broker::io::{DeadFilter, Sweep};

use super::AdminState;
use super::answer::Json;
use super::error::AdminError;
use super::jobs::Purged;
use super::pages::{self, JobPage};
use super::params::{FromParams, Paging, Params, Segment, Strict};
use super::redrive::{PaceParams, Paced, Which, WhichParams, filter};
use super::who::Who;

/// Which part of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // documents what `Listing` reads
pub(super) struct PagingParams {
    /// At most so many, up to 500.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// The `next` of the page before.
    after: Option<String>,
}

pub(super) struct Listing {
    which: DeadFilter,
    paging: Paging,
}

impl FromParams for Listing {
    const NAMES: &'static [&'static str] =
        &["error", "priority", "older_than", "newer_than", "limit", "after"];

    fn from_params(params: &Params) -> Result<Listing, AdminError> {
        Ok(Listing { which: filter(params)?, paging: Paging::from_params(params)? })
    }
}

#[utoipa::path(
    get, path = "/v1/targets/{target}/dead", tag = "dead jobs", operation_id = "list_dead_jobs",
    summary = "Jobs of a target that ended without success, newest first",
    description = "A page can be shorter than `limit`, even empty, while `next` says that there \
        is more: a filter that few jobs pass is not searched for ever.",
    params(("target" = String, Path, description = "The target's name"), WhichParams, PagingParams),
    responses((status = 200, body = JobPage)),
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    Segment(name): Segment,
    Strict(Listing { which, paging }): Strict<Listing>,
) -> Result<Json<JobPage>, AdminError> {
    let target = state.target_id(&name)?;
    let page = state
        .look(move |records| {
            pages::fill(paging, |after, limit| records.dead(target, &which, after, limit))
        })
        .await?;
    Ok(Json(JobPage::new(&page, &state.handle.directory())))
}

/// Where to go on.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // documents what `Stretch` reads
pub(super) struct AfterParams {
    /// The `next` of the answer before.
    after: Option<String>,
}

pub(super) struct Stretch {
    which: DeadFilter,
    after: Option<String>,
}

impl FromParams for Stretch {
    const NAMES: &'static [&'static str] =
        &["error", "priority", "older_than", "newer_than", "after"];

    fn from_params(params: &Params) -> Result<Stretch, AdminError> {
        Ok(Stretch { which: filter(params)?, after: params.text("after").map(str::to_owned) })
    }
}

/// What dead jobs died of.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadErrors {
    /// Most frequent first; of the jobs that were looked at, those that fit.
    errors: Vec<DeadError>,
    /// How many were looked at: 10,000 at most.
    looked_at: u64,
    /// To be given as `after` for the next stretch; null at the end.
    next: Option<String>,
}

/// Those that died of the same.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadError {
    #[schema(example = "Tollgate.Http.404")]
    code: String,
    state: &'static str,
    count: u64,
    oldest: String,
    newest: String,
    /// The id of the newest one.
    example: String,
}

#[utoipa::path(
    get, path = "/v1/targets/{target}/dead/errors", tag = "dead jobs",
    operation_id = "list_dead_errors",
    summary = "What the dead jobs of a target died of, and how many of each",
    description = "From the newest back, 10,000 jobs at a time: add up what the answers say until \
        `next` is null.",
    params(("target" = String, Path, description = "The target's name"), WhichParams, AfterParams),
    responses((status = 200, body = DeadErrors)),
)]
pub(super) async fn errors(
    State(state): State<AdminState>,
    Segment(name): Segment,
    Strict(Stretch { which, after }): Strict<Stretch>,
) -> Result<Json<DeadErrors>, AdminError> {
    let target = state.target_id(&name)?;
    let tally = state.look(move |records| records.deaths(target, &which, after.as_deref())).await?;
    let errors = tally.deaths.iter().filter_map(|deaths| {
        Some(DeadError {
            code: deaths.end.code()?,
            state: deaths.end.state().as_str(),
            count: deaths.count,
            oldest: deaths.oldest.to_string(),
            newest: deaths.newest.to_string(),
            example: deaths.example.to_string(),
        })
    });
    Ok(Json(DeadErrors {
        errors: errors.collect(),
        looked_at: tally.looked_at,
        next: tally.next.map(|next| next.to_string()),
    }))
}

#[utoipa::path(
    delete, path = "/v1/targets/{target}/dead", tag = "dead jobs", operation_id = "purge_dead_jobs",
    summary = "Forget the jobs of a target that are dead now",
    params(("target" = String, Path, description = "The target's name"), WhichParams),
    responses((status = 200, body = Purged)),
)]
pub(super) async fn purge(
    State(state): State<AdminState>,
    Segment(name): Segment,
    Strict(Which(which)): Strict<Which>,
    who: Who,
) -> Result<Json<Purged>, AdminError> {
    let target = state.target_id(&name)?;
    let told = which.clone();
    let purged = state.handle.sweep(target, Sweep::Purge, which).await?;
    tracing::info!(by = %who, target = name, jobs = purged, which = ?told, "dead jobs purged");
    Ok(Json(Purged { purged }))
}

/// How many dead jobs are queued again, or scheduled to be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Redriven {
    redriven: u64,
}

#[utoipa::path(
    post, path = "/v1/targets/{target}/dead/redrive", tag = "dead jobs", operation_id = "redrive_dead_jobs",
    summary = "Put the jobs of a target that are dead now at the end of its queue",
    params(("target" = String, Path, description = "The target's name"), WhichParams, PaceParams),
    responses((status = 200, body = Redriven)),
)]
pub(super) async fn redrive(
    State(state): State<AdminState>,
    Segment(name): Segment,
    Strict(Paced { which, pace }): Strict<Paced>,
    who: Who,
) -> Result<Json<Redriven>, AdminError> {
    let target = state.target_id(&name)?;
    let told = which.clone();
    let redriven = state.handle.sweep(target, Sweep::Redrive { pace, by: who.by() }, which).await?;
    tracing::info!(
        by = %who, target = name, jobs = redriven, which = ?told, ?pace, "dead jobs redriven"
    );
    Ok(Json(Redriven { redriven }))
}
