//! So many a calendar day or month.

use std::num::NonZeroU32;

use jiff::civil::Date;

use super::zone::Zone;
use crate::broker::time::Wall;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    Day,
    Month,
}

impl Per {
    pub fn as_str(self) -> &'static str {
        match self {
            Per::Day => "day",
            Per::Month => "month",
        }
    }
}

/// A quota that is full again at midnight, or at the first of the month, of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    pub count: NonZeroU32,
    pub per: Per,
    pub zone: Zone,
}

/// A calendar day or month, as instants. Periods follow each other without gap or overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub start: Wall,
    /// Exclusive: when the next one starts.
    pub end: Wall,
}

impl Quota {
    /// The period that counts at an instant; it does until its end.
    pub fn period(&self, at: Wall) -> Period {
        Period::containing(self.per, &self.zone, at)
    }
}

impl Period {
    /// A period starts when the calendar of the place first shows its first day, or a later one:
    /// at midnight; where the clock jumps over midnight, at the jump; where the clock is set back
    /// over midnight, at the first of the two, and it is not taken back. So a period is 23 or 25
    /// hours long where the day is, and a day that a place left out has none.
    pub fn containing(per: Per, zone: &Zone, at: Wall) -> Period {
        let mut first = first_day(per, zone.date(at));
        let mut start = zone.begin_of(first);
        loop {
            let next = next_first_day(per, first);
            let end = next.map_or(Wall::NEVER, |next| zone.begin_of(next));
            match next {
                // It has begun already, and the clock was set back to the day before.
                Some(next) if end <= at && end < Wall::NEVER => (first, start) = (next, end),
                _ => return Period { start, end },
            }
        }
    }
}

fn first_day(per: Per, date: Date) -> Date {
    match per {
        Per::Day => date,
        Per::Month => date.first_of_month(),
    }
}

/// `None` past the year 9999.
fn next_first_day(per: Per, first: Date) -> Option<Date> {
    match per {
        Per::Day => first.tomorrow().ok(),
        Per::Month => first.last_of_month().tomorrow().ok(),
    }
}
