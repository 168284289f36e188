//! The page's part that is so at the moment: depths, ages, rates, room.

use std::fmt::Write as _;

use crate::broker::io::{BlockedOn, TargetView};
use crate::broker::job::{JobState, Priority};
use crate::broker::policy::LimitId;
use crate::handle::View;
use crate::store::{CallbackCount, Space};

/// Samples of one metric after its `HELP` and `TYPE` lines. Target names need no escaping: the
/// configuration allows letters, digits, `-` and `_` only.
pub(super) fn family(text: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n")
}

pub(super) fn write_view(text: &mut String, view: &View, space: &Space) -> std::fmt::Result {
    family(text, "tollgate_queue_depth", "gauge", "Jobs in line.")?;
    for target in &view.targets {
        for priority in Priority::ALL {
            let depth = target.counts.get(priority, JobState::Queued);
            let name = &target.name;
            writeln!(
                text,
                "tollgate_queue_depth{{target=\"{name}\",priority=\"{priority}\"}} {depth}"
            )?;
        }
    }
    let name = "tollgate_queue_oldest_age_seconds";
    family(text, name, "gauge", "Age of the first job in line; 0 where there is none.")?;
    for target in &view.targets {
        for priority in Priority::ALL {
            let oldest = target.oldest[priority.index()];
            let age = oldest.map_or(0.0, |at| view.now.wall.since(at).as_secs_f64());
            let target = &target.name;
            writeln!(text, "{name}{{target=\"{target}\",priority=\"{priority}\"}} {age}")?;
        }
    }
    type Value = fn(&TargetView) -> f64;
    let per_target: [(&str, &str, Value); 8] = [
        ("tollgate_jobs_scheduled", "Jobs whose time has not come.", |target| {
            target.counts.in_state(JobState::Scheduled) as f64
        }),
        ("tollgate_jobs_waiting", "Jobs that wait for a retry.", |target| {
            target.counts.in_state(JobState::Waiting) as f64
        }),
        ("tollgate_jobs_verifying", "Jobs that wait for the next question about them.", |target| {
            target.counts.in_state(JobState::Verifying) as f64
        }),
        ("tollgate_in_flight", "Attempts under way.", |target| f64::from(target.in_flight)),
        ("tollgate_dead_jobs", "Jobs that ended without success and are kept.", |target| {
            target.counts.dead() as f64
        }),
        (
            "tollgate_groups_held",
            "Groups that wait for a dead job to be redriven or purged.",
            |t| t.counts.held_groups() as f64,
        ),
        ("tollgate_rate_per_second", "The rate in force; 0 while nothing may be sent.", |target| {
            let shut = matches!(target.blocked, Some((BlockedOn::Closed, _)));
            match target.rate {
                Some(rate) if !target.paused && !shut => rate.per_second(),
                _ => 0.0,
            }
        }),
        ("tollgate_breaker_open", "1 while one job at a time probes a target that fails.", |t| {
            f64::from(u8::from(t.breaker_open))
        }),
    ];
    for (name, help, value) in per_target {
        family(text, name, "gauge", help)?;
        for target in &view.targets {
            writeln!(text, "{name}{{target=\"{}\"}} {}", target.name, value(target))?;
        }
    }
    let name = "tollgate_dead_retention_ratio";
    family(text, name, "gauge", "How full dead_retention is; at 1 the oldest are forgotten.")?;
    for target in &view.targets {
        if let Some(fill) = target.dead_fill {
            writeln!(text, "{name}{{target=\"{}\"}} {fill}", target.name)?;
        }
    }
    let name = "tollgate_blocked_seconds_total";
    family(text, name, "counter", "Time during which jobs were ready and this held them back.")?;
    for target in &view.targets {
        for reason in BlockedOn::ALL {
            let seconds = target.blocked_for[reason as usize].as_secs_f64();
            let (target, reason) = (&target.name, reason.as_str());
            writeln!(text, "{name}{{target=\"{target}\",reason=\"{reason}\"}} {seconds}")?;
        }
    }
    write_limits(text, view)?;
    write_space(text, space)
}

fn write_space(text: &mut String, space: &Space) -> std::fmt::Result {
    let free = "Room left on the disk of the store.";
    let min_free = "Below so much room new jobs get 507 (store.min_free_disk).";
    for (name, help, bytes) in [
        (
            "tollgate_store_bytes",
            "Size of the store: its file, and the journal in front of it.",
            Some(space.bytes),
        ),
        ("tollgate_disk_free_bytes", free, space.free),
        ("tollgate_disk_min_free_bytes", min_free, Some(space.min_free)),
    ] {
        if let Some(bytes) = bytes {
            family(text, name, "gauge", help)?;
            writeln!(text, "{name} {bytes}")?;
        }
    }
    Ok(())
}

fn write_limits(text: &mut String, view: &View) -> std::fmt::Result {
    let name = "tollgate_limit_remaining";
    family(text, name, "gauge", "Requests that may still start within a window or quota.")?;
    for limit in &view.limits {
        let id = match &limit.id {
            LimitId::Shared(name) => name.as_str(),
            LimitId::Target(id) => {
                let target = view.targets.iter().find(|target| target.id == *id);
                target.map_or("?", |target| target.name.as_str())
            }
        };
        for window in &limit.windows {
            let width = humantime::format_duration(window.rate.per()).to_string().replace(' ', "");
            writeln!(text, "{name}{{limit=\"{id}\",window=\"{width}\"}} {}", window.left)?;
        }
        if let Some((quota, left)) = &limit.quota {
            let per = quota.per.as_str();
            writeln!(text, "{name}{{limit=\"{id}\",window=\"{per}\"}} {left}")?;
        }
    }
    Ok(())
}

/// `tokens`: jobs whose task token is to be answered; their line has no label.
pub(super) fn write_pending(
    text: &mut String,
    tokens: Option<u64>,
    webhooks: &[CallbackCount],
) -> std::fmt::Result {
    let name = "tollgate_callbacks_pending";
    let help = "Jobs that ended and whose task token is to be answered; or whose callback is to be \
                told.";
    family(text, name, "gauge", help)?;
    if let Some(tokens) = tokens {
        writeln!(text, "{name} {tokens}")?;
    }
    for count in webhooks {
        writeln!(text, "{name}{{callback=\"{}\"}} {}", count.name, count.owed)?;
    }
    if webhooks.is_empty() {
        return Ok(());
    }
    let name = "tollgate_callbacks_undelivered";
    family(
        text,
        name,
        "gauge",
        "Jobs whose callback was not told of their end, and is not tried.",
    )?;
    for count in webhooks {
        writeln!(text, "{name}{{callback=\"{}\"}} {}", count.name, count.undelivered)?;
    }
    Ok(())
}
