//! What there is to see at one moment.

use std::net::SocketAddr;
use std::time::Duration;

use super::auditor::{Arrival, Books, Fate};
use super::ledger::Glance;
use crate::broker::io::{BlockedOn, TargetView};
use crate::broker::job::{JobState, Priority};
use crate::broker::policy::Limit;
use crate::broker::time::{Mono, Wall};
use crate::handle::View;

/// What does not change while the demo runs.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) data: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) target: String,
    pub(super) limit: Limit,
    /// The most that the API bears in any second.
    pub(super) most_in_a_second: usize,
    /// `None`: until somebody ends it.
    pub(super) duration: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Jobs come in.
    Traffic,
    /// All are in, and the last ones are being done.
    Draining,
    /// The time is over, and some are still not done.
    Overtime,
    /// Somebody wants it to end.
    Stopping,
}

impl Phase {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Phase::Traffic => "jobs come in",
            Phase::Draining => "all jobs are in; the last ones are being done",
            Phase::Overtime => "the time is over; waiting for the last jobs",
            Phase::Stopping => "ending: waiting for what is under way",
        }
    }
}

/// One queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct QueueLine {
    /// Not sent yet, or waiting for another attempt.
    pub(super) depth: u64,
    pub(super) waiting_for_retry: u64,
    pub(super) running: u64,
    /// Of what could be sent now.
    pub(super) oldest: Option<Duration>,
    pub(super) succeeded: u64,
    pub(super) dead: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) elapsed: Duration,
    pub(super) phase: Phase,
    pub(super) queues: [QueueLine; Priority::ALL.len()],
    pub(super) in_flight: u32,
    pub(super) blocked: Option<BlockedOn>,
    /// How long ready jobs were held back because the API had asked for a pause.
    pub(super) held: Duration,
    pub(super) in_last_second: usize,
    pub(super) peak: usize,
    /// Arrivals in each second, oldest first.
    pub(super) per_second: Vec<u64>,
    pub(super) fates: [(Fate, u64); Fate::ALL.len()],
    pub(super) repeats: u64,
    pub(super) faults: u64,
    /// The last arrivals, newest first.
    pub(super) last: Vec<Arrival>,
    pub(super) jobs: Glance,
}

impl Snapshot {
    /// So many seconds are shown.
    const SECONDS: usize = 120;
    const LAST: usize = 12;

    /// `view`: the daemon's, or `None` where it does not answer.
    pub(super) fn take(
        scene: &Scene,
        phase: Phase,
        now: Mono,
        view: Option<&View>,
        books: &Books,
        jobs: Glance,
    ) -> Snapshot {
        let target = view.and_then(|view| {
            let target = view.targets.iter().find(|target| target.name == scene.target)?;
            Some((target, view.now.wall))
        });
        Snapshot {
            elapsed: now.since(Mono::ZERO),
            phase,
            queues: target
                .map(|(target, wall)| Priority::ALL.map(|priority| queue(target, priority, wall)))
                .unwrap_or_default(),
            in_flight: target.map_or(0, |(target, _)| target.in_flight),
            blocked: target.and_then(|(target, _)| target.blocked).map(|(reason, _)| reason),
            held: target.map_or(Duration::ZERO, |(target, _)| held(target)),
            in_last_second: books.in_last_second(now),
            peak: books.peak().arrivals,
            per_second: books.per_second(now, Self::SECONDS),
            fates: Fate::ALL.map(|fate| (fate, books.count(fate))),
            repeats: books.repeats(),
            faults: books.fault_count(),
            last: books.arrivals().iter().rev().take(Self::LAST).cloned().collect(),
            jobs,
        }
    }
}

fn queue(target: &TargetView, priority: Priority, now: Wall) -> QueueLine {
    let count = |state| target.counts.get(priority, state);
    let waiting_for_retry = count(JobState::Waiting);
    QueueLine {
        depth: count(JobState::Queued) + count(JobState::Scheduled) + waiting_for_retry,
        waiting_for_retry,
        running: count(JobState::Running),
        oldest: target.oldest[priority.index()].map(|since| now.since(since)),
        succeeded: count(JobState::Succeeded),
        dead: count(JobState::Failed) + count(JobState::Expired),
    }
}

fn held(target: &TargetView) -> Duration {
    BlockedOn::ALL
        .iter()
        .zip(target.blocked_for)
        .filter(|(reason, _)| **reason == BlockedOn::Refused)
        .map(|(_, time)| time)
        .sum()
}
