use super::*;
use crate::broker::job::JobId;
use crate::demo::auditor::SECOND;
use crate::demo::ledger::{Line, Loss};
use crate::demo::stage;

const MS: Duration = Duration::from_millis(1);

/// A demo in which everything went as it should.
fn fine() -> Summary {
    let line = |acknowledged, dead| Line {
        acknowledged,
        done: acknowledged - dead,
        dead,
        waits: (1..=100).map(|n| n * MS).collect(),
    };
    let mut fates = [0; Fate::ALL.len()];
    for (fate, count) in [(Fate::Done, 95), (Fate::Missing, 2), (Fate::Unavailable, 3)] {
        fates[fate as usize] = count;
    }
    for (fate, count) in [(Fate::Error, 20), (Fate::Half, 10), (Fate::Hung, 4)] {
        fates[fate as usize] = count;
    }
    Summary {
        ending: Ending::Finished,
        took: 10 * SECOND,
        overtime: Duration::ZERO,
        limit: stage::tests::limit(20, SECOND, 1),
        most_in_a_second: 20,
        tally: Tally {
            lines: [line(10, 0), line(50, 1), line(37, 1)],
            calls: 5,
            duplicates: 3,
            ..Tally::default()
        },
        waiting: [0; 3],
        seen: Seen {
            total: 134,
            peak: Peak { arrivals: 20, at: Mono::ZERO + 3 * SECOND },
            fates,
            repeats: 37,
            repeated_work: 12,
            first_at: Some(Mono::ZERO + SECOND),
            last_at: Some(Mono::ZERO + 9 * SECOND),
            ..Seen::default()
        },
        held: 3 * SECOND,
    }
}

fn has(summary: &Summary, line: &str) {
    let text = summary.to_string();
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = text.lines().any(|other| squeezed(other) == squeezed(line));
    assert!(found, "no line {line:?} in\n{text}");
}

#[test]
fn a_good_end_is_told_in_full() {
    let summary = fine();
    assert_eq!(summary.verdict(), Verdict::Kept);
    has(&summary, "What happened in 10.0 s");
    has(&summary, "HIGH 10 10 0 0 50 ms 99 ms");
    has(&summary, "NORMAL 50 49 1 0 50 ms 99 ms");
    has(&summary, "requests 134");
    has(&summary, "refused 3 0 over the limit (429), 3 with a pause asked for (503)");
    has(&summary, "went wrong 34 20 500, 0 broken connection, 10 half an answer, 4 no answer");
    has(&summary, "most in any second 20 of at most 20");
    // 133 after the first one, where 8 s at 20/s allow 160.
    has(
        &summary,
        "use of the rate 83 % from the first request to the last; 3.0 s of pauses asked for",
    );
    has(&summary, "nothing was lost: yes");
    has(&summary, "limit held: yes");
    assert!(!summary.to_string().contains("wrong\n"), "nothing is wrong");
}

#[test]
fn one_request_over_the_limit_breaks_the_verdict() {
    let mut summary = fine();
    summary.seen.peak.arrivals = 21;
    assert_eq!(summary.verdict(), Verdict::Broken);
    has(&summary, "limit held: NO");
    has(&summary, "nothing was lost: yes");
    has(&summary, "21 requests came in the second up to 3.0 s; the limit is 20");
}

#[test]
fn one_lost_job_breaks_the_verdict() {
    let mut summary = fine();
    summary.tally.losses = vec![(JobId(7), Loss::NeverDone)];
    summary.tally.loss_count = 3;
    assert_eq!(summary.verdict(), Verdict::Broken);
    has(&summary, "nothing was lost: NO");
    has(&summary, "limit held: yes");
    let job = JobId(7);
    has(&summary, &format!("job {job} is said to have succeeded, and the API never did it"));
    has(&summary, "… and 2 more like that");
}

#[test]
fn a_repeat_without_a_higher_attempt_breaks_the_verdict() {
    let mut summary = fine();
    let job = JobId(7);
    let at = Mono::ZERO + SECOND;
    summary.seen.faults = vec![
        Fault::StaleAttempt { at, job, last: Some(2), now: Some(2) },
        Fault::KeyChanged { at, job },
        Fault::Unmarked { at },
    ];
    summary.seen.fault_count = 3;
    assert_eq!(summary.verdict(), Verdict::Broken);
    has(&summary, &format!("at 1.0 s job {job} came again as attempt 2 after attempt 2"));
}

#[test]
fn work_that_nobody_brought_breaks_the_verdict_unless_an_answer_is_missing() {
    let mut summary = fine();
    summary.seen.strangers = 2;
    assert_eq!(summary.verdict(), Verdict::Broken);
    summary.tally.unclear = 2;
    assert_eq!(summary.verdict(), Verdict::Kept);
    has(
        &summary,
        "5 by synchronous calls; 3 submitted twice and recognised; 0 turned away; 2 without an \
         answer to their submission",
    );
}

#[test]
fn jobs_that_wait_are_not_lost_but_a_demo_with_an_end_must_end_them() {
    let mut summary = fine();
    summary.waiting = [0, 1, 2];
    summary.ending = Ending::Stopped;
    assert_eq!(summary.verdict(), Verdict::Kept);
    has(&summary, "3 jobs were still waiting when it was ended");
    summary.ending = Ending::GaveUp;
    summary.overtime = 30 * SECOND;
    assert_eq!(summary.verdict(), Verdict::Broken);
    has(
        &summary,
        "30.0 s after the time was over 3 jobs had not ended and 0 submissions had no answer",
    );
    has(&summary, "nothing was lost: yes");
    has(&summary, "What happened in 10.0 s (30.0 s more than asked for, to let the last jobs end)");
}

#[test]
fn a_demo_in_which_nothing_happened_shows_nothing() {
    let mut summary = fine();
    summary.seen = Seen::default();
    assert_eq!(summary.verdict(), Verdict::Broken);
    summary.ending = Ending::Stopped;
    assert_eq!(summary.verdict(), Verdict::Kept, "it may be ended before anything came");
    summary.ending = Ending::DaemonGone;
    assert_eq!(summary.verdict(), Verdict::Broken);
    has(&summary, "the daemon stopped by itself");
}

#[test]
fn quantiles_are_samples_by_nearest_rank() {
    let hundred: Vec<Duration> = (1..=100).map(|n| n * MS).collect();
    assert_eq!(quantile(&hundred, 0.5), Some(50 * MS));
    assert_eq!(quantile(&hundred, 0.99), Some(99 * MS));
    assert_eq!(quantile(&hundred, 1.0), Some(100 * MS));
    assert_eq!(quantile(&hundred, 0.0), Some(MS));
    assert_eq!(quantile(&hundred[..1], 0.99), Some(MS));
    assert_eq!(quantile(&hundred[..3], 0.5), Some(2 * MS));
    assert_eq!(quantile(&[], 0.5), None);
}
