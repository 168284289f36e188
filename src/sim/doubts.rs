//! Which jobs may have done their work, as far as anybody was told, and whether what is done about
//! that is what their delivery says. Kept from what goes into the core, across its lives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::violation::{Checked, ensure};
use crate::broker::change::Move;
use crate::broker::course::{Course, Delivery, Phase};
use crate::broker::io::Submission;
use crate::broker::job::{End, Failure, Header, JobId, Place};
use crate::broker::payload::{Follow, Outcome, Report};
use crate::broker::policy::{Completion, Retry};
use crate::broker::time::Now;
use crate::store::model::Model;

#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// What their callers asked for.
    wanted: BTreeMap<JobId, Option<Delivery>>,
    /// What held when their work was last sent.
    under: BTreeMap<JobId, Delivery>,
    /// What holds for a start that may come to nothing yet, by its number.
    starting: BTreeMap<(JobId, u32), Delivery>,
    doubtful: BTreeSet<JobId>,
    /// To be sent all the same, because somebody redrove them.
    allowed: BTreeSet<JobId>,
    /// Given another request, and not redriven yet.
    rewritten: BTreeSet<JobId>,
}

/// What is configured for a target now.
pub(super) struct Rules {
    pub(super) retry: Retry,
    pub(super) completion: Completion,
    pub(super) hold: Duration,
}

impl Rules {
    /// Whether the request that is asked after may be about to do its work: for `hold` at most,
    /// whatever was configured, and whatever the clock said, when it was given up.
    fn may_run_on(&self, header: &Header, now: Now) -> bool {
        let until = header.course.runs_until.map(|until| until.min(now.wall + self.hold));
        until.is_some_and(|until| now.wall < until)
    }
}

impl Doubts {
    pub(super) fn submitted(&mut self, jobs: &[Submission]) {
        for job in jobs {
            self.wanted.entry(job.id).or_insert(job.delivery);
        }
    }

    /// The process starts: whatever was under way may have done its work.
    pub(super) fn restart(&mut self, model: &Model) {
        for (header, _) in model.recover().running {
            self.allowed.remove(&header.id);
            if !header.course.is_asking() {
                self.doubtful.insert(header.id);
                self.was_sent(&header);
            }
        }
        // What they were answered did not come to disk.
        let asking = model.jobs().filter(|(_, job)| job.record.header.course.is_asking());
        self.doubtful.extend(asking.map(|(id, _)| id));
    }

    fn was_sent(&mut self, header: &Header) {
        if let Some(delivery) = self.starting.remove(&(header.id, header.number())) {
            self.under.insert(header.id, delivery);
        }
    }

    /// The end of a request is told. `before`: its job as it was then.
    pub(super) fn told(&mut self, now: Now, before: &Header, report: &Report, rules: &Rules) {
        let asking = before.course.is_asking();
        let refused = report.outcome == Outcome::Refused;
        // One that was refused did no work: what may have been done before was under what held then.
        if !asking && !refused {
            self.was_sent(before);
        }
        if !refused {
            self.allowed.remove(&before.id);
        }
        let settled = asking
            && (matches!(report.outcome, Outcome::Done | Outcome::Rejected)
                && report.follow != Follow::Pending)
            && !(report.follow == Follow::NotDone && rules.may_run_on(before, now));
        let doubtful = !asking
            && (report.outcome == Outcome::Unknown
                || matches!(report.follow, Follow::Accepted { .. } | Follow::Astray { .. }));
        if doubtful {
            self.doubtful.insert(before.id);
        } else if settled {
            self.doubtful.remove(&before.id);
        }
    }

    pub(super) fn arm(&mut self, header: &Header, of_target: Delivery) -> Checked {
        let id = header.id;
        let doubtful = self.doubtful.contains(&id);
        if header.course.is_asking() {
            ensure!(doubtful, "{id} is asked for, and there is no doubt about it");
            return Ok(());
        }
        let before = self.under.get(&id).copied().unwrap_or_default();
        ensure!(
            !doubtful || before == Delivery::AtLeastOnce || self.allowed.contains(&id),
            "{id} is sent again, and nobody knows what it did under {before}"
        );
        let wanted = self.wanted.get(&id).copied().flatten();
        self.starting.insert((id, header.number()), wanted.unwrap_or(of_target));
        Ok(())
    }

    pub(super) fn rewritten(&mut self, id: JobId) {
        self.rewritten.insert(id);
    }

    pub(super) fn redriven(&mut self, header: &Header) -> Checked {
        let id = header.id;
        let asked_for = !self.rewritten.remove(&id) && self.doubtful.contains(&id);
        let ask = asked_for && self.under.get(&id) == Some(&Delivery::Verify);
        let asks = header.course.phase == Phase::Verify;
        ensure!(ask == asks, "{id} is redriven, and asked for or not: {:?}", header.course);
        if !ask {
            self.allowed.insert(id);
        }
        Ok(())
    }

    /// A job ends, by whatever way.
    pub(super) fn ends(&self, id: JobId, end: End) -> Checked {
        let doubtful = self.doubtful.contains(&id);
        let under = self.under.get(&id).copied().unwrap_or_default();
        match end {
            End::Failed(Failure::OutcomeUnknown) => {
                ensure!(doubtful, "the outcome of {id} is unknown, and nothing is in doubt");
            }
            End::Expired => ensure!(!doubtful, "{id} expires, and it may have done its work"),
            End::Failed(Failure::RetriesExhausted) => ensure!(
                !doubtful || under == Delivery::AtLeastOnce,
                "{id} is given up under {under}, and it may have done its work"
            ),
            _ => {}
        }
        Ok(())
    }

    /// What may follow from an attempt at the work whose outcome is unknown.
    pub(super) fn after_unknown(&self, step: &Move) -> Checked {
        let id = step.header.id;
        let under = self.under.get(&id).copied().unwrap_or_default();
        let unknown = End::Failed(Failure::OutcomeUnknown);
        let fits = match (under, step.to) {
            (Delivery::AtLeastOnce, to) => !matches!(to, Place::Verifying { .. }),
            (Delivery::AtMostOnce, Place::Ended { end, .. }) => end == unknown,
            (Delivery::Verify, Place::Verifying { .. }) => true,
            (Delivery::AtMostOnce | Delivery::Verify, _) => false,
        };
        ensure!(fits, "an unknown outcome under {under} leads {id} to {:?}", step.to);
        Ok(())
    }

    /// A question has ended. `report`: `None` where the process started anew.
    pub(super) fn answered(
        &self,
        now: Now,
        before: &Header,
        step: &Move,
        report: Option<&Report>,
        rules: &Rules,
    ) -> Checked {
        let (id, header) = (before.id, &step.header);
        ensure!(header.spent == before.spent, "a question spends an attempt of {id}");
        let Some(report) = report else {
            let fits = matches!(step.to, Place::Verifying { due } if due <= now.wall);
            ensure!(fits, "{id} was being asked for, and is {:?}", step.to);
            return Ok(());
        };
        let since = before.first_sent_at.map(|first| now.wall.since(first));
        let late = since.is_some_and(|since| since >= rules.retry.max_retry_duration);
        let over = match &before.course.phase {
            Phase::Poll(poll) => poll.until <= now.wall,
            _ => late,
        };
        let Course { phase, .. } = &before.course;
        let fits = match (report.outcome, &report.follow, step.to) {
            // The request may do it yet.
            (_, Follow::NotDone, to) if rules.may_run_on(before, now) => {
                matches!(to, Place::Verifying { .. })
            }
            (_, Follow::NotDone, Place::Waiting { .. }) => !late,
            (_, Follow::NotDone, Place::Ended { end: End::Expired, .. }) => {
                header.deadline.is_some_and(|deadline| deadline <= now.wall)
            }
            (_, Follow::NotDone, Place::Ended { end, .. }) => {
                let allowed = header.max_attempts.unwrap_or(rules.retry.max_attempts.get());
                let exhausted = End::Failed(Failure::RetriesExhausted);
                end == exhausted && (late || header.spent >= allowed)
            }
            (Outcome::Done, Follow::Nothing, Place::Ended { end, .. }) => end == End::Succeeded,
            (Outcome::Rejected, _, Place::Ended { end, .. }) => {
                matches!(end, End::Failed(Failure::Rejected { .. }))
                    && matches!(phase, Phase::Poll(_))
            }
            (Outcome::Done, Follow::Nothing, _) | (Outcome::Rejected, ..) => false,
            // Nothing was learned.
            (_, _, Place::Verifying { due }) => {
                let most = rules.retry.max_backoff.max(rules.completion.every);
                ensure!(due <= now.wall + most, "{id} is asked for no sooner than {due}");
                !over || matches!((phase, &header.course.phase), (Phase::Poll(_), Phase::Verify))
            }
            (_, _, to) => over && self.gives_up(phase, before, to, header, now),
        };
        ensure!(fits, "{report:?} leads {before:?} to {:?}", step.to);
        Ok(())
    }

    /// It was asked for long enough.
    fn gives_up(
        &self,
        phase: &Phase,
        before: &Header,
        to: Place,
        header: &Header,
        now: Now,
    ) -> bool {
        let under = self.under.get(&before.id).copied().unwrap_or_default();
        let unknown = End::Failed(Failure::OutcomeUnknown);
        match (phase, to) {
            (_, Place::Ended { end, .. }) if end == unknown => {
                let late = header.deadline.is_some_and(|deadline| deadline <= now.wall);
                matches!(phase, Phase::Verify) || under == Delivery::AtMostOnce || late
            }
            // Work that was taken on and never ended counts as an attempt of unknown outcome.
            (Phase::Poll(_), Place::Waiting { .. }) => under == Delivery::AtLeastOnce,
            (Phase::Poll(_), Place::Ended { end, .. }) => {
                under == Delivery::AtLeastOnce && end == End::Failed(Failure::RetriesExhausted)
            }
            _ => false,
        }
    }
}
