//! The targets' own books: what work was begun for which job, whoever was told of it. They are
//! what a verify request is answered from, truthfully, and what the broker's word is held against.

use std::collections::BTreeMap;
use std::time::Duration;

use super::calendar::{Parcel, What};
use super::clocks::Moment;
use super::rng::Rng;
use super::target::{Mood, report};
use super::violation::{Checked, ensure};
use crate::broker::change::Change;
use crate::broker::course::Delivery;
use crate::broker::job::{End, Failure, JobId, Place};
use crate::broker::payload::{Follow, Outcome, Report};

/// Work that a 202 began.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    until: Moment,
    fails: bool,
}

#[derive(Debug, Default)]
struct Work {
    /// How often it was begun and did not fail.
    begun: u32,
    under_way: Option<UnderWay>,
}

#[derive(Debug, Default)]
pub(super) struct Works {
    jobs: BTreeMap<JobId, Work>,
    /// What holds for every job of this world, where it is one thing.
    delivery: Option<Delivery>,
    /// Whether targets take work on with 202.
    asynchronous: bool,
    /// A fault: a verify request is told that nothing was done.
    pub(super) lies: bool,
    /// A fault is planted that makes the broker hear of ends before there is a beginning.
    pub(super) blind: bool,
}

impl Works {
    pub(super) fn new(delivery: Option<Delivery>, asynchronous: bool) -> Works {
        Works { delivery, asynchronous, ..Works::default() }
    }

    /// What becomes of a request that arrives now, and when the broker knows.
    pub(super) fn receive(
        &mut self,
        at: Moment,
        parcel: Parcel,
        mood: Mood,
        rng: &mut Rng,
    ) -> Result<(Duration, Report), super::violation::Violation> {
        let mood = mood.settle(rng);
        let (after, report) = mood.answer(rng);
        Ok(match parcel.what {
            What::Work => (after, self.work(at, parcel.job, mood, report, rng)?),
            What::Verify => (after, self.verify(at, parcel.job, mood, report)),
            What::Poll => (after, self.poll(at, parcel.job, mood, report)),
        })
    }

    fn work(
        &mut self,
        at: Moment,
        id: JobId,
        mood: Mood,
        mut report: Report,
        rng: &mut Rng,
    ) -> Result<Report, super::violation::Violation> {
        let begins = match mood {
            Mood::Fast | Mood::Slow | Mood::Breaks => true,
            Mood::Hangs | Mood::Fails => rng.one_in(2),
            Mood::Busy | Mood::Gone | Mood::Rejects | Mood::Mixed => false,
        };
        if !begins {
            return Ok(report);
        }
        let work = self.jobs.entry(id).or_default();
        work.begun += 1;
        work.under_way = None;
        let twice = self.delivery == Some(Delivery::Verify) && work.begun > 1;
        ensure!(!twice, "{id} does its work twice, and its target can be asked");
        if self.asynchronous && report.outcome == Outcome::Done && rng.one_in(2) {
            let takes = rng.span(Duration::from_millis(1), Duration::from_secs(20));
            work.under_way = Some(UnderWay { until: at + takes, fails: rng.one_in(5) });
            report.follow = match rng.one_in(15) {
                true => Follow::Astray { reason: "it names no status address".into() },
                false => Follow::Accepted { path: path(id) },
            };
            if rng.one_in(4) {
                report.retry_after = Some(rng.span(Duration::from_millis(1), 20 * takes));
            }
        }
        Ok(report)
    }

    fn verify(&mut self, at: Moment, id: JobId, mood: Mood, report: Report) -> Report {
        if !matches!(mood, Mood::Fast | Mood::Slow) {
            return unanswered(report);
        }
        let work = self.jobs.entry(id).or_default();
        if work.under_way.is_some_and(|work| work.until > at) {
            return Report { outcome: Outcome::Unknown, ..report };
        }
        match work.begun > 0 && !self.lies {
            true => report,
            false => Report { follow: Follow::NotDone, ..report },
        }
    }

    fn poll(&mut self, at: Moment, id: JobId, mood: Mood, report: Report) -> Report {
        if !matches!(mood, Mood::Fast | Mood::Slow) {
            return unanswered(report);
        }
        let work = self.jobs.entry(id).or_default();
        match work.under_way {
            Some(under_way) if under_way.until > at => Report { follow: Follow::Pending, ..report },
            Some(UnderWay { fails: true, .. }) => {
                // It came to nothing, and may be begun again.
                work.begun = 0;
                Report { outcome: Outcome::Rejected, ..report }
            }
            Some(_) | None => report,
        }
    }

    /// What the broker says of a job against what its target did. Called with each change.
    pub(super) fn check(&mut self, change: &Change) -> Checked {
        if self.blind {
            return Ok(());
        }
        let step = match change {
            Change::Move(step) => step,
            Change::Rewrite { id, .. } => {
                // It asks for other work from here on.
                self.jobs.remove(id);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let Place::Ended { end, .. } = step.to else { return Ok(()) };
        if step.from.is_ended() {
            return Ok(());
        }
        let id = step.header.id;
        let begun = self.jobs.get(&id).map_or(0, |work| work.begun);
        match end {
            End::Succeeded => {
                ensure!(begun > 0, "{id} succeeded, and its work was never begun");
            }
            // A deadline that passes while the outcome of an attempt is unknown is another end.
            End::Expired => ensure!(begun == 0, "{id} expired, and its work was begun"),
            End::Failed(Failure::RetriesExhausted) if self.delivery == Some(Delivery::Verify) => {
                ensure!(begun == 0, "{id} is given up, and its work was begun");
            }
            End::Failed(_) | End::Cancelled => {}
        }
        Ok(())
    }
}

/// Where its target says how its work goes.
pub(super) fn path(id: JobId) -> String {
    format!("/status/{id}")
}

/// What says much of an attempt says nothing to a question.
fn unanswered(was: Report) -> Report {
    match was.outcome {
        Outcome::Refused => was,
        Outcome::Done | Outcome::Rejected | Outcome::Unknown => {
            report(Outcome::Unknown, was.answer.as_ref().map(|answer| answer.status), was.took)
        }
    }
}
