//! The dead jobs of a target: looking at them, sending them again, forgetting them.

use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::broker::io::Sweep;
use crate::store::DeadFilter;

use super::AdminState;
use super::answer::Json;
use super::error::AdminError;
use super::jobs::Purged;
use super::pages::{self, JobPage};
use super::params::{FromParams, Nothing, Paging, Params, Segment, Strict};
use super::who::Who;

/// Which dead jobs, and which part of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // documents what `Listing` reads
pub(super) struct ListingParams {
    /// Only those that died of this, e.g. `Tollgate.Http.404`.
    code: Option<String>,
    /// Only of this priority: `HIGH`, `NORMAL` or `BATCH`, in any case.
    priority: Option<String>,
    /// At most so many, up to 500.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// The `next` of the page before.
    after: Option<String>,
}

pub(super) struct Listing {
    filter: DeadFilter,
    paging: Paging,
}

impl FromParams for Listing {
    const NAMES: &'static [&'static str] = &["code", "priority", "limit", "after"];

    fn from_params(params: &Params) -> Result<Listing, AdminError> {
        let filter = DeadFilter {
            code: params.text("code").map(str::to_owned),
            priority: params.parse("priority", "HIGH, NORMAL or BATCH")?,
        };
        Ok(Listing { filter, paging: Paging::from_params(params)? })
    }
}

#[utoipa::path(
    get, path = "/v1/targets/{target}/dead", tag = "dead jobs", operation_id = "list_dead_jobs",
    summary = "Jobs of a target that ended without success, newest first",
    description = "A page can be shorter than `limit`, even empty, while `next` says that there \
        is more: a filter that few jobs pass is not searched for ever.",
    params(("target" = String, Path, description = "The target's name"), ListingParams),
    responses((status = 200, body = JobPage)),
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    Segment(name): Segment,
    Strict(Listing { filter, paging }): Strict<Listing>,
) -> Result<Json<JobPage>, AdminError> {
    let target = state.target_id(&name)?;
    let page = state
        .look(move |records| {
            pages::fill(paging, |after, limit| records.dead(target, &filter, after, limit))
        })
        .await?;
    Ok(Json(JobPage::new(&page, &state.handle.directory())))
}

/// Where to go on.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // documents what `After` reads
pub(super) struct AfterParams {
    /// The `next` of the answer before.
    after: Option<String>,
}

pub(super) struct After(Option<String>);

impl FromParams for After {
    const NAMES: &'static [&'static str] = &["after"];

    fn from_params(params: &Params) -> Result<After, AdminError> {
        Ok(After(params.text("after").map(str::to_owned)))
    }
}

/// What dead jobs died of.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadErrors {
    /// Most frequent first; of the jobs that were looked at.
    errors: Vec<DeadError>,
    /// How many that were: 10,000 at most.
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
    params(("target" = String, Path, description = "The target's name"), AfterParams),
    responses((status = 200, body = DeadErrors)),
)]
pub(super) async fn errors(
    State(state): State<AdminState>,
    Segment(name): Segment,
    Strict(After(after)): Strict<After>,
) -> Result<Json<DeadErrors>, AdminError> {
    let target = state.target_id(&name)?;
    let tally = state.look(move |records| records.deaths(target, after.as_deref())).await?;
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
    let errors: Vec<DeadError> = errors.collect();
    let looked_at = errors.iter().map(|error| error.count).sum();
    Ok(Json(DeadErrors { errors, looked_at, next: tally.next.map(|next| next.to_string()) }))
}

#[utoipa::path(
    delete, path = "/v1/targets/{target}/dead", tag = "dead jobs", operation_id = "purge_dead_jobs",
    summary = "Forget every job of a target that is dead now",
    params(("target" = String, Path, description = "The target's name")),
    responses((status = 200, body = Purged)),
)]
pub(super) async fn purge(
    State(state): State<AdminState>,
    Segment(name): Segment,
    _: Strict<Nothing>,
    who: Who,
) -> Result<Json<Purged>, AdminError> {
    let target = state.target_id(&name)?;
    let purged = state.handle.sweep(target, Sweep::Purge).await?;
    tracing::info!(by = %who, target = name, jobs = purged, "dead jobs purged");
    Ok(Json(Purged { purged }))
}

/// How many dead jobs are queued again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Redriven {
    redriven: u64,
}

#[utoipa::path(
    post, path = "/v1/targets/{target}/dead/redrive", tag = "dead jobs", operation_id = "redrive_dead_jobs",
    summary = "Put every job of a target that is dead now at the end of its queue",
    params(("target" = String, Path, description = "The target's name")),
    responses((status = 200, body = Redriven)),
)]
pub(super) async fn redrive(
    State(state): State<AdminState>,
    Segment(name): Segment,
    _: Strict<Nothing>,
    who: Who,
) -> Result<Json<Redriven>, AdminError> {
    let target = state.target_id(&name)?;
    let redriven = state.handle.sweep(target, Sweep::Redrive).await?;
    tracing::info!(by = %who, target = name, jobs = redriven, "dead jobs redriven");
    Ok(Json(Redriven { redriven }))
}
