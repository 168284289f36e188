//! The rate that a target bears, found out: slower on refusals and when answers take longer, back
//! up with care, and then left alone. docs/adaptive.md says why it is made so, and plots it.
//!
//! Additive increase and multiplicative decrease find a limit by hitting it all the time, and
//! pay for it with a refusal and half the rate each time. Here a refusal is a measurement. What the
//! target took just before it is what it bears, so the rate goes there, a little below, and stays.
//! Upward it is tried rarely, in steps that grow while they hold, and back where it came from when
//! one is refused.
//!
//! ```text
//!            refused                    calm for long enough
//!   free ───────────────▶ steady ───────────────────────────▶ climbing ──┐ a step held:
//!                         ▲    │ refused: what was taken                 │ a larger one
//!                         └────┘ lately, a little below                  │
//!                         ▲                                      ◀───────┘
//!                         └──────────────────────────────────────┘
//!                           refused: back to what held
//! ```

mod latency;
mod meter;
#[cfg(test)]
mod plot;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::latency::Latency;
use self::meter::{Recent, Since};
use super::policy::Rate;
use super::time::Mono;

/// What the owner decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// It never goes below this, unless the configured rate is lower still.
    pub min_rate: Rate,
}

/// What an attempt says about the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// An answer: the target took the request.
    Taken,
    /// 429 or 503: not so fast.
    Refused,
    /// No answer in time; it may have been taken.
    Silent,
    /// The target was not reached, which says nothing about its limit.
    Unreached,
}

/// Below the estimate by so much.
const MARGIN: f64 = 0.97;
/// One refusal never takes away more than this leaves.
const DEEPEST: f64 = 0.35;
/// Where nothing was taken since the last refusal there is nothing to measure.
const BLIND: f64 = 0.9;
/// Requests a second that nobody configures.
const MOST: f64 = 1e6;
/// A refusal soon after another one tells of the same full window.
const DEAF: Duration = Duration::from_secs(1);

/// The first step of a climb; each that holds is followed by one twice as large.
const FIRST_STEP: f64 = 0.02;
const LARGEST_STEP: f64 = 0.25;
/// A step has held when what began so long after it is taken.
const STEP: Duration = Duration::from_secs(2);
/// And at least so many requests were made in it.
const STEP_REQUESTS: f64 = 8.0;
/// A climb that is refused within this much of its base has found the old limit again.
const NEAR: f64 = 1.2;
/// A step held for two seconds, which is no proof: a target may forgive a burst.
const HELD: f64 = 0.97;

/// Where less than this share of a level that stood for long was taken, the limit fell.
const FELL: f64 = 0.8;

/// Of the rate must be used, else a step says nothing.
const BUSY: f64 = 0.7;

/// How long the rate is left alone: (time, requests). Soon after a large cut, whose measurement is
/// rough; else so that a climb in vain costs under 1 % of the requests.
const SOON: (Duration, u32) = (Duration::from_secs(4), 20);
const LATER: (Duration, u32) = (Duration::from_secs(20), 150);
/// After climbs in vain: half as long again each time, up to twice.
const MOST_IN_VAIN: u32 = 2;
/// A climb in vain costs the pause that the target asks for: at most 1/20 of the time.
const PAUSES: u32 = 20;

/// After the rate was lowered for latency a queue has to drain before it is judged.
const DRAIN: Duration = Duration::from_secs(6);
const DRAINING: f64 = 0.93;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The configured rate holds.
    Free,
    Steady {
        since: Mono,
        taken: u32,
        patience: (Duration, u32),
    },
    Climbing {
        base: f64,
        held: f64,
        step: f64,
        since: Mono,
        taken: u32,
    },
}

/// The control law of one target. See the module.
#[derive(Clone, Debug)]
pub struct Adaptive {
    floor: f64,
    /// Requests a second, by configuration and schedule.
    configured: f64,
    /// Requests a second; means nothing while free.
    level: f64,
    /// A level that has stood for long; 0 if there is none.
    trusted: f64,
    phase: Phase,
    recent: Recent,
    /// By when they ended.
    done: Recent,
    since_refusal: Since,
    refused_at: Option<Mono>,
    /// Between the last refusal and the next request.
    pause: Option<Duration>,
    in_vain: u32,
    latency: Latency,
}

impl Adaptive {
    pub fn new(settings: &Settings) -> Adaptive {
        Adaptive {
            floor: settings.min_rate.per_second(),
            configured: f64::INFINITY,
            level: f64::INFINITY,
            trusted: 0.0,
            phase: Phase::Free,
            recent: Recent::new(DEAF),
            done: Recent::new(2 * DEAF),
            since_refusal: Since::default(),
            refused_at: None,
            pause: None,
            in_vain: 0,
            latency: Latency::default(),
        }
    }

    /// What was learnt stays.
    pub fn configure(&mut self, settings: &Settings) {
        self.floor = settings.min_rate.per_second();
    }

    /// An attempt starts while `configured` requests a second are allowed.
    pub fn on_start(&mut self, configured: f64) {
        self.configured = configured;
    }

    /// Requests a second, where `configured` are allowed: never more than those.
    pub fn rate(&self, configured: f64) -> f64 {
        match self.phase {
            Phase::Free => configured,
            Phase::Steady { .. } | Phase::Climbing { .. } => {
                self.level.max(self.floor).min(configured)
            }
        }
    }

    /// What is normal for this target; `None` before it is known.
    pub fn usual_latency(&self) -> Option<Duration> {
        self.latency.usual()
    }

    /// An attempt that began at `began` has ended. Its end and its beginning need not be in order
    /// with those of others.
    pub fn on_end(&mut self, now: Mono, began: Mono, sign: Sign, latency: Duration) {
        match sign {
            Sign::Taken => self.taken(now, began),
            Sign::Refused => self.refused(now, began),
            Sign::Silent | Sign::Unreached => {}
        }
        if matches!(sign, Sign::Taken | Sign::Silent) && self.latency.answered(now, began, latency)
        {
            self.slowed(now);
        }
    }

    fn taken(&mut self, now: Mono, began: Mono) {
        self.done.count(now);
        self.recent.count(began);
        self.since_refusal.count(began);
        if let (Some(refused), None) = (self.refused_at, self.pause)
            && began >= refused
        {
            self.pause = Some(began.since(refused));
        }
        let busy = self.recent.per_second(began) >= BUSY * self.level;
        match &mut self.phase {
            Phase::Free => {}
            Phase::Steady { since, taken, patience } => {
                if began < *since {
                    return;
                }
                *taken += 1;
                let pauses = PAUSES * self.pause.unwrap_or_default();
                let calm = began.since(*since) >= patience.0.max(pauses) && *taken >= patience.1;
                let long = began.since(*since) >= LATER.0 && *taken >= LATER.1;
                if long && busy {
                    self.trusted = self.level;
                }
                if calm && busy {
                    let (base, step) = (self.level, FIRST_STEP);
                    self.level = base * (1.0 + step);
                    self.phase = Phase::Climbing { base, held: base, step, since: now, taken: 0 };
                }
            }
            Phase::Climbing { held, step, since, taken, .. } => {
                if began < *since {
                    return;
                }
                *taken += 1;
                let lasted = began.since(*since);
                if lasted < STEP || lasted.as_secs_f64() * self.level < STEP_REQUESTS {
                    return;
                }
                if f64::from(*taken) >= BUSY * self.level * lasted.as_secs_f64() {
                    *held = self.level;
                    *step = (*step * 2.0).min(LARGEST_STEP);
                    self.level *= 1.0 + *step;
                    *since = now;
                } else {
                    *since = began;
                }
                *taken = 0;
            }
        }
    }

    fn refused(&mut self, now: Mono, began: Mono) {
        // One of several that were under way together, or that met the same full window.
        if self.refused_at.is_some_and(|at| began < at + DEAF) {
            return;
        }
        let lately = self.recent.per_second(began);
        let since = self.since_refusal.per_second(began, self.recent.width());
        // A window of a second shows its limit in the last second. A bucket shows it over the whole
        // time since it was last empty, the pause after that refusal included, which a window
        // wastes. Neither is known to be the case: between them lies what both can live with.
        let measured = MARGIN * (lately * since).sqrt();
        let nothing = self.since_refusal.is_nothing();
        let (level, patience) = match self.phase {
            Phase::Free => {
                let all = self.configured.min(MOST);
                (measured.clamp(DEEPEST * all, MARGIN * all), SOON)
            }
            Phase::Climbing { base, held, .. } if !nothing && lately >= BUSY * self.level => {
                if self.level <= base * NEAR {
                    self.in_vain = (self.in_vain + 1).min(MOST_IN_VAIN);
                    (base.max(HELD * held), self.later())
                } else {
                    self.in_vain = 0;
                    let lately = lately.clamp(held, self.level);
                    (MARGIN * (held * lately).sqrt(), self.later())
                }
            }
            Phase::Steady { .. } | Phase::Climbing { .. } => {
                let cut = if nothing { BLIND * self.level } else { measured };
                let mut level = cut.clamp(DEEPEST * self.level, MARGIN * self.level);
                // It was a level too many, and not the limit that fell: half-way back.
                let near = self.trusted < MARGIN * self.level && measured > FELL * self.trusted;
                if near && !nothing {
                    level = level.max(MARGIN * (self.trusted * self.level).sqrt());
                }
                let rough = level < 0.9 * self.level;
                (level, if rough { SOON } else { self.later() })
            }
        };
        self.settle(now, level, patience);
        self.refused_at = Some(now);
        self.pause = None;
        if !nothing {
            self.since_refusal = Since::new(now);
        }
    }

    /// Answers take longer than usual: what the target gets done is what it bears.
    fn slowed(&mut self, now: Mono) {
        let done = self.done.per_second(now);
        let level = match self.phase {
            Phase::Free => DRAINING * done,
            Phase::Climbing { base, held, .. } => {
                self.in_vain = (self.in_vain + 1).min(MOST_IN_VAIN);
                (DRAINING * done).clamp(base, held.max(base))
            }
            Phase::Steady { .. } => {
                (DRAINING * done).clamp(DEEPEST * self.level, DRAINING * self.level)
            }
        };
        self.settle(now, level, self.later());
        self.latency.restart(now + DRAIN);
    }

    fn settle(&mut self, now: Mono, level: f64, patience: (Duration, u32)) {
        self.level = level.max(self.floor);
        self.trusted = self.trusted.min(self.level);
        self.phase = Phase::Steady { since: now, taken: 0, patience };
        // At a slow rate a second holds too few requests to measure by.
        let width = Duration::from_secs_f64((STEP_REQUESTS / self.level).clamp(1.0, 30.0));
        self.recent.widen(width);
    }

    fn later(&self) -> (Duration, u32) {
        let halves = 2 + self.in_vain;
        (LATER.0 * halves / 2, LATER.1 * halves / 2)
    }
}
