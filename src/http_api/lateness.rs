//! How late callers are heard: whether the threads that serve them have more to do than they can.
//!
//! Where more is asked than can be answered, whoever comes waits behind all that are there, until
//! everybody who is heard has long hung up and all work is for nobody. So that those who are there
//! are answered in time, no more are let in than can be heard soon.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

const SAID_EVERY: Duration = Duration::from_secs(60);

/// Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Lateness(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Of the connection that was looked at last.
    last_ms: AtomicU64,
    /// Connections that nobody has looked at yet.
    unheard: AtomicUsize,
    /// When the log was last told.
    said: Mutex<Option<Instant>>,
}

impl Lateness {
    /// A connection that would wait for longer until its first byte is read is refused. Shorter than
    /// the patience of most clients.
    pub const MOST: Duration = Duration::from_secs(3);

    /// How late connections are heard, where that is too late for another one. There is always one
    /// on its way then, to tell when it is better.
    pub(super) fn too_much(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.0.last_ms.load(Ordering::Relaxed));
        (last > Self::MOST && self.0.unheard.load(Ordering::Relaxed) > 0).then_some(last)
    }

    /// Of a connection that was let in.
    pub(super) fn let_in(&self) -> Unheard {
        self.0.unheard.fetch_add(1, Ordering::Relaxed);
        Unheard { lateness: self.clone(), since: Instant::now() }
    }

    /// So late one was heard just now.
    pub(super) fn note(&self, late: Duration) {
        let ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
        self.0.last_ms.store(ms, Ordering::Relaxed);
        if late > Self::MOST && self.0.is_time_to_say() {
            tracing::warn!(?late, "callers are heard late: no new connections until it is better");
        }
    }
}

impl Shared {
    /// At most once a minute, and by one of the threads.
    fn is_time_to_say(&self) -> bool {
        let Ok(mut said) = self.said.try_lock() else { return false };
        let is_time = said.is_none_or(|at| at.elapsed() >= SAID_EVERY);
        if is_time {
            *said = Some(Instant::now());
        }
        is_time
    }
}

/// A connection that was accepted, until it is looked at for the first time.
#[derive(Debug)]
pub(super) struct Unheard {
    lateness: Lateness,
    since: Instant,
}

impl Unheard {
    pub(super) fn heard(self) {
        self.lateness.note(self.since.elapsed());
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        self.lateness.0.unheard.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_is_let_in_where_callers_are_heard_late() {
        let lateness = Lateness::default();
        let (first, second) = (lateness.let_in(), lateness.let_in());
        tokio::time::advance(Lateness::MOST + Duration::from_secs(1)).await;
        assert_eq!(lateness.too_much(), None, "nobody knows yet");
        first.heard();
        assert_eq!(lateness.too_much(), Some(Duration::from_secs(4)));
        drop(second);
        assert_eq!(lateness.too_much(), None, "the next one is to tell");
        let third = lateness.let_in();
        assert!(lateness.too_much().is_some());
        tokio::time::advance(Lateness::MOST).await;
        third.heard();
        let _fourth = lateness.let_in();
        assert_eq!(lateness.too_much(), None, "it is better");
        assert!(!lateness.0.is_time_to_say(), "the log was told");
        tokio::time::advance(SAID_EVERY).await;
        assert!(lateness.0.is_time_to_say());
    }
}
