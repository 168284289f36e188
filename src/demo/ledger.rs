//! The producers' books: what was acknowledged, and what the daemon says became of it, each
//! answer checked against the books of the fake API.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::auditor::{Books, JobBook};
use crate::broker::job::{JobId, JobState, Priority};
use crate::broker::time::Mono;

/// A job that the daemon has promised to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) job: JobId,
    pub(super) priority: Priority,
    /// By the API's clock: when the acknowledgement was read, or when a synchronous call, which
    /// has none, was made.
    pub(super) at: Mono,
}

/// A promise that was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The daemon does not know the job that it acknowledged.
    Gone,
    /// It is said to have succeeded, but the API never answered it whole with 200.
    NeverDone,
    /// It is said to have failed, but no request for it ever reached the API.
    NeverTried,
    /// It was cancelled, and nobody had asked for that.
    Cancelled,
    /// The daemon could not be asked about it.
    NoAnswer,
    /// Its synchronous caller got a 200 that the API had not given.
    ForeignAnswer,
    /// A second one under the same `dedup_id` became a job of its own.
    Doubled,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::Gone => "was acknowledged, and the daemon does not know it",
            Loss::NeverDone => "is said to have succeeded, and the API never did it",
            Loss::NeverTried => "is said to have failed, and the API never saw it",
            Loss::Cancelled => "is cancelled, and nobody asked for that",
            Loss::NoAnswer => "was acknowledged, and the daemon does not answer about it",
            Loss::ForeignAnswer => "was answered to its caller as the API never answered",
            Loss::Doubled => "is a second job under one dedup_id",
        })
    }
}

/// How a job ended, as far as the demo tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    Dead,
}

/// What to think of the daemon's word on a job. `None`: it has not ended. Once it has, the word is
/// final, and so is the judgement.
pub(super) fn judge(
    state: Option<JobState>,
    seen: Option<&JobBook>,
) -> Option<Result<Ended, Loss>> {
    let Some(state) = state else { return Some(Err(Loss::Gone)) };
    match state {
        JobState::Scheduled
        | JobState::Queued
        | JobState::Running
        | JobState::Waiting
        | JobState::Verifying => None,
        JobState::Succeeded if seen.is_some_and(|book| book.done > 0) => Some(Ok(Ended::Done)),
        JobState::Succeeded => Some(Err(Loss::NeverDone)),
        JobState::Failed if seen.is_none() => Some(Err(Loss::NeverTried)),
        JobState::Failed | JobState::Expired => Some(Ok(Ended::Dead)),
        JobState::Cancelled => Some(Err(Loss::Cancelled)),
    }
}

/// Of one priority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) acknowledged: u64,
    pub(super) done: u64,
    pub(super) dead: u64,
    /// From acknowledgement to the first request at the API, of each job that got so far.
    pub(super) waits: Vec<Duration>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) lines: [Line; Priority::ALL.len()],
    /// Brought by synchronous calls, counted in the lines too.
    pub(super) calls: u64,
    /// Answered with the job that was there.
    pub(super) duplicates: u64,
    pub(super) turned_away: u64,
    /// Jobs whose submission got no answer: they may be there or not, nothing was promised.
    pub(super) unclear: u64,
    /// The first of them; all are counted.
    pub(super) losses: Vec<(JobId, Loss)>,
    pub(super) loss_count: u64,
}

impl Tally {
    pub(super) fn acknowledged(&self) -> u64 {
        self.lines.iter().map(|line| line.acknowledged).sum()
    }

    pub(super) fn done(&self) -> u64 {
        self.lines.iter().map(|line| line.done).sum()
    }

    pub(super) fn dead(&self) -> u64 {
        self.lines.iter().map(|line| line.dead).sum()
    }
}

#[derive(Debug, Default)]
struct Inner {
    tally: Tally,
    /// Acknowledged, and not known to have ended.
    open: HashMap<JobId, Acknowledged>,
    /// In which order to ask about those that are open; others in it are skipped.
    round: VecDeque<JobId>,
    known: HashSet<JobId>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Inner>);

impl Ledger {
    const KEPT_LOSSES: usize = 20;

    pub(super) fn acknowledge(&self, acknowledged: Acknowledged) {
        let mut inner = self.lock();
        if inner.known.insert(acknowledged.job) {
            inner.tally.lines[acknowledged.priority.index()].acknowledged += 1;
            inner.open.insert(acknowledged.job, acknowledged);
            inner.round.push_back(acknowledged.job);
        }
    }

    pub(super) fn called(&self) {
        self.lock().tally.calls += 1;
    }

    /// The answer to a second submission under the `dedup_id` of `first`.
    pub(super) fn duplicate(&self, first: JobId, answered: Acknowledged, said: bool) {
        if answered.job == first && said {
            self.lock().tally.duplicates += 1;
        } else {
            self.lose(answered.job, Loss::Doubled);
            self.acknowledge(answered);
        }
    }

    pub(super) fn turn_away(&self, jobs: u64) {
        self.lock().tally.turned_away += jobs;
    }

    pub(super) fn leave_unclear(&self, jobs: u64) {
        self.lock().tally.unclear += jobs;
    }

    pub(super) fn lose(&self, job: JobId, loss: Loss) {
        let mut inner = self.lock();
        inner.tally.loss_count += 1;
        if inner.tally.losses.len() < Self::KEPT_LOSSES {
            inner.tally.losses.push((job, loss));
        }
    }

    /// How many are not known to have ended.
    pub(super) fn open(&self) -> usize {
        self.lock().open.len()
    }

    /// The next one to ask about. It stays open until it is settled.
    pub(super) fn next_open(&self) -> Option<Acknowledged> {
        let mut inner = self.lock();
        while let Some(job) = inner.round.pop_front() {
            if let Some(open) = inner.open.get(&job).copied() {
                inner.round.push_back(job);
                return Some(open);
            }
        }
        None
    }

    /// Only the first time counts.
    pub(super) fn settle(
        &self,
        acknowledged: Acknowledged,
        ended: Result<Ended, Loss>,
        first_seen: Option<Mono>,
    ) {
        let wait = first_seen.map(|seen| seen.since(acknowledged.at));
        {
            let mut inner = self.lock();
            if inner.open.remove(&acknowledged.job).is_none() {
                return;
            }
            let line = &mut inner.tally.lines[acknowledged.priority.index()];
            line.waits.extend(wait);
            match ended {
                Ok(Ended::Done) => line.done += 1,
                Ok(Ended::Dead) => line.dead += 1,
                Err(_) => {}
            }
        }
        if let Err(loss) = ended {
            self.lose(acknowledged.job, loss);
        }
    }

    /// What there is now, with the waits of those that have not ended but were sent.
    pub(super) fn close(&self, books: &Books) -> (Tally, [u64; Priority::ALL.len()]) {
        let inner = self.lock();
        let mut tally = inner.tally.clone();
        let mut waiting = [0; Priority::ALL.len()];
        for open in inner.open.values() {
            let index = open.priority.index();
            waiting[index] += 1;
            let seen = books.job(open.job).map(|book| book.first_at.since(open.at));
            tally.lines[index].waits.extend(seen);
        }
        (tally, waiting)
    }

    /// How many jobs the API has seen that nobody here was told of.
    pub(super) fn strangers(&self, books: &Books) -> u64 {
        let inner = self.lock();
        books.jobs().filter(|(job, _)| !inner.known.contains(job)).count() as u64
    }

    /// The tally without its waits, cheap enough for a view that is drawn often.
    pub(super) fn glance(&self) -> Glance {
        let inner = self.lock();
        Glance {
            acknowledged: inner.tally.acknowledged(),
            done: inner.tally.done(),
            dead: inner.tally.dead(),
            lost: inner.tally.loss_count,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Glance {
    pub(super) acknowledged: u64,
    pub(super) done: u64,
    pub(super) dead: u64,
    pub(super) lost: u64,
}

#[cfg(test)]
mod tests {
    use super::super::auditor::{Caller, Fate};
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(millis * 1_000_000)
    }

    fn acknowledged(job: u128, millis: u64) -> Acknowledged {
        Acknowledged { job: JobId(job), priority: Priority::High, at: at(millis) }
    }

    fn books(seen: &[(u128, u64, Fate)]) -> Books {
        let mut books = Books::default();
        for (job, millis, fate) in seen {
            let caller = Caller {
                job: Some(JobId(*job)),
                attempt: Some(1),
                idempotency_key: Some(job.to_string()),
                priority: Some(Priority::High),
            };
            let receipt = books.arrive(at(*millis), caller, |_, _| *fate);
            if matches!(fate, Fate::Done | Fate::Half) {
                books.worked(&receipt);
            }
        }
        books
    }

    #[test]
    fn the_daemons_word_is_checked_against_the_apis_books() {
        let books = books(&[(1, 0, Fate::Done), (2, 0, Fate::Half), (3, 0, Fate::Error)]);
        let judge = |state, job| judge(state, books.job(JobId(job)));
        assert_eq!(judge(Some(JobState::Succeeded), 1), Some(Ok(Ended::Done)));
        assert_eq!(judge(Some(JobState::Succeeded), 2), Some(Err(Loss::NeverDone)));
        assert_eq!(judge(Some(JobState::Succeeded), 3), Some(Err(Loss::NeverDone)));
        assert_eq!(judge(Some(JobState::Succeeded), 4), Some(Err(Loss::NeverDone)));
        assert_eq!(judge(Some(JobState::Failed), 3), Some(Ok(Ended::Dead)));
        assert_eq!(judge(Some(JobState::Failed), 4), Some(Err(Loss::NeverTried)));
        assert_eq!(judge(Some(JobState::Expired), 4), Some(Ok(Ended::Dead)));
        assert_eq!(judge(Some(JobState::Cancelled), 3), Some(Err(Loss::Cancelled)));
        assert_eq!(judge(None, 1), Some(Err(Loss::Gone)));
        for state in [JobState::Scheduled, JobState::Queued, JobState::Running, JobState::Waiting] {
            assert_eq!(judge(Some(state), 3), None);
        }
    }

    #[test]
    fn every_acknowledged_job_is_open_until_it_is_settled() {
        let ledger = Ledger::default();
        for job in 1..=4 {
            ledger.acknowledge(acknowledged(job, 100));
        }
        ledger.acknowledge(acknowledged(1, 200));
        assert_eq!(ledger.open(), 4, "one job is one job, however often it is told");
        let first = ledger.next_open().unwrap();
        ledger.settle(first, Ok(Ended::Done), Some(at(130)));
        let second = ledger.next_open().unwrap();
        ledger.settle(second, Err(Loss::Gone), None);
        ledger.settle(second, Err(Loss::NoAnswer), None);
        let asked = [ledger.next_open(), ledger.next_open(), ledger.next_open()];
        assert_eq!(asked.map(|open| open.map(|open| open.job.0)), [Some(3), Some(4), Some(3)]);
        // The fourth was sent and waits for its retry; the third was never sent.
        let (tally, waiting) = ledger.close(&books(&[(4, 90, Fate::Error), (9, 95, Fate::Done)]));
        let ms = Duration::from_millis;
        assert_eq!(waiting, [2, 0, 0]);
        assert_eq!(tally.lines[0].waits, [ms(30), ms(0)]);
        assert_eq!((tally.acknowledged(), tally.done(), tally.dead()), (4, 1, 0));
        assert_eq!((tally.losses, tally.loss_count), (vec![(JobId(2), Loss::Gone)], 1));
        assert_eq!(ledger.strangers(&books(&[(4, 90, Fate::Error), (9, 95, Fate::Done)])), 1);
    }

    #[test]
    fn a_duplicate_is_the_first_job_or_a_fault() {
        let ledger = Ledger::default();
        ledger.acknowledge(acknowledged(1, 0));
        ledger.duplicate(JobId(1), acknowledged(1, 1), true);
        assert_eq!(ledger.glance().lost, 0);
        ledger.duplicate(JobId(1), acknowledged(1, 2), false);
        ledger.duplicate(JobId(1), acknowledged(2, 3), false);
        let (tally, _) = ledger.close(&Books::default());
        assert_eq!((tally.duplicates, tally.loss_count, tally.acknowledged()), (1, 2, 2));
    }
}
