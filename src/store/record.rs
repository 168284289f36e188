//! What readers of the store see of a job.

use super::cursor::Cursor;
use crate::broker::group::{GroupKey, GroupName};
use crate::broker::job::{Event, Header, JobState, Place, Priority, TargetId};

/// A job with its history, as of the last commit.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    pub header: Header,
    pub place: Place,
    /// Oldest first. Of a long one the first [`HISTORY_HEAD`] events are kept and the last ones,
    /// [`HISTORY_KEPT`] in all; `header.attempts` still counts every attempt.
    pub history: Vec<Event>,
}

impl JobRecord {
    /// The group in which it waits for those before it.
    pub fn waits_in(&self) -> Option<GroupKey> {
        let waits = matches!(self.place, Place::Behind { .. });
        self.header.group_key().filter(|_| waits)
    }
}

/// How many events of a job are kept.
pub const HISTORY_KEPT: usize = 100;
/// How many of them are its first ones: how it came in, and how the trouble began.
pub const HISTORY_HEAD: usize = 20;

/// Drops what is too much, after the head.
pub(super) fn cap_history(history: &mut Vec<Event>) {
    if let Some(excess) = history.len().checked_sub(HISTORY_KEPT) {
        history.drain(HISTORY_HEAD..HISTORY_HEAD + excess);
    }
}

/// Which jobs to list; `None` means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub target: Option<TargetId>,
    pub state: Option<JobState>,
    pub priority: Option<Priority>,
    pub group: Option<GroupName>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub jobs: Vec<JobRecord>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}
