//! Questions on the wire, and what their answers come to; answers that only begin the work.

use std::time::Duration;

use bytes::Bytes;

use super::legacy::{JOB, Legacy, dispatcher, header, outgoing_for, post};
use crate::broker::course::Aim;
use crate::broker::payload::{Follow, Outcome, Report, Request};
use crate::config::{Target, parse};

/// The target `legacy` of a configuration with more of its keys.
fn configured(legacy: &Legacy, more: &str) -> Target {
    let text = format!(
        "[targets.legacy]\nurl = \"http://{}/base\"\ntimeout = \"60s\"\nlimit.rate = \"1/s\"\n\
         headers = {{ X-Own = \"1\" }}\n{more}",
        legacy.addr
    );
    let config = parse(&text, std::path::Path::new("t.toml"), &|_| None).unwrap();
    (*config.targets["legacy"]).clone()
}

const VERIFY: &str = "[targets.legacy.verify]\npath = \"/o/{body:/id}?k={idempotency_key}\"\n\
                      done = \"200\"\nnot_done = [\"404\", { status = \"2xx\", body_contains = \"none\" }]\n";

const COMPLETION: &str = "completion = { done = { status = \"200\", body_pointer = \"/state\", \
                          body_equals = \"ok\" }, failed = { body_pointer = \"/state\", \
                          body_equals = \"no\" } }\n";

fn order() -> Request {
    let line = |name: &str, value: &'static str| (name.to_owned(), Bytes::from(value));
    Request {
        headers: vec![
            line("authorization", "Bearer x"),
            line("content-type", "application/json"),
            line("if-match", "\"1\""),
            line("range", "bytes=0-1"),
        ],
        idempotency_key: Some("k&1".into()),
        ..post("/orders", r#"{"id":"A/1"}"#)
    }
}

async fn ask(target: &Target, request: &Request, aim: Aim) -> Report {
    dispatcher().attempt(target, outgoing_for(request, &aim)).await
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_question_carries_the_jobs_names_and_none_of_its_work() {
    let legacy = Legacy::answering(answer(200, "", "{}")).await;
    let target = configured(&legacy, VERIFY);
    let report = ask(&target, &order(), Aim::Verify).await;
    assert_eq!((report.outcome, &report.follow), (Outcome::Done, &Follow::Nothing));
    let (_, got) = legacy.seen().requests.remove(0);
    let text = String::from_utf8_lossy(&got).into_owned();
    assert!(text.starts_with("GET /base/o/A%2F1?k=k%261 HTTP/1.1\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n"), "no body: {text}");
    assert_eq!(header(&got, "idempotency-key").as_deref(), Some("k&1"));
    assert_eq!(header(&got, "tollgate-job-id"), Some(JOB.to_string()));
    assert_eq!(header(&got, "authorization").as_deref(), Some("Bearer x"));
    assert_eq!(header(&got, "x-own").as_deref(), Some("1"));
    for absent in ["content-type", "content-length", "if-match", "range"] {
        assert_eq!(header(&got, absent), None, "{absent}");
    }
}

#[tokio::test]
async fn what_an_answer_to_a_verify_says() {
    for (status, body, outcome, follow) in [
        (200, "none", Outcome::Done, Follow::Nothing),
        (404, "", Outcome::Done, Follow::NotDone),
        (201, "there is none", Outcome::Done, Follow::NotDone),
        (201, "", Outcome::Unknown, Follow::Nothing),
        (401, "", Outcome::Unknown, Follow::Nothing),
        (429, "", Outcome::Refused, Follow::Nothing),
        (500, "", Outcome::Unknown, Follow::Nothing),
    ] {
        let legacy = Legacy::answering_once(answer(status, "", body)).await;
        let report = ask(&configured(&legacy, VERIFY), &order(), Aim::Verify).await;
        assert_eq!((report.outcome, report.follow), (outcome, follow), "{status} {body}");
    }
    // Half an answer decides nothing, whatever its status.
    let half = "HTTP/1.1 404 X\r\nContent-Length: 5\r\n\r\nno";
    let legacy = Legacy::answering_once(half).await;
    let report = ask(&configured(&legacy, VERIFY), &order(), Aim::Verify).await;
    assert_eq!((report.outcome, report.follow), (Outcome::Unknown, Follow::Nothing));
    // Nobody there did nothing, and a question that cannot be made says nothing.
    let target = configured(&legacy, VERIFY);
    let report = ask(&target, &post("/orders", "{}"), Aim::Verify).await;
    assert_eq!(report.outcome, Outcome::Unknown);
    assert!(report.reason.unwrap().contains("/id"), "the pointer is named");
    let report = ask(&configured(&legacy, ""), &order(), Aim::Verify).await;
    assert!(report.reason.unwrap().contains("no [targets.legacy.verify]"));
}

#[tokio::test]
async fn a_202_begins_the_work_where_that_is_configured() {
    let headers = "Location: /base/status/7\r\nRetry-After: 30\r\n";
    let legacy = Legacy::answering(answer(202, headers, "{}")).await;
    let report = ask(&configured(&legacy, ""), &order(), Aim::Work).await;
    assert_eq!((report.outcome, report.follow), (Outcome::Done, Follow::Nothing));
    let target = configured(&legacy, COMPLETION);
    let report = ask(&target, &order(), Aim::Work).await;
    let path = "/status/7".to_owned();
    assert_eq!((report.outcome, report.follow), (Outcome::Done, Follow::Accepted { path }));
    assert_eq!(report.retry_after, Some(Duration::from_secs(30)));
    for location in ["", "Location: http://127.0.0.1:1/base/x\r\n", "Location: ../../etc\r\n"] {
        let legacy = Legacy::answering_once(answer(202, location, "{}")).await;
        let report = ask(&configured(&legacy, COMPLETION), &order(), Aim::Work).await;
        assert_eq!(report.outcome, Outcome::Done);
        let Follow::Astray { reason } = report.follow else { panic!("{location} is followed") };
        assert!(reason.contains("header location"), "{reason}");
    }
}

#[tokio::test]
async fn what_an_answer_to_a_poll_says() {
    for (status, body, outcome, follow) in [
        (200, r#"{"state":"ok"}"#, Outcome::Done, Follow::Nothing),
        (200, r#"{"state":"no"}"#, Outcome::Rejected, Follow::Nothing),
        (200, r#"{"state":"busy"}"#, Outcome::Done, Follow::Pending),
        (202, "", Outcome::Done, Follow::Pending),
        (404, "", Outcome::Unknown, Follow::Nothing),
        (503, "", Outcome::Refused, Follow::Nothing),
    ] {
        let legacy = Legacy::answering_once(answer(status, "Retry-After: 2\r\n", body)).await;
        let aim = Aim::Poll { path: "/status/7?x=1".into() };
        let report = ask(&configured(&legacy, COMPLETION), &order(), aim).await;
        assert_eq!((report.outcome, &report.follow), (outcome, &follow), "{status} {body}");
        let waits = outcome == Outcome::Refused || follow == Follow::Pending;
        assert_eq!(report.retry_after, waits.then_some(Duration::from_secs(2)));
        let (_, got) = legacy.seen().requests.remove(0);
        assert!(got.starts_with(b"GET /base/status/7?x=1 HTTP/1.1\r\n"));
    }
}

#[tokio::test]
async fn rules_come_first_and_only_what_is_kept_is_seen() {
    let rules = "[targets.legacy.response]\nmax_body = \"10B\"\nrules = [\
                 { status = \"200\", body_contains = \"fault\", outcome = \"rejected\" },\
                 { status = \"5xx\", header = \"x-busy\", outcome = \"refused\" }]\n";
    for (status, headers, body, outcome) in [
        (200, "", "a fault", Outcome::Rejected),
        (200, "", "far beyond is a fault", Outcome::Done),
        (500, "X-Busy: 1\r\nRetry-After: 3\r\n", "", Outcome::Refused),
        (500, "", "", Outcome::Unknown),
    ] {
        let legacy = Legacy::answering_once(answer(status, headers, body)).await;
        let report = ask(&configured(&legacy, rules), &order(), Aim::Work).await;
        assert_eq!(report.outcome, outcome, "{status} {body}");
        let kept = report.answer.unwrap();
        assert_eq!((kept.keep, kept.truncated), (10, body.len() > 10));
        let wanted = (outcome == Outcome::Refused).then_some(Duration::from_secs(3));
        assert_eq!(report.retry_after, wanted, "a refusal by rule holds the target too");
    }
}
