//! A target with a limit of its own that nobody is told, in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::{Adaptive, Sign};
use crate::broker::time::Mono;

/// splitmix64.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    /// In `0..1`.
    pub(super) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// All orders of magnitude alike.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.unit())
    }
}

/// How a target counts. Widths in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limiter {
    /// In no stretch of this width more than the rate times the width.
    Sliding(f64),
    /// The same, for widths that begin at whole multiples.
    Fixed(f64),
    /// A token bucket; its size in seconds of its rate.
    Bucket(f64),
    /// It refuses nothing: what is too much waits in line, and takes longer.
    Queue,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) limiter: Limiter,
    /// `(from, limit)`: the true limit a second, and from which second on.
    pub(super) limits: Vec<(f64, f64)>,
    /// Seconds.
    pub(super) end: f64,
    pub(super) configured: f64,
    pub(super) concurrency: usize,
    /// There and back, in seconds; half of it is the way there.
    pub(super) latency: f64,
    /// Each latency is off by up to this share either way.
    pub(super) jitter: f64,
    /// For how many seconds a refusal stops everything: `min_backoff`, or what the target asks.
    pub(super) pause: f64,
    /// This share of answers is a 503 for no reason at all.
    pub(super) faults: f64,
}

impl World {
    pub(super) fn limit(&self, second: f64) -> f64 {
        let past = self.limits.iter().rev().find(|(from, _)| *from <= second);
        past.map_or(0.0, |(_, limit)| *limit)
    }
}

pub(super) trait Law {
    fn on_start(&mut self, _configured: f64) {}
    fn rate(&self, configured: f64) -> f64;
    fn on_end(&mut self, now: Mono, began: Mono, sign: Sign, latency: Duration);
}

impl Law for Adaptive {
    fn on_start(&mut self, configured: f64) {
        Adaptive::on_start(self, configured);
    }
    fn rate(&self, configured: f64) -> f64 {
        Adaptive::rate(self, configured)
    }
    fn on_end(&mut self, now: Mono, began: Mono, sign: Sign, latency: Duration) {
        Adaptive::on_end(self, now, began, sign, latency);
    }
}

/// What everybody does: one more a second each second, half at a refusal. It, too, counts refusals
/// of requests that were under way together once.
pub(super) struct Aimd {
    rate: f64,
    floor: f64,
    cut_at: Mono,
    raised_at: Mono,
}

impl Aimd {
    pub(super) fn new(configured: f64, floor: f64) -> Aimd {
        Aimd { rate: configured, floor, cut_at: Mono::ZERO, raised_at: Mono::ZERO }
    }
}

impl Law for Aimd {
    fn rate(&self, configured: f64) -> f64 {
        self.rate.min(configured)
    }
    fn on_end(&mut self, now: Mono, began: Mono, sign: Sign, _: Duration) {
        match sign {
            Sign::Refused if began >= self.cut_at => {
                self.rate = (self.rate / 2.0).max(self.floor);
                self.cut_at = now;
                self.raised_at = now;
            }
            Sign::Taken if now.since(self.raised_at) >= Duration::from_secs(1) => {
                self.rate += 1.0;
                self.raised_at = now;
            }
            _ => {}
        }
    }
}

/// One second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Second {
    pub(super) limit: f64,
    /// In force at its end.
    pub(super) rate: f64,
    pub(super) taken: u32,
    pub(super) refused: u32,
    /// The longest of the answers that came in it, in seconds.
    pub(super) slowest: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrives,
    Answered { refused: bool },
}

pub(super) fn run(world: &World, law: &mut dyn Law, seed: u64) -> Vec<Second> {
    let mut dice = Dice::new(seed);
    let mut gate = Gate { taken: VecDeque::new(), tokens: 0.0, at: 0.0, free_at: 0.0 };
    let mut seconds = vec![Second::default(); world.end as usize];
    let mut events: BinaryHeap<Reverse<(u64, u64, What, u64)>> = BinaryHeap::new();
    let (mut under_way, mut next, mut held, mut id, mut now) = (0, 0.0, 0.0, 0_u64, 0.0);
    let mut told = 0.0_f64;
    let (mut streak, mut refused_at) = (0_u32, 0.0);
    while now < world.end {
        let rate = law.rate(world.configured);
        for second in &mut seconds[told as usize..now as usize] {
            second.rate = rate;
        }
        told = now;
        let send_at = f64::max(f64::max(next, held), now);
        let event_at = events.peek().map_or(f64::INFINITY, |Reverse((at, ..))| *at as f64 / 1e9);
        if under_way < world.concurrency && send_at <= event_at {
            now = send_at;
            if now >= world.end {
                break;
            }
            // Strictly spaced, as a token bucket of one is.
            next = now + 1.0 / law.rate(world.configured);
            law.on_start(world.configured);
            under_way += 1;
            id += 1;
            let way = world.latency * (1.0 + world.jitter * (2.0 * dice.unit() - 1.0)) / 2.0;
            let sent = nanos(now);
            events.push(Reverse((nanos(now + way), id, What::Arrives, sent)));
            continue;
        }
        let Some(Reverse((at, id, what, sent))) = events.pop() else { break };
        now = at as f64 / 1e9;
        let second = &mut seconds[(now as usize).min(world.end as usize - 1)];
        match what {
            What::Arrives => {
                let limit = world.limit(now);
                second.limit = limit;
                let fault = dice.unit() < world.faults;
                let done = gate.pass(world.limiter, limit, now);
                let refused = fault || done.is_none();
                if refused {
                    second.refused += 1;
                } else {
                    second.taken += 1;
                }
                let mut way = world.latency * (1.0 + world.jitter * (2.0 * dice.unit() - 1.0));
                if dice.unit() < 0.01 {
                    way *= 5.0;
                }
                let answered = done.unwrap_or(now) + way / 2.0;
                events.push(Reverse((nanos(answered), id, What::Answered { refused }, sent)));
            }
            What::Answered { refused } => {
                under_way -= 1;
                let sign = if refused { Sign::Refused } else { Sign::Taken };
                let latency = Duration::from_nanos(at - sent);
                second.slowest = second.slowest.max(latency.as_secs_f64());
                law.on_end(Mono::from_nanos(at), Mono::from_nanos(sent), sign, latency);
                // As the core holds a target: twice as long for each refusal in a row, those
                // that were under way together counted once.
                let began = sent as f64 / 1e9;
                if refused && (began >= refused_at || streak == 0) {
                    streak += 1;
                    refused_at = now;
                } else if !refused && began >= refused_at {
                    streak = 0;
                }
                if refused {
                    let doubled = world.pause * f64::from(1_u32 << (streak - 1).min(20));
                    held = f64::max(held, now + doubled.min(300.0));
                }
            }
        }
    }
    let rate = law.rate(world.configured);
    seconds[told as usize..].iter_mut().for_each(|second| second.rate = rate);
    seconds
}

/// Where the target counts.
struct Gate {
    taken: VecDeque<f64>,
    tokens: f64,
    at: f64,
    free_at: f64,
}

impl Gate {
    /// When the work is done; `None`: refused.
    fn pass(&mut self, limiter: Limiter, limit: f64, now: f64) -> Option<f64> {
        match limiter {
            Limiter::Sliding(width) => {
                while self.taken.front().is_some_and(|at| now - at >= width) {
                    self.taken.pop_front();
                }
                let free = (self.taken.len() as f64) < limit * width;
                if free {
                    self.taken.push_back(now);
                }
                free.then_some(now)
            }
            Limiter::Fixed(width) => {
                let window = (now / width).floor();
                if window > self.at {
                    self.at = window;
                    self.tokens = 0.0;
                }
                let free = self.tokens < (limit * width).floor();
                self.tokens += if free { 1.0 } else { 0.0 };
                free.then_some(now)
            }
            Limiter::Bucket(size) => {
                let gained = (now - self.at) * limit;
                self.tokens = (self.tokens + gained).min((limit * size).max(1.0));
                self.at = now;
                let free = self.tokens >= 1.0;
                self.tokens -= if free { 1.0 } else { 0.0 };
                free.then_some(now)
            }
            Limiter::Queue => {
                self.free_at = self.free_at.max(now) + 1.0 / limit;
                Some(self.free_at)
            }
        }
    }
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
