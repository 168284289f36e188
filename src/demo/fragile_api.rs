//! A fake legacy API that bears little and breaks often, on loopback, with an [`Auditor`] inside.
//!
//! It answers any method on any path with a small JSON receipt, slowly, and refuses what comes
//! faster than its own limit. What goes wrong is drawn from a seed by the number of the request,
//! so the same seed gives the same mix. Paths under [`NOWHERE`] are answered with 404.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::auditor::{Auditor, Caller, Fate, Receipt};
use super::rng::Rng;

/// There is nothing under this path.
pub const NOWHERE: &str = "/nowhere";

/// How an API behaves. [`Fragility::SOUND`] never fails; change from there what you need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragility {
    pub seed: u64,
    /// The most arrivals in any sliding second; what is over it gets 429 and counts too.
    pub limit: Option<usize>,
    /// From the end of a request to its answer.
    pub latency: Latency,
    /// From when a connection is there until its first byte is read: a slow network in front of
    /// the API, which makes arrivals bunch up.
    pub accept_delay: Latency,
    pub failures: Failures,
    /// What a 503 asks for, in whole seconds; rounded up.
    pub retry_after: Duration,
}

impl Fragility {
    /// Answers everything at once with 200.
    pub const SOUND: Fragility = Fragility {
        seed: 0,
        limit: None,
        latency: Latency::NONE,
        accept_delay: Latency::NONE,
        failures: Failures::NONE,
        retry_after: Duration::from_secs(1),
    };

    /// What becomes of the `number`th request, from 0, unless it is over the limit or asks for
    /// what there is not.
    pub fn fate(&self, number: u64) -> Fate {
        self.draw(number).fate
    }

    fn draw(&self, number: u64) -> Drawn {
        let mut rng = Rng::nth(self.seed, number);
        let fate = self.failures.pick(rng.below(1000));
        let latency = self.latency.draw(&mut rng);
        let works = match fate {
            Fate::Done | Fate::Half => true,
            // The caller cannot tell; nor should it guess right by always guessing the same.
            Fate::Broken | Fate::Hung | Fate::Error => rng.below(2) == 0,
            Fate::Missing | Fate::Limited | Fate::Unavailable => false,
        };
        Drawn { fate, latency, works }
    }
}

struct Drawn {
    fate: Fate,
    latency: Duration,
    works: bool,
}

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    Fixed(Duration),
    /// Anything from `least` to `most`, all alike.
    Uniform {
        least: Duration,
        most: Duration,
    },
    /// `least` and on average `more`, with an exponential tail that is cut at `most`.
    Tailed {
        least: Duration,
        more: Duration,
        most: Duration,
    },
}

impl Latency {
    pub const NONE: Latency = Latency::Fixed(Duration::ZERO);

    fn draw(self, rng: &mut Rng) -> Duration {
        match self {
            Latency::Fixed(always) => always,
            Latency::Uniform { least, most } => least + rng.within(most.saturating_sub(least)),
            Latency::Tailed { least, more, most } => (least + rng.exponential(more)).min(most),
        }
    }

    /// The average, at most (a cut tail makes it a little less).
    pub fn mean(self) -> Duration {
        match self {
            Latency::Fixed(always) => always,
            Latency::Uniform { least, most } => least + most.saturating_sub(least) / 2,
            Latency::Tailed { least, more, most } => (least + more).min(most),
        }
    }
}

/// How many of a thousand requests go wrong in which way; what is left is done. More than a
/// thousand together: the last ones come short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// 500; half of these have done the work.
    pub error: u16,
    /// 503 with `Retry-After`.
    pub unavailable: u16,
    /// The request is read, then the connection is closed; half of these have done the work.
    pub broken: u16,
    /// The work is done, the answer ends in its middle.
    pub half: u16,
    /// Nothing comes until the caller gives up; half of these have done the work.
    pub hung: u16,
}

impl Failures {
    pub const NONE: Failures = Failures { error: 0, unavailable: 0, broken: 0, half: 0, hung: 0 };

    fn ways(self) -> [(Fate, u16); 5] {
        [
            (Fate::Error, self.error),
            (Fate::Unavailable, self.unavailable),
            (Fate::Broken, self.broken),
            (Fate::Half, self.half),
            (Fate::Hung, self.hung),
        ]
    }

    fn pick(self, mut of_thousand: u64) -> Fate {
        for (fate, share) in self.ways() {
            match of_thousand.checked_sub(u64::from(share)) {
                Some(rest) => of_thousand = rest,
                None => return fate,
            }
        }
        Fate::Done
    }

    /// Of a thousand.
    pub fn total(self) -> u32 {
        self.ways().into_iter().map(|(_, share)| u32::from(share)).sum()
    }
}

/// The API, serving until it is stopped or dropped.
#[derive(Debug)]
pub struct FragileApi {
    address: SocketAddr,
    auditor: Arc<Auditor>,
    service: Arc<Service>,
    task: JoinHandle<()>,
}

impl FragileApi {
    /// On a free port of loopback, with new books.
    pub async fn start(fragility: Fragility) -> io::Result<FragileApi> {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        FragileApi::start_at(anywhere, fragility, Arc::default()).await
    }

    /// At a given address, going on with books that are there: an API that was away and is back.
    pub async fn start_at(
        address: SocketAddr,
        fragility: Fragility,
        auditor: Arc<Auditor>,
    ) -> io::Result<FragileApi> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let limit = AtomicUsize::new(fragility.limit.unwrap_or(usize::MAX));
        let service = Arc::new(Service { fragility, limit, auditor: auditor.clone() });
        let task = tokio::spawn(accept(listener, service.clone()));
        Ok(FragileApi { address, auditor, service, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn auditor(&self) -> &Arc<Auditor> {
        &self.auditor
    }

    /// `None`: it bears whatever comes.
    pub fn limit(&self) -> Option<usize> {
        Some(self.service.limit.load(Relaxed)).filter(|limit| *limit < usize::MAX)
    }

    /// From now on the most arrivals in any sliding second: what it can bear has changed.
    pub fn set_limit(&self, limit: Option<usize>) {
        self.service.limit.store(limit.unwrap_or(usize::MAX), Relaxed);
    }

    /// Closes the port and every connection; returns once they are closed.
    pub async fn stop(mut self) {
        self.task.abort();
        // It was cancelled, and that is all that there is to know.
        let _ = (&mut self.task).await;
    }
}

impl Drop for FragileApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, service: Arc<Service>) {
    let mut connections = JoinSet::new();
    for number in 0_u64.. {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or the peer left already: neither ends the API.
                tracing::warn!(%error, "the fake API could not accept a connection");
                pause(Duration::from_millis(10)).await;
                continue;
            }
        };
        connections.spawn(serve(stream, service.clone(), number));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, service: Arc<Service>, number: u64) {
    let mut rng = Rng::nth(!service.fragility.seed, number);
    let delay = service.fragility.accept_delay.draw(&mut rng);
    pause(delay).await;
    // Without it the answer may wait for the peer's delayed acknowledgement; not fatal.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(|request| service.answer(request));
    // A connection that ends badly is what this API is for.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

#[expect(clippy::disallowed_methods, reason = "taking its time is what this API is for")]
async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Breaks the connection: what hyper does where a service gives an error.
#[derive(Debug, thiserror::Error)]
#[error("the connection is broken on purpose")]
struct Broken;

#[derive(Debug)]
struct Service {
    fragility: Fragility,
    /// In force; `usize::MAX` where there is none.
    limit: AtomicUsize,
    auditor: Arc<Auditor>,
}

impl Service {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<AnswerBody>, Broken> {
        let nowhere = request.uri().path().starts_with(NOWHERE);
        let receipt = self.auditor.arrive(Caller::read(request.headers()), |number, load| {
            if load > self.limit.load(Relaxed) {
                Fate::Limited
            } else if nowhere {
                Fate::Missing
            } else {
                self.fragility.fate(number)
            }
        });
        let drawn = self.fragility.draw(receipt.number);
        drain(request.into_body()).await?;
        match receipt.fate {
            Fate::Limited => {
                // The oldest leaves the window within a second.
                return Ok(problem(StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_secs(1))));
            }
            Fate::Unavailable => {
                let pause = Some(self.fragility.retry_after);
                return Ok(problem(StatusCode::SERVICE_UNAVAILABLE, pause));
            }
            _ => pause(drawn.latency).await,
        }
        if drawn.works && receipt.fate != Fate::Missing {
            self.auditor.worked(&receipt);
        }
        match receipt.fate {
            Fate::Done => Ok(done(&receipt, AnswerBody::whole)),
            Fate::Half => Ok(done(&receipt, AnswerBody::half)),
            Fate::Missing => Ok(problem(StatusCode::NOT_FOUND, None)),
            Fate::Broken => Err(Broken),
            Fate::Hung => std::future::pending().await,
            Fate::Error | Fate::Limited | Fate::Unavailable => {
                Ok(problem(StatusCode::INTERNAL_SERVER_ERROR, None))
            }
        }
    }
}

/// Reads a body to its end and forgets it.
async fn drain(mut body: Incoming) -> Result<(), Broken> {
    while let Some(frame) = body.frame().await {
        frame.map_err(|_| Broken)?;
    }
    Ok(())
}

fn done(receipt: &Receipt, body: fn(Bytes) -> AnswerBody) -> Response<AnswerBody> {
    let text = format!("{{\"accepted\":true,\"receipt\":{}}}", receipt.number);
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(body(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length);
    response
}

fn problem(status: StatusCode, retry_after: Option<Duration>) -> Response<AnswerBody> {
    let text = format!("{{\"accepted\":false,\"status\":{}}}", status.as_u16());
    let mut response = Response::new(AnswerBody::whole(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(pause) = retry_after {
        let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A body that comes whole, or breaks off after its first half.
enum AnswerBody {
    Whole(Option<Bytes>),
    Half(Option<Bytes>),
    /// What there was is handed over, perhaps not yet written.
    Cut,
    Over,
}

impl AnswerBody {
    fn whole(bytes: Bytes) -> AnswerBody {
        AnswerBody::Whole(Some(bytes))
    }

    fn half(mut bytes: Bytes) -> AnswerBody {
        bytes.truncate(bytes.len() / 2);
        AnswerBody::Half(Some(bytes))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            AnswerBody::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            AnswerBody::Half(bytes) => {
                let half = bytes.take();
                *self = AnswerBody::Cut;
                Poll::Ready(half.map(|bytes| Ok(Frame::data(bytes))))
            }
            AnswerBody::Cut => {
                // hyper writes out what it has when a body is pending, and forgets it when a body
                // fails; so it gets one turn to write.
                *self = AnswerBody::Over;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            AnswerBody::Over => Poll::Ready(Some(Err(Broken))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Whole(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            AnswerBody::Whole(None) => SizeHint::with_exact(0),
            AnswerBody::Half(_) | AnswerBody::Cut | AnswerBody::Over => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
