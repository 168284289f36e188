use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, tz};

use super::{SHIFTS, at, zone};
use crate::broker::calendar::{Per, Period};
use crate::broker::time::Wall;

const MINUTE: Duration = Duration::from_secs(60);

fn date(rules: &tz::TimeZone, at: Wall) -> Date {
    let stamp = Timestamp::from_millisecond(i64::try_from(at.as_millis()).unwrap()).unwrap();
    rules.to_datetime(stamp).date()
}

/// The calendar is watched minute by minute, and a period begins whenever it shows a later first
/// day than ever before.
#[test]
fn periods_are_what_somebody_with_a_calendar_would_see() {
    for (name, from, to) in SHIFTS {
        let (zone, rules) = (zone(name), tz::TimeZoneDatabase::bundled().get(name).unwrap());
        for (per, first) in [
            (Per::Day, (|date| date) as fn(Date) -> Date),
            (Per::Month, |date: Date| date.first_of_month()),
        ] {
            let mut seen = first(date(&rules, at(from)));
            let mut period = Period::containing(per, &zone, at(from));
            let mut minute = at(from);
            while minute < at(to) {
                let today = first(date(&rules, minute));
                let new = today > seen;
                if new {
                    seen = today;
                    assert_eq!(period.end, minute, "{name}: {per:?} ends at {minute}");
                    period = Period::containing(per, &zone, minute);
                    assert_eq!(period.start, minute, "{name}: {per:?} begins at {minute}");
                }
                if (minute.as_millis() / 60_000).is_multiple_of(7) {
                    let last = Wall::from_millis((minute + MINUTE).as_millis() - 1);
                    assert_eq!(Period::containing(per, &zone, last), period, "{name} at {last}");
                }
                minute = minute + MINUTE;
            }
        }
    }
}

#[test]
fn days_have_the_length_that_they_have() {
    let hours = |name: &str, noon: &str| {
        let period = Period::containing(Per::Day, &zone(name), at(noon));
        period.end.since(period.start).as_secs_f64() / 3_600.0
    };
    assert_eq!(hours("Europe/Berlin", "2026-06-01T10:00:00Z"), 24.0);
    assert_eq!(hours("Europe/Berlin", "2026-03-29T10:00:00Z"), 23.0);
    assert_eq!(hours("Europe/Berlin", "2026-10-25T10:00:00Z"), 25.0);
    assert_eq!(hours("Australia/Lord_Howe", "2026-04-05T02:00:00Z"), 24.5);
    assert_eq!(hours("America/Sao_Paulo", "2018-11-04T15:00:00Z"), 23.0);
    // The 29th is followed by the 31st.
    assert_eq!(hours("Pacific/Apia", "2011-12-29T22:00:00Z"), 24.0);
    assert_eq!(hours("Pacific/Apia", "2011-12-30T22:00:00Z"), 24.0);
}

#[test]
fn months_have_the_length_that_they_have() {
    let days = |name: &str, day: &str| {
        let period = Period::containing(Per::Month, &zone(name), at(day));
        period.end.since(period.start).as_secs_f64() / 86_400.0
    };
    assert_eq!(days("UTC", "2026-02-28T23:59:59.999Z"), 28.0);
    assert_eq!(days("UTC", "2028-02-01T00:00:00Z"), 29.0);
    assert_eq!(days("Europe/Berlin", "2026-03-15T00:00:00Z"), 31.0 - 1.0 / 24.0);
    assert_eq!(days("Europe/Berlin", "2026-10-15T00:00:00Z"), 31.0 + 1.0 / 24.0);
    assert_eq!(days("Pacific/Apia", "2011-12-15T00:00:00Z"), 30.0);
}

#[test]
fn the_ends_of_time_are_no_panic() {
    for name in ["UTC", "Asia/Kolkata", "America/New_York"] {
        for per in [Per::Day, Per::Month] {
            for at in [Wall::EPOCH, Wall::NEVER, Wall::from_millis(253_402_207_200_999)] {
                let period = Period::containing(per, &zone(name), at);
                assert!(
                    period.start <= at && (period.start < period.end || at == Wall::NEVER),
                    "{name}: {period:?}"
                );
            }
        }
    }
}
