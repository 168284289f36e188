use std::net::SocketAddr;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::*;
use crate::broker::io::Refusal;
use crate::broker::job::{End, Failure, Priority};
use crate::http_api::problem::not_found;
use crate::http_api::server::{Limits, Slots, Stage, bind};
use crate::http_api::tls::TlsInForce;
use crate::sources::fake::{Fake, record};

/// A real listener with a broker behind it that does as it is told.
struct Proxied {
    fake: Fake,
    data: SocketAddr,
    sidecar: SocketAddr,
    stage: watch::Sender<Stage>,
}

async fn start() -> Proxied {
    let fake = Fake::start();
    let (stage, stages) = watch::channel(Stage::Open);
    let mut addresses = Vec::new();
    for router in [
        with_records(fake.handle.clone(), fake.shelf.clone()).fallback(not_found),
        sidecar_with_records(
            fake.handle.clone(),
            "erp".to_owned(),
            fake.shelf.clone(),
            "http://127.0.0.1:7070",
        ),
    ] {
        let bound = bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).await.unwrap();
        addresses.push(bound.address().port().unwrap());
        let limits = Limits::new(100_000, Slots::new(100));
        bound.serve(router, limits, TlsInForce::default(), stages.clone());
    }
    Proxied { fake, data: addresses[0], sidecar: addresses[1], stage }
}

async fn send(to: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    // Answers are compared as text, also where they are not UTF-8.
    back.into_iter().map(char::from).collect()
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")
}

fn answer(status: u16, headers: &[(&str, &[u8])], body: &'static [u8]) -> Answer {
    let line = |(name, value): &(&str, &[u8])| ((*name).to_owned(), Bytes::copy_from_slice(value));
    Answer {
        status,
        headers: headers.iter().map(line).collect(),
        body: Bytes::from_static(body),
        truncated: false,
        ..Answer::default()
    }
}

/// The answer without what every answer has.
fn bare(answer: &str, id: JobId) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let skipped = ["date: ", "connection: close", "tollgate-attempts: "];
    let own = format!("tollgate-job-id: {id}");
    assert!(head.lines().any(|line| line == own), "{head}");
    let lines: Vec<_> = head
        .lines()
        .filter(|line| *line != own && !skipped.iter().any(|skip| line.starts_with(skip)))
        .collect();
    format!("{}\n\n{body}", lines.join("\n"))
}

#[tokio::test]
async fn the_target_gets_what_the_caller_sent() {
    let mut proxied = start().await;
    let request = "PUT /proxy/erp/a%2Fb/c;d?x=%20&y=[1] HTTP/1.1\r\nHost: x\r\nX-Odd: \t a \r\n\
                   Tollgate-Priority: high\r\nIdempotency-Key: k\r\nConnection: x-hop\r\n\
                   X-Hop: 1\r\nX-Odd: bé\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\na\0b\r\n0\r\n\r\n";
    let _stream = send(proxied.data, request).await;
    let job = proxied.fake.submitted().await;
    assert_eq!(job.priority, Priority::High);
    assert_eq!(job.request.method, "PUT");
    assert_eq!(job.request.path, "/a%2Fb/c;d?x=%20&y=[1]");
    assert_eq!(job.request.body.as_ref(), b"a\0b");
    assert_eq!(job.request.idempotency_key.as_deref(), Some("k"));
    assert_eq!(job.dedup.unwrap().name, "k");
    assert!(job.request.live);
    let names: Vec<_> = job.request.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-odd", "x-odd"]);

    let _stream = send(proxied.sidecar, &get("/proxy/x?y", "")).await;
    assert_eq!(proxied.fake.submitted().await.request.path, "/proxy/x?y");
    let _stream = send(proxied.data, &get("/proxy/erp", "")).await;
    assert_eq!(proxied.fake.submitted().await.request.path, "/");
    let _stream = send(proxied.data, &get("/proxy/erp/", "")).await;
    assert_eq!(proxied.fake.submitted().await.request.path, "/");
}

#[tokio::test]
async fn the_caller_gets_what_the_target_answered() {
    let mut proxied = start().await;
    let stream = send(proxied.sidecar, &get("/x", "")).await;
    let id = proxied.fake.submitted().await.id;
    let odd = answer(
        404,
        &[
            ("set-cookie", b"a=1"),
            ("set-cookie", b"b=2"),
            ("x-odd", b"\xe9\t\"x"),
            ("x-empty", b""),
            ("connection", b"close, x-hop"),
            ("x-hop", b"1"),
            ("transfer-encoding", b"chunked"),
            ("tollgate-job-id", b"of the target"),
        ],
        b"\0\xff\r\n",
    );
    let end = End::Failed(Failure::Rejected { status: 404 });
    proxied.fake.end(id, end, Some(odd));
    assert_eq!(
        bare(&rest(stream).await, id),
        "HTTP/1.1 404 Not Found\nset-cookie: a=1\nset-cookie: b=2\nx-odd: \u{e9}\t\"x\n\
         x-empty: \ncontent-length: 4\n\n\0\u{ff}\r\n"
    );
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let mut proxied = start().await;
    for (method, given, expected) in [
        (
            "HEAD",
            answer(200, &[("content-length", b"1234")], b""),
            "HTTP/1.1 200 OK\ncontent-length: 1234\n\n",
        ),
        ("HEAD", answer(200, &[], b""), "HTTP/1.1 200 OK\n\n"),
        ("GET", answer(204, &[], b""), "HTTP/1.1 204 No Content\n\n"),
        (
            "GET",
            answer(304, &[("etag", b"\"e\"")], b""),
            "HTTP/1.1 304 Not Modified\netag: \"e\"\n\n",
        ),
        (
            "GET",
            answer(200, &[("content-length", b"0")], b""),
            "HTTP/1.1 200 OK\ncontent-length: 0\n\n",
        ),
    ] {
        let stream = send(proxied.data, &get("/proxy/erp/x", "").replace("GET", method)).await;
        let id = proxied.fake.submitted().await.id;
        proxied.fake.end(id, End::Succeeded, Some(given));
        assert_eq!(bare(&rest(stream).await, id), expected);
    }
}

#[tokio::test]
async fn an_end_without_an_answer_is_a_problem() {
    let mut proxied = start().await;
    let exhausted = End::Failed(Failure::RetriesExhausted);
    let mut cut = answer(200, &[], b"half");
    cut.truncated = true;
    for (end, given, status, words) in [
        (exhausted, None, 504, "given up after 1 attempts"),
        (End::Expired, Some(answer(503, &[], b"busy")), 504, "deadline"),
        (End::Cancelled, None, 409, "cancelled"),
        (End::Succeeded, Some(cut), 502, "only the first 4 bytes"),
        (End::Succeeded, Some(answer(101, &[], b"")), 502, "status 101"),
        (End::Succeeded, None, 502, "not kept"),
    ] {
        let stream = send(proxied.data, &get("/proxy/erp/x", "")).await;
        let id = proxied.fake.submitted().await.id;
        proxied.fake.end(id, end, given);
        let got = bare(&rest(stream).await, id);
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{got}");
        assert!(got.contains("application/problem+json") && got.contains(words), "{got}");
        assert!(got.contains(&format!("\"job_id\":\"{id}\"")), "{got}");
    }
    assert!(proxied.fake.has_been_told_nothing(), "nobody hung up on a job that ended");
}

#[tokio::test]
async fn who_hangs_up_gives_up_the_job() {
    let mut proxied = start().await;
    for request in [
        get("/proxy/erp/x", ""),
        get("/proxy/erp/x", "Content-Length: 4\r\n") + "body",
        get("/proxy/erp/x", "Transfer-Encoding: chunked\r\n") + "1\r\nx\r\n0\r\n\r\n",
    ] {
        let stream = send(proxied.data, &request).await;
        let id = proxied.fake.submitted().await.id;
        drop(stream);
        assert_eq!(proxied.fake.abandoned().await, id);
    }
}

#[tokio::test]
async fn who_hangs_up_during_the_commit_gives_up_the_job_too() {
    let mut proxied = start().await;
    proxied.fake.hold_answers();
    let stream = send(proxied.sidecar, &get("/x", "Prefer: wait=5\r\n")).await;
    let id = proxied.fake.submitted().await.id;
    drop(stream);
    assert_eq!(proxied.fake.abandoned().await, id);
}

#[tokio::test]
async fn who_prefers_it_gets_the_job_and_may_hang_up() {
    let mut proxied = start().await;
    for (prefer, live) in [("respond-async", false), ("wait=0", false)] {
        let stream =
            send(proxied.data, &get("/proxy/erp/x", &format!("Prefer: {prefer}\r\n"))).await;
        let job = proxied.fake.submitted().await;
        assert_eq!(job.request.live, live);
        let got = bare(&rest(stream).await, job.id);
        assert!(got.starts_with("HTTP/1.1 202 Accepted\n"), "{got}");
        assert!(got.contains(&format!("\nlocation: /v1/jobs/{}\n", job.id)), "{got}");
        assert!(got.contains(&format!("\npreference-applied: {prefer}\n")), "{got}");
        assert!(got.contains(r#""state":"queued""#), "{got}");
    }
    // While the commit is under way, too.
    proxied.fake.hold_answers();
    let stream = send(proxied.data, &get("/proxy/erp/x", "Prefer: respond-async\r\n")).await;
    proxied.fake.submitted().await;
    drop(stream);
    let stream = send(proxied.data, &get("/proxy/erp/x", "")).await;
    let id = proxied.fake.submitted().await.id;
    drop(stream);
    assert_eq!(proxied.fake.abandoned().await, id, "the first of the two was left alone");
}

#[tokio::test]
async fn who_waits_long_enough_gets_the_answer() {
    let mut proxied = start().await;
    let headers = "Prefer: wait=3600, respond-async\r\n";
    let stream = send(proxied.data, &get("/proxy/erp/x", headers)).await;
    let job = proxied.fake.submitted().await;
    assert!(job.request.live);
    proxied.fake.end(job.id, End::Succeeded, Some(answer(200, &[], b"done")));
    assert!(rest(stream).await.ends_with("\r\n\r\ndone"));
}

#[tokio::test]
async fn a_second_caller_gets_the_first_ones_answer() {
    let mut proxied = start().await;
    let request = get("/proxy/erp/x", "Idempotency-Key: k\r\n");
    let first = send(proxied.data, &request).await;
    let job = proxied.fake.submitted().await;
    // One that comes while the job lives …
    proxied.fake.will_say([0, 1].map(|_| Submitted::Duplicate { id: job.id }));
    let second = send(proxied.data, &request).await;
    let again = proxied.fake.submitted().await;
    assert_eq!(again.dedup, job.dedup);
    // … and hangs up leaves it to the first.
    let third = send(proxied.data, &request).await;
    proxied.fake.submitted().await;
    drop(third);
    drop(second);
    proxied.fake.end(job.id, End::Succeeded, Some(answer(200, &[], b"done")));
    assert!(rest(first).await.ends_with("\r\n\r\ndone"));
    // One that comes after its end reads what was kept.
    proxied.fake.will_say([Submitted::Duplicate { id: job.id }]);
    let late = rest(send(proxied.data, &request).await).await;
    assert!(bare(&late, job.id).ends_with("\n\ndone"), "{late}");
    proxied.fake.submitted().await;
    assert!(proxied.fake.has_been_told_nothing(), "nobody gave the job up");
}

#[tokio::test]
async fn headers_do_not_tell_payloads_apart_unless_they_describe_them() {
    let mut proxied = start().await;
    let mut digest = async |headers: &str| {
        let headers = format!("Idempotency-Key: k\r\n{headers}");
        let _stream = send(proxied.data, &get("/proxy/erp/x", &headers)).await;
        let job = loop {
            // A caller of before that hung up is told of in between.
            if let crate::broker::io::Input::Submit { mut jobs, .. } = proxied.fake.told().await {
                break jobs.remove(0);
            }
        };
        job.dedup.unwrap().digest
    };
    let plain = digest("").await;
    assert_eq!(plain, digest("Date: today\r\nAuthorization: Bearer x\r\n").await);
    assert_ne!(plain, digest("Content-Type: text/plain\r\n").await);
}

#[tokio::test]
async fn bad_requests_are_problems_and_go_no_further() {
    let mut proxied = start().await;
    for (path, headers, status, word) in [
        ("/proxy/epr/x", "", 404, "did you mean `erp`?"),
        ("/proxy/erp/../x", "", 422, "`path`"),
        ("/proxy/erp/%2e%2E/x", "", 422, "`path`"),
        ("/proxy/erp//evil.example", "", 422, "`path`"),
        ("/proxy/erp/x%0d%0a", "", 422, "`path`"),
        ("/proxy/erp/%zz", "", 422, "`path`"),
        ("/proxy/", "", 404, "nothing at"),
        ("/proxy/erp/x", "Tollgate-Priority: urgent\r\n", 422, "Tollgate-Priority"),
        ("/proxy/erp/x", "Tollgate-Group: \r\n", 422, "must have"),
        ("/proxy/erp/x", "Idempotency-Key: a\r\nIdempotency-Key: b\r\n", 422, "twice"),
    ] {
        let got = rest(send(proxied.data, &get(path, headers)).await).await;
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {got}");
        assert!(got.contains("application/problem+json") && got.contains(word), "{path}: {got}");
    }
    let trace = get("/x", "").replace("GET", "TRACE");
    assert!(rest(send(proxied.sidecar, &trace).await).await.starts_with("HTTP/1.1 405 "));
    let star = get("*", "").replace("GET", "OPTIONS");
    assert!(rest(send(proxied.sidecar, &star).await).await.starts_with("HTTP/1.1 422 "));
    let large = get("/x", "Content-Length: 100001\r\n").replace("GET", "POST");
    assert!(rest(send(proxied.sidecar, &large).await).await.starts_with("HTTP/1.1 413 "));
    proxied.fake.shelf.fill_up();
    assert!(rest(send(proxied.sidecar, &get("/x", "")).await).await.starts_with("HTTP/1.1 507 "));
    assert!(proxied.fake.has_been_told_nothing());
}

#[tokio::test]
async fn what_the_broker_refuses_is_not_given_up_as_well() {
    let mut proxied = start().await;
    proxied.fake.will_say([Submitted::Refused(Refusal::DedupMismatch { id: JobId(9) })]);
    let got = rest(send(proxied.data, &get("/proxy/erp/x", "Idempotency-Key: k\r\n")).await).await;
    assert!(got.starts_with("HTTP/1.1 422 ") && got.contains("dedup-mismatch"), "{got}");
    proxied.fake.submitted().await;
    assert!(proxied.fake.has_been_told_nothing());
}

#[tokio::test]
async fn going_down_gives_up_what_has_not_begun() {
    let mut proxied = start().await;
    let stream = send(proxied.data, &get("/proxy/erp/x", "")).await;
    let id = proxied.fake.submitted().await.id;
    proxied.stage.send_replace(Stage::Finishing);
    assert_eq!(proxied.fake.abandoned().await, id);
    proxied.fake.end(id, End::Cancelled, None);
    let got = bare(&rest(stream).await, id);
    assert!(got.starts_with("HTTP/1.1 503 ") && got.contains("retry-after: 1"), "{got}");
}

#[tokio::test]
async fn going_down_does_not_keep_who_would_take_the_job() {
    let mut proxied = start().await;
    let stream = send(proxied.data, &get("/proxy/erp/x", "Prefer: wait=3600\r\n")).await;
    let id = proxied.fake.submitted().await.id;
    proxied.stage.send_replace(Stage::Finishing);
    let got = bare(&rest(stream).await, id);
    assert!(got.starts_with("HTTP/1.1 202 "), "{got}");
    assert!(proxied.fake.has_been_told_nothing());
}

#[tokio::test]
async fn a_job_that_others_were_promised_is_not_given_up_on_the_way_down() {
    let mut proxied = start().await;
    let id = JobId(9);
    proxied.fake.shelf.put(record(id, Place::Queued), None);
    proxied.fake.will_say([Submitted::Duplicate { id }]);
    let stream = send(proxied.data, &get("/proxy/erp/x", "Idempotency-Key: k\r\n")).await;
    proxied.fake.submitted().await;
    proxied.stage.send_replace(Stage::Finishing);
    let got = rest(stream).await;
    assert!(got.starts_with("HTTP/1.1 503 ") && got.contains(&id.to_string()), "{got}");
    assert!(proxied.fake.has_been_told_nothing());
}
