//! Stretches of a week on a clock.

use std::time::Duration;

use super::zone::Zone;
use crate::broker::time::Wall;

pub(super) const DAY: u32 = 24 * 60;
pub(super) const WEEK: u32 = 7 * DAY;

const MINUTE: i64 = 60_000;

/// A set of minutes of the week, Monday 00:00 the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Week {
    /// From, to (exclusive), in minutes; sorted, apart from each other, none past the week's end.
    spans: Box<[(u32, u32)]>,
}

impl Week {
    /// Of stretches from, to (exclusive), in minutes: `from` within the week, `to` after it and at
    /// most one week later; what passes the week's end goes on at its beginning.
    pub(super) fn new(stretches: impl IntoIterator<Item = (u32, u32)>) -> Week {
        let mut cut: Vec<(u32, u32)> = Vec::new();
        for (from, to) in stretches {
            debug_assert!(from < WEEK && from < to && to <= from + WEEK);
            cut.push((from, to.min(WEEK)));
            if to > WEEK {
                cut.push((0, to - WEEK));
            }
        }
        cut.sort_unstable();
        let mut spans: Vec<(u32, u32)> = Vec::new();
        for (from, to) in cut {
            match spans.last_mut() {
                Some((_, end)) if from <= *end => *end = (*end).max(to),
                _ => spans.push((from, to)),
            }
        }
        Week { spans: spans.into() }
    }

    /// Whether the clock's reading is in it, and when that changes next.
    pub(super) fn look(&self, zone: &Zone, at: Wall) -> (bool, Option<Wall>) {
        let (inside, mut left) = self.reading(zone.clock(at));
        let mut from = at;
        loop {
            // Nothing changes what is always so, or never.
            let Some(run) = left else { return (inside, None) };
            let edge = from + run;
            match zone.next_shift(from) {
                // The clock is set before it gets there.
                Some(shift) if shift <= edge => from = shift,
                _ => return (inside, Some(edge)),
            }
            let (still, more) = self.reading(zone.clock(from));
            if still != inside {
                return (inside, Some(from));
            }
            left = more;
        }
    }

    /// As [`Week::look`], of a clock that runs on and is never set.
    fn reading(&self, clock: i64) -> (bool, Option<Duration>) {
        // 1970-01-01 was a Thursday.
        let of_week = (clock + 3 * i64::from(DAY) * MINUTE).rem_euclid(i64::from(WEEK) * MINUTE);
        let minute = u32::try_from(of_week / MINUTE).unwrap_or(0);
        let until = |edge: u32| {
            let left = i64::from(edge) * MINUTE - of_week;
            Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
        };
        let next = self.spans.partition_point(|(from, _)| *from <= minute);
        let first = self.spans.first();
        match next.checked_sub(1).and_then(|last| self.spans.get(last)) {
            Some((0, WEEK)) => (true, None),
            Some((_, WEEK)) => match first {
                // Goes on at the week's beginning.
                Some((0, end)) => (true, until(WEEK + end)),
                _ => (true, until(WEEK)),
            },
            Some((_, to)) if minute < *to => (true, until(*to)),
            _ => match self.spans.get(next) {
                Some((from, _)) => (false, until(*from)),
                None => (false, first.and_then(|(from, _)| until(WEEK + from))),
            },
        }
    }
}
