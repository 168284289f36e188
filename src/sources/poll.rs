//! The frame of a poller: it asks for room, fetches, hands in, and pauses where that is of no use;
//! until the daemon goes down.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::room::{Room, Why, room};
use crate::aws::{Backoff, dice};
use crate::broker::job::TargetId;
use crate::handle::{Handle, Stopped};

/// After a fetch that failed.
const BACKOFF: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) };

/// What a poller fetches from.
pub(super) trait Fetch: Send {
    type Batch: Send;

    /// Where to, by name.
    fn target(&self) -> &str;

    /// Waits until this poller may fetch, where there are several of one source. It is dropped
    /// when the daemon goes down.
    fn turn(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Whether room for so many jobs is enough for this poller, where there are several.
    fn fits(&self, _jobs: u64) -> bool {
        true
    }

    /// At most so many jobs. It is dropped when the daemon goes down.
    fn fetch(&mut self, jobs: u64) -> impl Future<Output = Result<Self::Batch, String>> + Send;

    /// Returns once what was fetched is durable, or given back.
    fn hand_in(
        &mut self,
        target: TargetId,
        batch: Self::Batch,
        frame: &mut Frame,
    ) -> impl Future<Output = Result<(), Stopped>> + Send;
}

pub(super) struct Frame {
    pub(super) handle: Handle,
    shutdown: watch::Receiver<bool>,
    /// In a row.
    failures: u32,
    log: Log,
}

impl Frame {
    pub(super) fn new(handle: Handle, shutdown: watch::Receiver<bool>, log: Log) -> Frame {
        Frame { handle, shutdown, failures: 0, log }
    }

    pub(super) async fn run(mut self, mut fetch: impl Fetch) {
        while !self.is_down() {
            if self.step(&mut fetch).await.is_err() {
                return;
            }
        }
    }

    /// One batch, or one pause.
    async fn step(&mut self, fetch: &mut impl Fetch) -> Result<(), Stopped> {
        tokio::select! {
            () = fetch.turn() => {}
            () = begun(&mut self.shutdown) => return Ok(()),
        }
        let (target, jobs) = match room(&self.handle, fetch.target()).await? {
            Room::For { target, jobs } if fetch.fits(jobs) => (target, jobs),
            Room::For { .. } => {
                self.pause(Duration::from_secs(1)).await;
                return Ok(());
            }
            Room::None { why, look_again } => {
                self.log.now(State::Waiting(why), "");
                self.pause(look_again).await;
                return Ok(());
            }
        };
        let fetched = tokio::select! {
            fetched = fetch.fetch(jobs) => fetched,
            () = begun(&mut self.shutdown) => return Ok(()),
        };
        match fetched {
            Ok(batch) => {
                self.failures = 0;
                self.log.now(State::Fetching, "");
                fetch.hand_in(target, batch, self).await
            }
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                self.log.now(State::Failing, &why);
                self.pause(BACKOFF.after(self.failures, dice())).await;
                Ok(())
            }
        }
    }

    /// Waits, unless the daemon goes down first.
    pub(super) async fn pause(&mut self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep_until(Instant::now() + time) => {}
            () = begun(&mut self.shutdown) => {}
        }
    }

    pub(super) fn is_down(&self) -> bool {
        *self.shutdown.borrow() || self.shutdown.has_changed().is_err()
    }
}

/// Resolves once the daemon takes nothing new any more.
async fn begun(shutdown: &mut watch::Receiver<bool>) {
    // Who dropped the sender is going down as well.
    let _ = shutdown.wait_for(|down| *down).await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fetching,
    Waiting(Why),
    Failing,
}

/// Tells once when it changes how it stands with a source, not each time it is so. The pollers of
/// one source share it.
#[derive(Clone)]
pub(super) struct Log {
    source: String,
    state: Arc<Mutex<State>>,
}

impl Log {
    /// `source`: the URL of a queue, the ARN of an activity.
    pub(super) fn new(source: &str) -> Log {
        Log { source: source.to_owned(), state: Arc::new(Mutex::new(State::Fetching)) }
    }

    fn now(&self, state: State, error: &str) {
        let mut known = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *known, state) == state {
            return;
        }
        drop(known);
        let source = &self.source;
        match state {
            State::Fetching => tracing::info!(source, "messages are fetched again"),
            State::Waiting(why) => {
                tracing::warn!(source, "no messages are fetched: {}", why.as_str());
            }
            State::Failing => {
                tracing::warn!(source, error, "messages cannot be fetched; trying again");
            }
        }
    }
}
