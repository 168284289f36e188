//! Jobs: finding them, and what people can do to one.

use axum::body::Body;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::broker::group::GroupName;
use crate::broker::io::{CommandError, JobCommand};
use crate::broker::job::{Header, JobId, JobState, Place, Priority};
use crate::http_api::json::{JobJson, ResultJson};
use crate::http_api::standing;
use crate::store::{Attempt, Filter, JobRecord};
use crate::trace::Context;

use super::AdminState;
use super::answer::Json;
use super::error::AdminError;
use super::pages::{self, JobPage};
use super::params::{FromParams, JobSegment, Nothing, Paging, Params, Strict};
use super::redrive;
use super::request_json::RequestJson;
use super::who::Who;

/// Which jobs to list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // documents what `Listing` reads
pub(super) struct ListingParams {
    /// Only this target's.
    target: Option<String>,
    /// Only in this state: `scheduled`, `queued`, `running`, `waiting`, `verifying`, `succeeded`,
    /// `failed`, `expired` or `cancelled`.
    state: Option<String>,
    /// Only of this priority: `HIGH`, `NORMAL` or `BATCH`, in any case.
    priority: Option<String>,
    /// Only of this group.
    group: Option<String>,
    /// At most so many, up to 500.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// The `next` of the page before.
    after: Option<String>,
}

pub(super) struct Listing {
    target: Option<String>,
    state: Option<JobState>,
    priority: Option<Priority>,
    group: Option<GroupName>,
    paging: Paging,
}

impl FromParams for Listing {
    const NAMES: &'static [&'static str] =
        &["target", "state", "priority", "group", "limit", "after"];

    fn from_params(params: &Params) -> Result<Listing, AdminError> {
        Ok(Listing {
            target: params.text("target").map(str::to_owned),
            state: params.state()?,
            priority: params.parse("priority", "HIGH, NORMAL or BATCH")?,
            group: params.parse("group", "a group's name of 1 to 128 bytes")?,
            paging: Paging::from_params(params)?,
        })
    }
}

#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", operation_id = "list_jobs",
    summary = "Jobs",
    description = "In the order of the store's index for the state that is asked for: `queued` by \
        target, priority and place in line, then those that wait behind others of their group; `scheduled` and `waiting` by their time; those that \
        ended by the time of their end; `running`, and all without a state, by submission. A page can be shorter than `limit`, even empty, while `next` says that there \
        is more: a filter that few jobs pass is not searched for ever.",
    params(ListingParams),
    responses((status = 200, body = JobPage)),
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    Strict(listing): Strict<Listing>,
) -> Result<Json<JobPage>, AdminError> {
    let target = listing.target.as_deref().map(|name| state.target_id(name)).transpose()?;
    let Listing { state: in_state, priority, group, paging, .. } = listing;
    let filter = Filter { target, state: in_state, priority, group };
    let page = state
        .look(move |records| {
            pages::fill(paging, |after, limit| records.list(&filter, after, limit))
        })
        .await?;
    Ok(Json(JobPage::new(&page, &state.handle.directory())))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // documents what `Detail` reads
pub(super) struct DetailParams {
    /// Whether to show the request too, less what looks like a secret.
    #[param(default = false)]
    request: Option<bool>,
}

pub(super) struct Detail {
    request: bool,
}

impl FromParams for Detail {
    const NAMES: &'static [&'static str] = &["request"];
    fn from_params(params: &Params) -> Result<Detail, AdminError> {
        Ok(Detail { request: params.parse("request", "true or false")?.unwrap_or(false) })
    }
}

/// A job, with its request where that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobDetail {
    #[serde(flatten)]
    job: JobJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestJson>,
    /// The request that it came with, where somebody changed it since.
    #[serde(skip_serializing_if = "Option::is_none")]
    original_request: Option<RequestJson>,
    /// Of a job that has not succeeded: the last ten answers of its target, oldest first, each
    /// with 4 KiB of its body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    answers: Vec<AttemptJson>,
}

/// What was answered to one request of a job.
#[derive(Debug, Serialize, ToSchema)]
struct AttemptJson {
    at: String,
    /// The attempt at its work; for a question the one that it asks about.
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<u32>,
    #[serde(flatten)]
    answer: ResultJson,
}

impl AttemptJson {
    fn new(attempt: &Attempt) -> AttemptJson {
        let Attempt { at, attempt, question, answer } = attempt;
        let (at, answer) = (at.to_string(), ResultJson::new(answer));
        AttemptJson { at, attempt: *attempt, question: *question, answer }
    }
}

#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "show_job",
    summary = "One job with its history and the last answer",
    params(("id" = String, Path, description = "The job's id"), DetailParams),
    responses((status = 200, body = JobDetail)),
)]
pub(super) async fn show(
    State(state): State<AdminState>,
    JobSegment(id): JobSegment,
    Strict(detail): Strict<Detail>,
) -> Result<Json<JobDetail>, AdminError> {
    let (record, answer, requests, attempts, ahead, trace) = state
        .look(move |records| {
            let request = records.request(id)?;
            let trace = request.as_ref().map(|request| Context::of(id, request).trace);
            let requests = match detail.request {
                true => (request, records.original(id)?),
                false => (None, None),
            };
            let record = records.job(id)?;
            let group = record.as_ref().and_then(JobRecord::waits_in);
            let ahead = group.map_or(Ok(None), |group| records.head_of(&group))?;
            let answer = records.answer(id)?;
            Ok((record, answer, requests, records.attempts(id)?, ahead, trace))
        })
        .await?;
    let record = record.ok_or(AdminError::NoSuchJob(id))?;
    let position = standing::of(&state.handle, &record).await;
    let job = JobJson::new(&record, &state.handle.directory(), answer.as_ref());
    let mut job = job.standing(position).traced(trace);
    job.behind = ahead.map(|id| id.to_string());
    Ok(Json(JobDetail {
        job,
        request: requests.0.map(RequestJson::new),
        original_request: requests.1.map(RequestJson::new),
        answers: attempts.iter().map(AttemptJson::new).collect(),
    }))
}

/// What can be changed of a job.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JobPatch {
    /// `HIGH`, `NORMAL` or `BATCH`, in any case.
    #[schema(example = "HIGH")]
    priority: String,
}

impl JobPatch {
    /// Of a body, in bytes.
    const MOST: usize = 4 * 1024;

    async fn read(body: Body) -> Result<Priority, AdminError> {
        let body = redrive::read(body, JobPatch::MOST).await?;
        // serde would also take an array of the fields' values.
        let object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&body);
        let patch = object.and_then(|_| serde_json::from_slice::<JobPatch>(&body));
        let patch = patch.map_err(|error| {
            if error.is_data() {
                AdminError::Senseless(error.to_string())
            } else {
                AdminError::NotJson(error.to_string())
            }
        })?;
        let priority = patch.priority.parse();
        priority
            .map_err(|error| AdminError::Senseless(format!("{error}, not {:?}", patch.priority)))
    }
}

#[utoipa::path(
    patch, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "change_job",
    summary = "Change the priority of a job that has not been sent",
    params(("id" = String, Path, description = "The job's id")),
    request_body = JobPatch,
    responses((status = 200, body = JobJson)),
)]
pub(super) async fn patch(
    State(state): State<AdminState>,
    JobSegment(job): JobSegment,
    _: Strict<Nothing>,
    who: Who,
    body: Body,
) -> Result<Json<JobJson>, AdminError> {
    let priority = JobPatch::read(body).await?;
    state.change(JobCommand::Reprioritize { job, priority, by: who.by() }, &who).await
}

#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel", tag = "jobs", operation_id = "cancel_job",
    summary = "Cancel a job that is not being sent",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 200, body = JobJson)),
)]
pub(super) async fn cancel(
    State(state): State<AdminState>,
    JobSegment(job): JobSegment,
    _: Strict<Nothing>,
    who: Who,
) -> Result<Json<JobJson>, AdminError> {
    let by = who.name().map_or_else(String::new, |name| format!(" by {name}"));
    let reason = Some(format!("cancelled{by} over the admin address"));
    state.change(JobCommand::Cancel { job, even_if_tried: true, reason }, &who).await
}

/// How many dead jobs were forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Purged {
    pub(super) purged: u64,
}

#[utoipa::path(
    delete, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "purge_job",
    summary = "Forget a dead job",
    description = "At the data address the same method cancels a job; here it takes only a dead \
        one, and nothing of it is left.",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 200, body = Purged)),
)]
pub(super) async fn purge(
    State(state): State<AdminState>,
    JobSegment(job): JobSegment,
    _: Strict<Nothing>,
    who: Who,
) -> Result<Json<Purged>, AdminError> {
    state.command(JobCommand::Purge { job }, &who).await?;
    Ok(Json(Purged { purged: 1 }))
}

impl AdminState {
    async fn command(&self, command: JobCommand, who: &Who) -> Result<(Header, Place), AdminError> {
        let id = command.job();
        let (rule, what) = (rule(&command), told(&command));
        let done = self.handle.command(command).await?.map_err(|error| match error {
            CommandError::NoSuchJob => AdminError::NoSuchJob(id),
            CommandError::Conflict { state } => AdminError::Conflict { id, state, rule },
            CommandError::Draining => AdminError::Draining,
            CommandError::Overtaken { by } => AdminError::Overtaken { id, by },
        })?;
        let directory = self.handle.directory();
        tracing::info!(by = %who, job = %id, target = directory.name(done.0.target), "{what}");
        Ok(done)
    }

    /// Answers with the job as it is once the change is durable.
    pub(super) async fn change(
        &self,
        command: JobCommand,
        who: &Who,
    ) -> Result<Json<JobJson>, AdminError> {
        let id: JobId = command.job();
        let (header, place) = self.command(command, who).await?;
        // It is changed: that its history cannot be read must not look like a failure.
        let read = self.look(move |records| Ok((records.job(id)?, records.answer(id)?))).await;
        let (record, answer) = read.unwrap_or_default();
        let record = record.unwrap_or(JobRecord { header, place, history: Vec::new() });
        Ok(Json(JobJson::new(&record, &self.handle.directory(), answer.as_ref())))
    }
}

/// For the log.
fn told(command: &JobCommand) -> &'static str {
    match command {
        JobCommand::Cancel { .. } => "job cancelled",
        JobCommand::Reprioritize { .. } => "priority of a job changed",
        JobCommand::Redrive { .. } => "dead job redriven",
        JobCommand::Purge { .. } => "dead job purged",
        JobCommand::TellAgain { .. } => "callback of a job redriven",
    }
}

/// Ends the sentence that begins with the job's state.
fn rule(command: &JobCommand) -> &'static str {
    match command {
        JobCommand::Cancel { .. } => {
            "one that is being sent, or has ended, cannot be cancelled any more"
        }
        JobCommand::Reprioritize { .. } => {
            "the priority of one that is being sent, or has ended, cannot be changed any more"
        }
        JobCommand::Redrive { .. } => "only a dead one (failed or expired) can be redriven",
        JobCommand::Purge { .. } => {
            "only a dead one (failed or expired) can be purged, and only once its task token and its \
             callback have been answered or given up"
        }
        JobCommand::TellAgain { .. } => {
            "only one that has ended, and was submitted with a callback, has somebody to tell"
        }
    }
}
