//! What a turn of the core changes in the store, and what it asks of it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::counts::Counts;
use super::fair::{Clocks, FlowId, Rank, Tag};
use super::group::{GroupKey, Stand};
use super::job::{Event, Header, JobId, Owed, Place, Priority, Seat, Source, TargetId};
use super::payload::{Answer, Request};
use super::policy::{DeadRetention, LimitId};
use super::time::{Lived, Wall};

/// Orders turns. Turn n is durable before turn n+1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn(pub u64);

/// Within a target, what a caller named its job so that it is never there twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DedupKey {
    pub target: TargetId,
    pub name: String,
}

/// A job's claim on its [`DedupKey`]. It holds while the job lives and until `until`; a later job
/// may then take it over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub key: DedupKey,
    /// Of the request, so that another payload under the same key is seen.
    pub digest: [u8; 32],
    pub until: Wall,
}

/// One durable step. Those of a turn are committed together or not at all.
///
/// What the store keeps of one as it is are its words; requests and answers it writes beside them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    Insert(Box<Insert>),
    Move(Box<Move>),
    /// An ended job is forgotten, with all that belongs to it: request, answer, history, and its
    /// claim where no later job took that over.
    Delete {
        id: JobId,
        target: TargetId,
        priority: Priority,
        place: Place,
        /// One that held its group holds it no more.
        stand: Stand,
    },
    /// A dead job gets another request. The first one that it had is kept beside it.
    Rewrite {
        id: JobId,
        target: TargetId,
        #[serde(skip)]
        request: Arc<Request>,
    },
    Paused {
        target: TargetId,
        paused: bool,
    },
    /// The last job of this flow is done then, in its queue's virtual time.
    Flow {
        flow: FlowId,
        done: Tag,
    },
    /// Nothing is sent to the target before then.
    Held {
        target: TargetId,
        until: Wall,
    },
    /// So much of a limit is spent; nought: what was said of it is over.
    Spent(Spent),
    /// What the store has lived when the wall clock said so. With every turn that says what is
    /// spent.
    Lived {
        lived: Lived,
        wall: Wall,
    },
}

/// What a limit remembers, over restarts. Absolute: the last word counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spent {
    pub limit: LimitId,
    pub account: Account,
    pub count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Account {
    /// Attempts that ended in the step that ends then, of a window of this width.
    Window { per: Duration, end: Lived },
    /// Places that are held until then.
    Place { until: Lived },
    /// Attempts that ended in the period that began then, and is not over before `until`.
    Quota { since: Wall, until: Lived },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Insert {
    pub header: Header,
    /// `Queued`, `Scheduled` or `Behind`.
    pub place: Place,
    #[serde(skip)]
    pub request: Arc<Request>,
    pub claim: Option<Claim>,
    /// Not stored.
    #[serde(skip)]
    pub source: Source,
    /// Opens the history.
    pub events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Move {
    /// As it is after the move.
    pub header: Header,
    /// Both before the move: together with the header they name the row that goes.
    pub from: Place,
    pub from_priority: Priority,
    pub from_seat: Seat,
    pub from_owed: Owed,
    pub from_stand: Stand,
    pub to: Place,
    /// Appended to the history.
    pub events: Vec<Event>,
    /// Replaces the answer that is kept.
    #[serde(skip)]
    pub answer: Option<Arc<Answer>>,
}

/// A question to the store. It is answered from the store as it is after the turn that asks: so
/// an answer lacks only what the core itself did since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// The next jobs in a queue, by rank.
    Ready { target: TargetId, priority: Priority, after: Option<Rank>, limit: usize },
    /// The next scheduled and waiting jobs of all targets, by time.
    Timers { after: Option<(Wall, JobId)>, limit: usize },
    /// The next deadlines of jobs that have not ended, by time.
    Deadlines { after: Option<(Wall, JobId)>, limit: usize },
    /// One job by name; `what` comes back with the answer.
    Job { id: JobId, ticket: Ticket },
    /// Who holds this key?
    Claim { key: DedupKey, ticket: Ticket },
    /// These jobs, and who holds the names that they came with. Those that are not there are left
    /// out.
    Candidates { ids: Vec<JobId>, ticket: Ticket },
    /// When is the last job of this flow done? Where virtual time has passed that, it is no matter.
    Flow { flow: FlowId, ticket: Ticket },
    /// Is anybody in this group, to be waited for?
    Group { key: GroupKey, ticket: Ticket },
    /// Who is next in this group? Nobody while it has a head.
    Heir { key: GroupKey, ticket: Ticket },
    /// Groups of all targets that have somebody and no head.
    Vacant { after: Option<GroupKey>, limit: usize },
    /// Dead jobs of a target, by the time of their death.
    Dead { target: TargetId, after: Option<(Wall, JobId)>, limit: usize, ticket: Ticket },
    /// Jobs that ended before then and are not dead, oldest first: what retention lets go. Not
    /// those whose task token is still to be answered.
    Finished { before: Wall, limit: usize },
    /// What of a target's dead jobs `keep` lets go at `now`, the oldest first. Not those whose task
    /// token is still to be answered.
    Graves { target: TargetId, keep: DeadRetention, now: Wall, limit: usize },
}

/// Ties an answer of the store to what the core wanted it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The answer to a [`Load`]. Rows are in order; fewer than `limit` means that there are no more.
#[derive(Clone, Debug, PartialEq)]
pub enum Loaded {
    Ready {
        target: TargetId,
        priority: Priority,
        rows: Vec<Header>,
        exhausted: bool,
    },
    /// Each in `Scheduled` or `Waiting`.
    Timers {
        rows: Vec<(Header, Place)>,
        exhausted: bool,
    },
    Deadlines {
        rows: Vec<(Wall, JobId)>,
        exhausted: bool,
    },
    Job {
        ticket: Ticket,
        job: Option<(Header, Place)>,
    },
    Candidates {
        ticket: Ticket,
        rows: Vec<Candidate>,
    },
    Flow {
        ticket: Ticket,
        done: Option<Tag>,
    },
    Group {
        ticket: Ticket,
        taken: bool,
    },
    /// One whose stand is `Behind`; perhaps a dead one.
    Heir {
        ticket: Ticket,
        heir: Option<(Header, Place)>,
    },
    Vacant {
        groups: Vec<GroupKey>,
        exhausted: bool,
    },
    Claim {
        ticket: Ticket,
        holder: Option<Holder>,
    },
    Dead {
        ticket: Ticket,
        rows: Vec<(Header, Place)>,
        exhausted: bool,
    },
    /// `next`: when the oldest that is left ended.
    Finished {
        rows: Vec<(JobId, TargetId, Priority, Place)>,
        next: Option<Wall>,
    },
    /// `buried`: all dead jobs of the target. `next`: when the oldest that is left died.
    Graves {
        target: TargetId,
        rows: Vec<(Header, Place)>,
        buried: Buried,
        next: Option<Wall>,
    },
}

/// The dead jobs of a target, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buried {
    pub count: u64,
    /// Of requests and answers as they are on disk, in bytes.
    pub size: u64,
    /// When the first of them died.
    pub oldest: Option<Wall>,
}

/// A job that may be redriven.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub header: Header,
    pub place: Place,
    /// The `dedup_id` that it came with.
    pub name: Option<String>,
    /// Who holds that now; nobody where the holder was cancelled.
    pub holder: Option<JobId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub id: JobId,
    pub digest: [u8; 32],
    pub until: Wall,
    pub ended: bool,
    /// It ended so: then the name is free again.
    pub cancelled: bool,
}

/// What the store found when it was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    pub targets: Vec<RecoveredTarget>,
    /// Started, and nobody knows how far they came.
    pub running: Vec<(Header, Wall)>,
    /// The highest that was ever given.
    pub last_seat: Seat,
    /// What the limits have spent, in order.
    pub spent: Vec<Spent>,
    /// What the store has lived up to now.
    pub lived: Lived,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredTarget {
    pub id: TargetId,
    pub name: String,
    pub paused: bool,
    pub held_until: Option<Wall>,
    pub counts: Counts,
    pub clocks: Clocks,
}

impl Change {
    /// `None`: it is about a limit, or about time.
    pub fn target(&self) -> Option<TargetId> {
        match self {
            Change::Insert(insert) => Some(insert.header.target),
            Change::Move(step) => Some(step.header.target),
            Change::Delete { target, .. }
            | Change::Rewrite { target, .. }
            | Change::Paused { target, .. }
            | Change::Held { target, .. } => Some(*target),
            Change::Flow { flow, .. } => Some(flow.target),
            Change::Spent(_) | Change::Lived { .. } => None,
        }
    }
}
