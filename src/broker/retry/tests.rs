//! What follows from each end of a request.

use super::*;
use crate::broker::course::Course;
use crate::broker::job::{JobId, Priority, Seat, TargetId};
use crate::broker::payload::Answer;

const RETRY: Retry = Retry {
    max_attempts: NonZeroU32::new(3).unwrap(),
    min_backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(60),
    max_retry_duration: Duration::from_secs(3_600),
};

const RULES: Rules = Rules {
    retry: RETRY,
    completion: Completion { every: Duration::from_secs(10), timeout: Duration::from_secs(600) },
    hold: Duration::from_secs(30),
};

fn header(spent: u32, refusals: u32) -> Header {
    Header {
        id: JobId(7),
        target: TargetId(1),
        priority: Priority::Normal,
        seat: Seat(1),
        enqueued_at: Wall::EPOCH,
        ready_at: Wall::EPOCH,
        deadline: None,
        attempts: spent + refusals + 1,
        spent,
        refusals,
        first_sent_at: Some(Wall::EPOCH),
        max_attempts: None,
        owed: crate::broker::job::Owed::Nothing,
        group: None,
        flow: None,
        callback: None,
        tag: crate::broker::fair::Tag::default(),
        course: Course::default(),
    }
}

fn report(outcome: Outcome, status: Option<u16>) -> Report {
    let answer = status.map(|status| Answer { status, ..Answer::default() });
    Report {
        outcome,
        answer,
        retry_after: None,
        hint: None,
        reason: None,
        took: Duration::ZERO,
        close: Default::default(),
        follow: Follow::Nothing,
    }
}

#[test]
fn attempts_are_used_up_by_unknown_outcomes_and_not_by_refusals() {
    let unknown = report(Outcome::Unknown, Some(500));
    let now = Wall::EPOCH;
    assert!(matches!(verdict(&unknown, &header(1, 0), &RULES, now), Verdict::Wait(_)));
    let exhausted = Verdict::Fail(Failure::RetriesExhausted);
    assert_eq!(verdict(&unknown, &header(2, 0), &RULES, now), exhausted);
    let refused = report(Outcome::Refused, Some(503));
    assert!(matches!(verdict(&refused, &header(2, 99), &RULES, now), Verdict::Wait(_)));
    let late = now + RETRY.max_retry_duration;
    assert_eq!(verdict(&refused, &header(0, 0), &RULES, late), exhausted);
}

#[test]
fn a_job_has_its_own_number_of_attempts() {
    let one = Header { max_attempts: Some(1), ..header(0, 0) };
    let verdict = verdict(&report(Outcome::Unknown, None), &one, &RULES, Wall::EPOCH);
    assert_eq!(verdict, Verdict::Fail(Failure::RetriesExhausted));
}

#[test]
fn a_rejection_keeps_its_status() {
    let rejected = report(Outcome::Rejected, Some(404));
    let verdict = verdict(&rejected, &header(0, 0), &RULES, Wall::EPOCH);
    assert_eq!(verdict, Verdict::Fail(Failure::Rejected { status: 404 }));
}

#[test]
fn backoff_grows_between_its_bounds() {
    for nth in 1..40 {
        let shortest = backoff(&RETRY, nth, 0);
        let longest = backoff(&RETRY, nth, u64::MAX);
        assert_eq!(shortest, RETRY.min_backoff);
        assert!(longest > shortest && longest <= RETRY.max_backoff);
    }
    assert!(backoff(&RETRY, 1, u64::MAX) <= Duration::from_secs(2));
}

#[test]
fn a_target_is_held_as_long_as_it_asked_within_reason() {
    let asked = Some(Duration::from_secs(86_400));
    assert_eq!(hold(&RETRY, 1, asked), RETRY.max_backoff);
    assert_eq!(hold(&RETRY, 5, Some(Duration::from_secs(2))), Duration::from_secs(2));
    assert_eq!(hold(&RETRY, 1, None), Duration::from_secs(1));
    assert_eq!(hold(&RETRY, 3, None), Duration::from_secs(4));
    assert_eq!(hold(&RETRY, 400, None), RETRY.max_backoff);
}

fn sent_under(delivery: Delivery, spent: u32) -> Header {
    let course = Course { sent_under: delivery, ..Course::default() };
    Header { course, ..header(spent, 0) }
}

fn asking(phase: Phase, spent: u32) -> Header {
    let course = Course {
        sent_under: Delivery::Verify,
        phase,
        questions: 1,
        doubt: true,
        ..Course::default()
    };
    Header { course, ..header(spent, 0) }
}

fn told(outcome: Outcome, follow: Follow) -> Report {
    Report { follow, ..report(outcome, Some(200)) }
}

const UNKNOWN: Verdict = Verdict::Fail(Failure::OutcomeUnknown);
const EXHAUSTED: Verdict = Verdict::Fail(Failure::RetriesExhausted);

#[test]
fn what_follows_from_not_knowing_is_the_deliverys_to_say() {
    let unknown = report(Outcome::Unknown, None);
    let after =
        |delivery, spent| verdict(&unknown, &sent_under(delivery, spent), &RULES, Wall::EPOCH);
    assert!(matches!(after(Delivery::AtLeastOnce, 0), Verdict::Wait(_)));
    assert_eq!(after(Delivery::AtMostOnce, 0), UNKNOWN);
    assert!(matches!(after(Delivery::Verify, 0), Verdict::Ask(Phase::Verify, _)));
    // The last attempt that is allowed: asked first, decided then.
    assert_eq!(after(Delivery::AtLeastOnce, 2), EXHAUSTED);
    assert!(matches!(after(Delivery::Verify, 2), Verdict::Ask(Phase::Verify, _)));
}

#[test]
fn what_was_refused_is_tried_again_in_every_delivery() {
    for delivery in Delivery::ALL {
        let refused = report(Outcome::Refused, Some(429));
        let verdict = verdict(&refused, &sent_under(delivery, 0), &RULES, Wall::EPOCH);
        assert_eq!(verdict, Verdict::Wait(Duration::ZERO));
    }
}

#[test]
fn a_question_that_is_answered_decides() {
    let now = Wall::EPOCH;
    let ask =
        |report: &Report, spent, now| verdict(report, &asking(Phase::Verify, spent), &RULES, now);
    assert_eq!(ask(&told(Outcome::Done, Follow::Nothing), 3, now), Verdict::Succeed);
    let not_done = told(Outcome::Done, Follow::NotDone);
    assert!(matches!(ask(&not_done, 1, now), Verdict::Wait(_)));
    assert_eq!(ask(&not_done, 3, now), EXHAUSTED, "all attempts are spent");
    let late = now + RETRY.max_retry_duration;
    assert_eq!(ask(&not_done, 1, late), EXHAUSTED, "certainly not done, and too late to try");
    let silent = report(Outcome::Unknown, None);
    assert!(matches!(ask(&silent, 1, now), Verdict::Ask(Phase::Verify, _)));
    assert_eq!(ask(&silent, 1, late), UNKNOWN);
    // The target only wants to be left alone: it is, as a whole.
    let busy = report(Outcome::Refused, Some(503));
    assert_eq!(ask(&busy, 1, now), Verdict::Ask(Phase::Verify, Duration::ZERO));
    assert_eq!(ask(&busy, 1, late), UNKNOWN);
    // Whatever else it says is no answer to this question.
    assert!(matches!(ask(&report(Outcome::Rejected, Some(401)), 1, now), Verdict::Ask(..)));
}

#[test]
fn work_that_goes_on_is_polled_until_it_ends_or_nobody_waits_any_more() {
    let now = Wall::EPOCH;
    let accepted = told(Outcome::Done, Follow::Accepted { path: "/status/7".into() });
    let Verdict::Ask(phase, wait) = verdict(&accepted, &header(0, 0), &RULES, now) else {
        panic!("it is not polled")
    };
    assert_eq!(wait, RULES.completion.every);
    let until = now + RULES.completion.timeout;
    assert_eq!(phase, Phase::Poll(Box::new(Poll { path: "/status/7".into(), until })));
    let poll = |report: &Report, delivery, now| {
        let mut header = asking(phase.clone(), 1);
        header.course.sent_under = delivery;
        verdict(report, &header, &RULES, now)
    };
    let at_least = Delivery::AtLeastOnce;
    assert_eq!(poll(&told(Outcome::Done, Follow::Nothing), at_least, until), Verdict::Succeed);
    let failed = Failure::Rejected { status: 200 };
    assert_eq!(
        poll(&told(Outcome::Rejected, Follow::Nothing), at_least, now),
        Verdict::Fail(failed)
    );
    let pending = told(Outcome::Done, Follow::Pending);
    let patient = Report { retry_after: Some(Duration::from_secs(30)), ..pending.clone() };
    let endless = Report { retry_after: Some(Duration::from_secs(9_999)), ..pending.clone() };
    let wait = |report: &Report| match poll(report, at_least, now) {
        Verdict::Ask(Phase::Poll(_), wait) => wait,
        other => panic!("{other:?}"),
    };
    assert_eq!(wait(&pending), Duration::from_secs(10));
    assert_eq!(wait(&patient), Duration::from_secs(30));
    assert_eq!(wait(&endless), RETRY.max_backoff);
    assert!(wait(&report(Outcome::Unknown, None)) >= Duration::from_secs(10));
    // Over: what its work did is unknown.
    assert!(matches!(poll(&pending, at_least, until), Verdict::Wait(_)));
    assert_eq!(poll(&pending, Delivery::AtMostOnce, until), UNKNOWN);
    assert!(matches!(poll(&pending, Delivery::Verify, until), Verdict::Ask(Phase::Verify, _)));
}

#[test]
fn an_address_that_cannot_be_asked_ends_the_job_rather_than_starts_the_work_again() {
    let astray = told(Outcome::Done, Follow::Astray { reason: "elsewhere".into() });
    let after = |delivery| verdict(&astray, &sent_under(delivery, 0), &RULES, Wall::EPOCH);
    assert_eq!(after(Delivery::AtLeastOnce), UNKNOWN);
    assert_eq!(after(Delivery::AtMostOnce), UNKNOWN);
    assert!(matches!(after(Delivery::Verify), Verdict::Ask(Phase::Verify, _)));
}

/// A request that was given up may still be on its way when the target is asked.
#[test]
fn not_done_is_not_believed_while_the_request_may_run_on() {
    let hold = Duration::from_secs(30);
    let course = Course {
        sent_under: Delivery::Verify,
        doubt: true,
        runs_until: Some(Wall::EPOCH + hold),
        phase: Phase::Verify,
        ..Course::default()
    };
    let header = Header { course, ..header(1, 0) };
    let not_done = Report { follow: Follow::NotDone, ..report(Outcome::Rejected, Some(404)) };
    let early = Wall::EPOCH + Duration::from_secs(10);
    let again = Verdict::Ask(Phase::Verify, Duration::from_secs(20));
    assert_eq!(verdict(&not_done, &header, &RULES, early), again);
    let in_time = verdict(&not_done, &header, &RULES, Wall::EPOCH + hold);
    assert!(matches!(in_time, Verdict::Wait(_)), "{in_time:?}");
    let done = report(Outcome::Done, Some(200));
    assert_eq!(verdict(&done, &header, &RULES, early), Verdict::Succeed);
}
