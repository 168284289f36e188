//! What goes into the core and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use super::calendar::Quota;
use super::callback::{CallbackName, Told};
use super::change::{Change, Load, Loaded, Recovered, Turn};
use super::course::{Aim, Delivery};
use super::fair::FlowKey;
use super::forecast;
use super::group::GroupName;
use super::job::{Header, JobId, JobState, Place, Priority, Source, TargetId};
use super::payload::{Report, Request};
use super::policy::{Bounds, LimitId, LimitName, Policy, Rate};
use super::time::{Mono, Wall};

/// Whom an answer is for; the shell knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

#[derive(Clone, Debug)]
pub enum Input {
    /// Time may have passed.
    Tick,
    /// A batch is durable together. Answered with `Reply::Submitted`, in order.
    Submit {
        to: ReplyTo,
        jobs: Vec<Submission>,
    },
    /// Answered with `Reply::Job`.
    Command {
        to: ReplyTo,
        command: JobCommand,
    },
    /// Dead jobs of a target. Answered with `Reply::Swept`.
    Sweep {
        to: ReplyTo,
        target: TargetId,
        sweep: Sweep,
        which: DeadFilter,
    },
    /// Answered with `Reply::Target`.
    Pause {
        to: ReplyTo,
        target: TargetId,
        paused: bool,
    },
    /// Its caller hung up: cancel the job if it was not started, and tell nobody.
    Abandoned {
        job: JobId,
    },
    /// The workflow that waits for the job is gone, says Step Functions: one that is not under way
    /// is cancelled, and nobody is owed an answer.
    TaskGone {
        job: JobId,
        reason: String,
    },
    /// The task token of a job that has ended was answered, or never will be.
    Settled {
        job: JobId,
        how: Settlement,
    },
    /// The callback of a job was told of this one of its ends, or never will be.
    Told {
        job: JobId,
        end: u32,
        how: Told,
    },
    /// The attempt that `Output::Send` let go was not sent: the workflow that waits for the job is
    /// gone. The job is cancelled.
    NotSent {
        job: JobId,
        number: u32,
        reason: String,
    },
    /// The request that `Output::Send` let go is on its way to its target; said once at most, and
    /// not at all where `Input::Attempted` says more.
    Left {
        job: JobId,
        number: u32,
        at: Mono,
    },
    /// The request that `Output::Send` let go has ended.
    Attempted {
        job: JobId,
        number: u32,
        report: Report,
    },
    /// This turn and all before it are on disk.
    Committed {
        turn: Turn,
    },
    Loaded(Loaded),
    /// The targets that there are from now on; a target that is missing keeps its jobs.
    Configure {
        targets: Vec<(TargetId, String, Policy)>,
        /// Those that targets share.
        limits: Vec<(LimitName, Bounds)>,
    },
    /// How long ended jobs can be looked up.
    Retention {
        keep: Duration,
    },
    /// Take nothing new, start nothing, finish what is under way.
    Drain,
}

#[derive(Clone, Debug)]
pub struct Submission {
    pub source: Source,
    pub id: JobId,
    pub target: TargetId,
    pub priority: Priority,
    pub request: Arc<Request>,
    /// Not to be sent before then.
    pub not_before: Option<Wall>,
    /// Not to be sent after then.
    pub deadline: Option<Wall>,
    pub max_attempts: Option<u32>,
    /// The target's where there is none.
    pub delivery: Option<Delivery>,
    pub dedup: Option<Dedup>,
    /// Goes after all that came before it in this group, one at a time.
    pub group: Option<GroupName>,
    /// On whose account it goes, within its queue.
    pub flow: Option<FlowKey>,
    /// Who is told of its end.
    pub callback: Option<CallbackName>,
    /// A message that cannot be understood, and why: it goes straight to the dead jobs.
    pub unfit: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedup {
    pub name: String,
    pub digest: [u8; 32],
    /// For how long the name stands for its job at least; and for as long as the job lives.
    pub keep: Duration,
}

impl Dedup {
    /// How long a `dedup_id` of a caller is kept (CONTRACT §5).
    pub const KEEP: Duration = Duration::from_secs(300);
}

/// What became of a task token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Step Functions took the answer.
    Answered,
    /// It will never take one: the task is over, or the token is none.
    Late { reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobCommand {
    /// One that is not under way ends as `cancelled`; one of which an attempt may have done work
    /// already only with `even_if_tried`.
    Cancel {
        job: JobId,
        even_if_tried: bool,
        reason: Option<String>,
    },
    Reprioritize {
        job: JobId,
        priority: Priority,
        by: Option<Who>,
    },
    /// A dead one goes to the end of its queue, with all its attempts before it.
    Redrive {
        job: JobId,
        edit: Option<Box<Edit>>,
        by: Option<Who>,
    },
    /// A dead one is forgotten.
    Purge {
        job: JobId,
    },
    /// The callback of one that has ended is told once more.
    TellAgain {
        job: JobId,
        by: Option<Who>,
    },
}

impl JobCommand {
    pub fn job(&self) -> JobId {
        match self {
            JobCommand::Cancel { job, .. }
            | JobCommand::Reprioritize { job, .. }
            | JobCommand::Redrive { job, .. }
            | JobCommand::TellAgain { job, .. }
            | JobCommand::Purge { job } => *job,
        }
    }
}

/// What is changed of a dead job before it is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub priority: Option<Priority>,
    pub request: Option<Arc<Request>>,
    /// Which parts differ; for its history.
    pub parts: String,
}

/// Who asked for it, by the name of a token; for the history of a job.
pub type Who = Arc<str>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// `pace`: so long from one job to the next. They are scheduled all at once, so that a restart
    /// changes nothing about it.
    Redrive {
        pace: Option<Duration>,
        by: Option<Who>,
    },
    Purge,
}

/// Which dead jobs; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// As in [`super::job::End::code`].
    pub code: Option<String>,
    pub priority: Option<Priority>,
    pub died_before: Option<Wall>,
    /// Or then.
    pub died_after: Option<Wall>,
}

impl DeadFilter {
    pub fn fits(&self, header: &Header, place: &Place) -> bool {
        let Place::Ended { end, at } = place else { return false };
        self.code.as_ref().is_none_or(|code| end.code().as_ref() == Some(code))
            && self.priority.is_none_or(|priority| header.priority == priority)
            && self.died_before.is_none_or(|before| *at < before)
            && self.died_after.is_none_or(|after| *at >= after)
    }
}

/// How full `dead_retention` is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeadFill {
    pub target: TargetId,
    /// 1 where it is full.
    pub fill: f64,
    /// Dead jobs that were forgotten just now.
    pub dropped: u64,
}

/// A request that is let go.
#[derive(Clone, Debug)]
pub struct Sending {
    pub job: JobId,
    pub target: TargetId,
    pub priority: Priority,
    /// Among the job's requests.
    pub number: u32,
    /// Among those for its work.
    pub attempt: u32,
    pub aim: Aim,
    /// Since when it waited: for its first request since it was taken in, for a later one since it
    /// last came into its queue.
    pub since: Wall,
}

#[derive(Clone, Debug)]
pub enum Output {
    /// To be committed with the turn.
    Change(Change),
    /// To be let out once the turn is durable.
    Reply { to: ReplyTo, reply: Reply },
    /// To be asked of the store after the turn is durable.
    Load(Load),
    /// To be sent now: its start is durable and its token is taken.
    Send(Sending),
    /// A start that came to nothing: forget the request that was kept ready for it.
    Unsend { job: JobId },
    /// For the books: the head of `of` was passed over by a higher job.
    PassedOver { target: TargetId, of: Priority },
    /// For the books: how long a job waited from when it could be sent to its start.
    Waited { target: TargetId, priority: Priority, wait: Duration },
    /// For people: `dead_retention` is nearly full, or dead jobs were forgotten for it.
    DeadFill(DeadFill),
    /// After `Input::Drain`: nothing is under way any more.
    Drained,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Submitted(Vec<Submitted>),
    Job(Result<Box<(Header, Place)>, CommandError>),
    /// How many dead jobs were redriven or purged.
    Swept(u64),
    Target(Result<(), UnknownTarget>),
}

#[expect(clippy::large_enum_variant, reason = "the large one is what nearly all of them are")]
#[derive(Clone, Debug, PartialEq)]
pub enum Submitted {
    Accepted {
        header: Header,
        place: Place,
    },
    /// The job that holds the `dedup_id` already.
    Duplicate {
        id: JobId,
    },
    Refused(Refusal),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    UnknownTarget,
    QueueFull {
        retry_after: Duration,
    },
    Draining,
    /// The same `dedup_id` with another payload.
    DedupMismatch {
        id: JobId,
    },
    DeadlinePassed,
    /// With `reject_if_late`: by the limits in force it would start then, after its deadline.
    TooLate {
        estimated_start: Wall,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    NoSuchJob,
    /// The job's state does not allow it.
    Conflict {
        state: JobState,
    },
    Draining,
    /// Another job has its `dedup_id` by now.
    Overtaken {
        by: JobId,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownTarget;

/// Why nothing more is sent to a target just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockedOn {
    Rate,
    Concurrency,
    /// A hard window has no slot left.
    Window,
    /// A calendar quota is used up.
    Quota,
    /// Too many attempts in a row failed.
    Breaker,
    /// The target asked for a pause, or could not be reached.
    Refused,
    Paused,
    /// By its schedule.
    Closed,
    Draining,
}

impl BlockedOn {
    pub const ALL: [BlockedOn; 9] = [
        BlockedOn::Rate,
        BlockedOn::Concurrency,
        BlockedOn::Window,
        BlockedOn::Quota,
        BlockedOn::Breaker,
        BlockedOn::Refused,
        BlockedOn::Paused,
        BlockedOn::Closed,
        BlockedOn::Draining,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            BlockedOn::Rate => "rate",
            BlockedOn::Concurrency => "concurrency",
            BlockedOn::Window => "window",
            BlockedOn::Quota => "quota",
            BlockedOn::Breaker => "breaker",
            BlockedOn::Refused => "refused",
            BlockedOn::Paused => "paused",
            BlockedOn::Closed => "closed",
            BlockedOn::Draining => "draining",
        }
    }
}

/// One target as it is now.
#[derive(Clone, Debug)]
pub struct TargetView {
    pub id: TargetId,
    pub name: String,
    /// `None`: it has jobs, but the configuration does not name it any more.
    pub policy: Option<Policy>,
    pub counts: super::change::Counts,
    /// How full its `dead_retention` is, up to 1; `None` where dead jobs are kept for ever.
    pub dead_fill: Option<f64>,
    /// Of what could be sent now, by priority.
    pub oldest: [Option<Wall>; 3],
    pub in_flight: u32,
    pub paused: bool,
    pub blocked: Option<(BlockedOn, Option<Mono>)>,
    /// The shared limit that does it; `None`: the target's own, or no limit at all.
    pub blocked_by: Option<LimitName>,
    /// The window that does it.
    pub blocked_window: Option<Rate>,
    /// In force, by configuration, schedule, and what the target's answers say; `None`: nothing may
    /// be sent at all.
    pub rate: Option<Rate>,
    pub breaker_open: bool,
    /// For estimates.
    pub forecast: Arc<forecast::Limits>,
    /// How long jobs were ready and this held them back, by [`BlockedOn::ALL`].
    pub blocked_for: [Duration; BlockedOn::ALL.len()],
}

/// One limit as it is now.
#[derive(Clone, Debug)]
pub struct LimitView {
    pub id: LimitId,
    pub bounds: Bounds,
    /// Attempts that are armed or sent.
    pub under_way: u32,
    /// Places of requests that timed out and may still run.
    pub held: u64,
    pub windows: Vec<WindowView>,
    /// The quota, and what is left of it for HIGH.
    pub quota: Option<(Quota, u64)>,
}

#[derive(Clone, Debug)]
pub struct WindowView {
    pub rate: Rate,
    /// How many may still start, if HIGH.
    pub left: u64,
    /// Slots of attempts that have ended: so many are free again after so long. In order.
    pub taken: Vec<(Duration, u64)>,
}

/// How much of the backlog memory holds. Each at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Headers of one line: of one target at one priority.
    pub line: usize,
    /// Timers, and as many deadlines, of all targets together.
    pub timers: usize,
    /// Ended jobs that a sweep, or retention, handles in one go.
    pub page: usize,
    /// Flows, in each of two generations. Two pages at least.
    pub flows: usize,
}

impl Default for Windows {
    fn default() -> Windows {
        Windows { line: 1_024, timers: 4_096, page: 256, flows: 4_096 }
    }
}

/// Everything that a new core is made from.
pub struct Start {
    pub recovered: Recovered,
    pub targets: Vec<(TargetId, String, Policy)>,
    /// Those that targets share.
    pub limits: Vec<(LimitName, Bounds)>,
    pub retention: Duration,
    pub windows: Windows,
}
