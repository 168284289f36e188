//! Who waits for which proxied job, so that a job is given up when its last caller hangs up: over all
//! addresses, since callers with one key may come by several.
//!
//! Whether a job is given up, promised to somebody or joined by another caller is decided by the loop,
//! where it is known which of these came first.

use std::collections::HashMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Message, Wants};
use crate::broker::io::{Reply, Submitted};
use crate::broker::job::JobId;

/// For those who call. Clones are the same ones.
#[derive(Clone)]
pub(crate) struct Callers {
    loop_: Sender<Message>,
    waiting: Waiting,
}

/// Jobs that nobody was promised, and who waits for them; for the loop. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Waiting(Arc<Mutex<HashMap<JobId, Waits>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Callers {
        /// With none left, the loop has still to hear of it.
        left: u32,
        /// The daemon goes down, and its end was asked for though they wait.
        given_up: bool,
    },
    /// The caller of this job, which was not made, waits for that one.
    For(JobId),
}

impl Callers {
    pub(super) fn new(loop_: Sender<Message>) -> Callers {
        Callers { loop_, waiting: Waiting::default() }
    }

    /// For the loop.
    pub(crate) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The caller that brings a job. Made before the job is handed in: should the caller hang up
    /// while that is being committed, the job's end is asked for right behind it.
    pub(crate) fn first(&self, job: JobId) -> Caller {
        self.waiting.all().insert(job, Waits::Callers { left: 1, given_up: false });
        Caller { callers: self.clone(), job }
    }

    /// The job was promised, or has ended: it does not need its callers any more.
    pub(crate) fn release(&self, job: JobId) {
        self.waiting.all().remove(&job);
    }

    /// Ends the job if it was not started; `false` where it was promised to somebody.
    pub(crate) fn give_up(&self, job: JobId) -> bool {
        let ours = match self.waiting.all().get_mut(&job) {
            Some(Waits::Callers { given_up, .. }) => {
                *given_up = true;
                true
            }
            _ => false,
        };
        if ours {
            self.tell(job);
        }
        ours
    }

    fn tell(&self, job: JobId) {
        // Where the loop has stopped, nothing is left that would want to know.
        let _ = self.loop_.send(Message::Abandoned(job));
    }
}

impl Waiting {
    /// What is there already is promised to whoever brought it again, or has another caller.
    pub(crate) fn answered(&self, wants: Wants, reply: &Reply) {
        let Reply::Submitted(results) = reply else { return };
        for result in results {
            if let Submitted::Duplicate { id } = result {
                match wants {
                    Wants::Promise => drop(self.all().remove(id)),
                    Wants::Company(own) => self.join(own, *id),
                }
            }
        }
    }

    /// The caller of `own`, which was not made, waits for `there`.
    fn join(&self, own: JobId, there: JobId) {
        let mut all = self.all();
        let Some(Waits::Callers { left: 1.., .. }) = all.get(&own) else {
            // It has hung up.
            return;
        };
        if let Some(Waits::Callers { left, .. }) = all.get_mut(&there) {
            *left += 1;
            all.insert(own, Waits::For(there));
        } else {
            // Promised to somebody, or nothing that callers wait for: it lives on without them.
            all.remove(&own);
        }
    }

    /// Whether the job whose end was asked for is to end: nobody was promised it, or came, meanwhile.
    pub(crate) fn is_given_up(&self, job: JobId) -> bool {
        let mut all = self.all();
        let Some(Waits::Callers { left, given_up }) = all.get(&job).copied() else { return false };
        if left == 0 {
            all.remove(&job);
        }
        left == 0 || given_up
    }

    /// A caller hung up. The job that has lost its last one by that.
    fn leave(&self, job: JobId) -> Option<JobId> {
        let mut all = self.all();
        let job = match all.get(&job)? {
            Waits::Callers { .. } => job,
            Waits::For(other) => {
                let other = *other;
                all.remove(&job);
                other
            }
        };
        match all.get_mut(&job)? {
            Waits::Callers { left: left @ 1.., .. } => {
                *left -= 1;
                (*left == 0).then_some(job)
            }
            _ => None,
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<JobId, Waits>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits. Dropped before the job was released, it has hung up.
pub(crate) struct Caller {
    callers: Callers,
    job: JobId,
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(job) = self.callers.waiting.leave(self.job) {
            self.callers.tell(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const FIRST: JobId = JobId(1);
    const AGAIN: JobId = JobId(2);

    struct Loop {
        told: Receiver<Message>,
        waiting: Waiting,
    }

    impl Loop {
        fn finds(&self, wants: Wants) {
            self.waiting
                .answered(wants, &Reply::Submitted(vec![Submitted::Duplicate { id: FIRST }]));
        }

        /// What is given up of what it was told.
        fn gives_up(&self) -> Vec<JobId> {
            let asked = self.told.try_iter().map(|message| match message {
                Message::Abandoned(job) => job,
                _ => unreachable!("callers only hang up"),
            });
            asked.filter(|job| self.waiting.is_given_up(*job)).collect()
        }

        fn knows_nobody(&self) -> bool {
            self.waiting.all().is_empty()
        }
    }

    fn start() -> (Callers, Loop) {
        let (to_loop, told) = channel();
        let callers = Callers::new(to_loop);
        let waiting = callers.waiting().clone();
        (callers, Loop { told, waiting })
    }

    #[test]
    fn a_job_lives_until_its_last_caller_hangs_up() {
        let (callers, loop_) = start();
        let first = callers.first(FIRST);
        let second = callers.first(AGAIN);
        loop_.finds(Wants::Company(AGAIN));
        drop(first);
        assert_eq!(loop_.gives_up(), []);
        drop(second);
        assert_eq!(loop_.gives_up(), [FIRST]);
        assert!(loop_.knows_nobody());
    }

    #[test]
    fn a_job_that_was_promised_needs_no_caller() {
        let (callers, loop_) = start();
        let first = callers.first(FIRST);
        loop_.finds(Wants::Promise);
        assert!(!callers.give_up(FIRST));
        let second = callers.first(AGAIN);
        loop_.finds(Wants::Company(AGAIN));
        drop((first, second));
        assert_eq!(loop_.gives_up(), []);
        assert!(loop_.knows_nobody());
    }

    /// The hang-up is on its way to the loop when somebody is told that the job is there.
    #[test]
    fn a_promise_before_the_hang_up_is_heard_of_holds() {
        for wants in [Wants::Promise, Wants::Company(AGAIN)] {
            let (callers, loop_) = start();
            drop(callers.first(FIRST));
            let again = callers.first(AGAIN);
            loop_.finds(wants);
            assert_eq!(loop_.gives_up(), [], "{wants:?}");
            drop(again);
            let expected = if wants == Wants::Promise { AGAIN } else { FIRST };
            assert_eq!(loop_.gives_up(), [expected], "{wants:?}");
            assert!(loop_.knows_nobody());
        }
    }

    #[test]
    fn who_hung_up_before_it_was_heard_keeps_nothing_alive() {
        let (callers, loop_) = start();
        let first = callers.first(FIRST);
        drop(callers.first(AGAIN));
        loop_.finds(Wants::Company(AGAIN));
        drop(first);
        assert_eq!(loop_.gives_up(), [AGAIN, FIRST]);
        assert!(loop_.knows_nobody());
    }

    #[test]
    fn a_daemon_that_goes_down_gives_up_what_callers_still_wait_for() {
        let (callers, loop_) = start();
        let first = callers.first(FIRST);
        let second = callers.first(AGAIN);
        loop_.finds(Wants::Company(AGAIN));
        for _ in [&first, &second] {
            assert!(callers.give_up(FIRST), "each waits for its end");
            assert_eq!(loop_.gives_up(), [FIRST]);
        }
        drop(first);
        assert_eq!(loop_.gives_up(), []);
        drop(second);
        assert_eq!(loop_.gives_up(), [FIRST], "which has ended, and nothing comes of it");
        assert!(loop_.knows_nobody());
    }
}
