//! What is carried through the core and never looked into by it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::hint::Hint;

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<HeaderLine>,
    pub body: Bytes,
    /// The body was longer than what is kept of it.
    pub truncated: bool,
    /// How much of the body is kept in the store, in bytes. Not stored.
    #[serde(skip, default = "Answer::kept_by_default")]
    pub keep: usize,
}

impl Default for Answer {
    fn default() -> Answer {
        Answer {
            status: 0,
            headers: Vec::new(),
            body: Bytes::new(),
            truncated: false,
            keep: Answer::KEPT,
        }
    }
}

impl Answer {
    /// How much of a body is kept in the store where nobody says more or less, in bytes (256 KiB).
    pub const KEPT: usize = 256 * 1024;

    fn kept_by_default() -> usize {
        Answer::KEPT
    }

    /// What the store keeps of it.
    #[must_use]
    pub fn cut(&self, keep: usize) -> Answer {
        let whole = self.body.len() <= keep;
        Answer {
            status: self.status,
            headers: self.headers.clone(),
            body: if whole { self.body.clone() } else { self.body.slice(..keep) },
            truncated: self.truncated || !whole,
            keep: Answer::KEPT,
        }
    }

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
    /// What the target asked for with `Retry-After`, from the time of its answer: where it refused,
    /// or where work goes on there.
    pub retry_after: Option<Duration>,
    /// What the target said of how much it will still take.
    pub hint: Option<Hint>,
    /// In a few words, why there is no answer, or what made of it the outcome; for people.
    pub reason: Option<String>,
    /// From the sending to the end of the answer.
    pub took: Duration,
    pub close: Close,
    pub follow: Follow,
}

/// How the exchange of a request and its answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Close {
    /// With the answer; or before anything was sent.
    #[default]
    Whole,
    /// Its connection ended before, by the target or on the way: that the request has arrived by
    /// now is not certain.
    Cut,
    /// The broker waited no longer, or died: the target may still be at work on it.
    GivenUp,
}

/// What an answer says of the work beyond its outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Follow {
    #[default]
    Nothing,
    /// To an attempt that is `Done`: the target took the work on, and says how it goes at this
    /// path below its base URL.
    Accepted { path: String },
    /// To an attempt that is `Done`: the target took the work on, and where it says how that goes
    /// cannot be asked; why.
    Astray { reason: String },
    /// To a question: the work is certainly not done.
    NotDone,
    /// To a question: the work is under way.
    Pending,
}

impl Report {
    /// Whether nobody knows that the target is through with the request.
    pub fn may_run_on(&self) -> bool {
        self.close != Close::Whole
    }
}
