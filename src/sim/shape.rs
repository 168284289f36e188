//! What kind of world a seed makes. Each world lacks some kinds of trouble, so that the others get
//! far.

use std::num::NonZeroU32;
use std::time::Duration;

use super::disk::Pace;
use super::rng::Rng;
use crate::broker::fair::{FlowKey, Weights};
use crate::broker::group::OnGroupFailure;
use crate::broker::io::Windows;
use crate::broker::policy::{Limit, Policy, Rate, Retry};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) targets: usize,
    /// Trouble ends after this.
    pub(super) horizon: Duration,
    pub(super) windows: Windows,
    pub(super) pace: Pace,
    pub(super) retention: Duration,
    /// Jobs that are submitted before anything else.
    pub(super) backlog: u64,
    /// One batch or command every so often.
    pub(super) calls: Option<Duration>,
    pub(super) moods: Option<Duration>,
    pub(super) crashes: Option<Duration>,
    pub(super) stops: Option<Duration>,
    pub(super) jumps: Option<Duration>,
    pub(super) reloads: Option<Duration>,
    pub(super) drains: Option<Duration>,
    /// Whether callers do more than submit.
    pub(super) commands: bool,
    pub(super) dedup: bool,
    pub(super) timed: bool,
    /// So many groups.
    pub(super) groups: u64,
    /// So many who share each queue.
    pub(super) flows: u64,
    /// Wake-ups are late by up to this.
    pub(super) lateness: Duration,
    /// All targets at a rate of many a second.
    pub(super) fast: bool,
}

impl Shape {
    pub(super) fn random(rng: &mut Rng) -> Shape {
        let long = rng.one_in(8);
        let horizon = match long {
            true => rng.span(600 * SECOND, 3_600 * SECOND),
            false => rng.span(2 * SECOND, 60 * SECOND),
        };
        let fast = !long && rng.one_in(2);
        let big = rng.one_in(6);
        let huge = rng.one_in(40);
        let some = |rng: &mut Rng, one_in: u64, times: u64| {
            let mean = horizon / u32::try_from(rng.between(1, times)).unwrap_or(1);
            rng.one_in(one_in).then_some(mean)
        };
        Shape {
            targets: rng.between(1, 4) as usize,
            horizon,
            windows: if huge {
                Windows { line: rng.pick(&[8, 64]), timers: 64, page: 16, flows: 1 }
            } else if rng.one_in(3) {
                Windows::default()
            } else {
                Windows {
                    line: rng.pick(&[1, 2, 4, 8, 64]),
                    timers: rng.pick(&[1, 4, 16, 64]),
                    page: rng.pick(&[1, 3, 16]),
                    flows: 1,
                }
            },
            pace: Pace {
                least: MS / 10,
                most: rng.pick(&[MS, 2 * MS, 30 * MS]),
                stalls: rng.one_in(3).then(|| rng.between(10, 200)),
            },
            retention: rng.pick(&[10 * SECOND, 600 * SECOND, 3_600 * SECOND]),
            backlog: match (huge, big) {
                (true, _) => rng.between(2_000, 4_000),
                (_, true) => rng.between(200, 800),
                _ => rng.below(30),
            },
            calls: Some(horizon / rng.between(20, 150) as u32),
            moods: some(rng, 2, 30),
            crashes: some(rng, 2, 12),
            stops: some(rng, 3, 10),
            jumps: some(rng, 3, 10),
            reloads: some(rng, 3, 15),
            drains: some(rng, 5, 4),
            commands: rng.one_in(2),
            dedup: rng.one_in(2),
            timed: rng.one_in(2),
            flows: if rng.one_in(2) { rng.pick(&[2, 8, 60]) } else { 0 },
            groups: if rng.one_in(2) { rng.pick(&[1, 3, 20]) } else { 0 },
            lateness: rng.pick(&[Duration::ZERO, MS / 5, 5 * MS]),
            fast,
        }
    }

    /// One target, and no trouble; nobody wants anything.
    pub(super) fn quiet() -> Shape {
        Shape {
            targets: 1,
            horizon: SECOND,
            windows: Windows::default(),
            pace: Pace { least: MS / 10, most: MS, stalls: None },
            retention: 86_400 * SECOND,
            backlog: 0,
            calls: None,
            moods: None,
            crashes: None,
            stops: None,
            jumps: None,
            reloads: None,
            drains: None,
            commands: false,
            dedup: false,
            timed: false,
            groups: 0,
            flows: 0,
            lateness: Duration::ZERO,
            fast: true,
        }
    }

    pub(super) fn policy(&self, rng: &mut Rng) -> Policy {
        let rates: &[(u32, u64)] = if self.fast {
            &[(20, 1), (50, 1), (200, 1), (1_000, 1), (10, 1)]
        } else {
            &[(1, 60), (10, 60), (100, 60), (1, 1), (3, 1), (10, 1), (50, 1)]
        };
        let (count, per) = rng.pick(rates);
        let rate = Rate::new(some(count), Duration::from_secs(per)).expect("a sane rate");
        let min_backoff = match self.horizon > 100 * SECOND {
            // Refusals every few milliseconds, for an hour, show nothing.
            true => 2 * SECOND,
            false => rng.pick(&[10 * MS, 200 * MS, SECOND]),
        };
        let key = FlowKey::new("tenant-0").expect("a key");
        let weight = rng.one_in(2).then(|| (key, some(rng.pick(&[2, 7, 1_000]))));
        Policy {
            limit: Limit {
                rate,
                burst: some(rng.pick(&[1, 1, 1, 2, 5, 50])),
                max_concurrent: some(rng.pick(&[1, 1, 2, 5, 10, 100])),
            },
            retry: Retry {
                max_attempts: some(rng.pick(&[1, 2, 3, 5])),
                min_backoff,
                max_backoff: rng.pick(&[1, 5, 50]) * min_backoff,
                max_retry_duration: rng.pick(&[5 * SECOND, 3_600 * SECOND, 86_400 * SECOND]),
            },
            max_deferrals: some(rng.pick(&[1, 2, 5, 20])),
            max_queued: rng.pick(&[10, 100, 1_000_000, 1_000_000]),
            on_group_failure: rng.pick(&[OnGroupFailure::Continue, OnGroupFailure::Hold]),
            weights: Weights::new(weight),
        }
    }
}

fn some(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}
