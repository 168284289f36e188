//! Targets: how they stand, pausing and resuming them.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::io::UnknownTarget;
use crate::broker::job::TargetId;
use crate::handle::Directory;

use super::AdminState;
use super::answer::Json;
use super::callbacks::CallbackStanding;
use super::error::AdminError;
use super::params::{Nothing, Segment, Strict};
use super::step_functions_json::StepFunctionsJson;
use super::target_json::TargetJson;
use super::who::Who;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Targets {
    /// By name.
    targets: Vec<TargetJson>,
    /// Null where the configuration has no `[step_functions]` and nobody waits for an answer.
    step_functions: Option<StepFunctionsJson>,
    /// Left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    callbacks: Vec<CallbackStanding>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Paused {
    #[schema(example = "erp")]
    target: String,
    paused: bool,
}

impl AdminState {
    pub(super) async fn targets(&self) -> Result<Vec<TargetJson>, AdminError> {
        let view = self.handle.view().await?;
        let since = self.recent.observe(&view);
        let directory = self.handle.directory();
        let mut all: Vec<_> = view.targets.iter().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let pulse = self.handle.pulse();
        let shown = all.into_iter().map(|target| {
            let sum = pulse.look(target.id).map(|totals| totals.sum()).unwrap_or_default();
            TargetJson::new(target, view.now, &since, &view.limits, directory.target(target.id))
                .with_totals(sum)
        });
        Ok(shown.collect())
    }

    /// A target that has or had jobs here, configured or not.
    pub(super) fn target_id(&self, name: &str) -> Result<TargetId, AdminError> {
        let directory = self.handle.directory();
        directory.known(name).ok_or_else(|| no_such_target(name, &directory))
    }

    async fn set_paused(
        &self,
        name: String,
        paused: bool,
        who: &Who,
    ) -> Result<Json<Paused>, AdminError> {
        let id = self.target_id(&name)?;
        match self.handle.pause(id, paused).await? {
            Ok(()) => {
                let what = if paused { "target paused" } else { "target resumed" };
                tracing::info!(by = %who, target = name, "{what}");
                Ok(Json(Paused { target: name, paused }))
            }
            Err(UnknownTarget) => Err(no_such_target(&name, &self.handle.directory())),
        }
    }
}

pub(super) fn no_such_target(name: &str, directory: &Directory) -> AdminError {
    let known = directory.configured_names().map(str::to_owned).collect();
    AdminError::NoSuchTarget { name: name.to_owned(), known }
}

#[utoipa::path(
    get, path = "/v1/targets", tag = "targets", operation_id = "list_targets",
    summary = "All targets: limits, depths, ages, state, estimated time to drain",
    responses((status = 200, body = Targets)),
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    _: Strict<Nothing>,
) -> Result<Json<Targets>, AdminError> {
    let targets = state.targets().await?;
    let step_functions = state.step_functions().await?;
    Ok(Json(Targets { targets, step_functions, callbacks: state.callbacks().await? }))
}

#[utoipa::path(
    get, path = "/v1/targets/{target}", tag = "targets", operation_id = "show_target",
    summary = "One target",
    params(("target" = String, Path, description = "The target's name")),
    responses((status = 200, body = TargetJson)),
)]
pub(super) async fn show(
    State(state): State<AdminState>,
    Segment(name): Segment,
    _: Strict<Nothing>,
) -> Result<Json<TargetJson>, AdminError> {
    let shown = state.targets().await?.into_iter().find(|target| target.is_named(&name));
    shown.map(Json).ok_or_else(|| no_such_target(&name, &state.handle.directory()))
}

#[utoipa::path(
    post, path = "/v1/targets/{target}/pause", tag = "targets", operation_id = "pause_target",
    summary = "Send nothing more to a target until it is resumed; its jobs wait",
    description = "Requests under way end as they would. Survives a restart. Pausing a paused \
        target changes nothing.",
    params(("target" = String, Path, description = "The target's name")),
    responses((status = 200, body = Paused)),
)]
pub(super) async fn pause(
    State(state): State<AdminState>,
    Segment(name): Segment,
    _: Strict<Nothing>,
    who: Who,
) -> Result<Json<Paused>, AdminError> {
    state.set_paused(name, true, &who).await
}

#[utoipa::path(
    post, path = "/v1/targets/{target}/resume", tag = "targets", operation_id = "resume_target",
    summary = "Send to a paused target again",
    params(("target" = String, Path, description = "The target's name")),
    responses((status = 200, body = Paused)),
)]
pub(super) async fn resume(
    State(state): State<AdminState>,
    Segment(name): Segment,
    _: Strict<Nothing>,
    who: Who,
) -> Result<Json<Paused>, AdminError> {
    state.set_paused(name, false, &who).await
}
