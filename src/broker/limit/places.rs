//! Places of requests that timed out: the target may still be at work on them, so they are not
//! given away before `hold_after_timeout` is over.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::broker::time::Lived;

/// Into which a hold is cut: bounds how many steps there are at a time.
const STEPS: u32 = 1_024;

#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    until: BTreeMap<Lived, u64>,
    sum: u64,
}

impl Places {
    /// Returns until when it is held, and how many are until then.
    pub(super) fn hold(&mut self, now: Lived, held: Duration) -> (Lived, u64) {
        let step = u64::try_from((held / STEPS).as_micros()).unwrap_or(u64::MAX).max(1_000);
        let until = (now + held).as_micros() / step + 1;
        self.add(Lived::from_micros(until.saturating_mul(step)), 1)
    }

    pub(super) fn add(&mut self, until: Lived, count: u64) -> (Lived, u64) {
        let here = self.until.entry(until).or_default();
        *here = here.saturating_add(count);
        self.sum = self.sum.saturating_add(count);
        (until, *here)
    }

    pub(super) fn held(&self) -> u64 {
        self.sum
    }

    /// The same, less what is over by now.
    pub(super) fn held_at(&self, now: Lived) -> u64 {
        let over = self.until.iter().take_while(|(until, _)| **until <= now);
        self.sum - over.map(|(_, count)| count).sum::<u64>()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Lived, u64)> + '_ {
        self.until.iter().map(|(until, count)| (*until, *count))
    }

    /// Gives back what is over; says which steps are.
    pub(super) fn expire(&mut self, now: Lived, mut gone: impl FnMut(Lived)) {
        while let Some(first) = self.until.first_entry()
            && *first.key() <= now
        {
            let (until, count) = first.remove_entry();
            self.sum -= count;
            gone(until);
        }
    }

    /// Whether one more may start while `busy` are under way; if not, when: `None` where that
    /// hangs on one that is under way. Call [`Places::expire`] first.
    pub(super) fn room(&self, busy: u64, most: u64) -> Result<(), Option<Lived>> {
        let used = self.sum.saturating_add(busy);
        if used < most {
            return Ok(());
        }
        let mut too_many = used - most;
        for (until, count) in &self.until {
            if *count > too_many {
                return Err(Some(*until));
            }
            too_many -= count;
        }
        Err(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_until_its_hold_is_over() {
        let second = Duration::from_secs(1);
        let mut places = Places::default();
        let (until, count) = places.hold(Lived::default(), second);
        assert_eq!(count, 1);
        assert!(until > Lived::default() + second);
        assert!(until <= Lived::default() + second + Duration::from_millis(1));
        assert_eq!(places.room(0, 1), Err(Some(until)));
        assert_eq!(places.room(1, 1), Err(None));
        assert_eq!(places.room(0, 2), Ok(()));
        places.expire(until, |_| {});
        assert_eq!(places.room(0, 1), Ok(()));
    }

    #[test]
    fn many_holds_take_few_steps() {
        let mut places = Places::default();
        let hold = Duration::from_secs(3_600);
        for millis in 0..3_600_000 {
            places.hold(Lived::from_micros(millis * 1_000), hold);
        }
        assert!(places.until.len() <= STEPS as usize + 2, "{}", places.until.len());
    }
}
