//! Connections that die while they are kept for the next request.
//!
//! Two promises meet here: a request that was never sent is not unknown, and one that perhaps was
//! is not sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Bench, DONE, UNKNOWN, told};
use crate::raw::Raw;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Each connection is closed after one answer, without a word (`Connection: close` was not said),
/// while the daemon keeps it. Every next request finds out, and loses nothing by it.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_closed_while_it_was_kept_costs_nothing() {
    let target = Raw::start(|mut peer| async move {
        if peer.request().await.is_some() {
            peer.say(OK).await;
        }
    })
    .await;
    let bench = Bench::new(target, "");
    for round in 0..200 {
        let path = format!("/{round}");
        let job = bench.job(&path).await;
        // The goodbye is on its way by now, and the next job comes on top of it.
        assert_eq!(told(&job), DONE, "{job}");
        assert_eq!(bench.target.got().of(&path), 1);
    }
    assert_eq!(bench.target.got().connections, 200);
}

/// The connection breaks with the request in it: perhaps the work was done. It is not sent again.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_breaks_with_a_request_on_it_is_unknown() {
    let target = Raw::start(|mut peer| async move {
        if peer.request().await.is_some() {
            peer.say(OK).await;
        }
        // The second request arrives, and is not answered.
        peer.request().await;
    })
    .await;
    let bench = Bench::new(target, "");
    let mut unknown = 0;
    for round in 0..100 {
        let path = format!("/{round}");
        let job = bench.job(&path).await;
        let expected = if round % 2 == 0 { DONE } else { UNKNOWN };
        assert_eq!(told(&job), expected, "{round}: {job}");
        assert_eq!(bench.target.got().of(&path), 1, "{path}");
        unknown += usize::from(expected == UNKNOWN);
    }
    assert_eq!((unknown, bench.target.got().connections), (50, 50));
}

/// Goodbyes race with requests. Nobody can tell where each one fell; but nothing is sent twice,
/// whatever arrived is known to have been sent, and what was not answered is not called done.
#[tokio::test(flavor = "multi_thread")]
async fn goodbyes_that_race_with_requests_lose_and_double_nothing() {
    const JOBS: usize = 3_000;
    let turns = Arc::new(AtomicUsize::new(0));
    let target = Raw::start(move |mut peer| {
        let turns = turns.clone();
        async move {
            while peer.request().await.is_some() {
                peer.say(OK).await;
                match turns.fetch_add(1, Ordering::Relaxed) % 5 {
                    0 => return,
                    1 => return peer.reset(),
                    2 => tokio::task::yield_now().await,
                    _ => {}
                }
            }
        }
    })
    .await;
    let bench = Bench::new(target, "");
    let paths: Vec<String> = (0..JOBS).map(|n| format!("/{n}")).collect();
    let ended = bench.jobs(&paths).await;
    let got = bench.target.got();
    let mut unknown = 0;
    for (job, path) in ended.iter().zip(&paths) {
        match told(job).as_str() {
            DONE => assert_eq!(got.of(path), 1, "{job}"),
            UNKNOWN => {
                unknown += 1;
                assert!(got.of(path) <= 1, "sent twice: {job}");
            }
            // It was given up before a byte of it was sent, and then sent elsewhere.
            other => {
                assert!(
                    other.starts_with("enqueued sent(1) refused") && got.of(path) <= 1,
                    "{job}"
                );
            }
        }
    }
    println!("{JOBS} jobs on {} connections, {unknown} unknown", got.connections);
    assert!(got.connections > JOBS / 20, "{} connections", got.connections);
}
