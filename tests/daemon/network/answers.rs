//! Answers that are odd, but whole; and such as are no HTTP.

use std::collections::BTreeMap;

use serde_json::json;

use super::{BROKEN_OFF, Bench, DONE, UNKNOWN, reasons, told};
use crate::raw::Raw;

/// A target that answers each path as `answers` says, and closes the connection.
async fn bench(answers: BTreeMap<&'static str, Vec<u8>>) -> Bench {
    let target = Raw::start(move |mut peer| {
        let answers = answers.clone();
        async move {
            let Some(path) = peer.request().await else { return };
            peer.say(&answers[path.as_str()]).await;
        }
    })
    .await;
    Bench::new(target, "")
}

fn said(answers: &[(&'static str, &str)]) -> BTreeMap<&'static str, Vec<u8>> {
    answers.iter().map(|(path, answer)| (*path, answer.as_bytes().to_vec())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_none() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bodies = [
        ("/letters", "xyz\r\nhello\r\n0\r\n\r\n"),
        ("/negative", "-5\r\nhello\r\n0\r\n\r\n"),
        ("/plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("/hex", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("/empty", "\r\nhello\r\n0\r\n\r\n"),
        ("/too-long-by-one", "5\r\nhello!\r\n0\r\n\r\n"),
        ("/no-line-end", "5\r\nhello0\r\n\r\n"),
        ("/overflow", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("/largest", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("/minus-zero", "5\r\nhello\r\n-0\r\n\r\n"),
        ("/nothing", ""),
        ("/trailer", "5\r\nhello\r\n0\r\nbad trailer"),
    ];
    let answers =
        bodies.iter().map(|(path, body)| (*path, format!("{HEAD}{body}").into_bytes())).collect();
    let bench = bench(answers).await;
    for (path, _) in bodies {
        let job = bench.job(path).await;
        assert_eq!(told(&job), BROKEN_OFF, "{path}: {job}");
        assert_eq!(bench.target.got().of(path), 1, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_none() {
    let many: String = (0..10_000).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let answers = said(&[
        ("/other-protocol", "220 mail.example ESMTP\r\n"),
        ("/version", "HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("/http2", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("/status", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
        ("/letters", "HTTP/1.1 OK 200\r\nContent-Length: 0\r\n\r\n"),
        ("/negative", "HTTP/1.1 -200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("/length", "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello"),
        ("/minus", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
        ("/plus", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"),
        ("/lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        ("/list", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello"),
        ("/huge", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello"),
        ("/nul", "HTTP/1.1 200 OK\r\nx: a\0b\r\nContent-Length: 0\r\n\r\n"),
        ("/no-colon", "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 0\r\n\r\n"),
        ("/space", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
        ("/folded", "HTTP/1.1 200 OK\r\nx: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
        ("/headers", &format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 0\r\n\r\n")),
        ("/long", &format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20))),
    ]);
    let paths: Vec<&str> = answers.keys().copied().collect();
    let bench = bench(answers).await;
    for path in paths {
        let job = bench.job(path).await;
        assert_eq!(told(&job), UNKNOWN, "{path}: {job}");
        assert_eq!(bench.target.got().of(path), 1, "{path}");
        assert!(reasons(&job).contains("to a request that was sent"), "{path}: {job}");
    }
    bench.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_odd_but_whole() {
    let interim: String =
        (0..50).map(|_| "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").collect();
    let answers = said(&[
        ("/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("/1.0/close", "HTTP/1.0 200 OK\r\n\r\nhello"),
        (
            "/1.0/keep",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        ),
        ("/bare-lf", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"),
        ("/no-reason", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello"),
        (
            "/twice-the-same",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        ),
        ("/100", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("/103", &format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")),
    ]);
    let paths: Vec<&str> = answers.keys().copied().collect();
    let bench = bench(answers).await;
    for path in paths {
        let job = bench.job(path).await;
        assert_eq!(told(&job), DONE, "{path}: {job}");
        assert_eq!(job["result"]["ResponseBody"], "hello", "{path}: {job}");
    }
}

/// What says both how long it is and that it comes in chunks is read as chunks (RFC 9112, section
/// 6.3), and its connection serves nobody else: another reader would find the end elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn length_and_chunks_at_once() {
    let target = Raw::start(|mut peer| async move {
        while let Some(path) = peer.request().await {
            let answer = match path.as_str() {
                "/both" => {
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
                     5\r\nhello\r\n0\r\n\r\n"
                }
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nself",
            };
            peer.say(answer).await;
        }
    })
    .await;
    let bench = Bench::new(target, "");
    let job = bench.job("/both").await;
    assert_eq!((told(&job).as_str(), &job["result"]["ResponseBody"]), (DONE, &json!("hello")));
    let job = bench.job("/self").await;
    assert_eq!((told(&job).as_str(), &job["result"]["ResponseBody"]), (DONE, &json!("self")));
    assert_eq!(bench.target.got().connections, 2, "a connection of this kind was used again");
}

/// The second answer is nobody's: not the next request's.
#[tokio::test(flavor = "multi_thread")]
async fn two_answers_at_once() {
    let target = Raw::start(|mut peer| async move {
        while let Some(path) = peer.request().await {
            let answer = match path.as_str() {
                "/two" => {
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst\
                     HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\nsecond"
                }
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown",
            };
            peer.say(answer).await;
        }
    })
    .await;
    let bench = Bench::new(target, "");
    for round in 0..20 {
        let job = bench.job("/two").await;
        assert_eq!((told(&job).as_str(), &job["result"]["ResponseBody"]), (DONE, &json!("first")));
        let path = format!("/own/{round}");
        let job = bench.job(&path).await;
        assert_eq!((told(&job).as_str(), &job["result"]["ResponseBody"]), (DONE, &json!("own")));
        assert_eq!(bench.target.got().of(&path), 1);
    }
}

/// With its body and without, and to whom it may be: nobody else hears of the job.
#[tokio::test(flavor = "multi_thread")]
async fn redirects_of_every_kind_are_answers_and_no_orders() {
    let elsewhere = Raw::start(|mut peer| async move {
        while peer.request().await.is_some() {
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let kinds = [300, 301, 302, 303, 307, 308];
    let to = elsewhere.address;
    let target = Raw::start(move |mut peer| async move {
        while let Some(path) = peer.request().await {
            let status = path.split('/').nth(1).unwrap();
            let place = match path.split('/').nth(2).unwrap() {
                "elsewhere" => format!("http://{to}/stolen"),
                "relative" => "/home".to_owned(),
                _ => format!("//{to}/stolen"),
            };
            let head = format!("HTTP/1.1 {status} X\r\nLocation: {place}\r\n");
            peer.say(format!("{head}Refresh: 0; url={place}\r\nContent-Length: 0\r\n\r\n")).await;
        }
    })
    .await;
    let bench = Bench::new(target, "");
    for status in kinds {
        for place in ["elsewhere", "relative", "scheme"] {
            for method in ["GET", "POST"] {
                let path = format!("/{status}/{place}/{method}");
                let job = bench.job_of(json!({"method": method, "path": path})).await;
                assert_eq!(told(&job), format!("enqueued sent(1) rejected({status})"), "{job}");
                assert_eq!(job["error"]["code"], format!("Tollgate.Http.{status}"), "{job}");
                assert_eq!(bench.target.got().of(&path), 1, "{path}");
            }
        }
    }
    assert_eq!(elsewhere.got().connections, 0, "{:?}", elsewhere.got());
    assert_eq!(bench.target.got().of("/home"), 0);
}
