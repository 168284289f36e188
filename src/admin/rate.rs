//! A rate and what follows from it, for people.

use std::time::Duration;

use crate::broker::policy::Rate;

/// As the configuration would say it: `10/s`, `1000/min`, `5000/d`, `1/90s`.
pub(super) fn rate_text(rate: Rate) -> String {
    format!("{}/{}", rate.count(), period(rate.per()))
}

fn period(per: Duration) -> String {
    const UNITS: [(u128, &str, &str); 7] = [
        (86_400_000_000_000, "d", "d"),
        (3_600_000_000_000, "h", "h"),
        (60_000_000_000, "min", "min"),
        (1_000_000_000, "s", "s"),
        (1_000_000, "1ms", "ms"),
        (1_000, "1us", "us"),
        (1, "1ns", "ns"),
    ];
    let nanos = per.as_nanos();
    if let Some((_, one, _)) = UNITS.iter().find(|(unit, _, _)| *unit == nanos) {
        return (*one).to_owned();
    }
    // A period of several units is given in seconds or less, as people write "1/90s".
    let several = UNITS.iter().skip(3).find(|(unit, _, _)| nanos.is_multiple_of(*unit));
    several.map_or_else(String::new, |(unit, _, name)| format!("{}{name}", nanos / unit))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn rate(count: u32, per: Duration) -> Rate {
        Rate::new(NonZeroU32::new(count).unwrap(), per).unwrap()
    }

    #[test]
    fn rates_are_written_as_they_are_configured() {
        let text = |count, seconds| rate_text(rate(count, Duration::from_secs(seconds)));
        assert_eq!(text(10, 1), "10/s");
        assert_eq!(text(1000, 60), "1000/min");
        assert_eq!(text(3, 3_600), "3/h");
        assert_eq!(text(5000, 86_400), "5000/d");
        assert_eq!(text(1, 90), "1/90s");
        assert_eq!(rate_text(rate(2, Duration::from_millis(250))), "2/250ms");
        assert_eq!(rate_text(rate(2, Duration::from_millis(1))), "2/1ms");
    }
}
