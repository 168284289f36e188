//! `/v1/jobs`: submit, look up, wait for, cancel.

pub(super) mod batch;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use utoipa::ToSchema;

use super::records::{Found, Records, ahead, check_room, find, trace, untold};
use crate::auth::Caller;
use crate::broker::io::{CommandError, JobCommand, Submission, Submitted};
use crate::broker::job::{JobId, JobState};
use crate::broker::payload::Request as JobRequest;
use crate::handle::{Handle, Stopped};
use crate::http_api::body::BodyError;
use crate::http_api::budget::Held;
use crate::http_api::fields::{nearest, shown};
use crate::http_api::new_job::NewJob;
use crate::http_api::problem::{Kind, Problem, method_not_allowed, not_found};
use crate::http_api::server::Closing;
use crate::http_api::submission::validate;
use crate::http_api::{JobJson, Json, body, standing, when};
use crate::trace::{AMAZON, Context, TRACEPARENT, TRACESTATE, TraceId};

/// The longest that `?wait=` waits; who asks for more waits so long and asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Entries of a batch after which other requests have a turn on the same thread: so many take some
/// 100 µs.
const AT_ONCE: usize = 16;
/// What an entry of a batch holds in memory beside its bytes, about: the job, and its answer.
const ENTRY: usize = 512;

pub(super) struct Api {
    handle: Handle,
    records: Arc<dyn Records>,
    max_body: usize,
}

/// `max_body`: of a request, in bytes.
pub fn router(handle: Handle, max_body: usize) -> Router {
    let records = Arc::new(handle.reader().clone());
    with_records(handle, records, max_body)
}

pub(crate) fn with_records(handle: Handle, records: Arc<dyn Records>, max_body: usize) -> Router {
    Router::new()
        .route("/v1/jobs", post(submit))
        .route("/v1/jobs/batch", post(submit_batch))
        .route("/v1/jobs/{id}", get(show).delete(cancel))
        // Here, and not only where routers are put together: nobody can forget it.
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::new(Api { handle, records, max_body }))
}

/// Queues one request. It is durable once this is answered.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs",
    request_body(content = NewJob, content_type = "application/json"),
    responses(
        (status = 202, description = "Durable; or, with `duplicate`, the job that has the \
            `dedup_id` already", body = JobJson,
            headers(("Location" = String, description = "Of the job"))),
        (status = 400, description = "Malformed", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such target", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Well formed, but it makes no sense", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "The queue is full", body = Problem,
            content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "Seconds"))),
        (status = 503, description = "Shutting down, or stopped", body = Problem,
            content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "Seconds"))),
        (status = 507, description = "No room on disk", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn submit(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = caller(&request);
    let (mut head, sent) = request.into_parts();
    let held = head.extensions.remove::<Held>();
    let sent = body::read(sent, api.max_body).await?;
    let submission = api.parse(&sent, &caller, &head.headers)?;
    check_room(&api.records)?;
    let (target, trace) = (submission.target, trace_of(&submission));
    let result = api.handle.submit_one(submission, held).await?;
    let name = api.handle.directory().name(target).to_owned();
    let job = api.submitted(result, &name, trace).await?;
    let location = location("", &job.id);
    let mut response = (StatusCode::ACCEPTED, Json(job)).into_response();
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// An entry of the answer to a batch.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Entry {
    Job(Box<JobJson>),
    Problem(Problem),
}

impl From<Result<JobJson, Problem>> for Entry {
    fn from(result: Result<JobJson, Problem>) -> Entry {
        match result {
            Ok(job) => Entry::Job(Box::new(job)),
            Err(problem) => Entry::Problem(problem),
        }
    }
}

/// The answer to a batch.
#[derive(Serialize, ToSchema)]
pub(super) struct Batch {
    /// In the order of the batch.
    jobs: Vec<Entry>,
}

/// Queues up to 1,000 requests: a JSON array, or one JSON object a line. Those accepted are
/// durable together; one that is not does no harm to the others.
#[utoipa::path(
    post, path = "/v1/jobs/batch", tag = "jobs",
    request_body(content(
        (Vec<NewJob> = "application/json"),
        (NewJob = "application/x-ndjson"),
    )),
    responses(
        (status = 200, description = "Each a job or a problem", body = Batch),
        (status = 400, description = "Malformed", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Too many jobs", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Stopped", body = Problem,
            content_type = "application/problem+json"),
        (status = 507, description = "No room on disk", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn submit_batch(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Json<Batch>, Problem> {
    let lines = batch::says_lines(request.headers().get(CONTENT_TYPE));
    let caller = caller(&request);
    let (mut head, sent) = request.into_parts();
    let held = head.extensions.remove::<Held>();
    let sent = body::read(sent, api.max_body).await?;
    let entries = batch::split(&sent, lines)?;
    // Small entries are much more in memory than on the wire.
    if held.as_ref().is_some_and(|held| !held.grow(entries.len() * ENTRY)) {
        return Err(BodyError::NoRoom.into());
    }
    check_room(&api.records)?;
    let mut jobs = Vec::new();
    // For each entry its problem, or the name of its target and its trace.
    let mut parsed: Vec<Result<(String, TraceId), Problem>> = Vec::with_capacity(entries.len());
    for entry in entries {
        let_others_go(parsed.len()).await;
        parsed.push(api.parse(entry, &caller, &head.headers).map(|submission| {
            let name = api.handle.directory().name(submission.target).to_owned();
            let trace = trace_of(&submission);
            jobs.push(submission);
            (name, trace)
        }));
    }
    let mut results =
        if jobs.is_empty() { Vec::new() } else { api.handle.submit(jobs, held).await? }.into_iter();
    let mut answered = Vec::with_capacity(parsed.len());
    for entry in parsed {
        let_others_go(answered.len()).await;
        answered.push(Entry::from(match entry {
            Ok((name, trace)) => match results.next() {
                Some(result) => api.submitted(result, &name, trace).await,
                None => Err(Stopped.into()),
            },
            Err(problem) => Err(problem),
        }));
    }
    Ok(Json(Batch { jobs: answered }))
}

/// A large batch keeps no thread for itself.
async fn let_others_go(done: usize) {
    if done % AT_ONCE == AT_ONCE - 1 {
        tokio::task::yield_now().await;
    }
}

/// The job as it is, or as it is once it has ended.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs",
    params(
        ("id" = String, Path, description = "The job's id"),
        ("wait" = Option<String>, Query, description = "Wait for the job's end at most so long: \
            a duration such as `20s`, or seconds; at most a minute"),
    ),
    responses(
        (status = 200, description = "The job", body = JobJson),
        (status = 404, description = "No such job", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Not a duration", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Json<JobJson>, Problem> {
    let id = job_id(request.uri())?;
    let wait = wait(request.uri().query())?;
    // Before looking, or an end between the look and the watch would be missed.
    let mut watcher = (!wait.is_zero()).then(|| api.handle.watch(id));
    let caller = caller(&request);
    let mut found = api.find(id, &caller).await?;
    if let Some(watcher) = watcher.as_mut().filter(|_| !found.0.place.is_ended()) {
        let mut closing = request.extensions().get::<Closing>().cloned();
        tokio::select! {
            _ = watcher.ended_within(wait) => {}
            () = begun(&mut closing) => {}
        }
        found = api.find(id, &caller).await?;
    }
    let position = standing::of(&api.handle, &found.0).await;
    let job = JobJson::new(&found.0, &api.handle.directory(), found.1.as_ref());
    let mut job = job.standing(position).traced(trace(&api.records, id).await?);
    job.behind = ahead(&api.records, &found.0).await?.map(|id| id.to_string());
    Ok(Json(job))
}

/// Whom the gate let in; everybody, where there is no gate.
pub(super) fn caller(request: &Request) -> Caller {
    request.extensions().get().cloned().unwrap_or_default()
}

/// # Errors
/// Where the caller's token is not for this target.
pub(super) fn check_target(caller: &Caller, target: &str) -> Result<(), Problem> {
    if caller.may_use(target) {
        return Ok(());
    }
    let detail = format!("this token is not for the target `{}`", shown(target));
    Err(Problem::new(Kind::Forbidden, detail).with("field", "target"))
}

/// Never, where there is no listener that could close.
pub(super) async fn begun(closing: &mut Option<Closing>) {
    match closing {
        Some(closing) => closing.begun().await,
        None => std::future::pending().await,
    }
}

/// Cancels a job that has not been sent.
#[utoipa::path(
    delete, path = "/v1/jobs/{id}", tag = "jobs",
    params(("id" = String, Path, description = "The job's id")),
    responses(
        (status = 200, description = "Cancelled", body = JobJson),
        (status = 404, description = "No such job", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "Sent or ended already; `state` says which",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Shutting down, or stopped", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Json<JobJson>, Problem> {
    let id = job_id(request.uri())?;
    let caller = caller(&request);
    if caller.targets.is_some() {
        api.find(id, &caller).await?;
    }
    let command = JobCommand::Cancel { job: id, even_if_tried: false, reason: None };
    let (header, place) =
        api.handle.command(command).await?.map_err(|error| not_cancelled(error, id))?;
    // With its history, which is as durable as the answer.
    let found = find(&api.records, id).await?;
    let (record, answer) = found.unwrap_or((untold(header, place), None));
    Ok(Json(JobJson::new(&record, &api.handle.directory(), answer.as_ref())))
}

fn not_cancelled(error: CommandError, id: JobId) -> Problem {
    let CommandError::Conflict { state } = error else { return Problem::from((error, id)) };
    let why = match state {
        ended if ended.is_final() => "it has ended",
        JobState::Running => "it is being sent",
        _ => {
            "it has been sent, and the target may have done its work; \
             `tollgate jobs cancel` keeps it from being sent again"
        }
    };
    Problem::new(Kind::JobState, format!("job {id} is {state} and cannot be cancelled: {why}"))
        .with_job(id)
        .with("state", state.as_str())
}

impl Api {
    /// `with`: the headers that it was brought with, not those that it is to be sent with.
    fn parse(&self, json: &[u8], caller: &Caller, with: &HeaderMap) -> Result<Submission, Problem> {
        let job = NewJob::parse(json)?;
        if let Some(target) = &job.target {
            check_target(caller, target)?;
        }
        let (directory, id) = (self.handle.directory(), Handle::new_id());
        let mut submission = validate(job, &directory, Handle::wall_now(), id)?;
        adopt_trace(Arc::make_mut(&mut submission.request), with);
        Ok(submission)
    }

    /// A job of a target that is not for this caller is unknown to it.
    async fn find(&self, id: JobId, caller: &Caller) -> Result<Found, Problem> {
        let found = find(&self.records, id).await?;
        let directory = self.handle.directory();
        found
            .filter(|(record, _)| caller.may_use(directory.name(record.header.target)))
            .ok_or_else(|| Problem::unknown_job(id))
    }

    /// What became of a submission for the target of this name.
    async fn submitted(
        &self,
        result: Submitted,
        target: &str,
        trace_: TraceId,
    ) -> Result<JobJson, Problem> {
        match result {
            Submitted::Accepted { header, place } => {
                let record = untold(header, place);
                let job = JobJson::new(&record, &self.handle.directory(), None);
                Ok(job.traced(Some(trace_)))
            }
            Submitted::Duplicate { id } => {
                let (record, answer) = find(&self.records, id).await?.ok_or_else(|| gone(id))?;
                let directory = self.handle.directory();
                let mut job = JobJson::new(&record, &directory, answer.as_ref());
                job.duplicate = true;
                Ok(job.traced(trace(&self.records, id).await?))
            }
            Submitted::Refused(refusal) => Err(Problem::refused(&refusal, target)),
        }
    }
}

/// A job that says nothing of a trace itself belongs to that of the request that brought it. It is
/// kept with the job's headers, and so survives a restart; what is compared of a `dedup_id` was
/// taken before, because each try has a span of its own.
fn adopt_trace(request: &mut JobRequest, with: &HeaderMap) {
    if Context::in_headers(&request.headers).is_some() {
        return;
    }
    let line = |name: &str| {
        let value = Bytes::copy_from_slice(with.get(name)?.as_bytes());
        Some((name.to_owned(), value))
    };
    let brought: Vec<_> = [TRACEPARENT, AMAZON].into_iter().filter_map(line).collect();
    if Context::in_headers(&brought).is_some() {
        request.headers.retain(|(name, _)| ![TRACEPARENT, TRACESTATE, AMAZON].contains(&&**name));
        request.headers.extend(brought);
        request.headers.extend(line(TRACESTATE));
    }
}

fn trace_of(submission: &Submission) -> TraceId {
    Context::of(submission.id, &submission.request).trace
}

/// The job that held a key was forgotten between the broker's answer and the look-up.
pub(super) fn gone(id: JobId) -> Problem {
    let detail = format!("job {id}, which has this key, was forgotten just now; try again");
    Problem::new(Kind::Stopped, detail).with_retry_after(Duration::ZERO)
}

pub(super) fn location(data: &str, id: &str) -> HeaderValue {
    // An id is hexadecimal digits and hyphens.
    HeaderValue::from_str(&format!("{data}/v1/jobs/{id}"))
        .unwrap_or_else(|_| HeaderValue::from_static("/v1/jobs"))
}

fn job_id(uri: &Uri) -> Result<JobId, Problem> {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    name.parse().map_err(|error| {
        Problem::new(Kind::UnknownJob, format!("there is no job `{}`: {error}", shown(name)))
    })
}

/// `?wait=`, cut to [`LONGEST_WAIT`]; zero where it is not asked for.
fn wait(query: Option<&str>) -> Result<Duration, Problem> {
    let mut wait = Duration::ZERO;
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name != "wait" {
            let hint = nearest(name, ["wait"]).map_or("there is only", |_| "did you mean");
            let name = shown(name);
            let detail = format!("there is no parameter `{name}`; {hint} `wait`");
            return Err(Problem::new(Kind::UnknownField, detail).with("field", name));
        }
        let value = percent_decode_str(value).decode_utf8_lossy();
        wait = when::duration("wait", &value)?.min(LONGEST_WAIT);
    }
    Ok(wait)
}

#[cfg(test)]
mod tests;
