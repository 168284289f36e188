use std::num::NonZeroU32;
use std::time::Duration;

use jiff::civil::{DateTime, Weekday};
use jiff::{Timestamp, tz};

use super::{SHIFTS, at, zone};
use crate::broker::calendar::{Entry, Moment, Rule, Schedule};
use crate::broker::policy::Rate;
use crate::broker::time::Wall;

const MINUTE: Duration = Duration::from_secs(60);

fn rate(count: u32) -> Rule {
    Rule::Rate(Rate::new(NonZeroU32::new(count).unwrap(), Duration::from_secs(1)).unwrap())
}

fn schedule(zone_name: &str, entries: &[(&str, Rule)]) -> Schedule {
    let entry = |(when, rule): &(&str, Rule)| Entry {
        when: when.parse().unwrap(),
        zone: zone(zone_name),
        rule: *rule,
    };
    Schedule::new(entries.iter().map(entry).collect())
}

/// Days (0 is Monday) and times, for a look at a civil date and time without any grammar.
type Plain = (&'static [i8], (i16, i16), (i16, i16), Rule);
/// A schedule in both ways, and the place and the days on which to try it.
type Pair = (Schedule, Vec<Plain>, &'static str, &'static str, &'static str);

/// What the clock reads, looked up in a table of single days.
fn by_hand(plain: &[Plain], clock: DateTime) -> Rule {
    let day = |weekday: Weekday| weekday.to_monday_zero_offset();
    let time = clock.hour() as i16 * 60 + i16::from(clock.minute());
    for (days, from, to, rule) in plain {
        let (from, to) = (from.0 * 60 + from.1, to.0 * 60 + to.1);
        let today = days.contains(&day(clock.weekday()));
        let yesterday = days.contains(&day(clock.weekday().previous()));
        let holds = if from < to {
            today && from <= time && time < to
        } else {
            (today && from <= time) || (yesterday && time < to)
        };
        if holds {
            return *rule;
        }
    }
    Rule::Default
}

type Written<'a> = &'a [(&'a str, Rule)];

const ALL: &[i8] = &[0, 1, 2, 3, 4, 5, 6];
const WORK: &[i8] = &[0, 1, 2, 3, 4];

fn pairs() -> Vec<Pair> {
    let written: [(Written<'_>, &[Plain]); 7] = [
        (&[("daily 02:00-03:00", Rule::Closed)], &[(ALL, (2, 0), (3, 0), Rule::Closed)]),
        (
            &[("Mon-Fri 08:00-18:00", rate(5)), ("daily 00:00-02:00", Rule::Closed)],
            &[(WORK, (8, 0), (18, 0), rate(5)), (ALL, (0, 0), (2, 0), Rule::Closed)],
        ),
        // Over midnight, beginning or ending within hours that are read twice or never.
        (
            &[("Fri-Sun 22:30-01:45", Rule::Closed), ("daily 01:30-02:15", rate(1))],
            &[(&[4, 5, 6], (22, 30), (1, 45), Rule::Closed), (ALL, (1, 30), (2, 15), rate(1))],
        ),
        (&[("Sun", Rule::Closed)], &[(&[6], (0, 0), (24, 0), Rule::Closed)]),
        (
            &[("daily 23:15-23:45", Rule::Closed), ("daily 00:00-00:01", rate(3))],
            &[(ALL, (23, 15), (23, 45), Rule::Closed), (ALL, (0, 0), (0, 1), rate(3))],
        ),
        // Neighbours of one rate, and one that is hidden by another.
        (
            &[
                ("daily 06:00-12:00", rate(2)),
                ("daily 12:00-20:00", rate(2)),
                ("daily 07:00-09:00", Rule::Closed),
                ("Sat-Mon", rate(9)),
            ],
            &[(ALL, (6, 0), (20, 0), rate(2)), (&[5, 6, 0], (0, 0), (24, 0), rate(9))],
        ),
        (&[("daily", rate(1))], &[(ALL, (0, 0), (24, 0), rate(1))]),
    ];
    let mut pairs = Vec::new();
    for (name, from, to) in SHIFTS {
        for (entries, plain) in written {
            pairs.push((schedule(name, entries), plain.to_vec(), name, from, to));
        }
    }
    pairs
}

fn clock(rules: &tz::TimeZone, at: Wall) -> DateTime {
    let millis = i64::try_from(at.as_millis()).unwrap();
    rules.to_datetime(Timestamp::from_millisecond(millis).unwrap())
}

#[test]
fn what_holds_is_what_the_clock_on_the_wall_says_and_until_is_exact() {
    for (schedule, plain, name, from, to) in pairs() {
        let rules = tz::TimeZoneDatabase::bundled().get(name).unwrap();
        let mut minute = at(from);
        let mut moment = schedule.at(minute);
        while minute < at(to) {
            let expected = by_hand(&plain, clock(&rules, minute));
            if moment.until == Some(minute) {
                let next = schedule.at(minute);
                assert_ne!(next.rule, moment.rule, "{name}: nothing changes at {minute}");
                moment = next;
            }
            assert_eq!(moment.rule, expected, "{name} at {minute}, by what was said before");
            // Within a minute too, and wherever one begins to ask.
            if (minute.as_millis() / 60_000).is_multiple_of(17) {
                let last = Wall::from_millis((minute + MINUTE).as_millis() - 1);
                assert_eq!(schedule.at(last), moment, "{name} at {last}");
            }
            minute = minute + MINUTE;
        }
    }
}

#[test]
fn a_window_in_the_hour_that_is_read_twice_is_closed_twice() {
    let berlin = schedule("Europe/Berlin", &[("Sun 02:00-03:00", Rule::Closed)]);
    let closed = |from: &str, until: &str| {
        let moment = Moment { rule: Rule::Closed, until: Some(at(until)) };
        assert_eq!(berlin.at(at(from)), moment);
    };
    closed("2026-10-25T02:00:00+02:00", "2026-10-25T03:00:00+01:00");
    closed("2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00");
    // Where there is no such hour, nothing is closed.
    let begin = berlin.closed_within(at("2026-03-28T12:00:00Z"), Duration::from_secs(2 * 86_400));
    assert_eq!(begin, None);
}

#[test]
fn a_window_that_is_cut_by_a_jump_begins_or_ends_at_it() {
    let berlin = schedule("Europe/Berlin", &[("Sun 02:30-03:30", Rule::Closed)]);
    let begin = berlin.closed_within(at("2026-03-29T00:00:00Z"), Duration::from_secs(86_400));
    assert_eq!(begin, Some(at("2026-03-29T03:00:00+02:00")));
    assert_eq!(berlin.at(begin.unwrap()).until, Some(at("2026-03-29T03:30:00+02:00")));
}

#[test]
fn places_are_apart() {
    let entry = |name: &str, rule| Entry {
        when: "Mon 09:00-10:00".parse().unwrap(),
        zone: zone(name),
        rule,
    };
    let both = Schedule::new(vec![entry("Asia/Kolkata", Rule::Closed), entry("UTC", rate(1))]);
    assert_eq!(
        both.at(at("2026-06-01T03:30:00Z")),
        Moment { rule: Rule::Closed, until: Some(at("2026-06-01T04:30:00Z")) }
    );
    assert_eq!(
        both.at(at("2026-06-01T04:30:00Z")),
        Moment { rule: Rule::Default, until: Some(at("2026-06-01T09:00:00Z")) }
    );
    assert_eq!(
        both.at(at("2026-06-01T09:59:59.999Z")),
        Moment { rule: rate(1), until: Some(at("2026-06-01T10:00:00Z")) }
    );
}

#[test]
fn nothing_ever_changes_in_an_empty_schedule_or_one_that_always_holds() {
    let never = |rule| Moment { rule, until: None };
    assert_eq!(Schedule::default().at(Wall::EPOCH), never(Rule::Default));
    let always = schedule("Europe/Berlin", &[("daily", Rule::Closed)]);
    assert_eq!(always.at(at("2026-06-01T00:00:00Z")), never(Rule::Closed));
    assert!(!always.is_ever_open(Duration::ZERO));
    for end in [Wall::EPOCH, Wall::NEVER, Wall::from_millis(253_402_207_200_999)] {
        for (schedule, ..) in pairs().iter().step_by(5) {
            schedule.at(end);
            schedule.for_request(end, Duration::from_secs(30));
        }
    }
}

#[test]
fn a_request_must_be_over_when_a_window_begins() {
    let night = schedule("UTC", &[("daily 02:00-03:00", Rule::Closed)]);
    let (day, hour) = (Duration::from_secs(86_400), Duration::from_secs(3_600));
    let two = at("2026-06-01T02:00:00Z");
    assert_eq!(night.closed_within(at("2026-06-01T01:00:00Z"), hour), None);
    assert_eq!(night.closed_within(at("2026-06-01T01:00:00.001Z"), hour), Some(two));
    assert_eq!(
        night.closed_within(at("2026-06-01T02:30:00Z"), Duration::ZERO),
        Some(at("2026-06-01T02:30:00Z"))
    );
    assert_eq!(
        night.for_request(at("2026-05-31T12:00:00Z"), hour),
        Moment { rule: Rule::Default, until: Some(at("2026-06-01T01:00:00.001Z")) }
    );
    assert_eq!(
        night.for_request(at("2026-06-01T01:00:00.001Z"), hour),
        Moment { rule: Rule::Closed, until: Some(at("2026-06-01T03:00:00Z")) }
    );
    assert!(night.is_ever_open(23 * hour) && !night.is_ever_open(day));
}

/// Minute by minute: a request may start where the time that it takes meets no closed minute.
#[test]
fn what_holds_for_a_request_is_what_holds_for_all_its_minutes() {
    const LONGEST: usize = 200;
    for (schedule, _, name, from, to) in pairs().into_iter().step_by(5) {
        let (from, length) = (at(from), at(to).since(at(from)).as_secs() / 60);
        let minute = |n: usize| from + u32::try_from(n).unwrap() * MINUTE;
        let starts = usize::try_from(length).unwrap();
        let rules: Vec<Rule> = (0..starts + LONGEST).map(|n| schedule.at(minute(n)).rule).collect();
        for lasting in [1, 7, 45, LONGEST] {
            let length = u32::try_from(lasting).unwrap() * MINUTE;
            let mut moment = schedule.for_request(from, length);
            for start in 0..starts {
                let meets = rules[start..start + lasting].contains(&Rule::Closed);
                let expected = if meets { Rule::Closed } else { rules[start] };
                // A window is too near one millisecond after the last start that is in time.
                if let Some(until) = moment.until.filter(|until| *until <= minute(start)) {
                    let next = schedule.for_request(until, length);
                    assert_ne!(next.rule, moment.rule, "{name}: nothing changes at {until}");
                    moment = next;
                }
                let at = minute(start);
                assert_eq!(moment.rule, expected, "{name} at {at} for {lasting} minutes");
            }
        }
    }
}
