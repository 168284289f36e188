//! Targets that say nothing, too little, too early or too much.

use serde_json::json;

use super::{BROKEN_OFF, Bench, DONE, REJECTED, UNKNOWN, reasons, told};
use crate::memory::Memory;
use crate::raw::Raw;

/// A connection that is accepted, and no more: the request may be read yet.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_accepts_and_stays_silent() {
    let target = Raw::start(|peer| async move {
        let _kept = peer;
        std::future::pending::<()>().await;
    })
    .await;
    let bench = Bench::new(target, "").with_timeout("500ms").await;
    let job = bench.job("/").await;
    assert_eq!(told(&job), UNKNOWN, "{job}");
    assert!(reasons(&job).contains("timed out after 500ms, after the request was sent"), "{job}");
    assert_eq!(bench.target.got().connections, 1);
}

/// Time runs from the first byte of the request to the last of the answer: a byte now and then
/// does not stretch it.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_trickles() {
    let target = Raw::start(|mut peer| async move {
        let Some(path) = peer.request().await else { return };
        let head = match path.as_str() {
            "/head" => "",
            "/interim" => "",
            "/done" => "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
            "/chunks" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 1000000\r\n\r\n",
        };
        peer.say(head).await;
        let piece = match path.as_str() {
            "/interim" => "HTTP/1.1 102 Processing\r\n\r\n",
            "/chunks" => "1\r\nx\r\n",
            _ => "H",
        };
        while peer.say(piece).await {
            crate::support::nap().await;
        }
    })
    .await;
    let bench = Bench::new(target, "").with_timeout("500ms").await;
    for (path, expected) in [
        ("/head", UNKNOWN),
        ("/interim", UNKNOWN),
        ("/done", BROKEN_OFF),
        ("/chunks", BROKEN_OFF),
        ("/rejected", REJECTED),
    ] {
        let job = bench.job(path).await;
        assert_eq!(told(&job), expected, "{path}: {job}");
        if expected != REJECTED {
            assert!(reasons(&job).contains("timed out after 500ms"), "{path}: {job}");
        }
        assert_eq!(bench.target.got().of(path), 1, "{path}");
    }
    // Each of those connections was closed, or its target would still write.
    bench.target.until(|got| got.over == 5).await;
}

/// The answer is there before the target has read a byte of the request.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_answers_before_it_reads() {
    let target = Raw::start(|mut peer| async move {
        peer.first_byte().await;
        peer.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nearly").await;
        std::future::pending::<()>().await;
    })
    .await;
    let bench = Bench::new(target, "");
    let small = bench.job("/small").await;
    assert_eq!(told(&small), DONE, "{small}");
    // More than the two kernels between them take, so that some of it was never sent at all.
    let body = "x".repeat(200 * 1024);
    for _ in 0..3 {
        let job = bench.job_of(json!({"path": "/large", "body": body})).await;
        assert_eq!(told(&job), DONE, "{job}");
        assert_eq!(job["result"]["ResponseBody"], "early");
    }
}

/// Of a body without end so much is kept as is configured; the rest is neither read nor held.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_sends_a_gibibyte() {
    const GIB: u64 = 1 << 30;
    let target = Raw::start(|mut peer| async move {
        let Some(path) = peer.request().await else { return };
        let head = match path.as_str() {
            "/length" => format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n"),
            "/chunk" => {
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{GIB:x}\r\n")
            }
            "/refused" => format!("HTTP/1.1 404 No\r\nContent-Length: {GIB}\r\n\r\n"),
            _ => "HTTP/1.0 200 OK\r\n\r\n".to_owned(),
        };
        peer.say(head).await;
        let some = vec![b'x'; 1 << 20];
        for _ in 0..GIB / some.len() as u64 {
            if !peer.say(&some).await {
                return;
            }
        }
    })
    .await;
    let bench = Bench::new(target, "");
    let before = Memory::of(bench.daemon.id());
    for (path, expected) in
        [("/length", DONE), ("/chunk", DONE), ("/close", DONE), ("/refused", REJECTED)]
    {
        let jobs = bench.jobs(&vec![path.to_owned(); 16]).await;
        for job in jobs {
            assert_eq!(told(&job), expected, "{path}: {}", job["history"]);
            assert_eq!(job["result"]["ResponseBody"].as_str().unwrap().len(), 256 * 1024);
            assert_eq!(job["result"]["ResponseBodyTruncated"], true);
        }
    }
    let got = bench.target.until(|got| got.over == 64).await;
    // What the kernels took before the connection was dropped.
    println!("of 64 GiB {} MiB left the target", got.said >> 20);
    assert!(got.said < 64 * (64 << 20), "{}", got.said);
    let after = Memory::of(bench.daemon.id());
    println!("memory: {before} before, {after} after, at most {}", after.most);
    assert!(after.most - before.now < 128 << 20, "{before} before, {after} after");
}
