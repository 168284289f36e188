//! Jobs as callers and queues send them: see [`crate::fuzz`].

use crate::broker::io::Submission;
use crate::broker::job::{JobId, Priority, TargetId};
use crate::broker::time::Wall;
use crate::dispatch::fuzz::sendable;
use crate::fuzz::directory;
use crate::http_api::new_job::NewJob;
use crate::http_api::problem::Problem;
use crate::http_api::submission::validate;

use super::jobs_api::batch;
use super::message::{Message, Origin};

const ID: JobId = JobId(0x0197_a3b0_6d1e_7c55_b1b2_6f5a_4f0c_9e11);

/// 2026-01-31T08:00:00Z
fn now() -> Wall {
    Wall::from_millis(1_769_846_400_000)
}

/// One job of the jobs API. What is taken in can be sent.
pub fn job(bytes: &[u8]) {
    let (directory, erp) = directory();
    match NewJob::parse(bytes).and_then(|job| validate(job, &directory, now(), ID)) {
        Ok(submission) => sendable(&erp, &submission.request),
        Err(problem) => check(&problem),
    }
}

/// A batch of them: an array, or a line each. An entry is a part of what was sent.
pub fn lines(bytes: &[u8]) {
    for as_lines in [false, true] {
        match batch::split(bytes, as_lines) {
            Ok(entries) => {
                assert!(entries.iter().map(|entry| entry.len()).sum::<usize>() <= bytes.len());
                entries.iter().for_each(|entry| job(entry));
            }
            Err(problem) => check(&problem),
        }
    }
}

/// A message of a queue. Whatever it is, it becomes a job, with its bytes where it is a dead one.
pub fn message(bytes: &[u8]) {
    let (directory, erp) = directory();
    // The first byte says how it came.
    let Some((how, body)) = bytes.split_first() else { return };
    let origin = |how: u8| match how % 4 {
        0 => Origin::Sqs { message_id: "m-1", dedup_id: None, group: None },
        1 => Origin::Sqs { message_id: "m-1", dedup_id: None, group: Some("tenant") },
        2 => Origin::Sqs { message_id: "m-1", dedup_id: Some("d-1"), group: Some("g") },
        _ => match crate::broker::payload::TaskToken::new("token") {
            Some(token) => Origin::Activity { token },
            None => unreachable!("it has five characters"),
        },
    };
    let understood = || {
        let target = ("erp", TargetId(1));
        let origin = origin(*how);
        let priority = Priority::Batch;
        Message { body, target, priority, origin }.understand(&directory, now(), ID)
    };
    let submission: Submission = understood();
    assert_eq!(submission.target, TargetId(1), "a message cannot choose its target");
    match &submission.unfit {
        Some(reason) => {
            assert_eq!(submission.request.body, body, "the bytes of {reason}");
            assert!(!reason.contains(['\r', '\0']), "{reason:?}");
        }
        None => sendable(&erp, &submission.request),
    }
    // Delivered again, it is the same job.
    let dedup = |submission: &Submission| submission.dedup.clone().map(|d| (d.name, d.digest));
    assert_eq!(dedup(&submission), dedup(&understood()));
    if let Some((name, _)) = dedup(&submission) {
        assert!(name.len() <= 1_024, "{name}");
    }
}

/// A problem is an answer to whoever sent this, and to whoever reads a log.
fn check(problem: &Problem) {
    let status = problem.kind().status().as_u16();
    assert!((400..500).contains(&status), "{problem:?}");
    assert!(!problem.detail().is_empty() && problem.detail().len() < 2_048, "{problem:?}");
    assert!(!problem.detail().contains(['\r', '\n', '\0']), "{problem:?}");
}
