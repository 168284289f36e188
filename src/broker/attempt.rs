//! Attempts that have ended, and what follows for their jobs and their target. How one is started
//! stands in [`super::start`].

use std::sync::Arc;
use std::time::Duration;

use super::change::Change;
use super::clock::too_late;
use super::course::Phase;
use super::ending;
use super::job::{End, Failure, Happening, Header, JobId, Place};
use super::payload::Report;
use super::pressure::Seen;
use super::retry::{self, Rules, Verdict};
use super::time::{Mono, Now};
use super::{Broker, Story, flight};

/// By how much a target is held longer than the job that it refused.
const MARGIN: Duration = Duration::from_millis(2);

impl Broker {
    pub(super) fn attempted(&mut self, now: Now, job: JobId, number: u32, report: Report) {
        let Some(flight) = self.flights.get_mut(&job) else { return };
        if flight.number != number {
            return;
        }
        flight.close = report.close;
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
        // A target that left the configuration keeps its jobs; they wait as long as it is away.
        let live = self.targets.get(&header.target).and_then(|t| t.live.as_ref());
        let rules = live.map_or(Rules::WHILE_AWAY, |live| Rules::of(&live.policy));
        header.course.bring_near(now.wall, rules.hold);
        let verdict = retry::verdict(&report, &header, &rules, now.wall);
        let held = self.hold_target(now, &header, began, &report);
        let event = ending::note(&mut header, &report, now.wall + held, rules.hold, now.wall);
        let mut story = Story { events: vec![event], answer: report.answer.map(Arc::new) };
        let to = match verdict {
            Verdict::Succeed => Place::Ended { end: End::Succeeded, at: now.wall },
            Verdict::Fail(failure) => {
                if !matches!(failure, Failure::Rejected { .. }) {
                    let code = End::Failed(failure).code().unwrap_or_default();
                    story.events.push(Happening::Failed { code });
                }
                Place::Ended { end: End::Failed(failure), at: now.wall }
            }
            Verdict::Wait(delay) => {
                header.course.phase = Phase::Work;
                if header.is_late(now.wall) {
                    let (end, event) = too_late(&header);
                    story.events.push(event);
                    Place::Ended { end, at: now.wall }
                } else {
                    let due = now.wall + delay.max(held);
                    story.events.push(Happening::Waiting { until: due });
                    Place::Waiting { due }
                }
            }
            Verdict::Ask(phase, delay) => {
                header.course.phase = phase;
                let due = now.wall + delay.max(held);
                story.events.push(Happening::Verifying { until: due });
                Place::Verifying { due }
            }
        };
        if to.is_ended() {
            header.course.phase = Phase::Work;
        }
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
