//! What held a target back of late, from how long each reason did.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::io::{BlockedOn, TargetView};
use crate::broker::job::TargetId;
use crate::broker::policy::Policy;
use crate::broker::time::Mono;
use crate::handle::View;

use super::rate::rate_text;

type Totals = [Duration; BlockedOn::ALL.len()];

/// Earlier readings of the views' ever-growing totals, so that a hint speaks of the last minute
/// and not of the time before the limits were changed. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent(Arc<Mutex<VecDeque<Sample>>>);

#[derive(Clone, Debug)]
struct Sample {
    at: Mono,
    totals: HashMap<TargetId, Totals>,
}

impl Recent {
    /// Readings are kept this far apart,
    const STEP: Duration = Duration::from_secs(5);
    /// none is older than it must be to look back so far,
    const REACH: Duration = Duration::from_secs(60);
    /// and one that is younger than this says too little.
    const LEAST: Duration = Duration::from_secs(10);

    /// Takes a reading, and gives back the one to compare with.
    pub(super) fn observe(&self, view: &View) -> Since {
        let now = view.now.mono;
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.back().is_none_or(|last| now.since(last.at) >= Recent::STEP) {
            let totals = view.targets.iter().map(|t| (t.id, t.blocked_for)).collect();
            samples.push_back(Sample { at: now, totals });
        }
        while samples.get(1).is_some_and(|second| now.since(second.at) >= Recent::REACH) {
            samples.pop_front();
        }
        match samples.front() {
            Some(first) if now.since(first.at) >= Recent::LEAST => {
                Since { span: now.since(first.at), totals: first.totals.clone() }
            }
            // The views' clock and totals both begin at zero.
            _ => Since { span: now.since(Mono::ZERO), totals: HashMap::new() },
        }
    }
}

/// An earlier reading.
#[derive(Debug)]
pub(super) struct Since {
    span: Duration,
    totals: HashMap<TargetId, Totals>,
}

/// What held a target's jobs back for most of the time lately.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HeldBackBy {
    /// `rate`, `concurrency`, `window`, `quota`, `breaker`, `refused`, `paused`, `closed` or
    /// `draining`.
    #[schema(example = "concurrency")]
    on: &'static str,
    /// For what part of the time, 0 to 1, jobs were ready and this alone kept them.
    share: f64,
    /// Of how many seconds up to now that is the part: about a minute, or less or more where
    /// nobody asked at the right time.
    over_seconds: f64,
    /// The same for people, and what they can do about it.
    hint: String,
}

impl Since {
    /// Less than this share of the time is nothing to speak of.
    const WORTH_SAYING: f64 = 0.05;

    pub(super) fn held_back_by(&self, target: &TargetView) -> Option<HeldBackBy> {
        let before = self.totals.get(&target.id).copied().unwrap_or_default();
        let (on, lately) = BlockedOn::ALL
            .into_iter()
            .zip(target.blocked_for.iter().zip(before))
            .map(|(on, (total, before))| (on, total.saturating_sub(before)))
            .max_by_key(|(_, lately)| *lately)?;
        if self.span.is_zero() {
            return None;
        }
        let share = (lately.as_secs_f64() / self.span.as_secs_f64()).min(1.0);
        (share >= Since::WORTH_SAYING).then(|| HeldBackBy {
            on: on.as_str(),
            share: (share * 1000.0).round() / 1000.0,
            over_seconds: self.span.as_secs_f64().round(),
            hint: hint(on, target.policy.as_ref()),
        })
    }
}

fn hint(on: BlockedOn, policy: Option<&Policy>) -> String {
    match (on, policy.map(|policy| &policy.limit)) {
        (BlockedOn::Rate, Some(limit)) => format!("its rate of {}", rate_text(limit.rate)),
        (BlockedOn::Rate, None) => "its rate".into(),
        (BlockedOn::Concurrency, Some(limit)) => format!(
            "concurrency, not rate: {} under way at a time, and its answers take too long for that \
             to reach {}; raise max_concurrent if the target can bear it",
            limit.max_concurrent,
            rate_text(limit.rate)
        ),
        (BlockedOn::Concurrency, None) => "concurrency, not rate".into(),
        (BlockedOn::Window, _) => "a window of its limit, or of one that it shares".into(),
        (BlockedOn::Quota, _) => "the quota of its limit, or of one that it shares".into(),
        (BlockedOn::Breaker, _) => {
            "its breaker: too many attempts in a row failed, and one job at a time probes".into()
        }
        (BlockedOn::Closed, _) => "its schedule: it is closed".into(),
        (BlockedOn::Refused, _) => {
            "the target: it asked for a pause (429, 503) or could not be reached".into()
        }
        (BlockedOn::Paused, _) => "it is paused; resume it when it may go on".into(),
        (BlockedOn::Draining, _) => "the daemon is draining".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::target_view;
    use crate::broker::time::{Now, Wall};

    const MINUTE: u64 = 60;

    fn view(seconds: u64, rate: u64, concurrency: u64) -> View {
        let mut target = target_view();
        target.blocked_for = [Duration::ZERO; BlockedOn::ALL.len()];
        target.blocked_for[0] = Duration::from_secs(rate);
        target.blocked_for[1] = Duration::from_secs(concurrency);
        let mono = Mono::ZERO + Duration::from_secs(seconds);
        View { now: Now { mono, wall: Wall::EPOCH }, targets: vec![target], limits: Vec::new() }
    }

    fn said(recent: &Recent, view: &View) -> Option<(&'static str, f64, f64)> {
        let said = recent.observe(view).held_back_by(&view.targets[0])?;
        Some((said.on, said.share, said.over_seconds))
    }

    #[test]
    fn the_first_look_speaks_of_all_the_time_there_was() {
        let recent = Recent::default();
        assert_eq!(said(&recent, &view(100, 20, 70)), Some(("concurrency", 0.7, 100.0)));
    }

    #[test]
    fn later_looks_speak_of_the_last_minute() {
        let recent = Recent::default();
        // An hour of concurrency, then only rate.
        for second in 0..=90 {
            recent.observe(&view(3_600 + second, second, 3_600));
        }
        assert_eq!(said(&recent, &view(3_700, 100, 3_600)), Some(("rate", 1.0, 60.0)));
        assert!(recent.0.lock().unwrap().len() <= 14, "memory stays small");
    }

    #[test]
    fn a_rare_look_compares_with_the_one_before() {
        let recent = Recent::default();
        recent.observe(&view(10 * MINUTE, 0, 0));
        recent.observe(&view(60 * MINUTE, 0, 0));
        let late = view(120 * MINUTE, 30 * MINUTE, 0);
        assert_eq!(said(&recent, &late), Some(("rate", 0.5, 3_600.0)));
    }

    #[test]
    fn nothing_is_said_of_an_idle_target() {
        let recent = Recent::default();
        assert_eq!(said(&recent, &view(100, 1, 2)), None);
        assert_eq!(said(&Recent::default(), &view(0, 0, 0)), None);
    }
}
