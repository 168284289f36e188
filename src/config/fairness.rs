//! `[targets.NAME.fairness]`: how those who share a queue share it.

use super::table::Table;
use super::vocabulary;
use crate::broker::fair::{FlowKey, Weights};

/// `weights`: fairness keys with how many jobs of theirs go for one of another.
pub(super) fn weights(table: &Table<'_>) -> Weights {
    let named = table.table("weights");
    let mut weights = Vec::new();
    for (name, value) in named.entries() {
        let key = match FlowKey::new(name) {
            Ok(key) => key,
            Err(error) => {
                named.report_name(name, format!("not a fairness key; one {error}"));
                continue;
            }
        };
        match named.item(value).count(Weights::HEAVIEST) {
            Ok(weight) => weights.push((key, weight)),
            Err(message) => named.report_name(name, message),
        }
    }
    table.finish(vocabulary::FAIRNESS.later);
    Weights::new(weights)
}
