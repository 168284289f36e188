//! How fast calls go out, and how long to wait after one that failed.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;

use crate::broker::policy::Rate;

/// One call an interval, strictly spaced: an account's quota is shared with others, so no burst.
pub(super) struct Pacer {
    interval: Duration,
    next: Instant,
}

impl Pacer {
    pub(super) fn new(rate: Rate, now: Instant) -> Pacer {
        Pacer { interval: rate.interval(), next: now }
    }

    /// When the next call may go.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// A call goes now. Time that was not used is lost, but for what a timer was late.
    pub(super) fn take(&mut self, now: Instant) {
        const LATE: Duration = Duration::from_millis(5);
        let floor = now.checked_sub(LATE).unwrap_or(now);
        self.next = self.next.max(floor) + self.interval;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backoff {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

impl Backoff {
    /// After the nth failure in a row, from 1: between half of `min` · 2^(n-1), at most `max`, and
    /// all of it. `dice` is from 0 to 1.
    pub(super) fn after(self, failures: u32, dice: f64) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let ceiling = self.min.saturating_mul(doubled).min(self.max);
        ceiling / 2 + (ceiling / 2).mul_f64(dice.clamp(0.0, 1.0))
    }
}

/// From 0 to 1.
pub(super) fn dice() -> f64 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        // Without randomness, in step with others: slower, not wrong.
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pacer_never_goes_faster_and_loses_no_time_to_late_timers() {
        let rate = Rate::new(NonZeroU32::new(250).unwrap(), Duration::from_secs(1)).unwrap();
        let start = Instant::now();
        let mut pacer = Pacer::new(rate, start);
        let mut sent = 0_u32;
        while Instant::now() < start + Duration::from_secs(10) {
            tokio::time::sleep_until(pacer.next()).await;
            // A timer that is always 1 ms late.
            tokio::time::advance(Duration::from_millis(1)).await;
            pacer.take(Instant::now());
            sent += 1;
        }
        assert!((2_490..=2_502).contains(&sent), "{sent} in 10 s");
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_was_not_used_is_no_burst() {
        let rate = Rate::new(NonZeroU32::new(10).unwrap(), Duration::from_secs(1)).unwrap();
        let mut pacer = Pacer::new(rate, Instant::now());
        tokio::time::advance(Duration::from_secs(60)).await;
        let now = Instant::now();
        pacer.take(now);
        assert_eq!(pacer.next(), now + Duration::from_millis(95));
    }

    #[test]
    fn a_pause_doubles_up_to_its_limit_and_is_never_nothing() {
        let secs = Duration::from_secs;
        let backoff = Backoff { min: secs(2), max: secs(60) };
        let ceilings: Vec<_> = (1..=7).map(|nth| backoff.after(nth, 1.0).as_secs()).collect();
        assert_eq!(ceilings, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.after(u32::MAX, 1.0), secs(60));
        assert_eq!(backoff.after(3, 0.0), secs(4));
        assert!((0.0..=1.0).contains(&dice()));
    }
}
