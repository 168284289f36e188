//! One that asks, and all who listen.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::snapshot::{Snapshot, Writer};
use crate::admin::AdminState;

/// From one event to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// Clones share one.
#[derive(Clone, Default)]
pub(in crate::admin) struct Events(Arc<Mutex<Option<Asking>>>);

/// There is a task that asks, and it has this to say.
type Asking = watch::Sender<Option<Arc<Snapshot>>>;

/// One stream's reader.
pub(super) struct Listener {
    news: watch::Receiver<Option<Arc<Snapshot>>>,
    /// The last snapshot that it was given.
    seen: Option<u64>,
}

impl Events {
    /// The first one starts the task.
    pub(super) fn listen(self, state: AdminState) -> Listener {
        let mut asking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asking) = &*asking {
            return Listener { news: asking.subscribe(), seen: None };
        }
        let (sender, news) = watch::channel(None);
        *asking = Some(sender);
        drop(asking);
        tokio::spawn(self.ask(state));
        Listener { news, seen: None }
    }

    /// Until nobody listens, or the loop has stopped.
    async fn ask(self, state: AdminState) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut writer = Writer::default();
        loop {
            ticks.tick().await;
            if self.is_alone() {
                return;
            }
            let snapshot = writer.write(&state).await;
            let mut asking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(snapshot) = snapshot else {
                // The streams end.
                *asking = None;
                return;
            };
            if let Some(asking) = &*asking {
                asking.send_replace(Some(Arc::new(snapshot)));
            }
        }
    }

    /// Nobody listens: the next one that comes starts another task.
    fn is_alone(&self) -> bool {
        let mut asking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = asking.as_ref().is_none_or(|asking| asking.receiver_count() == 0);
        if alone {
            *asking = None;
        }
        alone
    }

    #[cfg(test)]
    pub(in crate::admin) fn is_asking(&self) -> bool {
        self.0.lock().unwrap().is_some()
    }

    /// How many events there were since somebody listens.
    #[cfg(test)]
    pub(in crate::admin) fn told(&self) -> u64 {
        let asking = self.0.lock().unwrap();
        let latest = asking.as_ref().and_then(|asking| asking.borrow().clone());
        latest.map_or(0, |snapshot| snapshot.number())
    }
}

impl Listener {
    /// `None` where nothing more comes.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            let latest = self.news.borrow_and_update().clone();
            if let Some(snapshot) = latest
                && self.seen != Some(snapshot.number())
            {
                let event = snapshot.after(self.seen);
                self.seen = Some(snapshot.number());
                return Some(event);
            }
            self.news.changed().await.ok()?;
        }
    }
}
