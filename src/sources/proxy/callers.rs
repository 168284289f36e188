//! Who waits for which proxied job, so that a job is given up when its last caller hangs up.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::broker::job::JobId;
use crate::handle::Handle;

#[derive(Clone)]
pub(super) struct Callers {
    handle: Handle,
    /// Jobs that nobody else was promised, and how many wait for each.
    waiting: Arc<Mutex<HashMap<JobId, u32>>>,
}

impl Callers {
    pub(super) fn new(handle: Handle) -> Callers {
        Callers { handle, waiting: Arc::default() }
    }

    /// The caller that brings a job. Made before the job is handed in: should the caller hang up
    /// while that is being committed, the job's end is asked for right behind it.
    pub(super) fn first(&self, job: JobId) -> Caller {
        self.waiting().insert(job, 1);
        Caller { callers: self.clone(), job }
    }

    /// Another caller with the same key. Where the job was promised to somebody it lives on
    /// without its callers, and there is nothing to guard.
    pub(super) fn join(&self, job: JobId) -> Option<Caller> {
        *self.waiting().get_mut(&job)? += 1;
        Some(Caller { callers: self.clone(), job })
    }

    /// The job was promised, or has ended: it does not need its callers any more.
    pub(super) fn release(&self, job: JobId) {
        self.waiting().remove(&job);
    }

    /// Ends the job if it was not started; `false` where it was promised to somebody.
    pub(super) fn give_up(&self, job: JobId) -> bool {
        let ours = self.waiting().contains_key(&job);
        if ours {
            self.handle.abandon(job);
        }
        ours
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<JobId, u32>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits. Dropped before the job was released, it has hung up.
pub(super) struct Caller {
    callers: Callers,
    job: JobId,
}

impl Drop for Caller {
    fn drop(&mut self) {
        let last = match self.callers.waiting().entry(self.job) {
            Entry::Vacant(_) => false,
            Entry::Occupied(mut waiting) => {
                *waiting.get_mut() -= 1;
                let last = *waiting.get() == 0;
                if last {
                    waiting.remove();
                }
                last
            }
        };
        if last {
            self.callers.handle.abandon(self.job);
        }
    }
}
