//! Sending dead jobs again: one, as it is or changed; or many, at a pace.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use utoipa::IntoParams;

use crate::broker::io::{DeadFilter, Edit, JobCommand};
use crate::broker::job::{JobId, Priority};
use crate::config::{parse_duration, parse_rate};
use crate::handle::Handle;
use crate::http_api::edit::{Edited, JobEdit};
use crate::http_api::fit;
use crate::http_api::json::JobJson;

use super::AdminState;
use super::answer::Json;
use super::error::AdminError;
use super::params::{FromParams, JobSegment, Nothing, Params, Strict};
use super::who::Who;

/// Of the body of an edit, in bytes: as much as a job's body can have, in base64, and a little.
const MOST: usize = 88 * 1024 * 1024;

/// Reads at most `most` bytes of `body`.
pub(super) async fn read(body: Body, most: usize) -> Result<bytes::Bytes, AdminError> {
    // A length that is announced is refused before the body comes.
    if body.size_hint().lower() > most as u64 {
        return Err(AdminError::BodyTooLarge(most));
    }
    let body = Limited::new(body, most).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            AdminError::BodyTooLarge(most)
        } else {
            AdminError::Body(error.to_string())
        }
    })?;
    Ok(body.to_bytes())
}

#[utoipa::path(
    post, path = "/v1/jobs/{id}/redrive", tag = "jobs", operation_id = "redrive_job",
    summary = "Put a dead job at the end of its queue, with all its attempts before it",
    description = "With a body it is changed first; the request that it came with is kept, and \
        shown with the job. A job whose outcome is unknown, at a target that can be asked \
        (`delivery = \"verify\"`), is asked for first, unless its request is changed.",
    params(("id" = String, Path, description = "The job's id")),
    request_body(content = Option<JobEdit>, description = "What to change; nothing without it"),
    responses((status = 200, body = JobJson)),
)]
pub(super) async fn one(
    State(state): State<AdminState>,
    JobSegment(job): JobSegment,
    _: Strict<Nothing>,
    who: Who,
    body: Body,
) -> Result<Json<JobJson>, AdminError> {
    let body = read(body, MOST).await?;
    let edit = if body.is_empty() { None } else { state.edit(job, &body).await? };
    let (edit, by) = (edit.map(Box::new), who.by());
    state.change(JobCommand::Redrive { job, edit, by }, &who).await
}

impl AdminState {
    async fn edit(&self, job: JobId, body: &[u8]) -> Result<Option<Edit>, AdminError> {
        let object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body);
        let edit = object.and_then(|_| serde_json::from_slice::<JobEdit>(body));
        let edit = edit.map_err(|error| {
            if error.is_data() {
                AdminError::Senseless(error.to_string())
            } else {
                AdminError::NotJson(error.to_string())
            }
        })?;
        let mut before = None;
        if edit.rewrites() {
            let found = self.look(move |records| Ok((records.job(job)?, records.request(job)?)));
            let (Some(record), Some(request)) = found.await? else {
                return Err(AdminError::NoSuchJob(job));
            };
            before = Some((record.header, request));
        }
        let request = before.as_ref().map(|(_, request)| request.clone());
        let Edited { priority, request, parts } = edit.apply(request)?;
        if let (Some((header, _)), Some(request)) = (&before, &request)
            && let Some(target) = self.handle.directory().target(header.target)
        {
            fit::check(target, job, request, header.course.wanted)?;
        }
        if parts.is_empty() {
            return Ok(None);
        }
        Ok(Some(Edit { priority, request: request.map(Arc::new), parts }))
    }
}

/// Which dead jobs.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // documents what `Which` reads
pub(super) struct WhichParams {
    /// Only those that ended with this error code, such as `Tollgate.Http.503`.
    error: Option<String>,
    /// Only of this priority, in any case.
    priority: Option<String>,
    /// Only those that died so long ago at least, such as `1d`.
    older_than: Option<String>,
    /// Only those that died so long ago at most, such as `2h`.
    newer_than: Option<String>,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // documents what `Paced` reads
pub(super) struct PaceParams {
    /// So many at a time, such as `5/s`. The first is queued at once, the others are scheduled one
    /// after the other, which a restart does not change; after a long stop those whose time has
    /// passed come together.
    rate: Option<String>,
}

pub(super) struct Which(pub(super) DeadFilter);

pub(super) fn filter(params: &Params) -> Result<DeadFilter, AdminError> {
    const A_DURATION: &str = "a duration such as 30s, 2h or 1d";
    let now = Handle::wall_now();
    let ago = |text: &str| {
        let ago = parse_duration(text)?;
        let millis = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        Some(crate::broker::time::Wall::from_millis(now.as_millis().saturating_sub(millis)))
    };
    Ok(DeadFilter {
        code: params.text("error").map(str::to_owned),
        priority: params.parse::<Priority>("priority", "HIGH, NORMAL or BATCH")?,
        died_before: params.read("older_than", A_DURATION, ago)?,
        died_after: params.read("newer_than", A_DURATION, ago)?,
    })
}

impl FromParams for Which {
    const NAMES: &'static [&'static str] = &["error", "priority", "older_than", "newer_than"];
    fn from_params(params: &Params) -> Result<Which, AdminError> {
        filter(params).map(Which)
    }
}

pub(super) struct Paced {
    pub(super) which: DeadFilter,
    /// From one to the next.
    pub(super) pace: Option<Duration>,
}

impl FromParams for Paced {
    const NAMES: &'static [&'static str] =
        &["error", "priority", "older_than", "newer_than", "rate"];
    fn from_params(params: &Params) -> Result<Paced, AdminError> {
        let rate = params.read("rate", "a rate such as 5/s or 100/min", |text| {
            parse_rate(text).map(crate::broker::policy::Rate::interval)
        })?;
        Ok(Paced { which: filter(params)?, pace: rate })
    }
}
