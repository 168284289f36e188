use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::broker::job::{Event, Failure, JobId, Place};
use crate::broker::time::Wall;
use crate::sources::fake;

const ID: u128 = 0x0197_a3b0_6d1e_7c55_b1b2_6f5a_4f0c_9e11;

fn record(end: End, what: Vec<Happening>) -> JobRecord {
    let at = Wall::EPOCH;
    let mut record = fake::record(JobId(ID), Place::Ended { end, at });
    record.header.attempts = 3;
    record.history = what.into_iter().map(|what| Event { at, what }).collect();
    record
}

fn answer(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    Answer {
        status,
        headers: vec![("content-type".into(), Bytes::from(content_type.to_owned()))],
        body: Bytes::from(body.into()),
        truncated: false,
        ..Answer::default()
    }
}

fn failure(end: End, what: Vec<Happening>, kept: Option<&Answer>) -> (String, Value) {
    match TokenAnswer::new(&record(end, what), end, kept) {
        TokenAnswer::Failure { error, cause } => {
            assert!(error.len() <= MAX_ERROR && cause.len() <= MAX_CAUSE, "{}", cause.len());
            (error, serde_json::from_str(&cause).unwrap())
        }
        TokenAnswer::Success { output } => panic!("a success: {output}"),
    }
}

fn success(kept: Option<&Answer>) -> Result<String, String> {
    let done = vec![Happening::Done { attempt: 3, status: 201 }];
    match TokenAnswer::new(&record(End::Succeeded, done), End::Succeeded, kept) {
        TokenAnswer::Success { output } => Ok(output),
        TokenAnswer::Failure { error, .. } => Err(error),
    }
}

#[test]
fn a_success_has_the_shape_of_the_http_task() {
    let output = success(Some(&answer(201, "application/json", r#"{"n":1.10}"#))).unwrap();
    assert_eq!(
        output,
        r#"{"StatusCode":201,"StatusText":"Created","Headers":{"content-type":["application/json"]},"ResponseBody":{"n":1.10}}"#
    );
    let gone: Value = serde_json::from_str(&success(None).unwrap()).unwrap();
    assert_eq!(gone["StatusCode"], 201);
}

#[test]
fn every_end_has_its_error() {
    let cancelled = vec![Happening::Cancelled { reason: Some("a person did".into()) }];
    let table = [
        (End::Failed(Failure::Rejected { status: 404 }), vec![], "Tollgate.Http.404", "404"),
        (End::Failed(Failure::RetriesExhausted), vec![], "Tollgate.RetriesExhausted", "3 attempts"),
        (
            End::Failed(Failure::BadMessage),
            vec![Happening::Unfit { reason: "no target".into() }],
            "Tollgate.BadMessage",
            "no target",
        ),
        (End::Expired, vec![], "Tollgate.DeadlineExceeded", "deadline"),
        (End::Cancelled, cancelled, "Tollgate.Cancelled", "a person did"),
    ];
    for (end, history, expected, part) in table {
        let (error, cause) = failure(end, history, None);
        assert_eq!(error, expected);
        assert_eq!(cause["id"], "0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11");
        assert_eq!(cause["attempts"], 3);
        assert!(cause["message"].as_str().unwrap().contains(part), "{cause}");
        assert!(cause.get("result").is_none());
    }
}

#[test]
fn a_cause_carries_the_last_answer() {
    let kept = answer(500, "application/json", r#"{"why":"disk"}"#);
    let (_, cause) = failure(End::Failed(Failure::RetriesExhausted), vec![], Some(&kept));
    assert_eq!(cause["result"]["StatusCode"], 500);
    assert_eq!(cause["result"]["ResponseBody"], json!({"why": "disk"}));
}

#[test]
fn a_result_fits_to_the_last_byte() {
    let empty = success(Some(&answer(200, "text/plain", ""))).unwrap().len();
    let of = |length: usize| answer(200, "text/plain", vec![b'x'; length]);
    let fits = success(Some(&of(MAX_OUTPUT - empty))).unwrap();
    assert_eq!(fits.len(), MAX_OUTPUT);
    assert_eq!(success(Some(&of(MAX_OUTPUT - empty + 1))), Err(RESULT_TOO_LARGE.into()));
    // It is bytes that count, not characters.
    let wide = answer(200, "text/plain", "ü".repeat(MAX_OUTPUT / 2).into_bytes());
    assert_eq!(success(Some(&wide)), Err(RESULT_TOO_LARGE.into()));
    // What is kept would fit, but is not all.
    let cut = Answer { truncated: true, ..of(10) };
    assert_eq!(success(Some(&cut)), Err(RESULT_TOO_LARGE.into()));
}

#[test]
fn what_is_too_large_says_where_it_can_be_read() {
    let kept = answer(200, "text/plain", vec![b'x'; MAX_OUTPUT]);
    let (error, cause) = failure(End::Succeeded, vec![], Some(&kept));
    assert_eq!(error, RESULT_TOO_LARGE);
    let message = cause["message"].as_str().unwrap();
    assert!(message.contains("/v1/jobs/0197a3b0-6d1e"), "{message}");
}

#[test]
fn a_long_cause_is_cut_and_stays_json() {
    let end = End::Failed(Failure::Rejected { status: 400 });
    let quotes = format!("[{}1]", "\"a\\u0001\",".repeat(9_000));
    let bodies = [
        answer(400, "text/plain", vec![b'x'; 200_000]),
        answer(400, "text/plain", vec![b'"'; 200_000]),
        answer(400, "text/plain", vec![1; 200_000]),
        answer(400, "text/plain", vec![0xff; 200_000]),
        answer(400, "text/plain", "日".repeat(60_000).into_bytes()),
        answer(400, "application/json", quotes.into_bytes()),
    ];
    for kept in &bodies {
        let TokenAnswer::Failure { cause, .. } =
            TokenAnswer::new(&record(end, vec![]), end, Some(kept))
        else {
            panic!("not a failure")
        };
        // As full as whole characters and groups allow.
        assert!((MAX_CAUSE - 12..=MAX_CAUSE).contains(&cause.len()), "{}", cause.len());
        let cause: Value = serde_json::from_str(&cause).unwrap();
        assert_eq!(cause["result"]["ResponseBodyTruncated"], true);
        assert!(cause["result"]["Headers"]["content-type"][0].as_str().is_some());
    }
}

#[test]
fn long_headers_and_messages_go_too() {
    let mut kept = answer(500, "text/plain", vec![b'x'; 100]);
    kept.headers.push(("x-long".into(), Bytes::from(vec![b'y'; 40_000])));
    let reason = Some("é".repeat(40_000));
    let history = vec![Happening::Unknown { attempt: 3, status: None, reason }];
    let (_, cause) = failure(End::Failed(Failure::RetriesExhausted), history, Some(&kept));
    assert_eq!(cause["result"]["Headers"], json!({}));
    assert_eq!(cause["result"]["ResponseBody"], "x".repeat(100));
    assert!(cause["message"].as_str().unwrap().len() <= MAX_MESSAGE);
}
