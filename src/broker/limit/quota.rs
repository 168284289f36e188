//! What is spent of a calendar quota.
//!
//! A period is over once the wall clock says so and, beside it, the clock that nobody can set: by
//! that one it is as long as it was when it began. So setting the wall clock forward frees nothing
//! early, and setting it back brings no period back. An attempt that is under way, or may still
//! arrive, when a period ends counts in both.

use crate::broker::calendar::Quota;
use crate::broker::time::{Lived, Wall};

/// One period of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) since: Wall,
    /// Not over before then.
    pub(super) until: Lived,
    /// Attempts that have ended in it.
    pub(super) spent: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct QuotaUse {
    quota: Option<Quota>,
    period: Option<Period>,
    /// When the period is over by the wall clock.
    end: Wall,
}

impl QuotaUse {
    /// What the last life wrote down. Of several the latest counts; returns the other.
    pub(super) fn recover(&mut self, found: Period) -> Option<Period> {
        if self.period.is_some_and(|known| known.since > found.since) {
            return Some(found);
        }
        self.period.replace(found)
    }

    pub(super) fn quota(&self) -> Option<&Quota> {
        self.quota.as_ref()
    }

    /// Another quota, or none. What was spent in this period stays spent; `held`: how many may
    /// still arrive.
    pub(super) fn configure(&mut self, quota: Option<Quota>, lived: Lived, wall: Wall, held: u64) {
        if self.quota == quota {
            return;
        }
        let same_periods =
            |one: &Quota, other: &Quota| one.per == other.per && one.zone == other.zone;
        let same = self.quota.as_ref().zip(quota.as_ref()).is_some_and(|(o, n)| same_periods(o, n));
        let first = self.quota.is_none();
        self.quota = quota;
        let Some(quota) = &self.quota else { return };
        if same {
            return;
        }
        let here = quota.period(wall);
        match self.period {
            // As it was before the restart.
            Some(known) if first && known.since == here.start => self.end = here.end,
            Some(known) if known.until > lived => {
                // Another kind of period, or the wall clock says another day: what was spent
                // counts for as long as either lasts.
                let until = lived + here.end.since(wall);
                let until = if first { known.until } else { until.max(known.until) };
                self.period = Some(Period { since: here.start, until, ..known });
                self.end = here.end;
            }
            _ => self.begin(lived, wall, held),
        }
    }

    fn begin(&mut self, lived: Lived, wall: Wall, held: u64) {
        let Some(quota) = &self.quota else { return };
        let here = quota.period(wall);
        self.end = here.end;
        let until = lived + here.end.since(wall);
        self.period = Some(Period { since: here.start, until, spent: held });
    }

    /// Begins the next period where this one is over; `held`: how many may still arrive. Says
    /// which period is over.
    pub(super) fn turn(&mut self, lived: Lived, wall: Wall, held: u64) -> Option<Period> {
        self.quota.as_ref()?;
        let old = self.period?;
        if wall < self.end || lived < old.until {
            return None;
        }
        self.begin(lived, wall, held);
        Some(old)
    }

    pub(super) fn ended(&mut self) -> Option<Period> {
        let period = self.period.as_mut()?;
        period.spent = period.spent.saturating_add(1);
        Some(*period)
    }

    pub(super) fn period(&self) -> Option<Period> {
        self.period
    }

    /// Whether one more may start while `busy` are under way and `kept` are for others; if not,
    /// when. Call [`QuotaUse::turn`] first.
    pub(super) fn room(
        &self,
        busy: u64,
        high: bool,
        kept: u64,
        at: (Lived, Wall),
    ) -> Result<(), Lived> {
        if self.left(busy) > if high { 0 } else { kept } {
            return Ok(());
        }
        let (lived, wall) = at;
        let until = self.period.map_or(lived, |period| period.until);
        Err(until.max(lived + self.end.since(wall)))
    }

    /// For HIGH.
    pub(super) fn left(&self, busy: u64) -> u64 {
        let count = self.quota.as_ref().map_or(u64::MAX, |quota| u64::from(quota.count.get()));
        let spent = self.period.map_or(0, |period| period.spent);
        count.saturating_sub(spent.saturating_add(busy))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::broker::calendar::{Per, Zone};

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(hours: u32) -> Wall {
        // 2023-11-15, midnight in UTC.
        Wall::from_millis(1_700_006_400_000) + HOUR * hours
    }

    fn lived(hours: u32) -> Lived {
        Lived::default() + HOUR * hours
    }

    fn two_a_day() -> QuotaUse {
        let count = NonZeroU32::new(2).unwrap();
        let quota = Quota { count, per: Per::Day, zone: Zone::utc() };
        let mut used = QuotaUse::default();
        used.configure(Some(quota), lived(0), at(12), 0);
        used
    }

    #[test]
    fn it_is_full_again_at_midnight() {
        let mut used = two_a_day();
        used.ended();
        assert_eq!(used.room(0, true, 0, (lived(1), at(13))), Ok(()));
        assert_eq!(used.room(1, true, 0, (lived(1), at(13))), Err(lived(12)));
        assert_eq!(used.turn(lived(11), at(23), 0), None);
        assert!(used.turn(lived(12), at(24), 0).is_some());
        assert_eq!(used.left(0), 2);
        assert_eq!(used.left(1), 1, "one that is under way counts in both");
    }

    #[test]
    fn a_wall_clock_that_is_set_frees_nothing() {
        let mut used = two_a_day();
        used.ended();
        used.ended();
        assert_eq!(used.turn(lived(1), at(48), 0), None, "forward");
        assert_eq!(used.turn(lived(13), at(2), 0), None, "back");
        assert_eq!(used.room(0, true, 0, (lived(13), at(2))), Err(lived(35)));
        assert!(used.turn(lived(35), at(24), 3).is_some());
        assert_eq!(used.left(0), 0, "those that may still arrive count in both");
    }

    #[test]
    fn a_restart_goes_on_with_the_period() {
        let mut used = two_a_day();
        used.ended();
        let period = used.ended().unwrap();
        for (hours, wall) in [(1, 13), (1, 40), (1, 0)] {
            let mut next = QuotaUse::default();
            next.recover(period);
            next.configure(used.quota().cloned(), lived(hours), at(wall), 0);
            assert_eq!(next.left(0), 0, "{wall}");
            assert_eq!(next.turn(lived(hours), at(wall), 0), None);
        }
        let mut next = QuotaUse::default();
        next.recover(period);
        next.configure(used.quota().cloned(), lived(13), at(25), 0);
        assert_eq!(next.left(0), 2);
    }

    #[test]
    fn other_periods_begin_with_what_was_spent() {
        let mut used = two_a_day();
        used.ended();
        let quota = Quota { per: Per::Month, ..used.quota().cloned().unwrap() };
        used.configure(Some(quota), lived(1), at(13), 0);
        assert_eq!(used.left(0), 1);
        assert_eq!(used.turn(lived(13), at(25), 0), None);
    }
}
