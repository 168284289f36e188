//! How many connections there may be, and which one goes when there are too many.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Places for connections, shared by all listeners that hold a clone.
#[derive(Clone, Debug)]
pub struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Arc<Semaphore>,
    /// Connections that wait for a place that somebody is about to leave.
    coming: AtomicUsize,
    most_coming: usize,
    /// For those that got none and are listened to until they close.
    leaving: Arc<Semaphore>,
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
        let most_coming = Slots::beside(most);
        Slots(Arc::new(Shared {
            free,
            coming: AtomicUsize::new(0),
            most_coming,
            leaving: Arc::new(Semaphore::new(most_coming)),
            idle: Mutex::default(),
        }))
    }

    /// How many connections may wait for a place, and how many that got none may be listened to while
    /// they leave: they have open files beyond those of all places.
    pub(crate) fn beside(places: usize) -> usize {
        (places / 16).clamp(4, 64)
    }

    /// To listen to one that got no place, until it is dropped; `None` where there are too many.
    pub(super) fn leave(&self) -> Option<OwnedSemaphorePermit> {
        self.0.leaving.clone().try_acquire_owned().ok()
    }

    /// A place for a new connection. Where all are taken, the connection that has been idle for longest
    /// is closed to make room; `None` where none is idle, or too many wait for room already. The new
    /// one is none until [`Slot::is_silent`]: it may have asked.
    pub(super) fn take(&self) -> Option<Place> {
        // What is free now may be what somebody waits for who was here before, and only one thread
        // takes places.
        let spoken_for = self.0.coming.load(Ordering::Acquire);
        if self.0.free.available_permits() > spoken_for
            && let Ok(permit) = self.0.free.clone().try_acquire_owned()
        {
            return Some(Place::Free { slots: self.clone(), permit });
        }
        let coming = Coming::new(self.clone())?;
        self.evict().then_some(Place::Soon(coming))
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

/// A place that is free, or soon will be.
#[derive(Debug)]
pub(super) enum Place {
    Free { slots: Slots, permit: OwnedSemaphorePermit },
    Soon(Coming),
}

impl Place {
    /// Once it is free: who was evicted has nothing to finish.
    pub(super) async fn free(self) -> Option<Slot> {
        let (slots, permit) = match self {
            Place::Free { slots, permit } => (slots, permit),
            Place::Soon(coming) => {
                // It is never closed.
                let permit = coming.0.0.free.clone().acquire_owned().await.ok()?;
                (coming.0.clone(), permit)
            }
        };
        let evicted = Arc::new(Notify::new());
        Some(Slot { slots, evicted, state: Mutex::default(), _permit: permit })
    }
}

/// One that waits for a place.
#[derive(Debug)]
pub(super) struct Coming(Slots);

impl Coming {
    fn new(slots: Slots) -> Option<Coming> {
        let before = slots.0.coming.fetch_add(1, Ordering::AcqRel);
        let is_one_of_few = before < slots.0.most_coming;
        let coming = Coming(slots);
        is_one_of_few.then_some(coming)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.0.coming.fetch_sub(1, Ordering::AcqRel);
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
    /// It was chosen to be closed, and found that out by a request.
    evicted: bool,
}

impl Slot {
    /// A request begins. `false`: too late, the connection was chosen to be closed.
    pub(super) fn busy(&self) -> bool {
        let mut state = self.state();
        state.busy += 1;
        if let Some(since) = state.idle_since.take() {
            state.evicted = self.slots.idle().by_age.remove(&since).is_none();
        }
        !state.evicted
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
        let knows = {
            let state = self.state();
            state.busy > 0 || state.idle_since.is_some()
        };
        if !knows {
            self.idle();
        }
    }

    fn idle(&self) {
        let mut state = self.state();
        if state.evicted {
            // Chosen once is enough: another one that made room for somebody would be left waiting.
            return;
        }
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

    async fn take(slots: &Slots) -> Option<Slot> {
        slots.take()?.free().await
    }

    #[tokio::test]
    async fn the_one_idle_for_longest_goes_first() {
        let slots = Slots::new(2);
        let first = take(&slots).await.unwrap();
        let second = take(&slots).await.unwrap();
        first.is_silent();
        second.is_silent();
        // The first works for a while, so that the second has been idle for longer.
        assert!(first.busy());
        first.done();
        let third = tokio::spawn({
            let slots = slots.clone();
            async move { take(&slots).await }
        });
        second.evicted().await;
        assert!(!second.busy(), "no request begins on a connection that is to be closed");
        second.done();
        assert!(!second.busy(), "and none after it");
        drop(second);
        assert!(third.await.unwrap().is_some());
        assert!(first.busy(), "the first was left alone");
    }

    #[tokio::test]
    async fn where_all_work_a_new_one_is_refused() {
        let slots = Slots::new(1);
        let only = take(&slots).await.unwrap();
        assert!(only.busy());
        assert!(take(&slots).await.is_none());
        drop(only);
        assert!(take(&slots).await.is_some());
    }

    /// Its request may have come already.
    #[tokio::test]
    async fn one_that_nobody_has_looked_at_is_left_alone() {
        let slots = Slots::new(1);
        let only = take(&slots).await.unwrap();
        assert!(take(&slots).await.is_none());
        only.is_silent();
        let next = tokio::spawn(async move { take(&slots).await });
        only.evicted().await;
        drop(only);
        assert!(next.await.unwrap().is_some());
    }

    /// Who was closed for it is gone before the one that waits has asked whether it is.
    #[tokio::test]
    async fn a_place_that_was_made_for_one_is_not_taken_by_the_next() {
        let slots = Slots::new(1);
        let idle = take(&slots).await.unwrap();
        idle.is_silent();
        let first = slots.take().unwrap();
        drop(idle);
        assert!(slots.take().is_none(), "it is spoken for");
        let slot = first.free().await.unwrap();
        drop(slot);
        assert!(slots.take().is_some());
    }

    #[tokio::test]
    async fn only_so_many_wait_for_room() {
        const PLACES: usize = 100;
        let slots = Slots::new(PLACES);
        let mut here = Vec::new();
        for _ in 0..PLACES {
            here.push(take(&slots).await.unwrap());
        }
        here.iter().for_each(Slot::is_silent);
        let coming: Vec<Place> = std::iter::from_fn(|| slots.take()).collect();
        assert_eq!(coming.len(), Slots::beside(PLACES));
        drop(coming);
        assert!(slots.take().is_some(), "others are idle still");
    }

    #[tokio::test]
    async fn only_so_many_are_listened_to_while_they_leave() {
        let slots = Slots::new(100);
        let mut leaving: Vec<_> = std::iter::from_fn(|| slots.leave()).collect();
        assert_eq!(leaving.len(), Slots::beside(100));
        leaving.pop();
        assert!(slots.leave().is_some());
    }

    #[tokio::test]
    async fn a_connection_that_ends_leaves_nothing_behind() {
        let slots = Slots::new(1);
        for _ in 0..3 {
            let slot = take(&slots).await.unwrap();
            slot.is_silent();
            slot.busy();
            slot.done();
        }
        assert!(slots.idle().by_age.is_empty());
        assert_eq!(slots.0.free.available_permits(), 1);
    }
}
