//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::Authority;
use http::{Method, Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::body::too_large;
use super::budget::{Budget, Held};
use super::guard::{Busy, Guarded, Outgoing};
use super::problem::{Kind, Problem};
use super::server::{Closing, Limits, Stage, Stages};
use super::slots::Slot;
use super::socket::Accepted;
use super::stream::{Stream, Via};
use super::wire::{Ambiguity, Verdict, Wire};

pub(super) struct Connection {
    router: Router,
    limits: Limits,
    stage: watch::Receiver<Stage>,
    closing: Closing,
    slot: Arc<Slot>,
}

impl Connection {
    pub(super) fn new(
        router: Router,
        limits: Limits,
        Stages { own, daemon }: Stages,
        slot: Slot,
    ) -> Connection {
        let closing = Closing::new(daemon);
        Connection { router, limits, stage: own, closing, slot: Arc::new(slot) }
    }

    pub(super) async fn accept(mut self, accepted: Accepted, tls: Option<TlsAcceptor>) {
        let stream = match (accepted, tls) {
            (Accepted::Unix(stream), _) => Stream::Unix(stream),
            (Accepted::Tcp(stream), None) => Stream::Tcp(stream),
            (Accepted::Tcp(stream), Some(tls)) => {
                self.slot.is_silent();
                // As long as for a head: until then it says nothing that could be answered.
                let shaken = tokio::time::timeout(self.limits.head_within, tls.accept(stream));
                let shaken = tokio::select! {
                    shaken = shaken => shaken,
                    () = self.slot.evicted() => return,
                    () = Stage::reached(&mut self.stage, Stage::Finishing) => return,
                };
                match shaken {
                    Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "a TLS handshake failed");
                        return;
                    }
                    Err(_) => return,
                }
            }
        };
        self.serve(stream).await;
    }

    async fn serve(mut self, stream: Stream) {
        let via = stream.via();
        let verdict = Arc::new(Verdict::default());
        let cut_off = Arc::new(AtomicBool::new(false));
        let service = Requests {
            router: self.router,
            max_body: self.limits.max_body,
            body_within: self.limits.body_within,
            bodies: self.limits.bodies.clone(),
            closing: self.closing,
            slot: self.slot.clone(),
            via,
            verdict: verdict.clone(),
            cut_off: cut_off.clone(),
            count: AtomicU64::new(0),
        };
        let (max_head, linger) = (self.limits.max_head, self.limits.linger);
        let wire = Wire::new(stream, max_head, self.limits.write_within, verdict);
        let mut http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_within)
            .max_header_size(max_head)
            // Must hold a head; hyper insists on 8 KiB.
            .max_buf_size(max_head.max(8 * 1024))
            .serve_connection(TokioIo::new(wire), service);
        let (mut looked_at, mut finishing) = (false, false);
        let ended = loop {
            let progress = poll_fn(|cx| {
                let polled = http.poll_without_shutdown(cx);
                if !std::mem::replace(&mut looked_at, true) {
                    self.slot.is_silent();
                }
                polled
            });
            tokio::select! {
                ended = progress => break ended,
                () = self.slot.evicted() => return,
                () = Stage::reached(&mut self.stage, Stage::Finishing), if !finishing => {
                    if self.slot.is_idle() {
                        return;
                    }
                    finishing = true;
                    Pin::new(&mut http).graceful_shutdown();
                }
            }
        };
        if let Err(error) = &ended {
            tracing::debug!(%error, "a connection broke");
        }
        let mut stream = http.into_parts().io.into_inner().into_inner();
        let goodbye = async {
            let shut = stream.shutdown().await;
            if shut.is_ok() && cut_off.load(Ordering::Acquire) {
                // A timeout is as good an end as any.
                let _ = tokio::time::timeout(linger, stream.drain()).await;
            }
        };
        tokio::select! {
            () = goodbye => {}
            // Whoever accepts connections waits for this one's place.
            () = self.slot.evicted() => {}
        }
    }
}

/// Looks at each request before the router does.
struct Requests {
    router: Router,
    max_body: usize,
    body_within: Duration,
    bodies: Budget,
    closing: Closing,
    slot: Arc<Slot>,
    via: Via,
    verdict: Arc<Verdict>,
    cut_off: Arc<AtomicBool>,
    /// Requests so far.
    count: AtomicU64,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Outgoing>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let busy = Busy::new(self.slot.clone());
        let refusal = if busy.is_none() {
            Err(Problem::new(Kind::TooManyConnections, "this connection is being closed").closing())
        } else {
            self.look(number, &request)
        };
        let (mut parts, body) = request.into_parts();
        let held = Held::none_of(self.bodies.clone());
        let (limit, within, cut_off) = (self.max_body, self.body_within, self.cut_off.clone());
        let body = Guarded::new(body, limit, within, held.clone(), cut_off);
        if let Err(problem) = refusal {
            drop(body);
            let answer = problem.into_response();
            return Box::pin(async { Ok(answer.map(|body| Outgoing { body, _busy: busy })) });
        }
        parts.extensions.insert(self.closing.clone());
        parts.extensions.insert(self.via);
        parts.extensions.insert(held.clone());
        let answer = self.router.clone().call(Request::from_parts(parts, body));
        Box::pin(async {
            let answer = answer.await?;
            drop(held);
            Ok(answer.map(|body| Outgoing { body, _busy: busy }))
        })
    }
}

impl Requests {
    fn look(&self, number: u64, request: &Request<Incoming>) -> Result<(), Problem> {
        match self.verdict.on(number) {
            Some(Ambiguity::LengthAndEncoding) => {
                return Err(malformed("has both Content-Length and Transfer-Encoding"));
            }
            Some(Ambiguity::Fragment) => {
                return Err(malformed("has a fragment (`#`) in its target; encode it as %23"));
            }
            Some(Ambiguity::LoneLineFeed) => {
                return Err(malformed("has a line that ends with LF alone; lines end with CR LF"));
            }
            Some(Ambiguity::TransferCoding) => {
                return Err(malformed("has a Transfer-Encoding other than `chunked`, said once"));
            }
            None => {}
        }
        check_host(request)?;
        if request.method() == Method::CONNECT {
            let detail = "CONNECT is not possible: this is no proxy of that kind";
            return Err(Problem::new(Kind::MethodNotAllowed, detail).closing());
        }
        // Before a byte of the body is read, or asked for with `100 Continue`.
        let length = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
        match length.and_then(|text| text.parse::<u64>().ok()) {
            Some(length) if length > self.max_body as u64 => Err(too_large(self.max_body)),
            _ => Ok(()),
        }
    }
}

fn malformed(what: &str) -> Problem {
    Problem::new(Kind::Malformed, format!("the request {what}")).closing()
}

/// RFC 9112, section 3.2: one `Host`, valid, and the same as in a target of absolute form. HTTP/1.0
/// knows requests without one.
fn check_host<B>(request: &Request<B>) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(malformed("has more than one Host"));
    }
    let Some(host) = host else {
        if request.version() >= Version::HTTP_11 {
            return Err(malformed("has no Host"));
        }
        return Ok(());
    };
    let host = Authority::try_from(host.as_bytes())
        .ok()
        .filter(|host| !host.as_str().contains('@'))
        .ok_or_else(|| malformed("has a Host that is no host"))?;
    match request.uri().authority() {
        Some(named) if *named != host => Err(malformed("names one host and has another as Host")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(uri: &str, hosts: &[&str], version: Version) -> bool {
        let mut request = Request::builder().uri(uri).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        check_host(&request.body(()).unwrap()).is_ok()
    }

    #[test]
    fn there_is_exactly_one_host_and_it_is_one() {
        let new = Version::HTTP_11;
        assert!(host_of("/", &["localhost:7070"], new));
        assert!(host_of("/", &["[::1]:7070"], new));
        assert!(host_of("http://A.example/x", &["a.example"], new));
        assert!(host_of("/", &[], Version::HTTP_10));
        assert!(!host_of("/", &[], new));
        assert!(!host_of("/", &["a", "a"], new));
        assert!(!host_of("/", &["a", "a"], Version::HTTP_10));
        assert!(!host_of("/", &[""], new));
        assert!(!host_of("/", &["a b"], new));
        assert!(!host_of("/", &["user@a"], new));
        assert!(!host_of("/", &["a/b"], new));
        assert!(!host_of("http://a/x", &["b"], new));
    }
}
