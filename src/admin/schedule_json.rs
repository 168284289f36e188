//! A target's schedule of today, as it comes out: what may be sent from when to when.

use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::calendar::{Per, Period, Rule};
use crate::broker::forecast::Limits;
use crate::broker::policy::Rate;
use crate::broker::time::Wall;

use super::rate::rate_text;
use super::target_json::per_second;

/// More changes than this in a day nobody reads; the day then ends early.
const MOST_PARTS: usize = 100;

/// A day of the place of the schedule's first entry: 23 or 25 hours where its clock is set.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ScheduleJson {
    #[schema(example = "Europe/Berlin")]
    timezone: String,
    /// Without gaps, from midnight to midnight there.
    today: Vec<PartJson>,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct PartJson {
    /// RFC 3339.
    from: String,
    to: String,
    /// Null while nothing is sent: in a closed time and, with `finish_before_close`, for as long
    /// before it as a request may take.
    #[schema(example = "5/s")]
    rate: Option<String>,
    rate_per_second: Option<f64>,
}

impl ScheduleJson {
    /// `own`: the rate outside all entries. `None` where there is no schedule.
    pub(super) fn today(limits: &Limits, own: Rate, now: Wall) -> Option<ScheduleJson> {
        let zone = &limits.schedule.entries().first()?.zone;
        let day = Period::containing(Per::Day, zone, now);
        let mut today: Vec<PartJson> = Vec::new();
        let mut from = day.start;
        while from < day.end && today.len() < MOST_PARTS {
            let moment = limits.schedule.for_request(from, limits.lasting);
            let to = moment.until.map_or(day.end, |until| until.min(day.end));
            let rate = match moment.rule {
                Rule::Default => Some(own),
                Rule::Rate(rate) => Some(rate),
                Rule::Closed => None,
            };
            today.push(PartJson {
                from: from.to_string(),
                to: to.to_string(),
                rate: rate.map(rate_text),
                rate_per_second: rate.map(per_second),
            });
            // It moves on even if an answer held for no time at all.
            from = to.max(from + std::time::Duration::from_millis(1));
        }
        Some(ScheduleJson { timezone: zone.name().to_owned(), today })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::broker::calendar::{Entry, Schedule, Zone};

    fn entry(when: &str, zone: &Zone, rule: Rule) -> Entry {
        Entry { when: when.parse().unwrap(), zone: zone.clone(), rule }
    }

    /// As hours of the day and the rate.
    fn told(schedule: &ScheduleJson) -> Vec<(&str, Option<&str>)> {
        schedule.today.iter().map(|part| (&part.from[11..16], part.rate.as_deref())).collect()
    }

    #[test]
    fn today_is_told_without_gaps() {
        let few = |n| NonZeroU32::new(n).unwrap();
        let mut limits = (*crate::admin::tests::target_view().forecast).clone();
        // 2023-11-14T22:13:20Z, a Tuesday.
        let now = Wall::from_millis(1_700_000_000_000);
        assert!(ScheduleJson::today(&limits, limits.bucket.rate, now).is_none());
        let utc = Zone::utc();
        let slow = Rate::new(few(5), Duration::from_secs(1)).unwrap();
        limits.schedule = Schedule::new(vec![
            entry("daily 00:00-02:00", &utc, Rule::Closed),
            entry("Mon-Fri 08:00-18:00", &utc, Rule::Rate(slow)),
        ]);
        let today = ScheduleJson::today(&limits, limits.bucket.rate, now).unwrap();
        let expected = [
            ("00:00", None),
            ("02:00", Some("10/s")),
            ("08:00", Some("5/s")),
            ("18:00", Some("10/s")),
        ];
        assert_eq!(told(&today), expected);
        assert!(today.today.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert_eq!(today.today[3].to, "2023-11-15T00:00:00.000Z");

        // A request that takes up to five minutes is not begun when there is less time.
        limits.lasting = Duration::from_secs(300);
        let today = ScheduleJson::today(&limits, limits.bucket.rate, now).unwrap();
        assert_eq!(told(&today)[4], ("23:55", None));
    }
}
