//! A time zone whose rules are in memory.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, time};
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::broker::time::Wall;

/// A time zone by name, with the rules it had when the configuration was read. Cheap to clone.
///
/// Two are equal where name and rules are: after an update of the system's time zone database a
/// reload finds that the policy has changed.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone {
    name: Box<str>,
    rules: TimeZone,
}

impl Zone {
    pub fn new(name: &str, rules: TimeZone) -> Zone {
        Zone { name: name.into(), rules }
    }

    pub fn utc() -> Zone {
        Zone::new("UTC", TimeZone::UTC)
    }

    /// As in the IANA database, e.g. `Europe/Berlin`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its clock reads at an instant: milliseconds from 1970-01-01 00:00 on that clock.
    pub(super) fn clock(&self, at: Wall) -> i64 {
        let stamp = stamp(at);
        stamp.as_millisecond() + i64::from(self.rules.to_offset(stamp).seconds()) * 1_000
    }

    /// The next instant after `at` at which the clock is set, or may be.
    pub(super) fn next_shift(&self, at: Wall) -> Option<Wall> {
        let shift = self.rules.following(stamp(at)).next()?;
        Some(wall(shift.timestamp())).filter(|shift| *shift > at)
    }

    /// The date that its calendar shows.
    pub(super) fn date(&self, at: Wall) -> Date {
        self.rules.to_datetime(stamp(at)).date()
    }

    /// When its calendar first shows `date` or a later one; `NEVER` past the year 9999.
    pub(super) fn begin_of(&self, date: Date) -> Wall {
        let midnight = date.to_datetime(time(0, 0, 0, 0));
        let at = match self.rules.to_ambiguous_timestamp(midnight).offset() {
            // Of a midnight that is read twice, the first: the offset before the clock is set.
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(midnight),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(midnight),
            // A midnight that is never read: the day begins when the clock jumps over it.
            AmbiguousOffset::Gap { after, .. } => after.to_timestamp(midnight).map(|early| {
                let jump = self.rules.following(early).next();
                jump.map_or(early, |jump| jump.timestamp())
            }),
        };
        at.map_or(Wall::NEVER, wall)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Zone").field(&self.name).finish()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Past the year 9999 time stands still.
fn stamp(at: Wall) -> Timestamp {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

/// Before 1970 is 1970.
fn wall(at: Timestamp) -> Wall {
    Wall::from_millis(u64::try_from(at.as_millisecond()).unwrap_or(0))
}
