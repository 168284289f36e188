//! Times as people read them: how long ago, in how long.

use std::time::Duration;

use jiff::Timestamp;

/// The two largest units: `850ms`, `4.2s`, `3m12s`, `2h05m`, `3d4h`.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0 if duration.is_zero() => "0s".into(),
        0 => format!("{}ms", duration.as_millis().max(1)),
        1..10 => {
            let tenths = duration.subsec_millis() / 100;
            if tenths == 0 { format!("{seconds}s") } else { format!("{seconds}.{tenths}s") }
        }
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

/// In whole seconds below a minute, for ages that need no fraction.
pub(crate) fn age(duration: Duration) -> String {
    short(Duration::from_secs(duration.as_secs()))
}

/// Zero where `to` is before `from`: clocks differ between machines.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    if at > now {
        format!("in {}", short(between(now, at)))
    } else {
        format!("{} ago", age(between(at, now)))
    }
}

/// RFC 3339 in UTC, to the second, and how far from now.
pub(crate) fn dated(at: Timestamp, now: Timestamp) -> String {
    format!("{at:.0} ({})", relative(at, now))
}

/// Seconds that came as a number in JSON; nothing where that is no length of time.
pub(crate) fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_at_most() {
        for (millis, written) in [
            (0, "0s"),
            (7, "7ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (4_250, "4.2s"),
            (59_900, "59s"),
            (192_000, "3m12s"),
            (7_500_000, "2h05m"),
            (273_600_000, "3d4h"),
        ] {
            assert_eq!(short(Duration::from_millis(millis)), written);
        }
        assert_eq!(short(Duration::from_nanos(1)), "1ms");
        assert_eq!(age(Duration::from_millis(4_250)), "4s");
    }

    #[test]
    fn before_and_after() {
        let now: Timestamp = "2026-01-31T08:00:00.5Z".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(relative(at("2026-01-31T07:58:00Z"), now), "2m00s ago");
        assert_eq!(relative(at("2026-01-31T08:00:02.5Z"), now), "in 2s");
        assert_eq!(dated(at("2026-01-31T07:00:00Z"), now), "2026-01-31T07:00:00Z (1h00m ago)");
        assert_eq!(between(now, at("2026-01-31T07:00:00Z")), Duration::ZERO);
    }

    #[test]
    fn seconds_that_are_none() {
        assert_eq!(seconds(1.5), Some(Duration::from_millis(1500)));
        assert_eq!(seconds(-1.0), None);
        assert_eq!(seconds(f64::NAN), None);
        assert_eq!(seconds(f64::INFINITY), None);
    }
}
