//! A target as the admin address shows it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::io::{BlockedOn, TargetView};
use crate::broker::job::{JobState, Priority};
use crate::broker::policy::{Limit, Policy};
use crate::broker::time::Now;
use crate::config::Target;
use crate::pulse::Sum;

use super::held_back::{HeldBackBy, Since};
use super::rate::{rate_text, seconds_for};

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
    /// Until this queue and those above it are empty, if nothing more comes and the rate in force
    /// is used to the full. Null where that cannot be said: paused, draining, not configured.
    estimated_drain_seconds: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Blocked {
    /// `rate`, `concurrency`, `refused`, `paused` or `draining`.
    #[schema(example = "rate")]
    on: &'static str,
    /// RFC 3339; null where no time is known.
    until: Option<String>,
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
}

impl TargetJson {
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name == name
    }

    pub(super) fn new(
        view: &TargetView,
        now: Now,
        since: &Since,
        configured: Option<&Arc<Target>>,
    ) -> TargetJson {
        let drain = Drain::of(view, now);
        let mut before = 0;
        // Highest first: each queue waits for those above it.
        let [high, normal, batch] = Priority::ALL.map(|priority| {
            let depth = view.counts.get(priority, JobState::Queued);
            before += depth;
            QueueJson {
                depth,
                oldest_age_seconds: view.oldest[priority.index()]
                    .map(|oldest| now.wall.since(oldest).as_secs_f64()),
                estimated_drain_seconds: drain.seconds(before),
            }
        });
        TargetJson {
            name: view.name.clone(),
            configured: view.policy.is_some(),
            url: configured.map(|target| plain_url(&target.url)),
            priorities: Priorities { high, normal, batch },
            scheduled: view.counts.in_state(JobState::Scheduled),
            waiting: view.counts.in_state(JobState::Waiting),
            running: view.counts.in_state(JobState::Running),
            in_flight: view.in_flight,
            dead: view.counts.dead(),
            held_groups: view.counts.held_groups(),
            paused: view.paused,
            blocked: view.blocked.map(|(on, until)| Blocked {
                on: on.as_str(),
                until: until.map(|until| (now.wall + until.since(now.mono)).to_string()),
            }),
            held_back_by: since.held_back_by(view),
            limit: view.policy.as_ref().map(|policy| LimitJson::new(&policy.limit)),
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
    fn new(limit: &Limit) -> LimitJson {
        LimitJson {
            rate: rate_text(limit.rate),
            rate_per_second: (limit.rate.per_second() * 1e6).round() / 1e6,
            burst: limit.burst.get(),
            max_concurrent: limit.max_concurrent.get(),
        }
    }
}

/// How a target's queues would empty.
enum Drain<'a> {
    /// After so long, at the policy's rate.
    After(Duration, &'a Policy),
    NobodyKnows,
}

impl Drain<'_> {
    fn of(view: &TargetView, now: Now) -> Drain<'_> {
        match (&view.policy, view.blocked) {
            (None, _) | (_, Some((BlockedOn::Draining | BlockedOn::Paused, _))) => {
                Drain::NobodyKnows
            }
            _ if view.paused => Drain::NobodyKnows,
            (Some(policy), Some((BlockedOn::Refused, Some(until)))) => {
                Drain::After(until.since(now.mono), policy)
            }
            (Some(policy), _) => Drain::After(Duration::ZERO, policy),
        }
    }

    fn seconds(&self, jobs: u64) -> Option<f64> {
        match self {
            _ if jobs == 0 => Some(0.0),
            Drain::NobodyKnows => None,
            Drain::After(wait, policy) => {
                let seconds = wait.as_secs_f64() + seconds_for(jobs, policy.limit.rate);
                Some((seconds * 1000.0).round() / 1000.0)
            }
        }
    }
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
