//! The calendar against brute force: minute by minute, by another road.

mod grammar;
mod periods;
mod schedules;

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;

use super::Zone;
use crate::broker::time::Wall;

/// From the bundled database, so that the tests say the same everywhere.
fn zone(name: &str) -> Zone {
    Zone::new(name, TimeZoneDatabase::bundled().get(name).unwrap())
}

/// RFC 3339.
fn at(text: &str) -> Wall {
    let stamp: Timestamp = text.parse().unwrap();
    Wall::from_millis(u64::try_from(stamp.as_millisecond()).unwrap())
}

/// A stretch of some days in a place, with a change of its clock in the middle.
const SHIFTS: [(&str, &str, &str); 19] = [
    ("UTC", "2026-02-26T00:00:00Z", "2026-03-02T12:00:00Z"),
    ("Europe/Berlin", "2026-03-27T11:00:00Z", "2026-03-31T00:00:00Z"),
    ("Europe/Berlin", "2026-10-23T11:00:00Z", "2026-10-27T00:00:00Z"),
    ("America/New_York", "2026-03-06T00:00:00Z", "2026-03-10T00:00:00Z"),
    ("America/New_York", "2026-10-30T00:00:00Z", "2026-11-03T00:00:00Z"),
    // Half an hour.
    ("Australia/Lord_Howe", "2026-04-02T00:00:00Z", "2026-04-06T12:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-01T00:00:00Z", "2026-10-06T00:00:00Z"),
    ("Asia/Kolkata", "2026-12-29T00:00:00Z", "2027-01-03T00:00:00Z"),
    // Midnight does not exist; an hour before midnight exists twice.
    ("America/Sao_Paulo", "2018-11-01T00:00:00Z", "2018-11-07T00:00:00Z"),
    ("America/Sao_Paulo", "2018-02-15T00:00:00Z", "2018-02-20T00:00:00Z"),
    // A day that does not exist.
    ("Pacific/Apia", "2011-12-27T00:00:00Z", "2012-01-02T00:00:00Z"),
    // A day that exists twice.
    ("Pacific/Kwajalein", "1993-08-18T00:00:00Z", "1993-08-24T00:00:00Z"),
    // At one minute past midnight, back into the day before.
    ("America/St_Johns", "2010-11-05T00:00:00Z", "2010-11-09T00:00:00Z"),
    ("America/St_Johns", "2010-03-12T00:00:00Z", "2010-03-16T00:00:00Z"),
    // Two changes within a month, by the moon.
    ("Africa/Casablanca", "2026-02-13T00:00:00Z", "2026-02-17T00:00:00Z"),
    ("Africa/Casablanca", "2026-03-20T00:00:00Z", "2026-03-24T00:00:00Z"),
    // Midnight exists twice.
    ("America/Havana", "2026-10-30T00:00:00Z", "2026-11-03T00:00:00Z"),
    // Saving in winter, counted backwards.
    ("Europe/Dublin", "2026-10-23T00:00:00Z", "2026-10-27T00:00:00Z"),
    // By rule, far past what the database lists.
    ("Europe/Berlin", "2090-03-24T00:00:00Z", "2090-03-28T00:00:00Z"),
];
