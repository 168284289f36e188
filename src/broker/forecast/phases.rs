//! Which limit decides when.

use super::course::Step;
use super::limits::{Hold, Limits};
use crate::broker::policy::Rate;
use crate::broker::time::Wall;

/// What decides how fast jobs start, or that none do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum By {
    /// No job is there.
    Nothing,
    /// The target's own rate.
    Rate(Rate),
    /// The rate that its schedule sets.
    Scheduled(Rate),
    /// The rate of a shared limit: its number in [`Limits::shared`].
    Shared(usize),
    Concurrency,
    /// By number in [`Limits::windows`].
    Window(usize),
    /// By number in [`Limits::quotas`].
    Quota(usize),
    /// The schedule.
    Closed,
    Hold(Hold),
}

/// A stretch of time in which one limit decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    pub from: Wall,
    pub to: Wall,
    /// Jobs of all priorities that start in it.
    pub jobs: f64,
    pub by: By,
}

/// Gathers steps into phases that people can read. A window that is filled and empties again and
/// again, with some rate deciding between, is one phase of that window.
#[derive(Debug)]
pub(super) struct Phases<'a> {
    limits: &'a Limits,
    from: Wall,
    list: Vec<Phase>,
    more: u64,
}

impl Phases<'_> {
    const MOST: usize = 60;

    /// Tells nothing of what is before `from`.
    pub(super) fn new(limits: &Limits, from: Wall) -> Phases<'_> {
        Phases { limits, from, list: Vec::new(), more: 0 }
    }

    pub(super) fn add(&mut self, step: &Step) {
        if step.to < self.from || step.by == By::Nothing {
            return;
        }
        let jobs = if step.from >= self.from { step.starts.iter().sum() } else { 0.0 };
        let new = Phase { from: step.from.max(self.from), to: step.to, jobs, by: step.by };
        if let Some(last) = self.list.last_mut().filter(|last| last.by == new.by) {
            (last.to, last.jobs) = (new.to, last.jobs + new.jobs);
            return;
        }
        if let By::Window(_) = new.by
            && let Some(same) = self.list.iter().rposition(|phase| phase.by == new.by)
            && self.list[same + 1..].iter().all(|between| self.rank(between.by) < self.rank(new.by))
        {
            let jobs: f64 = self.list.drain(same + 1..).map(|between| between.jobs).sum();
            let last = &mut self.list[same];
            (last.to, last.jobs) = (new.to, last.jobs + jobs + new.jobs);
            return;
        }
        if self.list.len() >= Phases::MOST {
            self.more += 1;
            return;
        }
        self.list.push(new);
    }

    /// The phases, and how many more there are that are not listed.
    pub(super) fn finish(self) -> (Vec<Phase>, u64) {
        (self.list, self.more)
    }

    /// Of what comes and goes within what.
    fn rank(&self, by: By) -> u128 {
        match by {
            By::Nothing | By::Rate(_) | By::Scheduled(_) | By::Shared(_) | By::Concurrency => 0,
            By::Window(number) => {
                self.limits.windows.get(number).map_or(0, |window| window.width.as_nanos().max(1))
            }
            By::Quota(_) | By::Closed | By::Hold(_) => u128::MAX,
        }
    }
}
