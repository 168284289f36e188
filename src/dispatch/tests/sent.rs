//! Refused or unknown: whether a byte left.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use super::legacy::{Legacy, PATIENCE, attempt, dispatcher, get, outgoing, post, target, time_out};
use crate::broker::payload::{Outcome, Report};
use crate::config::Target;

/// For tests that are about the timeout.
const SHORT: Duration = Duration::from_millis(200);

fn short(target: Target) -> Target {
    Target { timeout: SHORT, ..target }
}

fn assert_reason(report: &Report, parts: &[&str]) {
    let reason = report.reason.as_deref().unwrap();
    for part in parts {
        assert!(reason.contains(part), "{part:?} in {reason:?}");
    }
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let report = attempt(&target(&format!("http://{addr}")), &post("/", "x")).await;
    assert_eq!(report.outcome, Outcome::Refused);
    assert_eq!(report.answer, None);
    let expected = format!("connect to {addr} failed: connection refused");
    assert_eq!(report.reason, Some(expected));
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_refuses() {
    // A label of more than 63 octets fails before anybody is asked.
    let url = format!("http://{}.invalid", "a".repeat(64));
    let report = attempt(&target(&url), &post("/", "x")).await;
    assert_eq!(report.outcome, Outcome::Refused);
    assert_reason(&report, &["connect to aaaa", ":80 failed: failed to lookup address"]);
}

#[tokio::test]
async fn a_target_that_cannot_be_connected_to_in_time_refuses() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    // Connections that nobody accepts, until there is no room for another.
    let mut fill = Vec::new();
    while let Ok(connected) = tokio::time::timeout(SHORT, TcpStream::connect(addr)).await {
        fill.push(connected.unwrap());
        assert!(fill.len() < 64, "the backlog never fills");
    }
    let report = attempt(&short(target(&format!("http://{addr}"))), &post("/", "x")).await;
    assert_eq!(report.outcome, Outcome::Refused);
    assert_eq!(report.reason, Some(format!("timed out after 200ms, connecting to {addr}")));
    drop(listener);
}

#[tokio::test]
async fn closed_at_once_is_refused_if_it_was_in_time_and_unknown_if_not() {
    let legacy = Legacy::start(|peer| async move { drop(peer) }).await;
    for _ in 0..50 {
        let report = attempt(&legacy.target(), &post("/", "x")).await;
        let reason = report.reason.as_deref().unwrap();
        // Which of the two is a race; that each is told truly is not.
        if report.outcome == Outcome::Refused {
            assert!(reason.contains("before the request was sent"), "{reason}");
        } else {
            assert_eq!(report.outcome, Outcome::Unknown);
            assert!(reason.contains("to a request that was sent"), "{reason}");
        }
    }
    assert_eq!(legacy.seen().connections, 50, "a fresh connection that fails is not tried again");
}

#[tokio::test]
async fn closed_after_the_request_is_unknown() {
    let legacy = Legacy::answering_once("").await;
    let report = attempt(&legacy.target(), &post("/", "x")).await;
    assert_eq!(report.outcome, Outcome::Unknown);
    assert_eq!(report.answer, None);
    let addr = legacy.addr.to_string();
    assert_reason(
        &report,
        &["no answer from", &addr, "connection closed before message completed"],
    );
    assert_eq!(legacy.seen().requests.len(), 1);
}

#[tokio::test]
async fn half_a_head_is_unknown() {
    let legacy = Legacy::answering_once("HTTP/1.1 200 OK\r\nContent-Le").await;
    let report = attempt(&legacy.target(), &get("/")).await;
    assert_eq!((report.outcome, report.answer), (Outcome::Unknown, None));
}

#[tokio::test]
async fn no_http_at_all_is_unknown() {
    let legacy = Legacy::answering_once("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    let report = attempt(&legacy.target(), &get("/")).await;
    assert_eq!((report.outcome, report.answer), (Outcome::Unknown, None));
}

#[tokio::test]
async fn a_head_without_end_is_unknown() {
    for head in ["x: y\r\n".repeat(100_000), format!("x: {}\r\n", "y".repeat(1 << 20))] {
        let legacy = Legacy::answering_once(format!("HTTP/1.1 200 OK\r\n{head}\r\n")).await;
        let report = attempt(&legacy.target(), &get("/")).await;
        assert_eq!((report.outcome, report.answer), (Outcome::Unknown, None));
    }
}

/// Never reads; tells when there is something to read.
async fn deaf() -> (Legacy, Arc<Notify>) {
    let arrived = Arc::new(Notify::new());
    let tell = arrived.clone();
    let legacy = Legacy::start(move |peer| {
        let tell = tell.clone();
        async move {
            peer.stream.peek(&mut [0]).await.unwrap();
            tell.notify_one();
            std::future::pending::<()>().await;
        }
    })
    .await;
    (legacy, arrived)
}

#[tokio::test]
async fn silence_before_reading_is_unknown() {
    // The kernel took the request; so it may be read yet.
    let (legacy, arrived) = deaf().await;
    let (target, request) = (legacy.target(), post("/", "x"));
    let report = time_out(attempt(&target, &request), arrived.notified(), PATIENCE).await;
    assert_eq!(report.outcome, Outcome::Unknown);
    let expected = format!("timed out after 1m, after the request was sent to {}", legacy.addr);
    assert_eq!(report.reason, Some(expected));
}

#[tokio::test]
async fn a_body_too_large_for_the_sockets_is_unknown_when_nobody_reads_it() {
    let (legacy, arrived) = deaf().await;
    let (target, request) = (legacy.target(), post("/", vec![0; 64 << 20]));
    let report = time_out(attempt(&target, &request), arrived.notified(), PATIENCE).await;
    assert_eq!(report.outcome, Outcome::Unknown);
}

#[tokio::test]
async fn silence_after_reading_is_unknown_and_the_connection_is_closed() {
    let legacy = Legacy::start(|mut peer| async move {
        peer.request().await.unwrap();
        peer.until_hung_up().await;
    })
    .await;
    let (target, request) = (legacy.target(), post("/", "x"));
    let arrived = legacy.until(|seen| seen.requests.len() == 1);
    let report = time_out(attempt(&target, &request), arrived, PATIENCE).await;
    assert_eq!((report.outcome, report.answer), (Outcome::Unknown, None));
    legacy.until(|seen| seen.hung_up == 1).await;
}

#[tokio::test]
async fn an_attempt_that_is_given_up_closes_its_connection() {
    let legacy = Legacy::start(|mut peer| async move {
        peer.request().await.unwrap();
        peer.until_hung_up().await;
    })
    .await;
    let dispatcher = dispatcher();
    let (target, request) = (legacy.target(), post("/", "x"));
    tokio::select! {
        report = dispatcher.attempt(&target, outgoing(&request)) => panic!("{report:?}"),
        () = legacy.until(|seen| seen.requests.len() == 1) => {}
    }
    legacy.until(|seen| seen.hung_up == 1).await;
}

#[tokio::test]
async fn what_no_request_can_be_made_of_is_rejected() {
    let legacy = Legacy::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let mut bad = vec![get("no-slash"), get("/a#b"), get("/a b"), get("/")];
    bad[3].method = "G T".to_owned();
    let mut secret = get("/");
    secret.headers = vec![("x-key".to_owned(), "hunter2\n".into())];
    bad.push(secret);
    for request in bad {
        let report = attempt(&legacy.target(), &request).await;
        assert_eq!((report.outcome, report.answer), (Outcome::Rejected, None), "{request:?}");
        assert!(!report.reason.unwrap().contains("hunter2"));
    }
    assert_eq!(legacy.seen().connections, 0);
}

/// Whatever the target does, and whenever time runs out: what is reported as refused without an
/// answer never arrives, and nothing arrives twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_refused_never_arrived() {
    const ATTEMPTS: usize = 4_000;
    const AT_ONCE: usize = 8;
    let legacy = Legacy::start(|mut peer| async move {
        // Serves none to six requests, and then closes at one of four moments.
        for _ in 0..peer.nth % 7 {
            if peer.request().await.is_none() {
                return;
            }
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
        match peer.nth % 4 {
            // With what is unread, if anything: a reset.
            0 => {}
            1 => {
                peer.request().await;
            }
            2 => {
                peer.request().await;
                peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await;
            }
            _ => peer.until_hung_up().await,
        }
        // What arrived unread is no request that was seen; so look.
        peer.drain();
    })
    .await;
    let (dispatcher, target) = (dispatcher(), Arc::new(legacy.target()));
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..AT_ONCE {
        let (dispatcher, target) = (dispatcher.clone(), target.clone());
        workers.spawn(async move {
            let mut reports = Vec::new();
            for n in (worker..ATTEMPTS).step_by(AT_ONCE) {
                let timeout = Duration::from_micros(1 + n as u64 * 7 % 10_000);
                let target = Target { timeout, ..(*target).clone() };
                let request = post(&format!("/{n}"), "x");
                reports.push((n, dispatcher.attempt(&target, outgoing(&request)).await));
            }
            reports
        });
    }
    let reports: Vec<(usize, Report)> = workers.join_all().await.into_iter().flatten().collect();
    drop(dispatcher);
    legacy.until(|seen| seen.over == seen.connections).await;

    let mut arrived = vec![0; ATTEMPTS];
    for (_, request) in legacy.seen().requests {
        let path = std::str::from_utf8(&request).unwrap().split(' ').nth(1).unwrap();
        arrived[path[1..].parse::<usize>().unwrap()] += 1;
    }
    let mut told = std::collections::BTreeMap::new();
    for (n, report) in reports {
        *told.entry(report.outcome).or_insert(0) += 1;
        match report.outcome {
            Outcome::Done => assert_eq!(arrived[n], 1, "{report:?}"),
            Outcome::Refused => assert_eq!(arrived[n], 0, "{report:?}"),
            Outcome::Unknown => assert!(arrived[n] <= 1, "{report:?}"),
            Outcome::Rejected => panic!("{report:?}"),
        }
    }
    assert!(told.contains_key(&Outcome::Done) && told.contains_key(&Outcome::Unknown), "{told:?}");
}
