//! Targets that speak HTTP/2, by ALPN.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Response;
use tokio::sync::Notify;

use super::legacy::{Legacy, Peer, dispatcher, get, outgoing, post, time_out};
use super::tls::{acceptor, https};
use crate::broker::payload::{Outcome, Request};
use crate::config::Target;

type Exchange = (http::Request<RecvStream>, SendResponse<Bytes>);

/// Runs `script` for each stream of each connection, all at once.
async fn serve<F, Fut>(script: F) -> Legacy
where
    F: Fn(http::Request<RecvStream>, SendResponse<Bytes>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let acceptor = acceptor(&["h2", "http/1.1"]);
    Legacy::start(move |peer: Peer<_>| {
        let (acceptor, script) = (acceptor.clone(), script.clone());
        async move {
            let Some(peer) = peer.tls(acceptor).await else { return };
            let Ok(mut connection) = h2::server::handshake(peer.stream).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(script(request, respond));
            }
        }
    })
    .await
}

fn answer(respond: &mut SendResponse<Bytes>, status: u16, body: &'static str) {
    let response = Response::builder().status(status).header("x-twice", "1").header("x-twice", "2");
    let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
    stream.send_data(body.into(), true).unwrap();
}

#[tokio::test]
async fn requests_share_a_connection() {
    let seen: Arc<Mutex<Vec<http::request::Parts>>> = Arc::default();
    let record = seen.clone();
    let legacy = serve(move |request, mut respond| {
        let (parts, mut body) = request.into_parts();
        record.lock().unwrap().push(parts);
        async move {
            while let Some(data) = body.data().await {
                assert_eq!(data.unwrap(), "x");
            }
            answer(&mut respond, 200, "ok");
        }
    })
    .await;
    let dispatcher = dispatcher();
    for _ in 0..5 {
        let report = dispatcher.attempt(&https(&legacy), outgoing(&post("/a?b", "x"))).await;
        assert_eq!(report.outcome, Outcome::Done, "{report:?}");
        let answer = report.answer.unwrap();
        assert_eq!((&answer.body[..], answer.truncated), (&b"ok"[..], false));
        let line = |value: &'static str| ("x-twice".to_owned(), value.into());
        assert_eq!(answer.headers, [line("1"), line("2")]);
    }
    assert_eq!(legacy.seen().connections, 1);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[0].uri.to_string(), format!("https://{}/a?b", legacy.addr));
    assert!(!seen[0].headers.contains_key("host"));
    assert_eq!(seen[0].headers["content-length"], "1");
    assert_eq!(seen[0].headers["tollgate-priority"], "HIGH");
}

#[tokio::test]
async fn every_status_and_an_empty_body() {
    let legacy = serve(|request, mut respond| async move {
        let status: u16 = request.uri().path()[1..].parse().unwrap();
        let response = Response::builder().status(status).header("retry-after", "5");
        respond.send_response(response.body(()).unwrap(), true).unwrap();
    })
    .await;
    let dispatcher = dispatcher();
    for (path, outcome) in [
        ("/204", Outcome::Done),
        ("/303", Outcome::Rejected),
        ("/404", Outcome::Rejected),
        ("/429", Outcome::Refused),
        ("/500", Outcome::Unknown),
        ("/503", Outcome::Refused),
    ] {
        let report = dispatcher.attempt(&https(&legacy), outgoing(&get(path))).await;
        assert_eq!(report.outcome, outcome);
        let waits = outcome == Outcome::Refused;
        assert_eq!(report.retry_after, waits.then_some(Duration::from_secs(5)));
    }
    let head = Request { method: "HEAD".to_owned(), ..get("/200") };
    let report = dispatcher.attempt(&https(&legacy), outgoing(&head)).await;
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(legacy.seen().connections, 1);
}

#[tokio::test]
async fn only_a_refused_stream_is_refused() {
    for (reason, outcome) in [
        (Reason::REFUSED_STREAM, Outcome::Refused),
        (Reason::CANCEL, Outcome::Unknown),
        (Reason::INTERNAL_ERROR, Outcome::Unknown),
        (Reason::NO_ERROR, Outcome::Unknown),
        (Reason::ENHANCE_YOUR_CALM, Outcome::Unknown),
    ] {
        let legacy = serve(move |_, mut respond| async move { respond.send_reset(reason) }).await;
        let dispatcher = dispatcher();
        for _ in 0..3 {
            let report = dispatcher.attempt(&https(&legacy), outgoing(&post("/", "x"))).await;
            assert_eq!((report.outcome, report.answer), (outcome, None), "{reason:?}");
            assert!(report.reason.unwrap().contains(&legacy.addr.to_string()));
        }
        // A refused stream says nothing against its connection.
        let connections = legacy.seen().connections;
        assert_eq!(connections, if outcome == Outcome::Refused { 1 } else { 3 });
    }
}

#[tokio::test]
async fn a_success_that_breaks_off_is_unknown() {
    for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::REFUSED_STREAM] {
        let legacy = serve(move |_, mut respond| async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            // More than the window: once all of it is out, the head and some have been read.
            let mut left: usize = 4 << 20;
            while left > 0 {
                stream.reserve_capacity(left);
                let room = poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
                stream.send_data(vec![b'x'; room.min(left)].into(), false).unwrap();
                left -= room.min(left);
            }
            stream.send_reset(reason);
        })
        .await;
        let request = Request { live: true, ..get("/") };
        let report = dispatcher().attempt(&https(&legacy), outgoing(&request)).await;
        assert_eq!(report.outcome, Outcome::Unknown, "{reason:?}");
        assert!(report.reason.unwrap().starts_with("in the middle of the answer: "));
        let answer = report.answer.unwrap();
        assert_eq!((answer.status, answer.truncated), (200, true));
        assert!(!answer.body.is_empty());
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_unknown_for_all_on_it() {
    let acceptor = acceptor(&["h2"]);
    let legacy = Legacy::start(move |peer: Peer<_>| {
        let acceptor = acceptor.clone();
        async move {
            let Some(peer) = peer.tls(acceptor).await else { return };
            let Ok(mut connection) = h2::server::handshake(peer.stream).await else { return };
            let mut held: Vec<Exchange> = Vec::new();
            while held.len() < 2 {
                let Some(Ok(exchange)) = connection.accept().await else { return };
                if exchange.0.uri().path() == "/first" {
                    let (_, mut respond) = exchange;
                    answer(&mut respond, 200, "ok");
                } else {
                    held.push(exchange);
                }
            }
        }
    })
    .await;
    let (dispatcher, target) = (dispatcher(), https(&legacy));
    let first = get("/first");
    assert_eq!(dispatcher.attempt(&target, outgoing(&first)).await.outcome, Outcome::Done);
    let (one, two) = (post("/1", "x"), post("/2", "x"));
    let (one, two) = tokio::join!(
        dispatcher.attempt(&target, outgoing(&one)),
        dispatcher.attempt(&target, outgoing(&two)),
    );
    assert_eq!((one.outcome, two.outcome), (Outcome::Unknown, Outcome::Unknown));
    assert_eq!(legacy.seen().connections, 1);
}

#[tokio::test]
async fn one_that_times_out_leaves_the_others_alone_and_gets_the_connection_retired() {
    let (go_on, waiting) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let script = {
        let (go_on, waiting) = (go_on.clone(), waiting.clone());
        move |request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>| {
            let (go_on, waiting) = (go_on.clone(), waiting.clone());
            async move {
                match request.uri().path() {
                    "/slow" => {
                        waiting.notify_one();
                        go_on.notified().await;
                        answer(&mut respond, 200, "slow");
                    }
                    "/never" => {
                        waiting.notify_one();
                        std::future::pending::<()>().await;
                    }
                    _ => answer(&mut respond, 200, "ok"),
                }
            }
        }
    };
    let legacy = serve(script).await;
    let (dispatcher, target) = (dispatcher(), https(&legacy));
    let slow = {
        let (dispatcher, target) = (dispatcher.clone(), target.clone());
        tokio::spawn(async move { dispatcher.attempt(&target, outgoing(&get("/slow"))).await })
    };
    waiting.notified().await;
    let (second, never) = (Duration::from_secs(1), get("/never"));
    let short = Target { timeout: second, ..target.clone() };
    let attempt = dispatcher.attempt(&short, outgoing(&never));
    let report = time_out(attempt, waiting.notified(), second).await;
    assert_eq!((report.outcome, report.answer), (Outcome::Unknown, None));
    let expected = format!("timed out after 1s, after the request was sent to {}", legacy.addr);
    assert_eq!(report.reason, Some(expected));
    assert_eq!(legacy.seen().connections, 1);

    // It may be the connection that is dead: nobody new is sent down it.
    let report = dispatcher.attempt(&target, outgoing(&get("/"))).await;
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(legacy.seen().connections, 2);
    go_on.notify_one();
    assert_eq!(&slow.await.unwrap().answer.unwrap().body[..], b"slow");
}

#[tokio::test]
async fn one_that_was_closed_with_a_goaway_is_replaced() {
    let acceptor = acceptor(&["h2"]);
    let closed = Arc::new(Notify::new());
    let tell = closed.clone();
    let legacy = Legacy::start(move |peer: Peer<_>| {
        let (acceptor, tell) = (acceptor.clone(), tell.clone());
        async move {
            let peer = peer.tls(acceptor).await.unwrap();
            let mut connection = h2::server::handshake(peer.stream).await.unwrap();
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            answer(&mut respond, 200, "ok");
            connection.graceful_shutdown();
            while let Some(Ok(_)) = connection.accept().await {}
            tell.notify_one();
        }
    })
    .await;
    let (dispatcher, target) = (dispatcher(), https(&legacy));
    for n in 1..=5 {
        let report = dispatcher.attempt(&target, outgoing(&post("/", "x"))).await;
        assert_eq!(report.outcome, Outcome::Done, "{report:?}");
        assert_eq!(legacy.seen().connections, n);
        closed.notified().await;
    }
}
