//! The limits played forward, from bend to bend.
//!
//! At any time the jobs that wait flow as fast as the tightest limit lets them: an empty token
//! bucket lets pass what is filled in, a ceiling that is reached what it rises by, and where
//! nothing holds them they start at once. The next bend is where any of that changes.

use std::time::Duration;

use super::Queued;
use super::ceiling::{Calendar, Curve, Height, Sliding, millis};
use super::limits::{Gate, Limits};
use super::phases::By;
use super::plan::Order;
use crate::broker::calendar::{Moment, Rule};
use crate::broker::job::Priority;
use crate::broker::time::Wall;

/// Nothing is foreseen past it: ten years, in milliseconds.
const HORIZON: f64 = 3_653.0 * 86_400_000.0;
/// Bends at most; far more than any real policy has within the horizon.
const MOST_STEPS: u32 = 250_000;
/// A window that would be filled so often is taken for the rate that it comes to; the error is
/// less than one in so many.
const OFTEN: f64 = 500.0;
/// A job is not divided finer, nor is a millisecond.
const BIT: f64 = 1e-6;
const TICK: f64 = 1e-3;

/// What is to be done.
pub(super) struct Work {
    pub(super) queued: Queued,
    /// More, later; behind those of its priority.
    pub(super) order: Option<Order>,
}

/// When the `nth` job of a priority starts; of none, at once.
pub(super) struct Mark {
    priority: Priority,
    nth: f64,
    pub(super) at: Option<Wall>,
}

impl Mark {
    #[allow(clippy::cast_precision_loss)] // an estimate
    pub(super) fn new(priority: Priority, nth: u64) -> Mark {
        Mark { priority, nth: nth as f64, at: None }
    }
}

/// From one bend to the next; at once where both are the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) from: Wall,
    pub(super) to: Wall,
    /// Jobs that start, by priority.
    pub(super) starts: [f64; 3],
    pub(super) by: By,
}

struct Level {
    /// A millisecond: for all; while no HIGH waits.
    rate: f64,
    low_rate: f64,
    burst: f64,
    tokens: f64,
    by: By,
}

pub(super) struct Course<'a> {
    limits: &'a Limits,
    at: f64,
    starts: f64,
    waiting: [f64; 3],
    started: [f64; 3],
    /// Priority, when and how many.
    coming: Option<(Priority, f64, f64)>,
    levels: Vec<Level>,
    sliding: Vec<Sliding>,
    calendar: Vec<Calendar<'a>>,
    curve: Curve,
    moment: Moment,
    moment_ends: f64,
    mixed: bool,
}

impl<'a> Course<'a> {
    #[allow(clippy::cast_precision_loss)] // an estimate
    pub(super) fn new(limits: &'a Limits, work: &Work) -> Course<'a> {
        let coming = work
            .order
            .map(|order| (order.priority, millis(order.at.since(limits.now)), order.jobs as f64));
        let waiting = work.queued.map(|jobs| jobs as f64);
        let all = waiting.iter().sum::<f64>() + coming.map_or(0.0, |(_, _, jobs)| jobs);
        let mut course = Course {
            limits,
            at: 0.0,
            starts: 0.0,
            waiting,
            started: [0.0; 3],
            coming,
            levels: levels(limits),
            sliding: Vec::new(),
            calendar: Vec::new(),
            curve: Curve::new(),
            moment: Moment { rule: Rule::Default, until: None },
            moment_ends: 0.0,
            mixed: true,
        };
        let mean = limits.concurrency.mean.unwrap_or_default();
        for (number, window) in limits.windows.iter().enumerate() {
            let sliding = Sliding::new(window, number, limits.now, mean);
            if all > OFTEN * sliding.count() {
                let (rate, low_rate, tokens) = sliding.in_the_long_run();
                let by = sliding.by();
                course.levels.push(Level { rate, low_rate, burst: sliding.count(), tokens, by });
            } else {
                course.sliding.push(sliding);
            }
        }
        for (number, left) in limits.quotas.iter().enumerate() {
            course.calendar.push(Calendar::new(left, number, limits.now));
        }
        course
    }

    /// Until all marks are passed, or it cannot go on. Tells every step.
    pub(super) fn run(mut self, marks: &mut [Mark], mut tell: impl FnMut(&Step)) {
        for mark in marks.iter_mut().filter(|mark| mark.nth <= 0.0) {
            mark.at = Some(self.limits.now);
        }
        for _ in 0..MOST_STEPS {
            if marks.iter().all(|mark| mark.at.is_some()) || self.at > HORIZON {
                return;
            }
            let (from, before) = (self.at, self.started);
            let Some(by) = self.step() else { return };
            let starts = [0, 1, 2].map(|p| self.started[p] - before[p]);
            for mark in marks.iter_mut().filter(|mark| mark.at.is_none()) {
                let p = mark.priority.index();
                if self.started[p] + BIT < mark.nth {
                    continue;
                }
                let part = ((mark.nth - before[p]) / starts[p].max(BIT)).clamp(0.0, 1.0);
                mark.at = Some(self.wall(from + part * (self.at - from)));
            }
            tell(&Step { from: self.wall(from), to: self.wall(self.at), starts, by });
        }
    }

    fn wall(&self, at: f64) -> Wall {
        self.limits.now + Duration::from_secs_f64(at.clamp(0.0, 2.0 * HORIZON) / 1_000.0)
    }

    /// To the next bend; `None` where there is none.
    fn step(&mut self) -> Option<By> {
        if let Some((priority, _, jobs)) = self.coming.filter(|(_, at, _)| *at <= self.at) {
            self.waiting[priority.index()] += jobs;
            self.coming = None;
        }
        let mut bend = self.coming.map_or(f64::INFINITY, |(_, at, _)| at);
        if self.waiting.iter().sum::<f64>() <= BIT {
            return self.wait(bend, By::Nothing);
        }
        match self.limits.gate {
            Gate::Shut(hold) => return self.wait(f64::INFINITY, By::Hold(hold)),
            Gate::Until(until, hold) if millis(until.since(self.limits.now)) > self.at => {
                return self.wait(bend.min(millis(until.since(self.limits.now))), By::Hold(hold));
            }
            Gate::Until(..) | Gate::Open => {}
        }
        self.look_at_the_schedule();
        bend = bend.min(self.moment_ends);
        if self.moment.rule == Rule::Closed {
            return self.wait(bend, By::Closed);
        }
        self.flow(bend)
    }

    fn look_at_the_schedule(&mut self) {
        if self.moment_ends > self.at {
            return;
        }
        let moment = self.limits.schedule.for_request(self.wall(self.at), self.limits.lasting);
        self.moment = moment;
        self.moment_ends = moment.until.map_or(f64::INFINITY, |until| {
            // Ahead in any case, whatever floats make of it.
            millis(until.since(self.limits.now)).max(self.at + TICK)
        });
        let own = &mut self.levels[0];
        let (rate, by) = match moment.rule {
            Rule::Rate(rate) => (rate, By::Scheduled(rate)),
            Rule::Default | Rule::Closed => {
                (self.limits.bucket.rate, By::Rate(self.limits.bucket.rate))
            }
        };
        let rate = rate.per_second() / 1_000.0;
        (own.rate, own.low_rate, own.by) = (rate, rate, by);
    }

    /// Nothing starts until `bend`.
    fn wait(&mut self, bend: f64, by: By) -> Option<By> {
        if !bend.is_finite() {
            return None;
        }
        self.go(bend, 0.0, [0.0; 3]);
        Some(by)
    }

    fn flow(&mut self, mut bend: f64) -> Option<By> {
        let high = self.waiting[0] > BIT;
        let lower = self.waiting[1] + self.waiting[2] > BIT;
        let mut heights: Vec<Height> = Vec::with_capacity(4);
        for sliding in &mut self.sliding {
            heights.push(sliding.height(self.at, &self.curve));
        }
        for calendar in &mut self.calendar {
            heights.push(calendar.height(self.at, self.starts, self.limits.now));
        }
        // While HIGH waits it may use everything, and the others what is not kept for HIGH. A
        // lower job needs a whole place.
        let least = if self.mixed { BIT } else { 1.0 - 2.0 * BIT };
        let room = |height: &Height| height.at - self.starts - height.reserve;
        let kept = |height: &&Height| height.reserve > 0.0;
        self.mixed =
            lower && (!high || heights.iter().filter(kept).all(|height| room(height) > least));
        if high && lower && !self.mixed {
            for height in heights.iter().filter(kept).filter(|height| room(height) <= least) {
                bend = bend.min(height.bend.max(self.at + TICK));
            }
        }

        let (mut speed, mut by) = (f64::INFINITY, By::Nothing);
        let mut slower = |other: f64, because: By| {
            if other < speed {
                (speed, by) = (other, because);
            }
        };
        for level in self.levels.iter().filter(|level| level.tokens <= BIT) {
            slower(level.speed(high), level.by);
        }
        for height in &mut heights {
            if !high {
                height.at -= height.reserve;
            }
            let slack = height.at - self.starts;
            if slack < -0.5 {
                slower(0.0, height.by);
            } else if slack <= BIT {
                slower(height.slope, height.by);
            }
        }
        let shares = self.shares(high);
        if speed.is_infinite() {
            return Some(self.jump(&heights, shares));
        }

        if speed <= 0.0 {
            // Each of those that are reached must rise first; what the others do does not matter.
            let reached = heights.iter().filter(|height| height.at - self.starts <= BIT);
            let risen = reached.map(|height| height.next(self.at, self.starts, 0.0));
            return self.wait(bend.min(risen.fold(self.at + TICK, f64::max)), by);
        }
        for level in &self.levels {
            let falls = speed - level.speed(high);
            if level.tokens > BIT && falls > 0.0 {
                bend = bend.min(self.at + level.tokens / falls);
            }
        }
        for height in &heights {
            bend = bend.min(height.next(self.at, self.starts, speed));
            if self.mixed && high && height.reserve > 0.0 {
                let low = Height { at: height.at - height.reserve, ..*height };
                bend = bend.min(low.next(self.at, self.starts, speed));
            }
        }
        for (waiting, share) in self.waiting.iter().zip(shares) {
            if share * speed > 0.0 {
                bend = bend.min(self.at + waiting / (share * speed));
            }
        }
        if !bend.is_finite() {
            return None;
        }
        self.go(bend.max(self.at + TICK), speed, shares);
        Some(by)
    }

    /// How the flow divides: each lower head goes after `max_deferrals` higher ones.
    fn shares(&self, high: bool) -> [f64; 3] {
        let passed = f64::from(self.limits.max_deferrals.get());
        let mut shares = [0.0; 3];
        let mut rest = 1.0;
        let may = |p: usize| self.waiting[p] > BIT && (p == 0 || !high || self.mixed);
        for p in [2, 1, 0] {
            if !may(p) {
                continue;
            }
            let above = (0..p).any(may);
            shares[p] = if above { rest / (passed + 1.0) } else { rest };
            rest -= shares[p];
        }
        shares
    }

    /// As many as start at once.
    fn jump(&mut self, heights: &[Height], shares: [f64; 3]) -> By {
        let mut most = f64::INFINITY;
        let tokens = self.levels.iter().map(|level| (level.tokens, level.by));
        let slacks = heights.iter().map(|height| (height.at - self.starts, height.by));
        let mut by = self.levels[0].by;
        for (room, because) in tokens.chain(slacks) {
            if room < most {
                (most, by) = (room, because);
            }
        }
        if self.mixed && shares[0] > 0.0 {
            for height in heights.iter().filter(|height| height.reserve > 0.0) {
                most = most.min(height.at - self.starts - height.reserve);
            }
        }
        for (waiting, share) in self.waiting.iter().zip(shares) {
            if share > 0.0 {
                most = most.min(waiting / share);
            }
        }
        for level in &mut self.levels {
            level.tokens = settled(level.tokens - most);
        }
        self.start(most, shares);
        self.curve.go_to(self.at, self.starts);
        by
    }

    fn go(&mut self, to: f64, speed: f64, shares: [f64; 3]) {
        let took = to - self.at;
        let high = self.waiting[0] > BIT;
        for level in &mut self.levels {
            let tokens = level.tokens + (level.speed(high) - speed) * took;
            level.tokens = settled(tokens).min(level.burst);
        }
        self.at = to;
        self.start(speed * took, shares);
        self.curve.go_to(self.at, self.starts);
    }

    fn start(&mut self, jobs: f64, shares: [f64; 3]) {
        self.starts += jobs;
        for (p, share) in shares.into_iter().enumerate() {
            let started = (jobs * share).min(self.waiting[p]);
            self.waiting[p] = settled(self.waiting[p] - started);
            self.started[p] += started;
        }
    }
}

impl Level {
    fn speed(&self, high: bool) -> f64 {
        if high { self.rate } else { self.low_rate }
    }
}

impl Height {
    /// When it may come to hold back a flow that it does not hold back now, or otherwise than now.
    fn next(&self, at: f64, starts: f64, speed: f64) -> f64 {
        let slack = self.at - starts;
        if slack < -BIT && self.slope > speed {
            return self.bend.min(at - slack / (self.slope - speed));
        }
        let closes = speed - self.slope;
        if slack > BIT && closes > 0.0 && at + slack / closes <= self.bend {
            return at + slack / closes;
        }
        // Past its bend too it does not, until as many are sent as it leaves room for now.
        if speed > 0.0 { self.bend.max(at + slack / speed) } else { self.bend }
    }
}

/// The target's own bucket is the first.
fn levels(limits: &Limits) -> Vec<Level> {
    let mut levels = Vec::new();
    let buckets = std::iter::once(&limits.bucket).chain(&limits.shared);
    for (number, bucket) in buckets.enumerate() {
        let rate = bucket.rate.per_second() / 1_000.0;
        let by = number.checked_sub(1).map_or(By::Rate(bucket.rate), By::Shared);
        let burst = f64::from(bucket.burst.get());
        let tokens = bucket.tokens.clamp(0.0, burst);
        levels.push(Level { rate, low_rate: rate, burst, tokens, by });
    }
    let places = limits.concurrency;
    if let Some(mean) = places.mean.map(millis).filter(|mean| *mean > 0.0) {
        // So many places, each free again after a mean attempt.
        let max = f64::from(places.max.get());
        let tokens = (max - f64::from(places.in_flight)).max(0.0);
        let rate = max / mean;
        levels.push(Level { rate, low_rate: rate, burst: max, tokens, by: By::Concurrency });
    }
    levels
}

/// Without what only arithmetic leaves.
fn settled(amount: f64) -> f64 {
    if amount <= BIT { 0.0 } else { amount }
}
