//! A hard window: never more than N arrivals in any sliding span W, measured where they arrive.
//!
//! The broker does not see arrivals. A request arrives somewhere between its sending and the end
//! of its attempt; so a slot is held while the attempt is under way, and for W after its end. Two
//! requests that held the same slot then arrived W apart at least, however long each was on its
//! way. Where the end leaves it open whether the request may still arrive (it timed out, the
//! connection broke, the broker died), the end is taken to be later by `hold_after_timeout`.
//!
//! Ends are kept by steps of time, as counts: at most [`STEPS`] or so, whatever N is. An end is
//! rounded up to the end of its step, so a slot is free late by a thousandth of W at most, and
//! never early. Up to [`STEPS`] slots the step is a millisecond at most.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::broker::policy::Rate;
use crate::broker::time::Lived;

/// Into which a window is cut. Memory: 32 bytes or so for each step that is in use.
const STEPS: u64 = 1_024;

#[derive(Clone, Debug)]
pub(super) struct Sliding {
    count: u64,
    per: Duration,
    step: Duration,
    /// How many attempts ended in the step that ends then.
    ends: BTreeMap<Lived, u64>,
    sum: u64,
}

impl Sliding {
    pub(super) fn new(rate: Rate) -> Sliding {
        let mut window = Sliding::of_width(rate.per());
        window.set_count(u64::from(rate.count().get()));
        window
    }

    /// Of which nothing is known but what was spent: no target is held to it now.
    pub(super) fn of_width(per: Duration) -> Sliding {
        let mut window =
            Sliding { count: 0, per, step: Duration::ZERO, ends: BTreeMap::new(), sum: 0 };
        window.set_count(u64::MAX);
        window
    }

    pub(super) fn set_count(&mut self, count: u64) {
        self.count = count;
        let step = self.per / STEPS as u32;
        let fine = step.min(Duration::from_millis(1));
        let step = if count <= STEPS { fine } else { step };
        self.step = step.max(Duration::from_micros(1));
    }

    pub(super) fn per(&self) -> Duration {
        self.per
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Slots that attempts which have ended hold.
    pub(super) fn spent(&self) -> u64 {
        self.sum
    }

    /// An attempt ended, and may arrive until `held` after `now`. Returns the step that it counts
    /// in, and what there is in it now.
    pub(super) fn ended(&mut self, now: Lived, held: Duration) -> (Lived, u64) {
        // Those that are held would make steps of their own, for as long as they are held.
        let step = self.step.max(held / STEPS as u32);
        self.add(round_up(now + held, step), 1)
    }

    pub(super) fn add(&mut self, end: Lived, count: u64) -> (Lived, u64) {
        let here = self.ends.entry(end).or_default();
        *here = here.saturating_add(count);
        self.sum = self.sum.saturating_add(count);
        (end, *here)
    }

    /// The same, less what is over by now.
    pub(super) fn spent_at(&self, now: Lived) -> u64 {
        let over = self.ends.iter().take_while(|(end, _)| **end + self.per <= now);
        self.sum - over.map(|(_, count)| count).sum::<u64>()
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = (Lived, u64)> + '_ {
        self.ends.iter().map(|(end, count)| (*end, *count))
    }

    /// Frees what is over; says which steps are.
    pub(super) fn expire(&mut self, now: Lived, mut gone: impl FnMut(Lived)) {
        while let Some(first) = self.ends.first_entry()
            && *first.key() + self.per <= now
        {
            let (end, count) = first.remove_entry();
            self.sum -= count;
            gone(end);
        }
    }

    /// Whether one more may start while `busy` are under way and `kept` slots are for others; if
    /// not, when: `None` where that hangs on one that is under way. Call [`Sliding::expire`] first.
    pub(super) fn room(&self, busy: u64, kept: u64) -> Result<(), Option<Lived>> {
        let allowed = self.count.saturating_sub(kept);
        let used = self.sum.saturating_add(busy);
        if used < allowed {
            return Ok(());
        }
        let mut too_many = used - allowed;
        for (end, count) in &self.ends {
            if *count > too_many {
                return Err(Some(*end + self.per));
            }
            too_many -= count;
        }
        Err(None)
    }
}

/// To the end of its step, which is after `at`.
fn round_up(at: Lived, step: Duration) -> Lived {
    let step = u64::try_from(step.as_micros()).unwrap_or(u64::MAX).max(1);
    let steps = (at.as_micros() / step).saturating_add(1);
    Lived::from_micros(steps.saturating_mul(step))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const DAY: Duration = Duration::from_secs(86_400);

    fn window(count: u32, per: Duration) -> Sliding {
        Sliding::new(Rate::new(NonZeroU32::new(count).unwrap(), per).unwrap())
    }

    fn at(millis: u64) -> Lived {
        Lived::from_micros(millis * 1_000)
    }

    #[test]
    fn a_slot_is_free_again_a_window_after_the_end_and_not_before() {
        let mut window = window(2, 100 * MS);
        assert_eq!(window.room(1, 0), Ok(()));
        assert_eq!(window.room(2, 0), Err(None));
        window.ended(at(50), Duration::ZERO);
        assert!(matches!(window.room(1, 0), Err(Some(free)) if free > at(150) && free <= at(151)));
        window.expire(at(150), |_| {});
        assert_eq!(window.spent(), 1);
        window.expire(at(151), |_| {});
        assert_eq!((window.spent(), window.room(1, 0)), (0, Ok(())));
    }

    #[test]
    fn one_that_may_still_arrive_holds_its_slot_longer() {
        let mut window = window(1, 100 * MS);
        window.ended(at(0), 30 * MS);
        window.expire(at(130), |_| {});
        assert_eq!(window.spent(), 1);
        window.expire(at(132), |_| {});
        assert_eq!(window.spent(), 0);
    }

    #[test]
    fn only_those_for_whom_it_is_kept_get_the_last_slots() {
        let mut window = window(10, 100 * MS);
        for _ in 0..8 {
            window.ended(at(1), Duration::ZERO);
        }
        assert!(window.room(0, 2).is_err());
        assert_eq!(window.room(1, 0), Ok(()));
        assert!(window.room(2, 0).is_err());
    }

    #[test]
    fn a_million_a_day_takes_a_thousand_steps() {
        let mut window = window(1_000_000, DAY);
        let mut most = 0;
        for attempt in 0..1_100_000_u64 {
            let now = at(attempt * 86);
            let held = if attempt % 50 == 0 { 30_000 * MS } else { Duration::ZERO };
            window.expire(now, |_| {});
            window.ended(now, held);
            most = most.max(window.ends.len());
        }
        assert!(most <= STEPS as usize + 3, "{most} steps");
        let kept: u64 = window.ends.values().sum();
        assert_eq!(kept, window.spent());
        // Slots are free late by a thousandth of the window at most.
        assert!(window.spent() <= 86_400_000 / 86 * 1_002 / 1_000);
    }

    #[test]
    fn the_next_slot_is_told_over_several_steps() {
        let mut window = window(3, 2_000 * MS);
        for millis in [1, 5, 9] {
            window.ended(at(millis), Duration::ZERO);
        }
        let free = |busy| window.room(busy, 0).unwrap_err();
        assert_eq!(free(0), Some(at(2_002)));
        assert_eq!(free(1), Some(at(2_006)));
        assert_eq!(free(2), Some(at(2_010)));
        assert_eq!(free(3), None);
    }
}
