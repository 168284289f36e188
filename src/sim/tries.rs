//! How often a job is tried, for how long, and how long it waits between.

use std::num::NonZeroU32;
use std::time::Duration;

use super::checker::Checker;
use super::doubts::Rules;
use super::violation::{Checked, ensure};
use crate::broker::change::Move;
use crate::broker::job::{Header, Place, TargetId};
use crate::broker::payload::Outcome;
use crate::broker::policy::{Completion, HOLD_AFTER_TIMEOUT, Retry};
use crate::broker::time::Now;

/// What holds for a target that the configuration does not name.
const WHILE_AWAY: Retry = Retry {
    max_attempts: NonZeroU32::MAX,
    min_backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(300),
    max_retry_duration: Duration::MAX,
};

/// Longer than any retry is put off here, whatever was configured when it was.
const LONGEST: Duration = WHILE_AWAY.max_backoff;

impl Checker {
    pub(super) fn rules(&self, target: TargetId) -> Rules {
        let policy = self.limits.policy(target);
        Rules {
            retry: policy.map_or(WHILE_AWAY, |policy| policy.retry),
            completion: policy.map_or(Completion::default(), |p| p.outcomes.completion),
            hold: policy.map_or(HOLD_AFTER_TIMEOUT, |p| p.limit.hold_after_timeout),
        }
    }

    /// It is to be tried again: there is a further try, and the wait is neither too short nor too
    /// long.
    pub(super) fn waits(&self, now: Now, step: &Move, outcome: Outcome) -> Checked {
        let (Place::Waiting { due } | Place::Verifying { due }) = step.to else {
            ensure!(false, "after its attempt it is {:?}", step.to);
            return Ok(());
        };
        let (id, retry) = (step.header.id, self.rules(step.header.target).retry);
        let over = matches!(step.to, Place::Waiting { .. })
            && self.is_exhausted(now, &step.header, outcome);
        ensure!(!over, "{id} is to be tried again, and had all its tries: {:?}", step.header);
        let most = now.wall + retry.max_backoff;
        ensure!(due <= most, "{id} waits until {due}, not {most} at most");
        let least = now.wall + retry.min_backoff.min(retry.max_backoff);
        ensure!(
            due >= least || outcome == Outcome::Refused,
            "{id} waits until {due} only, not {least}"
        );
        Ok(())
    }

    /// Whether there is no further try for this job, after the attempt that just ended.
    pub(super) fn is_exhausted(&self, now: Now, header: &Header, outcome: Outcome) -> bool {
        let retry = self.rules(header.target).retry;
        let since = header.first_sent_at.map(|first| now.wall.since(first));
        let late = since.is_some_and(|since| since >= retry.max_retry_duration);
        let allowed = header.max_attempts.unwrap_or(retry.max_attempts.get());
        late || (header.spent >= allowed && outcome == Outcome::Unknown)
    }

    /// A retry is not in the calendar: where the wall clock was set back, it does not wait until
    /// that is there again.
    pub(super) fn is_brought_near(&self) -> Checked {
        let first = self.book.first_timer().and_then(|(_, id)| self.book.get(id));
        let Some(entry) = first else { return Ok(()) };
        let (id, target) = (entry.header.id, entry.header.target);
        let (Place::Waiting { due } | Place::Verifying { due }) = entry.place else {
            return Ok(());
        };
        let seen = self.seen;
        let near = due <= seen + LONGEST || self.limits.policy(target).is_none();
        ensure!(near, "{id} is to be tried again at {due}, and the clock was set back to {seen}");
        Ok(())
    }
}
