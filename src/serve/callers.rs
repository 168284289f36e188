//! The threads that serve callers.

use anyhow::Context;
use tokio::runtime::{Builder, Handle, Runtime};

/// However many callers there are, and whatever they send: requests to targets, answers to workflows
/// and the admin address do not stand in line behind them, but share the processor with them as the
/// operating system's threads do.
pub(super) struct Callers {
    handle: Handle,
    /// Taken only to be dropped.
    runtime: Option<Runtime>,
}

impl Callers {
    pub(super) fn start() -> anyhow::Result<Callers> {
        let runtime = Builder::new_multi_thread().thread_name("callers").enable_all().build();
        let runtime = runtime.context("start the threads that serve callers")?;
        Ok(Callers { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// For whoever spawns there.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        // Dropped as it is, it would wait for its threads, which nobody may do in a task.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
