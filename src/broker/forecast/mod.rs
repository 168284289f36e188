//! When jobs will start, from the limits in force: estimates, not promises.
//!
//! The limits are played forward as if jobs were a liquid (`course`): from one bend of the curve
//! to the next, not from job to job, so that a backlog of millions costs no more than one of
//! hundreds. What is not foreseen: jobs that come later, refusals, retries, a target that answers
//! faster or slower than it did, other targets' use of a shared limit, and that jobs of a group go
//! one after the other, or wait for a dead one.

mod ceiling;
mod course;
mod limits;
mod phases;
mod plan;

#[cfg(test)]
mod tests;

pub use limits::{Bucket, Concurrency, Gate, Hold, Limits, QuotaLeft, Window};
pub use phases::{By, Phase};
pub use plan::{Delay, Order, Plan, plan};

use course::{Course, Mark, Work};

use super::job::Priority;
use super::time::Wall;

/// Jobs that wait for their start, by [`Priority::index`].
pub type Queued = [u64; Priority::ALL.len()];

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// From 1: itself and those that are due before it. Now and then a lower one that was passed
    /// over often enough goes first all the same.
    pub position: u64,
    /// `None`: never as things stand, or past what can be foreseen.
    pub estimated_start: Option<Wall>,
}

/// Where the `nth` job of its queue (from 1) stands, and when it would start.
pub fn position(limits: &Limits, queued: &Queued, priority: Priority, nth: u64) -> Position {
    let higher: u64 = queued.iter().take(priority.index()).sum();
    Position {
        position: higher.saturating_add(nth),
        estimated_start: start(limits, queued, priority, nth),
    }
}

/// When the `nth` job of its queue (from 1) would start; `None`: never as things stand, or past
/// what can be foreseen (ten years).
pub fn start(limits: &Limits, queued: &Queued, priority: Priority, nth: u64) -> Option<Wall> {
    let mut queued = *queued;
    // Whoever stands behind it does not matter.
    queued[priority.index()] = nth;
    let work = Work { queued, order: None };
    let mut mark = [Mark::new(priority, nth)];
    Course::new(limits, &work).run(&mut mark, |_| {});
    mark[0].at
}

/// When the last job of each queue would start, by [`Priority::index`]; of an empty queue, now.
/// `None` as for [`start`].
pub fn drained(limits: &Limits, queued: &Queued) -> [Option<Wall>; Priority::ALL.len()] {
    let mut marks = Priority::ALL.map(|priority| Mark::new(priority, queued[priority.index()]));
    Course::new(limits, &Work { queued: *queued, order: None }).run(&mut marks, |_| {});
    marks.map(|mark| mark.at)
}
