//! What a turn of the core changes in the store, and what it asks of it.

use std::sync::Arc;
use std::time::Duration;

use super::io::Source;
use super::job::{Event, Header, JobId, JobState, Owed, Place, Priority, Seat, TargetId};
use super::payload::{Answer, Request};
use super::policy::LimitId;
use super::time::{Lived, Wall};

/// Orders turns. Turn n is durable before turn n+1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn(pub u64);

/// Within a target, what a caller named its job so that it is never there twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupKey {
    pub target: TargetId,
    pub name: String,
}

/// A job's claim on its [`DedupKey`]. It holds while the job lives and until `until`; a later job
/// may then take it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub key: DedupKey,
    /// Of the request, so that another payload under the same key is seen.
    pub digest: [u8; 32],
    pub until: Wall,
}

/// One durable step. Those of a turn are committed together or not at all.
#[derive(Clone, Debug, PartialEq)]
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
    },
    Paused {
        target: TargetId,
        paused: bool,
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spent {
    pub limit: LimitId,
    pub account: Account,
    pub count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// Attempts that ended in the step that ends then, of a window of this width.
    Window { per: Duration, end: Lived },
    /// Places that are held until then.
    Place { until: Lived },
    /// Attempts that ended in the period that began then, and is not over before `until`.
    Quota { since: Wall, until: Lived },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    pub header: Header,
    /// `Queued` or `Scheduled`.
    pub place: Place,
    pub request: Arc<Request>,
    pub claim: Option<Claim>,
    /// Not stored.
    pub source: Source,
    /// Opens the history.
    pub events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// As it is after the move.
    pub header: Header,
    /// Both before the move: together with the header they name the row that goes.
    pub from: Place,
    pub from_priority: Priority,
    pub from_seat: Seat,
    pub from_owed: Owed,
    pub to: Place,
    /// Appended to the history.
    pub events: Vec<Event>,
    /// Replaces the answer that is kept.
    pub answer: Option<Arc<Answer>>,
}

/// A question to the store. It is answered from the store as it is after the turn that asks: so
/// an answer lacks only what the core itself did since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// The next jobs in a queue, by seat.
    Ready { target: TargetId, priority: Priority, after: Option<Seat>, limit: usize },
    /// The next scheduled and waiting jobs of all targets, by time.
    Timers { after: Option<(Wall, JobId)>, limit: usize },
    /// The next deadlines of jobs that have not ended, by time.
    Deadlines { after: Option<(Wall, JobId)>, limit: usize },
    /// One job by name; `what` comes back with the answer.
    Job { id: JobId, ticket: Ticket },
    /// Who holds this key?
    Claim { key: DedupKey, ticket: Ticket },
    /// Dead jobs of a target, by the time of their death.
    Dead { target: TargetId, after: Option<(Wall, JobId)>, limit: usize, ticket: Ticket },
    /// Jobs that ended before then and are not dead, oldest first: what retention lets go. Not
    /// those whose task token is still to be answered.
    Finished { before: Wall, limit: usize },
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
}

/// How many jobs of one target are where. Kept in the commit that moves them, never by a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts([[u64; JobState::ALL.len()]; Priority::ALL.len()]);

impl Counts {
    pub fn get(&self, priority: Priority, state: JobState) -> u64 {
        self.0[priority.index()][state as usize]
    }

    pub fn set(&mut self, priority: Priority, state: JobState, count: u64) {
        self.0[priority.index()][state as usize] = count;
    }

    pub fn add(&mut self, priority: Priority, state: JobState) {
        self.0[priority.index()][state as usize] += 1;
    }

    /// # Panics
    /// Where there is none to take away: the books would be wrong.
    pub fn take(&mut self, priority: Priority, state: JobState) {
        let count = &mut self.0[priority.index()][state as usize];
        *count = count.checked_sub(1).expect("a job leaves a place only after it came there");
    }

    pub fn in_state(&self, state: JobState) -> u64 {
        Priority::ALL.iter().map(|priority| self.get(*priority, state)).sum()
    }

    /// Those that have not ended.
    pub fn alive(&self) -> u64 {
        JobState::ALL.iter().filter(|state| !state.is_final()).map(|s| self.in_state(*s)).sum()
    }

    pub fn dead(&self) -> u64 {
        self.in_state(JobState::Failed) + self.in_state(JobState::Expired)
    }

    /// What `change` does to the counts of its target; the one place that knows.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Insert(insert) => self.add(insert.header.priority, insert.place.state()),
            Change::Move(step) => {
                self.take(step.from_priority, step.from.state());
                self.add(step.header.priority, step.to.state());
            }
            Change::Delete { priority, place, .. } => self.take(*priority, place.state()),
            Change::Paused { .. }
            | Change::Held { .. }
            | Change::Spent(_)
            | Change::Lived { .. } => {}
        }
    }
}

impl Change {
    /// `None`: it is about a limit, or about time.
    pub fn target(&self) -> Option<TargetId> {
        match self {
            Change::Insert(insert) => Some(insert.header.target),
            Change::Move(step) => Some(step.header.target),
            Change::Delete { target, .. }
            | Change::Paused { target, .. }
            | Change::Held { target, .. } => Some(*target),
            Change::Spent(_) | Change::Lived { .. } => None,
        }
    }
}
