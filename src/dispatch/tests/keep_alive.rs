//! Connections that are kept, and how they end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::legacy::{Legacy, dispatcher, get, outgoing, post};
use crate::broker::payload::Outcome;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_connection_is_used_again() {
    for answer in [
        OK,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let legacy = Legacy::answering(answer).await;
        let (dispatcher, target) = (dispatcher(), legacy.target());
        for n in 1..=20 {
            let report = dispatcher.attempt(&target, outgoing(&post("/", "x"))).await;
            assert!(report.answer.is_some(), "{report:?}");
            let seen = legacy.seen();
            assert_eq!((seen.connections, seen.requests.len()), (1, n), "{answer}");
        }
    }
}

#[tokio::test]
async fn one_that_the_answer_ends_is_not() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        // Something that belongs to no answer.
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let legacy = Legacy::answering(answer).await;
        let (dispatcher, target) = (dispatcher(), legacy.target());
        for n in 1..=3 {
            let report = dispatcher.attempt(&target, outgoing(&get("/"))).await;
            assert_eq!(report.outcome, Outcome::Done);
            assert_eq!(legacy.seen().connections, n, "{answer}");
        }
    }
}

/// Answers one request a connection, then closes when told to, and tells that it did.
async fn closing(close: Arc<Notify>, closed: Arc<Notify>) -> Legacy {
    Legacy::start(move |mut peer| {
        let (close, closed) = (close.clone(), closed.clone());
        async move {
            peer.request().await.unwrap();
            peer.say(OK).await;
            close.notified().await;
            drop(peer);
            closed.notify_one();
        }
    })
    .await
}

async fn stale(rounds: usize) {
    let (close, closed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let legacy = closing(close.clone(), closed.clone()).await;
    let (dispatcher, target) = (dispatcher(), legacy.target());
    for n in 1..=rounds {
        let report = dispatcher.attempt(&target, outgoing(&post("/", "x"))).await;
        assert_eq!(report.outcome, Outcome::Done, "{report:?}");
        let seen = legacy.seen();
        assert_eq!((seen.connections, seen.requests.len()), (n, n));
        close.notify_one();
        closed.notified().await;
    }
}

#[tokio::test]
async fn one_that_was_closed_while_idle_costs_nothing() {
    stale(50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_was_closed_while_idle_costs_nothing_on_many_threads() {
    stale(50).await;
}

#[tokio::test]
async fn several_that_were_closed_while_idle_cost_nothing() {
    const MANY: usize = 8;
    let gate = Arc::new(tokio::sync::Barrier::new(MANY));
    let close = Arc::new(Notify::new());
    let script = {
        let (gate, close) = (gate.clone(), close.clone());
        move |mut peer: super::legacy::Peer<_>| {
            let (gate, close) = (gate.clone(), close.clone());
            async move {
                peer.request().await.unwrap();
                if peer.nth <= MANY {
                    // All at once, so that each needs a connection of its own.
                    gate.wait().await;
                }
                let closing = close.notified();
                tokio::pin!(closing);
                closing.as_mut().enable();
                peer.say(OK).await;
                closing.await;
            }
        }
    };
    let legacy = Legacy::start(script).await;
    let (dispatcher, target) = (dispatcher(), Arc::new(legacy.target()));
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..MANY {
        let (dispatcher, target) = (dispatcher.clone(), target.clone());
        attempts
            .spawn(async move { dispatcher.attempt(&target, outgoing(&get("/"))).await.outcome });
    }
    assert_eq!(attempts.join_all().await, [Outcome::Done; MANY]);
    assert_eq!(legacy.seen().connections, MANY);
    close.notify_waiters();
    let report = dispatcher.attempt(&target, outgoing(&post("/", "x"))).await;
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(legacy.seen().requests.len(), MANY + 1);
}

#[tokio::test]
async fn one_that_is_closed_on_the_second_request_is_unknown_and_nothing_is_sent_twice() {
    let legacy = Legacy::start(|mut peer| async move {
        peer.request().await.unwrap();
        peer.say(OK).await;
        peer.request().await.unwrap();
    })
    .await;
    let (dispatcher, target) = (dispatcher(), legacy.target());
    let report = dispatcher.attempt(&target, outgoing(&post("/1", "x"))).await;
    assert_eq!(report.outcome, Outcome::Done);
    let report = dispatcher.attempt(&target, outgoing(&post("/2", "x"))).await;
    assert_eq!((report.outcome, report.answer), (Outcome::Unknown, None));
    let seen = legacy.seen();
    assert_eq!((seen.connections, seen.requests.len()), (1, 2));
}

#[tokio::test]
async fn words_unasked_are_no_answer_to_the_next_request() {
    let (speak, spoken) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let script = {
        let (speak, spoken) = (speak.clone(), spoken.clone());
        move |mut peer: super::legacy::Peer<_>| {
            let (speak, spoken) = (speak.clone(), spoken.clone());
            async move {
                peer.request().await.unwrap();
                peer.say(OK).await;
                speak.notified().await;
                peer.say("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").await;
                spoken.notify_one();
                peer.until_hung_up().await;
            }
        }
    };
    let legacy = Legacy::start(script).await;
    let (dispatcher, target) = (dispatcher(), legacy.target());
    for n in 1..=20 {
        let report = dispatcher.attempt(&target, outgoing(&post("/", "x"))).await;
        assert_eq!(report.outcome, Outcome::Done, "{report:?}");
        assert_eq!(legacy.seen().connections, n);
        speak.notify_one();
        spoken.notified().await;
    }
}

#[tokio::test]
async fn one_that_is_not_needed_is_closed_after_a_while() {
    let legacy = Legacy::answering(OK).await;
    let (dispatcher, target) = (dispatcher(), legacy.target());
    for n in 1..=2 {
        let report = dispatcher.attempt(&target, outgoing(&get("/"))).await;
        assert_eq!(report.outcome, Outcome::Done);
        assert_eq!(legacy.seen().connections, n);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(5)).await;
        tokio::time::resume();
        legacy.until(|seen| seen.hung_up == n).await;
    }
}

#[tokio::test]
async fn the_last_dispatcher_takes_its_connections_with_it() {
    let legacy = Legacy::answering(OK).await;
    let (dispatcher, target) = (dispatcher(), legacy.target());
    dispatcher.attempt(&target, outgoing(&get("/"))).await;
    drop(dispatcher);
    legacy.until(|seen| seen.hung_up == 1).await;
}
