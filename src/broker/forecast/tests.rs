//! Estimates against a simulation that starts job by job, and by hand.

mod against_brute_force;
mod brute;
mod by_hand;

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Bucket, Concurrency, Gate, Limits, QuotaLeft, Window};
use crate::broker::calendar::{Entry, Per, Quota, Rule, Schedule, Zone};
use crate::broker::policy::Rate;
use crate::broker::time::Wall;

fn few(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn rate(count: u32, seconds: u64) -> Rate {
    Rate::new(few(count), Duration::from_secs(seconds)).unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Monday 2026-06-01T08:00:00Z.
fn now() -> Wall {
    Wall::EPOCH + secs(1_780_300_800)
}

/// So fast, and nothing else.
fn only(rate: Rate) -> Limits {
    Limits {
        now: now(),
        gate: Gate::Open,
        bucket: Bucket { rate, burst: few(1), tokens: 0.0 },
        shared: Vec::new(),
        windows: Vec::new(),
        quotas: Vec::new(),
        concurrency: Concurrency { max: few(10), in_flight: 0, mean: None },
        schedule: Schedule::default(),
        lasting: Duration::ZERO,
        max_deferrals: few(20),
    }
}

fn window(count: u32, width: Duration) -> Window {
    Window { count: few(count), width, reserve: 0, taken: Vec::new() }
}

fn a_day(count: u32, left: u32) -> QuotaLeft {
    let quota = Quota { count: few(count), per: Per::Day, zone: Zone::utc() };
    QuotaLeft { quota, left, reserve: 0 }
}

fn schedule(entries: &[(&str, Rule)]) -> Schedule {
    let entry = |(when, rule): &(&str, Rule)| Entry {
        when: when.parse().unwrap(),
        zone: Zone::utc(),
        rule: *rule,
    };
    Schedule::new(entries.iter().map(entry).collect())
}
