//! Who is armed when, and who leaves first: priorities, deferrals, places in line.

use std::collections::{BTreeMap, BTreeSet};

use super::book::Book;
use super::violation::{Checked, ensure};
use crate::broker::change::{Load, Loaded, Turn};
use crate::broker::job::{Header, JobId, Priority, TargetId};

/// A start on record whose request has not left.
#[derive(Clone, Copy, Debug)]
struct Armed {
    job: JobId,
    priority: Priority,
    turn: Turn,
    durable: bool,
    /// How often its line was passed over before, and it itself since.
    passed_over: u32,
    /// How many might be under way when it was armed.
    room: u32,
}

#[derive(Debug, Default)]
pub(super) struct Order {
    armed: BTreeMap<TargetId, Vec<Armed>>,
    /// How often each line was passed over since it was last served.
    passed: BTreeMap<(TargetId, Priority), u32>,
    /// Said since the last start.
    reported: BTreeSet<(TargetId, Priority)>,
    /// Lines of which the next rows were asked for.
    loading: BTreeSet<(TargetId, Priority)>,
    /// Lines that were passed over unsaid: they must be those of which nothing is known.
    unsaid: BTreeSet<(TargetId, Priority)>,
}

impl Order {
    pub(super) fn restart(&mut self) {
        *self = Order::default();
    }

    pub(super) fn asked(&mut self, load: &Load) {
        if let Load::Ready { target, priority, .. } = load {
            self.loading.insert((*target, *priority));
        }
    }

    pub(super) fn answered(&mut self, loaded: &Loaded) {
        if let Loaded::Ready { target, priority, .. } = loaded {
            self.loading.remove(&(*target, *priority));
        }
    }

    pub(super) fn reported(&mut self, target: TargetId, of: Priority) -> Checked {
        ensure!(self.reported.insert((target, of)), "{of} of {target:?} is passed over twice");
        Ok(())
    }

    /// `header` is as it is before its start; `book` too.
    pub(super) fn arm(
        &mut self,
        book: &Book,
        header: &Header,
        turn: Turn,
        max_deferrals: u32,
        room: u32,
        reserves: bool,
    ) -> Checked {
        let (target, priority, id) = (header.target, header.priority, header.id);
        ensure!(
            book.head(target, priority) == Some(id),
            "{id} is started, and {:?} is the head of {priority}",
            book.head(target, priority)
        );
        for other in Priority::ALL {
            let line = (target, other);
            let reported = self.reported.remove(&line);
            let passed = self.passed.entry(line).or_default();
            let waits = book.head(target, other).is_some();
            if other > priority && waits {
                ensure!(
                    *passed < max_deferrals || !reported,
                    "{other} was passed over {passed} times, and {priority} goes first"
                );
                if reported {
                    *passed += 1;
                } else if !(reserves && priority == Priority::High) {
                    // What is kept for HIGH is of no use to the others.
                    self.unsaid.insert(line);
                }
            } else {
                ensure!(!reported, "{other} is not passed over by {priority}, or nobody is there");
            }
        }
        let passed_over = self.passed.insert((target, priority), 0).unwrap_or(0);
        let higher =
            Priority::ALL.into_iter().find(|p| *p < priority && book.head(target, *p).is_some());
        if let Some(higher) = higher {
            ensure!(
                passed_over >= max_deferrals,
                "{priority} goes before {higher}, passed over {passed_over} times only"
            );
        }
        let armed = Armed { job: id, priority, turn, durable: false, passed_over, room };
        self.armed.entry(target).or_default().push(armed);
        Ok(())
    }

    /// Everything that was to be said about what just happened was said.
    pub(super) fn handled(&mut self) -> Checked {
        ensure!(self.reported.is_empty(), "passed over, and nobody went: {:?}", self.reported);
        for line in std::mem::take(&mut self.unsaid) {
            ensure!(self.loading.contains(&line), "{line:?} is passed over and nobody says so");
        }
        Ok(())
    }

    pub(super) fn committed(&mut self, turn: Turn) {
        for armed in self.armed.values_mut().flatten() {
            armed.durable |= armed.turn <= turn;
        }
    }

    /// A start came to nothing.
    pub(super) fn disarm(&mut self, target: TargetId, job: JobId) -> Checked {
        let armed = self.armed.entry(target).or_default();
        let Some(index) = armed.iter().position(|armed| armed.job == job) else {
            ensure!(false, "{job} is called back after it left");
            return Ok(());
        };
        let Armed { priority, passed_over, .. } = armed.remove(index);
        let passed = self.passed.entry((target, priority)).or_default();
        *passed = (*passed).max(passed_over);
        Ok(())
    }

    /// Returns how many might be under way when the job was armed.
    pub(super) fn send(
        &mut self,
        target: TargetId,
        job: JobId,
        max_deferrals: u32,
    ) -> Result<u32, super::violation::Violation> {
        let armed = self.armed.entry(target).or_default();
        let Some(index) = armed.iter().position(|armed| armed.job == job) else {
            ensure!(false, "{job} leaves, and was not armed");
            return Ok(0);
        };
        let Armed { priority, passed_over, room, .. } = armed.remove(index);
        for (place, other) in armed.iter_mut().enumerate().filter(|(_, other)| other.durable) {
            if other.priority < priority {
                ensure!(
                    passed_over >= max_deferrals,
                    "{priority} leaves before {}, which is ready to leave",
                    other.priority
                );
            } else if other.priority > priority && place < index {
                ensure!(
                    other.passed_over < max_deferrals,
                    "{} was armed first and passed over {} times, and {priority} leaves",
                    other.priority,
                    other.passed_over
                );
                other.passed_over += 1;
            }
        }
        Ok(room)
    }

    pub(super) fn is_armed(&self, target: TargetId) -> bool {
        self.armed.get(&target).is_some_and(|armed| !armed.is_empty())
    }

    /// How many have not left and go before what is armed next at `priority`. Lower ones let it go
    /// first, so that they are no reason not to arm it.
    pub(super) fn are_ahead(
        &self,
        target: TargetId,
        priority: Priority,
        max_deferrals: u32,
    ) -> usize {
        let goes_first =
            |armed: &&Armed| armed.priority <= priority || armed.passed_over >= max_deferrals;
        self.armed.get(&target).map_or(0, |armed| armed.iter().filter(goes_first).count())
    }

    /// Whether this job's start is on record and its request has not left.
    pub(super) fn has(&self, target: TargetId, job: JobId) -> bool {
        self.armed.get(&target).is_some_and(|armed| armed.iter().any(|other| other.job == job))
    }
}
