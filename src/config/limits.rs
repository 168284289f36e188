//! What targets can bear: `[targets.NAME.limit]`, `[limits.NAME]` and `share`.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::DeValue;

use super::item::{Item, quoted};
use super::parse::is_name;
use super::table::Table;
use super::units::{duration, rate, show_duration};
use super::{adaptive, bounds, calendar, defaults, vocabulary};
use crate::broker::adaptive::Settings;
use crate::broker::policy::{Bounds, Ceilings, Limit, LimitName, Pace, Rate, Reserve};

/// A target's own, and how its rate adapts.
pub(super) fn limit(table: &Table<'_>) -> Option<(Limit, Option<Settings>)> {
    let rate: Option<Rate> = table.need("rate", "rate = \"10/s\", what the target can bear", rate);
    let burst = table.get_or("burst", defaults::BURST, |item| item.count(bounds::BURST));
    let max_concurrent = table.get_or("max_concurrent", defaults::MAX_CONCURRENT, |item| {
        item.count(bounds::MAX_CONCURRENT)
    });
    let hold_after_timeout = hold(table);
    let ceilings = ceilings(table);
    let adaptive = adaptive::read(table, rate);
    table.finish(vocabulary::LIMIT.later);
    let limit = Limit { rate: rate?, burst, max_concurrent, hold_after_timeout, ceilings };
    Some((limit, adaptive))
}

/// Those that targets share.
pub(super) fn shared(table: &Table<'_>) -> BTreeMap<LimitName, Bounds> {
    let mut limits = BTreeMap::new();
    for (count, (name, limit)) in table.tables().enumerate() {
        if count == bounds::LIMITS {
            table.report_name(name, format!("at most {} limits are allowed", bounds::LIMITS));
        }
        if !is_name(name) {
            let message = format!(
                "not a limit's name; one has 1 to {} letters, digits, - or _, a letter or digit first",
                bounds::TARGET_NAME
            );
            table.report_name(name, message);
        }
        limits.insert(LimitName::new(name), one_shared(&limit));
    }
    limits
}

fn one_shared(table: &Table<'_>) -> Bounds {
    let rate = table.get("rate", rate);
    let burst = table.get("burst", |item| item.count(bounds::BURST));
    let max_concurrent = table.get("max_concurrent", |item| item.count(bounds::MAX_CONCURRENT));
    let hold_after_timeout = hold(table);
    let ceilings = ceilings(table);
    table.finish(vocabulary::SHARED_LIMIT.later);
    if burst.is_some() && !table.is_set("rate") {
        table.report("burst", "says nothing without a rate; add rate = \"10/s\"".to_owned());
    }
    let limits = ["rate", "max_concurrent", "windows", "quota"];
    if !limits.iter().any(|key| table.is_set(key)) {
        let message = "limits nothing; add rate, max_concurrent, windows or quota";
        table.report_self(message.to_owned());
    }
    let pace = rate.map(|rate| Pace { rate, burst: burst.unwrap_or(defaults::BURST) });
    Bounds { pace, max_concurrent, hold_after_timeout, ceilings }
}

fn hold(table: &Table<'_>) -> Duration {
    let default = defaults::HOLD_AFTER_TIMEOUT;
    table.get_or("hold_after_timeout", default, duration(bounds::HOLD_AFTER_TIMEOUT))
}

fn ceilings(table: &Table<'_>) -> Ceilings {
    let windows = table.get_or("windows", Vec::new(), windows);
    let reserve_high = table.get_or("reserve_high", Reserve::default(), reserve);
    let quota = calendar::quota(table);
    Ceilings { windows, quota, reserve_high }
}

fn windows(item: &Item<'_>) -> Result<Vec<Rate>, String> {
    let mut windows: Vec<Rate> = Vec::new();
    for element in list(item, "windows, like [\"100/min\", \"5000/d\"]")? {
        let window = rate(&element)?;
        if let Some(same) = windows.iter().find(|other| other.per() == window.per()) {
            let per = show_duration(same.per());
            return Err(format!("two windows of {per}; only the smaller would count"));
        }
        if window.per() < bounds::WINDOW {
            let least = show_duration(bounds::WINDOW);
            return Err(format!("a window can be \"{least}\" wide at least"));
        }
        windows.push(window);
    }
    if windows.len() > bounds::WINDOWS {
        return Err(format!("at most {} windows are allowed", bounds::WINDOWS));
    }
    Ok(windows)
}

fn reserve(item: &Item<'_>) -> Result<Reserve, String> {
    const EXPECTED: &str = "a share from 0 to 0.99, without quotes, like 0.2";
    let share = match item.value {
        DeValue::Float(float) => float.as_str().replace('_', "").parse::<f64>().ok(),
        DeValue::Integer(_) => item.whole(0..=0).ok().map(|_| 0.0),
        _ => None,
    };
    let share = share.filter(|share| *share <= bounds::RESERVE_HIGH);
    share.and_then(Reserve::new).ok_or_else(|| format!("expected {EXPECTED}"))
}

/// `known`: the limits that there are.
pub(super) fn share(
    known: &BTreeMap<LimitName, Bounds>,
) -> impl FnOnce(&Item<'_>) -> Result<Vec<LimitName>, String> + '_ {
    move |item| {
        let mut shared: Vec<LimitName> = Vec::new();
        for element in list(item, "the names of limits, like [\"mainframe\"]")? {
            let text = element.text("the name of a limit, in quotes")?;
            let name = LimitName::new(&text.value);
            if !known.contains_key(&name) {
                return Err(unknown_limit(&text.value, known));
            }
            if shared.contains(&name) {
                return Err(format!("{text} is here twice"));
            }
            shared.push(name);
        }
        Ok(shared)
    }
}

fn unknown_limit(name: &str, known: &BTreeMap<LimitName, Bounds>) -> String {
    let near = known
        .keys()
        .map(|known| (strsim::damerau_levenshtein(name, known.as_str()), known.as_str()))
        .filter(|(distance, _)| *distance <= 1 + name.len() / 4)
        .min();
    let name = quoted(name);
    match near {
        Some((_, near)) => format!("there is no [limits.{name}]; did you mean \"{near}\"?"),
        None => format!("there is no limit of the name {name}; add a section [limits.NAME]"),
    }
}

fn list<'a>(item: &Item<'a>, expected: &str) -> Result<Vec<Item<'a>>, String> {
    let DeValue::Array(elements) = item.value else {
        return Err(format!("expected {expected}"));
    };
    let of = |value| Item { context: item.context, value };
    Ok(elements.iter().map(|element| of(element.get_ref())).collect())
}

/// A limit of the name of a target would be taken for the target's own.
pub(super) fn check_names<'a>(
    table: &Table<'_>,
    limits: &BTreeMap<LimitName, Bounds>,
    targets: impl Iterator<Item = &'a String>,
) {
    for target in targets {
        if limits.contains_key(&LimitName::new(target)) {
            let message = "a target has this name already; metrics could not tell them apart";
            table.report_name(target, message.to_owned());
        }
    }
}
