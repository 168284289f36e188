//! One target: what it can bear, what is under way there, and why nothing more is.

use std::time::Duration;

use super::change::{Counts, RecoveredTarget, Turn};
use super::io::{BlockedOn, TargetView};
use super::job::{JobId, Priority, TargetId};
use super::limit::Blocked;
use super::lines::Lines;
use super::policy::Policy;
use super::time::{Mono, Now};

/// A start that is on record, or about to be, and whose request has not left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Armed {
    pub(super) job: JobId,
    pub(super) priority: Priority,
    pub(super) turn: Turn,
    pub(super) at: Mono,
    pub(super) durable: bool,
    /// How often it was passed over, in line and since.
    pub(super) passed_over: u32,
    /// The same, by jobs of other targets, under a limit that they share.
    pub(super) passed_by_others: u32,
}

impl Armed {
    /// In which order the armed ones go: one that was passed over as often as may be goes first.
    pub(super) fn rank(&self, max_deferrals: u32) -> Priority {
        if self.passed_over >= max_deferrals { Priority::High } else { self.priority }
    }
}

/// The target refuses: it is left alone for a while.
#[derive(Clone, Copy, Debug, Default)]
struct Hold {
    since: Mono,
    until: Mono,
    /// Refusals in a row, those that were under way together counted once.
    streak: u32,
}

/// Configured.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) policy: Policy,
}

#[derive(Debug)]
pub(super) struct Target {
    pub(super) id: TargetId,
    name: String,
    /// `None`: its jobs wait until the configuration names it again.
    pub(super) live: Option<Live>,
    pub(super) counts: Counts,
    pub(super) lines: Lines,
    pub(super) armed: Vec<Armed>,
    /// Armed ones and those that are sent.
    pub(super) in_flight: u32,
    pub(super) paused: bool,
    hold: Hold,
    /// How often its next job was passed over by higher ones of other targets.
    pub(super) passed_by_others: u32,
    /// When it was last its turn among those that share a limit, by a count of such turns.
    pub(super) last_armed: u64,
    pub(super) last_sent: u64,
    blocked: Option<Blocked>,
    blocked_since: Mono,
    blocked_for: [Duration; BlockedOn::ALL.len()],
    /// Under which the core will look at it again.
    pub(super) wake: Option<Mono>,
}

impl Target {
    /// `window`: headers of each of its lines that memory holds.
    pub(super) fn new(found: RecoveredTarget, window: usize, now: Now) -> Target {
        let lines = Lines::new(&found.counts, window);
        let mut target = Target {
            id: found.id,
            name: found.name,
            live: None,
            counts: found.counts,
            lines,
            armed: Vec::new(),
            in_flight: 0,
            paused: found.paused,
            hold: Hold::default(),
            passed_by_others: 0,
            last_armed: 0,
            last_sent: 0,
            blocked: None,
            blocked_since: now.mono,
            blocked_for: Default::default(),
            wake: None,
        };
        if let Some(until) = found.held_until {
            target.hold.until = now.mono + until.since(now.wall);
        }
        target
    }

    pub(super) fn configure(&mut self, policy: Option<Policy>, now: Mono) {
        if self.live.is_none()
            && let Some(policy) = &policy
        {
            // A wall clock that was set forward and back may have left a hold of years.
            self.hold.until = self.hold.until.min(now + policy.retry.max_backoff);
        }
        self.live = policy.map(|policy| Live { policy });
    }

    /// Why nothing can be started however many tokens there are, and until when.
    pub(super) fn closed(&self, now: Mono, draining: bool) -> Option<Blocked> {
        let (on, until) = if draining {
            (BlockedOn::Draining, None)
        } else if self.paused || self.live.is_none() {
            (BlockedOn::Paused, None)
        } else if self.hold.until > now {
            (BlockedOn::Refused, Some(self.hold.until))
        } else {
            return None;
        };
        Some(Blocked::on(on, until))
    }

    /// How often in a row it would have refused, with an attempt that began at `began`.
    pub(super) fn refused_in_a_row(&self, began: Mono) -> u32 {
        let fresh = began >= self.hold.since || self.hold.streak == 0;
        if fresh { self.hold.streak.saturating_add(1) } else { self.hold.streak }
    }

    /// Returns until when it is held in all.
    pub(super) fn hold(&mut self, now: Mono, until: Mono, streak: u32) -> Mono {
        if streak > self.hold.streak {
            self.hold.since = now;
        }
        self.hold.streak = streak;
        self.hold.until = self.hold.until.max(until);
        self.hold.until
    }

    /// An attempt that began at `began` was not refused.
    pub(super) fn answered(&mut self, began: Mono) {
        if began >= self.hold.since {
            self.hold.streak = 0;
        }
    }

    /// Books the time since the last look under what held it back then, and notes what does now.
    pub(super) fn note_blocked(&mut self, blocked: Option<Blocked>, now: Mono) {
        if let Some(old) = &self.blocked {
            self.blocked_for[old.on as usize] += now.since(self.blocked_since);
        }
        self.blocked = blocked;
        self.blocked_since = now;
    }

    pub(super) fn view(&self, oldest: [Option<super::time::Wall>; 3], now: Mono) -> TargetView {
        let mut blocked_for = self.blocked_for;
        if let Some(blocked) = &self.blocked {
            blocked_for[blocked.on as usize] += now.since(self.blocked_since);
        }
        TargetView {
            id: self.id,
            name: self.name.clone(),
            policy: self.live.as_ref().map(|live| live.policy.clone()),
            counts: self.counts.clone(),
            oldest,
            in_flight: self.in_flight,
            paused: self.paused,
            blocked: self.blocked.as_ref().map(|blocked| (blocked.on, blocked.until)),
            blocked_by: self.blocked.as_ref().and_then(|blocked| blocked.limit.clone()),
            blocked_window: self.blocked.as_ref().and_then(|blocked| blocked.window),
            blocked_for,
        }
    }
}
