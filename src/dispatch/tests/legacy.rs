//! A target whose every byte and every silence is written in the test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::broker::course::Aim;
use crate::broker::job::{JobId, Priority};
use crate::broker::payload::{Report, Request};
use crate::broker::policy::{Limit, Policy, Rate, Retry, Tempo};
use crate::config::Target;
use crate::dispatch::names::Names;
use crate::dispatch::{Dispatcher, Outgoing};
use crate::trace::Recording;

/// Long enough that no test ends by it.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What the target saw so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) connections: usize,
    /// Connections that ended from our side.
    pub(super) hung_up: usize,
    /// Connections whose script has ended.
    pub(super) over: usize,
    /// Whole requests, each with the number of its connection, from 1.
    pub(super) requests: Vec<(usize, Vec<u8>)>,
}

pub(super) struct Legacy {
    pub(super) addr: SocketAddr,
    seen: watch::Receiver<Seen>,
}

impl Legacy {
    /// Runs `script` for each connection, all at once.
    pub(super) async fn start<F, Fut>(script: F) -> Legacy
    where
        F: Fn(Peer<TcpStream>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, seen) = watch::channel(Seen::default());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tell.send_modify(|seen| seen.connections += 1);
                let nth = tell.borrow().connections;
                let peer = Peer { stream, nth, read: Vec::new(), tell: tell.clone() };
                let (script, tell) = (script(peer), tell.clone());
                tokio::spawn(async move {
                    script.await;
                    tell.send_modify(|seen| seen.over += 1);
                });
            }
        });
        Legacy { addr, seen }
    }

    /// Says `answer` to every request, and keeps the connection as long as we do.
    pub(super) async fn answering(answer: impl Into<Vec<u8>>) -> Legacy {
        let answer: Arc<Vec<u8>> = Arc::new(answer.into());
        Legacy::start(move |mut peer| {
            let answer = answer.clone();
            async move {
                while peer.request().await.is_some() {
                    peer.say(&*answer).await;
                }
            }
        })
        .await
    }

    /// Says `answer` to the first request of a connection, and closes it.
    pub(super) async fn answering_once(answer: impl Into<Vec<u8>>) -> Legacy {
        let answer: Arc<Vec<u8>> = Arc::new(answer.into());
        Legacy::start(move |mut peer| {
            let answer = answer.clone();
            async move {
                peer.request().await.unwrap();
                peer.say(&*answer).await;
            }
        })
        .await
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until the target saw what is asked for.
    pub(super) async fn until(&self, what: impl FnMut(&Seen) -> bool) {
        let mut seen = self.seen.clone();
        seen.wait_for(what).await.unwrap();
    }

    pub(super) fn target(&self) -> Target {
        target(&format!("http://{}", self.addr))
    }
}

/// One connection as the target sees it.
pub(super) struct Peer<S> {
    pub(super) stream: S,
    /// Of the connections, from 1.
    pub(super) nth: usize,
    read: Vec<u8>,
    tell: watch::Sender<Seen>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// The next whole request; `None` once we have hung up.
    pub(super) async fn request(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(length) = whole(&self.read) {
                let request: Vec<u8> = self.read.drain(..length).collect();
                self.tell.send_modify(|seen| seen.requests.push((self.nth, request.clone())));
                return Some(request);
            }
            if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                self.tell.send_modify(|seen| seen.hung_up += 1);
                return None;
            }
        }
    }

    pub(super) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        // We may have hung up already.
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Reads nothing and says nothing; ends when we hang up.
    pub(super) async fn until_hung_up(&mut self) {
        while matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {}
        self.tell.send_modify(|seen| seen.hung_up += 1);
    }

    /// Takes the requests that came and were not read.
    pub(super) fn drain(&mut self)
    where
        S: std::borrow::Borrow<TcpStream>,
    {
        while matches!(self.stream.borrow().try_read_buf(&mut self.read), Ok(1..)) {}
        while let Some(length) = whole(&self.read) {
            let request: Vec<u8> = self.read.drain(..length).collect();
            self.tell.send_modify(|seen| seen.requests.push((self.nth, request)));
        }
    }

    /// The same connection with TLS on it; `None` where the handshake fails.
    pub(super) async fn tls(
        self,
        acceptor: tokio_rustls::TlsAcceptor,
    ) -> Option<Peer<tokio_rustls::server::TlsStream<S>>> {
        let stream = acceptor.accept(self.stream).await.ok()?;
        Some(Peer { stream, nth: self.nth, read: self.read, tell: self.tell })
    }
}

/// The length of the request that `bytes` begin with, if it is all there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let length = header(bytes, "content-length").map_or(0, |value| value.parse().unwrap());
    (bytes.len() >= head + length).then_some(head + length)
}

/// The value of the only header `name` of a request as the target saw it.
pub(super) fn header(request: &[u8], name: &str) -> Option<String> {
    let head = request.split(|byte| *byte == b'\n').take_while(|line| *line != b"\r").skip(1);
    let mut values = head.filter_map(|line| {
        let line = std::str::from_utf8(line).ok()?.trim_end();
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then(|| value.to_owned())
    });
    let value = values.next();
    assert_eq!(values.next(), None, "{name} twice");
    value
}

pub(super) fn target(url: &str) -> Target {
    let one = NonZeroU32::MIN;
    Target {
        name: "legacy".to_owned(),
        url: url.parse().unwrap(),
        timeout: PATIENCE,
        headers: HeaderMap::new(),
        listen: None,
        policy: Policy {
            limit: Limit::plain(Rate::new(one, Duration::from_secs(1)).unwrap(), one, one),
            share: Vec::new(),
            tempo: Tempo::default(),
            retry: Retry {
                max_attempts: one,
                min_backoff: Duration::ZERO,
                max_backoff: Duration::ZERO,
                max_retry_duration: Duration::ZERO,
            },
            max_deferrals: one,
            max_queued: 1,
            outcomes: Default::default(),
            on_group_failure: Default::default(),
            weights: Default::default(),
        },
        asking: Default::default(),
    }
}

pub(super) fn get(path: &str) -> Request {
    Request { method: "GET".to_owned(), path: path.to_owned(), ..Request::default() }
}

pub(super) fn post(path: &str, body: impl Into<Bytes>) -> Request {
    Request { method: "POST".to_owned(), path: path.to_owned(), body: body.into(), ..get(path) }
}

pub(super) const JOB: JobId = JobId(0x0197_a3b0_6d1e_7c55_b1b2_6f5a_4f0c_9e11);

pub(super) fn outgoing(request: &Request) -> Outgoing<'_> {
    outgoing_for(request, &Aim::Work)
}

pub(super) fn outgoing_for<'a>(request: &'a Request, aim: &'a Aim) -> Outgoing<'a> {
    Outgoing {
        id: JOB,
        attempt: 1,
        priority: Priority::High,
        request,
        aim,
        number: 1,
        trace: Recording::Off,
    }
}

/// One that trusts the certificate of these tests, and no other.
pub(super) fn dispatcher() -> Dispatcher {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(super::tls::certificate()).unwrap();
    let config = crate::dispatch::tls_versions().unwrap().with_root_certificates(roots);
    Dispatcher::with(config.with_no_client_auth(), Names::of_the_system(), 1_024)
}

/// One attempt by a dispatcher of its own.
pub(super) async fn attempt(target: &Target, request: &Request) -> Report {
    dispatcher().attempt(target, outgoing(request)).await
}

/// Lets `attempt` go on until `moment`, and then runs out its time, which is `timeout`.
pub(super) async fn time_out(
    attempt: impl Future<Output = Report>,
    moment: impl Future<Output = ()>,
    timeout: Duration,
) -> Report {
    let mut attempt = std::pin::pin!(attempt);
    tokio::select! {
        report = &mut attempt => panic!("too early: {report:?}"),
        () = moment => {}
    }
    tokio::time::pause();
    tokio::time::advance(timeout).await;
    tokio::time::resume();
    attempt.await
}

/// The headers of an answer by name, with their values as text.
pub(super) fn headers(report: &Report) -> HashMap<&str, Vec<&[u8]>> {
    let mut headers: HashMap<&str, Vec<&[u8]>> = HashMap::new();
    for (name, value) in &report.answer.as_ref().unwrap().headers {
        headers.entry(name).or_default().push(value);
    }
    headers
}
