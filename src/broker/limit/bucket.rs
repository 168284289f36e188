//! A token bucket: governor's GCRA on a clock that the core steps.
//!
//! Two things are added to the plain algorithm, both so that the limit holds where it is counted,
//! at the target, and hardly a token is wasted:
//! - A request weighs [`CELLS`] cells, so that the bucket can forgive a late wake-up by a part of
//!   a token ([`TOLERANCE`]): being late must not move the whole schedule.
//! - Intervals are stretched by 1/[`STRETCH`]. In any second this leaves a slack of 4 ms, more than
//!   the tolerance, for what happens between here and the target.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::broker::policy::Pace;
use crate::broker::time::Mono;

const CELLS: u32 = 32;
const STRETCH: u32 = 250;
const TOLERANCE: Duration = Duration::from_micros(1_500);

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
struct Stepped(AtomicU64);

impl Clock for Stepped {
    type Instant = Duration;
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Relaxed))
    }
}

/// The one number that GCRA keeps: the theoretical arrival time of the next cell. A dry run asks
/// without spending (governor has no peek).
#[derive(Debug, Default)]
struct Arrival {
    at: AtomicU64,
    /// The same, by when requests left and not by when their tokens were taken.
    left: AtomicU64,
    dry: AtomicBool,
}

#[derive(Clone, Debug, Default)]
struct SharedArrival(Arc<Arrival>);

impl StateStore for SharedArrival {
    type Key = NotKeyed;
    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // One thread owns the bucket: load, decide and store need not be one step.
        let (allowed, next) = decide(Some(Nanos::new(self.0.at.load(Relaxed))))?;
        if !self.0.dry.load(Relaxed) {
            self.0.at.store(next.as_u64(), Relaxed);
        }
        Ok(allowed)
    }
}

type Limiter = RateLimiter<NotKeyed, SharedArrival, Stepped, NoOpMiddleware<Duration>>;

#[derive(Debug)]
pub(in crate::broker) struct Bucket {
    pace: Pace,
    limiter: Limiter,
    arrival: SharedArrival,
    /// Of one cell.
    cell: Duration,
    burst: u32,
    /// Burst and tolerance together.
    cells: NonZeroU32,
}

impl Bucket {
    /// Empty: whatever came before is assumed to have spent every token.
    pub(super) fn empty(pace: Pace, now: Mono) -> Bucket {
        let stretched = pace.rate.interval() + pace.rate.interval() / STRETCH;
        let cell_nanos = stretched.as_nanos().div_ceil(u128::from(CELLS));
        let cell = Duration::from_nanos(u64::try_from(cell_nanos).unwrap_or(u64::MAX));
        // The whole bucket must fit into governor's 584 years; 50 are plenty.
        let fits = Duration::from_secs(50 * 365 * 86_400).as_nanos() / stretched.as_nanos().max(1);
        let burst = pace.burst.get().min(u32::try_from(fits).unwrap_or(u32::MAX)).max(1);
        let forgiven = TOLERANCE.as_nanos() / cell.as_nanos().max(1);
        let forgiven = u32::try_from(forgiven).unwrap_or(0);
        let cells = burst.saturating_mul(CELLS).saturating_add(forgiven);
        let cells = NonZeroU32::new(cells).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(cell).unwrap_or(Quota::per_second(NonZeroU32::MIN));
        let arrival = SharedArrival::default();
        // The limiter's time counts from its construction: it is built at zero.
        let limiter =
            RateLimiter::new(quota.allow_burst(cells), arrival.clone(), Stepped::default());
        let bucket = Bucket { pace, limiter, arrival, cell, burst, cells };
        bucket.set_tokens(now, 0.0);
        bucket
    }

    /// Another limit in place of this one. No token is gained by the change.
    pub(super) fn reconfigured(&self, pace: Pace, now: Mono) -> Bucket {
        let bucket = Bucket::empty(pace, now);
        bucket.set_tokens(now, self.tokens(now).min(f64::from(bucket.burst)));
        let ahead = Mono::from_nanos(self.arrival.0.left.load(Relaxed)).since(now);
        let ahead = ahead.as_secs_f64() / (self.cell * CELLS).as_secs_f64();
        let left = now + (bucket.cell * CELLS).mul_f64(ahead);
        bucket.arrival.0.left.store(left.as_nanos(), Relaxed);
        bucket
    }

    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// Takes a token if there is one.
    pub(super) fn take(&self, now: Mono) -> bool {
        self.limiter.clock().0.store(now.as_nanos(), Relaxed);
        matches!(self.limiter.check_n(weight(1)), Ok(Ok(())))
    }

    /// A request for which a token was taken before has left only now: the next is spaced from
    /// here, as if its token had been taken now from a full bucket.
    pub(super) fn left(&self, at: Mono) {
        // The same algorithm over what has left: those that leave together count as many.
        let left = Mono::from_nanos(self.arrival.0.left.load(Relaxed)).max(at);
        let left = (left + self.cell * CELLS).as_nanos();
        self.arrival.0.left.store(left, Relaxed);
        self.arrival.0.at.fetch_max(left, Relaxed);
    }

    /// When so many could leave together, by what has left before; `None`: never, they are too many.
    ///
    /// So what has left is at no time more than a full bucket ahead. A process that starts with an
    /// empty one ([`Bucket::empty`]) then keeps the limit whatever the one before it died of, also
    /// where requests were held up on their way out and left at its last moment.
    pub(super) fn leaves_at(&self, now: Mono, count: u32) -> Option<Mono> {
        let room = self.cell * self.cells.get();
        let spare = room.checked_sub((self.cell * CELLS).saturating_mul(count))?;
        let left = Mono::from_nanos(self.arrival.0.left.load(Relaxed));
        Some(now.max(left.before(spare)))
    }

    /// When the `nth` token from now on will be there (1 is the next), if none is taken before.
    pub(super) fn earliest(&self, now: Mono, nth: u32) -> Mono {
        let at_once = nth.clamp(1, self.burst);
        self.limiter.clock().0.store(now.as_nanos(), Relaxed);
        self.arrival.0.dry.store(true, Relaxed);
        let answer = self.limiter.check_n(weight(at_once));
        self.arrival.0.dry.store(false, Relaxed);
        let first = match answer {
            Ok(Err(not_until)) => {
                let at = not_until.earliest_possible();
                Mono::from_nanos(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX))
            }
            Ok(Ok(())) | Err(_) => now,
        };
        first + self.cell.saturating_mul(CELLS).saturating_mul(nth.max(1) - at_once)
    }

    /// Whether no token is to come before one is taken.
    pub(super) fn is_full(&self, now: Mono) -> bool {
        self.earliest(now, self.burst) <= now
    }

    /// The tokens in the bucket, with fractions; less than none where some that were taken are
    /// still to come.
    pub(super) fn tokens(&self, now: Mono) -> f64 {
        let debt = Mono::from_nanos(self.arrival.0.at.load(Relaxed)).since(now);
        let room = self.cell * self.cells.get();
        (room.as_secs_f64() - debt.as_secs_f64()) / (self.cell * CELLS).as_secs_f64()
    }

    fn set_tokens(&self, now: Mono, tokens: f64) {
        let room = self.cell * self.cells.get();
        let a_token = self.cell * CELLS;
        let debt = if tokens < 0.0 {
            room + a_token.mul_f64(-tokens)
        } else {
            room - a_token.mul_f64(tokens).min(room)
        };
        self.arrival.0.at.store((now + debt).as_nanos(), Relaxed);
    }
}

fn weight(requests: u32) -> NonZeroU32 {
    NonZeroU32::new(requests.saturating_mul(CELLS)).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::policy::Rate;

    fn limit(count: u32, per: Duration, burst: u32) -> Pace {
        Pace {
            rate: Rate::new(NonZeroU32::new(count).unwrap(), per).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// Takes whatever can be taken when woken `late` after each token, for ten seconds.
    fn arrivals(limit: Pace, mut late: impl FnMut() -> Duration) -> Vec<Mono> {
        let bucket = Bucket::empty(limit, Mono::ZERO);
        let mut now = Mono::ZERO;
        let mut taken = Vec::new();
        while now < Mono::ZERO + 10 * SECOND {
            now = now.max(bucket.earliest(now, 1)) + late();
            while bucket.take(now) {
                taken.push(now);
            }
        }
        taken
    }

    fn most_in_a_second(arrivals: &[Mono]) -> usize {
        let mut first = 0;
        let mut most = 0;
        for (last, at) in arrivals.iter().enumerate() {
            while at.since(arrivals[first]) >= SECOND {
                first += 1;
            }
            most = most.max(last - first + 1);
        }
        most
    }

    #[test]
    fn never_more_than_the_rate_in_any_second_and_hardly_a_token_wasted() {
        for rate in [1_u32, 7, 50, 200, 500, 1_000, 20_000] {
            for lateness in [0_u64, 100, 900] {
                let mut wake = 0_u64;
                let sent = arrivals(limit(rate, SECOND, 1), || {
                    wake = wake.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    Duration::from_micros((wake >> 33) % (lateness + 1))
                });
                let most = most_in_a_second(&sent);
                assert!(most <= rate as usize, "{most} in a second at {rate}/s");
                let least = (10.0 * f64::from(rate) * 0.99) as usize - 1;
                assert!(sent.len() >= least, "only {} of {rate}/s, {lateness} µs", sent.len());
            }
        }
    }

    #[test]
    fn a_restart_starts_with_nothing_and_a_burst_builds_up() {
        let bucket = Bucket::empty(limit(10, SECOND, 5), Mono::ZERO);
        assert!(!bucket.take(Mono::ZERO));
        let later = Mono::ZERO + 100 * SECOND;
        assert_eq!((0..10).filter(|_| bucket.take(later)).count(), 5);
    }

    #[test]
    fn the_nth_token_comes_when_it_was_said_to_come() {
        let bucket = Bucket::empty(limit(10, SECOND, 3), Mono::ZERO);
        let third = bucket.earliest(Mono::ZERO, 3);
        let fifth = bucket.earliest(Mono::ZERO, 5);
        assert!(third < fifth);
        assert_eq!((0..10).filter(|_| bucket.take(third)).count(), 3);
        let until_fifth = (0..10).filter(|_| bucket.take(fifth)).count();
        assert_eq!(until_fifth, 2);
    }

    #[test]
    fn a_reload_frees_no_token() {
        let slow = Bucket::empty(limit(1, Duration::from_secs(60), 1), Mono::ZERO);
        let fast = slow.reconfigured(limit(10, SECOND, 100), Mono::ZERO);
        assert!(!fast.take(Mono::ZERO));
        assert!(fast.take(Mono::ZERO + Duration::from_millis(101)));
        let full = Mono::ZERO + 100 * SECOND;
        let wide = slow.reconfigured(limit(1, SECOND, 50), full);
        assert_eq!((0..60).filter(|_| wide.take(full)).count(), 1);
    }

    #[test]
    fn a_rate_that_changes_all_the_time_gains_no_token() {
        let paces = [limit(10, SECOND, 1), limit(7, SECOND, 1), limit(1_000, 100 * SECOND, 1)];
        let mut bucket = Bucket::empty(paces[0], Mono::ZERO);
        let (mut now, mut taken) = (Mono::ZERO, 0);
        for step in 0..100_000 {
            now = now + Duration::from_millis(1);
            bucket = bucket.reconfigured(paces[step % 3], now);
            if bucket.take(now) {
                bucket.left(now);
                taken += 1;
            }
        }
        // A hundred seconds at nine a second, by and large.
        assert!((880..=900).contains(&taken), "{taken}");
    }

    #[test]
    fn what_left_late_at_a_slow_rate_holds_up_a_fast_one_no_longer() {
        let slow = Bucket::empty(limit(1, Duration::from_secs(60), 1), Mono::ZERO);
        let now = Mono::ZERO + Duration::from_secs(61);
        assert!(slow.take(now));
        slow.left(now + Duration::from_secs(1));
        let fast = slow.reconfigured(limit(10, SECOND, 1), now + Duration::from_secs(1));
        let next = fast.earliest(now + Duration::from_secs(1), 1);
        assert!(next <= now + Duration::from_millis(1_101));
    }

    #[test]
    fn a_rate_of_years_does_not_overflow() {
        let rare = limit(1, Duration::from_secs(10 * 365 * 86_400), 1_000_000);
        let bucket = Bucket::empty(rare, Mono::ZERO);
        assert!(!bucket.take(Mono::ZERO));
        assert!(bucket.earliest(Mono::ZERO, u32::MAX) > Mono::ZERO);
    }

    /// Requests are let go while nothing leaves; then all leave, and others that can at once, and
    /// the process dies with them.
    #[test]
    fn a_life_that_ends_behind_a_hold_up_leaves_the_next_one_within_the_limit() {
        for (count, burst) in [(20, 5), (20, 1), (50, 1), (1_000, 50), (1_000, 1)] {
            let pace = limit(count, SECOND, burst);
            let bucket = Bucket::empty(pace, Mono::ZERO);
            let mut now = Mono::ZERO;
            let mut arrivals = Vec::new();
            let mut leaving = 0_u32;
            let may = |now, leaving: u32| {
                bucket.leaves_at(now, leaving + 1).is_some_and(|at| at <= now) && bucket.take(now)
            };
            // At peace for a second and a half, then held up for three quarters of one.
            while now < Mono::ZERO + Duration::from_millis(2_250) {
                now = now + Duration::from_micros(250);
                while may(now, leaving) {
                    leaving += 1;
                }
                if now < Mono::ZERO + Duration::from_millis(1_500) {
                    arrivals.extend((0..leaving).map(|_| now));
                    (0..leaving).for_each(|_| bucket.left(now));
                    leaving = 0;
                }
            }
            while leaving > 0 {
                leaving -= 1;
                bucket.left(now);
                arrivals.push(now);
                while may(now, leaving) {
                    leaving += 1;
                }
            }
            let next = Bucket::empty(pace, now);
            for _ in 0..2 * count {
                now = next.earliest(now, 1);
                assert!(next.take(now));
                arrivals.push(now);
            }
            let most = most_in_a_second(&arrivals);
            assert!(most < (count + burst) as usize, "{count}/s, burst {burst}: {most}");
        }
    }
}
