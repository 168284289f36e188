//! How many connections there may be, and which one goes when there are too many.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Places for connections, shared by all listeners that hold a clone.
#[derive(Clone, Debug)]
pub struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

/// Connections without a request, by when they became so.
#[derive(Debug, Default)]
struct Idle {
    next: u64,
    by_age: BTreeMap<u64, Arc<Notify>>,
}

impl Slots {
    pub fn new(most: usize) -> Slots {
        let free = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        Slots(Arc::new(Shared { free, idle: Mutex::default() }))
    }

    /// Where all are taken, the connection that has been idle for longest is closed to make room;
    /// `None` where none is idle. The new one is none until [`Slot::is_silent`]: it may have asked.
    pub(super) async fn take(&self) -> Option<Slot> {
        let permit = match self.0.free.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.evict().then_some(())?;
                // Soon: who was evicted has nothing to finish.
                self.0.free.clone().acquire_owned().await.ok()?
            }
        };
        let evicted = Arc::new(Notify::new());
        Some(Slot { slots: self.clone(), evicted, state: Mutex::default(), _permit: permit })
    }

    /// Closes the connection that has been idle for longest, if there is one.
    pub(super) fn evict(&self) -> bool {
        let oldest = self.idle().by_age.pop_first();
        if let Some((_, connection)) = &oldest {
            connection.notify_one();
        }
        oldest.is_some()
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    evicted: Arc<Notify>,
    state: Mutex<State>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct State {
    /// Requests under way, of which HTTP/1.1 has one; for a moment two, when one ends and the next
    /// has come already.
    busy: u32,
    /// Its key among the idle.
    idle_since: Option<u64>,
}

impl Slot {
    /// A request begins. `false`: too late, the connection was chosen to be closed.
    pub(super) fn busy(&self) -> bool {
        let mut state = self.state();
        state.busy += 1;
        match state.idle_since.take() {
            Some(since) => self.slots.idle().by_age.remove(&since).is_some(),
            None => true,
        }
    }

    /// A request ended.
    pub(super) fn done(&self) {
        let last = {
            let mut state = self.state();
            state.busy = state.busy.saturating_sub(1);
            state.busy == 0
        };
        if last {
            self.idle();
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state().busy == 0
    }

    /// Returns once the place is needed for somebody else.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// It was looked at, and has asked for nothing yet.
    pub(super) fn is_silent(&self) {
        if self.is_idle() {
            self.idle();
        }
    }

    fn idle(&self) {
        let mut state = self.state();
        let mut idle = self.slots.idle();
        let since = idle.next;
        idle.next += 1;
        idle.by_age.insert(since, self.evicted.clone());
        if let Some(before) = state.idle_since.replace(since) {
            idle.by_age.remove(&before);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(since) = self.state().idle_since {
            self.slots.idle().by_age.remove(&since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_idle_for_longest_goes_first() {
        let slots = Slots::new(2);
        let first = slots.take().await.unwrap();
        let second = slots.take().await.unwrap();
        first.is_silent();
        second.is_silent();
        // The first works for a while, so that the second has been idle for longer.
        assert!(first.busy());
        first.done();
        let third = tokio::spawn({
            let slots = slots.clone();
            async move { slots.take().await }
        });
        second.evicted().await;
        assert!(!second.busy(), "no request begins on a connection that is to be closed");
        drop(second);
        assert!(third.await.unwrap().is_some());
        assert!(first.busy(), "the first was left alone");
    }

    #[tokio::test]
    async fn where_all_work_a_new_one_is_refused() {
        let slots = Slots::new(1);
        let only = slots.take().await.unwrap();
        assert!(only.busy());
        assert!(slots.take().await.is_none());
        drop(only);
        assert!(slots.take().await.is_some());
    }

    /// Its request may have come already.
    #[tokio::test]
    async fn one_that_nobody_has_looked_at_is_left_alone() {
        let slots = Slots::new(1);
        let only = slots.take().await.unwrap();
        assert!(slots.take().await.is_none());
        only.is_silent();
        let next = tokio::spawn(async move { slots.take().await });
        only.evicted().await;
        drop(only);
        assert!(next.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_connection_that_ends_leaves_nothing_behind() {
        let slots = Slots::new(1);
        for _ in 0..3 {
            let slot = slots.take().await.unwrap();
            slot.is_silent();
            slot.busy();
            slot.done();
        }
        assert!(slots.idle().by_age.is_empty());
        assert_eq!(slots.0.free.available_permits(), 1);
    }
}
