//! What would happen if so many jobs came: an answer without doing it.

use std::time::Duration;

use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::broker::forecast::{self, By, Gate, Hold, Limits, Order, Phase, Queued};
use crate::broker::job::{JobState, Priority};
use crate::broker::policy::Rate;
use crate::broker::time::Wall;

use super::AdminState;
use super::answer::Json;
use super::error::AdminError;
use super::params::{FromParams, Params, Segment, Strict};
use super::rate::rate_text;

/// As many as a target may ever have queued.
const MOST_JOBS: u64 = 1_000_000_000;
/// How far ahead `at` may lie, as that of a job's `not_before`.
const FARTHEST: Duration = Duration::from_secs(366 * 86_400);

/// Which jobs to plan for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // documents what `Wish` reads
pub(super) struct PlanParams {
    /// How many.
    #[param(minimum = 1, maximum = 1_000_000_000_u64, default = 1)]
    jobs: Option<u64>,
    /// When they come: RFC 3339; now without it, or where it has passed.
    #[param(example = "2026-11-27T18:00:00+01:00")]
    at: Option<String>,
    /// `HIGH`, `NORMAL` (the default) or `BATCH`, in any case.
    priority: Option<String>,
}

pub(super) struct Wish {
    jobs: u64,
    at: Option<Wall>,
    priority: Priority,
}

impl FromParams for Wish {
    const NAMES: &'static [&'static str] = &["jobs", "at", "priority"];

    fn from_params(params: &Params) -> Result<Wish, AdminError> {
        let jobs =
            params.read("jobs", format!("a whole number from 1 to {MOST_JOBS}"), |text| {
                text.parse().ok().filter(|jobs| (1..=MOST_JOBS).contains(jobs))
            })?;
        let at = params.read(
            "at",
            "a time of RFC 3339 with its offset, such as 2031-05-01T12:00:00Z",
            |text| text.parse::<Timestamp>().ok(),
        )?;
        let millis = |at: Timestamp| u64::try_from(at.as_millisecond()).unwrap_or(0);
        Ok(Wish {
            jobs: jobs.unwrap_or(1),
            at: at.map(|at| Wall::from_millis(millis(at))),
            priority: params.parse("priority", "HIGH, NORMAL or BATCH")?.unwrap_or_default(),
        })
    }
}

/// An estimate: of the limits as they stand, without failures, retries, and jobs that come later.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlanJson {
    #[schema(example = "erp")]
    target: String,
    priority: &'static str,
    jobs: u64,
    /// When they would come.
    at: String,
    /// When the first and the last of them would be started; null where that is never, or past
    /// what can be foreseen: `never` says why.
    first_start: Option<String>,
    last_start: Option<String>,
    /// From `at` to the last start.
    seconds: Option<f64>,
    never: Option<&'static str>,
    /// What is queued now and would wait longer for them.
    delays: Vec<DelayJson>,
    /// Which limit decides when, from `at` to the last start.
    phases: Vec<PhaseJson>,
    /// Further phases that are not listed.
    more_phases: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct DelayJson {
    priority: &'static str,
    /// Of those queued now, how many would still wait when the planned ones come.
    jobs: u64,
    last_start_without: Option<String>,
    /// Null where they would never be reached.
    last_start_with: Option<String>,
    delay_seconds: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct PhaseJson {
    from: String,
    to: String,
    /// Jobs of all priorities that start in it.
    jobs: u64,
    /// `rate`, `concurrency`, `window`, `quota`, `closed`, `refused`, `breaker`, `paused` or
    /// `draining`.
    #[schema(example = "window")]
    by: &'static str,
    /// The limit itself, as the configuration has it.
    #[schema(example = "100/min")]
    limit: String,
}

#[utoipa::path(
    get, path = "/v1/targets/{target}/plan", tag = "targets", operation_id = "plan_target",
    summary = "When so many more jobs would be done, and what would wait, without doing it",
    description = "An estimate from the limits in force: without failures, retries, and jobs that \
        come later. Jobs that wait for a retry or for their time are not counted.",
    params(("target" = String, Path, description = "The target's name"), PlanParams),
    responses((status = 200, body = PlanJson)),
)]
pub(super) async fn plan(
    State(state): State<AdminState>,
    Segment(name): Segment,
    Strict(wish): Strict<Wish>,
) -> Result<Json<PlanJson>, AdminError> {
    let id = state.target_id(&name)?;
    let view = state.handle.view().await?;
    let Some(target) = view.targets.iter().find(|target| target.id == id) else {
        return Err(super::targets::no_such_target(&name, &state.handle.directory()));
    };
    let limits = target.forecast.clone();
    let now = view.now.wall;
    let at = wish.at.map_or(now, |at| at.max(now));
    if at.since(now) > FARTHEST {
        let expected = "at most 366 days ahead".to_owned();
        return Err(AdminError::Parameter { name: "at", value: at.to_string(), expected });
    }
    let order = Order { at, priority: wish.priority, jobs: wish.jobs };
    let queued = Priority::ALL.map(|priority| target.counts.get(priority, JobState::Queued));
    // A moment of arithmetic, however many jobs; off the threads that serve others all the same.
    let planned = tokio::task::spawn_blocking(move || PlanJson::new(name, &limits, &queued, order));
    planned.await.map(Json).map_err(|_| AdminError::Stopped(crate::handle::Stopped))
}

impl PlanJson {
    fn new(target: String, limits: &Limits, queued: &Queued, order: Order) -> PlanJson {
        let plan = forecast::plan(limits, queued, order);
        let text = |at: Option<Wall>| at.map(|at| at.to_string());
        PlanJson {
            target,
            priority: order.priority.as_str(),
            jobs: order.jobs,
            at: order.at.to_string(),
            first_start: text(plan.first),
            last_start: text(plan.last),
            seconds: plan.last.map(|last| last.since(order.at).as_secs_f64()),
            never: plan.last.is_none().then(|| never(limits)),
            delays: plan
                .delays
                .iter()
                .map(|delay| DelayJson {
                    priority: delay.priority.as_str(),
                    jobs: delay.jobs,
                    last_start_without: text(delay.without),
                    last_start_with: text(delay.with),
                    delay_seconds: delay
                        .with
                        .zip(delay.without)
                        .map(|(with, without)| with.since(without).as_secs_f64()),
                })
                .collect(),
            phases: plan.phases.iter().map(|phase| PhaseJson::new(limits, phase)).collect(),
            more_phases: plan.more_phases,
        }
    }
}

impl PhaseJson {
    fn new(limits: &Limits, phase: &Phase) -> PhaseJson {
        let (by, limit) = decided(limits, phase.by);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // an estimate
        let jobs = phase.jobs.round().max(0.0) as u64;
        PhaseJson { from: phase.from.to_string(), to: phase.to.to_string(), jobs, by, limit }
    }
}

/// In one word, as metrics have it, and as the configuration would say it.
fn decided(limits: &Limits, by: By) -> (&'static str, String) {
    match by {
        By::Nothing => ("nothing", String::new()),
        By::Rate(rate) => ("rate", rate_text(rate)),
        By::Scheduled(rate) => ("rate", format!("{} by its schedule", rate_text(rate))),
        By::Shared(number) => {
            let rate = limits.shared.get(number).map(|bucket| rate_text(bucket.rate));
            ("rate", format!("{} of a shared limit", rate.unwrap_or_default()))
        }
        By::Concurrency => ("concurrency", format!("max_concurrent = {}", limits.concurrency.max)),
        By::Window(number) => {
            let window = limits.windows.get(number);
            let rate = window.and_then(|window| Rate::new(window.count, window.width));
            ("window", rate.map(rate_text).unwrap_or_default())
        }
        By::Quota(number) => {
            let text = limits.quotas.get(number).map(|left| {
                let quota = &left.quota;
                format!("{} a {} in {}", quota.count, quota.per.as_str(), quota.zone)
            });
            ("quota", text.unwrap_or_default())
        }
        By::Closed => ("closed", "closed by its schedule".to_owned()),
        By::Hold(hold) => (held(hold), because(hold).to_owned()),
    }
}

fn held(hold: Hold) -> &'static str {
    match hold {
        // It waits until the configuration names it again.
        Hold::Paused | Hold::NotConfigured => "paused",
        Hold::Refused => "refused",
        Hold::Breaker => "breaker",
        Hold::Draining => "draining",
    }
}

fn because(hold: Hold) -> &'static str {
    match hold {
        Hold::Paused => "the target is paused",
        Hold::Refused => "the target asked for a pause, or could not be reached",
        Hold::Breaker => "the breaker is open",
        Hold::Draining => "the daemon is draining",
        Hold::NotConfigured => "the configuration does not name the target any more",
    }
}

fn never(limits: &Limits) -> &'static str {
    match limits.gate {
        Gate::Shut(hold) => because(hold),
        Gate::Open | Gate::Until(..) => "not within ten years, as its limits are",
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::broker::calendar::{Per, Quota, Zone};
    use crate::broker::forecast::{Bucket, QuotaLeft, Window};

    #[test]
    fn each_limit_is_called_as_it_is_configured() {
        let few = |n| NonZeroU32::new(n).unwrap();
        let rate = |n, secs| Rate::new(few(n), Duration::from_secs(secs)).unwrap();
        let view = crate::admin::tests::target_view();
        let mut limits = (*view.forecast).clone();
        limits.shared = vec![Bucket { rate: rate(12, 1), burst: few(1), tokens: 0.0 }];
        let width = Duration::from_secs(60);
        limits.windows = vec![Window { count: few(100), width, reserve: 0, taken: Vec::new() }];
        let quota = Quota { count: few(20_000), per: Per::Day, zone: Zone::utc() };
        limits.quotas = vec![QuotaLeft { quota, left: 0, reserve: 0 }];
        for (by, expected) in [
            (By::Rate(rate(10, 1)), ("rate", "10/s")),
            (By::Scheduled(rate(5, 1)), ("rate", "5/s by its schedule")),
            (By::Shared(0), ("rate", "12/s of a shared limit")),
            (By::Concurrency, ("concurrency", "max_concurrent = 4")),
            (By::Window(0), ("window", "100/min")),
            (By::Quota(0), ("quota", "20000 a day in UTC")),
            (By::Closed, ("closed", "closed by its schedule")),
            (By::Hold(Hold::Breaker), ("breaker", "the breaker is open")),
        ] {
            let (word, text) = decided(&limits, by);
            assert_eq!((word, text.as_str()), expected);
        }
    }
}
