//! Times as people type them, and as they read them in their own time zone.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use super::values::duration;

/// A time that somebody typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    In(Duration),
    Instant(Timestamp),
    /// Of whatever time zone this machine is in.
    Local(DateTime),
}

pub(super) fn at(text: &str) -> Result<At, String> {
    let text = text.trim();
    if let Ok(duration) = duration(text.strip_prefix('+').unwrap_or(text)) {
        return Ok(At::In(duration));
    }
    if let Ok(at) = text.parse() {
        return Ok(At::Instant(at));
    }
    if let Ok(at) = text.parse::<Zoned>() {
        return Ok(At::Instant(at.timestamp()));
    }
    // A zone that was not understood must not be passed over.
    let bare = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | ' ' | 'T'));
    text.parse().ok().filter(|_| bare).map(At::Local).ok_or_else(|| {
        "neither a duration from now (+2h), nor a local time (2026-11-27 18:00), nor a time with \
         its offset (RFC 3339: 2026-11-27T18:00:00+01:00)"
            .into()
    })
}

impl At {
    /// `zone` is this machine's.
    pub(super) fn instant(&self, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
        let far = || "that is too far in the future".to_owned();
        match self {
            At::In(duration) => now.checked_add(*duration).map_err(|_| far()),
            At::Instant(at) => Ok(*at),
            At::Local(clock) => {
                let read = zone.to_ambiguous_timestamp(*clock);
                let with = |offset: Offset| format!("{}{offset}", clock.strftime("%FT%T"));
                match read.offset() {
                    AmbiguousOffset::Unambiguous { .. } => read.compatible().map_err(|_| far()),
                    AmbiguousOffset::Gap { .. } => Err(format!(
                        "{} does not exist in {}: the clock is set forward over it",
                        clock.strftime("%F %R"),
                        name(zone)
                    )),
                    AmbiguousOffset::Fold { before, after } => Err(format!(
                        "{} is there twice in {}, as the clock is set back: write {} or {}",
                        clock.strftime("%F %R"),
                        name(zone),
                        with(before),
                        with(after)
                    )),
                }
            }
        }
    }
}

/// What a time zone is called.
pub(super) fn name(zone: &TimeZone) -> String {
    match zone.iana_name() {
        Some(name) => name.to_owned(),
        None if zone.is_unknown() => "UTC (this machine's time zone is not known)".into(),
        None => "this machine's time zone".into(),
    }
}

/// On the clock of a time zone, with its offset.
pub(super) fn on_clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%F %T%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        jiff::tz::TimeZoneDatabase::bundled().get("Europe/Berlin").unwrap()
    }

    fn read(text: &str) -> Result<String, String> {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        Ok(at(text)?.instant(now, &berlin())?.to_string())
    }

    #[test]
    fn times_as_people_type_them() {
        for (text, meant) in [
            ("+2h", "2026-11-27T14:00:00Z"),
            ("90m", "2026-11-27T13:30:00Z"),
            ("2026-11-27T18:00:00+01:00", "2026-11-27T17:00:00Z"),
            ("2026-11-27 18:00:00Z", "2026-11-27T18:00:00Z"),
            ("2026-11-27 18:00", "2026-11-27T17:00:00Z"),
            ("2026-11-27T18:00", "2026-11-27T17:00:00Z"),
            ("2026-07-01 18:00", "2026-07-01T16:00:00Z"),
            ("2026-11-28", "2026-11-27T23:00:00Z"),
            ("2026-11-27T18:00[America/New_York]", "2026-11-27T23:00:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(meant), "{text}");
        }
        for bad in
            ["", "+", "tomorrow", "18:00", "2026-13-01 00:00", "2h ago", "2026-11-27 18:00 CET"]
        {
            assert!(at(bad).is_err(), "{bad:?} was taken");
        }
        assert!(at("2026-11-27T18:00[Mars/Olympus]").is_err());
        assert!(at("9999999999d").unwrap().instant(Timestamp::MAX, &berlin()).is_err());
    }

    #[test]
    fn a_local_time_that_is_not_one_time_is_not_guessed() {
        let gap = read("2026-03-29 02:30").unwrap_err();
        assert!(gap.contains("02:30 does not exist in Europe/Berlin"), "{gap}");
        let fold = read("2026-10-25 02:30").unwrap_err();
        let (_, choices) = fold.split_once("write ").unwrap();
        let both: Vec<String> = choices.split(" or ").map(|choice| read(choice).unwrap()).collect();
        assert_eq!(both, ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]);
    }

    #[test]
    fn times_are_read_with_their_offset() {
        let at: Timestamp = "2026-11-27T17:00:00.5Z".parse().unwrap();
        assert_eq!(on_clock(at, &berlin()), "2026-11-27 18:00:00+01:00");
        assert_eq!(on_clock(at, &TimeZone::UTC), "2026-11-27 17:00:00+00:00");
    }
}
