//! The dead jobs of a target: looking at them, sending them again, forgetting them.

use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::broker::io::Sweep;

use super::AdminState;
use super::answer::Json;
use super::error::AdminError;
use super::jobs::Purged;
use super::pages::{self, JobPage};
use super::params::{Paging, Segment, Strict};
use super::redrive::{PaceParams, Paced, Which, WhichParams};

/// Which part of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // documents what `Paging` reads
pub(super) struct PagingParams {
    /// At most so many, up to 500.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// The `next` of the page before.
    after: Option<String>,
}

#[utoipa::path(
    get, path = "/v1/targets/{target}/dead", tag = "dead jobs", operation_id = "list_dead_jobs",
    summary = "Jobs of a target that ended without success, newest first",
    params(("target" = String, Path, description = "The target's name"), PagingParams),
    responses((status = 200, body = JobPage)),
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    Segment(name): Segment,
    Strict(paging): Strict<Paging>,
) -> Result<Json<JobPage>, AdminError> {
    let target = state.target_id(&name)?;
    let page = state
        .look(move |records| pages::fill(paging, |after, limit| records.dead(target, after, limit)))
        .await?;
    Ok(Json(JobPage::new(&page, &state.handle.directory())))
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
) -> Result<Json<Purged>, AdminError> {
    let target = state.target_id(&name)?;
    Ok(Json(Purged { purged: state.handle.sweep(target, Sweep::Purge, which).await? }))
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
) -> Result<Json<Redriven>, AdminError> {
    let target = state.target_id(&name)?;
    let redriven = state.handle.sweep(target, Sweep::Redrive { pace }, which).await?;
    Ok(Json(Redriven { redriven }))
}
