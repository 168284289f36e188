//! What the commands read of the daemon's JSON. What they do not know they leave alone, so that
//! an older `tollgate` can speak to a newer daemon.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A time as the daemon writes it; one that cannot be read is shown as it came.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(super) enum When {
    At(Timestamp),
    Text(String),
}

impl From<String> for When {
    fn from(text: String) -> When {
        match text.parse() {
            Ok(at) => When::At(at),
            Err(_) => When::Text(text),
        }
    }
}

impl When {
    pub(super) fn at(&self) -> Option<Timestamp> {
        match self {
            When::At(at) => Some(*at),
            When::Text(_) => None,
        }
    }

    pub(super) fn dated(&self, now: Timestamp) -> String {
        match self {
            When::At(at) => super::ages::dated(*at, now),
            When::Text(text) => text.clone(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    #[serde(default)]
    pub(super) target: String,
    #[serde(default)]
    pub(super) priority: String,
    pub(super) state: String,
    #[serde(default)]
    pub(super) attempts: u64,
    pub(super) questions: Option<u64>,
    pub(super) delivery: Option<String>,
    pub(super) next_question_at: Option<When>,
    pub(super) original_request: Option<Requested>,
    /// Oldest first.
    #[serde(default)]
    pub(super) answers: Vec<Answered>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) request: Option<Requested>,
    pub(super) enqueued_at: Option<When>,
    pub(super) finished_at: Option<When>,
    pub(super) not_before: Option<When>,
    pub(super) next_attempt_at: Option<When>,
    pub(super) deadline: Option<When>,
    pub(super) position: Option<u64>,
    pub(super) estimated_start: Option<When>,
    #[serde(default)]
    pub(super) duplicate: bool,
    pub(super) result: Option<JobResult>,
    pub(super) error: Option<JobError>,
    pub(super) callback: Option<JobCallback>,
    #[serde(default)]
    pub(super) history: Vec<Event>,
}

/// What was answered to one request.
#[derive(Debug, Deserialize)]
pub(super) struct Answered {
    #[serde(default)]
    pub(super) attempt: u64,
    pub(super) question: Option<u64>,
    #[serde(flatten)]
    pub(super) answer: JobResult,
}

impl Requested {
    pub(super) fn line(&self) -> Option<String> {
        Some(format!("{} {}", self.method.as_deref()?, self.path.as_deref()?))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Requested {
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
}

impl Job {
    pub(super) fn is_final(&self) -> bool {
        crate::broker::job::JobState::ALL
            .iter()
            .any(|state| state.is_final() && state.as_str() == self.state)
    }

    pub(super) fn succeeded(&self) -> bool {
        self.state == "succeeded"
    }

    /// `POST /orders`, as far as the daemon tells.
    pub(super) fn request_line(&self) -> Option<String> {
        let told = self.request.as_ref();
        let method = self.method.as_deref().or(told.and_then(|told| told.method.as_deref()))?;
        let path = self.path.as_deref().or(told.and_then(|told| told.path.as_deref()))?;
        Some(format!("{method} {path}"))
    }
}

/// In the words of Step Functions' own HTTP task.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct JobResult {
    pub(super) status_code: u16,
    #[serde(default)]
    pub(super) status_text: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Value>,
    pub(super) response_body: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) response_body_base64: bool,
    #[serde(default)]
    pub(super) response_body_truncated: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct JobError {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub(super) at: Option<When>,
    pub(super) event: String,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, Value>,
}

/// One page of a list. The jobs are kept as they came.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(alias = "dead")]
    pub(super) jobs: Vec<Box<RawValue>>,
    /// What `after` must be for the next page; none after the last.
    pub(super) next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Targets {
    pub(super) targets: Vec<Target>,
    pub(super) step_functions: Option<StepFunctions>,
    #[serde(default)]
    pub(super) callbacks: Vec<Callback>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CallbackList {
    pub(super) callbacks: Vec<Callback>,
}

/// How it stands with one callback.
#[derive(Debug, Deserialize)]
pub(super) struct Callback {
    pub(super) name: String,
    #[serde(default)]
    pub(super) state: String,
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) pending: u64,
    #[serde(default)]
    pub(super) undelivered: u64,
    pub(super) trouble: Option<Trouble>,
}

/// Whom a job's end is told to.
#[derive(Debug, Deserialize)]
pub(super) struct JobCallback {
    pub(super) name: String,
    #[serde(default)]
    pub(super) state: String,
    pub(super) reason: Option<String>,
}

/// How it stands with the workflows that wait for jobs.
#[derive(Debug, Deserialize)]
pub(super) struct StepFunctions {
    pub(super) state: String,
    #[serde(default)]
    pub(super) pending_answers: u64,
    pub(super) trouble: Option<Trouble>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Trouble {
    #[serde(default)]
    pub(super) with: String,
    pub(super) since: Option<When>,
    #[serde(default)]
    pub(super) error: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Target {
    pub(super) name: String,
    #[serde(default = "yes")]
    pub(super) configured: bool,
    #[serde(default)]
    pub(super) priorities: BTreeMap<String, Queue>,
    #[serde(default)]
    pub(super) scheduled: u64,
    #[serde(default)]
    pub(super) waiting: u64,
    #[serde(default)]
    pub(super) in_flight: u64,
    #[serde(default)]
    pub(super) dead: u64,
    #[serde(default)]
    pub(super) held_groups: u64,
    #[serde(default)]
    pub(super) paused: bool,
    pub(super) blocked: Option<Blocked>,
    pub(super) held_back_by: Option<HeldBackBy>,
    pub(super) limit: Option<Limit>,
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) verifying: u64,
    #[serde(default)]
    pub(super) breaker_open: bool,
    pub(super) rate_in_force_per_second: Option<f64>,
    /// The named limits that it shares.
    #[serde(default)]
    pub(super) share: Vec<Limit>,
    pub(super) schedule: Option<Schedule>,
    pub(super) totals: Option<Totals>,
}

/// Since the daemon started.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Totals {
    pub(super) sent: u64,
    pub(super) done: u64,
    pub(super) refused: u64,
    pub(super) rejected: u64,
    pub(super) unknown: u64,
}

/// What may be sent when today.
#[derive(Debug, Deserialize)]
pub(super) struct Schedule {
    #[serde(default)]
    pub(super) timezone: String,
    #[serde(default)]
    pub(super) today: Vec<Part>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Part {
    pub(super) from: When,
    pub(super) to: When,
    /// `None`: closed.
    pub(super) rate: Option<String>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Queue {
    #[serde(default)]
    pub(super) depth: u64,
    pub(super) oldest_age_seconds: Option<f64>,
    pub(super) estimated_drain_seconds: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Blocked {
    pub(super) on: String,
    pub(super) until: Option<When>,
    /// The shared limit that does it.
    pub(super) limit: Option<String>,
    /// The window that does it.
    pub(super) window: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct HeldBackBy {
    pub(super) on: String,
    #[serde(default)]
    pub(super) share: f64,
    #[serde(default)]
    pub(super) hint: String,
}

/// A target's own limit, or one that it shares with others.
#[derive(Debug, Deserialize)]
pub(super) struct Limit {
    /// Of a shared one.
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) rate: String,
    pub(super) rate_per_second: Option<f64>,
    pub(super) max_concurrent: Option<u64>,
    /// Of all targets that share it.
    #[serde(default)]
    pub(super) in_flight: u64,
    #[serde(default)]
    pub(super) held_places: u64,
    #[serde(default)]
    pub(super) windows: Vec<Window>,
    pub(super) quota: Option<Quota>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Window {
    #[serde(default)]
    pub(super) window: String,
    #[serde(default)]
    pub(super) left: u64,
    #[serde(default)]
    pub(super) reserved_high: u64,
    pub(super) free_again_at: Option<When>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Quota {
    #[serde(default)]
    pub(super) count: u64,
    #[serde(default)]
    pub(super) per: String,
    #[serde(default)]
    pub(super) timezone: String,
    #[serde(default)]
    pub(super) left: u64,
    #[serde(default)]
    pub(super) reserved_high: u64,
    pub(super) resets_at: Option<When>,
}

/// How many dead jobs a sweep redrove or purged.
#[derive(Debug, Deserialize)]
pub(super) struct Swept {
    #[serde(alias = "redriven", alias = "purged")]
    pub(super) count: u64,
}

/// JSON on one line: newlines can only stand between its tokens.
pub(super) fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// A value of the history in the fewest words.
pub(super) struct Plain<'a>(pub(super) &'a Value);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => f.write_str(text),
            other => other.fmt(f),
        }
    }
}
