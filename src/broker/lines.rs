//! The three lines of a target, and who is next.

use super::change::Counts;
use super::fair::Rank;
use super::job::{JobId, Priority};
use super::window::Window;

#[derive(Debug)]
pub(super) struct Line {
    pub(super) window: Window<Rank, JobId>,
    /// How often the head was passed over by a higher job.
    passed_over: u32,
}

#[derive(Debug)]
pub(super) struct Lines([Line; 3]);

/// Who is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nobody,
    /// The store knows; it is being asked.
    Unknown,
    Job(Priority, JobId),
}

impl Line {
    /// Its head went, came to nothing, and waits on as if it had not gone.
    pub(super) fn come_back(&mut self, passed_over: u32) {
        self.passed_over = self.passed_over.max(passed_over);
    }
}

impl Lines {
    /// Of a target that the store knows: what is in line is there, and not yet here.
    pub(super) fn new(counts: &Counts, window: usize) -> Lines {
        Lines(Priority::ALL.map(|priority| Line {
            window: match counts.in_line(priority) {
                0 => Window::empty(window),
                _ => Window::unknown(window),
            },
            passed_over: 0,
        }))
    }

    pub(super) fn line(&mut self, priority: Priority) -> &mut Line {
        &mut self.0[priority.index()]
    }

    pub(super) fn first(&self, priority: Priority) -> Option<JobId> {
        self.0[priority.index()].window.first().map(|(_, id)| id)
    }

    /// The highest that waits, unless a lower head was passed over so often that it is its turn.
    ///
    /// Of two whose turn it is the lower goes first: that passes nobody over who counts it, so
    /// each of them is passed over `max_deferrals` times at most.
    pub(super) fn next(&self, counts: &Counts, max_deferrals: u32) -> Next {
        let mut highest = Next::Nobody;
        for priority in Priority::ALL.into_iter().rev() {
            let line = &self.0[priority.index()];
            match line.window.first() {
                Some((_, id)) => {
                    highest = Next::Job(priority, id);
                    if priority != Priority::High && line.passed_over >= max_deferrals {
                        return highest;
                    }
                }
                // Jobs are in this line, and it would be a guess which.
                None if counts.in_line(priority) > 0 => highest = Next::Unknown,
                None => {}
            }
        }
        highest
    }

    /// The head of `chosen` goes. Returns how often it was passed over; calls `passed` for every
    /// line whose head it passes over.
    pub(super) fn go(&mut self, chosen: Priority, mut passed: impl FnMut(Priority)) -> u32 {
        for lower in Priority::ALL.into_iter().filter(|priority| *priority > chosen) {
            let line = self.line(lower);
            if line.window.first().is_some() {
                line.passed_over = line.passed_over.saturating_add(1);
                passed(lower);
            }
        }
        std::mem::take(&mut self.line(chosen).passed_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::job::{JobState, Seat};

    fn lines(waiting: &[(Priority, u64)]) -> (Lines, Counts) {
        let mut counts = Counts::default();
        let mut lines = Lines::new(&counts, 8);
        for (priority, seat) in waiting {
            let rank = Rank { seat: Seat(*seat), ..Rank::default() };
            lines.line(*priority).window.insert(rank, JobId(u128::from(*seat)));
            counts.add(*priority, JobState::Queued);
        }
        (lines, counts)
    }

    /// Serves `turns` tokens, each line refilled for ever; returns the order of priorities.
    fn serve(turns: usize, max_deferrals: u32, waiting: &[Priority]) -> Vec<Priority> {
        let heads: Vec<(Priority, u64)> = waiting.iter().map(|priority| (*priority, 1)).collect();
        let (mut lines, counts) = lines(&heads);
        let mut order = Vec::new();
        for _ in 0..turns {
            let Next::Job(priority, _) = lines.next(&counts, max_deferrals) else {
                panic!("somebody waits")
            };
            lines.go(priority, |_| {});
            order.push(priority);
        }
        order
    }

    #[test]
    fn high_goes_first_and_nobody_starves() {
        let order = serve(2_200, 20, &Priority::ALL);
        for lower in [Priority::Normal, Priority::Batch] {
            let turns: Vec<usize> = (0..order.len()).filter(|turn| order[*turn] == lower).collect();
            assert!(turns.len() >= 95, "{lower} has its share");
            for pair in turns.windows(2) {
                let higher =
                    order[pair[0] + 1..pair[1]].iter().filter(|other| **other < lower).count();
                assert!(higher <= 20, "{lower} was passed over {higher} times");
            }
        }
    }

    #[test]
    fn without_higher_jobs_the_lowest_goes_at_once() {
        assert_eq!(serve(3, 20, &[Priority::Batch]), [Priority::Batch; 3]);
        assert_eq!(serve(2, 5, &[Priority::Normal, Priority::Batch]), [Priority::Normal; 2]);
    }

    #[test]
    fn a_line_that_is_not_loaded_yet_is_waited_for() {
        let (lines, mut counts) = lines(&[(Priority::Normal, 1)]);
        counts.add(Priority::High, JobState::Queued);
        assert_eq!(lines.next(&counts, 20), Next::Unknown);
        assert_eq!(Lines::new(&Counts::default(), 8).next(&Counts::default(), 1), Next::Nobody);
    }
}
