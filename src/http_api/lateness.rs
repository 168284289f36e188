//! How late callers are heard: whether the threads that serve them have more to do than they can.
//!
//! Where more is asked than can be answered, whoever comes waits behind all that are there, until
//! everybody who is heard has long hung up and all work is for nobody. So that those who are there
//! are answered in time, no more are let in than can be heard soon.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long it is believed what the last connection found.
const BELIEVED: Duration = Duration::from_secs(10);
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Lateness(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    next: u64,
    /// Connections that nobody has looked at yet, and when they were let in.
    unheard: BTreeMap<u64, Instant>,
    /// How late the last one was looked at, and when.
    last: Option<(Duration, Instant)>,
    /// When the log was last told.
    said: Option<Instant>,
}

impl Lateness {
    /// A connection that would wait for longer until its first byte is read is refused. Shorter than
    /// the patience of most clients.
    pub const MOST: Duration = Duration::from_secs(3);

    /// How late connections are heard, where that is too late for another one. There is always one
    /// on its way then, to tell when it is better.
    pub(super) fn too_much(&self) -> Option<Duration> {
        let now = Instant::now();
        let seen = self.seen();
        let (_, oldest) = seen.unheard.first_key_value()?;
        let waits = now - *oldest;
        let found = seen.last.filter(|(_, at)| now - *at < BELIEVED).map(|(late, _)| late);
        Some(waits.max(found.unwrap_or_default())).filter(|late| *late > Self::MOST)
    }

    /// Of a connection that was let in.
    pub(super) fn let_in(&self) -> Unheard {
        let mut seen = self.seen();
        let number = seen.next;
        seen.next += 1;
        seen.unheard.insert(number, Instant::now());
        Unheard { lateness: self.clone(), number }
    }

    #[cfg(test)]
    pub(super) fn found(&self, late: Duration) {
        self.seen().note(late, Instant::now());
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn note(&mut self, late: Duration, now: Instant) {
        self.last = Some((late, now));
        let is_time = self.said.is_none_or(|at| now - at >= SAID_EVERY);
        if late > Lateness::MOST && is_time {
            self.said = Some(now);
            tracing::warn!(?late, "callers are heard late: no new connections until it is better");
        }
    }
}

/// A connection that was accepted, until it is looked at for the first time.
#[derive(Debug)]
pub(super) struct Unheard {
    lateness: Lateness,
    number: u64,
}

impl Unheard {
    pub(super) fn heard(self) {
        let now = Instant::now();
        let mut seen = self.lateness.seen();
        if let Some(since) = seen.unheard.get(&self.number).copied() {
            seen.note(now - since, now);
        }
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        self.lateness.seen().unheard.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_is_let_in_where_callers_are_heard_late() {
        let lateness = Lateness::default();
        let (first, second) = (lateness.let_in(), lateness.let_in());
        tokio::time::advance(Lateness::MOST).await;
        assert_eq!(lateness.too_much(), None);
        tokio::time::advance(SECOND).await;
        assert_eq!(lateness.too_much(), Some(4 * SECOND), "nobody was heard for so long");
        first.heard();
        drop(second);
        assert_eq!(lateness.too_much(), None, "the next one is to tell");
        let third = lateness.let_in();
        assert_eq!(lateness.too_much(), Some(4 * SECOND), "as the first found");
        tokio::time::advance(SECOND).await;
        third.heard();
        let _fourth = lateness.let_in();
        assert_eq!(lateness.too_much(), None, "it is better");
    }

    /// What was found before everybody went away says nothing about the next burst.
    #[tokio::test(start_paused = true)]
    async fn what_was_found_long_ago_turns_nobody_away() {
        let lateness = Lateness::default();
        let late = lateness.let_in();
        tokio::time::advance(4 * SECOND).await;
        late.heard();
        tokio::time::advance(BELIEVED).await;
        let _burst = [lateness.let_in(), lateness.let_in()];
        assert_eq!(lateness.too_much(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_is_told_once_a_minute() {
        let lateness = Lateness::default();
        let mut said = Vec::new();
        for _ in 0..20 {
            let late = lateness.let_in();
            tokio::time::advance(4 * SECOND).await;
            late.heard();
            said.extend(lateness.seen().said);
        }
        said.dedup();
        assert_eq!(said.len(), 2);
    }
}
