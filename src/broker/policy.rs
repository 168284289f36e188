//! What a target's owner decided about it, validated. Built by `config`, obeyed by the core.

use super::fair::Weights;
use super::group::OnGroupFailure;
use std::num::NonZeroU32;
use std::time::Duration;

/// So many in so long, e.g. 10 a second. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    per: Duration,
}

impl Rate {
    /// `None` where `per` is zero or more than ten years, or the interval is under a nanosecond.
    pub fn new(count: NonZeroU32, per: Duration) -> Option<Rate> {
        let sane = per <= Duration::from_secs(10 * 366 * 86_400) && !(per / count.get()).is_zero();
        sane.then_some(Rate { count, per })
    }

    pub fn count(self) -> NonZeroU32 {
        self.count
    }

    pub fn per(self) -> Duration {
        self.per
    }

    /// From one to the next, rounded up to a nanosecond.
    pub fn interval(self) -> Duration {
        let nanos = self.per.as_nanos().div_ceil(u128::from(self.count.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    pub fn per_second(self) -> f64 {
        f64::from(self.count.get()) / self.per.as_secs_f64()
    }
}

/// What a target can bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub rate: Rate,
    /// The size of the token bucket, in requests.
    pub burst: NonZeroU32,
    pub max_concurrent: NonZeroU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Includes the first; refusals do not count.
    pub max_attempts: NonZeroU32,
    pub min_backoff: Duration,
    pub max_backoff: Duration,
    /// From the first attempt; after it nothing is tried again.
    pub max_retry_duration: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub limit: Limit,
    pub retry: Retry,
    /// A waiting lower job is passed over at most this often. At least 1.
    pub max_deferrals: NonZeroU32,
    /// Jobs that have not ended, in all three queues together.
    pub max_queued: u64,
    /// What becomes of a group whose head died.
    pub on_group_failure: OnGroupFailure,
    /// Of flows that share a queue.
    pub weights: Weights,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_rounded_up() {
        let three = Rate::new(NonZeroU32::new(3).unwrap(), Duration::from_secs(1)).unwrap();
        assert_eq!(three.interval(), Duration::from_nanos(333_333_334));
    }

    #[test]
    fn a_rate_without_time_is_none() {
        assert_eq!(Rate::new(NonZeroU32::MIN, Duration::ZERO), None);
        let too_fast = Rate::new(NonZeroU32::MAX, Duration::from_millis(1));
        assert_eq!(too_fast, None);
    }
}
