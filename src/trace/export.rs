//! Spans on their way to a collector: OTLP over gRPC
//! (<https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>).
//!
//! One task gathers spans for a second, or until a batch is full, and sends it. While a collector
//! is away the batch is tried again with growing pauses, and what comes meanwhile waits in a
//! channel of fixed size; what does not fit there is dropped and counted. So no job is slowed, and
//! memory is bounded, whatever the collector does.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::span::text;
use crate::metrics::{Metrics, Spans};

/// Where the collector is: scheme and authority.
pub type Endpoint = Uri;

/// Spans in one message at most, and how long they are gathered.
const BATCH: usize = 512;
const GATHER: Duration = Duration::from_secs(1);
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before a batch is tried again: this, twice this, and so on up to the most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so many calls a batch is given up.
const TRIES: u32 = 5;
/// How long the last spans may take when the daemon goes down.
const FLUSH: Duration = Duration::from_secs(2);
/// Of an answer, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub(super) enum Item {
    Span(Box<Span>),
    /// Says when all that came before is away, or dropped.
    Flush(oneshot::Sender<()>),
}

/// It was tried.
#[derive(Clone, Copy, Debug)]
pub struct Flushed;

pub(super) async fn flush(spans: &mpsc::Sender<Item>) -> Flushed {
    let (done, flushed) = oneshot::channel();
    let all = async {
        if spans.send(Item::Flush(done)).await.is_ok() {
            // A task that is gone has nothing left.
            let _ = flushed.await;
        }
    };
    // Nobody waits longer for spans.
    let _ = timeout(FLUSH, all).await;
    Flushed
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("TLS for telemetry.otlp_endpoint cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("TLS for telemetry.otlp_endpoint cannot be set up: {0}")]
    Roots(#[from] std::io::Error),
}

/// What became of a call.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// It may do later: the collector is away or overloaded.
    #[error("{0}")]
    Away(String),
    /// These spans will never do.
    #[error("{0}")]
    Refused(String),
}

pub(super) struct Exporter {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Endpoint,
    metrics: Metrics,
    /// The last call failed, and that was said.
    away: bool,
}

impl Exporter {
    pub(super) fn new(endpoint: &Endpoint, metrics: Metrics) -> Result<Exporter, ExportError> {
        let ring = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()?;
        // The system's roots are read only where they are needed.
        let tls = match endpoint.scheme_str() {
            Some("https") => tls.with_native_roots()?,
            _ => tls.with_root_certificates(rustls::RootCertStore::empty()),
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(PATIENCE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.with_no_client_auth())
            .https_or_http()
            .enable_http2()
            .wrap_connector(tcp);
        // gRPC is HTTP/2 from the first byte on, also without TLS.
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connector);
        metrics.spans(Spans::Exported, 0);
        metrics.spans(Spans::Dropped, 0);
        Ok(Exporter { client, endpoint: endpoint.clone(), metrics, away: false })
    }

    /// Until nobody is left who could bring a span.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Item>) {
        loop {
            let Some(first) = waiting.recv().await else { return };
            let (mut batch, mut flushed) = (Vec::new(), None);
            let until = Instant::now() + GATHER;
            let mut next = Some(first);
            while let Some(item) = next.take() {
                match item {
                    Item::Span(span) => batch.push(*span),
                    Item::Flush(done) => flushed = Some(done),
                }
                if batch.len() >= BATCH || flushed.is_some() {
                    break;
                }
                tokio::select! {
                    item = waiting.recv() => next = item,
                    () = sleep_until(until) => {}
                }
            }
            if !batch.is_empty() {
                self.bring(batch, flushed.is_some()).await;
            }
            if let Some(done) = flushed {
                // Whoever waited for it has gone on.
                let _ = done.send(());
            }
        }
    }

    /// Until it is there, or given up. `last`: the daemon goes down, so it is tried once.
    async fn bring(&mut self, batch: Vec<Span>, last: bool) {
        let count = batch.len() as u64;
        let message = framed(batch);
        let mut pause = FIRST_PAUSE;
        for tried in 1.. {
            let called = timeout(PATIENCE, self.call(message.clone())).await.unwrap_or_else(|_| {
                Err(Failed::Away(format!("no answer within {} s", PATIENCE.as_secs())))
            });
            let failed = match called {
                Ok(rejected) => {
                    if self.away {
                        tracing::info!(endpoint = %self.endpoint, "traces are taken again");
                    }
                    self.away = false;
                    let rejected = rejected.min(count);
                    self.metrics.spans(Spans::Exported, count - rejected);
                    self.metrics.spans(Spans::Dropped, rejected);
                    return;
                }
                Err(failed) => failed,
            };
            // Once, and not again until it has been well in between.
            if !self.away {
                self.away = true;
                tracing::warn!(
                    endpoint = %self.endpoint,
                    error = %failed,
                    "traces cannot be brought to telemetry.otlp_endpoint; jobs go on, and spans \
                     that do not fit into memory meanwhile are dropped"
                );
            }
            if last || tried >= TRIES || matches!(failed, Failed::Refused(_)) {
                self.metrics.spans(Spans::Dropped, count);
                return;
            }
            sleep_until(Instant::now() + pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Says how many of the spans the collector did not want.
    async fn call(&self, message: Bytes) -> Result<u64, Failed> {
        let uri = Uri::builder()
            .scheme(self.endpoint.scheme_str().unwrap_or("http"))
            .authority(self.endpoint.authority().map_or("", http::uri::Authority::as_str))
            .path_and_query(EXPORT)
            .build();
        let request = uri.and_then(|uri| {
            Request::post(uri)
                .header(CONTENT_TYPE, "application/grpc")
                .header(TE, "trailers")
                .header(USER_AGENT, concat!("tollgate/", env!("CARGO_PKG_VERSION")))
                .header("grpc-timeout", format!("{}S", PATIENCE.as_secs()))
                .body(Full::new(message))
        });
        let request = request.map_err(|error| Failed::Refused(error.to_string()))?;
        let response =
            self.client.request(request).await.map_err(|error| Failed::Away(innermost(&error)))?;
        let (head, body) = response.into_parts();
        if head.status != http::StatusCode::OK {
            let told = format!("it answered {}; is this an OTLP/gRPC address?", head.status);
            return Err(Failed::Away(told));
        }
        let body = Limited::new(body, LARGEST_ANSWER)
            .collect()
            .await
            .map_err(|error| Failed::Away(format!("the answer broke off: {error}")))?;
        // An answer without a message has its trailers in its head.
        let trailers = body.trailers().cloned().unwrap_or(head.headers);
        judge(&trailers)?;
        Ok(rejected(&body.to_bytes()))
    }
}

/// The innermost error has the words that help: "connection refused", not "client error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// By the codes that OTLP says are worth another try.
fn judge(trailers: &HeaderMap) -> Result<(), Failed> {
    let header = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
    let code: Option<u32> = header("grpc-status").and_then(|code| code.parse().ok());
    let told = || {
        let code =
            code.map_or_else(|| "no gRPC status".into(), |code| format!("gRPC status {code}"));
        let message = header("grpc-message").unwrap_or_default();
        // It goes into a log: one line, and not a long one.
        let message: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
        format!("{code} {message}").trim_end().to_owned()
    };
    match code {
        Some(0) => Ok(()),
        // Cancelled, deadline exceeded, resource exhausted, aborted, out of range, unavailable,
        // data loss.
        Some(1 | 4 | 8 | 10 | 11 | 14 | 15) | None => Err(Failed::Away(told())),
        Some(_) => Err(Failed::Refused(told())),
    }
}

/// Behind its five bytes: not compressed, and its length.
fn framed(spans: Vec<Span>) -> Bytes {
    let scope = InstrumentationScope {
        name: "tollgate".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let attributes =
        vec![text("service.name", "tollgate"), text("service.version", env!("CARGO_PKG_VERSION"))];
    let message = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    };
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(5 + length);
    bytes.put_u8(0);
    // 512 spans are far from four gigabytes.
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}

fn rejected(body: &[u8]) -> u64 {
    let message =
        body.get(5..).and_then(|message| ExportTraceServiceResponse::decode(message).ok());
    let partial = message.and_then(|message| message.partial_success);
    partial.and_then(|partial| u64::try_from(partial.rejected_spans).ok()).unwrap_or(0)
}
