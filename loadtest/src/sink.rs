//! The fast target: answers 200 at once and notes when each job arrived. Where a target is to be
//! slow or to fail, the fragile API of `tollgate demo` is used instead.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tollgate::broker::job::Priority;

use crate::clock::{Clock, Moment, pass};
use crate::http::{Inbox, request_head};
use crate::jobs;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// One request whose head was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) at: Moment,
    /// The job's, from its path; `None` for a request that is none of ours.
    pub(crate) number: Option<u64>,
    pub(crate) priority: Option<Priority>,
}

/// What is remembered of arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Everything,
    /// For runs without an end.
    Count,
}

#[derive(Debug)]
pub(crate) struct Sink {
    address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Seen {
    clock: Clock,
    keep: Keep,
    count: AtomicU64,
    arrivals: Mutex<Vec<Arrival>>,
}

impl Sink {
    /// On a free port of loopback.
    pub(crate) async fn start(clock: Clock, keep: Keep) -> io::Result<Sink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let seen = Seen { clock, keep, count: AtomicU64::new(0), arrivals: Mutex::default() };
        let seen = Arc::new(seen);
        let task = tokio::spawn(accept(listener, seen.clone()));
        Ok(Sink { address, seen, task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn count(&self) -> u64 {
        self.seen.count.load(Ordering::Relaxed)
    }

    /// What came since the last call, in the order of its time; then it is forgotten.
    pub(crate) fn take(&self) -> Vec<Arrival> {
        let mut arrivals =
            std::mem::take(&mut *self.seen.arrivals.lock().unwrap_or_else(PoisonError::into_inner));
        arrivals.sort_by_key(|arrival| arrival.at);
        arrivals
    }

    /// Waits until so many arrived since it was started, and fails where nothing at all comes
    /// for `patience`.
    pub(crate) async fn until(&self, count: u64, patience: Duration) -> anyhow::Result<()> {
        let mut last = (self.count(), self.seen.clock.now());
        while self.count() < count {
            pass(Duration::from_millis(2)).await;
            let now = (self.count(), self.seen.clock.now());
            if now.0 != last.0 {
                last = now;
            } else if now.1.since(last.1) > patience {
                bail!("{} of {count} jobs arrived, then none for {patience:?}", now.0);
            }
        }
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, seen.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut inbox = Inbox::default();
    loop {
        let length = match request_head(inbox.bytes())? {
            Some(head) => {
                seen.note(Arrival {
                    at: seen.clock.now(),
                    number: jobs::number_in(head.path),
                    priority: std::str::from_utf8(head.priority)
                        .ok()
                        .and_then(|name| name.parse().ok()),
                });
                head.head + head.body
            }
            None => {
                inbox.read(&mut stream).await?;
                continue;
            }
        };
        while inbox.bytes().len() < length {
            inbox.read(&mut stream).await?;
        }
        inbox.take(length);
        inbox.forget();
        stream.write_all(ANSWER).await?;
    }
}

impl Seen {
    fn note(&self, arrival: Arrival) {
        if self.keep == Keep::Everything {
            self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}
