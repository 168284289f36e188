//! Every way in which the admin address says no.

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::broker::job::{JobId, JobState, NotAJobId};
use crate::handle::Stopped;
use crate::http_api::problem::Problem;
use crate::reload::ReloadError;

use super::records::ReadError;

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum AdminError {
    #[error("nothing is at {0}; GET /openapi.json lists what is here")]
    NoRoute(String),
    #[error("{method} is not for {path}; the Allow header says what is")]
    Method { method: String, path: String },
    #[error("the request names no host, or more than one (RFC 9112, 3.2)")]
    HostCount,
    #[error(
        "the Host header says {0:?}. To keep web pages from reaching this address through a name \
         of their own (DNS rebinding), it answers only to IP addresses and localhost; a later \
         version lets [server] allowed_hosts name others"
    )]
    Host(String),
    #[error(
        "a browser says that this change was asked for by a page from elsewhere ({0}); changes \
         are taken from this address's own pages and from clients that are no browser"
    )]
    CrossSite(String),
    #[error("the path is not UTF-8 once its percent-escapes are decoded")]
    Path,
    #[error("{} known here: {}", strangers(.names), list(.known))]
    UnknownParameters { names: Vec<String>, known: &'static [&'static str] },
    #[error("the query parameter {0:?} is there more than once")]
    RepeatedParameter(&'static str),
    #[error("the query parameter {name:?} must be {expected}, not {value:?}")]
    Parameter { name: &'static str, value: String, expected: String },
    #[error("the query cannot be read: {0}")]
    Query(String),
    #[error("jobs have no groups yet, so they cannot be listed by group; a later version can")]
    GroupsComeLater,
    #[error("{}", no_target(.name, .nearest.as_deref(), .others))]
    NoSuchTarget { name: String, nearest: Option<String>, others: Vec<String> },
    #[error("{0:?} is no job: {NotAJobId}")]
    NotAJob(String),
    #[error(
        "there is no job {0}; jobs that ended are forgotten after the store's retention, \
         and dead ones when they are purged"
    )]
    NoSuchJob(JobId),
    #[error("the job is {state}: {rule}")]
    Conflict { state: JobState, rule: &'static str },
    #[error("the body is longer than the {0} bytes that are read here")]
    BodyTooLong(usize),
    #[error("the body cannot be read: {0}")]
    Body(String),
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    #[error("the body makes no sense: {0}")]
    Senseless(String),
    #[error("the daemon is draining: it finishes what is under way and changes nothing more")]
    Draining,
    #[error("{0}")]
    NotReady(String),
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error("the store cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("nothing was changed, because the configuration is not valid:\n{0}")]
    Reload(#[from] ReloadError),
}

fn strangers(names: &[String]) -> String {
    let named: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    match named.len() {
        1 => format!("unknown query parameter {};", named[0]),
        _ => format!("unknown query parameters {};", named.join(", ")),
    }
}

fn list(known: &[&str]) -> String {
    if known.is_empty() { "none".into() } else { known.join(", ") }
}

/// With few targets, all are named where none is near.
fn no_target(name: &str, nearest: Option<&str>, others: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("no target is named {name:?}; did you mean {nearest:?}?"),
        None if others.is_empty() => {
            format!("no target is named {name:?}; GET /v1/targets lists those that are")
        }
        None => format!("no target is named {name:?}; there are: {}", others.join(", ")),
    }
}

impl AdminError {
    fn status(&self) -> StatusCode {
        match self {
            AdminError::NoRoute(_)
            | AdminError::NoSuchTarget { .. }
            | AdminError::NotAJob(_)
            | AdminError::NoSuchJob(_) => StatusCode::NOT_FOUND,
            AdminError::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            AdminError::Host(_) | AdminError::CrossSite(_) => StatusCode::FORBIDDEN,
            AdminError::HostCount
            | AdminError::Path
            | AdminError::UnknownParameters { .. }
            | AdminError::RepeatedParameter(_)
            | AdminError::Parameter { .. }
            | AdminError::Query(_)
            | AdminError::Body(_)
            | AdminError::NotJson(_) => StatusCode::BAD_REQUEST,
            AdminError::GroupsComeLater | AdminError::Senseless(_) | AdminError::Reload(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            AdminError::Conflict { .. } => StatusCode::CONFLICT,
            AdminError::BodyTooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            AdminError::Draining
            | AdminError::NotReady(_)
            | AdminError::Stopped(_)
            | AdminError::Read(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn title(&self) -> &'static str {
        match self {
            AdminError::NoRoute(_) => "no such page",
            AdminError::NoSuchTarget { .. } => "no such target",
            AdminError::NotAJob(_) | AdminError::NoSuchJob(_) => "no such job",
            AdminError::Method { .. } => "method not allowed",
            AdminError::Host(_) | AdminError::HostCount => "host not allowed",
            AdminError::CrossSite(_) => "cross-site change refused",
            AdminError::Path | AdminError::Query(_) => "malformed address",
            AdminError::UnknownParameters { .. } => "unknown query parameter",
            AdminError::RepeatedParameter(_) | AdminError::Parameter { .. } => {
                "bad query parameter"
            }
            AdminError::GroupsComeLater => "not supported yet",
            AdminError::Body(_) | AdminError::NotJson(_) => "malformed body",
            AdminError::Senseless(_) => "body makes no sense",
            AdminError::Reload(_) => "configuration not valid",
            AdminError::Conflict { .. } => "the job's state does not allow it",
            AdminError::BodyTooLong(_) => "body too long",
            AdminError::Draining => "draining",
            AdminError::NotReady(_) => "not ready",
            AdminError::Stopped(_) => "stopped",
            AdminError::Read(_) => "store not readable",
        }
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Problem {
        let problem = Problem::new(error.status(), error.title(), error.to_string());
        match error {
            AdminError::Conflict { state, .. } => problem.with("state", state.as_str()),
            AdminError::Reload(error) => {
                let errors: Vec<String> =
                    error.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
                problem.with("errors", errors)
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
