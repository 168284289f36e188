//! Who waits for which proxied job, so that a job is given up when its last caller hangs up: over all
//! addresses, since callers with one key may come by several.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Message;
use crate::broker::io::Input;
use crate::broker::job::JobId;

/// Clones are the same ones.
#[derive(Clone)]
pub(crate) struct Callers {
    loop_: Sender<Message>,
    /// Jobs that nobody else was promised, and how many wait for each.
    waiting: Arc<Mutex<HashMap<JobId, u32>>>,
}

impl Callers {
    pub(super) fn new(loop_: Sender<Message>) -> Callers {
        Callers { loop_, waiting: Arc::default() }
    }

    /// The caller that brings a job. Made before the job is handed in: should the caller hang up
    /// while that is being committed, the job's end is asked for right behind it.
    pub(crate) fn first(&self, job: JobId) -> Caller {
        self.waiting().insert(job, 1);
        Caller { callers: self.clone(), job }
    }

    /// Another caller with the same key. Where the job was promised to somebody it lives on
    /// without its callers, and there is nothing to guard.
    pub(crate) fn join(&self, job: JobId) -> Option<Caller> {
        *self.waiting().get_mut(&job)? += 1;
        Some(Caller { callers: self.clone(), job })
    }

    /// The job was promised, or has ended: it does not need its callers any more.
    pub(crate) fn release(&self, job: JobId) {
        self.waiting().remove(&job);
    }

    /// Ends the job if it was not started; `false` where it was promised to somebody.
    pub(crate) fn give_up(&self, job: JobId) -> bool {
        let ours = self.waiting().contains_key(&job);
        if ours {
            self.abandon(job);
        }
        ours
    }

    fn abandon(&self, job: JobId) {
        // Where the loop has stopped, nothing is left that would want to know.
        let _ = self.loop_.send(Message::Tell(Input::Abandoned { job }));
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<JobId, u32>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits. Dropped before the job was released, it has hung up.
pub(crate) struct Caller {
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
            self.callers.abandon(self.job);
        }
    }
}
