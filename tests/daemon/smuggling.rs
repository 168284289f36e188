//! Requests whose bytes could be read in two ways: whoever is before or behind the daemon may find
//! another request in them. On raw sockets, at each of its listeners.

use std::net::SocketAddr;

use serde_json::json;

use crate::raw::{Raw, exchange};
use crate::support::{Client, Daemon, free_address};

/// What a smuggler hides; where it is read as requests of their own, they do something, and the
/// connection ends behind them.
const HIDDEN: &str = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 38\r\n\r\n\
                      {\"target\": \"erp\", \"path\": \"/smuggled\"}POST /v1/targets/erp/pause \
                      HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Heads of requests that have more than one end, or none that can be relied on.
const HEADS: &[&str] = &[
    "Content-Length: 4\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 4",
    "Transfer-Encoding: chunked\r\nX: y\r\ncontent-length: 0",
    "TRANSFER-ENCODING: CHUNKED\r\nCONTENT-LENGTH: 0",
    "Content-Length: 0\r\nContent-Length: 4",
    "Content-Length: 4\r\nContent-Length: 0",
    "Content-Length: 0, 4",
    "Content-Length: 0 4",
    "Content-Length: +0",
    "Content-Length: -1",
    "Content-Length: 0x0",
    "Content-Length: 0.0",
    "Content-Length: ",
    "Content-Length: ٠",
    "Content-Length: 99999999999999999999999",
    "Content-Length : 0",
    "Content-Length\t: 0",
    " Content-Length: 0",
    "Content-Length: 0\r\n Content-Length: 4",
    "X: y\r\n Transfer-Encoding: chunked",
    "X: y\r\n\tz",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: \u{b}chunked",
    "Transfer-Encoding: chunked\u{c}",
    "Transfer-Encoding:",
    // Ends with `chunked`, and is more than that.
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: , chunked",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: \"a, chunked",
    "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding:\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: identity\r\nX: y\r\ntransfer-encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    // Where a lone LF ends a line for one, it is within a value for another.
    "X: y\nTransfer-Encoding: chunked",
    "X: y\nContent-Length: 4",
    "Content-Length: 0\nX: y",
    "X: y\n",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\0z",
    "X\0: y",
    "X y: z",
    ": y",
    "no colon",
    "Host: elsewhere.example",
];

const LINES: &[&str] = &[
    "POST  / HTTP/1.1",
    "POST /  HTTP/1.1",
    "POST\t/ HTTP/1.1",
    "POST / HTTP/1.1 ",
    "POST / HTTP/1.1 x",
    "POST / HTTP/1.2",
    "POST / HTTP/2.0",
    "POST / HTTP/0.9",
    "POST / http/1.1",
    "POST /a b HTTP/1.1",
    "POST /\0 HTTP/1.1",
    "POST /a#b HTTP/1.1",
    "POST http://elsewhere.example/ HTTP/1.1",
    "POST http://user@localhost/ HTTP/1.1",
    "PO\0ST / HTTP/1.1",
    "PRI * HTTP/2.0",
    "CONNECT localhost:1 HTTP/1.1",
];

/// Bodies in chunks that have more than one end, or none.
const CHUNKS: &[&str] = &[
    "0\n\n",
    "0\r\n\n",
    "0\r\nX: y\n\r\n",
    "1\nx\r\n0\r\n\r\n",
    "1;a=b\nx\r\n0\r\n\r\n",
    "1;a\nb\r\nx\r\n0\r\n\r\n",
    "1\r\nxy\r\n0\r\n\r\n",
    "1\r\nx0\r\n\r\n",
    "-1\r\nx\r\n0\r\n\r\n",
    "+0\r\n\r\n",
    "0x0\r\n\r\n",
    "g\r\n\r\n",
    "10000000000000000\r\nx\r\n0\r\n\r\n",
    "\r\n0\r\n\r\n",
];

async fn target() -> Raw {
    Raw::start(|mut peer| async move {
        while peer.request().await.is_some() {
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await
}

fn daemon(target: &Raw) -> (Daemon, SocketAddr) {
    let sidecar = free_address();
    let daemon = Daemon::start(&format!(
        "[targets.erp]\nurl = \"http://{}\"\nlisten = \"{sidecar}\"\n\
         [targets.erp.limit]\nrate = \"1000/s\"\n",
        target.address
    ));
    (daemon, sidecar)
}

/// One answer, a refusal, and the connection closed behind it.
fn is_refused(answer: &str) -> bool {
    let status = answer.strip_prefix("HTTP/1.1 ").or(answer.strip_prefix("HTTP/1.0 "));
    let refused = status.is_some_and(|rest| rest.starts_with('4') || rest.starts_with("505"));
    refused && answer.matches("HTTP/1.").count() == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_in_two_ways_is_refused_at_each_listener() {
    let target = target().await;
    let (daemon, sidecar) = daemon(&target);
    let (mut tried, mut wrong) = (0, Vec::new());
    // The admin address last: a pause that came through there would hold up what comes after it.
    for (listener, path) in
        [(daemon.data, "/v1/jobs"), (sidecar, "/x"), (daemon.admin, "/v1/targets/erp/resume")]
    {
        let mut requests = Vec::new();
        for head in HEADS {
            let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n");
            requests.push(format!("{head}{HIDDEN}"));
            // With a body that whoever takes chunks would take.
            requests.push(format!("{head}10\r\n{{\"target\":\"erp\"}}\r\n0\r\n\r\n{HIDDEN}"));
        }
        for line in LINES {
            requests
                .push(format!("{line}\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n{HIDDEN}"));
        }
        requests.push(format!(
            "POST {path} HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
             0\r\n\r\n{HIDDEN}"
        ));
        for request in &requests {
            let answer = exchange(listener, request).await;
            tried += 1;
            if !is_refused(&answer) {
                let request = request.replace(HIDDEN, "…");
                wrong.push(format!("{request:?}: {answer:?}"));
            }
        }
    }
    println!("{tried} requests");
    assert!(wrong.is_empty(), "{} of {tried} were not refused:\n{}", wrong.len(), wrong.join("\n"));
    nothing_came_through(&daemon, &target).await;
}

/// A head that is clear, and a body that is not. Who has no use for a body may have answered before
/// it came; but nothing that comes after it is a request.
#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_can_be_read_in_two_ways_end_the_connection() {
    let target = target().await;
    let (daemon, sidecar) = daemon(&target);
    for (listener, path, bodiless) in [
        (daemon.data, "/v1/jobs", false),
        (daemon.admin, "/v1/targets/erp/resume", true),
        (sidecar, "/x", false),
    ] {
        for chunks in CHUNKS {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {chunks}{HIDDEN}"
            );
            let answer = exchange(listener, &request).await;
            let one = answer.matches("HTTP/1.").count() <= 1;
            assert!(is_refused(&answer) || (bodiless && one), "{path} {chunks:?}: {answer:?}");
        }
    }
    assert_eq!(target.got().connections, 0, "{:?}", target.got());
    nothing_came_through(&daemon, &target).await;
}

/// What can be read in one way only is read in that way: a body is never a request.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_a_body_stays_there() {
    let target = target().await;
    let (daemon, sidecar) = daemon(&target);
    let length = HIDDEN.len();
    for (listener, path) in
        [(daemon.data, "/nowhere"), (daemon.admin, "/nowhere"), (daemon.admin, "/healthz")]
    {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            for body in [
                format!("Content-Length: {length}\r\n\r\n{HIDDEN}"),
                format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n"),
                format!(
                    "Transfer-Encoding: chunked\r\n\r\n{length:x};a=\"b\"\r\n{HIDDEN}\r\n\
                     0\r\nX-Trailer: POST / HTTP/1.1\r\n\r\n"
                ),
            ] {
                let last = "GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
                let request =
                    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{body}{last}");
                let answers = exchange(listener, &request).await;
                // The last one too, or the connection was closed before it.
                let count = answers.matches("HTTP/1.1 ").count();
                assert!((1..=2).contains(&count), "{request:?}: {answers:?}");
                assert!(!answers.contains("HTTP/1.1 202"), "{request:?}: {answers:?}");
            }
        }
    }
    // Through the sidecar all of it reaches the target, as one body.
    let request = format!(
        "PUT /whole HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n"
    );
    let answer = exchange(sidecar, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let head = target.got().head;
    assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    assert_eq!(target.got().of("/whole"), 1);
    assert_eq!(target.got().requests.len(), 1, "{:?}", target.got());
    nothing_came_through(&daemon, &target).await;
}

/// Headers that a caller names as its hop's own do not take ours away with them.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_cannot_strip_what_the_daemon_says() {
    let target = target().await;
    let (daemon, sidecar) = daemon(&target);
    let request = "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\
                   Connection: close, content-length, Host, tollgate-job-id, idempotency-key, \
                   x-own\r\nx-own: 1\r\nTollgate-Job-Id: forged\r\nTollgate-Attempt: 99\r\n\
                   TE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n\
                   {}";
    let answer = exchange(sidecar, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let head = target.got().head;
    for there in ["content-length: 2\r\n", "tollgate-attempt: 1\r\n", "\r\nhost: 127.0.0.1:"] {
        assert!(head.contains(there), "{head}");
    }
    for gone in ["forged", "x-own", "upgrade", "http2-settings", "\r\nte:", "\r\nconnection:"] {
        assert!(!head.contains(gone), "{head}");
    }
    for once in ["tollgate-job-id", "idempotency-key", "content-length", "\r\nhost: "] {
        assert_eq!(head.matches(once).count(), 1, "{once}: {head}");
    }
    drop(daemon);
}

async fn nothing_came_through(daemon: &Daemon, target: &Raw) {
    let client = Client::new();
    assert_eq!(target.got().of("/smuggled"), 0);
    let jobs = client.get(daemon.admin, "/v1/jobs?target=erp").await;
    assert!(!String::from_utf8_lossy(&jobs.body).contains("smuggled"), "{jobs:?}");
    let erp = client.get(daemon.admin, "/v1/targets/erp").await.json();
    assert_eq!(erp["paused"], false, "{erp}");
    // It would have done something.
    let (submit, pause) = HIDDEN.split_at(HIDDEN.find("POST /v1/targets").unwrap());
    for (listener, request, status) in [(daemon.data, submit, 202), (daemon.admin, pause, 200)] {
        let request = request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
        let answer = exchange(listener, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let erp = client.get(daemon.admin, "/v1/targets/erp").await.json();
    assert_eq!(erp["paused"], json!(true), "{erp}");
}
