//! `[step_functions]`: that it is there at all switches the part on; so does a source, whose
//! messages bring task tokens with them.

use std::time::Duration;

use super::auth::truth;
use super::item::Item;
use super::table::Table;
use super::types::{Sources, StepFunctions};
use super::units::{duration, rate};
use super::url::base_url;
use super::{bounds, defaults, vocabulary};

pub(super) fn read(root: &Table<'_>, sources: &Sources) -> Option<StepFunctions> {
    const NAME: &str = "step_functions";
    let table = root.table(NAME);
    let default = defaults::step_functions();
    let read = StepFunctions {
        endpoint_url: table.get("endpoint_url", base_url),
        heartbeat: table.get_or("heartbeat", default.heartbeat, heartbeat),
        check_before_dispatch: table.get_or(
            "check_before_dispatch",
            default.check_before_dispatch,
            truth,
        ),
        callback_rate: table.get_or("callback_rate", default.callback_rate, rate),
    };
    table.finish(vocabulary::STEP_FUNCTIONS.later);
    let asked = !sources.sqs.is_empty() || !sources.activity.is_empty();
    (root.is_set(NAME) || asked).then_some(read)
}

fn heartbeat(item: &Item<'_>) -> Result<Option<Duration>, String> {
    let text = item.text("a duration in quotes, like \"60s\", or \"off\"")?;
    if text.value == "off" {
        return Ok(None);
    }
    duration(bounds::HEARTBEAT)(item).map(Some)
}
