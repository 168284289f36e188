//! How it stands with one callback, for `callbacks`, `readyz` and the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::callback::CallbackName;
use crate::broker::time::Wall;
use crate::handle::Handle;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Somebody has to put something right; it is tried again all the same.
    pub held: bool,
    /// Nothing gets through, rather than some messages.
    pub down: bool,
    pub since: Wall,
    /// The last one; without secrets.
    pub error: String,
}

/// Clones share it.
#[derive(Clone, Default)]
pub(super) struct Health(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    now: Option<Trouble>,
    told: Option<Instant>,
}

/// How often the log repeats what has not changed.
const REMIND: Duration = Duration::from_secs(60);

impl Health {
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.known().now.clone()
    }

    pub(super) fn is_down(&self) -> bool {
        self.known().now.as_ref().is_some_and(|trouble| trouble.down)
    }

    pub(super) fn failed(&self, name: &CallbackName, held: bool, down: bool, error: &str) {
        let mut known = self.known();
        let since = known.now.as_ref().map_or_else(Handle::wall_now, |trouble| trouble.since);
        known.now = Some(Trouble { held, down, since, error: error.to_owned() });
        let now = Instant::now();
        if known.told.is_some_and(|told| now - told < REMIND) {
            return;
        }
        known.told = Some(now);
        drop(known);
        tracing::warn!(callback = %name, error, "a callback is not told; it is tried again");
    }

    /// Something got through, if not everything.
    pub(super) fn reached(&self) {
        if let Some(trouble) = &mut self.known().now {
            trouble.down = false;
        }
    }

    /// Nothing waits for another try.
    pub(super) fn fine(&self, name: &CallbackName) {
        let mut known = self.known();
        known.told = None;
        if known.now.take().is_some() {
            drop(known);
            tracing::info!(callback = %name, "a callback is told again");
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
