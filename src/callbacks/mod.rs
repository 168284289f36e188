//! Result callbacks: who is told when a job has ended, by signed webhooks.
//!
//! That a callback is to be told of a job is recorded with the job's end, in the same commit. From
//! there on a worker for each callback of the configuration sends until the receiver takes it, or
//! time is up: `teller` sends, `message` knows what is said, `signature` how it is signed, and
//! [`crate::outbox`] what goes next.

mod health;
mod message;
mod signature;
mod teller;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use self::health::Trouble;

use self::health::Health;
use self::teller::{Teller, Tellings};
use crate::broker::callback::CallbackName;
use crate::config;
use crate::dispatch::Dispatcher;
use crate::handle::Handle;
use crate::metrics::Metrics;
use crate::outbox::pace::Pacer;
use crate::outbox::{self, Bell};
use crate::store::{CallbackCount, StoreError};

type Configured = BTreeMap<CallbackName, Arc<config::Callback>>;

/// A cheap clone for whoever has to do with callbacks.
#[derive(Clone)]
pub struct Callbacks(Arc<Inner>);

struct Inner {
    dispatcher: Dispatcher,
    handle: Handle,
    metrics: Metrics,
    workers: Mutex<BTreeMap<CallbackName, Worker>>,
    /// Those of callbacks that are not configured any more.
    retired: Mutex<Vec<JoinHandle<()>>>,
}

struct Worker {
    config: Arc<config::Callback>,
    bell: Arc<Bell>,
    health: Health,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// How it stands with one callback.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub name: CallbackName,
    /// `None`: the configuration does not name it, and what it is to be told waits.
    pub config: Option<Arc<config::Callback>>,
    pub pending: u64,
    pub undelivered: u64,
    pub trouble: Option<Trouble>,
}

impl Callbacks {
    /// Starts the workers on the current runtime.
    pub fn start(
        configured: &Configured,
        dispatcher: Dispatcher,
        handle: Handle,
        metrics: &Metrics,
    ) -> Callbacks {
        let (workers, retired) = (Mutex::default(), Mutex::default());
        let inner = Inner { dispatcher, handle, metrics: metrics.clone(), workers, retired };
        let callbacks = Callbacks(Arc::new(inner));
        callbacks.configure(configured);
        let weak = Arc::downgrade(&callbacks.0);
        metrics.webhooks_pending_from(move || {
            let standings = weak.upgrade().map(|inner| Callbacks(inner).standings());
            let standings = standings.and_then(Result::ok).unwrap_or_default();
            let count = |one: Standing| CallbackCount {
                name: one.name,
                owed: one.pending,
                undelivered: one.undelivered,
            };
            standings.into_iter().map(count).collect()
        });
        callbacks
    }

    /// Those there are from now on. One that stays as it was goes on; one that is not there any more
    /// finishes what is under way, and the rest waits until it is back.
    pub fn configure(&self, configured: &Configured) {
        let mut workers = self.workers();
        let gone: Vec<CallbackName> =
            workers.keys().filter(|name| !configured.contains_key(name)).cloned().collect();
        for name in gone {
            if let Some(worker) = workers.remove(&name) {
                worker.stop.send_replace(true);
                self.retired().push(worker.task);
            }
        }
        for (name, config) in configured {
            let same = workers.get(name).is_some_and(|worker| worker.config == *config);
            if !same {
                let before = workers.remove(name);
                workers.insert(name.clone(), self.worker(name, config.clone(), before));
            }
        }
        drop(workers);
        self.retired().retain(|task| !task.is_finished());
        for Standing { name, config, pending, .. } in self.standings().unwrap_or_default() {
            if config.is_none() && pending > 0 {
                tracing::warn!(
                    callback = %name,
                    pending,
                    "jobs have ended of which a callback is to be told that the configuration does \
                     not name: they wait until it is back"
                );
            }
        }
    }

    fn worker(
        &self,
        name: &CallbackName,
        config: Arc<config::Callback>,
        before: Option<Worker>,
    ) -> Worker {
        let Inner { dispatcher, handle, metrics, .. } = &*self.0;
        metrics.webhooks_begin(name);
        let (stop, stopped) = watch::channel(false);
        let (bell, health) = (Arc::<Bell>::default(), Health::default());
        let teller = Teller {
            name: name.clone(),
            config: config.clone(),
            dispatcher: dispatcher.clone(),
            handle: handle.clone(),
            metrics: metrics.clone(),
            health: health.clone(),
            settled: Tellings::default(),
        };
        let (pauses, rung) = (teller.pauses(), bell.clone());
        let pacer = Pacer::new(config.rate, Instant::now());
        let task = tokio::spawn(async move {
            // So that nothing is under way twice.
            if let Some(before) = before {
                before.stop.send_replace(true);
                let _ = before.task.await;
            }
            outbox::run(teller, pauses, pacer, rung, stopped).await;
        });
        Worker { config, bell, health, stop, task }
    }

    /// A job ended of which this callback is to be told, and that is on disk. To be called from any
    /// thread.
    pub fn job_ended(&self, name: &CallbackName) {
        if let Some(worker) = self.workers().get(name) {
            worker.bell.ring();
        }
    }

    /// What waits for another try is tried at once.
    pub fn hurry(&self, name: &CallbackName) {
        if let Some(worker) = self.workers().get(name) {
            worker.bell.hurry();
        }
    }

    /// Of those that are configured, and those that are not and have something to be told. Blocks
    /// on the disk.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn standings(&self) -> Result<Vec<Standing>, StoreError> {
        let counts = self.0.handle.reader().callback_counts()?;
        let mut all: BTreeMap<CallbackName, Standing> = BTreeMap::new();
        for (name, worker) in &*self.workers() {
            let standing = Standing {
                name: name.clone(),
                config: Some(worker.config.clone()),
                pending: 0,
                undelivered: 0,
                trouble: worker.health.trouble(),
            };
            all.insert(name.clone(), standing);
        }
        for CallbackCount { name, owed, undelivered } in counts {
            let empty = Standing {
                name: name.clone(),
                config: None,
                pending: 0,
                undelivered: 0,
                trouble: None,
            };
            let standing = all.entry(name).or_insert(empty);
            (standing.pending, standing.undelivered) = (owed, undelivered);
        }
        Ok(all.into_values().collect())
    }

    /// Until calls that were under way are over and told.
    pub async fn stop(&self) {
        let workers = std::mem::take(&mut *self.workers());
        let mut tasks = std::mem::take(&mut *self.retired());
        for worker in workers.into_values() {
            worker.stop.send_replace(true);
            tasks.push(worker.task);
        }
        for task in tasks {
            if task.await.is_err() {
                tracing::error!("a worker for callbacks had panicked");
            }
        }
    }

    fn workers(&self) -> MutexGuard<'_, BTreeMap<CallbackName, Worker>> {
        self.0.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retired(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.0.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Callbacks {
    /// For tests of who asks: nothing is configured.
    pub(crate) fn none(handle: &Handle) -> Callbacks {
        let dispatcher = Dispatcher::new(1).unwrap();
        Callbacks::start(&Configured::new(), dispatcher, handle.clone(), &Metrics::new())
    }
}
