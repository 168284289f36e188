//! What readers of the store see of a job.

use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use crate::broker::change::Move;
use crate::broker::group::{GroupKey, GroupName};
use crate::broker::job::{Event, Happening, Header, JobState, Place, Priority, TargetId};
use crate::broker::payload::Answer;
use crate::broker::time::Wall;

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

/// What was answered to one request of a job that has not succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: Wall,
    /// The attempt at its work; for a question the one that it asks about.
    pub attempt: u32,
    pub question: Option<u32>,
    /// At most [`Attempt::BODY`] bytes of its body.
    pub answer: Answer,
}

impl Attempt {
    /// How many of a job's answers are kept, the last ones. (The last one is kept once more, with
    /// more of its body.)
    pub const KEPT: u32 = 10;
    /// Of one body, in bytes.
    pub const BODY: usize = 4 * 1024;

    /// `None` where no answer came, or where nobody will want to look at it.
    pub(super) fn of(step: &Move) -> Option<Attempt> {
        let answer = step.answer.as_ref()?;
        let in_vain = !matches!(step.to, Place::Ended { end, .. } if !end.is_dead());
        let header = &step.header;
        // Only what ends a request is an answer to it.
        let ends = matches!(step.from, Place::Running { .. });
        let question = header.course.questions;
        let asked =
            step.events.iter().any(|event| matches!(event.what, Happening::Answered { .. }));
        (in_vain && ends).then(|| Attempt {
            at: step.events.first().map_or(Wall::EPOCH, |event| event.at),
            attempt: header.attempts,
            question: asked.then_some(question),
            answer: answer.cut(Attempt::BODY),
        })
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
