//! Job by job: slow, simple, and by another road than the forecast.

use crate::broker::calendar::Rule;
use crate::broker::forecast::{Gate, Limits, Order, Queued};
use crate::broker::time::Wall;

/// When each job starts, by priority, in milliseconds from now.
pub(super) type Starts = [Vec<f64>; 3];

struct Bucket {
    per_milli: f64,
    burst: f64,
    tokens: f64,
}

struct Brute<'a> {
    limits: &'a Limits,
    at: f64,
    buckets: Vec<Bucket>,
    /// When the slots of each window are free again.
    windows: Vec<Vec<f64>>,
    /// End of the period, and what is left in it.
    quotas: Vec<(f64, u32)>,
    /// When those under way end.
    running: Vec<f64>,
    queued: Queued,
    passed_over: [u32; 3],
}

fn millis(limits: &Limits, at: Wall) -> f64 {
    at.since(limits.now).as_secs_f64() * 1_000.0
}

/// At most `most` starts, or those of a year.
pub(super) fn starts(
    limits: &Limits,
    queued: &Queued,
    order: Option<Order>,
    most: usize,
) -> Starts {
    let bucket = |bucket: &crate::broker::forecast::Bucket| Bucket {
        per_milli: bucket.rate.per_second() / 1_000.0,
        burst: f64::from(bucket.burst.get()),
        tokens: bucket.tokens,
    };
    let mean = limits.concurrency.mean.map(|mean| mean.as_secs_f64() * 1_000.0);
    let mut brute = Brute {
        limits,
        at: 0.0,
        buckets: std::iter::once(&limits.bucket).chain(&limits.shared).map(bucket).collect(),
        windows: limits
            .windows
            .iter()
            .map(|window| {
                let lots = window.taken.iter();
                lots.flat_map(|(free, n)| vec![millis(limits, *free); *n as usize]).collect()
            })
            .collect(),
        quotas: limits
            .quotas
            .iter()
            .map(|left| (millis(limits, left.quota.period(limits.now).end), left.left))
            .collect(),
        // Under way for a while already, evenly.
        running: (0..limits.concurrency.in_flight)
            .map(|n| {
                mean.unwrap_or(0.0) * f64::from(n + 1) / f64::from(limits.concurrency.max.get())
            })
            .collect(),
        queued: *queued,
        passed_over: [0; 3],
    };
    let mut order = order;
    let mut starts = Starts::default();
    while starts.iter().map(Vec::len).sum::<usize>() < most && brute.at < 366.0 * 86_400_000.0 {
        let mut until = f64::INFINITY;
        if let Some(coming) = order {
            let at = millis(limits, coming.at);
            if at <= brute.at {
                brute.queued[coming.priority.index()] += coming.jobs;
                order = None;
            } else {
                until = at;
            }
        }
        match brute.turn() {
            Ok(Some(p)) => starts[p].push(brute.at),
            Ok(None) if until.is_infinite() => break,
            Ok(None) => brute.advance(until),
            Err(free) => brute.advance(free.min(until)),
        }
    }
    starts
}

impl Brute<'_> {
    /// Starts one (its priority is returned), or says when to look again; `None`: nobody waits.
    fn turn(&mut self) -> Result<Option<usize>, f64> {
        if self.queued.iter().all(|jobs| *jobs == 0) {
            return Ok(None);
        }
        match self.limits.gate {
            Gate::Shut(_) => return Ok(None),
            Gate::Until(until, _) if millis(self.limits, until) > self.at => {
                return Err(millis(self.limits, until));
            }
            _ => {}
        }
        let wall = Wall::from_millis(self.limits.now.as_millis() + self.at.floor() as u64);
        let moment = self.limits.schedule.for_request(wall, self.limits.lasting);
        let change = moment.until.map_or(f64::INFINITY, |until| millis(self.limits, until));
        let rate = match moment.rule {
            Rule::Closed => return Err(change),
            Rule::Rate(rate) => rate,
            Rule::Default => self.limits.bucket.rate,
        };
        self.buckets[0].per_milli = rate.per_second() / 1_000.0;
        for bucket in &self.buckets {
            if bucket.tokens < 1.0 - 1e-9 {
                return Err(change.min(self.at + (1.0 - bucket.tokens) / bucket.per_milli));
            }
        }
        self.running.retain(|end| *end > self.at);
        if self.limits.concurrency.mean.is_some()
            && self.running.len() >= self.limits.concurrency.max.get() as usize
        {
            return Err(self.running.iter().copied().fold(change, f64::min));
        }
        let (mut low, mut next) = (true, change);
        for (window, taken) in self.limits.windows.iter().zip(&mut self.windows) {
            taken.retain(|free| *free > self.at);
            let first = taken.iter().copied().fold(change, f64::min);
            let count = window.count.get() as usize;
            if taken.len() >= count {
                return Err(first);
            }
            if taken.len() + window.reserve as usize >= count {
                low = false;
                next = next.min(first);
            }
        }
        for (left, (end, rest)) in self.limits.quotas.iter().zip(&mut self.quotas) {
            if *end <= self.at {
                let wall = Wall::from_millis(self.limits.now.as_millis() + *end as u64);
                *end = millis(self.limits, left.quota.period(wall).end);
                *rest = left.quota.count.get();
            }
            if *rest == 0 {
                return Err(change.min(*end));
            }
            if *rest <= left.reserve {
                low = false;
                next = next.min(*end);
            }
        }
        let mut chosen = None;
        for p in [2, 1, 0] {
            if self.queued[p] == 0 || (p > 0 && !low) {
                continue;
            }
            chosen = Some(p);
            if p > 0 && self.passed_over[p] >= self.limits.max_deferrals.get() {
                break;
            }
        }
        // Only lower ones wait, and what is left is kept for HIGH.
        let Some(p) = chosen else { return Err(next) };
        self.start(p);
        Ok(Some(p))
    }

    fn start(&mut self, p: usize) {
        for lower in p + 1..3 {
            self.passed_over[lower] += u32::from(self.queued[lower] > 0);
        }
        self.passed_over[p] = 0;
        self.queued[p] -= 1;
        let mean = self.limits.concurrency.mean.map_or(0.0, |mean| mean.as_secs_f64() * 1_000.0);
        for bucket in &mut self.buckets {
            bucket.tokens -= 1.0;
        }
        for (window, taken) in self.limits.windows.iter().zip(&mut self.windows) {
            taken.push(self.at + mean + window.width.as_secs_f64() * 1_000.0);
        }
        for (_, rest) in &mut self.quotas {
            *rest -= 1;
        }
        self.running.push(self.at + mean);
    }

    fn advance(&mut self, to: f64) {
        let to = to.max(self.at + 1e-3);
        for bucket in &mut self.buckets {
            let more = bucket.per_milli * (to - self.at);
            bucket.tokens = (bucket.tokens + more).min(bucket.burst);
        }
        self.at = to;
    }
}
