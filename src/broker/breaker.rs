//! The breaker: a target that fails and fails is left alone, and asked by one job now and then.
//!
//! ```text
//!            so many failures in a row             its probe was answered
//!   closed ────────────────────────────▶ open ──────────────────────────────▶ closed, slow start
//!      ▲                                 ▲  │ no answer: again later               │      │
//!      │                                 └──┘                                      │      │
//!      └───────────── so many answers, so long ─────────────────────────────────────┘      │
//!                                        ▲───────── so many failures in a row ─────────────┘
//! ```
//! What counts ([`Sign::of`]): an `unknown` outcome, and a target that cannot be reached. A 429 or
//! 503 is an answer of a target that lives and asks for slowness; that is what the hold and the
//! adaptive rate are for, so it neither counts nor clears what was counted. `done` and `rejected`
//! clear it.
//!
//! An attempt belongs to the time in which it began: one that began before the breaker opened (or
//! closed) and ends after changes nothing any more, neither as a failure nor as a success.
//!
//! A probe is a real attempt at a real job. If it fails, then as any attempt does: an `unknown`
//! outcome spends one of the job's `max_attempts` and its `delivery` decides, a refused connection
//! spends none. All other jobs wait in line and spend nothing.

use std::num::NonZeroU32;
use std::time::Duration;

use super::payload::Outcome;
use super::time::Mono;

/// `[targets.NAME.breaker]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// So many in a row open it.
    pub failures: NonZeroU32,
    /// From the end of one probe, or from the opening, to the next one.
    pub probe_every: Duration,
}

impl Settings {
    pub const DEFAULT: Settings = Settings {
        failures: match NonZeroU32::new(10) {
            Some(ten) => ten,
            None => NonZeroU32::MIN,
        },
        probe_every: Duration::from_secs(10),
    };
}

/// What an attempt says about the life of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Good,
    Bad,
    /// It lives, and asks for slowness.
    Slow,
}

impl Sign {
    /// `status`: of the answer, if one came.
    pub fn of(outcome: Outcome, status: Option<u16>) -> Sign {
        match (outcome, status) {
            (Outcome::Done | Outcome::Rejected, _) => Sign::Good,
            (Outcome::Refused, Some(_)) => Sign::Slow,
            (Outcome::Refused, None) | (Outcome::Unknown, _) => Sign::Bad,
        }
    }
}

/// What may start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    Yes,
    /// One job, as a probe.
    Probe,
    /// Nothing; `None`: until the probe that is under way ends.
    Not {
        until: Option<Mono>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        slow_start: Option<SlowStart>,
    },
    Open {
        next_probe: Mono,
        /// When the one that is under way began.
        probe: Option<Mono>,
    },
}

/// The share of the rate grows by one part with each good answer, and by no more than one each
/// [`SlowStart::EACH`]: a fast target is not flooded within a moment. A target so slow that answers
/// are rarer than [`SlowStart::LONGEST`] needs none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SlowStart {
    since: Mono,
    answers: u32,
}

impl SlowStart {
    const PARTS: u32 = 20;
    const FIRST: u32 = 2;
    const EACH: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(60);

    fn parts(self, now: Mono) -> u32 {
        let age = now.since(self.since);
        if age >= SlowStart::LONGEST {
            return SlowStart::PARTS;
        }
        let by_time = u32::try_from(age.as_millis() / SlowStart::EACH.as_millis());
        let grown = self.answers.min(by_time.unwrap_or(u32::MAX));
        SlowStart::FIRST.saturating_add(grown).min(SlowStart::PARTS)
    }

    /// When the share grows, if no answer comes until then.
    fn grows_at(self, now: Mono) -> Option<Mono> {
        let parts = self.parts(now);
        if parts >= SlowStart::PARTS {
            return None;
        }
        let longest = self.since + SlowStart::LONGEST;
        let next = parts - SlowStart::FIRST + 1;
        let by_time = self.since + SlowStart::EACH * next;
        Some(if self.answers >= next { by_time.min(longest) } else { longest })
    }
}

/// For people and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Closed { failures: u32 },
    Open { next_probe: Mono },
    Probing { since: Mono },
    SlowStart { percent: u32 },
}

/// One target's. See the module.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    settings: Settings,
    state: State,
    failures: u32,
    /// Attempts that began before then belong to another time.
    from: Mono,
}

impl Breaker {
    pub fn new(settings: Settings) -> Breaker {
        let state = State::Closed { slow_start: None };
        Breaker { settings, state, failures: 0, from: Mono::ZERO }
    }

    /// An open one stays open; it may probe sooner, but not later than was promised.
    pub fn configure(&mut self, settings: Settings, now: Mono) {
        self.settings = settings;
        if let State::Open { next_probe, .. } = &mut self.state {
            *next_probe = (*next_probe).min(now + settings.probe_every);
        }
    }

    pub fn allows(&self, now: Mono) -> Allowed {
        match self.state {
            State::Closed { .. } => Allowed::Yes,
            State::Open { probe: Some(_), .. } => Allowed::Not { until: None },
            State::Open { next_probe, .. } if next_probe > now => {
                Allowed::Not { until: Some(next_probe) }
            }
            State::Open { .. } => Allowed::Probe,
        }
    }

    /// An attempt begins. Ask [`Breaker::allows`] before.
    pub fn on_start(&mut self, now: Mono) {
        if let State::Open { next_probe, probe: probe @ None } = &mut self.state
            && *next_probe <= now
        {
            *probe = Some(now);
        }
    }

    /// The attempt that began at `began` came to nothing before its request left: a probe's place
    /// is free again at once.
    pub fn on_unsent(&mut self, began: Mono) {
        if let State::Open { probe, .. } = &mut self.state
            && *probe == Some(began)
        {
            *probe = None;
        }
    }

    /// The attempt that began at `began` has ended. Not for one that a crash of the broker cut off:
    /// the target has nothing to do with it.
    pub fn on_end(&mut self, now: Mono, began: Mono, sign: Sign) {
        match &mut self.state {
            State::Open { probe, next_probe } => {
                if *probe != Some(began) {
                    return;
                }
                *probe = None;
                if sign == Sign::Bad {
                    *next_probe = now + self.settings.probe_every;
                } else {
                    self.close(now);
                }
            }
            State::Closed { slow_start } => {
                if began < self.from {
                    return;
                }
                match sign {
                    Sign::Good => {
                        self.failures = 0;
                        if let Some(start) = slow_start {
                            start.answers = start.answers.saturating_add(1);
                            if start.parts(now) == SlowStart::PARTS {
                                *slow_start = None;
                            }
                        }
                    }
                    Sign::Slow => {}
                    Sign::Bad => {
                        self.failures = self.failures.saturating_add(1);
                        if let Some(start) = slow_start
                            && start.parts(now) < SlowStart::PARTS
                        {
                            *start = SlowStart { since: now, answers: 0 };
                        }
                        if self.failures >= self.settings.failures.get() {
                            self.open(now);
                        }
                    }
                }
            }
        }
    }

    fn open(&mut self, now: Mono) {
        self.state = State::Open { next_probe: now + self.settings.probe_every, probe: None };
        self.from = now;
    }

    fn close(&mut self, now: Mono) {
        let slow_start = Some(SlowStart { since: now, answers: 0 });
        self.state = State::Closed { slow_start };
        self.failures = 0;
        self.from = now;
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// The share of the rate that is in force: 0.1 to 1.
    pub fn factor(&self, now: Mono) -> f64 {
        match self.state {
            State::Closed { slow_start: Some(start) } => {
                f64::from(start.parts(now)) / f64::from(SlowStart::PARTS)
            }
            State::Closed { slow_start: None } | State::Open { .. } => 1.0,
        }
    }

    /// When [`Breaker::allows`] or [`Breaker::factor`] change if nothing happens until then.
    pub fn changes_at(&self, now: Mono) -> Option<Mono> {
        match self.state {
            State::Closed { slow_start } => slow_start?.grows_at(now),
            State::Open { probe: Some(_), .. } => None,
            State::Open { next_probe, .. } => (next_probe > now).then_some(next_probe),
        }
    }

    pub fn view(&self, now: Mono) -> View {
        match self.state {
            State::Open { probe: Some(since), .. } => View::Probing { since },
            State::Open { next_probe, .. } => View::Open { next_probe },
            State::Closed { slow_start: Some(start) } if start.parts(now) < SlowStart::PARTS => {
                View::SlowStart { percent: start.parts(now) * 100 / SlowStart::PARTS }
            }
            State::Closed { .. } => View::Closed { failures: self.failures },
        }
    }
}

#[cfg(test)]
mod tests;
