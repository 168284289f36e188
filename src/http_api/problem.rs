//! What is said when something cannot be done: RFC 9457, `application/problem+json`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::broker::io::{CommandError, Refusal};
use crate::broker::job::JobId;
use crate::handle::Stopped;
use crate::store::StoreError;

/// Every kind of problem: its status, its `type` and its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not HTTP, not JSON, or JSON of another type than asked for.
    Malformed,
    NoSuchPage,
    UnknownTarget,
    UnknownCallback,
    UnknownJob,
    MethodNotAllowed,
    BodyTooSlow,
    /// The job is in a state that does not allow it.
    JobState,
    /// A later job has its `dedup_id`.
    Overtaken,
    /// The caller waited for a job that somebody cancelled.
    JobCancelled,
    BodyTooLarge,
    /// Well formed, but it makes no sense; the member `field` names the place.
    Invalid,
    UnknownField,
    DedupMismatch,
    /// The body does not fit the target's `request_schema`; the member `errors` names the places.
    Schema,
    QueueFull,
    Internal,
    /// The target's answer cannot be passed on.
    BadAnswer,
    Draining,
    Stopped,
    TooManyConnections,
    /// The memory for what callers send is full.
    Overloaded,
    NoAnswer,
    DeadlineExceeded,
    DiskFull,
    /// The request came by a way that browsers open to other people's pages.
    Forbidden,
    /// A token is asked for, or another one.
    Unauthorized,
    /// No jobs are taken, for a reason that is no drain.
    NotReady,
}

impl Kind {
    fn facts(self) -> (StatusCode, &'static str, &'static str) {
        macro_rules! facts {
            ($status:ident, $slug:literal, $title:literal) => {
                (StatusCode::$status, concat!("urn:tollgate:problem:", $slug), $title)
            };
        }
        match self {
            Kind::Malformed => facts!(BAD_REQUEST, "malformed", "Malformed request"),
            Kind::NoSuchPage => facts!(NOT_FOUND, "no-such-page", "Nothing is here"),
            Kind::UnknownTarget => facts!(NOT_FOUND, "unknown-target", "No such target"),
            Kind::UnknownCallback => facts!(NOT_FOUND, "unknown-callback", "No such callback"),
            Kind::UnknownJob => facts!(NOT_FOUND, "unknown-job", "No such job"),
            Kind::MethodNotAllowed => {
                facts!(METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            }
            Kind::BodyTooSlow => {
                facts!(REQUEST_TIMEOUT, "body-too-slow", "The body did not arrive in time")
            }
            Kind::JobState => facts!(CONFLICT, "job-state", "The job's state does not allow it"),
            Kind::Overtaken => facts!(CONFLICT, "overtaken", "A later job has its dedup_id"),
            Kind::JobCancelled => facts!(CONFLICT, "job-cancelled", "The job was cancelled"),
            Kind::BodyTooLarge => {
                facts!(PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large")
            }
            Kind::Invalid => facts!(UNPROCESSABLE_ENTITY, "invalid", "Invalid value"),
            Kind::UnknownField => facts!(UNPROCESSABLE_ENTITY, "unknown-field", "Unknown field"),
            Kind::DedupMismatch => {
                facts!(UNPROCESSABLE_ENTITY, "dedup-mismatch", "Another job has this key")
            }
            Kind::Schema => {
                facts!(UNPROCESSABLE_ENTITY, "schema", "The body does not fit its schema")
            }
            Kind::QueueFull => facts!(TOO_MANY_REQUESTS, "queue-full", "The queue is full"),
            Kind::Internal => facts!(INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Kind::BadAnswer => {
                facts!(BAD_GATEWAY, "bad-answer", "The target's answer cannot be passed on")
            }
            Kind::Draining => facts!(SERVICE_UNAVAILABLE, "draining", "Shutting down"),
            Kind::Stopped => facts!(SERVICE_UNAVAILABLE, "stopped", "The broker has stopped"),
            Kind::TooManyConnections => {
                facts!(SERVICE_UNAVAILABLE, "too-many-connections", "Too many connections")
            }
            Kind::Overloaded => facts!(SERVICE_UNAVAILABLE, "overloaded", "Overloaded"),
            Kind::NoAnswer => facts!(GATEWAY_TIMEOUT, "no-answer", "The target gave no answer"),
            Kind::DeadlineExceeded => {
                facts!(GATEWAY_TIMEOUT, "deadline-exceeded", "The deadline has passed")
            }
            Kind::Forbidden => facts!(FORBIDDEN, "forbidden", "Not allowed from there"),
            Kind::Unauthorized => facts!(UNAUTHORIZED, "unauthorized", "A token is needed"),
            Kind::NotReady => facts!(SERVICE_UNAVAILABLE, "not-ready", "Not ready"),
            Kind::DiskFull => facts!(INSUFFICIENT_STORAGE, "disk-full", "No room on disk"),
        }
    }

    pub fn status(self) -> StatusCode {
        self.facts().0
    }
}

/// One problem: an answer of its own, or an entry in the answer to a batch.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// Which kind of problem; a name, not a page.
    #[serde(rename = "type")]
    #[schema(example = "urn:tollgate:problem:queue-full")]
    type_: &'static str,
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 429)]
    status: u16,
    /// What happened, where, and what to do.
    detail: String,
    /// Members that some kinds have: `field`, `job_id`, `state`, `retry_after` (in seconds), and
    /// `errors` (of a body that does not fit its schema: each with `pointer` and `message`).
    #[serde(flatten)]
    members: BTreeMap<&'static str, Value>,
    #[serde(skip)]
    kind: Kind,
    /// The connection can serve no further request.
    #[serde(skip)]
    closing: bool,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        let (status, type_, title) = kind.facts();
        Problem {
            type_,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            members: BTreeMap::new(),
            kind,
            closing: false,
        }
    }

    /// A value that makes no sense, at `field`.
    pub fn invalid(field: &str, why: impl std::fmt::Display) -> Problem {
        Problem::new(Kind::Invalid, format!("`{field}` {why}")).with("field", field)
    }

    /// An extension member (RFC 9457, section 3.2).
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Problem {
        self.members.insert(name, value.into());
        self
    }

    /// Rounds up to whole seconds, at least one, so that nobody comes back too early.
    #[must_use]
    pub fn with_retry_after(self, after: Duration) -> Problem {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.with(RETRY_AFTER_MEMBER, seconds.max(1))
    }

    #[must_use]
    pub fn with_job(self, id: JobId) -> Problem {
        self.with("job_id", id.to_string())
    }

    /// Ends the connection after this answer.
    #[must_use]
    pub fn closing(mut self) -> Problem {
        self.closing = true;
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn no_such_page(path: &str) -> Problem {
        Problem::new(Kind::NoSuchPage, format!("there is nothing at {path} on this address"))
    }

    pub fn unknown_job(id: JobId) -> Problem {
        let detail = format!(
            "there is no job {id}; finished jobs are forgotten after the store's `retention`"
        );
        Problem::new(Kind::UnknownJob, detail)
    }

    pub fn unknown_target<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
        let hint = super::fields::nearest(name, known)
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        Problem::new(
            Kind::UnknownTarget,
            format!("no target is named `{}`{hint}", super::fields::shown(name)),
        )
        .with("field", "target")
    }

    /// `target`: the name that the caller used.
    pub fn refused(refusal: &Refusal, target: &str) -> Problem {
        match refusal {
            Refusal::UnknownTarget => Problem::unknown_target(target, std::iter::empty()),
            Refusal::QueueFull { retry_after } => Problem::new(
                Kind::QueueFull,
                format!("`{target}` holds as many jobs as its `max_queued` allows; try later"),
            )
            .with_retry_after(*retry_after),
            Refusal::Draining => Problem::draining(),
            Refusal::DedupMismatch { id } => Problem::new(
                Kind::DedupMismatch,
                format!("job {id} has this key with another payload; use a new key for a new job"),
            )
            .with_job(*id),
            Refusal::DeadlinePassed => {
                Problem::invalid("deadline", "has passed, so the job would never be sent")
            }
            Refusal::TooLate { estimated_start } => Problem::invalid(
                "deadline",
                format_args!(
                    "cannot be met: by its limits `{target}` would get this job at \
                     {estimated_start}, and it has `reject_if_late`; a later deadline, or a higher \
                     priority, may do"
                ),
            ),
        }
    }

    pub fn draining() -> Problem {
        Problem::new(Kind::Draining, "the daemon is shutting down and takes no new work; try later")
            .with_retry_after(Duration::from_secs(1))
    }

    pub fn disk_full() -> Problem {
        Problem::new(
            Kind::DiskFull,
            "the store's disk has less room than `store.min_free_disk`; free some and try again",
        )
    }
}

const RETRY_AFTER_MEMBER: &str = "retry_after";

impl From<Stopped> for Problem {
    fn from(stopped: Stopped) -> Problem {
        Problem::new(Kind::Stopped, stopped.to_string()).with_retry_after(Duration::from_secs(1))
    }
}

impl From<StoreError> for Problem {
    /// The details are for the operator, not for a caller.
    fn from(error: StoreError) -> Problem {
        tracing::error!(%error, "the store could not be read");
        Problem::new(Kind::Internal, "the store could not be read; the daemon's log says why")
    }
}

/// The command failed for job `id`.
impl From<(CommandError, JobId)> for Problem {
    fn from((error, id): (CommandError, JobId)) -> Problem {
        match error {
            CommandError::NoSuchJob => Problem::unknown_job(id),
            CommandError::Conflict { state } => {
                Problem::new(Kind::JobState, format!("job {id} is {state}, so this cannot be done"))
                    .with_job(id)
                    .with("state", state.as_str())
            }
            CommandError::Draining => Problem::draining(),
            CommandError::Overtaken { by } => Problem::new(
                Kind::Overtaken,
                format!(
                    "job {by} has the dedup_id of job {id} by now, so the work could be done \
                     twice; see what became of {by}, and redrive that one if it is dead"
                ),
            )
            .with_job(id)
            .with("by", by.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Strings, numbers and maps with string keys always serialize.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.kind.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.members.get(RETRY_AFTER_MEMBER).and_then(Value::as_u64) {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.closing {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// For routers: what is not there.
pub async fn not_found(uri: http::Uri) -> Problem {
    Problem::no_such_page(uri.path())
}

/// For routers: what is there, but not so. The router adds `Allow`.
pub async fn method_not_allowed(method: http::Method, uri: http::Uri) -> Problem {
    let detail = format!("{method} is not possible at {}; see the header Allow", uri.path());
    Problem::new(Kind::MethodNotAllowed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_whole_seconds_and_never_zero() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (59_999, "60")] {
            let problem = Problem::draining().with_retry_after(Duration::from_millis(millis));
            let response = problem.into_response();
            assert_eq!(response.headers()[RETRY_AFTER], seconds, "after {millis} ms");
        }
    }

    #[test]
    fn a_problem_has_the_members_of_rfc_9457_and_its_own() {
        let problem = Problem::invalid("path", "must begin with `/`");
        assert_eq!(
            serde_json::to_value(&problem).unwrap(),
            serde_json::json!({
                "type": "urn:tollgate:problem:invalid",
                "title": "Invalid value",
                "status": 422,
                "detail": "`path` must begin with `/`",
                "field": "path",
            })
        );
        let response = problem.into_response();
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert!(!response.headers().contains_key(CONNECTION));
    }
}
