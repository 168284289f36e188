//! What a target's owner decided about it, validated. Built by `config`, obeyed by the core.

use super::fair::Weights;
use super::group::OnGroupFailure;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::calendar::{Quota, Schedule};
use super::course::Delivery;
use super::job::TargetId;
use super::{adaptive, breaker, pressure};

/// So many in so long, e.g. 10 a second. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    per: Duration,
}

impl Rate {
    pub const ONE_A_SECOND: Rate = Rate { count: NonZeroU32::MIN, per: Duration::from_secs(1) };

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

/// A token bucket: how fast it fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub rate: Rate,
    /// In requests.
    pub burst: NonZeroU32,
}

/// A part of a window or a quota, in ten-thousandths; always less than the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserve(u16);

impl Reserve {
    /// `None` where it is not at least 0 and less than 1.
    pub fn new(share: f64) -> Option<Reserve> {
        let parts = (share * 10_000.0).round();
        (0.0..10_000.0).contains(&parts).then_some(Reserve(parts as u16))
    }

    /// Of `count`, rounded down: one of one is never kept back.
    pub fn of(self, count: u64) -> u64 {
        let part = u128::from(count) * u128::from(self.0) / 10_000;
        u64::try_from(part).unwrap_or(u64::MAX)
    }

    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

/// How many arrivals there may be, whatever the bucket says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// In any sliding span of `per()` never more than `count()`. No two of the same `per()`.
    pub windows: Vec<Rate>,
    /// So many a calendar day or month.
    pub quota: Option<Quota>,
    /// The last share of each, which only HIGH may spend.
    pub reserve_high: Reserve,
}

/// How long a request of which nothing more is heard may still arrive at its target, or run there.
pub const HOLD_AFTER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a target can bear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    pub rate: Rate,
    /// The size of the token bucket, in requests.
    pub burst: NonZeroU32,
    pub max_concurrent: NonZeroU32,
    /// A request that timed out, or whose connection broke, keeps its place, and its slots of the
    /// windows, so long after its attempt.
    pub hold_after_timeout: Duration,
    pub ceilings: Ceilings,
}

impl Limit {
    /// With nothing but a bucket and places.
    pub fn plain(rate: Rate, burst: NonZeroU32, max_concurrent: NonZeroU32) -> Limit {
        Limit {
            rate,
            burst,
            max_concurrent,
            hold_after_timeout: HOLD_AFTER_TIMEOUT,
            ceilings: Ceilings::default(),
        }
    }

    pub fn pace(&self) -> Pace {
        Pace { rate: self.rate, burst: self.burst }
    }

    pub fn bounds(&self) -> Bounds {
        Bounds {
            pace: Some(self.pace()),
            max_concurrent: Some(self.max_concurrent),
            hold_after_timeout: self.hold_after_timeout,
            ceilings: self.ceilings.clone(),
        }
    }
}

/// What a limit comes down to; one that several targets share need not have all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub pace: Option<Pace>,
    pub max_concurrent: Option<NonZeroU32>,
    pub hold_after_timeout: Duration,
    pub ceilings: Ceilings,
}

/// Of a limit that several targets share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitName(Arc<str>);

impl LimitName {
    pub fn new(name: &str) -> LimitName {
        LimitName(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for LimitName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for LimitName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<LimitName, D::Error> {
        <&str>::deserialize(from).map(LimitName::new)
    }
}

/// Whose limit it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LimitId {
    /// A target's own.
    Target(TargetId),
    Shared(LimitName),
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

/// What changes the rate, or stops it, in the course of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tempo {
    pub schedule: Schedule,
    /// Nothing is sent that might still be under way when a closed window begins: the longest that
    /// an attempt takes; zero where that is no matter.
    pub lasting: Duration,
    pub breaker: breaker::Settings,
    pub adaptive: Option<adaptive::Settings>,
}

impl Default for Tempo {
    fn default() -> Tempo {
        Tempo {
            schedule: Schedule::default(),
            lasting: Duration::ZERO,
            breaker: breaker::Settings::DEFAULT,
            adaptive: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub limit: Limit,
    /// Limits that apply too.
    pub share: Vec<LimitName>,
    pub tempo: Tempo,
    pub retry: Retry,
    /// A waiting lower job is passed over at most this often. At least 1.
    pub max_deferrals: NonZeroU32,
    /// Jobs that have not ended, in all three queues together.
    pub max_queued: u64,
    /// What becomes of a group whose head died.
    pub on_group_failure: OnGroupFailure,
    /// Of flows that share a queue.
    pub weights: Weights,
    pub outcomes: Outcomes,
}

/// What follows from what is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Of jobs that name none.
    pub delivery: Delivery,
    pub completion: Completion,
    /// How many dead jobs are kept; all of them by default.
    pub dead_retention: DeadRetention,
    /// A job that cannot make its deadline by its estimate is refused at once.
    pub reject_if_late: bool,
}

/// How work that the target took on is asked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    pub every: Duration,
    /// From the answer that took it on.
    pub timeout: Duration,
}

impl Default for Completion {
    fn default() -> Completion {
        Completion { every: Duration::from_secs(10), timeout: Duration::from_secs(3_600) }
    }
}

/// What is let go of the dead jobs of a target, the oldest first. `None`: no limit of that kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadRetention {
    pub age: Option<Duration>,
    pub count: Option<u64>,
    /// Of their requests and answers as they are on disk, in bytes.
    pub size: Option<u64>,
}

impl DeadRetention {
    pub fn keeps_all(&self) -> bool {
        *self == DeadRetention::default()
    }
}

impl Policy {
    pub fn feedback(&self) -> pressure::Settings {
        let Tempo { breaker, adaptive, .. } = self.tempo;
        pressure::Settings { retry: self.retry, breaker, adaptive }
    }
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
    fn a_reserve_is_less_than_the_whole() {
        let fifth = Reserve::new(0.2).unwrap();
        assert_eq!((fifth.of(1), fifth.of(5), fifth.of(5_004)), (0, 1, 1_000));
        assert_eq!(Reserve::new(0.9999).unwrap().of(1), 0);
        for nonsense in [1.0, -0.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Reserve::new(nonsense), None);
        }
    }

    #[test]
    fn a_rate_without_time_is_none() {
        assert_eq!(Rate::new(NonZeroU32::MIN, Duration::ZERO), None);
        let too_fast = Rate::new(NonZeroU32::MAX, Duration::from_millis(1));
        assert_eq!(too_fast, None);
    }
}
