//! What is carried through the core and never looked into by it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One header, in the order and with the bytes that it came with; the name is in lower case.
pub type HeaderLine = (String, Bytes);

/// What answers a workflow that waits (Step Functions' `.waitForTaskToken`): a bearer secret of 1
/// to 2,048 characters. It is shown as a prefix of its hash at most.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskToken(String);

impl TaskToken {
    /// `None` where it has no or more than 2,048 characters.
    pub fn new(text: impl Into<String>) -> Option<TaskToken> {
        let text = text.into();
        (1..=2_048).contains(&text.chars().count()).then_some(TaskToken(text))
    }

    /// The secret itself: for Step Functions, and nobody else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TaskToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskToken(…)")
    }
}

/// The HTTP request that a job stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub method: String,
    /// Origin form without the target's base path: `/orders?x=1`. Validated at the edge.
    pub path: String,
    pub headers: Vec<HeaderLine>,
    pub body: Bytes,
    /// What is sent as `Idempotency-Key`; the job's id where the caller gave none.
    pub idempotency_key: Option<String>,
    /// A sidecar caller waits for the answer, so all of it matters, not only what is kept.
    pub live: bool,
    /// Who waits for the job's end in a workflow. Kept beside the request, and only as long as an
    /// answer is owed: the request of a job that was redriven after that has none.
    #[serde(skip)]
    pub task_token: Option<TaskToken>,
}

/// What a target answered to one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<HeaderLine>,
    pub body: Bytes,
    /// The body was longer than what is kept of it.
    pub truncated: bool,
}

impl Answer {
    /// How much of a body is kept in the store, in bytes (256 KiB).
    pub const KEPT: usize = 256 * 1024;
    /// How much of a body a waiting sidecar caller can get, in bytes (8 MiB).
    pub const LIVE: usize = 8 * 1024 * 1024;
}

/// What one attempt taught us (CONTRACT §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The answer matches the target's success rule.
    Done,
    /// The target certainly did no work.
    Refused,
    /// The target answered that this request will never do.
    Rejected,
    /// The work may have been done.
    Unknown,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Rejected => "rejected",
            Outcome::Unknown => "unknown",
        }
    }
}

/// The end of one attempt, as the dispatcher saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub outcome: Outcome,
    /// The answer, if its head arrived whole. For `Unknown` its body may be cut short.
    pub answer: Option<Answer>,
    /// What the target asked for with `Retry-After`, from the time of its answer.
    pub retry_after: Option<Duration>,
    /// In a few words, why there is no answer; for people.
    pub reason: Option<String>,
    /// From the sending to the end of the answer.
    pub took: Duration,
}
