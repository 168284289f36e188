//! A job, the places it can be in, and its history.
//!
//! ```text
//!              submit                      redrive
//!                │                ┌──────────────────────┐
//!        ┌───────┴──────┐         ▼                      │
//!        ▼              ▼     ┌────────┐   start   ┌─────┴────┐
//!   scheduled ──due──────────▶│ queued │──────────▶│ running  │
//!        │                    └────────┘◀──────────└──────────┘
//!        │                      ▲   │    not sent    │  │
//!        │                  due │   │                │  │ done, rejected,
//!        │                  ┌───┴───┴───┐ try again  │  │ attempts used up
//!        │                  │ waiting,  │◀───────────┘  │
//!        │                  │ verifying │ ask           │
//!        │                  └───────────┘               ▼
//!        └───────cancel, expire──▶ succeeded · failed · expired · cancelled
//! ```
//! A redrive that is paced goes by way of `scheduled`. What is asked, and when, is in
//! [`super::course`].
//!
//! One of a group that is not its head waits `behind` it, which callers see as `queued`, and goes
//! from there to where it would have come from the start: `scheduled` or `queued`.
//!
//! A job is in exactly one [`Place`] at any time; a [`super::Change::Move`] takes it from one to
//! the next in one commit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::callback::Callback;
use super::course::Course;
use super::fair::{FlowKey, Tag};
use super::group::Membership;
use super::time::Wall;

/// A job's name for ever: a UUIDv7, so that ids sort by their time of birth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u128);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = NotAJobId;
    fn from_str(text: &str) -> Result<JobId, NotAJobId> {
        uuid::Uuid::try_parse(text).map_or(Err(NotAJobId), |id| Ok(JobId(id.as_u128())))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job id is a UUID such as 0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11")]
pub struct NotAJobId;

/// A target's number in the store; its name never changes its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetId(pub u32);

/// A place in a line: lower goes first. Given when a job is first ready, kept across retries.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Seat(pub u64);

/// Highest first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Priority {
    High,
    #[default]
    Normal,
    Batch,
}

impl Priority {
    pub const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Batch];

    pub fn as_str(self) -> &'static str {
        match self {
            Priority::High => "HIGH",
            Priority::Normal => "NORMAL",
            Priority::Batch => "BATCH",
        }
    }

    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a priority is HIGH, NORMAL or BATCH")]
pub struct NotAPriority;

impl FromStr for Priority {
    type Err = NotAPriority;
    fn from_str(text: &str) -> Result<Priority, NotAPriority> {
        Priority::ALL
            .into_iter()
            .find(|priority| priority.as_str().eq_ignore_ascii_case(text))
            .ok_or(NotAPriority)
    }
}

/// Where a job came from; for the books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    #[default]
    Api,
    Proxy,
    Sqs,
    Activity,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Api => "api",
            Source::Proxy => "proxy",
            Source::Sqs => "sqs",
            Source::Activity => "activity",
        }
    }
}

/// What the core knows of a job. Small: a window of these is all that memory holds of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub id: JobId,
    pub target: TargetId,
    pub priority: Priority,
    pub seat: Seat,
    pub enqueued_at: Wall,
    /// When it last came into its queue.
    pub ready_at: Wall,
    pub deadline: Option<Wall>,
    /// Requests for its work sent in all: the number of the last attempt.
    pub attempts: u32,
    /// Attempts that count against `max_attempts`, since the job was last redriven.
    pub spent: u32,
    /// Refusals since the job was last redriven.
    pub refusals: u32,
    /// When the first attempt since the last redrive was started.
    pub first_sent_at: Option<Wall>,
    /// The job's own `max_attempts`; the target's where there is none.
    pub max_attempts: Option<u32>,
    /// To whom its end is owed.
    pub owed: Owed,
    pub course: Course,
    /// Of one that belongs to a group.
    pub group: Option<Membership>,
    /// On whose account it goes, within its queue.
    pub flow: Option<FlowKey>,
    /// When it is to go, in its queue's virtual time; before its seat is looked at.
    pub tag: Tag,
    /// Who is told of its end, and whether that is still to come.
    pub callback: Option<Box<Callback>>,
}

/// What is owed to the workflow that waits for a job. The answer itself is made of the job's end
/// when it is sent; here is only whether it is still to come.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Owed {
    /// Nobody waits, or whoever waited has been answered.
    #[default]
    Nothing,
    /// The job has a task token.
    TaskToken,
}

/// Where a job is. Each place is one index of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Its time has not come.
    Scheduled { due: Wall },
    /// In its queue, at its header's seat.
    Queued,
    /// An attempt is started; whether it was sent dies with the process.
    Running { started: Wall },
    /// For a retry.
    Waiting { due: Wall },
    /// For ever.
    Ended { end: End, at: Wall },
    /// For the next question about its work.
    Verifying { due: Wall },
    /// In its group, for those before it; and not to be sent before `due`.
    Behind { due: Option<Wall> },
}

impl Place {
    pub fn state(&self) -> JobState {
        match self {
            Place::Scheduled { .. } => JobState::Scheduled,
            Place::Queued | Place::Behind { .. } => JobState::Queued,
            Place::Running { .. } => JobState::Running,
            Place::Waiting { .. } => JobState::Waiting,
            Place::Verifying { .. } => JobState::Verifying,
            Place::Ended { end, .. } => end.state(),
        }
    }

    pub fn is_ended(&self) -> bool {
        matches!(self, Place::Ended { .. })
    }

    /// Its name is free, and nobody does it.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Place::Ended { end: End::Cancelled, .. })
    }

    /// Whether a job may go from here to `to`: the state diagram at the top of this file.
    pub fn may_become(&self, to: &Place) -> bool {
        use Place::{Behind, Ended, Queued, Running, Scheduled, Verifying, Waiting};
        match (self, to) {
            (Scheduled { .. } | Waiting { .. } | Verifying { .. }, Queued) => true,
            // A changed priority takes a queued job from one queue to another.
            (Queued, Queued | Running { .. }) => true,
            (Running { .. }, Queued | Waiting { .. } | Verifying { .. }) => true,
            // A changed priority of a job that waits.
            (Scheduled { .. }, Scheduled { .. })
            | (Waiting { .. }, Waiting { .. })
            | (Verifying { .. }, Verifying { .. }) => true,
            // Its turn in its group came; or its priority was changed.
            (Behind { due }, Scheduled { due: at }) => *due == Some(*at),
            (Behind { .. }, Queued) => true,
            (Behind { due }, Behind { due: same }) => due == same,
            (Running { .. }, Ended { .. }) => true,
            (
                Scheduled { .. } | Queued | Waiting { .. } | Verifying { .. } | Behind { .. },
                Ended { end, .. },
            ) => !matches!(end, End::Succeeded),
            (Ended { end, .. }, Queued | Scheduled { .. } | Behind { due: None }) => end.is_dead(),
            // Whoever waited for it has been answered; or it holds its group from now on.
            (Ended { .. }, Ended { .. }) => self == to,
            _ => false,
        }
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum End {
    Succeeded,
    Failed(Failure),
    Expired,
    Cancelled,
}

impl End {
    pub fn state(self) -> JobState {
        match self {
            End::Succeeded => JobState::Succeeded,
            End::Failed(_) => JobState::Failed,
            End::Expired => JobState::Expired,
            End::Cancelled => JobState::Cancelled,
        }
    }

    /// Dead jobs are kept for people to look at and redrive.
    pub fn is_dead(self) -> bool {
        matches!(self, End::Failed(_) | End::Expired)
    }

    /// The error code that callers and workflows see; `None` for a success.
    pub fn code(self) -> Option<String> {
        match self {
            End::Succeeded => None,
            End::Failed(Failure::Rejected { status }) => Some(format!("Tollgate.Http.{status}")),
            End::Failed(Failure::RetriesExhausted) => Some("Tollgate.RetriesExhausted".into()),
            End::Failed(Failure::BadMessage) => Some("Tollgate.BadMessage".into()),
            End::Failed(Failure::OutcomeUnknown) => Some("Tollgate.OutcomeUnknown".into()),
            End::Expired => Some("Tollgate.DeadlineExceeded".into()),
            End::Cancelled => Some("Tollgate.Cancelled".into()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Failure {
    Rejected {
        status: u16,
    },
    RetriesExhausted,
    /// It never was a job that could be sent: kept to be looked at.
    BadMessage,
    /// The work may have been done, and its delivery does not allow to try again.
    OutcomeUnknown,
}

/// The names of CONTRACT §1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobState {
    Scheduled,
    Queued,
    Running,
    Waiting,
    Verifying,
    Succeeded,
    Failed,
    Expired,
    Cancelled,
}

impl JobState {
    pub const ALL: [JobState; 9] = [
        JobState::Scheduled,
        JobState::Queued,
        JobState::Running,
        JobState::Waiting,
        JobState::Verifying,
        JobState::Succeeded,
        JobState::Failed,
        JobState::Expired,
        JobState::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Scheduled => "scheduled",
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Waiting => "waiting",
            JobState::Verifying => "verifying",
            JobState::Succeeded => "succeeded",
            JobState::Failed => "failed",
            JobState::Expired => "expired",
            JobState::Cancelled => "cancelled",
        }
    }

    pub fn is_final(self) -> bool {
        self >= JobState::Succeeded
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line of a job's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Wall,
    pub what: Happening,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happening {
    Enqueued,
    Scheduled {
        until: Wall,
    },
    /// Its time came: from `scheduled` or `waiting` into its queue.
    Due,
    /// An attempt is on record; its request leaves after this.
    Sent {
        attempt: u32,
        passed_over: u32,
    },
    /// The attempt on record was called back before its request left.
    NotSent {
        attempt: u32,
    },
    Done {
        attempt: u32,
        status: u16,
    },
    Refused {
        attempt: u32,
        status: Option<u16>,
        reason: Option<String>,
        until: Wall,
    },
    Rejected {
        attempt: u32,
        status: u16,
    },
    Unknown {
        attempt: u32,
        status: Option<u16>,
        reason: Option<String>,
    },
    Waiting {
        until: Wall,
    },
    PriorityChanged {
        from: Priority,
        to: Priority,
        /// The name of the token, where it has one.
        by: Option<String>,
    },
    Cancelled {
        reason: Option<String>,
    },
    Expired,
    Failed {
        code: String,
    },
    Redriven {
        by: Option<String>,
    },
    /// It cannot be sent, ever.
    Unfit {
        reason: String,
    },
    /// The workflow that waited was told.
    TokenAnswered,
    /// The workflow did not wait any more, or could not be told; why.
    TokenLate {
        reason: String,
    },
    /// A question is on record; it leaves after this.
    Asked {
        question: u32,
        passed_over: u32,
    },
    /// The question on record was called back before it left.
    NotAsked {
        question: u32,
    },
    /// What came of a question.
    Answered {
        question: u32,
        says: Says,
        status: Option<u16>,
        reason: Option<String>,
    },
    /// The outcome of the work is asked for then.
    Verifying {
        until: Wall,
    },
    /// The target took the work on, and says how it goes at this path.
    Accepted {
        attempt: u32,
        status: u16,
        path: String,
    },
    /// Somebody changed these parts of the request before it was redriven.
    Edited {
        parts: String,
    },
    /// It waits for those before it in its group.
    Behind,
    /// Its turn in its group came.
    Headed,
    /// By the limits in force it would start then, after its deadline.
    Hopeless {
        estimated_start: Wall,
    },
    /// Its callback took the message about its end.
    CallbackDelivered {
        status: u16,
    },
    /// Its callback was not told of its end, and nobody tries any more; why.
    CallbackUndelivered {
        reason: String,
    },
    /// Somebody wants its callback to be told once more.
    CallbackAgain {
        by: Option<String>,
    },
}

/// What an answer to a question says of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Says {
    Done,
    NotDone,
    /// The target tried, and it will never do.
    Failed,
    /// It is under way.
    Pending,
    /// The target would not be asked now.
    Refused,
    /// Nothing.
    Unknown,
}

impl Says {
    pub fn as_str(self) -> &'static str {
        match self {
            Says::Done => "done",
            Says::NotDone => "not_done",
            Says::Failed => "failed",
            Says::Pending => "pending",
            Says::Refused => "refused",
            Says::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_written() {
        let id = JobId(0x0197_a3b0_6d1e_7c55_b1b2_6f5a_4f0c_9e11);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("nonsense".parse::<JobId>(), Err(NotAJobId));
    }

    #[test]
    fn priorities_are_read_in_any_case_and_written_in_capitals() {
        assert_eq!("high".parse(), Ok(Priority::High));
        assert_eq!(Priority::Batch.to_string(), "BATCH");
        assert_eq!("urgent".parse::<Priority>(), Err(NotAPriority));
    }

    #[test]
    fn what_has_ended_well_never_comes_back() {
        let at = Wall::EPOCH;
        for end in [End::Succeeded, End::Cancelled] {
            let ended = Place::Ended { end, at };
            assert!(!ended.may_become(&Place::Queued));
            assert!(ended.may_become(&ended));
            assert!(!ended.may_become(&Place::Ended { end: End::Expired, at }));
        }
        let dead = Place::Ended { end: End::Expired, at };
        assert!(dead.may_become(&Place::Queued));
    }
}
