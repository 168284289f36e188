//! Connections: making them, keeping them for the next request, and lending them out.
//!
//! An HTTP/1.1 connection is lent to one attempt at a time and comes back only after that attempt
//! has seen its answer's end. hyper-util's own pool hands a connection on as soon as hyper is
//! ready for more, which can be before the attempt has read the end; then two attempts would
//! share one [`Wire`] for a moment, and the second could not know what is its own. An HTTP/2
//! connection is lent to any number at once.

use std::collections::HashMap;
use std::error::Error;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower_service::Service as _;

use super::connection::{Stream, Watched, Wire};
use super::departure::Departure;
use super::names::Names;
use super::reason;
use super::request::{Body, Prepared};

/// How long an unused connection is kept. Apache and Node close theirs after 5 s: a request that
/// meets that close has an unknown outcome, so ours goes first.
const KEEP_IDLE: Duration = Duration::from_secs(4);
/// How often connections that were kept too long are looked for, while there are any.
const SWEEP: Duration = Duration::from_secs(1);
/// How long a connection may take to be ready again after its answer's end was read. It is, in
/// the same turn of its task, unless the target left a part of the request unread.
const SETTLE: Duration = Duration::from_millis(50);
/// Of an answer's head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// Of an answer's head, in headers; hyper's default, made explicit.
const MAX_HEADERS: usize = 100;

/// Where connections lead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
}

/// A connection could not be made; nothing of a request was sent. For people.
pub(super) struct NotConnected(pub(super) String);

/// No answer to a request.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Certainly nothing of it was sent: the connection was no good.
    NotSent(String),
    /// It was sent, and the target says that it did not look at it (HTTP/2 `REFUSED_STREAM`).
    TurnedAway(String),
    /// Some of it may have been sent.
    Lost(String),
}

/// Ends a connection's task with its last user.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Http1 {
    sender: http1::SendRequest<Body>,
    wire: Arc<Wire>,
    _task: Task,
}

impl Drop for Http1 {
    fn drop(&mut self) {
        // The task may be in the middle of its turn on another thread.
        self.wire.kill();
    }
}

struct Http2 {
    sender: http2::SendRequest<Body>,
    _task: Task,
}

enum Connection {
    Alone(Http1),
    Shared(Arc<Http2>),
}

/// The unused connections of one origin.
#[derive(Default)]
struct Shelf {
    /// The one that was used last is at the end.
    alone: Vec<(Http1, Instant)>,
    /// May be in use.
    shared: Option<(Arc<Http2>, Instant)>,
}

impl Shelf {
    fn is_empty(&self) -> bool {
        self.alone.is_empty() && self.shared.is_none()
    }

    fn sweep(&mut self, now: Instant) {
        let fresh = |since: Instant| now.saturating_duration_since(since) < KEEP_IDLE;
        self.alone.retain(|(http1, since)| fresh(*since) && !http1.sender.is_closed());
        self.shared.take_if(|(http2, since)| {
            let in_use = Arc::strong_count(http2) > 1;
            http2.sender.is_closed() || !(in_use || fresh(*since))
        });
    }
}

#[derive(Default)]
struct Shelves {
    by_origin: HashMap<Origin, Shelf>,
    swept: bool,
}

pub(super) struct Pool {
    connector: HttpsConnector<HttpConnector<Names>>,
    shelves: Mutex<Shelves>,
    /// For connections; each holds one for as long as it lives.
    places: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(
        connector: HttpsConnector<HttpConnector<Names>>,
        connections: usize,
    ) -> Arc<Pool> {
        let places = Arc::new(Semaphore::new(connections));
        Arc::new(Pool { connector, shelves: Mutex::default(), places })
    }

    /// A connection that was kept, if there is a good one.
    pub(super) fn kept(self: &Arc<Pool>, origin: &Origin) -> Option<Lease> {
        let now = Instant::now();
        let mut shelves = self.lock();
        let shelf = shelves.by_origin.get_mut(origin)?;
        shelf.sweep(now);
        let connection = match &shelf.shared {
            Some((http2, _)) => Connection::Shared(http2.clone()),
            None => loop {
                let (http1, _) = shelf.alone.pop()?;
                if http1.sender.is_ready() {
                    break Connection::Alone(http1);
                }
            },
        };
        drop(shelves);
        Some(self.lease(origin, connection, true))
    }

    /// A connection that was made just now; to a target that speaks HTTP/2 perhaps the one that
    /// another attempt made meanwhile.
    pub(super) async fn fresh(self: &Arc<Pool>, origin: &Origin) -> Result<Lease, NotConnected> {
        let place = self.place(origin).await?;
        let stream = self.connect(origin).await.map_err(|error| {
            let what = if reason::is_tls(&*error) { "TLS with" } else { "connect to" };
            NotConnected(format!("{what} {origin} failed: {}", reason::of(&*error)))
        })?;
        let speaks_http2 = stream.connected().is_negotiated_h2();
        if speaks_http2 && let Some(lease) = self.kept(origin) {
            return Ok(lease);
        }
        let wire = Arc::new(Wire::default());
        let watched = Watched::new(stream, wire.clone());
        let failed = |error: hyper::Error| {
            NotConnected(format!("HTTP with {origin} failed: {}", reason::of(&error)))
        };
        let connection = if speaks_http2 {
            let (sender, task) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_header_list_size(MAX_HEAD as u32)
                .handshake(watched)
                .await
                .map_err(failed)?;
            let task = tokio::spawn(async move {
                let _place = place;
                drop(task.await);
            });
            let http2 = Arc::new(Http2 { sender, _task: Task(task) });
            let mut shelves = self.lock();
            let shelf = shelves.by_origin.entry(origin.clone()).or_default();
            shelf.shared = Some((http2.clone(), Instant::now()));
            self.keep_swept(&mut shelves);
            Connection::Shared(http2)
        } else {
            let (sender, task) = http1::Builder::new()
                .max_buf_size(MAX_HEAD)
                .max_headers(MAX_HEADERS)
                .handshake(watched)
                .await
                .map_err(failed)?;
            // Its errors reach whoever waits for the answer.
            let task = tokio::spawn(async move {
                let _place = place;
                drop(task.await);
            });
            Connection::Alone(Http1 { sender, wire, _task: Task(task) })
        };
        Ok(self.lease(origin, connection, false))
    }

    /// A place for one more connection. An unused one makes room, whichever target it leads to.
    async fn place(&self, origin: &Origin) -> Result<OwnedSemaphorePermit, NotConnected> {
        let full = || {
            NotConnected(format!(
                "connect to {origin} failed: there are as many connections to targets as the limit \
                 of open files allows"
            ))
        };
        match self.places.clone().try_acquire_owned() {
            Ok(place) => Ok(place),
            // Soon: who is not used has nothing to finish.
            Err(_) if self.let_one_go() => {
                self.places.clone().acquire_owned().await.map_err(|_| full())
            }
            Err(_) => Err(full()),
        }
    }

    fn let_one_go(&self) -> bool {
        let mut shelves = self.lock();
        let unused = shelves.by_origin.values_mut().find_map(|shelf| shelf.alone.pop());
        drop(shelves);
        unused.is_some()
    }

    async fn connect(&self, origin: &Origin) -> Result<Stream, Box<dyn Error + Send + Sync>> {
        let uri = Uri::builder()
            .scheme(origin.scheme.clone())
            .authority(origin.authority.clone())
            .path_and_query("/")
            .build()?;
        let mut connector = self.connector.clone();
        poll_fn(|cx| connector.poll_ready(cx)).await?;
        connector.call(uri).await
    }

    fn lease(self: &Arc<Pool>, origin: &Origin, connection: Connection, kept: bool) -> Lease {
        Lease { pool: self.clone(), origin: origin.clone(), connection: Some(connection), kept }
    }

    fn put_back(self: &Arc<Pool>, origin: &Origin, connection: Connection) {
        let now = Instant::now();
        let mut shelves = self.lock();
        let shelf = shelves.by_origin.entry(origin.clone()).or_default();
        match connection {
            Connection::Alone(http1) => shelf.alone.push((http1, now)),
            // If it is no longer the one that is lent out, its last user ends it.
            Connection::Shared(http2) => match &mut shelf.shared {
                Some((current, since)) if Arc::ptr_eq(current, &http2) => *since = now,
                _ => {}
            },
        }
        self.keep_swept(&mut shelves);
    }

    /// Lends a shared connection to nobody new.
    fn retire(&self, origin: &Origin, retired: &Arc<Http2>) {
        if let Some(shelf) = self.lock().by_origin.get_mut(origin) {
            shelf.shared.take_if(|(http2, _)| Arc::ptr_eq(http2, retired));
        }
    }

    /// Sees to it that unused connections are closed in time. The task ends when there are none.
    fn keep_swept(self: &Arc<Pool>, shelves: &mut Shelves) {
        if shelves.swept {
            return;
        }
        shelves.swept = true;
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SWEEP);
            // The first tick is at once, and nothing has been idle for long by then.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                if !Weak::upgrade(&pool).is_some_and(|pool| pool.sweep()) {
                    return;
                }
            }
        });
    }

    /// Whether anything is left to sweep.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        let mut shelves = self.lock();
        shelves.by_origin.retain(|_, shelf| {
            shelf.sweep(now);
            !shelf.is_empty()
        });
        shelves.swept = !shelves.by_origin.is_empty();
        shelves.swept
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to send one request on a connection. Dropped without [`Lease::finish`], it closes
/// the connection, or, where others share it, lends it to nobody new.
pub(super) struct Lease {
    pool: Arc<Pool>,
    origin: Origin,
    connection: Option<Connection>,
    kept: bool,
}

impl Lease {
    /// Whether the connection served another request before.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// What tells whether a byte left; a shared connection cannot tell.
    pub(super) fn wire(&self) -> Option<Arc<Wire>> {
        match &self.connection {
            Some(Connection::Alone(http1)) => Some(http1.wire.clone()),
            _ => None,
        }
    }

    /// Sends the request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: &Prepared,
        departure: &Departure,
    ) -> Result<Response<Incoming>, NoAnswer> {
        match &mut self.connection {
            Some(Connection::Alone(http1)) => {
                http1.wire.begin(departure.clone());
                http1.sender.try_send_request(request.http1()).await.map_err(|mut error| {
                    let sent = http1.wire.kill();
                    let text = reason::of(error.error());
                    if error.take_message().is_some() || !sent {
                        NoAnswer::NotSent(text)
                    } else {
                        NoAnswer::Lost(text)
                    }
                })
            }
            Some(Connection::Shared(http2)) => {
                departure.tell();
                let mut sender = http2.sender.clone();
                sender.try_send_request(request.http2()).await.map_err(|mut error| {
                    let text = reason::of(error.error());
                    if error.take_message().is_some() {
                        NoAnswer::NotSent(text)
                    } else if is_turned_away(error.error()) {
                        NoAnswer::TurnedAway(text)
                    } else {
                        NoAnswer::Lost(text)
                    }
                })
            }
            None => Err(NoAnswer::NotSent("the connection is closed".to_owned())),
        }
    }

    /// The answer's end was read: the connection may serve the next.
    pub(super) async fn finish(mut self) {
        if let Some(Connection::Alone(http1)) = &mut self.connection {
            // An answer that came before the whole request was written: what is left of it would
            // be taken for a part of the next.
            if http1.wire.is_dirty() {
                return;
            }
            let ready = tokio::time::timeout(SETTLE, http1.sender.ready()).await;
            if !matches!(ready, Ok(Ok(()))) || http1.wire.is_dirty() {
                return;
            }
            http1.wire.mark_used();
        }
        self.give_back();
    }

    /// This request has no answer, but the shared connection is well.
    pub(super) fn turned_away(mut self) {
        if matches!(self.connection, Some(Connection::Shared(_))) {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.put_back(&self.origin, connection);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(Connection::Shared(http2)) = self.connection.take() {
            self.pool.retire(&self.origin, &http2);
        }
    }
}

/// Whether the target reset the stream with `REFUSED_STREAM`, which promises that it did nothing
/// (RFC 9113 §8.7). A GOAWAY promises as much to streams above its last id, but h2 reports it also
/// to a stream below that id which was just being opened, so it proves nothing here.
fn is_turned_away(error: &hyper::Error) -> bool {
    error.source().and_then(|source| source.downcast_ref::<h2::Error>()).is_some_and(|error| {
        error.is_reset() && error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
    })
}
