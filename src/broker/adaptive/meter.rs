//! How many requests a target took lately, in memory that does not grow with the rate.

use std::time::Duration;

use crate::broker::time::Mono;

/// Requests a second over the last [`Recent::width`], from two counters: the one that is running,
/// and the share of the one before it that still lies within the width.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recent {
    width: Duration,
    start: Mono,
    running: f64,
    before: f64,
}

impl Recent {
    pub(super) fn new(width: Duration) -> Recent {
        Recent { width, start: Mono::ZERO, running: 0.0, before: 0.0 }
    }

    pub(super) fn width(&self) -> Duration {
        self.width
    }

    /// Goes on with another width, as if what was counted had been spread evenly.
    pub(super) fn widen(&mut self, width: Duration) {
        if self.width.is_zero() || width == self.width {
            return;
        }
        let scale = width.as_secs_f64() / self.width.as_secs_f64();
        if scale < 1.0 {
            self.before *= scale;
            self.running *= scale;
        }
        self.width = width;
    }

    /// One that began at `began` was taken. One from before the last two widths is too old.
    pub(super) fn count(&mut self, began: Mono) {
        self.roll(began);
        if began >= self.start {
            self.running += 1.0;
        } else if began + self.width >= self.start {
            self.before += 1.0;
        }
    }

    pub(super) fn per_second(&self, at: Mono) -> f64 {
        let mut rolled = *self;
        rolled.roll(at);
        let gone = at.since(rolled.start).as_secs_f64() / rolled.width.as_secs_f64();
        let share = (1.0 - gone).clamp(0.0, 1.0);
        (rolled.running + rolled.before * share) / rolled.width.as_secs_f64()
    }

    fn roll(&mut self, at: Mono) {
        let age = at.since(self.start);
        if age < self.width {
            return;
        }
        self.before = if age < 2 * self.width { self.running } else { 0.0 };
        self.running = 0.0;
        self.start = if age < 2 * self.width { self.start + self.width } else { at };
    }
}

/// Requests a second since some event; what is far back counts ever less.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Since {
    start: Mono,
    taken: f64,
}

impl Since {
    const REACH: Duration = Duration::from_secs(120);

    pub(super) fn new(start: Mono) -> Since {
        Since { start, taken: 0.0 }
    }

    /// One that began at `began` was taken.
    pub(super) fn count(&mut self, began: Mono) {
        if began < self.start {
            return;
        }
        let age = began.since(self.start);
        if age > Since::REACH {
            // Forget the older half, as if they had come evenly; after a long silence all of them.
            let keep = if age > 2 * Since::REACH { 0.0 } else { 0.5 };
            self.taken *= keep;
            self.start = began.before(age.mul_f64(keep));
        }
        self.taken += 1.0;
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.taken == 0.0
    }

    /// Over `least` where less time has passed.
    pub(super) fn per_second(&self, at: Mono, least: Duration) -> f64 {
        self.taken / at.since(self.start).max(least).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_nanos((1_000_000 + millis) * 1_000_000)
    }

    #[test]
    fn an_even_pace_is_measured_whenever_it_is_asked_for() {
        let mut recent = Recent::new(Duration::from_secs(1));
        for nth in 0..200 {
            recent.count(at(nth * 100));
            if nth > 20 {
                let rate = recent.per_second(at(nth * 100));
                assert!((9.0..=11.0).contains(&rate), "{rate}");
            }
        }
        assert_eq!(recent.per_second(at(199 * 100 + 2_001)), 0.0);
    }

    #[test]
    fn what_comes_late_or_far_too_late_is_no_error() {
        let mut recent = Recent::new(Duration::from_secs(1));
        recent.count(at(10_000));
        recent.count(at(9_500));
        recent.count(Mono::ZERO);
        assert_eq!(recent.per_second(at(10_000)), 2.0);
    }

    #[test]
    fn what_is_long_gone_is_forgotten() {
        let mut since = Since::new(at(0));
        (0..100).for_each(|nth| since.count(at(nth * 10)));
        since.count(at(3_600_000));
        assert!(since.per_second(at(3_600_000), Duration::from_secs(1)) <= 1.0);
        let mut even = Since::new(at(0));
        (0..6_000).for_each(|nth| even.count(at(nth * 100)));
        let rate = even.per_second(at(600_000), Duration::from_secs(1));
        assert!((9.5..=10.5).contains(&rate), "{rate}");
    }
}
