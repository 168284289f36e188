//! How much of what callers send is held in memory at once, over all connections of a listener.
//!
//! Each body has a limit, and so have connections; but their product is more than a machine has.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// There is always room for so many of the largest.
const BODIES: usize = 4;

/// Clones share the room.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

impl Budget {
    /// So many bytes at once, where four of the largest bodies are not more.
    pub(crate) const BYTES: usize = 64 * 1024 * 1024;

    /// For bodies of at most `max_body` bytes each.
    pub(crate) fn of_bodies(max_body: usize) -> Budget {
        Budget::new(Budget::BYTES.max(max_body.saturating_mul(BODIES)))
    }

    fn new(bytes: usize) -> Budget {
        Budget(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }
}

/// What one request holds of it, until it is released or its last clone is gone.
#[derive(Clone, Debug)]
pub(crate) struct Held(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    budget: Budget,
    room: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Held {
    pub(crate) fn none_of(budget: Budget) -> Held {
        Held(Arc::new(Inner { budget, room: Mutex::default() }))
    }

    /// `false`: there is no room for so many bytes more.
    pub(crate) fn grow(&self, bytes: usize) -> bool {
        let Ok(count) = u32::try_from(bytes) else { return false };
        let more = self.0.budget.0.clone().try_acquire_many_owned(count);
        more.map(|more| match &mut *self.room() {
            Some(room) => room.merge(more),
            empty => *empty = Some(more),
        })
        .is_ok()
    }

    /// The body is on disk: waiting for what becomes of it holds nothing.
    pub(crate) fn release(&self) {
        *self.room() = None;
    }

    fn room(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.0.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back_once() {
        let budget = Budget::new(10);
        let one = Held::none_of(budget.clone());
        assert!(one.grow(4) && one.grow(4));
        let other = Held::none_of(budget.clone());
        assert!(!other.grow(3) && other.grow(2));
        one.release();
        assert!(other.grow(8) && !other.grow(1));
        // It goes on after a release, as a body may.
        assert!(!one.grow(1));
        drop(other.clone());
        assert!(!one.grow(1), "a clone holds as much as its like");
        drop(other);
        assert!(one.grow(10));
        drop(one);
        assert_eq!(budget.0.available_permits(), 10);
    }

    #[test]
    fn the_largest_bodies_fit_some_times() {
        assert_eq!(Budget::of_bodies(1).0.available_permits(), Budget::BYTES);
        assert_eq!(Budget::of_bodies(Budget::BYTES).0.available_permits(), BODIES * Budget::BYTES);
        assert_eq!(Budget::of_bodies(usize::MAX).0.available_permits(), Semaphore::MAX_PERMITS);
    }
}
