//! The books that the fake API keeps: what reached it, when, and what it did about it.
//!
//! They are kept at the target, so they can contradict the broker: the summary of the demo and
//! the integration tests believe these and not the daemon's own counters.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;

use crate::broker::job::{JobId, Priority};
use crate::broker::time::Mono;

/// The window in which arrivals are counted as they come.
pub const SECOND: Duration = Duration::from_secs(1);

/// Of so many arrivals the details are kept; counts and the peak stay exact beyond it.
const KEPT_ARRIVALS: usize = 1_000_000;

/// What a request says about itself (CONTRACT §5, "What a target receives").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    pub job: Option<JobId>,
    pub attempt: Option<u32>,
    pub idempotency_key: Option<String>,
    pub priority: Option<Priority>,
}

impl Caller {
    /// A header that is missing or makes no sense is `None`.
    pub fn read(headers: &HeaderMap) -> Caller {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Caller {
            job: text("tollgate-job-id").and_then(|id| id.parse().ok()),
            attempt: text("tollgate-attempt").and_then(|number| number.parse().ok()),
            idempotency_key: text("idempotency-key").map(str::to_owned),
            priority: text("tollgate-priority").and_then(|priority| priority.parse().ok()),
        }
    }
}

/// What becomes of a request at the fake API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// 200, the work is done.
    Done,
    /// 404: the caller asked for what there is not.
    Missing,
    /// 429 with `Retry-After`: over the API's own limit.
    Limited,
    /// 503 with `Retry-After`.
    Unavailable,
    /// 500.
    Error,
    /// The connection is closed instead of an answer.
    Broken,
    /// The answer's head and a part of its body, then the connection is closed.
    Half,
    /// No answer until the caller gives up.
    Hung,
}

impl Fate {
    pub const ALL: [Fate; 8] = [
        Fate::Done,
        Fate::Missing,
        Fate::Limited,
        Fate::Unavailable,
        Fate::Error,
        Fate::Broken,
        Fate::Half,
        Fate::Hung,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Done => "200",
            Fate::Missing => "404",
            Fate::Limited => "429",
            Fate::Unavailable => "503",
            Fate::Error => "500",
            Fate::Broken => "broken connection",
            Fate::Half => "half an answer",
            Fate::Hung => "no answer",
        }
    }
}

/// One request whose head was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub at: Mono,
    pub caller: Caller,
    pub fate: Fate,
}

/// One arrival's place in the books, to note later that its work was done.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// From 0, in the order of arrival.
    pub number: u64,
    pub at: Mono,
    pub fate: Fate,
    job: Option<JobId>,
    idempotency_key: Option<String>,
}

/// What the API saw of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobBook {
    pub first_at: Mono,
    pub arrivals: u32,
    pub last_attempt: Option<u32>,
    /// How often the job's work was done.
    pub work: u32,
    /// How often its work was done and the whole answer was 200.
    pub done: u32,
    idempotency_key: Option<String>,
}

/// Something that must not happen, however a target behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A request for a job that was here already does not have a higher `Tollgate-Attempt`.
    StaleAttempt { at: Mono, job: JobId, last: Option<u32>, now: Option<u32> },
    /// A repeat carries another `Idempotency-Key` than the first request.
    KeyChanged { at: Mono, job: JobId },
    /// One of the headers that every request carries is not there, or not readable.
    Unmarked { at: Mono },
}

/// The books, fed with arrivals in the order of their time.
#[derive(Debug, Default)]
pub struct Books {
    arrivals: VecDeque<Arrival>,
    total: u64,
    first_at: Option<Mono>,
    /// Those of the last second, the newest included.
    second: VecDeque<Mono>,
    peak: Peak,
    fates: [u64; Fate::ALL.len()],
    jobs: HashMap<JobId, JobBook>,
    repeats: u64,
    work: HashMap<String, u32>,
    faults: Vec<Fault>,
    fault_count: u64,
}

/// The most arrivals in any sliding second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    pub arrivals: usize,
    /// When that second ended.
    pub at: Mono,
}

impl Books {
    /// Of so many faults the details are kept; all are counted.
    const KEPT_FAULTS: usize = 100;

    /// Notes an arrival and lets `decide` say what becomes of it, told its number and how many
    /// arrived in the second that ends with it, itself included.
    pub fn arrive(
        &mut self,
        at: Mono,
        caller: Caller,
        decide: impl FnOnce(u64, usize) -> Fate,
    ) -> Receipt {
        let at = self.second.back().map_or(at, |last| at.max(*last));
        let number = self.total;
        self.total += 1;
        self.first_at.get_or_insert(at);
        self.second.push_back(at);
        // Two arrivals exactly a second apart are not within one second.
        while self.second.front().is_some_and(|oldest| at.since(*oldest) >= SECOND) {
            self.second.pop_front();
        }
        if self.second.len() > self.peak.arrivals {
            self.peak = Peak { arrivals: self.second.len(), at };
        }
        let fate = decide(number, self.second.len());
        self.fates[fate as usize] += 1;
        self.check(at, &caller);
        let receipt = Receipt {
            number,
            at,
            fate,
            job: caller.job,
            idempotency_key: caller.idempotency_key.clone(),
        };
        if self.arrivals.len() == KEPT_ARRIVALS {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(Arrival { at, caller, fate });
        receipt
    }

    fn check(&mut self, at: Mono, caller: &Caller) {
        let marked = caller.attempt.is_some()
            && caller.idempotency_key.is_some()
            && caller.priority.is_some();
        let Some(job) = caller.job.filter(|_| marked) else {
            self.fault(Fault::Unmarked { at });
            return;
        };
        let mut stale = None;
        let mut key_changed = false;
        self.jobs
            .entry(job)
            .and_modify(|book| {
                if caller.attempt <= book.last_attempt {
                    stale = Some((book.last_attempt, caller.attempt));
                }
                key_changed = caller.idempotency_key != book.idempotency_key;
                book.arrivals += 1;
                self.repeats += 1;
                book.last_attempt = book.last_attempt.max(caller.attempt);
            })
            .or_insert_with(|| JobBook {
                first_at: at,
                arrivals: 1,
                last_attempt: caller.attempt,
                work: 0,
                done: 0,
                idempotency_key: caller.idempotency_key.clone(),
            });
        if let Some((last, now)) = stale {
            self.fault(Fault::StaleAttempt { at, job, last, now });
        }
        if key_changed {
            self.fault(Fault::KeyChanged { at, job });
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.fault_count += 1;
        if self.faults.len() < Self::KEPT_FAULTS {
            self.faults.push(fault);
        }
    }

    /// The work that the request asked for was done.
    pub fn worked(&mut self, receipt: &Receipt) {
        if let Some(book) = receipt.job.and_then(|job| self.jobs.get_mut(&job)) {
            book.work += 1;
            book.done += u32::from(receipt.fate == Fate::Done);
        }
        if let Some(key) = &receipt.idempotency_key {
            *self.work.entry(key.clone()).or_default() += 1;
        }
    }

    /// All arrivals, whatever became of them.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The last million, oldest first.
    pub fn arrivals(&self) -> &VecDeque<Arrival> {
        &self.arrivals
    }

    pub fn peak(&self) -> Peak {
        self.peak
    }

    pub fn count(&self, fate: Fate) -> u64 {
        self.fates[fate as usize]
    }

    pub fn job(&self, job: JobId) -> Option<&JobBook> {
        self.jobs.get(&job)
    }

    pub fn jobs(&self) -> impl Iterator<Item = (JobId, &JobBook)> {
        self.jobs.iter().map(|(job, book)| (*job, book))
    }

    /// How often the work that goes by this key was done.
    pub fn work(&self, idempotency_key: &str) -> u32 {
        self.work.get(idempotency_key).copied().unwrap_or(0)
    }

    /// Of how many keys the work was done more than once. With at-least-once that happens where
    /// an answer was lost; a target that knows the key can tell.
    pub fn repeated_work(&self) -> u64 {
        self.work.values().filter(|times| **times > 1).count() as u64
    }

    /// Arrivals for jobs that had been here before.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    pub fn fault_count(&self) -> u64 {
        self.fault_count
    }

    /// The first hundred.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    pub fn first_at(&self) -> Option<Mono> {
        self.first_at
    }

    pub fn last_at(&self) -> Option<Mono> {
        self.arrivals.back().map(|arrival| arrival.at)
    }

    /// How many arrived in the second that ends now.
    pub fn in_last_second(&self, now: Mono) -> usize {
        self.second.iter().rev().take_while(|at| now.since(**at) < SECOND).count()
    }

    /// Arrivals in each of the last `seconds` whole seconds of the API's clock, oldest first; the
    /// second under way is the last one.
    pub fn per_second(&self, now: Mono, seconds: usize) -> Vec<u64> {
        let mut counts = vec![0; seconds];
        let current = whole_seconds(now);
        for arrival in self.arrivals.iter().rev() {
            let back = current.saturating_sub(whole_seconds(arrival.at));
            let back = usize::try_from(back).unwrap_or(usize::MAX);
            if back >= seconds {
                break;
            }
            counts[seconds - 1 - back] += 1;
        }
        counts
    }

    /// The most arrivals in any sliding window of this length, among those that are kept.
    pub fn most_within(&self, window: Duration) -> usize {
        most_within(self.arrivals.iter().map(|arrival| arrival.at), window)
    }
}

fn whole_seconds(at: Mono) -> u64 {
    at.as_nanos() / 1_000_000_000
}

/// The most moments in any half-open window of this length; `moments` must be in order. Exact: the
/// fullest window can always be moved until it ends with a moment, so only those are looked at.
pub fn most_within(moments: impl IntoIterator<Item = Mono>, window: Duration) -> usize {
    let mut inside = VecDeque::new();
    let mut most = 0;
    for at in moments {
        inside.push_back(at);
        while inside.front().is_some_and(|oldest: &Mono| at.since(*oldest) >= window) {
            inside.pop_front();
        }
        most = most.max(inside.len());
    }
    most
}

/// The books with their clock, shared by the API's connections and their readers.
#[derive(Debug)]
pub struct Auditor {
    started: Instant,
    books: Mutex<Books>,
}

impl Default for Auditor {
    fn default() -> Auditor {
        Auditor { started: Instant::now(), books: Mutex::default() }
    }
}

impl Auditor {
    pub fn new() -> Auditor {
        Auditor::default()
    }

    /// The API's clock: monotonic, from when the auditor was made.
    pub fn now(&self) -> Mono {
        Mono::ZERO + self.started.elapsed()
    }

    /// As [`Books::arrive`], at this moment.
    pub fn arrive(&self, caller: Caller, decide: impl FnOnce(u64, usize) -> Fate) -> Receipt {
        let mut books = self.lock();
        // Read under the lock, so that arrivals are noted in the order of their time.
        let at = self.now();
        books.arrive(at, caller, decide)
    }

    pub fn worked(&self, receipt: &Receipt) {
        self.lock().worked(receipt);
    }

    /// Looks into the books; the API waits meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&Books) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
