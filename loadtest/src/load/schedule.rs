//! When the requests of an open loop are to be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tollgate::demo::rng::Rng;

use crate::clock::{Clock, Moment};

/// How arrivals lie between each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// At equal distances.
    Even,
    /// Each in the first half of a stretch of its own: no rhythm, and never two close together.
    Jittered,
    /// Independent of each other, as the calls of many people are.
    Poisson,
}

/// The times of an open loop's requests, from its start, in order.
#[derive(Clone, Debug)]
pub(crate) struct Schedule(Arc<[Duration]>);

impl Schedule {
    /// So many requests a second, for so long; none where the rate is none.
    pub(crate) fn new(per_second: f64, time: Duration, spacing: Spacing, seed: u64) -> Schedule {
        if !(per_second.is_finite() && per_second > 0.0) {
            return Schedule(Arc::default());
        }
        let count = (per_second * time.as_secs_f64()).round() as u64;
        let each = Duration::from_secs_f64(1.0 / per_second);
        let mut rng = Rng::nth(seed, count);
        let mut at = Duration::ZERO;
        let times = (0..count).map(|n| match spacing {
            Spacing::Even => Duration::from_secs_f64(n as f64 / per_second),
            Spacing::Jittered => {
                Duration::from_secs_f64(n as f64 / per_second) + rng.within(each / 2)
            }
            Spacing::Poisson => {
                at += rng.exponential(each);
                at
            }
        });
        Schedule(times.collect())
    }

    #[cfg(test)]
    pub(super) fn times(&self) -> &[Duration] {
        &self.0
    }
}

/// Hands out a schedule's requests when they are due. A thread of its own waits for each, because
/// the runtime's timers are a millisecond coarse.
#[derive(Debug)]
pub(super) struct Tickets {
    schedule: Schedule,
    start: Moment,
    due: Arc<Semaphore>,
    next: AtomicU64,
    over: Arc<AtomicBool>,
}

impl Tickets {
    pub(super) fn start(schedule: Schedule, clock: Clock, start: Moment) -> Tickets {
        let due = Arc::new(Semaphore::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let (times, permits, stop) = (schedule.0.clone(), due.clone(), over.clone());
        let begin = clock.instant(start);
        std::thread::spawn(move || {
            for at in times.iter() {
                wait_until(begin + *at);
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                permits.add_permits(1);
            }
        });
        Tickets { schedule, start, due, next: AtomicU64::new(0), over }
    }

    /// The next request's place in the schedule and when it was to be sent, once it is due.
    pub(super) async fn next(&self) -> Option<(u64, Moment)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let at = *self.schedule.0.get(usize::try_from(number).ok()?)?;
        // It is never closed.
        self.due.acquire().await.ok()?.forget();
        Some((number, self.start.plus(at)))
    }
}

impl Drop for Tickets {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "the schedule is what is waited for")]
fn wait_until(at: Instant) {
    // Slices, so that a run that ends early does not leave a thread behind for long.
    while let Some(left) = at.checked_duration_since(Instant::now()) {
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left);
    }
}
