//! Whether answers take longer than they used to.

use std::time::Duration;

use crate::broker::time::Mono;

/// So many answers make one look.
const SAMPLES: usize = 16;
/// And no more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many times the usual is more than chance.
const TOLERANCE: u32 = 2;
/// And at least so much more: a machine next door answers in 1 ms or in 5, and nothing is wrong.
const SLACK: Duration = Duration::from_millis(25);
/// So many looks in a row have to say the same.
const STRIKES: u32 = 2;
/// The usual is the lowest look of this time and of the one before it.
const AGEING: Duration = Duration::from_secs(300);
/// Slowing down so often without any effect means that slow is what the target now is.
const IN_VAIN: u32 = 2;

/// The usual latency, and what it is now. Both are lower quartiles: a queue in front of a target
/// delays all its requests, while a few slow ones, or a few more of a slow kind, delay only some.
#[derive(Clone, Debug)]
pub(super) struct Latency {
    samples: [Duration; SAMPLES],
    filled: usize,
    looked_at: Mono,
    /// Attempts that began before then do not count.
    from: Mono,
    period: Mono,
    lowest: Option<Duration>,
    lowest_before: Option<Duration>,
    strikes: u32,
    in_vain: u32,
    /// What it was when the rate was last lowered for it.
    slowed_at: Duration,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency {
            samples: [Duration::ZERO; SAMPLES],
            filled: 0,
            looked_at: Mono::ZERO,
            from: Mono::ZERO,
            period: Mono::ZERO,
            lowest: None,
            lowest_before: None,
            strikes: 0,
            in_vain: 0,
            slowed_at: Duration::ZERO,
        }
    }
}

impl Latency {
    /// What is normal for this target; `None` before it is known.
    pub(super) fn usual(&self) -> Option<Duration> {
        match (self.lowest, self.lowest_before) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// An answer took so long. `true`: they have grown, and the rate is to be lowered.
    pub(super) fn answered(&mut self, now: Mono, began: Mono, took: Duration) -> bool {
        if began < self.from {
            return false;
        }
        if let Some(slot) = self.samples.get_mut(self.filled) {
            *slot = took;
            self.filled += 1;
        }
        if self.filled < SAMPLES || now.since(self.looked_at) < LOOK_EVERY {
            return false;
        }
        self.samples.sort_unstable();
        let quartile = self.samples[SAMPLES / 4];
        self.filled = 0;
        self.looked_at = now;
        self.look(now, quartile)
    }

    fn look(&mut self, now: Mono, quartile: Duration) -> bool {
        if now.since(self.period) >= AGEING {
            let long = now.since(self.period) >= 2 * AGEING;
            self.lowest_before = if long { None } else { self.lowest };
            self.lowest = None;
            self.period = now;
        }
        let usual = self.usual();
        self.lowest = Some(self.lowest.map_or(quartile, |lowest| lowest.min(quartile)));
        let Some(usual) = usual else { return false };
        if quartile <= usual * TOLERANCE || quartile <= usual + SLACK {
            self.strikes = 0;
            self.in_vain = 0;
            return false;
        }
        self.strikes += 1;
        if self.strikes < STRIKES {
            return false;
        }
        self.strikes = 0;
        // A queue that still grows is not in vain: the rate is not low enough yet.
        let same = quartile * 10 > self.slowed_at * 9 && quartile * 10 < self.slowed_at * 12;
        let no_better = self.in_vain > 0 && same;
        self.in_vain = if no_better { self.in_vain + 1 } else { 1 };
        self.slowed_at = quartile;
        if self.in_vain > IN_VAIN {
            self.in_vain = 0;
            self.lowest = Some(quartile);
            self.lowest_before = None;
            return false;
        }
        true
    }

    /// What began before `from` says nothing about what is now.
    pub(super) fn restart(&mut self, from: Mono) {
        self.from = self.from.max(from);
        self.filled = 0;
        self.strikes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Line {
        latency: Latency,
        now: Mono,
    }

    impl Line {
        fn new() -> Line {
            Line { latency: Latency::default(), now: Mono::ZERO + Duration::from_secs(1_000) }
        }

        /// How often it said "grown", for `count` answers at 20/s.
        fn answers(&mut self, count: u64, took: impl Fn(u64) -> u64) -> usize {
            let mut grown = 0;
            for nth in 0..count {
                self.now = self.now + Duration::from_millis(50);
                let took = Duration::from_millis(took(nth));
                grown += usize::from(self.latency.answered(self.now, self.now, took));
            }
            grown
        }
    }

    #[test]
    fn noise_and_outliers_are_not_growth() {
        let mut line = Line::new();
        let noisy =
            |nth: u64| 40 + (nth * 7_919) % 40 + if nth.is_multiple_of(10) { 900 } else { 0 };
        assert_eq!(line.answers(10_000, noisy), 0);
        let mut near = Line::new();
        assert_eq!(near.answers(100, |_| 1) + near.answers(10_000, |nth| 1 + nth % 20), 0);
    }

    #[test]
    fn a_queue_is_growth_and_a_slower_target_is_the_new_normal() {
        let mut line = Line::new();
        assert_eq!(line.answers(400, |_| 40), 0);
        assert!(line.answers(64, |_| 200) >= 1);
        assert_eq!(line.answers(400, |_| 40), 0);
        // For good: after a few attempts in vain it is left alone.
        assert_eq!(line.answers(20_000, |_| 200), IN_VAIN as usize);
        assert_eq!(line.latency.usual(), Some(Duration::from_millis(200)));
    }

    #[test]
    fn the_usual_ages() {
        let mut line = Line::new();
        line.answers(400, |_| 100);
        line.answers(20 * 700, |_| 180);
        assert_eq!(line.latency.usual(), Some(Duration::from_millis(180)));
    }

    #[test]
    fn what_began_before_a_change_is_not_heard() {
        let mut line = Line::new();
        line.answers(400, |_| 40);
        line.latency.restart(line.now + Duration::from_secs(3_600));
        assert_eq!(line.answers(400, |_| 900), 0);
    }
}
