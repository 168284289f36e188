//! What goes by the calendar: `quota` and `[[targets.NAME.schedule]]`.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::auth::truth;
use super::bounds;
use super::item::Item;
use super::table::Table;
use super::units::{rate, show_duration};
use super::vocabulary::Words;
use crate::broker::calendar::{Entry, Per, Quota, Rule, Schedule, When, Zone};

pub(super) const QUOTA: Words =
    Words { table: "targets.NAME.limit.quota", known: &["count", "per", "timezone"], later: &[] };

pub(super) const SCHEDULE: Words = Words {
    table: "targets.NAME.schedule",
    known: &["when", "timezone", "rate", "closed"],
    later: &[],
};

/// `limit`: the table that it stands in.
pub(super) fn quota(limit: &Table<'_>) -> Option<Quota> {
    let table = limit.table("quota");
    if !limit.is_set("quota") {
        return None;
    }
    let count: Option<NonZeroU32> =
        table.need("count", "count = 20000", |item| item.count(bounds::QUOTA));
    let per = table.need("per", "per = \"day\"", per);
    let zone = table.get_or("timezone", Zone::utc(), zone);
    table.finish(QUOTA.later);
    Some(Quota { count: count?, per: per?, zone })
}

fn per(item: &Item<'_>) -> Result<Per, String> {
    let text = item.text("\"day\" or \"month\"")?;
    match text.value.as_str() {
        "day" => Ok(Per::Day),
        "month" => Ok(Per::Month),
        _ => Err(format!("{text} is not known here; write \"day\" or \"month\"")),
    }
}

fn zone(item: &Item<'_>) -> Result<Zone, String> {
    let text = item.text("the name of a time zone in quotes, like \"Europe/Berlin\"")?;
    let rules = TimeZone::get(&text.value).map_err(|_| {
        format!("{text} is not a time zone; write its IANA name, like \"Europe/Berlin\" or \"UTC\"")
    })?;
    let name = rules.iana_name().unwrap_or(&text.value).to_owned();
    Ok(Zone::new(&name, rules))
}

/// `lasting`: how long a request may take that must be over before a closed window; zero where
/// that is no matter.
pub(super) fn schedule(target: &Table<'_>, lasting: Duration) -> Schedule {
    let mut entries = Vec::new();
    let tables = target.array("schedule");
    for (count, table) in tables.iter().enumerate() {
        if count == bounds::SCHEDULE {
            table.report_self(format!("at most {} entries are allowed", bounds::SCHEDULE));
        }
        entries.extend(entry(table));
    }
    let whole = entries.len() == tables.len();
    let schedule = Schedule::new(entries);
    if whole && !schedule.is_empty() && !schedule.is_ever_open(lasting) {
        let message = if schedule.is_ever_open(Duration::ZERO) {
            format!(
                "between its closed times it is never open for as long as a request may take ({}); \
                 shorten timeout, or set finish_before_close = false",
                show_duration(lasting)
            )
        } else {
            "it is always closed, so nothing would ever be sent; to hold a target back, pause it \
             (tollgate pause)"
                .to_owned()
        };
        target.report("schedule", message);
    }
    schedule
}

fn entry(table: &Table<'_>) -> Option<Entry> {
    let when = table.need("when", "when = \"Mon-Fri 08:00-18:00\"", when);
    let zone = table.get_or("timezone", Zone::utc(), zone);
    let rate = table.get("rate", rate);
    let closed = table.get_or("closed", false, truth);
    table.finish(SCHEDULE.later);
    let rule = match (rate, closed) {
        (Some(rate), false) => Rule::Rate(rate),
        (None, true) => Rule::Closed,
        (Some(_), true) => {
            table.report("rate", "closed already says that nothing is sent".to_owned());
            return None;
        }
        (None, false) => {
            if table.is_good("rate") && table.is_good("closed") {
                table.report_self("says nothing; add rate = \"5/s\" or closed = true".to_owned());
            }
            return None;
        }
    };
    Some(Entry { when: when?, zone, rule })
}

fn when(item: &Item<'_>) -> Result<When, String> {
    let text = item.text("days and times in quotes, like \"Mon-Fri 08:00-18:00\"")?;
    text.value.parse::<When>().map_err(|error| format!("{text}: {error}"))
}
