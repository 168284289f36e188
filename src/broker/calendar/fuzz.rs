//! Schedules as people write them: see `crate::fuzz`.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::{Entry, Rule, Schedule, When, Zone};
use crate::broker::policy::Rate;
use crate::broker::time::Wall;

/// Summer and winter time, half an hour of it, none at all, and a day that was left out.
const ZONES: [&str; 5] =
    ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Phoenix", "Pacific/Apia"];

/// Entries, one a line: a byte that says where and what (`0` to `4` a rate there, `5` to `9` closed
/// there, anything else one of them), then its `when`.
pub fn schedule(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut entries = Vec::new();
    for line in text.split('\n').take(4) {
        let Some(first) = line.chars().next() else { continue };
        match line[first.len_utf8()..].parse::<When>() {
            Ok(when) => {
                let again = when.to_string().parse::<When>();
                assert_eq!(again.as_ref(), Ok(&when), "{when} is read as another");
                let place = first as usize % 10;
                let zone = ZONES[place % 5];
                let rules = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
                let rule = if place < 5 { Rule::Rate(Rate::ONE_A_SECOND) } else { Rule::Closed };
                entries.push(Entry { when, zone: Zone::new(zone, rules), rule });
            }
            Err(error) => {
                let said = error.to_string();
                assert!(!said.is_empty() && !said.contains(char::is_control), "{said:?}");
                assert!(said.chars().count() < 400, "{said}");
            }
        }
    }
    let schedule = Schedule::new(entries);
    let open = schedule.is_ever_open(Duration::ZERO);
    let closes = schedule.entries().iter().any(|entry| entry.rule == Rule::Closed);
    assert!(open || closes, "closed without a closed time: {schedule:?}");
    // Before a change in Berlin, one on Lord Howe, and the day that Apia left out.
    for at in [1_774_745_940_000, 1_775_311_200_000, 1_325_239_200_000] {
        let at = Wall::from_millis(at);
        if let Some(next) = step(&schedule, at) {
            step(&schedule, next);
        }
    }
    // No clock says so; it is only not to panic.
    schedule.at(Wall::NEVER);
}

/// What holds until the next change holds up to it, and no request is let off into a closed time.
fn step(schedule: &Schedule, at: Wall) -> Option<Wall> {
    let moment = schedule.at(at);
    let lasting = Duration::from_secs(3_600);
    let held = schedule.for_request(at, lasting);
    if held.rule != Rule::Closed {
        let begin = schedule.closed_within(at, lasting);
        assert_eq!(begin, None, "sent at {at:?} into a closed time: {schedule:?}");
    }
    assert!(held.until.is_none_or(|until| until > at), "{held:?} at {at:?}");
    let until = moment.until?;
    assert!(until > at, "{moment:?} at {at:?}: {schedule:?}");
    let last = schedule.at(Wall::from_millis(until.as_millis() - 1));
    assert_eq!(last.rule, moment.rule, "before {until:?}: {schedule:?}");
    Some(until)
}
