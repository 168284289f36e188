//! The store's thread: one thing after the other, each taking its time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::rng::Rng;
use crate::broker::change::{Change, Load, Loaded, Turn};
use crate::broker::job::JobId;
use crate::broker::payload::Request;
use crate::store::model::Model;

#[derive(Debug)]
enum Work {
    Commit { turn: Turn, changes: Vec<Change> },
    Load(Load),
}

#[derive(Debug)]
pub(super) enum Done {
    Committed { turn: Turn, requests: Vec<(JobId, Arc<Request>)> },
    Loaded(Box<Loaded>),
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) least: Duration,
    pub(super) most: Duration,
    /// One commit in so many takes up to three seconds.
    pub(super) stalls: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Disk {
    /// What is on it.
    pub(super) model: Model,
    pace: Pace,
    work: VecDeque<Work>,
    /// As it was before the last commit.
    previous: Option<Model>,
    keeps_previous: bool,
}

impl Disk {
    /// `keeps_previous`: for the faults that need an older state.
    pub(super) fn new(model: Model, pace: Pace, keeps_previous: bool) -> Disk {
        Disk { model, pace, work: VecDeque::new(), previous: None, keeps_previous }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.work.is_empty()
    }

    /// Returns how long the first of it takes if the disk was idle.
    pub(super) fn submit(
        &mut self,
        turn: Turn,
        changes: Vec<Change>,
        loads: Vec<Load>,
        rng: &mut Rng,
    ) -> Option<Duration> {
        let idle = self.is_idle();
        self.work.push_back(Work::Commit { turn, changes });
        self.work.extend(loads.into_iter().map(Work::Load));
        if idle { self.takes(rng) } else { None }
    }

    /// How long the first thing in the queue takes.
    pub(super) fn takes(&self, rng: &mut Rng) -> Option<Duration> {
        let Pace { least, most, stalls } = self.pace;
        match self.work.front()? {
            Work::Commit { changes, .. } if changes.is_empty() => Some(Duration::ZERO),
            Work::Commit { .. } if stalls.is_some_and(|n| rng.one_in(n)) => {
                Some(rng.span(most, Duration::from_secs(3)))
            }
            Work::Commit { .. } => Some(rng.span(least, most)),
            Work::Load(_) => Some(rng.span(Duration::from_micros(20), most)),
        }
    }

    pub(super) fn done(&mut self) -> Option<Done> {
        match self.work.pop_front()? {
            Work::Commit { turn, changes } => Some(self.commit(turn, &changes)),
            Work::Load(load) => Some(Done::Loaded(Box::new(self.model.load(&load)))),
        }
    }

    fn commit(&mut self, turn: Turn, changes: &[Change]) -> Done {
        if self.keeps_previous {
            self.previous = Some(self.model.clone());
        }
        let requests = self.model.commit(turn, changes);
        Done::Committed { turn, requests }
    }

    /// The process dies. A commit under way may have happened; says whether it did.
    pub(super) fn crash(&mut self, rng: &mut Rng) -> Option<bool> {
        let under_way = self.work.pop_front();
        self.work.clear();
        let Some(Work::Commit { turn, changes }) = under_way else { return None };
        let happened = rng.one_in(2);
        if happened {
            self.commit(turn, &changes);
        }
        Some(happened)
    }

    /// A fault: the last commit was never really on the disk.
    pub(super) fn lose_last_commit(&mut self) {
        if let Some(previous) = self.previous.take() {
            self.model = previous;
        }
    }

    /// A fault: the first thing in the queue, if it is a load, is answered from an older state.
    pub(super) fn done_stale(&mut self) -> Option<Done> {
        match (self.work.front(), &self.previous) {
            (Some(Work::Load(load)), Some(previous)) => {
                let loaded = previous.load(load);
                self.work.pop_front();
                Some(Done::Loaded(Box::new(loaded)))
            }
            _ => self.done(),
        }
    }
}
