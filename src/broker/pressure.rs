//! What a target's answers do to its pace, in one place: the hold after a refusal, what it says is
//! left, the breaker, and the adaptive rate. The target is the unit: one refusal slows all its
//! jobs.
//!
//! | from | does |
//! | --- | --- |
//! | a refusal (429, 503, no connection) | holds the target as long as it asks, else twice as long each time |
//! | nothing left, by [`Hint`] | holds it until the reset |
//! | little left | spreads it until the reset |
//! | failures in a row | open the breaker: one job at a time probes, then a slow start |
//! | refusals by answer, growing latency | lower the rate, where `adaptive` is configured |
//!
//! The rate in force is the lowest of what these allow, and never above the configured one. While
//! the breaker is open its probes set the time: a hold that the target did not ask for would put
//! them off for ever longer.

use std::time::Duration;

use super::adaptive::{self, Adaptive};
use super::breaker::{self, Allowed, Breaker};
use super::hint::{Allowance, Hint};
use super::payload::Outcome;
use super::policy::{Rate, Retry};
use super::retry;
use super::time::Mono;

/// What the owner decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its backoffs bound every hold.
    pub retry: Retry,
    pub breaker: breaker::Settings,
    pub adaptive: Option<adaptive::Settings>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub outcome: Outcome,
    /// Of the answer, if one came.
    pub status: Option<u16>,
    pub hint: Option<Hint>,
    /// What the target asked for with a refusal.
    pub retry_after: Option<Duration>,
    /// From the sending to the end of the answer, or to giving up.
    pub latency: Duration,
}

/// Why nothing may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The target asked for a pause, could not be reached, or said that nothing is left.
    Refused,
    Breaker,
}

/// What a refusal costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its job waits so long at least.
    pub job: Duration,
    /// The target is held until then, by this refusal or by an earlier one.
    pub until: Mono,
}

/// By how much a target is held longer than the job that it refused: the job is due with the
/// millisecond after, and must be back in line before others go.
const MARGIN: Duration = Duration::from_millis(2);

/// The target refuses: it is left alone for a while.
#[derive(Clone, Copy, Debug, Default)]
struct Hold {
    since: Mono,
    until: Mono,
    /// The part of it that the target asked for.
    asked_until: Mono,
    /// Refusals in a row, those that were under way together counted once.
    streak: u32,
}

/// One target's. See the module.
#[derive(Clone, Debug)]
pub struct Feedback {
    retry: Retry,
    hold: Hold,
    allowance: Allowance,
    breaker: Breaker,
    adaptive: Option<Adaptive>,
}

impl Feedback {
    /// `held_until`: by a refusal of an earlier life.
    pub fn new(settings: &Settings, held_until: Option<Mono>, now: Mono) -> Feedback {
        let until = held_until.unwrap_or(Mono::ZERO);
        let mut feedback = Feedback {
            retry: settings.retry,
            hold: Hold { until, asked_until: until, ..Hold::default() },
            allowance: Allowance::default(),
            breaker: Breaker::new(settings.breaker),
            adaptive: settings.adaptive.as_ref().map(Adaptive::new),
        };
        feedback.bound(now);
        feedback
    }

    /// Another configuration; what was learnt stays, within its bounds.
    pub fn configure(&mut self, settings: &Settings, now: Mono) {
        self.retry = settings.retry;
        self.breaker.configure(settings.breaker, now);
        self.adaptive = settings.adaptive.as_ref().map(|settings| {
            let mut adaptive = self.adaptive.take().unwrap_or_else(|| Adaptive::new(settings));
            adaptive.configure(settings);
            adaptive
        });
        self.bound(now);
    }

    /// The configuration does not name the target any more. What it asked for stays.
    pub(super) fn left_alone(&mut self) {
        self.retry = retry::Rules::WHILE_AWAY.retry;
    }

    /// A wall clock that was set forward and back may have left a hold of years.
    fn bound(&mut self, now: Mono) {
        let longest = now + self.retry.max_backoff + MARGIN;
        self.hold.until = self.hold.until.min(longest);
        self.hold.asked_until = self.hold.asked_until.min(longest);
    }

    /// An attempt begins, while `configured` is allowed. Ask [`Feedback::blocked`] before.
    pub fn on_start(&mut self, now: Mono, configured: Rate) {
        self.breaker.on_start(now);
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.on_start(configured.per_second());
        }
    }

    /// The attempt that began at `began` came to nothing before its request left.
    pub fn on_unsent(&mut self, began: Mono) {
        self.breaker.on_unsent(began);
    }

    /// The attempt that began at `began` has ended. `Some` where it was refused. Not for attempts
    /// that a crash of the broker cut off.
    pub fn on_end(&mut self, now: Mono, began: Mono, seen: &Seen) -> Option<Held> {
        self.breaker.on_end(now, began, breaker::Sign::of(seen.outcome, seen.status));
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.on_end(now, began, sign(seen), seen.latency);
        }
        // `Retry-After` is about this very refusal, and goes before what is said about the quota.
        let hint = seen.hint.filter(|_| seen.retry_after.is_none());
        if let Some(hint) = hint {
            self.allowance.hear(now, began, hint, self.retry.max_backoff);
        }
        if seen.outcome != Outcome::Refused {
            if began >= self.hold.since {
                self.hold.streak = 0;
            }
            return None;
        }
        Some(self.refused(now, began, seen.retry_after, hint))
    }

    fn refused(
        &mut self,
        now: Mono,
        began: Mono,
        retry_after: Option<Duration>,
        hint: Option<Hint>,
    ) -> Held {
        let fresh = began >= self.hold.since || self.hold.streak == 0;
        if fresh {
            self.hold.since = now;
            self.hold.streak = self.hold.streak.saturating_add(1);
        }
        let reset = hint.filter(|hint| hint.remaining == 0).map(|hint| hint.reset_in);
        let reset = reset.map(|reset| reset.min(self.retry.max_backoff));
        let job = retry::hold(&self.retry, self.hold.streak, retry_after);
        // Nothing left: not before the reset, but a hint shortens no hold.
        let job = job.max(reset.unwrap_or_default());
        self.hold.until = self.hold.until.max(now + job + MARGIN);
        if retry_after.is_some() || reset.is_some() {
            self.hold.asked_until = self.hold.asked_until.max(now + job + MARGIN);
        }
        Held { job, until: self.hold.until }
    }

    /// Why nothing may start now; and until when, where that is known. While a probe is under way
    /// it is until its end.
    pub fn blocked(&self, now: Mono) -> Option<(Reason, Option<Mono>)> {
        let (probe_at, hold) = match self.breaker.allows(now) {
            Allowed::Not { until: None } => return Some((Reason::Breaker, None)),
            Allowed::Not { until } => (until, self.hold.asked_until),
            Allowed::Probe => (None, self.hold.asked_until),
            Allowed::Yes => (None, self.hold.until),
        };
        let held = Some(hold).filter(|until| *until > now).max(self.allowance.spent_until(now));
        match (held, probe_at) {
            (Some(held), probe_at) if probe_at.is_none_or(|probe| held >= probe) => {
                Some((Reason::Refused, Some(held)))
            }
            (_, Some(probe)) => Some((Reason::Breaker, Some(probe))),
            _ => None,
        }
    }

    /// The rate at which requests may go, where `configured` are allowed by configuration and
    /// schedule; never above that. Burst is the caller's: while this is below `configured`, a burst
    /// of one is what the target can be expected to bear.
    pub fn rate_in_force(&self, now: Mono, configured: Rate) -> Rate {
        let full = configured.per_second();
        let mut rate = full * self.breaker.factor(now);
        if let Some(adaptive) = &self.adaptive {
            rate = rate.min(adaptive.rate(full));
        }
        if let Some(pace) = self.allowance.pace(now) {
            rate = rate.min(pace);
        }
        if rate < full { at_most(rate).unwrap_or(configured) } else { configured }
    }

    /// When [`Feedback::rate_in_force`] or [`Feedback::blocked`] change next if nothing happens
    /// until then.
    pub fn changes_at(&self, now: Mono) -> Option<Mono> {
        let blocked = self.blocked(now).and_then(|(_, until)| until);
        let rate = [self.breaker.changes_at(now), self.allowance.ends_at(now)];
        rate.into_iter().flatten().chain(blocked).min()
    }

    pub fn breaker(&self, now: Mono) -> breaker::View {
        self.breaker.view(now)
    }

    /// For `tollgate_breaker_open`.
    pub fn breaker_is_open(&self) -> bool {
        self.breaker.is_open()
    }
}

fn sign(seen: &Seen) -> adaptive::Sign {
    match (seen.outcome, seen.status) {
        (Outcome::Refused, Some(_)) => adaptive::Sign::Refused,
        (Outcome::Refused, None) => adaptive::Sign::Unreached,
        (_, Some(_)) => adaptive::Sign::Taken,
        (_, None) => adaptive::Sign::Silent,
    }
}

/// The rate of so many a second, rounded down.
fn at_most(per_second: f64) -> Option<Rate> {
    // A thousand at a time, so that nanoseconds are fine enough for a million a second.
    let count: u32 = if per_second < 1e-3 { 1 } else { 1_000 };
    let per = Duration::try_from_secs_f64(f64::from(count) / per_second).ok()?;
    let per = (per + Duration::from_nanos(1)).min(Duration::from_secs(10 * 366 * 86_400));
    Rate::new(count.try_into().ok()?, per)
}

#[cfg(test)]
mod tests;
