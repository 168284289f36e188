//! What a target receives.

use std::time::Duration;

use http::HeaderValue;

use super::legacy::{Legacy, attempt, dispatcher, get, header, outgoing, post};
use crate::broker::job::Priority;
use crate::broker::payload::{HeaderLine, Request};
use crate::config::Target;
use crate::dispatch::Outgoing;
use crate::trace::Recording;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const ID: &str = "0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11";

/// The bytes that arrive of `request`.
async fn received(target: impl FnOnce(Target) -> Target, request: &Request) -> Vec<u8> {
    let legacy = Legacy::answering(OK).await;
    let target = target(legacy.target());
    let report = attempt(&target, request).await;
    assert!(report.answer.is_some(), "{report:?}");
    legacy.seen().requests.remove(0).1
}

fn line(name: &str, value: impl AsRef<[u8]>) -> HeaderLine {
    (name.to_owned(), value.as_ref().to_vec().into())
}

#[tokio::test]
async fn the_plainest_request_byte_for_byte() {
    let legacy = Legacy::answering(OK).await;
    attempt(&legacy.target(), &post("/orders?x=%2F&y", "\u{0}body")).await;
    let got = legacy.seen().requests.remove(0).1;
    let traceparent = header(&got, "traceparent").unwrap();
    let expected = format!(
        "POST /orders?x=%2F&y HTTP/1.1\r\n\
         host: {}\r\n\
         user-agent: tollgate/{}\r\n\
         idempotency-key: {ID}\r\n\
         tollgate-job-id: {ID}\r\n\
         tollgate-attempt: 1\r\n\
         tollgate-priority: HIGH\r\n\
         traceparent: {traceparent}\r\n\
         content-length: 5\r\n\r\n\u{0}body",
        legacy.addr,
        env!("CARGO_PKG_VERSION"),
    );
    assert_eq!(String::from_utf8(got).unwrap(), expected);
}

#[tokio::test]
async fn the_path_goes_behind_the_base_path() {
    for (base, path, expected) in [
        ("", "/", "/"),
        ("/", "/a", "/a"),
        ("/api", "/", "/api/"),
        ("/api/v1", "/a/b?c=/d", "/api/v1/a/b?c=/d"),
        ("/api", "//x", "/api//x"),
    ] {
        let rebase = |target: Target| Target {
            url: format!("{}{base}", trim(&target)).parse().unwrap(),
            ..target
        };
        let got = received(rebase, &get(path)).await;
        let start = format!("GET {expected} HTTP/1.1\r\n");
        assert!(got.starts_with(start.as_bytes()), "{base} {path}");
    }
}

fn trim(target: &Target) -> String {
    target.url.to_string().trim_end_matches('/').to_owned()
}

#[tokio::test]
async fn a_length_is_said_where_content_is_anticipated_or_there_is_some() {
    for (method, body, length) in [
        ("POST", "", Some("0")),
        ("PUT", "", Some("0")),
        ("PATCH", "", Some("0")),
        ("GET", "", None),
        ("HEAD", "", None),
        ("DELETE", "", None),
        ("PURGE", "", None),
        ("GET", "x", Some("1")),
        ("DELETE", "xy", Some("2")),
        ("PURGE", "xyz", Some("3")),
    ] {
        let request = Request { method: method.to_owned(), ..post("/", body) };
        let got = received(|target| target, &request).await;
        assert_eq!(header(&got, "content-length").as_deref(), length, "{method} {body:?}");
        assert_eq!(header(&got, "transfer-encoding"), None);
        assert!(got.ends_with(body.as_bytes()));
    }
}

#[tokio::test]
async fn a_callers_headers_pass_but_for_those_of_its_hop_and_ours() {
    let mut request = post("/", "x");
    request.headers = vec![
        line("x-twice", "1"),
        line("x-raw", b"\xe9\xff"),
        line("x-twice", "2"),
        line("accept-encoding", "br"),
        line("authorization", "caller"),
        line("te", "trailers"),
        line("connection", "close, X-Named"),
        line("x-named", "1"),
        line("keep-alive", "1"),
        line("proxy-authorization", "1"),
        line("trailer", "x"),
        line("transfer-encoding", "chunked"),
        line("upgrade", "h2c"),
        line("host", "elsewhere"),
        line("content-length", "999"),
        line("expect", "100-continue"),
        line("tollgate-job-id", "forged"),
        line("tollgate-anything", "forged"),
        line("idempotency-key", "forged"),
        line("user-agent", "caller/1"),
        line("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    request.idempotency_key = Some("order 7, ü".to_owned());
    let got = received(|target| target, &request).await;
    let text = String::from_utf8_lossy(&got);
    assert!(text.contains("\r\nx-twice: 1\r\nx-twice: 2\r\n"), "{text}");
    assert!(got.windows(9).any(|window| window == b"x-raw: \xe9\xff"));
    assert_eq!(header(&got, "accept-encoding").unwrap(), "br");
    assert_eq!(header(&got, "authorization").unwrap(), "caller");
    assert_eq!(header(&got, "user-agent").unwrap(), "caller/1");
    assert_eq!(header(&got, "idempotency-key").unwrap(), "order 7, ü");
    assert_eq!(header(&got, "tollgate-job-id").unwrap(), ID);
    assert_eq!(header(&got, "content-length").unwrap(), "1");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(header(&got, "traceparent").unwrap(), trace);
    for gone in [
        "te",
        "connection",
        "x-named",
        "keep-alive",
        "proxy-authorization",
        "trailer",
        "expect",
        "transfer-encoding",
        "upgrade",
        "tollgate-anything",
    ] {
        assert_eq!(header(&got, gone), None, "{gone}");
    }
    assert!(!text.contains("forged") && !text.contains("elsewhere"));
}

#[tokio::test]
async fn a_targets_own_headers_override() {
    let configure = |mut target: Target| {
        for (name, value) in [
            ("authorization", "Bearer secret"),
            ("x-both", "ours 1"),
            ("x-both", "ours 2"),
            ("host", "vhost.example"),
            ("tollgate-priority", "forged"),
            ("transfer-encoding", "chunked"),
        ] {
            target.headers.append(name, HeaderValue::from_static(value));
        }
        target
    };
    let mut request = get("/");
    request.headers = vec![line("x-both", "theirs"), line("authorization", "caller")];
    let got = received(configure, &request).await;
    let text = String::from_utf8_lossy(&got);
    assert!(text.contains("\r\nx-both: ours 1\r\nx-both: ours 2\r\n"), "{text}");
    assert!(!text.contains("theirs"));
    assert_eq!(header(&got, "authorization").unwrap(), "Bearer secret");
    assert_eq!(header(&got, "host").unwrap(), "vhost.example");
    assert_eq!(header(&got, "tollgate-priority").unwrap(), "HIGH");
    assert_eq!(header(&got, "transfer-encoding"), None);
}

/// What a target is told of the trace, for each way in which it can be recorded.
async fn traces(came: &[(&str, &'static str)]) -> [(Option<String>, Option<String>); 3] {
    let legacy = Legacy::answering(OK).await;
    let (dispatcher, target, mut request) = (dispatcher(), legacy.target(), get("/"));
    request.headers = came.iter().map(|(name, value)| line(name, value)).collect();
    for trace in [Recording::Off, Recording::Unsampled, Recording::On] {
        dispatcher.attempt(&target, Outgoing { trace, ..outgoing(&request) }).await;
    }
    let requests = legacy.seen().requests;
    let got = |index: usize| {
        let (_, got) = &requests[index];
        assert!(String::from_utf8_lossy(got).matches("traceparent:").count() <= 1);
        (header(got, "traceparent"), header(got, "x-amzn-trace-id"))
    };
    [got(0), got(1), got(2)]
}

#[tokio::test]
async fn a_trace_goes_on_under_the_span_that_is_recorded_and_else_as_it_came() {
    let span = crate::trace::Context::of(ID.parse().unwrap(), &get("/"))
        .attempt_span(ID.parse().unwrap(), 1)
        .to_string();
    let (id, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let plain = |text: String| (Some(text), None);

    let came = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let [off, unsampled, on] = traces(&[("traceparent", came)]).await;
    assert_eq!([off, unsampled], [plain(came.into()), plain(came.into())]);
    assert_eq!(on, plain(format!("00-{id}-{span}-01")));

    let amazon = "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1";
    let [off, unsampled, on] = traces(&[("x-amzn-trace-id", amazon)]).await;
    assert_eq!(off, (Some(format!("00-{id}-{parent}-01")), Some(amazon.into())));
    assert_eq!(unsampled, (Some(format!("00-{id}-{parent}-00")), Some(amazon.into())));
    let ours = amazon.replace(parent, &span);
    assert_eq!(on, (Some(format!("00-{id}-{span}-01")), Some(ours)));

    let own = ID.replace('-', "");
    let [off, unsampled, on] = traces(&[]).await;
    assert_eq!(off, plain(format!("00-{own}-{span}-01")));
    assert_eq!(unsampled, plain(format!("00-{own}-{span}-00")));
    assert_eq!(on, plain(format!("00-{own}-{span}-01")));

    // One that nobody can read goes on as it came, unless ours has to be told.
    let [off, _, on] = traces(&[("traceparent", "00-nonsense")]).await;
    assert_eq!(off, plain("00-nonsense".into()));
    assert_eq!(on, plain(format!("00-{own}-{span}-01")));
}

#[tokio::test]
async fn attempts_of_a_job_share_its_key_and_its_trace() {
    let legacy = Legacy::answering(OK).await;
    let (dispatcher, target, request) = (dispatcher(), legacy.target(), get("/"));
    for (attempt, priority) in [(1, Priority::High), (2, Priority::Normal), (7, Priority::Batch)] {
        dispatcher
            .attempt(&target, Outgoing { attempt, number: attempt, priority, ..outgoing(&request) })
            .await;
    }
    let requests = legacy.seen().requests;
    let all = |name| requests.iter().map(|(_, got)| header(got, name).unwrap()).collect::<Vec<_>>();
    assert_eq!(all("tollgate-attempt"), ["1", "2", "7"]);
    assert_eq!(all("tollgate-priority"), ["HIGH", "NORMAL", "BATCH"]);
    assert_eq!(all("idempotency-key"), [ID; 3]);
    let mut spans = Vec::new();
    for trace in all("traceparent") {
        let parts: Vec<&str> = trace.split('-').collect();
        assert_eq!((parts[0], parts[1], parts[3]), ("00", &*ID.replace('-', ""), "01"));
        assert_eq!(parts[2].len(), 16);
        assert!(u64::from_str_radix(parts[2], 16).unwrap() != 0);
        spans.push(parts[2].to_owned());
    }
    spans.dedup();
    assert_eq!(spans.len(), 3);
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let body: Vec<u8> = (0..20_000_000_u32).map(|n| n as u8).collect();
    let got = received(|target| target, &post("/", body.clone())).await;
    assert!(got.ends_with(&body));
}

#[tokio::test]
async fn the_systems_roots_make_a_dispatcher_too() {
    let legacy = Legacy::answering(OK).await;
    let target = Target { timeout: Duration::from_secs(60), ..legacy.target() };
    let dispatcher = crate::dispatch::Dispatcher::new(8).unwrap();
    assert!(dispatcher.attempt(&target, outgoing(&get("/"))).await.answer.is_some());
}
