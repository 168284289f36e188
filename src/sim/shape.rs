//! What kind of world a seed makes. Each world lacks some kinds of trouble, so that the others get
//! far.

use std::num::NonZeroU32;
use std::time::Duration;

use super::disk::Pace;
use super::rng::Rng;
use crate::broker::calendar::{Entry, Per, Quota, Rule, Schedule, Zone};
use crate::broker::course::Delivery;
use crate::broker::fair::{FlowKey, Weights};
use crate::broker::group::OnGroupFailure;
use crate::broker::io::Windows;
use crate::broker::policy::{
    Bounds, Ceilings, Completion, DeadRetention, Limit, LimitName, Outcomes, Policy, Rate, Reserve,
    Retry, Tempo,
};
use crate::broker::{adaptive, breaker};

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
    /// Of every job; `None`: of each its own.
    pub(super) delivery: Option<Delivery>,
    /// Targets take work on with 202.
    pub(super) asynchronous: bool,
    /// The longest that a request is on its way.
    pub(super) travel: Duration,
    /// The longest that the process takes to send one that was let go.
    pub(super) stutter: Duration,
    /// Of an attempt.
    pub(super) timeout: Duration,
    /// Every target's `hold_after_timeout`: at least as long as requests are on their way.
    pub(super) hold: Duration,
    /// Whether there are hard windows.
    pub(super) ceilings: bool,
    /// Whether rates change in the course of time, and with answers.
    pub(super) tempo: bool,
    /// How many limits targets may share.
    pub(super) shared: u64,
    /// Whether the machine may be restarted with the process, so that only the wall clock is left.
    pub(super) reboots: bool,
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
        let travel = rng.pick(&[MS, MS, MS, 300 * MS, 3 * SECOND]);
        let jumps = some(rng, 3, 10);
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
            jumps,
            reloads: some(rng, 3, 15),
            drains: some(rng, 5, 4),
            commands: rng.one_in(2),
            dedup: rng.one_in(2),
            timed: rng.one_in(2),
            flows: if rng.one_in(2) { rng.pick(&[2, 8, 60]) } else { 0 },
            groups: if rng.one_in(2) { rng.pick(&[1, 3, 20]) } else { 0 },
            lateness: rng.pick(&[Duration::ZERO, MS / 5, 5 * MS]),
            fast,
            delivery: match rng.below(6) {
                0 | 1 => None,
                2 => Some(Delivery::AtLeastOnce),
                3 => Some(Delivery::AtMostOnce),
                // `hold_after_timeout` is told by the wall clock there: one that is set forward
                // while a request is on its way for long makes it too short.
                _ if travel > MS && jumps.is_some() => Some(Delivery::AtMostOnce),
                _ => Some(Delivery::Verify),
            },
            asynchronous: rng.one_in(3),
            travel,
            stutter: rng.pick(&[Duration::ZERO, MS / 5, MS / 5, 500 * MS]),
            timeout: rng.pick(&[10 * SECOND, 10 * SECOND, SECOND]),
            hold: if travel > MS {
                travel.max(rng.pick(&[SECOND, 30 * SECOND]))
            } else {
                rng.pick(&[Duration::ZERO, SECOND, 30 * SECOND])
            },
            ceilings: rng.one_in(2),
            tempo: rng.one_in(5),
            shared: if rng.one_in(3) { rng.between(1, 2) } else { 0 },
            reboots: jumps.is_none() && rng.one_in(2),
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
            delivery: Some(Delivery::AtLeastOnce),
            asynchronous: false,
            travel: MS,
            stutter: Duration::ZERO,
            timeout: 10 * SECOND,
            hold: 30 * SECOND,
            ceilings: false,
            tempo: false,
            shared: 0,
            reboots: false,
        }
    }

    pub(super) fn limit_name(number: u64) -> LimitName {
        LimitName::new(&format!("limit-{number}"))
    }

    fn ceilings(&self, rng: &mut Rng) -> Ceilings {
        if !self.ceilings {
            return Ceilings::default();
        }
        let mut windows: Vec<Rate> = Vec::new();
        for _ in 0..rng.below(4) {
            // With more than a thousand slots the steps are coarse.
            let (count, per) = rng.pick(&[
                (1, 200 * MS),
                (3, 200 * MS),
                (5, SECOND),
                (20, SECOND),
                (10, 5 * SECOND),
                (100, 5 * SECOND),
                (30, 60 * SECOND),
                (2_000, 60 * SECOND),
            ]);
            let rate = Rate::new(some(count), per).expect("a sane rate");
            if windows.iter().all(|other| other.per() != rate.per()) {
                windows.push(rate);
            }
        }
        let reserve_high = Reserve::new(rng.pick(&[0.0, 0.0, 0.2, 0.7])).expect("a share");
        let quota = rng.one_in(3).then(|| Quota {
            count: some(rng.pick(&[3, 20, 200])),
            per: Per::Day,
            zone: Shape::midnight_in(rng.pick(&[3, 3, 20, 600])),
        });
        Ceilings { windows, quota, reserve_high }
    }

    /// A place where it is midnight so many seconds after the world began.
    fn midnight_in(seconds: i32) -> Zone {
        const DAY: i64 = 86_400;
        let began = (super::clocks::WALL / 1_000) as i64;
        let mut offset = DAY - (began + i64::from(seconds)) % DAY;
        if offset > DAY / 2 {
            offset -= DAY;
        }
        let offset = jiff::tz::Offset::from_seconds(offset as i32).expect("a day at most");
        Zone::new(&format!("{offset}"), jiff::tz::TimeZone::fixed(offset))
    }

    fn tempo(&self, rng: &mut Rng) -> Tempo {
        // Breakers of which nobody would notice.
        let never = breaker::Settings { failures: NonZeroU32::MAX, ..breaker::Settings::DEFAULT };
        if !self.tempo {
            return Tempo { breaker: never, ..Tempo::default() };
        }
        let probe_every = rng.pick(&[200 * MS, 5 * SECOND]);
        let opens = breaker::Settings { failures: some(rng.pick(&[1, 3, 10])), probe_every };
        let least = Rate::new(some(1), SECOND).expect("a rate");
        let closed = |rng: &mut Rng| Entry {
            when: "daily 00:00-00:01".parse().expect("times"),
            zone: Shape::midnight_in(rng.pick(&[3, 20])),
            rule: Rule::Closed,
        };
        let entries = if rng.one_in(2) { vec![closed(rng)] } else { Vec::new() };
        Tempo {
            schedule: Schedule::new(entries),
            lasting: rng.pick(&[Duration::ZERO, SECOND]),
            breaker: if rng.one_in(2) { opens } else { never },
            adaptive: rng.one_in(2).then_some(adaptive::Settings { min_rate: least }),
        }
    }

    /// A limit that targets may share.
    pub(super) fn shared_limit(&self, rng: &mut Rng) -> Bounds {
        let limit = self.policy(rng).limit;
        let pace = limit.bounds().pace.filter(|_| !rng.one_in(3));
        let max_concurrent = (!rng.one_in(3)).then_some(limit.max_concurrent);
        Bounds { pace, max_concurrent, ..limit.bounds() }
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
                hold_after_timeout: self.hold,
                ceilings: self.ceilings(rng),
                ..Limit::plain(
                    rate,
                    some(rng.pick(&[1, 1, 1, 2, 5, 50])),
                    some(rng.pick(&[1, 1, 2, 5, 10, 100])),
                )
            },
            tempo: self.tempo(rng),
            share: (0..self.shared).filter(|_| !rng.one_in(4)).map(Shape::limit_name).collect(),
            retry: Retry {
                max_attempts: some(rng.pick(&[1, 2, 3, 5])),
                min_backoff,
                max_backoff: rng.pick(&[1, 5, 50]) * min_backoff,
                max_retry_duration: rng.pick(&[5 * SECOND, 3_600 * SECOND, 86_400 * SECOND]),
            },
            max_deferrals: some(rng.pick(&[1, 2, 5, 20])),
            max_queued: rng.pick(&[10, 100, 1_000_000, 1_000_000]),
            outcomes: Outcomes {
                delivery: self.delivery.unwrap_or_else(|| rng.pick(&Delivery::ALL)),
                completion: Completion {
                    every: rng.pick(&[100 * MS, 2 * SECOND]),
                    timeout: rng.pick(&[5 * SECOND, 600 * SECOND]),
                },
                dead_retention: DeadRetention {
                    age: rng.one_in(6).then(|| rng.pick(&[2 * SECOND, 60 * SECOND])),
                    count: rng.one_in(6).then(|| rng.pick(&[1, 5, 50])),
                    size: rng.one_in(6).then(|| rng.pick(&[10, 200])),
                },
                reject_if_late: rng.one_in(3),
            },
            on_group_failure: rng.pick(&[OnGroupFailure::Continue, OnGroupFailure::Hold]),
            weights: Weights::new(weight),
        }
    }
}

fn some(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}
