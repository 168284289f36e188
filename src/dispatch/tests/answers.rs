//! What an answer means, and what is kept of it.

use std::time::{Duration, SystemTime};

use super::legacy::{Legacy, attempt, get, headers, post};
use crate::broker::payload::{Answer, Outcome, Request};
use crate::config::Target;

async fn answered(answer: impl Into<Vec<u8>>) -> crate::broker::payload::Report {
    let legacy = Legacy::answering_once(answer).await;
    attempt(&legacy.target(), &get("/")).await
}

fn body(report: &crate::broker::payload::Report) -> &[u8] {
    &report.answer.as_ref().unwrap().body
}

#[tokio::test]
async fn a_success_is_done_with_its_bytes_as_they_were() {
    let answer = b"HTTP/1.1 201 Made\r\nX-B: 1\r\nX-A: \xe9\xff\r\nContent-Length: 4\r\nX-B: 2\r\n\
        Connection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\n\r\n\
        \x00\xff\r\n";
    let report = answered(answer).await;
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(report.reason, None);
    let answer = report.answer.unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(&answer.body[..], b"\x00\xff\r\n");
    assert!(!answer.truncated);
    let line = |name: &str, value: &'static [u8]| (name.to_owned(), value.into());
    let expected = [
        line("x-b", b"1"),
        line("x-b", b"2"),
        line("x-a", b"\xe9\xff"),
        line("content-length", b"4"),
    ];
    assert_eq!(answer.headers, expected);
}

#[tokio::test]
async fn each_status_class() {
    for (status, outcome) in [
        (200, Outcome::Done),
        (299, Outcome::Done),
        (302, Outcome::Rejected),
        (400, Outcome::Rejected),
        (404, Outcome::Rejected),
        (429, Outcome::Refused),
        (500, Outcome::Unknown),
        (502, Outcome::Unknown),
        (503, Outcome::Refused),
        (600, Outcome::Rejected),
        (999, Outcome::Rejected),
    ] {
        let report = answered(format!(
            "HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\nhi"
        ))
        .await;
        assert_eq!(report.outcome, outcome, "{status}");
        assert_eq!(report.retry_after, None);
        let answer = report.answer.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (status, &b"hi"[..]));
    }
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_asked_for_is_rejected() {
    let report =
        answered("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
            .await;
    assert_eq!(report.outcome, Outcome::Rejected);
    assert_eq!(report.answer.unwrap().status, 101);
}

#[tokio::test]
async fn retry_after_in_seconds_and_as_a_date() {
    for status in [429, 503] {
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n");
        let report = answered(format!("{head}Retry-After: 7\r\n\r\n")).await;
        assert_eq!(report.outcome, Outcome::Refused);
        assert_eq!(report.retry_after, Some(Duration::from_secs(7)));

        let now = SystemTime::now();
        let date = |at| httpdate::fmt_http_date(at);
        let (sent, until) = (date(now), date(now + Duration::from_secs(90)));
        let report = answered(format!("{head}Date: {sent}\r\nRetry-After: {until}\r\n\r\n")).await;
        assert_eq!(report.outcome, Outcome::Refused);
        assert_eq!(report.retry_after, Some(Duration::from_secs(90)));

        let report = answered(format!("{head}Retry-After: {sent}\r\n\r\n")).await;
        assert_eq!(report.retry_after, Some(Duration::ZERO));
        let report = answered(format!("{head}Retry-After: soon\r\n\r\n")).await;
        assert_eq!(report.retry_after, None);
    }
    let report = answered("HTTP/1.1 500 X\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n").await;
    assert_eq!((report.outcome, report.retry_after), (Outcome::Unknown, None));
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let report = answered(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(body(&report), b"ok");
    assert!(!headers(&report).contains_key("link"));
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection() {
    for version in ["1.0", "1.1"] {
        let report = answered(format!("HTTP/{version} 200 OK\r\nX: y\r\n\r\nto the end")).await;
        assert_eq!(report.outcome, Outcome::Done, "{version}");
        assert_eq!(body(&report), b"to the end");
    }
}

#[tokio::test]
async fn a_chunked_body_is_decoded() {
    let report = answered(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n\
         3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
    )
    .await;
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(body(&report), b"abcde");
    assert!(headers(&report).is_empty());
}

#[tokio::test]
async fn answers_without_a_body() {
    let head = Request { method: "HEAD".to_owned(), ..get("/") };
    let legacy = Legacy::answering("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n").await;
    let report = attempt(&legacy.target(), &head).await;
    assert_eq!((report.outcome, body(&report)), (Outcome::Done, &b""[..]));
    assert_eq!(headers(&report)["content-length"], [b"12345"]);

    let report = answered("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n").await;
    assert_eq!((report.outcome, body(&report)), (Outcome::Done, &b""[..]));

    let report = answered("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((report.outcome, body(&report)), (Outcome::Done, &b""[..]));
    assert_eq!(headers(&report)["content-length"], [b"0"]);

    let report = answered("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n").await;
    assert_eq!((report.outcome, body(&report)), (Outcome::Rejected, &b""[..]));
    assert_eq!(headers(&report)["content-length"], [b"7"]);
}

#[tokio::test]
async fn a_success_that_breaks_off_is_unknown_with_what_there_is() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n\r\n",
    ] {
        let report = answered(answer).await;
        assert_eq!(report.outcome, Outcome::Unknown, "{answer:?}");
        assert!(report.reason.as_ref().unwrap().starts_with("in the middle of the answer: "));
        assert!(!headers(&report).contains_key("content-length"));
        let answer = report.answer.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"half"[..]));
        assert!(answer.truncated);
    }
}

#[tokio::test]
async fn a_refusal_or_rejection_that_breaks_off_is_still_one() {
    for (status, outcome) in
        [(429, Outcome::Refused), (503, Outcome::Refused), (422, Outcome::Rejected)]
    {
        let report = answered(format!(
            "HTTP/1.1 {status} X\r\nRetry-After: 3\r\nContent-Length: 10\r\n\r\nhalf"
        ))
        .await;
        assert_eq!(report.outcome, outcome, "{status}");
        let waits = outcome == Outcome::Refused;
        assert_eq!(report.retry_after, waits.then_some(Duration::from_secs(3)));
        assert!(report.answer.unwrap().truncated);
    }
}

#[tokio::test]
async fn lengths_that_contradict_each_other_are_unknown() {
    let report =
        answered("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc").await;
    assert_eq!((report.outcome, report.answer), (Outcome::Unknown, None));
}

#[tokio::test]
async fn a_body_that_trickles_is_cut_off_by_the_timeout() {
    for (status, outcome) in [(200, Outcome::Unknown), (404, Outcome::Rejected)] {
        let legacy = Legacy::start(move |mut peer| async move {
            peer.request().await.unwrap();
            peer.say(format!("HTTP/1.1 {status} X\r\nContent-Length: 10\r\n\r\na")).await;
            peer.until_hung_up().await;
        })
        .await;
        let target = Target { timeout: Duration::from_secs(1), ..legacy.target() };
        let report = attempt(&target, &get("/")).await;
        assert_eq!(report.outcome, outcome);
        assert_eq!(body(&report), b"a");
        let reason = "in the middle of the answer: timed out after 1s";
        assert_eq!(report.reason.as_deref(), Some(reason));
        legacy.until(|seen| seen.hung_up == 1).await;
    }
}

#[tokio::test]
async fn a_body_is_kept_up_to_its_cap() {
    for (live, cap) in [(false, Answer::KEPT), (true, Answer::LIVE)] {
        for (length, kept, truncated) in
            [(cap, cap, false), (cap + 1, cap, true), (4 * Answer::LIVE, cap, true)]
        {
            let mut answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
            answer.resize(answer.len() + length, b'x');
            let legacy = Legacy::answering(answer).await;
            let report = attempt(&legacy.target(), &Request { live, ..get("/") }).await;
            assert_eq!(report.outcome, Outcome::Done);
            assert_eq!(headers(&report).contains_key("content-length"), !truncated);
            let answer = report.answer.unwrap();
            assert_eq!((answer.body.len(), answer.truncated), (kept, truncated), "{live} {length}");
            if truncated {
                legacy.until(|seen| seen.hung_up == 1).await;
            }
        }
    }
}

#[tokio::test]
async fn an_early_413_is_rejected_though_the_body_was_never_read() {
    let legacy = Legacy::start(|mut peer| async move {
        // Answers at the first byte, and reads no other.
        peer.stream.peek(&mut [0]).await.unwrap();
        peer.say("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await;
        std::future::pending::<()>().await;
    })
    .await;
    let report = attempt(&legacy.target(), &post("/", vec![0; 64 << 20])).await;
    assert_eq!(report.outcome, Outcome::Rejected);
    assert_eq!(report.answer.as_ref().unwrap().status, 413);
    assert_eq!(body(&report), b"no");
    // The connection's task, stuck in its write, ends too; those left are the target's own two.
    while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 2 {
        tokio::task::yield_now().await;
    }
}
