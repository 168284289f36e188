//! Traces: the real daemon, a collector that understands OTLP over gRPC, and a target that says
//! 500 once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Told;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::{Client, Daemon, erp, nap};

const CAME: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Takes spans, and answers as a collector does: with an empty message, and its status behind it.
struct Collector {
    address: SocketAddr,
    spans: UnboundedReceiver<Span>,
}

impl Collector {
    async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, spans) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let sender = sender.clone();
                    async move {
                        for span in understood(request).await {
                            let _ = sender.send(span);
                        }
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", "0".parse().unwrap());
                        let message = Frame::data(Bytes::from_static(&[0; 5]));
                        let body = Frames([message, Frame::trailers(trailers)].into());
                        let answer = Response::builder().header("content-type", "application/grpc");
                        Ok::<_, Infallible>(answer.body(body).unwrap())
                    }
                });
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Collector { address, spans }
    }

    async fn spans(&mut self, count: usize) -> Vec<Span> {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(self.spans.recv().await.unwrap());
        }
        all.sort_by_key(|span| (span.start_time_unix_nano, span.end_time_unix_nano));
        all
    }
}

/// An answer's frames, one after the other.
struct Frames(VecDeque<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

async fn understood(request: Request<Incoming>) -> Vec<Span> {
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    assert_eq!(request.uri().path(), path);
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["te"], "trailers");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body[0], 0, "not compressed");
    assert_eq!(u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize, body.len() - 5);
    let message = ExportTraceServiceRequest::decode(&body[5..]).unwrap();
    let resource = message.resource_spans[0].resource.as_ref().unwrap();
    assert!(resource.attributes.iter().any(|one| one.key == "service.name"));
    let scopes = message.resource_spans.into_iter().flat_map(|one| one.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

/// Says 500 to its first request, and 200 from then on; tells of each `traceparent`.
async fn limping() -> (SocketAddr, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, heard) = unbounded_channel();
    let count = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (sender, count) = (sender.clone(), count.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let all: Vec<_> = request.headers().get_all("traceparent").iter().collect();
                assert_eq!(all.len(), 1);
                let _ = sender.send(all[0].to_str().unwrap().to_owned());
                let first = count.fetch_add(1, Ordering::SeqCst) == 0;
                let status = if first { 500 } else { 200 };
                let answer = Response::builder().status(status).body(Full::<Bytes>::default());
                std::future::ready(answer)
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, heard)
}

fn told(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|found| found.value.as_ref()?.value.as_ref()) {
        Some(Told::StringValue(text)) => text.clone(),
        Some(Told::IntValue(number)) => number.to_string(),
        other => panic!("{key} is {other:?} in {span:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn configuration(collector: SocketAddr, target: SocketAddr) -> String {
    format!(
        "[telemetry]\nlog = \"info,tollgate::driver=debug\"\notlp_endpoint = \"http://{collector}\"\n{}\
         [targets.erp.retry]\nmin_backoff = \"10ms\"\nmax_backoff = \"20ms\"\n",
        erp(target, "100/s", "")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_a_retry_is_walked_from_its_caller_to_its_target() {
    let mut collector = Collector::start().await;
    let (target, mut heard) = limping().await;
    let mut daemon = Daemon::start(&configuration(collector.address, target));
    let client = Client::new();
    let order = json!({"target": "erp", "path": "/orders?key=hush", "priority": "HIGH"});
    let headers = [("content-type", "application/json"), ("traceparent", CAME)];
    let sent = client.send("POST", daemon.data, "/v1/jobs", &headers, order.to_string()).await;
    let job = sent.unwrap().json();
    assert_eq!(job["trace_id"], TRACE);
    let id = job["id"].as_str().unwrap();
    let ended = client.ended(daemon.data, id).await;
    assert_eq!((&ended["state"], &ended["trace_id"]), (&json!("succeeded"), &json!(TRACE)));
    let shown = client.get(daemon.admin, &format!("/v1/jobs/{id}")).await.json();
    assert_eq!(shown["trace_id"], TRACE);

    let spans = collector.spans(4).await;
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["wait erp", "POST erp", "wait erp", "POST erp"]);
    for pair in spans.windows(2) {
        assert!(pair[0].end_time_unix_nano <= pair[1].start_time_unix_nano + 1_000_000, "{pair:?}");
    }
    for span in &spans {
        assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.into(), PARENT.into()));
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert_eq!(told(span, "messaging.message.id"), id);
        assert_eq!(told(span, "tollgate.priority"), "HIGH");
        assert!(!format!("{span:?}").contains("hush"));
    }
    let attempts = [&spans[1], &spans[3]];
    assert_eq!(attempts.map(|span| told(span, "tollgate.attempt")), ["1", "2"]);
    assert_eq!(attempts.map(|span| told(span, "http.response.status_code")), ["500", "200"]);
    assert_eq!(attempts.map(|span| told(span, "tollgate.outcome")), ["unknown", "done"]);
    // The target was told of each attempt's own span.
    for span in attempts {
        let parent = format!("00-{TRACE}-{}-01", hex(&span.span_id));
        assert_eq!(heard.recv().await, Some(parent));
    }
    let log = daemon.log();
    assert!(log.lines().any(|line| line.contains(TRACE) && line.contains(id)), "{log}");
    // Counted once the collector's answer has come.
    let all = "tollgate_trace_spans_total{result=\"exported\"} 4";
    loop {
        let metrics = client.get(daemon.admin, "/metrics").await;
        if String::from_utf8_lossy(&metrics.body).contains(all) {
            break;
        }
        nap().await;
    }
    assert!(daemon.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_outlives_the_daemon_and_one_that_begins_here_has_the_jobs_id() {
    let mut collector = Collector::start().await;
    let (target, mut heard) = limping().await;
    let mut daemon = Daemon::start(&configuration(collector.address, target));
    let client = Client::new();
    client.post(daemon.admin, "/v1/targets/erp/pause", &json!(null)).await;
    let theirs = json!({"target": "erp", "priority": "HIGH", "headers": {"traceparent": CAME}});
    client.submit(daemon.data, &theirs).await;
    let own = client.submit(daemon.data, &json!({"target": "erp", "priority": "BATCH"})).await;
    daemon.kill();
    daemon.restart();
    client.post(daemon.admin, "/v1/targets/erp/resume", &json!(null)).await;
    let ended = client.ended(daemon.data, &own).await;
    assert_eq!(ended["trace_id"], own.replace('-', ""));

    // One of the two was sent twice.
    let spans = collector.spans(6).await;
    let of = |trace: &str| spans.iter().filter(|span| hex(&span.trace_id) == trace).count();
    assert_eq!(of(TRACE) + of(&own.replace('-', "")), 6);
    assert!(of(TRACE) >= 2);
    let roots: Vec<_> = spans.iter().filter(|span| span.parent_span_id.is_empty()).collect();
    assert_eq!(roots.len(), 1, "{roots:?}");
    assert_eq!(
        (roots[0].name.as_str(), hex(&roots[0].trace_id)),
        ("wait erp", own.replace('-', ""))
    );
    for _ in 0..3 {
        let parent = heard.recv().await.unwrap();
        assert!(spans.iter().any(|span| parent.contains(&hex(&span.span_id))), "{parent}");
    }
    // What was not brought yet goes with the end of the daemon.
    let id = client.submit(daemon.data, &json!({"target": "erp"})).await;
    client.ended(daemon.data, &id).await;
    assert!(daemon.terminate().success());
    assert_eq!(collector.spans(2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_silent_holds_up_no_job_and_is_said_once() {
    // Takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for collector in [silent.local_addr().unwrap(), away] {
        let (target, _heard) = limping().await;
        let mut daemon = Daemon::start(&configuration(collector, target));
        let client = Client::new();
        for _ in 0..20 {
            let id = client.submit(daemon.data, &json!({"target": "erp"})).await;
            assert_eq!(client.ended(daemon.data, &id).await["state"], "succeeded");
        }
        assert!(daemon.terminate().success());
        let said = daemon.log().matches("traces cannot be brought").count();
        assert!(said <= 1, "{}", daemon.log());
        if collector == away {
            assert_eq!(said, 1, "{}", daemon.log());
        }
    }
}
