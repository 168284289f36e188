//! Times that callers ask for.

use std::time::Duration;

use crate::broker::time::Wall;

use super::fields::shown;
use super::problem::Problem;

/// How far ahead a job may be put off, and its deadline may lie.
const FARTHEST: Duration = Duration::from_secs(366 * 86_400);

/// How long ago `not_before` may be: clocks differ, but a mistaken year or zone is an error.
const LATE: Duration = Duration::from_secs(5 * 60);

/// What the caller wrote, and what it calls the fields.
pub(crate) struct Times<'a> {
    pub delay: (&'a str, Option<&'a str>),
    pub not_before: (&'a str, Option<&'a str>),
    pub deadline: (&'a str, Option<&'a str>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub not_before: Option<Wall>,
    pub deadline: Option<Wall>,
}

impl Times<'_> {
    pub(crate) fn schedule(&self, now: Wall) -> Result<Schedule, Problem> {
        let not_before = match (self.delay, self.not_before) {
            ((delay, Some(_)), (not_before, Some(_))) => {
                return Err(Problem::invalid(
                    delay,
                    format_args!("and `{not_before}` exclude each other: give one of them"),
                ));
            }
            ((field, Some(text)), _) => {
                let delay = duration(field, text)?;
                if delay > FARTHEST {
                    return Err(Problem::invalid(field, "is more than 366 days"));
                }
                (!delay.is_zero()).then(|| now + delay)
            }
            (_, (field, Some(text))) => {
                let at = time(field, text)?;
                if now.since(at) > LATE {
                    let why = format!("is in the past: {at}, and now it is {now}");
                    return Err(Problem::invalid(field, why));
                }
                not_too_far(field, at, now)?;
                (at > now).then_some(at)
            }
            _ => None,
        };
        let (field, text) = self.deadline;
        let deadline = text.map(|text| time(field, text)).transpose()?;
        if let Some(deadline) = deadline {
            if deadline <= now {
                let why = format!("has passed: {deadline}, and now it is {now}");
                return Err(Problem::invalid(field, why));
            }
            not_too_far(field, deadline, now)?;
            if let Some(start) = not_before.filter(|start| deadline <= *start) {
                let why = format!("is {deadline}, but the job may start only at {start}");
                return Err(Problem::invalid(field, why));
            }
        }
        Ok(Schedule { not_before, deadline })
    }
}

fn not_too_far(field: &str, at: Wall, now: Wall) -> Result<(), Problem> {
    if at.since(now) > FARTHEST {
        return Err(Problem::invalid(field, "is more than 366 days ahead"));
    }
    Ok(())
}

/// `30s`, `1h 30m`; digits alone are seconds.
pub(crate) fn duration(field: &str, text: &str) -> Result<Duration, Problem> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    crate::config::parse_duration(text).ok_or_else(|| {
        let why = format!("is `{}`, not a duration such as `250ms`, `30s` or `1d`", shown(text));
        Problem::invalid(field, why)
    })
}

/// RFC 3339, so with an offset. A part of a millisecond is rounded up: nothing is due early.
fn time(field: &str, text: &str) -> Result<Wall, Problem> {
    let at: jiff::Timestamp = text.trim().parse().map_err(|_| {
        let why = format!(
            "is `{}`, not a time of RFC 3339 with its offset, such as `2031-05-01T12:00:00Z`",
            shown(text)
        );
        Problem::invalid(field, why)
    })?;
    let up = i64::from(at.subsec_nanosecond() % 1_000_000 > 0);
    // A time before 1970 is as much in the past as 1970 is.
    Ok(Wall::from_millis(u64::try_from(at.as_millisecond() + up).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_900_000_000_000; // 2030-03-17T17:46:40Z

    fn schedule(
        delay: Option<&str>,
        not_before: Option<&str>,
        deadline: Option<&str>,
    ) -> Result<Schedule, Problem> {
        Times {
            delay: ("delay", delay),
            not_before: ("not_before", not_before),
            deadline: ("deadline", deadline),
        }
        .schedule(Wall::from_millis(NOW))
    }

    #[test]
    fn times_that_make_sense() {
        let at = |ms| Some(Wall::from_millis(NOW + ms));
        let is = |not_before, deadline| Ok(Schedule { not_before, deadline });
        assert_eq!(schedule(None, None, None), is(None, None));
        assert_eq!(schedule(Some("30s"), None, None), is(at(30_000), None));
        assert_eq!(schedule(Some("90"), None, None), is(at(90_000), None));
        assert_eq!(schedule(Some("0s"), None, None), is(None, None));
        assert_eq!(schedule(Some("366d"), None, None), is(at(366 * 86_400_000), None));
        assert_eq!(
            schedule(None, Some("2030-03-17T18:46:41.0001+01:00"), None),
            is(at(1_001), None)
        );
        // Just past: clocks differ, so at once.
        assert_eq!(schedule(None, Some("2030-03-17T17:46:00Z"), None), is(None, None));
        assert_eq!(
            schedule(Some("1s"), None, Some("2030-03-17T17:46:42Z")),
            is(at(1_000), at(2_000))
        );
    }

    #[test]
    fn times_that_do_not() {
        for (delay, not_before, deadline, field) in [
            (Some("soon"), None, None, "delay"),
            (Some("-1s"), None, None, "delay"),
            (Some(""), None, None, "delay"),
            (Some("367d"), None, None, "delay"),
            (Some("99999999999999999999999s"), None, None, "delay"),
            (Some("1s"), Some("2030-03-17T17:46:41Z"), None, "delay"),
            (None, Some("2030-03-17T17:00:00Z"), None, "not_before"),
            (None, Some("1930-03-17T17:00:00Z"), None, "not_before"),
            (None, Some("2031-03-17T17:46:41"), None, "not_before"),
            (None, Some("2032-03-17T17:46:41Z"), None, "not_before"),
            (None, Some("tomorrow"), None, "not_before"),
            (None, None, Some("2030-03-17T17:46:40Z"), "deadline"),
            (None, None, Some("9999-01-01T00:00:00Z"), "deadline"),
            (None, None, Some("2030-02-30T00:00:00Z"), "deadline"),
            (Some("1h"), None, Some("2030-03-17T18:00:00Z"), "deadline"),
        ] {
            let problem = schedule(delay, not_before, deadline).unwrap_err();
            assert_eq!(problem.kind().status(), 422);
            let start = format!("`{field}` ");
            assert!(problem.detail().starts_with(&start), "{}", problem.detail());
        }
    }

    #[test]
    fn a_sum_of_absurd_durations_is_refused_and_no_panic() {
        assert!(duration("delay", "18446744073709551615s 1000ms").is_err());
    }
}
