//! `[targets.NAME.breaker]`.

use super::bounds;
use super::table::Table;
use super::units::duration;
use super::vocabulary::Words;
use crate::broker::breaker::Settings;

pub(super) const WORDS: Words =
    Words { table: "targets.NAME.breaker", known: &["failures", "probe_every"], later: &[] };

/// `target`: the table that it stands in.
pub(super) fn read(target: &Table<'_>) -> Settings {
    let table = target.table("breaker");
    let default = Settings::DEFAULT;
    let read = Settings {
        failures: table
            .get_or("failures", default.failures, |item| item.count(bounds::BREAKER_FAILURES)),
        probe_every: table.get_or(
            "probe_every",
            default.probe_every,
            duration(bounds::PROBE_EVERY),
        ),
    };
    table.finish(WORDS.later);
    read
}
