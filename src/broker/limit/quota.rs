//! What is spent of a calendar quota.
//!
//! A period is over once the wall clock says so and, beside it, the clock that nobody can set: by
//! that one it is as long as it was when it began. So setting the wall clock forward frees nothing
//! early, and setting it back brings no period back. An attempt that is under way, or may still
//! arrive, when a period ends counts in both; so does one that is sent after the wall clock said
//! that a period is over, and before it was.

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
    /// The one that has begun by the wall clock, while the other is not over yet. What is spent of
    /// it is spent of the other, too.
    next: Option<Period>,
    /// What was to be the next one, and will not be.
    stale: Option<Period>,
    /// When the period is over by the wall clock.
    end: Wall,
}

impl QuotaUse {
    /// What the last life wrote down: a period, and perhaps the next one. Of more the latest count;
    /// returns what does not.
    pub(super) fn recover(&mut self, found: Period) -> Option<Period> {
        let mut all: Vec<Period> =
            [self.period, self.next, Some(found)].into_iter().flatten().collect();
        all.sort_by_key(|period| period.since);
        let other = if all.len() > 2 { Some(all.remove(0)) } else { None };
        self.period = all.first().copied();
        self.next = all.get(1).copied();
        other
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
        match (self.period, self.next.take()) {
            // The next one had begun before the restart, and the other is over by now.
            (Some(known), Some(next))
                if first && known.until <= lived && next.since == here.start =>
            {
                self.period = Some(next);
                self.end = here.end;
                return;
            }
            // All of it is spent of the one that goes on.
            (_, stale) => self.stale = stale,
        }
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
        let quota = self.quota.as_ref()?;
        let old = self.period?;
        if wall < self.end {
            return None;
        }
        let here = quota.period(wall);
        let next = match self.next.filter(|next| next.since == here.start) {
            Some(next) => next,
            None => {
                self.stale = self.next.take();
                let until = lived + here.end.since(wall);
                Period { since: here.start, until, spent: held }
            }
        };
        if lived < old.until {
            self.next = Some(next);
            return None;
        }
        (self.period, self.next, self.end) = (Some(next), None, here.end);
        Some(old)
    }

    /// An attempt ended: what is spent now, of this period and of the next one. Call
    /// [`QuotaUse::turn`] first.
    pub(super) fn ended(&mut self) -> [Option<Period>; 2] {
        for period in [&mut self.period, &mut self.next].into_iter().flatten() {
            period.spent = period.spent.saturating_add(1);
        }
        [self.period, self.next]
    }

    /// What is to be forgotten, beside what [`QuotaUse::turn`] says.
    pub(super) fn stale(&mut self) -> Option<Period> {
        self.stale.take()
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
        let [Some(period), None] = used.ended() else { panic!("there is one") };
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

    /// Days that begin so many hours later than in UTC.
    fn other_zone(hours: i8) -> Quota {
        let offset = jiff::tz::Offset::constant(-hours);
        let zone = Zone::new("there", jiff::tz::TimeZone::fixed(offset));
        Quota { count: NonZeroU32::new(2).unwrap(), per: Per::Day, zone }
    }

    #[test]
    fn what_is_sent_between_two_midnights_counts_in_both_days() {
        // Until the midnight there at 3, and not before that of UTC, at 24.
        let mut used = two_a_day();
        used.configure(Some(other_zone(15)), lived(1), at(13), 0);
        used.ended();
        assert_eq!(used.turn(lived(3), at(15), 1), None, "the day of UTC is not over");
        let [Some(old), Some(next)] = used.ended() else { panic!("there are two") };
        assert_eq!((old.spent, next.spent), (2, 2), "one may still have arrived after midnight");
        assert_eq!(used.left(0), 0);

        // It is so after a restart, before and after the first day is over.
        let recovered = |hours| {
            let mut life = QuotaUse::default();
            assert_eq!((life.recover(next), life.recover(old)), (None, None));
            life.configure(Some(other_zone(15)), lived(hours), at(12 + hours), 0);
            life
        };
        assert_eq!(recovered(11).left(0), 0);
        assert_eq!(recovered(12).left(0), 0);
        assert_eq!(recovered(27).left(0), 2, "the next midnight there");

        assert_eq!(used.turn(lived(12), at(24), 0), Some(old));
        assert_eq!(used.left(0), 0, "spent since three");
        assert_eq!(used.turn(lived(27), at(39), 0), Some(next));
        assert_eq!(used.left(0), 2);
    }

    #[test]
    fn a_next_day_that_is_over_before_this_one_counts_no_more() {
        let mut used = two_a_day();
        used.ended();
        // Set forward by two days: this day is as long as it was.
        assert_eq!(used.turn(lived(1), at(61), 0), None);
        let [_, Some(first)] = used.ended() else { panic!("there is a next one") };
        assert_eq!(used.turn(lived(2), at(85), 0), None);
        assert_eq!(used.stale(), Some(first));
        let [_, Some(second)] = used.ended() else { panic!("there is a next one") };
        assert_eq!(second.spent, 1);
    }
}
