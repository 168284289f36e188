//! Every way in which the admin address says no.

use std::time::Duration;

use axum::response::{IntoResponse, Response};

use crate::broker::io::CommandError;
use crate::broker::job::{JobId, JobState, NotAJobId};
use crate::handle::Stopped;
use crate::http_api::fields::shown;
use crate::http_api::problem::{Kind, Problem};
use crate::reload::ReloadError;

use super::records::ReadError;

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum AdminError {
    #[error("the path is not UTF-8 once its percent-escapes are decoded")]
    Path,
    #[error("{}; known here: {}", strangers(.names), list(.known))]
    UnknownParameters { names: Vec<String>, known: &'static [&'static str] },
    #[error("the query parameter `{0}` is there more than once")]
    RepeatedParameter(&'static str),
    #[error("the query parameter `{name}` must be {expected}, not `{}`", shown(.value))]
    Parameter { name: &'static str, value: String, expected: String },
    #[error("the query cannot be read: {0}")]
    Query(String),
    #[error("no target is named `{}`", shown(.name))]
    NoSuchTarget { name: String, known: Vec<String> },
    #[error("no callback is named `{}`{}", shown(.name), those(.known))]
    NoSuchCallback { name: String, known: Vec<String> },
    #[error("`{}` is no job: {NotAJobId}", shown(.0))]
    NotAJob(String),
    #[error("there is no job {0}")]
    NoSuchJob(JobId),
    #[error("job {id} is {state}: {rule}")]
    Conflict { id: JobId, state: JobState, rule: &'static str },
    #[error("job {by} has the dedup_id of job {id} by now")]
    Overtaken { id: JobId, by: JobId },
    #[error("the body is larger than the {0} bytes that are read here")]
    BodyTooLarge(usize),
    #[error("the body cannot be read: {0}")]
    Body(String),
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    #[error("the body makes no sense: {0}")]
    Senseless(String),
    #[error("{}", .0.detail())]
    Unfit(Box<Problem>),
    #[error("the daemon is draining")]
    Draining,
    #[error(
        "the store failed, so nothing more is promised until the daemon is restarted; it said: {0}"
    )]
    StoreFailed(String),
    #[error("the store's disk has less room than `store.min_free_disk`: new jobs get 507")]
    DiskLow,
    #[error(
        "the store has been writing one commit for {} s: the disk is slow or hangs, and nothing is \
         acknowledged meanwhile", .0.as_secs()
    )]
    SlowCommit(Duration),
    #[error("{what} for {} s, and does not move: only a restart helps", .since.as_secs())]
    Stuck { what: &'static str, since: Duration },
    #[error("the broker has not answered for {} s; its disk may hang", .0.as_secs())]
    NoAnswer(Duration),
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error("the store cannot be read: {0}")]
    Read(ReadError),
    #[error(
        "the query parameter `after` must be the `next` of a page of this list, as it was given"
    )]
    Cursor,
    #[error("the configuration is not valid, so nothing was changed:\n{0}")]
    Reload(#[from] ReloadError),
}

fn strangers(names: &[String]) -> String {
    let named: Vec<_> = names.iter().map(|name| format!("`{}`", shown(name))).collect();
    let many = if named.len() == 1 { "" } else { "s" };
    format!("unknown query parameter{many} {}", named.join(", "))
}

fn those(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!("; there are {}", known.join(", ")) }
}

fn list(known: &[&str]) -> String {
    if known.is_empty() { "none".into() } else { known.join(", ") }
}

impl AdminError {
    fn kind(&self) -> Kind {
        match self {
            AdminError::Path
            | AdminError::UnknownParameters { .. }
            | AdminError::RepeatedParameter(_)
            | AdminError::Parameter { .. }
            | AdminError::Query(_)
            | AdminError::Cursor
            | AdminError::Body(_)
            | AdminError::NotJson(_) => Kind::Malformed,
            AdminError::NoSuchTarget { .. } => Kind::UnknownTarget,
            AdminError::NoSuchCallback { .. } => Kind::UnknownCallback,
            AdminError::NotAJob(_) | AdminError::NoSuchJob(_) => Kind::UnknownJob,
            AdminError::Conflict { .. } => Kind::JobState,
            AdminError::Overtaken { .. } => Kind::Overtaken,
            AdminError::BodyTooLarge(_) => Kind::BodyTooLarge,
            AdminError::Senseless(_) | AdminError::Reload(_) => Kind::Invalid,
            AdminError::Unfit(problem) => problem.kind(),
            AdminError::Draining => Kind::Draining,
            AdminError::StoreFailed(_)
            | AdminError::DiskLow
            | AdminError::SlowCommit(_)
            | AdminError::Stuck { .. }
            | AdminError::NoAnswer(_) => Kind::NotReady,
            AdminError::Stopped(_) => Kind::Stopped,
            AdminError::Read(_) => Kind::Internal,
        }
    }
}

impl From<Problem> for AdminError {
    fn from(problem: Problem) -> AdminError {
        AdminError::Unfit(Box::new(problem))
    }
}

impl From<ReadError> for AdminError {
    fn from(error: ReadError) -> AdminError {
        match error {
            ReadError::Cursor => AdminError::Cursor,
            error @ ReadError::Store(_) => AdminError::Read(error),
        }
    }
}

/// What both addresses can say is said in the same words.
impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Problem {
        let problem = Problem::new(error.kind(), error.to_string());
        match error {
            AdminError::NoSuchTarget { name, known } => {
                Problem::unknown_target(&name, known.iter().map(String::as_str))
            }
            AdminError::NoSuchJob(id) => Problem::from((CommandError::NoSuchJob, id)),
            AdminError::Unfit(problem) => *problem,
            AdminError::Draining => Problem::draining(),
            AdminError::Stopped(stopped) => Problem::from(stopped),
            AdminError::Overtaken { id, by } => Problem::from((CommandError::Overtaken { by }, id)),
            AdminError::Conflict { id, state, .. } => {
                problem.with_job(id).with("state", state.as_str())
            }
            AdminError::Parameter { name, .. } | AdminError::RepeatedParameter(name) => {
                problem.with("field", name)
            }
            AdminError::Cursor => problem.with("field", "after"),
            AdminError::Reload(error) => {
                let text = error.to_string();
                let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
                // The last one counts the others: "2 errors in tollgate.toml".
                let counted = lines.last().and_then(|line| line.split_once(" error"));
                if counted.is_some_and(|(count, _)| count.parse::<usize>().is_ok()) {
                    lines.pop();
                }
                problem.with("errors", lines)
            }
            _ => problem,
        }
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
