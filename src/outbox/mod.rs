//! The worker of an outbox: it sends for each job in it, until every one is settled.
//!
//! An outbox is durable, so nothing here has to be: after a crash it is read anew. What was sent and
//! not recorded is sent again then. `step_functions` answers task tokens so, `callbacks` tells
//! webhooks, with a worker for each.

pub(crate) mod pace;
mod reading;
pub(crate) mod window;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until};

use self::pace::Pacer;
use self::reading::Reading;
use self::window::{Pauses, Turn, Window};
use crate::aws::dice;
use crate::broker::job::JobId;
use crate::store::StoreError;

/// Where the jobs are that are to be sent for. Calls block on the disk.
pub(crate) trait Shelf: Clone + Send + 'static {
    /// By id.
    fn page(&self, after: Option<JobId>, limit: usize) -> Result<Vec<JobId>, StoreError>;
    /// What has become of one that was settled.
    fn look(&self, id: JobId) -> Result<Settled, StoreError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// That it is settled is not on disk yet.
    NotYet,
    Out,
    /// It is out, and came in again with something else to be sent.
    Anew,
}

/// What is done for each of them.
pub(crate) trait Work: Send {
    type Shelf: Shelf;
    /// How one call went.
    type Report: Send + 'static;

    fn shelf(&self) -> Self::Shelf;

    fn send(&self, id: JobId) -> impl Future<Output = Self::Report> + Send + 'static;

    /// `None`: it panicked.
    fn ended(&self, id: JobId, report: Option<Self::Report>) -> Turn;

    /// What the turn did to what is in work.
    fn look(&self, turn: Turn, window: &Window);
}

/// Wakes a worker.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Notify,
    in_haste: AtomicBool,
}

impl Bell {
    /// There is a new job in the outbox, and that is on disk.
    pub(crate) fn ring(&self) {
        self.rung.notify_one();
    }

    /// What was put off is to be tried at once.
    pub(crate) fn hurry(&self) {
        self.in_haste.store(true, Ordering::Release);
        self.rung.notify_one();
    }
}

/// Until `shutdown` is true or its sender is gone.
pub(crate) async fn run<W: Work>(
    work: W,
    pauses: Pauses,
    mut pacer: Pacer,
    bell: Arc<Bell>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut window = Window::new(pauses);
    let mut reading = Reading::new(Instant::now());
    let mut calls = JoinSet::new();
    let mut jobs: HashMap<Id, JobId> = HashMap::new();
    let ended = |window: &mut Window, id: JobId, report: Option<W::Report>| {
        let turn = work.ended(id, report);
        window.ended(id, turn, Instant::now(), dice());
        work.look(turn, window);
    };
    loop {
        reading.read(&mut window, work.shelf()).await;
        let now = Instant::now();
        if pacer.next() <= now
            && let Some(id) = window.next(now)
        {
            pacer.take(now);
            let call = calls.spawn(work.send(id));
            jobs.insert(call.id(), id);
            continue;
        }
        let send_at = window.next_at(now).map(|at| at.max(pacer.next()));
        let wake_at = send_at.into_iter().chain(reading.next_at(&window)).min();
        let wake_at = wake_at.map_or(reading.anew_at(), |at| at.min(reading.anew_at()));
        tokio::select! {
            biased;
            // A sender that is gone means the same.
            _ = shutdown.wait_for(|over| *over) => break,
            Some(done) = calls.join_next_with_id() => {
                let (call, report) = match done {
                    Ok((call, report)) => (call, Some(report)),
                    Err(panicked) => (panicked.id(), None),
                };
                if let Some(id) = jobs.remove(&call) {
                    ended(&mut window, id, report);
                }
            }
            () = bell.rung.notified() => {
                reading.again();
                if bell.in_haste.swap(false, Ordering::AcqRel) {
                    window.hurry();
                }
            }
            () = sleep_until(wake_at) => {}
        }
        reading.tick(Instant::now());
    }
    // What is under way is heard out, so that it is not sent again after the restart.
    while let Some(done) = calls.join_next_with_id().await {
        if let Ok((call, report)) = done
            && let Some(id) = jobs.remove(&call)
        {
            ended(&mut window, id, Some(report));
        }
    }
}
