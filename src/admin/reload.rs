//! Reloading the configuration.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::reload::ReloadError;

use super::AdminState;
use super::answer::Json;
use super::error::AdminError;
use super::params::{Nothing, Strict};
use super::who::Who;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reloaded {
    #[schema(example = true)]
    reloaded: bool,
    /// What changed and is not in force before the next start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    at_next_start: Vec<&'static str>,
}

#[utoipa::path(
    post, path = "/v1/reload", tag = "configuration", operation_id = "reload",
    summary = "Read the configuration file again and apply it, all of it or nothing",
    description = "422 where the file is not valid: `detail` says everything that is wrong with \
        it, `errors` the same line by line, and nothing has changed.",
    responses((status = 200, body = Reloaded)),
)]
pub(super) async fn reload(
    State(state): State<AdminState>,
    _: Strict<Nothing>,
    who: Who,
) -> Result<Json<Reloaded>, AdminError> {
    tracing::info!(by = %who, "reload asked for");
    answer(state.reloader.reload().await)
}

pub(super) fn answer(
    result: Result<Vec<&'static str>, ReloadError>,
) -> Result<Json<Reloaded>, AdminError> {
    Ok(Json(Reloaded { reloaded: true, at_next_start: result? }))
}
