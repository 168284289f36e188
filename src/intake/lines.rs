//! Requests that wait, by their priority.

use std::collections::VecDeque;

use crate::broker::job::Priority;

/// Requests of higher priority that pass one of a lower, at most: who waits behind a flood has one
/// taken for every so many.
const AHEAD: usize = 8;

/// A line for each priority: the higher first, in order among their like, and none for ever.
#[derive(Debug)]
pub(super) struct Lines<T>([Line<T>; 3]);

#[derive(Debug)]
struct Line<T> {
    requests: VecDeque<T>,
    /// How many passed the first one.
    passed: usize,
}

impl<T> Lines<T> {
    pub(super) fn new() -> Lines<T> {
        Lines(Priority::ALL.map(|_| Line { requests: VecDeque::new(), passed: 0 }))
    }

    pub(super) fn push(&mut self, priority: Priority, request: T) {
        self.0[priority.index()].requests.push_back(request);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|line| line.requests.is_empty())
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let waiting = || (0..self.0.len()).filter(|at| !self.0[*at].requests.is_empty());
        let next = waiting().find(|at| self.0[*at].passed >= AHEAD).or_else(|| waiting().next())?;
        for line in &mut self.0[next + 1..] {
            line.passed += usize::from(!line.requests.is_empty());
        }
        self.0[next].passed = 0;
        self.0[next].requests.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines<u32>) -> Vec<u32> {
        std::iter::from_fn(|| lines.pop()).collect()
    }

    #[test]
    fn the_higher_goes_first_and_those_alike_keep_their_order() {
        let mut lines = Lines::new();
        for (priority, name) in [
            (Priority::Batch, 1),
            (Priority::Normal, 2),
            (Priority::High, 3),
            (Priority::Batch, 4),
            (Priority::High, 5),
        ] {
            lines.push(priority, name);
        }
        assert_eq!(all(&mut lines), [3, 5, 2, 1, 4]);
        assert!(lines.is_empty());
    }

    /// However many come of the higher two, each lower one has its turn.
    #[test]
    fn nobody_waits_for_ever() {
        let mut lines = Lines::new();
        let mut taken = [0; 3];
        for _ in 0..1_000 {
            for priority in Priority::ALL {
                lines.push(priority, priority.index());
            }
            taken[lines.pop().unwrap()] += 1;
        }
        let [high, normal, batch] = taken;
        assert!(normal >= 1_000 / (AHEAD + 2) && batch >= 1_000 / (AHEAD + 2), "{taken:?}");
        assert!(high >= 1_000 * (AHEAD - 1) / (AHEAD + 1), "{taken:?}");
    }

    #[test]
    fn none_was_passed_that_was_not_there() {
        let mut lines = Lines::new();
        for _ in 0..2 * AHEAD {
            lines.push(Priority::High, 0);
            lines.pop();
        }
        lines.push(Priority::Batch, 1);
        lines.push(Priority::High, 2);
        assert_eq!(all(&mut lines), [2, 1]);
    }
}
