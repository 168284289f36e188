//! What a target says about how much it will still take (`RateLimit` and its relatives).

use std::time::Duration;

use super::time::Mono;

/// From the headers of an answer. It can slow down, never speed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Requests that it will take until the reset.
    pub remaining: u64,
    /// From the answer.
    pub reset_in: Duration,
    /// Requests from one reset to the next, where it says so.
    pub limit: Option<u64>,
}

/// A reset in whole seconds may be up to a second sooner than it says.
const GRAIN: Duration = Duration::from_secs(1);
/// Resets nearer than this are not waited for. An API that counts by the second says "0 remaining,
/// reset in 1" after each second's last request; a broker that keeps to its rate would lose half
/// of the time by waiting, and risks one refusal by not waiting.
const NEAR: Duration = Duration::from_secs(2);
/// What is left is small, and is spread evenly, from this part of the limit on, or from so many
/// requests on where the limit is not known. Before that a quota is there to be used: jobs may end
/// long before it does. What is spread leaves something for a HIGH job that comes late.
const SMALL_PART: u64 = 5;
const SMALL: u64 = 20;

/// The hints of one target, the latest of them in force until its reset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowance {
    current: Option<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    heard_at: Mono,
    reset_at: Mono,
    remaining: u64,
    small: bool,
}

impl Allowance {
    /// An answer to an attempt that began at `began`. Resets further off than `longest` are taken
    /// for that: nobody is held up for a year by a header.
    pub fn hear(&mut self, now: Mono, began: Mono, hint: Hint, longest: Duration) {
        let reset_in = hint.reset_in.min(longest);
        if reset_in < NEAR {
            return;
        }
        let small = match hint.limit {
            Some(limit) => hint.remaining <= limit / SMALL_PART,
            None => hint.remaining <= SMALL,
        };
        let next =
            Current { heard_at: now, reset_at: now + reset_in, remaining: hint.remaining, small };
        // Answers overtake each other. One to a request that was made after the current hint came
        // knows better; of the others the one that leaves least is nearest to the truth.
        let knows_better = self.current.is_none_or(|current| {
            current.reset_at <= now
                || began >= current.heard_at
                || next.remaining < current.remaining
        });
        if knows_better {
            self.current = Some(next);
        }
    }

    /// Nothing is left, until then.
    pub fn spent_until(&self, now: Mono) -> Option<Mono> {
        self.in_force(now).filter(|current| current.remaining == 0).map(|current| current.reset_at)
    }

    /// What is left, spread evenly until the reset; requests a second.
    pub fn pace(&self, now: Mono) -> Option<f64> {
        let current =
            self.in_force(now).filter(|current| current.small && current.remaining > 0)?;
        // By what was left when it was said, over the time from then: the pace does not change
        // while it is kept to. At the earliest reset that was meant; should it be later, the rest
        // is used up a little too early, and nothing is left until then.
        let time = current.reset_at.since(current.heard_at).saturating_sub(GRAIN).max(GRAIN);
        Some(current.remaining as f64 / time.as_secs_f64())
    }

    /// When what is said here ends.
    pub fn ends_at(&self, now: Mono) -> Option<Mono> {
        self.in_force(now).map(|current| current.reset_at)
    }

    fn in_force(&self, now: Mono) -> Option<&Current> {
        self.current.as_ref().filter(|current| current.reset_at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(1_000 + seconds)
    }

    fn hint(remaining: u64, seconds: u64, limit: Option<u64>) -> Hint {
        Hint { remaining, reset_in: Duration::from_secs(seconds), limit }
    }

    fn heard(hint: Hint) -> Allowance {
        let mut allowance = Allowance::default();
        allowance.hear(at(0), at(0), hint, HOUR);
        allowance
    }

    #[test]
    fn nothing_left_is_until_the_reset() {
        let allowance = heard(hint(0, 30, None));
        assert_eq!(allowance.spent_until(at(0)), Some(at(30)));
        assert_eq!(allowance.spent_until(at(29)), Some(at(30)));
        assert_eq!(allowance.spent_until(at(30)), None);
        assert_eq!(allowance.ends_at(at(30)), None);
    }

    #[test]
    fn an_absurd_reset_is_bounded() {
        let mut allowance = Allowance::default();
        let absurd = Hint { reset_in: Duration::MAX, ..hint(0, 0, None) };
        allowance.hear(at(0), at(0), absurd, Duration::from_secs(300));
        assert_eq!(allowance.spent_until(at(0)), Some(at(300)));
    }

    #[test]
    fn the_little_that_is_left_is_spread() {
        assert_eq!(heard(hint(10, 101, None)).pace(at(0)), Some(0.1));
        assert_eq!(heard(hint(21, 101, None)).pace(at(0)), None);
        assert_eq!(heard(hint(1_000, 1_001, Some(5_000))).pace(at(0)), Some(1.0));
        assert_eq!(heard(hint(1_001, 1_001, Some(5_000))).pace(at(0)), None);
        assert_eq!(heard(hint(0, 101, None)).pace(at(0)), None);
    }

    #[test]
    fn seconds_are_too_coarse_to_pace_seconds_by() {
        let allowance = heard(hint(0, 1, Some(20)));
        assert_eq!((allowance.spent_until(at(0)), allowance.pace(at(0))), (None, None));
    }

    #[test]
    fn answers_that_overtake_each_other() {
        let mut allowance = Allowance::default();
        allowance.hear(at(10), at(9), hint(3, 60, None), HOUR);
        // It was asked before the other was heard: of the two the smaller holds.
        allowance.hear(at(11), at(8), hint(7, 60, None), HOUR);
        assert_eq!(allowance.current.unwrap().remaining, 3);
        allowance.hear(at(11), at(8), hint(2, 60, None), HOUR);
        assert_eq!(allowance.current.unwrap().remaining, 2);
        // It was asked after, so the window is a new one.
        allowance.hear(at(13), at(12), hint(100, 60, Some(100)), HOUR);
        assert_eq!(allowance.current.unwrap().remaining, 100);
    }
}
