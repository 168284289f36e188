//! What readers of the store see of a job.

use crate::broker::job::{Event, Header, JobId, JobState, Place, Priority, TargetId};

/// A job with its history, as of the last commit.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    pub header: Header,
    pub place: Place,
    pub history: Vec<Event>,
}

/// Which jobs to list; `None` means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub target: Option<TargetId>,
    pub state: Option<JobState>,
    pub priority: Option<Priority>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub jobs: Vec<JobRecord>,
    /// Where the next page begins: the last job of this page; `None` at the end.
    pub next: Option<JobId>,
}
