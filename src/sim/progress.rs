//! Whether the core wakes up for what there is to do. Looked at when it goes to sleep and all that
//! it said is on disk: then nothing but time can move anything.

use std::collections::BTreeSet;
use std::time::Duration;

use super::checker::Checker;
use super::clocks::Moment;
use super::violation::{Checked, ensure};
use crate::broker::job::TargetId;
use crate::broker::time::{Now, Wall};

/// For rounding.
const SLACK: Duration = Duration::from_millis(1);
/// What the jobs of other targets that are armed may take first, beside those that are known.
const SHARED: Duration = Duration::from_millis(20);
/// The wall clock may be set: the core looks at it again at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

impl Checker {
    /// `until`: when the core is to be called again.
    /// `leaving`: where something was let go that has not left the process.
    pub(super) fn sleeps(
        &self,
        at: Moment,
        now: Now,
        until: Option<Moment>,
        leaving: &BTreeSet<TargetId>,
    ) -> Checked {
        let until = until.unwrap_or(Moment::NEVER);
        for id in self.limits.targets().filter(|id| self.order.is_armed(*id)) {
            let open = self.limits.policy(id).is_some() && !self.book.is_paused(id);
            ensure!(open && !self.draining, "a job is about to leave for {id:?}, which is closed");
        }
        if !self.draining {
            self.sends_in_time(at, until, leaving)?;
            let timer = self.book.first_timer();
            self.looks_in_time(at, now, until, "the timer", timer.map(|(due, _)| due))?;
            self.is_brought_near()?;
        }
        let deadline = self.book.first_deadline();
        self.looks_in_time(at, now, until, "the deadline", deadline.map(|(due, _)| due))
    }

    fn sends_in_time(&self, at: Moment, until: Moment, leaving: &BTreeSet<TargetId>) -> Checked {
        for id in self.limits.targets() {
            let Some(policy) = self.limits.policy(id) else { continue };
            if self.book.is_paused(id) {
                continue;
            }
            // Until it has left, none follows it.
            let peers = self.limits.peers(id);
            if peers
                .iter()
                .any(|peer| leaving.contains(peer) || self.limits.is_anything_leaving(*peer))
            {
                continue;
            }
            let (what, by) = if self.order.is_armed(id) {
                ("leave for", self.limits.by(id, at, true))
            } else if self.book.is_queued(id)
                && self.book.running(id) < policy.limit.max_concurrent.get()
            {
                let by = self.limits.by(id, at, false);
                ("be started for", by.map(|by| by.max(self.holds.over_by(id))))
            } else {
                continue;
            };
            let Some(by) = by else { continue };
            let by = match policy.share.is_empty() {
                true => by,
                // Others may have gone before it.
                false => by + SHARED,
            };
            ensure!(at <= by + SLACK, "a job could {what} {id:?} since {by}");
            ensure!(until <= by + SLACK, "a job can {what} {id:?} by {by}; asleep until {until}");
        }
        Ok(())
    }

    fn looks_in_time(
        &self,
        at: Moment,
        now: Now,
        until: Moment,
        what: &str,
        due: Option<Wall>,
    ) -> Checked {
        let Some(due) = due else { return Ok(()) };
        let by = at + due.since(now.wall).min(LOOK_AGAIN) + SLACK;
        // There may be more of it than is done at once.
        ensure!(due > now.wall || until <= at, "{what} of {due} is over, and it is {}", now.wall);
        ensure!(until <= by, "{what} of {due} is by {by}; asleep until {until}");
        Ok(())
    }
}
