//! What is heard of the daemon.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cli::wire::{Job, Page, StepFunctions, Target, When};

/// One event of `GET /v1/events`.
#[derive(Debug, Deserialize)]
pub(super) struct News {
    pub(super) at: Option<When>,
    /// All targets are told, not only those that look different.
    #[serde(default)]
    pub(super) full: bool,
    #[serde(default)]
    pub(super) targets: Vec<Target>,
    #[serde(default)]
    pub(super) gone: Vec<String>,
    /// Where all is told: requests in each of the last seconds, oldest first.
    #[serde(default)]
    pub(super) recent: BTreeMap<String, Vec<u64>>,
    pub(super) daemon: Option<Daemon>,
    pub(super) step_functions: Option<StepFunctions>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Daemon {
    #[serde(default)]
    pub(super) state: String,
    #[serde(default)]
    pub(super) reason: Option<String>,
}

/// The jobs of one target that say how it goes.
#[derive(Debug, Default)]
pub(super) struct TargetJobs {
    pub(super) running: Vec<Job>,
    pub(super) waiting: Vec<Job>,
    /// Newest first.
    pub(super) dead: Vec<Job>,
}

impl TargetJobs {
    pub(super) fn new(running: Page, waiting: Page, dead: Page) -> TargetJobs {
        let read = |page: Page| {
            // One that this program cannot read is no reason to hide the others.
            page.jobs.iter().filter_map(|job| serde_json::from_str(job.get()).ok()).collect()
        };
        TargetJobs { running: read(running), waiting: read(waiting), dead: read(dead) }
    }
}
