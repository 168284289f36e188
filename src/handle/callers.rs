//! Who waits for which proxied job, so that a job is given up when its last caller hangs up: over all
//! addresses, since callers with one key may come by several.
//!
//! Whether a job is given up, promised to somebody or joined by another caller is decided by the loop,
//! where it is known which of these came first.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

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
pub(crate) struct Waiting(Arc<Shared>);

#[derive(Default)]
struct Shared {
    jobs: Mutex<HashMap<JobId, Waits>>,
    /// A job was promised.
    promised: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Callers {
        /// With none left, the loop has still to hear of it.
        left: u32,
        /// So many of them asked for its end though they wait: the daemon goes down.
        given_up: u32,
        /// The loop has taken the job in, so that there is something to end.
        taken_in: bool,
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
        let waits = Waits::Callers { left: 1, given_up: 0, taken_in: false };
        self.waiting.all().insert(job, waits);
        Caller { callers: self.clone(), job, gave_up: AtomicBool::new(false) }
    }

    /// The job was promised, or has ended: it does not need its callers any more.
    pub(crate) fn release(&self, job: JobId) {
        self.waiting.forget(job);
    }

    /// Returns once the job does not need its callers any more.
    pub(crate) async fn released(&self, job: JobId) {
        loop {
            let promised = self.waiting.0.promised.notified();
            if !self.waiting.all().contains_key(&job) {
                return;
            }
            promised.await;
        }
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
                    Wants::Promise => self.forget(*id),
                    Wants::Company(own) => self.join(own, *id),
                }
            }
        }
    }

    /// The loop takes in what this caller brings.
    pub(crate) fn takes_in(&self, wants: Wants) {
        if let Wants::Company(own) = wants
            && let Some(Waits::Callers { taken_in, .. }) = self.all().get_mut(&own)
        {
            *taken_in = true;
        }
    }

    /// Nothing comes of what this caller brought.
    pub(crate) fn leaves_out(&self, wants: Wants) {
        if let Wants::Company(own) = wants {
            self.forget(own);
        }
    }

    fn forget(&self, job: JobId) {
        if self.all().remove(&job).is_some() {
            self.0.promised.notify_waiters();
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

    /// Whether the job whose end was asked for is to end: it is there, and nobody was promised it, or
    /// came, meanwhile.
    pub(crate) fn is_given_up(&self, job: JobId) -> bool {
        let mut all = self.all();
        match all.get(&job) {
            Some(Waits::Callers { left, given_up, taken_in: true }) if given_up >= left => {
                if *left == 0 {
                    all.remove(&job);
                }
                true
            }
            _ => false,
        }
    }

    /// The job that a caller waits for: its own, or the one that was there already.
    fn of(&self, own: JobId) -> Option<JobId> {
        match self.all().get(&own)? {
            Waits::Callers { .. } => Some(own),
            Waits::For(other) => Some(*other),
        }
    }

    /// A caller would rather see it end; `false` where it was promised to somebody.
    fn give_up(&self, job: JobId) -> bool {
        match self.all().get_mut(&job) {
            Some(Waits::Callers { given_up, .. }) => {
                *given_up += 1;
                true
            }
            _ => false,
        }
    }

    /// A caller hung up. The job that nobody is left for by that who has not given it up.
    fn leave(&self, own: JobId, gave_up: bool) -> Option<JobId> {
        let mut all = self.all();
        let job = match *all.get(&own)? {
            Waits::Callers { .. } => own,
            Waits::For(other) => {
                all.remove(&own);
                other
            }
        };
        match all.get_mut(&job)? {
            Waits::Callers { left: left @ 1.., given_up, .. } => {
                *left -= 1;
                *given_up -= u32::from(gave_up);
                (*given_up >= *left).then_some(job)
            }
            _ => None,
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<JobId, Waits>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits. Dropped before the job was released, it has hung up.
pub(crate) struct Caller {
    callers: Callers,
    job: JobId,
    gave_up: AtomicBool,
}

impl Caller {
    /// Ends the job if it was not started, once each of its callers gives it up; `false` where it was
    /// promised to somebody.
    pub(crate) fn give_up(&self) -> bool {
        let Some(job) = self.callers.waiting.of(self.job) else { return false };
        let ours = self.gave_up.load(Ordering::Relaxed) || self.callers.waiting.give_up(job);
        if ours {
            self.gave_up.store(true, Ordering::Relaxed);
            self.callers.tell(job);
        }
        ours
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let gave_up = self.gave_up.load(Ordering::Relaxed);
        if let Some(job) = self.callers.waiting.leave(self.job, gave_up) {
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
        fn takes_in(&self, job: JobId) {
            self.waiting.takes_in(Wants::Company(job));
        }

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

    /// The caller who brought a job.
    fn one_waits() -> (Callers, Loop, Caller) {
        let (to_loop, told) = channel();
        let callers = Callers::new(to_loop);
        let loop_ = Loop { told, waiting: callers.waiting().clone() };
        let first = callers.first(FIRST);
        loop_.takes_in(FIRST);
        (callers, loop_, first)
    }

    /// And another one for the same.
    fn two_wait() -> (Loop, Caller, Caller) {
        let (callers, loop_, first) = one_waits();
        let second = callers.first(AGAIN);
        loop_.finds(Wants::Company(AGAIN));
        (loop_, first, second)
    }

    #[test]
    fn a_job_lives_until_its_last_caller_hangs_up() {
        let (loop_, first, second) = two_wait();
        drop(first);
        assert_eq!(loop_.gives_up(), []);
        drop(second);
        assert_eq!(loop_.gives_up(), [FIRST]);
        assert!(loop_.knows_nobody());
    }

    #[test]
    fn a_job_that_was_promised_needs_no_caller() {
        let (callers, loop_, first) = one_waits();
        loop_.finds(Wants::Promise);
        assert!(!first.give_up());
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
            let (callers, loop_, first) = one_waits();
            drop(first);
            let again = callers.first(AGAIN);
            loop_.takes_in(AGAIN);
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
        let (callers, loop_, first) = one_waits();
        drop(callers.first(AGAIN));
        assert_eq!(loop_.gives_up(), [], "there is nothing to end");
        loop_.waiting.leaves_out(Wants::Company(AGAIN));
        drop(first);
        assert_eq!(loop_.gives_up(), [FIRST]);
        assert!(loop_.knows_nobody());
    }

    #[test]
    fn a_daemon_that_goes_down_gives_up_what_callers_still_wait_for() {
        let (loop_, first, second) = two_wait();
        assert!(first.give_up());
        assert_eq!(loop_.gives_up(), [], "the other one may be promised it");
        assert!(second.give_up());
        assert_eq!(loop_.gives_up(), [FIRST]);
        drop(first);
        assert_eq!(loop_.gives_up(), [FIRST], "which has ended, and nothing comes of it");
        drop(second);
        assert_eq!(loop_.gives_up(), [FIRST]);
        assert!(loop_.knows_nobody());
    }

    #[test]
    fn who_gave_up_and_left_speaks_for_nobody_else() {
        let (loop_, first, second) = two_wait();
        assert!(second.give_up());
        drop(second);
        assert_eq!(loop_.gives_up(), []);
        drop(first);
        assert_eq!(loop_.gives_up(), [FIRST]);
        assert!(loop_.knows_nobody());
    }

    /// One caller gives the job up because the daemon goes down, while another is promised it.
    #[tokio::test]
    async fn who_gave_a_job_up_that_was_promised_after_all_is_told() {
        let (callers, loop_, first) = one_waits();
        assert!(first.give_up());
        let told = tokio::spawn({
            let callers = callers.clone();
            async move { callers.released(FIRST).await }
        });
        loop_.finds(Wants::Promise);
        assert_eq!(loop_.gives_up(), []);
        told.await.unwrap();
        drop(first);
        assert_eq!(loop_.gives_up(), []);
    }
}
