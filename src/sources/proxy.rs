//! The sidecar proxy: HTTP in, HTTP out, and the queue in between.
//!
//! A caller waits for its job's end and gets the target's own answer. It waits as long as it
//! likes: who hangs up gives up the job, if that was not started. Who prefers `respond-async`
//! gets the job instead of the answer, and the job no longer depends on it.

mod answer;
mod prefer;
mod wishes;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{ALLOW, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;

use self::prefer::Prefer;
use self::wishes::Wishes;
use super::jobs_api::{begun, caller, check_target, gone, location};
use super::records::{Records, check_room, find, untold};
use crate::broker::io::{Dedup, Submission, Submitted};
use crate::broker::job::{Header, JobId, Place, Source};
use crate::broker::payload::{Answer, Request as JobRequest};
use crate::handle::{Caller, Handle, Stopped};
use crate::http_api::budget::Held;
use crate::http_api::problem::{Kind, Problem};
use crate::http_api::server::Closing;
use crate::http_api::submission::{check_answerable, check_size, digest};
use crate::http_api::{JobJson, Json, body, callback_json, fit, path};
use crate::store::JobRecord;

pub(super) struct Proxy {
    handle: Handle,
    records: Arc<dyn Records>,
    /// What a `Location` begins with: nothing where the jobs API is at the same address.
    data: String,
}

/// `/proxy/{target}/…` on the data address.
pub fn router(handle: Handle) -> Router {
    let records = Arc::new(handle.reader().clone());
    with_records(handle, records)
}

pub(crate) fn with_records(handle: Handle, records: Arc<dyn Records>) -> Router {
    Router::new()
        .route("/proxy/{target}", any(proxied))
        .route("/proxy/{target}/", any(proxied))
        .route("/proxy/{target}/{*path}", any(proxied))
        .with_state(Proxy::new(handle, records, String::new()))
}

/// A target's own port, where every path is the target's.
///
/// Its `Location`s lead to the data address at the URL `data`: below this port everything is the target's.
pub fn sidecar_router(handle: Handle, target: String, data: &str) -> Router {
    let records = Arc::new(handle.reader().clone());
    sidecar_with_records(handle, target, records, data)
}

pub(crate) fn sidecar_with_records(
    handle: Handle,
    target: String,
    records: Arc<dyn Records>,
    data: &str,
) -> Router {
    let proxy = Proxy::new(handle, records, data.to_owned());
    Router::new().fallback(move |request: Request| {
        let (proxy, target) = (proxy.clone(), target.clone());
        async move {
            let path = request.uri().path().to_owned();
            proxy.forward(&target, path, request).await
        }
    })
}

/// Sends the request to the target through its queue, and answers with the target's answer.
#[utoipa::path(
    method(get, head, post, put, patch, delete, options),
    path = "/proxy/{target}/{path}", tag = "proxy",
    params(
        ("target" = String, Path, description = "The target's name"),
        ("path" = String, Path, description = "Path and query at the target, passed on as they are"),
        ("Tollgate-Priority" = Option<String>, Header, description = "HIGH, NORMAL or BATCH"),
        ("Tollgate-Delay" = Option<String>, Header, description = "A duration such as `30s`"),
        ("Tollgate-Deadline" = Option<String>, Header, description = "RFC 3339"),
        ("Tollgate-Group" = Option<String>, Header,
            description = "Goes after all that came before it in this group, one at a time"),
        ("Tollgate-Fairness-Key" = Option<String>, Header,
            description = "On whose account it goes: those who share a queue take turns"),
        ("Tollgate-Task-Token" = Option<String>, Header,
            description = "Of a Step Functions task that waits for the job's end"),
        ("Idempotency-Key" = Option<String>, Header,
            description = "A second request with the same one gets the answer to the first"),
        ("Tollgate-Callback" = Option<String>, Header,
            description = "Which of the configured callbacks is told of the job's end"),
        ("Prefer" = Option<String>, Header,
            description = "`respond-async`, `wait=N` (RFC 7240)"),
    ),
    responses(
        (status = "default", description = "The target's own answer", headers(
            ("Tollgate-Job-Id" = String), ("Tollgate-Attempts" = u32))),
        (status = 202, description = "With `Prefer`: the job has not ended yet", body = JobJson,
            headers(("Location" = String), ("Preference-Applied" = String))),
        (status = 404, description = "No such target", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "Somebody cancelled the job", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Makes no sense, or another payload under the same key",
            body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The queue is full", body = Problem,
            content_type = "application/problem+json"),
        (status = 502, description = "The answer cannot be passed on whole", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Shutting down, or stopped", body = Problem,
            content_type = "application/problem+json"),
        (status = 504, description = "The target gave no answer, or the deadline passed",
            body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "No room on disk", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn proxied(
    State(proxy): State<Arc<Proxy>>,
    request: Request,
) -> Result<Response, Problem> {
    // From the target as it was sent: what a router has decoded cannot be passed on as it was.
    let rest = request.uri().path().strip_prefix("/proxy/").unwrap_or_default();
    let (name, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
    let path = path.to_owned();
    proxy.forward(&name, path, request).await
}

/// What is usually asked of a target. Others pass, too; RFC 9110, section 15.5.6 wants a list.
const QUEUED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// How a caller's job stands when there is something to say.
enum Told {
    Ended(Box<Header>, Place, Option<Arc<Answer>>),
    /// The caller's patience is over.
    Later,
}

impl Proxy {
    fn new(handle: Handle, records: Arc<dyn Records>, data: String) -> Arc<Proxy> {
        Arc::new(Proxy { handle, records, data })
    }

    /// `path`: at the target, as it was sent, without the query.
    async fn forward(
        &self,
        target: &str,
        path: String,
        request: Request,
    ) -> Result<Response, Problem> {
        check_target(&caller(&request), target)?;
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            let detail = format!("{} cannot be queued", request.method());
            let problem = Problem::new(Kind::MethodNotAllowed, detail);
            return Ok(([(ALLOW, QUEUED)], problem).into_response());
        }
        let (mut parts, sent) = request.into_parts();
        let closing = parts.extensions.remove::<Closing>();
        let held = parts.extensions.remove::<Held>();
        let wishes = Wishes::read(&parts.headers, Handle::wall_now())?;
        let job = self.request(target, path, &parts, sent, &wishes).await?;
        check_room(&self.records)?;

        let id = job.id;
        // Before the job is handed in, so that there is no moment in which a hang-up is missed.
        let caller = (!wishes.prefer.respond_async).then(|| self.handle.callers().first(id));
        let watcher = self.handle.watch(id);
        let result = match &caller {
            Some(_) => self.handle.submit_and_wait(job, held.clone()).await?,
            None => self.handle.submit_one(job, held.clone()).await?,
        };
        if let Some(held) = held {
            held.release();
        }
        match result {
            Submitted::Accepted { header, place } => {
                let told = self.wait(id, watcher, &wishes.prefer, closing, caller.as_ref()).await;
                self.handle.callers().release(id);
                drop(caller);
                self.answer(id, told?, &parts, &wishes.prefer, untold(header, place)).await
            }
            Submitted::Duplicate { id: first } => {
                // There is no job of our own; its caller waits for the first.
                drop(watcher);
                let waits = caller.as_ref();
                self.answer_duplicate(first, &parts, &wishes.prefer, closing, waits).await
            }
            Submitted::Refused(refusal) => {
                self.handle.callers().release(id);
                Err(Problem::refused(&refusal, target))
            }
        }
    }

    async fn request(
        &self,
        target: &str,
        mut path: String,
        parts: &Parts,
        sent: axum::body::Body,
        wishes: &Wishes,
    ) -> Result<Submission, Problem> {
        let directory = self.handle.directory();
        let (target, config) = directory
            .configured(target)
            .ok_or_else(|| Problem::unknown_target(target, directory.configured_names()))?;
        if let Some(query) = parts.uri.query() {
            path.push('?');
            path.push_str(query);
        }
        path::check(&path).map_err(|error| Problem::invalid("path", error))?;
        if wishes.task_token.is_some() {
            check_answerable(wishes::TASK_TOKEN, &directory)?;
        }
        let callback = wishes.callback.as_deref();
        let callback =
            callback.map(|name| callback_json::callback(wishes::CALLBACK, name, &directory));
        let callback = callback.transpose()?;
        let headers = wishes::to_pass_on(parts, &wishes.prefer);
        check_size("headers", &headers)?;
        // The listener has bounded it, in size and in time.
        let body = body::read(sent, usize::MAX).await?;
        let request = JobRequest {
            method: parts.method.as_str().to_owned(),
            path,
            headers,
            body,
            idempotency_key: wishes.key.clone(),
            live: wishes.prefer.patience().is_none_or(|patience| !patience.is_zero()),
            task_token: wishes.task_token.clone(),
        };
        let dedup = wishes.key.clone().map(|name| {
            // Other headers change from one try to the next: dates, traces, credentials.
            let digest = digest(&request, |name| name.starts_with("content-"));
            Dedup { name, digest, keep: Dedup::KEEP }
        });
        let id = Handle::new_id();
        fit::check(config, id, &request, None)?;
        Ok(Submission {
            source: Source::Proxy,
            id,
            target,
            priority: wishes.priority,
            request: Arc::new(request),
            not_before: wishes.schedule.not_before,
            deadline: wishes.schedule.deadline,
            max_attempts: None,
            delivery: None,
            dedup,
            group: wishes.group.clone(),
            flow: wishes.flow.clone(),
            callback,
            unfit: None,
        })
    }

    async fn answer_duplicate(
        &self,
        first: JobId,
        parts: &Parts,
        prefer: &Prefer,
        closing: Option<Closing>,
        caller: Option<&Caller>,
    ) -> Result<Response, Problem> {
        // Before looking whether it has ended.
        let watcher = self.handle.watch(first);
        let (record, answer) = find(&self.records, first).await?.ok_or_else(|| gone(first))?;
        let told = if record.place.is_ended() {
            Ok((
                Told::Ended(Box::new(record.header.clone()), record.place, answer.map(Arc::new)),
                false,
            ))
        } else {
            self.wait(first, watcher, prefer, closing, caller).await
        };
        self.handle.callers().release(first);
        self.answer(first, told?, parts, prefer, record).await
    }

    /// Waits for a job's end, no longer than its caller likes. Also says whether the daemon is
    /// going down, and so gave up the job if it had not begun.
    async fn wait(
        &self,
        id: JobId,
        mut watcher: crate::handle::Watcher,
        prefer: &Prefer,
        mut closing: Option<Closing>,
        caller: Option<&Caller>,
    ) -> Result<(Told, bool), Problem> {
        let patience = prefer.patience();
        let mut draining = false;
        let patient = async {
            match patience {
                Some(patience) => {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "the caller asked for so much time (`Prefer: wait`)"
                    )]
                    tokio::time::sleep(patience).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::pin!(patient);
        loop {
            tokio::select! {
                biased;
                ended = watcher.ended() => {
                    let ended = ended.ok_or_else(|| Problem::from(Stopped).with_job(id))?;
                    return Ok((Told::Ended(Box::new(ended.header), ended.place, ended.answer), draining));
                }
                () = &mut patient => return Ok((Told::Later, draining)),
                // Given up here, and promised to somebody else.
                () = self.handle.callers().released(id), if draining => {
                    return Err(Problem::draining().with_job(id));
                }
                () = begun(&mut closing), if !draining => {
                    if patience.is_some() {
                        return Ok((Told::Later, true));
                    }
                    // Nothing new is started any more. What is under way is waited for.
                    draining = true;
                    if !caller.is_some_and(Caller::give_up) {
                        return Err(Problem::draining().with_job(id));
                    }
                }
            }
        }
    }

    /// `known`: the job as it was a moment ago.
    async fn answer(
        &self,
        id: JobId,
        (told, draining): (Told, bool),
        parts: &Parts,
        prefer: &Prefer,
        known: JobRecord,
    ) -> Result<Response, Problem> {
        if let Told::Ended(header, Place::Ended { end, .. }, answer) = &told {
            let is_head = parts.method == Method::HEAD;
            return Ok(answer::ended(header, *end, answer.as_deref(), is_head, draining));
        }
        let found = find(&self.records, id).await?;
        let record = found.map_or(known, |(record, _)| record);
        let attempts = record.header.attempts;
        let job = JobJson::new(&record, &self.handle.directory(), None);
        let location = location(&self.data, &job.id);
        let mut response = (StatusCode::ACCEPTED, Json(job)).into_response();
        let headers = response.headers_mut();
        headers.insert(LOCATION, location);
        if let Ok(applied) = HeaderValue::from_str(&prefer.applied()) {
            headers.insert("preference-applied", applied);
        }
        Ok(answer::about(response, id, attempts))
    }
}

#[cfg(test)]
mod tests;
