//! What the end of a request adds to its job: to its history, and to what its header counts.

use super::course::Delivery;
use super::job::{Happening, Header, Says};
use super::payload::{Follow, Outcome, Report};
use super::time::Wall;
use std::time::Duration;

/// Counts the request that `report` ends, and returns what the history says of it. `until`: how
/// long the target is left alone, where it refused. `hold`: how long the request may still be about
/// to do its work, where nobody knows what became of it.
pub(super) fn note(
    header: &mut Header,
    report: &Report,
    until: Wall,
    hold: Duration,
    now: Wall,
) -> Happening {
    if header.course.is_asking() {
        answered(header, report, now)
    } else {
        let asked = header.course.sent_under == Delivery::Verify && report.may_run_on();
        header.course.runs_until = asked.then(|| now + hold);
        attempted(header, report, until)
    }
}

fn attempted(header: &mut Header, report: &Report, until: Wall) -> Happening {
    let attempt = header.attempts;
    let status = report.answer.as_ref().map(|answer| answer.status);
    let reason = report.reason.clone();
    match (report.outcome, &report.follow) {
        (Outcome::Done, Follow::Accepted { path }) => {
            header.spent += 1;
            header.course.doubt = true;
            header.course.in_vain = 0;
            Happening::Accepted { attempt, status: status.unwrap_or(0), path: path.clone() }
        }
        (Outcome::Done, Follow::Astray { reason }) => {
            header.spent += 1;
            header.course.doubt = true;
            Happening::Unknown { attempt, status, reason: Some(reason.clone()) }
        }
        (Outcome::Done, _) => {
            header.course.doubt = false;
            Happening::Done { attempt, status: status.unwrap_or(0) }
        }
        (Outcome::Rejected, _) => Happening::Rejected { attempt, status: status.unwrap_or(0) },
        (Outcome::Refused, _) => {
            header.refusals += 1;
            Happening::Refused { attempt, status, reason, until }
        }
        (Outcome::Unknown, _) => {
            header.spent += 1;
            header.course.doubt = true;
            header.course.in_vain = 0;
            Happening::Unknown { attempt, status, reason }
        }
    }
}

fn answered(header: &mut Header, report: &Report, now: Wall) -> Happening {
    let says = match (report.outcome, &report.follow) {
        (_, Follow::NotDone) => Says::NotDone,
        (_, Follow::Pending) => Says::Pending,
        (Outcome::Done, _) => Says::Done,
        (Outcome::Rejected, _) => Says::Failed,
        (Outcome::Refused, _) => Says::Refused,
        (Outcome::Unknown, _) => Says::Unknown,
    };
    let course = &mut header.course;
    let mut reason = report.reason.clone();
    match says {
        Says::Unknown => course.in_vain = course.in_vain.saturating_add(1),
        Says::Refused => header.refusals += 1,
        Says::NotDone if course.may_run_on(now) => {
            course.in_vain = 0;
            reason = Some("not done yet; the request may still be on its way".into());
        }
        Says::Done | Says::NotDone | Says::Failed => {
            course.in_vain = 0;
            course.doubt = false;
        }
        Says::Pending => course.in_vain = 0,
    }
    Happening::Answered {
        question: course.questions,
        says,
        status: report.answer.as_ref().map(|answer| answer.status),
        reason,
    }
}
