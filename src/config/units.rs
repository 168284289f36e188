//! Durations, sizes and rates as people write them.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::bounds;
use super::item::{Item, Text};
use crate::broker::policy::Rate;

const A_DURATION: &str = "a duration in quotes, like \"250ms\", \"30s\", \"5m\" or \"1d\"";
const A_SIZE: &str = "a size in quotes, like \"256KiB\", \"64MiB\" or \"1GiB\"";
const A_RATE: &str = "a rate in quotes, like \"10/s\", \"1000/min\", \"5000/d\" or \"1/90s\"";

pub(super) fn duration(
    range: RangeInclusive<Duration>,
) -> impl FnOnce(&Item<'_>) -> Result<Duration, String> {
    move |item| {
        let text = item.text(A_DURATION)?;
        let duration = parse_duration(&text.value).ok_or_else(|| not_a_duration(&text))?;
        if duration < *range.start() {
            let min = show_duration(*range.start());
            return Err(format!("{text} is too short; it can be \"{min}\" at least"));
        }
        if duration > *range.end() {
            let max = show_duration(*range.end());
            return Err(format!("{text} is too long; it can be \"{max}\" at most"));
        }
        Ok(duration)
    }
}

fn not_a_duration(text: &Text) -> String {
    let hint = if is_calendar(&text.value) {
        "a month or a year has no fixed length; count in days, like \"30d\" (a minute is a small m)"
    } else {
        "write a number and a unit, like \"250ms\", \"30s\", \"5m\" or \"1d\""
    };
    format!("{text} is not a duration; {hint}")
}

/// humantime reads `5M` as five months, which is never what was meant.
fn is_calendar(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphabetic());
    words.any(|word| word == "M" || word.starts_with("mon") || word.starts_with('y'))
}

/// A duration as people write it, `1h 30m`; use this for whatever comes from outside. `None` where
/// it is none, has no unit, is counted in months or years, or is absurdly long.
pub fn parse_duration(text: &str) -> Option<Duration> {
    // humantime 2.4 panics on sums that pass 2^64 seconds ("18446744073709551615s 1000ms"); so
    // few, so short numbers cannot.
    const LONGEST: usize = 64;
    const MOST_DIGITS: usize = 10;
    let mut digits = 0;
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        digits = if c.is_ascii_digit() { digits + 1 } else { 0 };
        if digits > MOST_DIGITS {
            return None;
        }
    }
    if text.len() > LONGEST || !text.is_ascii() || is_calendar(text) {
        return None;
    }
    humantime::parse_duration(text).ok()
}

pub(super) fn size(range: RangeInclusive<u64>) -> impl FnOnce(&Item<'_>) -> Result<u64, String> {
    move |item| {
        let text = item.text(A_SIZE)?;
        let size = parse_size(&text.value).ok_or_else(|| {
            format!(
                "{text} is not a size; write a whole number and B, KiB, MiB or GiB, like \"256KiB\""
            )
        })?;
        if size < u128::from(*range.start()) {
            return Err(format!("{text} is too small; at least {}", show_size(*range.start())));
        }
        u64::try_from(size)
            .ok()
            .filter(|size| size <= range.end())
            .ok_or_else(|| format!("{text} is too large; at most {}", show_size(*range.end())))
    }
}

fn parse_size(text: &str) -> Option<u128> {
    const UNITS: [(&str, u128); 9] = [
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ];
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, factor) =
        UNITS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim_start()))?;
    // A number too long to read is too large for any bound, so it is let through as such.
    let number = if number.is_empty() { return None } else { number.parse().unwrap_or(u128::MAX) };
    Some(number.saturating_mul(factor))
}

/// A rate as people write it, `5/s`; `None` where it is none, or out of all bounds.
pub fn rate_of(text: &str) -> Option<Rate> {
    parse_rate(text).ok()
}

pub(super) fn rate(item: &Item<'_>) -> Result<Rate, String> {
    let text = item.text(A_RATE)?;
    parse_rate(&text.value).map_err(|fault| match fault {
        RateFault::Shape => format!(
            "{text} is not a rate; write it like \"10/s\", \"1000/min\", \"5000/d\" or \"1/90s\""
        ),
        RateFault::Fraction => format!(
            "{text} is not a rate; the first number has to be whole: one in two seconds is \"1/2s\""
        ),
        RateFault::Zero => format!(
            "{text} would never send anything; to hold a target back, pause it (tollgate pause)"
        ),
        RateFault::TooFast => {
            format!("{text} is too fast; it can be {}/s at most", bounds::MAX_RATE_PER_SECOND)
        }
        RateFault::TooSlow => format!(
            "{text} is too slow; the time can be {} at most",
            show_duration(bounds::RATE_PERIOD)
        ),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RateFault {
    Shape,
    Fraction,
    Zero,
    TooFast,
    TooSlow,
}

fn parse_rate(text: &str) -> Result<Rate, RateFault> {
    let (count, per) = text.split_once('/').ok_or(RateFault::Shape)?;
    let (count, per) = (count.trim(), per.trim());
    let per = if per.starts_with(|c: char| c.is_ascii_digit()) {
        parse_duration(per)
    } else {
        parse_duration(&format!("1{per}"))
    };
    let per = per.ok_or(RateFault::Shape)?;
    if count.parse::<f64>().is_ok_and(|number| number > 0.0) && count.contains('.') {
        return Err(RateFault::Fraction);
    }
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RateFault::Shape);
    }
    let count: u32 = count.parse().map_err(|_| RateFault::TooFast)?;
    let count = NonZeroU32::new(count).ok_or(RateFault::Zero)?;
    if per.is_zero() {
        return Err(RateFault::Shape);
    }
    if per > bounds::RATE_PERIOD {
        return Err(RateFault::TooSlow);
    }
    let per_second_most = u128::from(bounds::MAX_RATE_PER_SECOND);
    if u128::from(count.get()) * 1_000_000_000 > per_second_most * per.as_nanos() {
        return Err(RateFault::TooFast);
    }
    Rate::new(count, per).ok_or(RateFault::Shape)
}

/// In the largest unit in which it is whole.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let whole = units.into_iter().find(|(_, length)| millis.is_multiple_of(*length));
    if !duration.as_nanos().is_multiple_of(1_000_000) {
        return humantime::format_duration(duration).to_string();
    }
    match whole {
        Some((_, _)) if millis == 0 => "0s".to_owned(),
        Some((unit, length)) => format!("{}{unit}", millis / length),
        None => format!("{millis}ms"),
    }
}

/// In the largest unit in which it is whole.
fn show_size(size: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, length)| size != 0 && size.is_multiple_of(*length)) {
        Some((unit, length)) => format!("{}{unit}", size / length),
        None => format!("{size}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn per_second(text: &str) -> Result<(u32, Duration), RateFault> {
        parse_rate(text).map(|rate| (rate.count().get(), rate.per()))
    }

    #[test]
    fn rates_as_people_write_them() {
        let secs = Duration::from_secs;
        assert_eq!(per_second("10/s"), Ok((10, secs(1))));
        assert_eq!(per_second("1000/min"), Ok((1000, secs(60))));
        assert_eq!(per_second(" 1000 / minute "), Ok((1000, secs(60))));
        assert_eq!(per_second("5000/d"), Ok((5000, secs(86_400))));
        assert_eq!(per_second("1/90s"), Ok((1, secs(90))));
        assert_eq!(per_second("3/1h30m"), Ok((3, secs(5_400))));
        assert_eq!(per_second("1000000/s"), Ok((1_000_000, secs(1))));
        assert_eq!(per_second("1/366d"), Ok((1, secs(366 * 86_400))));
    }

    #[test]
    fn rates_that_are_none() {
        for text in ["", "/", "10", "10/", "/s", "10/fortnight", "-1/s", "+1/s", "1_000/s"] {
            assert_eq!(per_second(text), Err(RateFault::Shape), "{text}");
        }
        for text in ["10/s/s", "1e3/s", "NaN/s", "inf/s", "10/0s", "10/M", "1/y", "10/ss", "x/s"] {
            assert_eq!(per_second(text), Err(RateFault::Shape), "{text}");
        }
        assert_eq!(per_second("0/s"), Err(RateFault::Zero));
        assert_eq!(per_second("0.5/s"), Err(RateFault::Fraction));
        assert_eq!(per_second("1000001/s"), Err(RateFault::TooFast));
        assert_eq!(per_second("99999999999999999999/d"), Err(RateFault::TooFast));
        assert_eq!(per_second("2/1us"), Err(RateFault::TooFast));
        assert_eq!(per_second("1/367d"), Err(RateFault::TooSlow));
    }

    #[test]
    fn durations_never_mean_months() {
        assert_eq!(parse_duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(parse_duration("1d 2h"), Some(Duration::from_secs(26 * 3_600)));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1_500)));
        for text in ["5M", "5months", "1y", "1year", "", " ", "30", "-1s", "s", "1sek", "∞", "1٣s"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn durations_that_would_overflow_are_refused() {
        for text in [
            "18446744073709551615s 1000000000ns",
            "18446744073709551615s1000ms",
            "1 8 4 4 6 7 4 4 0 7 3 7 0 9 5 5 1 6 1 5 s 1000ms",
            "99999999999999999999s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        let longest = "9999999999w".repeat(5);
        assert!(parse_duration(&longest).is_some());
    }

    #[test]
    fn sizes_in_both_kinds_of_thousands() {
        assert_eq!(parse_size("256KiB"), Some(256 * 1024));
        assert_eq!(parse_size("64 mib"), Some(64 << 20));
        assert_eq!(parse_size("5kB"), Some(5_000));
        assert_eq!(parse_size("0B"), Some(0));
        assert_eq!(parse_size(&format!("{}GB", "9".repeat(60))), Some(u128::MAX));
        for text in ["", "B", "256", "256k", "1.5GiB", "-1B", "KiB256", "1 2B", "256KiBB", "²B"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_written() {
        for text in ["0s", "1ms", "1500ms", "30s", "5m", "2h", "366d"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(show_duration(duration), text);
        }
        assert_eq!(parse_duration(&show_duration(Duration::new(1, 1))), Some(Duration::new(1, 1)));
        for text in ["0B", "1000B", "3KiB", "64MiB", "1024GiB"] {
            let size = parse_size(text).unwrap();
            assert_eq!(show_size(u64::try_from(size).unwrap()), text);
        }
    }
}
