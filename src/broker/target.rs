//! One target: what it can bear, what is under way there, and why nothing more is.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::alarms::Wake;
use super::calendar::{Moment, Rule};
use super::change::{Counts, RecoveredTarget, Turn};
use super::fair::Clocks;
use super::group::OnGroupFailure;
use super::io::{BlockedOn, TargetView};
use super::job::{JobId, Priority, TargetId};
use super::limit::Blocked;
use super::lines::Lines;
use super::policy::{Pace, Policy, Rate, Retry};
use super::pressure::{self, Feedback, Reason};
use super::time::{Mono, Now, Wall};
use super::{breaker, forecast, retry};

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

/// Configured.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) policy: Policy,
}

/// Before the configuration is known.
const NOT_CONFIGURED: pressure::Settings = pressure::Settings {
    // It may have asked for a longer pause when it was there.
    retry: Retry {
        max_backoff: Duration::from_secs(10 * 366 * 86_400),
        ..retry::Rules::WHILE_AWAY.retry
    },
    breaker: breaker::Settings::DEFAULT,
    adaptive: None,
};

/// What holds without a schedule.
const ALWAYS: Moment = Moment { rule: Rule::Default, until: None };

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
    /// What its answers say about its pace.
    pub(super) feedback: Feedback,
    /// How long an attempt that is answered takes: a smoothed mean.
    pub(super) usually_takes: Option<Duration>,
    /// What its schedule says, from when on and until when.
    scheduled: Option<(Wall, Moment)>,
    /// How often its next job was passed over by higher ones of other targets.
    pub(super) passed_by_others: u32,
    /// When it was last its turn among those that share a limit, by a count of such turns.
    pub(super) last_armed: u64,
    pub(super) last_sent: u64,
    blocked: Option<Blocked>,
    blocked_since: Mono,
    blocked_for: [Duration; BlockedOn::ALL.len()],
    /// Under which the core will look at it again.
    pub(super) wake: Wake,
}

impl Target {
    /// `window`: headers of each of its lines that memory holds.
    pub(super) fn new(found: RecoveredTarget, window: usize, now: Now) -> Target {
        let lines = Lines::new(&found.counts, window);
        Target {
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
            feedback: Feedback::new(
                &NOT_CONFIGURED,
                found.held_until.map(|until| now.mono + until.since(now.wall)),
                now.mono,
            ),
            usually_takes: None,
            scheduled: None,
            passed_by_others: 0,
            last_armed: 0,
            last_sent: 0,
            blocked: None,
            blocked_since: now.mono,
            blocked_for: Default::default(),
            wake: Wake::default(),
        }
    }

    pub(super) fn configure(&mut self, policy: Option<Policy>, now: Mono) {
        if let Some(policy) = &policy {
            self.on_group_failure = policy.on_group_failure;
        }
        match &policy {
            Some(policy) => self.feedback.configure(&policy.feedback(), now),
            None => self.feedback.left_alone(),
        }
        self.scheduled = None;
        self.live = policy.map(|policy| Live { policy });
    }

    /// What its schedule says now, of a request that may last as long as its policy says.
    pub(super) fn scheduled(&mut self, now: Wall) -> Moment {
        let Some(live) = &self.live else { return ALWAYS };
        let tempo = &live.policy.tempo;
        if tempo.schedule.is_empty() {
            return ALWAYS;
        }
        // The wall clock may have been set back.
        let holds = |(since, said): &(Wall, Moment)| {
            *since <= now && said.until.is_none_or(|until| now < until)
        };
        match self.scheduled.filter(holds) {
            Some((_, said)) => said,
            None => {
                let said = tempo.schedule.for_request(now, tempo.lasting);
                self.scheduled = Some((now, said));
                said
            }
        }
    }

    /// At which rate its requests may go, as its schedule and its own answers allow.
    pub(super) fn pace(&self, rule: Rule, now: Mono) -> Option<Pace> {
        let limit = &self.live.as_ref()?.policy.limit;
        let configured = match rule {
            Rule::Rate(rate) => rate,
            Rule::Default => limit.rate,
            Rule::Closed => return None,
        };
        let rate = self.feedback.rate_in_force(now, configured);
        // One that can bear less than it was said to bear cannot bear bursts.
        let burst = if rate == configured { limit.burst } else { NonZeroU32::MIN };
        Some(Pace { rate, burst })
    }

    pub(super) fn took(&mut self, took: Duration) {
        let old = self.usually_takes.unwrap_or(took);
        self.usually_takes = Some((old * 7 + took) / 8);
    }

    /// An attempt begins.
    pub(super) fn starts(&mut self, now: Now) {
        let Some(live) = &self.live else { return };
        let configured = live.policy.limit.rate;
        let configured = match self.scheduled(now.wall).rule {
            Rule::Rate(rate) => rate,
            Rule::Default | Rule::Closed => configured,
        };
        self.feedback.on_start(now.mono, configured);
    }

    /// Why nothing can be started however many tokens there are, and until when. Call
    /// [`Target::scheduled`] first.
    pub(super) fn closed(&self, now: Now, draining: bool) -> Option<Blocked> {
        let (on, until) = if draining {
            (BlockedOn::Draining, None)
        } else if self.paused || self.live.is_none() {
            (BlockedOn::Paused, None)
        } else if let Some((_, Moment { rule: Rule::Closed, until })) = self.scheduled {
            let until = until.map(|until| now.mono + until.since(now.wall));
            (BlockedOn::Closed, until)
        } else if let Some((reason, until)) = self.feedback.blocked(now.mono) {
            let on = match reason {
                Reason::Refused => BlockedOn::Refused,
                Reason::Breaker => BlockedOn::Breaker,
            };
            (on, until)
        } else {
            return None;
        };
        Some(Blocked::on(on, until))
    }

    /// Books the time since the last look under what held it back then, and notes what does now.
    pub(super) fn note_blocked(&mut self, blocked: Option<Blocked>, now: Mono) {
        if let Some(old) = &self.blocked {
            self.blocked_for[old.on as usize] += now.since(self.blocked_since);
        }
        self.blocked = blocked;
        self.blocked_since = now;
    }

    /// `rate`: in force, whatever blocks it.
    pub(super) fn view(
        &self,
        oldest: [Option<Wall>; 3],
        rate: Option<Rate>,
        forecast: Arc<forecast::Limits>,
        now: Mono,
    ) -> TargetView {
        let mut blocked_for = self.blocked_for;
        if let Some(blocked) = &self.blocked {
            blocked_for[blocked.on as usize] += now.since(self.blocked_since);
        }
        TargetView {
            id: self.id,
            name: self.name.clone(),
            policy: self.live.as_ref().map(|live| live.policy.clone()),
            counts: self.counts.clone(),
            dead_fill: None,
            oldest,
            in_flight: self.in_flight,
            paused: self.paused,
            rate,
            breaker_open: self.feedback.breaker_is_open(),
            forecast,
            blocked: self.blocked.as_ref().map(|blocked| (blocked.on, blocked.until)),
            blocked_by: self.blocked.as_ref().and_then(|blocked| blocked.limit.clone()),
            blocked_window: self.blocked.as_ref().and_then(|blocked| blocked.window),
            blocked_for,
        }
    }
}
