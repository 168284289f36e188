//! One target: what it can bear, what is under way there, and why nothing more is.

use std::time::Duration;

use super::change::{Counts, RecoveredTarget, Turn};
use super::fair::Clocks;
use super::group::OnGroupFailure;
use super::io::{BlockedOn, TargetView};
use super::job::{JobId, Priority, TargetId};
use super::limit::Bucket;
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

/// Configured, with what is left of its limit.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) policy: Policy,
    pub(super) bucket: Bucket,
}

#[derive(Debug)]
pub(super) struct Target {
    pub(super) id: TargetId,
    name: String,
    /// `None`: its jobs wait until the configuration names it again.
    pub(super) live: Option<Live>,
    pub(super) counts: Counts,
    pub(super) clocks: Clocks,
    pub(super) lines: Lines,
    pub(super) armed: Vec<Armed>,
    /// Armed ones and those that are sent.
    pub(super) in_flight: u32,
    pub(super) paused: bool,
    /// As it was last configured.
    pub(super) on_group_failure: OnGroupFailure,
    hold: Hold,
    blocked: Option<(BlockedOn, Option<Mono>)>,
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
            clocks: found.clocks,
            lines,
            armed: Vec::new(),
            in_flight: 0,
            paused: found.paused,
            on_group_failure: OnGroupFailure::default(),
            hold: Hold::default(),
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
        if let Some(policy) = &policy {
            self.on_group_failure = policy.on_group_failure;
        }
        self.live = match (policy, self.live.take()) {
            (None, _) => None,
            (Some(policy), None) => {
                // A wall clock that was set forward and back may have left a hold of years.
                self.hold.until = self.hold.until.min(now + policy.retry.max_backoff);
                Some(Live { bucket: Bucket::empty(&policy.limit, now), policy })
            }
            (Some(policy), Some(old)) if policy.limit == old.policy.limit => {
                Some(Live { policy, ..old })
            }
            (Some(policy), Some(old)) => {
                Some(Live { bucket: old.bucket.reconfigured(&policy.limit, now), policy })
            }
        };
    }

    /// Why nothing can be started however many tokens there are, and until when.
    pub(super) fn closed(&self, now: Mono, draining: bool) -> Option<(BlockedOn, Option<Mono>)> {
        if draining {
            Some((BlockedOn::Draining, None))
        } else if self.paused || self.live.is_none() {
            Some((BlockedOn::Paused, None))
        } else if self.hold.until > now {
            Some((BlockedOn::Refused, Some(self.hold.until)))
        } else {
            None
        }
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
    pub(super) fn note_blocked(&mut self, blocked: Option<(BlockedOn, Option<Mono>)>, now: Mono) {
        if let Some((on, _)) = self.blocked {
            self.blocked_for[on as usize] += now.since(self.blocked_since);
        }
        self.blocked = blocked;
        self.blocked_since = now;
    }

    pub(super) fn view(&self, oldest: [Option<super::time::Wall>; 3], now: Mono) -> TargetView {
        let mut blocked_for = self.blocked_for;
        if let Some((on, _)) = self.blocked {
            blocked_for[on as usize] += now.since(self.blocked_since);
        }
        TargetView {
            id: self.id,
            name: self.name.clone(),
            policy: self.live.as_ref().map(|live| live.policy.clone()),
            counts: self.counts.clone(),
            oldest,
            in_flight: self.in_flight,
            paused: self.paused,
            blocked: self.blocked,
            blocked_for,
        }
    }
}
