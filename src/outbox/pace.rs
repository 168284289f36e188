//! How fast calls go out.

use std::time::Duration;

use tokio::time::Instant;

use crate::broker::policy::Rate;

/// One call an interval, strictly spaced: an account's quota is shared with others, so no burst.
pub(crate) struct Pacer {
    interval: Duration,
    next: Instant,
}

impl Pacer {
    pub(crate) fn new(rate: Rate, now: Instant) -> Pacer {
        Pacer { interval: rate.interval(), next: now }
    }

    /// When the next call may go.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// A call goes now. Time that was not used is lost, but for what a timer was late.
    pub(crate) fn take(&mut self, now: Instant) {
        const LATE: Duration = Duration::from_millis(5);
        let floor = now.checked_sub(LATE).unwrap_or(now);
        self.next = self.next.max(floor) + self.interval;
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
}
