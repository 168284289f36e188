//! What callers ask for, until the loop takes it in.
//!
//! Work under way has the loop to itself whenever it wants it: what callers ask is taken a slice
//! at a time, and no more of it than a commit should hold. Small requests pass large ones, so that
//! one job, or a pause, does not wait for the year's work that somebody hands in by batches; and
//! large ones have their turn after so many small ones. Among those of a size HIGH passes NORMAL and
//! NORMAL passes BATCH, and here, too, the lower ones have their turn.

mod lines;

use self::lines::Lines;
use crate::broker::io::Submission;
use crate::broker::job::Priority;

/// Jobs that a small request has at most.
const SMALL: usize = 32;
/// Jobs of small requests that pass a large one.
const PASSING: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Large,
}

/// What the commit that is being gathered can still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) largest: Size,
    /// There is enough in it: only a large request whose turn has come is still taken, or small ones,
    /// and work under way, that fill every commit before it is begun would keep it out for ever.
    pub(crate) full: bool,
}

/// What a request asks of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// As many as it brings.
    pub(crate) jobs: usize,
    pub(crate) priority: Priority,
}

impl Demand {
    /// Of whoever looks after the daemon; and a hang-up, which saves work.
    pub(crate) const COMMAND: Demand = Demand { jobs: 0, priority: Priority::High };

    /// The most urgent one speaks for those that come with it.
    pub(crate) fn of(jobs: &[Submission]) -> Demand {
        let priority = jobs.iter().map(|job| job.priority).min().unwrap_or_default();
        Demand { jobs: jobs.len(), priority }
    }
}

/// Requests of callers, in order among their like.
#[derive(Debug)]
pub(crate) struct Intake<T> {
    small: Lines<(usize, T)>,
    large: Lines<(usize, T)>,
    /// Jobs that passed the next of the large ones.
    passed: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken<T> {
    /// One at least: a request that brings none takes its time, too.
    pub(crate) jobs: usize,
    pub(crate) size: Size,
    pub(crate) request: T,
}

impl<T> Intake<T> {
    pub(crate) fn new() -> Intake<T> {
        Intake { small: Lines::new(), large: Lines::new(), passed: 0 }
    }

    pub(crate) fn push(&mut self, Demand { jobs, priority }: Demand, request: T) {
        let lines = if jobs > SMALL { &mut self.large } else { &mut self.small };
        lines.push(priority, (jobs.max(1), request));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    /// Whether there is one to take in.
    pub(crate) fn has(&self, room: Room) -> bool {
        self.large_is_next(room) || !room.full && !self.small.is_empty()
    }

    /// The next one that there is room for.
    pub(crate) fn next(&mut self, room: Room) -> Option<Taken<T>> {
        if self.large_is_next(room)
            && let Some((jobs, request)) = self.large.pop()
        {
            self.passed = 0;
            return Some(Taken { jobs, size: Size::Large, request });
        }
        if room.full {
            return None;
        }
        let (jobs, request) = self.small.pop()?;
        if !self.large.is_empty() {
            self.passed += jobs;
        }
        Some(Taken { jobs, size: Size::Small, request })
    }

    fn large_is_next(&self, Room { largest, .. }: Room) -> bool {
        let its_turn = self.passed >= PASSING || self.small.is_empty();
        largest == Size::Large && its_turn && !self.large.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Room = Room { largest: Size::Large, full: false };
    const SMALL_ONES: Room = Room { largest: Size::Small, full: false };

    fn batch(jobs: usize) -> Demand {
        Demand { jobs, priority: Priority::Batch }
    }

    fn all(intake: &mut Intake<u32>) -> Vec<u32> {
        let next = || intake.next(ANY).map(|taken| taken.request);
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn those_alike_keep_their_order_and_small_ones_pass_large_ones() {
        let mut intake = Intake::new();
        for (jobs, name) in [(1000, 1), (1, 2), (1000, 3), (SMALL, 4), (SMALL + 1, 5), (0, 6)] {
            intake.push(batch(jobs), name);
        }
        assert_eq!(all(&mut intake), [2, 4, 6, 1, 3, 5]);
        assert!(intake.is_empty());
    }

    #[test]
    fn high_passes_batch_whatever_their_size() {
        let mut intake = Intake::new();
        let high = |jobs| Demand { jobs, priority: Priority::High };
        for (demand, name) in
            [(batch(1000), 1), (batch(1), 2), (Demand::COMMAND, 3), (high(1000), 4), (high(1), 5)]
        {
            intake.push(demand, name);
        }
        assert_eq!(all(&mut intake), [3, 5, 2, 4, 1]);
    }

    #[test]
    fn a_large_one_has_its_turn_while_small_ones_never_end() {
        let mut intake = Intake::new();
        intake.push(batch(1000), 1);
        intake.push(batch(1000), 2);
        let mut taken = Vec::new();
        for _ in 0..3 * PASSING {
            intake.push(batch(1), 0);
            taken.extend(intake.next(ANY).map(|taken| taken.request));
        }
        let at = |name| taken.iter().position(|taken| *taken == name).unwrap();
        assert_eq!((at(1), at(2)), (PASSING, 2 * PASSING + 1));
    }

    #[test]
    fn none_was_passed_that_was_not_there() {
        let mut intake = Intake::new();
        for _ in 0..2 * PASSING {
            intake.push(batch(1), 0);
            intake.next(ANY);
        }
        intake.push(batch(1000), 1);
        intake.push(batch(1), 2);
        assert_eq!(all(&mut intake), [2, 1]);
    }

    #[test]
    fn a_large_one_waits_until_it_may_come_and_then_comes_first() {
        let mut intake = Intake::new();
        intake.push(batch(1000), 1);
        assert!(!intake.has(SMALL_ONES) && intake.has(ANY));
        assert_eq!(intake.next(SMALL_ONES), None);
        for _ in 0..PASSING {
            intake.push(batch(1), 0);
            assert_eq!(intake.next(SMALL_ONES).unwrap().request, 0);
        }
        intake.push(batch(1), 2);
        assert_eq!(all(&mut intake), [1, 2]);
    }

    /// So many small ones come that each commit is full before it may have a large one.
    #[test]
    fn a_large_one_has_its_turn_though_every_commit_is_full() {
        let (mut intake, mut small) = (Intake::new(), 0);
        intake.push(batch(1000), 1);
        for commit in 1.. {
            assert!(commit < 10, "{small} small ones passed it");
            while small < commit * PASSING {
                intake.push(batch(1), 0);
                small += usize::from(intake.next(SMALL_ONES).is_some());
            }
            intake.push(batch(1), 0);
            let full = Room { largest: Size::Large, full: true };
            assert!(!intake.has(Room { largest: Size::Small, full: true }));
            if intake.has(full) {
                assert_eq!(intake.next(full).unwrap().request, 1);
                assert_eq!(intake.next(full), None, "small ones wait for the next commit");
                return;
            }
        }
    }
}
