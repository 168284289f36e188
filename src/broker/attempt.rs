//! Attempts that have ended, and what follows for their jobs and their target. How one is started
//! stands in [`super::start`].

use std::sync::Arc;
use std::time::Duration;

use super::change::Change;
use super::job::{End, Failure, Happening, Header, JobId, Place};
use super::payload::{Outcome, Report};
use super::pressure::Seen;
use super::retry::{self, Verdict};
use super::time::{Mono, Now};
use super::{Broker, Story, flight};

/// By how much a target is held longer than the job that it refused.
const MARGIN: Duration = Duration::from_millis(2);

impl Broker {
    pub(super) fn attempted(&mut self, now: Now, job: JobId, attempt: u32, report: Report) {
        let Some(flight) = self.flights.get_mut(&job) else { return };
        if flight.attempt != attempt {
            return;
        }
        flight.runs_on = report.may_run_on();
        let began = flight.began;
        let Some((header, place)) = self.jobs.get(job) else { return };
        let before = (header.clone(), *place);
        self.end_attempt(now, before, began, report);
    }

    pub(super) fn end_attempt(
        &mut self,
        now: Now,
        from: (Header, Place),
        began: Mono,
        report: Report,
    ) {
        let mut header = from.0.clone();
        let attempt = header.attempts;
        let status = report.answer.as_ref().map(|answer| answer.status);
        // A target that left the configuration keeps its jobs; they wait as long as it is away.
        let retry = self.targets.get(&header.target).and_then(|t| t.live.as_ref());
        let retry = retry.map_or(retry::WHILE_AWAY, |live| live.policy.retry);
        let verdict = retry::verdict(&report, &header, &retry, now.wall);
        let held = self.hold_target(now, &header, began, &report);
        let reason = report.reason;
        let mut story = Story { events: Vec::new(), answer: report.answer.map(Arc::new) };
        match report.outcome {
            Outcome::Done => {
                story.events.push(Happening::Done { attempt, status: status.unwrap_or(0) });
            }
            Outcome::Rejected => {
                story.events.push(Happening::Rejected { attempt, status: status.unwrap_or(0) });
            }
            Outcome::Refused => {
                header.refusals += 1;
                let until = now.wall + held;
                story.events.push(Happening::Refused { attempt, status, reason, until });
            }
            Outcome::Unknown => {
                header.spent += 1;
                story.events.push(Happening::Unknown { attempt, status, reason });
            }
        }
        let to = match verdict {
            Verdict::Succeed => Place::Ended { end: End::Succeeded, at: now.wall },
            Verdict::Fail(failure) => {
                if failure == Failure::RetriesExhausted {
                    let code = End::Failed(failure).code().unwrap_or_default();
                    story.events.push(Happening::Failed { code });
                }
                Place::Ended { end: End::Failed(failure), at: now.wall }
            }
            Verdict::Wait(_) if header.deadline.is_some_and(|at| at <= now.wall) => {
                story.events.push(Happening::Expired);
                Place::Ended { end: End::Expired, at: now.wall }
            }
            Verdict::Wait(delay) => {
                let due = now.wall + delay.max(held);
                story.events.push(Happening::Waiting { until: due });
                Place::Waiting { due }
            }
        };
        self.shift(now, from, header, to, story);
    }

    /// A refusal holds the whole target back; says for how long. Anything else shows that the
    /// target answers, or that it is not this that ails it.
    fn hold_target(&mut self, now: Now, header: &Header, began: Mono, report: &Report) -> Duration {
        let id = header.target;
        // A crash of the broker says nothing about the target.
        if self.flights.get(&header.id).is_none_or(flight::Flight::is_of_the_last_life) {
            return Duration::ZERO;
        }
        let Some(target) = self.targets.get_mut(&id) else { return Duration::ZERO };
        let seen = Seen {
            outcome: report.outcome,
            status: report.answer.as_ref().map(|answer| answer.status),
            hint: report.hint,
            retry_after: report.retry_after,
            latency: report.took,
        };
        if report.answer.is_some() {
            target.took(report.took);
        }
        let was_open = target.feedback.breaker_is_open();
        let held = target.feedback.on_end(now.mono, began, &seen);
        if target.feedback.breaker_is_open() && !was_open {
            self.disarm(id, now);
        }
        let Some(held) = held else { return Duration::ZERO };
        // Its job is due with the millisecond after; it must be back in line before others go.
        let until = now.wall + held.until.since(now.mono).saturating_sub(MARGIN);
        self.change(Change::Held { target: id, until });
        self.disarm(id, now);
        held.job
    }
}
