use std::time::Duration;

use super::brute::{Starts, starts};
use super::{few, now, only, rate, schedule, secs};
use crate::broker::calendar::{Per, Quota, Rule, Zone};
use crate::broker::forecast::{
    Bucket, Concurrency, Gate, Hold, Limits, Order, Queued, QuotaLeft, Window, plan, start,
};
use crate::broker::job::Priority;
use crate::broker::time::Wall;

struct Dice(u64);

impl Dice {
    /// From 0 to `sides`, exclusive.
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(sides)).unwrap()
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.roll(u32::try_from(all.len()).unwrap()) as usize].clone()
    }
}

fn policy(dice: &mut Dice) -> (Limits, Queued) {
    let own = rate(dice.one_of(&[1, 3, 10, 50, 200]), dice.one_of(&[1, 1, 1, 10, 60]));
    let mut limits = only(own);
    limits.bucket.burst = few(dice.one_of(&[1, 1, 5, 40]));
    limits.bucket.tokens = f64::from(dice.roll(limits.bucket.burst.get() * 10 + 1)) / 10.0;
    limits.max_deferrals = few(dice.one_of(&[1, 5, 20]));
    if dice.roll(3) == 0 {
        let shared = rate(dice.one_of(&[2, 12, 60]), 1);
        limits.shared.push(Bucket { rate: shared, burst: few(dice.one_of(&[1, 8])), tokens: 0.0 });
    }
    if dice.roll(3) == 0 {
        limits.concurrency = Concurrency {
            max: few(dice.one_of(&[1, 4, 10])),
            in_flight: dice.roll(2),
            mean: Some(Duration::from_millis(dice.one_of(&[20, 250, 3_000]))),
        };
    }
    for _ in 0..dice.roll(3) {
        let count = dice.one_of(&[5, 20, 100, 400]);
        let width = secs(dice.one_of(&[1, 60, 3_600, 86_400]));
        // Of a window of five the last place is a fifth: that is not divided finely enough.
        let reserve = if dice.roll(3) == 0 && count > 5 { count / 5 } else { 0 };
        let mut taken = Vec::new();
        for _ in 0..dice.roll(4) {
            let part = width * dice.roll(100) / 100;
            taken.push((now() + part, dice.roll(count / 3 + 1)));
        }
        limits.windows.push(Window { count: few(count), width, reserve, taken });
    }
    if dice.roll(3) == 0 {
        let count = dice.one_of(&[50, 300, 2_000]);
        let per = dice.one_of(&[Per::Day, Per::Day, Per::Month]);
        let left = dice.roll(count + 1);
        let reserve = if dice.roll(2) == 0 { count / 10 } else { 0 };
        let quota = Quota { count: few(count), per, zone: Zone::utc() };
        limits.quotas.push(QuotaLeft { quota, left, reserve });
    }
    limits.schedule = match dice.roll(5) {
        0 => schedule(&[
            ("daily 08:10-09:00", Rule::Closed),
            ("Mon-Fri 08:00-18:00", Rule::Rate(rate(5, 1))),
        ]),
        1 => schedule(&[
            ("daily 22:00-07:00", Rule::Closed),
            ("Tue 07:00-24:00", Rule::Rate(rate(1, 7))),
        ]),
        2 => schedule(&[("daily 08:02-08:03,08:05-08:10", Rule::Rate(rate(100, 1)))]),
        _ => schedule(&[]),
    };
    limits.lasting = secs(dice.one_of(&[0, 30, 300]));
    if dice.roll(6) == 0 {
        limits.gate = Gate::Until(now() + secs(u64::from(dice.roll(900))), Hold::Refused);
    }
    let queued = [dice.roll(300), dice.roll(900), dice.roll(500)];
    let shape = dice.roll(4);
    let queued = queued.map(|jobs| if shape == 0 { jobs / 20 } else { jobs });
    (limits, queued.map(u64::from))
}

/// Of `nth` jobs, so many more or less may be meant: 3 % and a handful.
fn bounds(started: &[f64], nth: usize) -> Option<(f64, f64)> {
    let near = nth as f64 * 0.03 + 5.0;
    let low = (nth as f64 - near).floor();
    let high = (nth as f64 + near).ceil() as usize;
    let high = *started.get(high - 1)?;
    Some((if low < 1.0 { 0.0 } else { started[low as usize - 1] }, high))
}

fn off(at: Wall) -> f64 {
    at.since(now()).as_secs_f64() * 1_000.0
}

#[test]
fn a_forecast_is_within_a_few_per_cent_of_starting_job_by_job() {
    let (mut looked_at, mut wrong) = (0, Vec::new());
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let (limits, queued) = policy(&mut dice);
        let brute: Starts = starts(&limits, &queued, None, 1_400);
        for priority in Priority::ALL {
            let started = &brute[priority.index()];
            for part in [0.01, 0.1, 0.3, 0.6, 0.9] {
                let nth = (started.len() as f64 * part).ceil() as usize;
                if nth == 0 {
                    continue;
                }
                let Some((low, high)) = bounds(started, nth) else { continue };
                let told = start(&limits, &queued, priority, nth as u64);
                let told = told.map_or(f64::INFINITY, off);
                if told < low - 5_000.0 || told > high + 5_000.0 {
                    let nth = format!("{nth} of {} {priority}", started.len());
                    wrong.push(format!("seed {seed}: {nth}: told {told}, {low} to {high}"));
                }
                looked_at += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {looked_at}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(looked_at > 4_000, "{looked_at}");
}

#[test]
fn a_plan_is_within_a_few_per_cent_of_starting_job_by_job() {
    let (mut looked_at, mut wrong) = (0, Vec::new());
    for seed in 0..150 {
        let mut dice = Dice(1_000_000 + seed);
        let (limits, queued) = policy(&mut dice);
        let order = Order {
            at: now() + secs(u64::from(dice.roll(1_200))),
            priority: dice.one_of(&Priority::ALL),
            jobs: 100 + u64::from(dice.roll(500)),
        };
        // More behind it, so that there is something to compare with.
        let longer = Order { jobs: order.jobs + order.jobs / 10 + 10, ..order };
        let brute = starts(&limits, &queued, Some(longer), 4_000);
        let told = plan(&limits, &queued, order);
        let p = order.priority.index();
        let before = queued[p] as usize;
        for (nth, told) in [(before + 1, told.first), (before + order.jobs as usize, told.last)] {
            let Some((low, high)) = bounds(&brute[p], nth) else { continue };
            let told = told.map_or(f64::INFINITY, off);
            if told < low - 5_000.0 || told > high.max(off(order.at)) + 5_000.0 {
                wrong.push(format!("seed {seed}: {nth} {order:?}: {told}, {low} to {high}"));
            }
            looked_at += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {looked_at}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(looked_at > 180, "{looked_at}");
}
