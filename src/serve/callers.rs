//! The threads that serve callers.

use anyhow::Context;
use tokio::runtime::{Builder, Handle, Runtime};

/// However many callers there are, and whatever they send: requests to targets, answers to workflows
/// and the admin address do not stand in line behind them, but share the processor with them as the
/// operating system's threads do.
pub(super) struct Callers {
    threads: Threads,
    /// Taken only to be dropped.
    runtimes: Option<(Runtime, Runtime)>,
}

/// For whoever spawns there. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Threads {
    /// Takes connections, or turns them away, without standing in line behind those that are there.
    pub(super) door: Handle,
    pub(super) service: Handle,
}

impl Callers {
    pub(super) fn start() -> anyhow::Result<Callers> {
        let mut door = Builder::new_multi_thread();
        let door = door.worker_threads(1).thread_name("door").enable_all().build();
        let service = Builder::new_multi_thread().thread_name("callers").enable_all().build();
        let failed = "start the threads that serve callers";
        let (door, service) = (door.context(failed)?, service.context(failed)?);
        let threads = Threads { door: door.handle().clone(), service: service.handle().clone() };
        Ok(Callers { threads, runtimes: Some((door, service)) })
    }

    pub(super) fn threads(&self) -> &Threads {
        &self.threads
    }
}

#[cfg(test)]
impl Threads {
    /// All of it on the same.
    pub(crate) fn one(handle: &Handle) -> Threads {
        Threads { door: handle.clone(), service: handle.clone() }
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        // Dropped as they are, they would wait for their threads, which nobody may do in a task.
        if let Some((door, service)) = self.runtimes.take() {
            door.shutdown_background();
            service.shutdown_background();
        }
    }
}
