//! A listener that its clients cannot tie up.
//!
//! What is bounded: connections ([`Slots`]), what all bodies together hold in memory, the time for a head and between two requests, the
//! size of a head, the time and the size of a body, and the time that a client may take to accept
//! what it is sent. What is refused: requests whose bytes could be read in two ways, and requests
//! without exactly one `Host`.
//!
//! Where there are too many connections, the one that has been idle for longest is closed; where
//! none is idle, the new one gets a 503 and is closed. So idle connections cost nobody anything,
//! and a busy one is never broken off. The new one gets a 503, too, where it would be heard too late
//! ([`Lateness`]).

use std::io;
use std::time::Duration;

use axum::Router;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::budget::Budget;
use super::connection::Connection;
use super::headers;
pub use super::lateness::Lateness;
pub use super::slots::Slots;
use super::socket::{Accepted, Socket};
use super::tls::TlsInForce;
use super::turned_away::TurnedAway;
use crate::config::Listen;

/// How far the daemon's going down has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    #[default]
    Open,
    /// No new connections, no second request on an old one.
    Finishing,
    /// Whatever is under way is cut off.
    Closed,
}

/// What a listener's clients may do. Clones share `slots`, `bodies` and `lateness`.
#[derive(Clone, Debug)]
pub struct Limits {
    pub slots: Slots,
    pub bodies: Budget,
    pub lateness: Lateness,
    /// Of a request, in bytes.
    pub max_body: usize,
    /// From the end of the last answer to the end of the next head: also how long a connection
    /// may be idle.
    pub head_within: Duration,
    /// From the end of the head to the end of the body.
    pub body_within: Duration,
    /// How long a client may take nothing of what it is sent.
    pub write_within: Duration,
    /// Request line and headers together, in bytes. At least 8 KiB.
    pub max_head: usize,
    /// How long a client that was cut off is listened to, so that it reads the answer before a
    /// reset throws it away; its place is given up before that where it is needed. And how long one
    /// that is turned away may take to ask, and then to close.
    pub linger: Duration,
}

impl Limits {
    pub fn new(max_body: usize, slots: Slots) -> Limits {
        Limits {
            slots,
            bodies: Budget::of_bodies(max_body),
            lateness: Lateness::default(),
            max_body,
            head_within: Duration::from_secs(10),
            body_within: Duration::from_secs(30),
            write_within: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            // Headers of the largest size that a job may have, and a long path.
            max_head: headers::LARGEST + 2 * super::path::LONGEST,
        }
    }
}

/// How far a listener has come, and the daemon. A listener that is taken away by a reload finishes
/// what is under way, however long that waits; only one that goes with its daemon tells it to end.
#[derive(Clone, Debug)]
pub struct Stages {
    pub own: watch::Receiver<Stage>,
    pub daemon: watch::Receiver<Stage>,
}

/// Of a listener that is there as long as the daemon.
impl From<watch::Receiver<Stage>> for Stages {
    fn from(stage: watch::Receiver<Stage>) -> Stages {
        Stages { own: stage.clone(), daemon: stage }
    }
}

impl Stage {
    /// Returns once `stage` is `at` or past it. A sender that is gone is past everything.
    pub(super) async fn reached(stage: &mut watch::Receiver<Stage>, at: Stage) {
        let _ = stage.wait_for(|now| *now >= at).await;
    }
}

/// Of a request: tells its handler that the daemon is going down. An extension of each request.
#[derive(Clone, Debug)]
pub(crate) struct Closing(watch::Receiver<Stage>);

impl Closing {
    pub(crate) fn new(stage: watch::Receiver<Stage>) -> Closing {
        Closing(stage)
    }

    /// Returns once the daemon finishes what is under way.
    pub(crate) async fn begun(&mut self) {
        Stage::reached(&mut self.0, Stage::Finishing).await;
    }
}

/// An address that is taken, but not served yet.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    address: Listen,
}

pub async fn bind(address: &Listen) -> io::Result<Bound> {
    let (socket, address) = Socket::bind(address)?;
    Ok(Bound { socket, address })
}

impl Bound {
    /// With the port that was chosen, where it was asked for as 0.
    pub fn address(&self) -> &Listen {
        &self.address
    }

    /// Serves until its stage leaves [`Stage::Open`]; the task ends with the last connection.
    pub fn serve(
        self,
        router: Router,
        limits: Limits,
        tls: TlsInForce,
        stages: impl Into<Stages>,
    ) -> JoinHandle<()> {
        tokio::spawn(self.serve_on(tokio::runtime::Handle::current(), router, limits, tls, stages))
    }

    /// As [`Bound::serve`], with the connections on threads of their own, so that one more is taken or
    /// turned away however long those that are there keep their threads busy.
    pub(crate) fn serve_on(
        self,
        threads: tokio::runtime::Handle,
        router: Router,
        limits: Limits,
        tls: TlsInForce,
        stages: impl Into<Stages>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let Stages { own: mut stage, daemon } = stages.into();
        async move {
            let mut connections = JoinSet::new();
            let mut turned_away = TurnedAway::new(limits.slots.clone(), limits.linger);
            loop {
                tokio::select! {
                    biased;
                    () = Stage::reached(&mut stage, Stage::Finishing) => break,
                    Some(_) = connections.join_next() => {}
                    stream = accept(&self.socket, &threads, &limits.slots) => {
                        if let Some(late) = limits.lateness.too_much() {
                            turned_away.tell(stream, &tls, heard_too_late(late));
                            continue;
                        }
                        let Some(place) = limits.slots.take() else {
                            turned_away.tell(stream, &tls, ALL_AT_WORK);
                            continue;
                        };
                        let stages = Stages { own: stage.clone(), daemon: daemon.clone() };
                        let (unheard, tls) = (limits.lateness.let_in(), tls.acceptor());
                        let (router, limits) = (router.clone(), limits.clone());
                        let serving = async move {
                            unheard.heard();
                            if let Some(slot) = place.free().await {
                                let connection = Connection::new(router, limits, stages, slot);
                                connection.accept(stream, tls).await;
                            }
                        };
                        connections.spawn_on(serving, &threads);
                    }
                }
            }
            drop(self.socket);
            let all_done = async { while connections.join_next().await.is_some() {} };
            tokio::select! {
                () = all_done => {}
                () = Stage::reached(&mut stage, Stage::Closed) => {}
            }
        }
    }
}

const ALL_AT_WORK: &str = "every connection that may be open is at work; try again";

fn heard_too_late(late: Duration) -> String {
    format!("who asks now would wait for about {} s to be heard at all; try again", late.as_secs())
}

/// The next connection; an error that stays (no more files) does not spin.
async fn accept(socket: &Socket, server: &tokio::runtime::Handle, slots: &Slots) -> Accepted {
    loop {
        match socket.accept(server).await {
            Ok(stream) => return stream,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                slots.evict();
                #[expect(
                    clippy::disallowed_methods,
                    reason = "nothing tells when there are files again"
                )]
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The client gave up before it was accepted: nothing is wrong here.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// Raises the soft limit of open files to the hard one; returns the limit then in force.
pub fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            limit.current.unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests;
