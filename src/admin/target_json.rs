//! A target as the admin address shows it.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::forecast;
use crate::broker::io::{LimitView, TargetView, WindowView};
use crate::broker::job::{JobState, Priority};
use crate::broker::policy::{Limit, LimitId, Rate};
use crate::broker::time::{Now, Wall};
use crate::config::Target;
use crate::pulse::Sum;

use super::held_back::{HeldBackBy, Since};
use super::rate::rate_text;
use super::schedule_json::ScheduleJson;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TargetJson {
    #[schema(example = "erp")]
    name: String,
    /// False for one that was removed from the configuration; it keeps its jobs until it is back.
    configured: bool,
    /// Without user name and password; null where the target is not configured.
    #[schema(example = "https://erp.example/api")]
    url: Option<String>,
    priorities: Priorities,
    /// Jobs whose time has not come.
    scheduled: u64,
    /// Jobs that wait for a retry.
    waiting: u64,
    /// Jobs that wait for the next question about what became of them.
    verifying: u64,
    /// Jobs of which an attempt is on record.
    running: u64,
    /// Requests under way: those that take one of `max_concurrent` places.
    in_flight: u32,
    /// Jobs that ended without success and are kept.
    dead: u64,
    /// Groups of which nobody is sent until a dead job is redriven or purged.
    held_groups: u64,
    paused: bool,
    /// Why nothing is sent just now; null where something could be.
    blocked: Option<Blocked>,
    held_back_by: Option<HeldBackBy>,
    limit: Option<LimitJson>,
    /// The named limits that it shares.
    share: Vec<SharedJson>,
    /// Too many attempts in a row failed: one job at a time probes.
    breaker_open: bool,
    /// What may be sent in a second as things stand, by the rate that is configured or scheduled,
    /// and by what the target's answers say; null where nothing may.
    rate_in_force_per_second: Option<f64>,
    /// What may be sent when today; null where it has no schedule.
    schedule: Option<ScheduleJson>,
    totals: TotalsJson,
}

/// What became of its jobs and requests since the daemon started.
#[derive(Debug, Default, Serialize, ToSchema)]
struct TotalsJson {
    enqueued: u64,
    sent: u64,
    done: u64,
    refused: u64,
    rejected: u64,
    unknown: u64,
    succeeded: u64,
    /// Jobs that failed or expired, sent again since or not.
    died: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Priorities {
    #[serde(rename = "HIGH")]
    high: QueueJson,
    #[serde(rename = "NORMAL")]
    normal: QueueJson,
    #[serde(rename = "BATCH")]
    batch: QueueJson,
}

/// The jobs of one target at one priority that could be sent now.
#[derive(Debug, Serialize, ToSchema)]
struct QueueJson {
    depth: u64,
    /// Null where the queue is empty.
    oldest_age_seconds: Option<f64>,
    /// Until the last of this queue is sent, by the limits in force, schedules and quotas included,
    /// if nothing more comes. Null where that cannot be said: paused, draining, not configured.
    estimated_drain_seconds: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Blocked {
    /// `rate`, `concurrency`, `window`, `quota`, `breaker`, `refused`, `paused`, `closed` or
    /// `draining`.
    #[schema(example = "rate")]
    on: &'static str,
    /// RFC 3339; null where no time is known.
    until: Option<String>,
    /// The shared limit that does it, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    /// The window that does it, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "100/min")]
    window: Option<String>,
}

/// The limit in force.
#[derive(Debug, Serialize, ToSchema)]
struct LimitJson {
    #[schema(example = "1000/min")]
    rate: String,
    #[schema(example = 16.666)]
    rate_per_second: f64,
    burst: u32,
    max_concurrent: u32,
    /// Places of `max_concurrent` that are kept for requests which timed out and may still run.
    #[serde(skip_serializing_if = "is_nought")]
    held_places: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    windows: Vec<WindowJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<QuotaJson>,
}

/// A limit that several targets share.
#[derive(Debug, Serialize, ToSchema)]
struct SharedJson {
    #[schema(example = "mainframe")]
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_concurrent: Option<u32>,
    /// Requests under way, of all targets.
    in_flight: u32,
    #[serde(skip_serializing_if = "is_nought")]
    held_places: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    windows: Vec<WindowJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<QuotaJson>,
}

#[derive(Debug, Serialize, ToSchema)]
struct WindowJson {
    #[schema(example = "100/min")]
    window: String,
    /// How many may still start now, if HIGH.
    left: u64,
    /// Of the window, so many are for HIGH alone.
    #[serde(skip_serializing_if = "is_nought")]
    reserved_high: u64,
    /// Where none is left: when the next one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    free_again_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct QuotaJson {
    count: u32,
    /// `day` or `month`.
    per: &'static str,
    #[schema(example = "Europe/Berlin")]
    timezone: String,
    /// How many may still start in this period, if HIGH.
    left: u64,
    /// Of the quota, so many are for HIGH alone.
    #[serde(skip_serializing_if = "is_nought")]
    reserved_high: u64,
    /// When the next period begins, by the wall clock.
    resets_at: String,
}

fn is_nought(count: &u64) -> bool {
    *count == 0
}

impl TargetJson {
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name == name
    }

    pub(super) fn new(
        view: &TargetView,
        now: Now,
        since: &Since,
        limits: &[LimitView],
        configured: Option<&Arc<Target>>,
    ) -> TargetJson {
        let queued = Priority::ALL.map(|priority| view.counts.get(priority, JobState::Queued));
        let drained = forecast::drained(&view.forecast, &queued);
        let of = |id: &LimitId| limits.iter().find(|limit| limit.id == *id);
        let share = view.policy.iter().flat_map(|policy| &policy.share);
        let share =
            share.filter_map(|name| SharedJson::new(of(&LimitId::Shared(name.clone()))?, now.wall));
        let [high, normal, batch] = Priority::ALL.map(|priority| {
            let depth = queued[priority.index()];
            QueueJson {
                depth,
                oldest_age_seconds: view.oldest[priority.index()]
                    .map(|oldest| now.wall.since(oldest).as_secs_f64()),
                estimated_drain_seconds: drained[priority.index()]
                    .map(|at| at.since(now.wall).as_secs_f64()),
            }
        });
        TargetJson {
            name: view.name.clone(),
            configured: view.policy.is_some(),
            url: configured.map(|target| plain_url(&target.url)),
            priorities: Priorities { high, normal, batch },
            scheduled: view.counts.in_state(JobState::Scheduled),
            waiting: view.counts.in_state(JobState::Waiting),
            verifying: view.counts.in_state(JobState::Verifying),
            running: view.counts.in_state(JobState::Running),
            in_flight: view.in_flight,
            dead: view.counts.dead(),
            held_groups: view.counts.held_groups(),
            paused: view.paused,
            blocked: view.blocked.map(|(on, until)| Blocked {
                on: on.as_str(),
                until: until.map(|until| (now.wall + until.since(now.mono)).to_string()),
                limit: view.blocked_by.as_ref().map(|name| name.as_str().to_owned()),
                window: view.blocked_window.map(rate_text),
            }),
            held_back_by: since.held_back_by(view),
            limit: view.policy.as_ref().map(|policy| {
                LimitJson::new(&policy.limit, of(&LimitId::Target(view.id)), now.wall)
            }),
            share: share.collect(),
            breaker_open: view.breaker_open,
            rate_in_force_per_second: view.rate.map(per_second),
            schedule: view.policy.as_ref().and_then(|policy| {
                ScheduleJson::today(&view.forecast, policy.limit.rate, now.wall)
            }),
            totals: TotalsJson::default(),
        }
    }

    pub(super) fn with_totals(mut self, sum: Sum) -> TargetJson {
        let Sum { enqueued, sent, done, refused, rejected, unknown, succeeded, died } = sum;
        self.totals =
            TotalsJson { enqueued, sent, done, refused, rejected, unknown, succeeded, died };
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl LimitJson {
    fn new(limit: &Limit, view: Option<&LimitView>, now: Wall) -> LimitJson {
        LimitJson {
            rate: rate_text(limit.rate),
            rate_per_second: per_second(limit.rate),
            burst: limit.burst.get(),
            max_concurrent: limit.max_concurrent.get(),
            held_places: view.map_or(0, |view| view.held),
            windows: view.map(|view| windows(view, now)).unwrap_or_default(),
            quota: view.and_then(|view| quota(view, now)),
        }
    }
}

impl SharedJson {
    fn new(view: &LimitView, now: Wall) -> Option<SharedJson> {
        let LimitId::Shared(name) = &view.id else { return None };
        Some(SharedJson {
            name: name.as_str().to_owned(),
            rate: view.bounds.pace.map(|pace| rate_text(pace.rate)),
            max_concurrent: view.bounds.max_concurrent.map(NonZeroU32::get),
            in_flight: view.under_way,
            held_places: view.held,
            windows: windows(view, now),
            quota: quota(view, now),
        })
    }
}

fn windows(view: &LimitView, now: Wall) -> Vec<WindowJson> {
    let reserve = view.bounds.ceilings.reserve_high;
    let json = |window: &WindowView| {
        let next = window.taken.first().filter(|_| window.left == 0);
        WindowJson {
            window: rate_text(window.rate),
            left: window.left,
            reserved_high: reserve.of(u64::from(window.rate.count().get())),
            free_again_at: next.map(|(after, _)| (now + *after).to_string()),
        }
    };
    view.windows.iter().map(json).collect()
}

fn quota(view: &LimitView, now: Wall) -> Option<QuotaJson> {
    let (quota, left) = view.quota.as_ref()?;
    Some(QuotaJson {
        count: quota.count.get(),
        per: quota.per.as_str(),
        timezone: quota.zone.name().to_owned(),
        left: *left,
        reserved_high: view.bounds.ceilings.reserve_high.of(u64::from(quota.count.get())),
        resets_at: quota.period(now).end.to_string(),
    })
}

pub(super) fn per_second(rate: Rate) -> f64 {
    (rate.per_second() * 1e6).round() / 1e6
}

/// Scheme, host, port and path; nothing that can hold a secret.
fn plain_url(url: &http::Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("http");
    let authority = url.authority().map_or("", http::uri::Authority::as_str);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{}", url.path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let url = "https://user:pa%40ss@erp.example:8443/api?key=1".parse().unwrap();
        assert_eq!(plain_url(&url), "https://erp.example:8443/api");
        assert_eq!(plain_url(&"http://[::1]:9000".parse().unwrap()), "http://[::1]:9000");
    }
}
