//! `adaptive = { min_rate = "1/s" }` in `[targets.NAME.limit]`.

use super::table::Table;
use super::units::rate;
use super::vocabulary::Words;
use crate::broker::adaptive::Settings;
use crate::broker::policy::Rate;

pub(super) const WORDS: Words =
    Words { table: "targets.NAME.limit.adaptive", known: &["min_rate"], later: &[] };

/// So much of the configured rate is the least, where nothing is said.
const LEAST_PART: u32 = 10;

/// `limit`: the table that it stands in; `highest`: its rate, if that is good. `None` where the
/// rate is not to adapt.
pub(super) fn read(limit: &Table<'_>, highest: Option<Rate>) -> Option<Settings> {
    const NAME: &str = "adaptive";
    let table = limit.table(NAME);
    let least = table.get("min_rate", rate);
    if let (Some(least), Some(highest)) = (least, highest)
        && least.per_second() > highest.per_second()
    {
        let message = "more than the limit's rate, so that there is nothing to adapt; make it \
                       less, or leave adaptive out";
        table.report("min_rate", message.to_owned());
    }
    table.finish(WORDS.later);
    let highest = highest.filter(|_| limit.is_set(NAME) && limit.is_good(NAME))?;
    let part = Rate::new(highest.count(), highest.per() * LEAST_PART).unwrap_or(highest);
    Some(Settings { min_rate: least.unwrap_or(part) })
}
