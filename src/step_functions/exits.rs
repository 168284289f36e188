//! Gives requests back the spacing that asking Step Functions takes from them. Pure.
//!
//! A job is let go with a token of its target's limit, and then asked after. Answers take unequal
//! times: after a stall of a second many come at once, and their requests would reach the target
//! together. So each passes here on its way out, at the pace of the same limit.
//!
//! Known here is a target's own rate as it is configured: not what its schedule or its answers make
//! of it, and not the rates of limits that it shares. Of those requests that were asked after may
//! arrive closer together than they were let go; places, windows and quotas hold all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::broker::job::TargetId;
use crate::broker::policy::Pace;
use crate::broker::time::Mono;

/// What the bucket of the core forgives a late wake-up, and by what part it stretches intervals:
/// what left it evenly is not held up here.
const TOLERANCE: Duration = Duration::from_micros(1_500);
const STRETCH: u32 = 250;

#[derive(Debug, Default)]
pub(crate) struct Exits(BTreeMap<TargetId, Exit>);

#[derive(Debug)]
struct Exit {
    pace: Pace,
    /// When the next would leave in an even flow.
    next: Mono,
    last: Option<Mono>,
}

impl Exits {
    /// `None`: the request leaves now. Else when to ask again: others may have left by then, and
    /// a process that was stopped must not let out at once all who waited.
    pub(crate) fn leave(&mut self, target: TargetId, pace: Pace, now: Mono) -> Option<Mono> {
        let interval = pace.rate.interval() + pace.rate.interval() / STRETCH;
        let early = interval.saturating_mul(pace.burst.get() - 1) + TOLERANCE;
        let exit = self.0.entry(target).or_insert(Exit { pace, next: now, last: None });
        if exit.pace != pace {
            exit.pace = pace;
            exit.next = exit.last.map_or(now, |last| last + interval);
        }
        let earliest = exit.next.before(early);
        if earliest > now {
            return Some(earliest);
        }
        exit.next = exit.next.max(now) + interval;
        exit.last = Some(now);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::broker::policy::Rate;

    const MS: Duration = Duration::from_millis(1);

    fn pace(per_second: u32, burst: u32) -> Pace {
        let some = |n| NonZeroU32::new(n).unwrap();
        let rate = Rate::new(some(per_second), Duration::from_secs(1)).unwrap();
        Pace { rate, burst: some(burst) }
    }

    /// When each leaves that wants to at these times, in milliseconds.
    fn left(pace: Pace, wanted: &[u32]) -> Vec<u128> {
        let mut exits = Exits::default();
        let leave = |wanted: &u32| {
            let mut now = Mono::ZERO + MS * *wanted;
            while let Some(later) = exits.leave(TargetId(1), pace, now) {
                assert!(later > now, "it would be asked for ever");
                now = later;
            }
            now.since(Mono::ZERO).as_millis()
        };
        wanted.iter().map(leave).collect()
    }

    #[test]
    fn what_is_even_is_not_held_up() {
        assert_eq!(left(pace(10, 1), &[0, 101, 201, 300, 402]), [0, 101, 201, 300, 402]);
    }

    #[test]
    fn what_comes_at_once_leaves_at_the_pace_of_the_limit() {
        assert_eq!(left(pace(10, 1), &[500; 4]), [500, 598, 699, 799]);
        assert_eq!(left(pace(10, 3), &[500; 4]), [500, 500, 500, 598]);
    }

    #[test]
    fn another_limit_holds_from_the_next_request_on() {
        let mut exits = Exits::default();
        let now = Mono::ZERO + MS;
        assert_eq!(exits.leave(TargetId(1), pace(1, 1), now), None);
        assert!(exits.leave(TargetId(1), pace(1, 1), now).is_some());
        let soon = exits.leave(TargetId(1), pace(10, 1), now);
        assert!(soon.is_some_and(|soon| soon.since(now) < MS * 100), "{soon:?}");
        assert_eq!(exits.leave(TargetId(2), pace(1, 1), now), None, "each target has its own");
    }
}
