//! What an event says: all targets, or those of which there is news.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Serialize;

use crate::admin::AdminState;
use crate::admin::readiness::Readiness;
use crate::admin::step_functions_json::StepFunctionsJson;
use crate::handle::Handle;

/// All targets at one moment, and what changed since the moment before.
pub(super) struct Snapshot {
    number: u64,
    head: String,
    /// Each target in JSON, by name.
    targets: BTreeMap<Arc<str>, Arc<str>>,
    /// Written when somebody first needs it: most readers are told the changes only.
    full: OnceLock<Bytes>,
    changes: Bytes,
    recent: BTreeMap<String, Vec<u64>>,
}

impl Snapshot {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// What a reader needs to hear that has seen `seen`.
    pub(super) fn after(&self, seen: Option<u64>) -> Bytes {
        if seen.is_some_and(|seen| seen.checked_add(1) == Some(self.number)) {
            return self.changes.clone();
        }
        self.full
            .get_or_init(|| {
                let mut text = event(self.number, &self.head, true, self.targets.values());
                text.push_str(",\"recent\":");
                text.push_str(&serde_json::to_string(&self.recent).unwrap_or_default());
                finished(text)
            })
            .clone()
    }
}

/// Makes one snapshot after the other.
#[derive(Default)]
pub(super) struct Writer {
    number: u64,
    last: BTreeMap<Arc<str>, Arc<str>>,
}

/// What is the same for all targets.
#[derive(Serialize)]
struct Daemon {
    version: &'static str,
    /// `ready`, `draining` or `store_failed`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Writer {
    /// `None` where the loop has stopped.
    pub(super) async fn write(&mut self, state: &AdminState) -> Option<Snapshot> {
        let mut targets = BTreeMap::new();
        let mut recent = BTreeMap::new();
        let (directory, now) = (state.handle.directory(), state.handle.mono_now());
        for target in state.targets().await.ok()? {
            let name: Arc<str> = target.name().into();
            let seconds = directory
                .known(&name)
                .and_then(|id| state.handle.pulse().look(id))
                .map(|totals| totals.recent(now))
                .filter(|seconds| seconds.iter().any(|count| *count > 0));
            if let Some(seconds) = seconds {
                recent.insert(name.to_string(), seconds);
            }
            // A map with keys that are no strings is all that cannot be written.
            let text: Arc<str> = serde_json::to_string(&target).ok()?.into();
            // What did not change is kept once.
            let kept = self.last.get(&name).filter(|last| **last == text).cloned();
            targets.insert(name, kept.unwrap_or(text));
        }
        self.number += 1;
        // A store that cannot be read is told of by the readiness.
        let workflows = state.step_functions().await.ok().flatten();
        let head = head(state.readiness.get(), workflows.as_ref());
        let news = targets.iter().filter(|(name, text)| {
            self.last.get(*name).is_none_or(|last| !Arc::ptr_eq(last, text))
        });
        let mut changes = event(self.number, &head, false, news.map(|(_, text)| text));
        let gone = self.last.keys().filter(|name| !targets.contains_key(*name));
        let gone: Vec<&str> = gone.map(|name| &**name).collect();
        if !gone.is_empty() {
            changes.push_str(",\"gone\":");
            changes.push_str(&serde_json::to_string(&gone).ok()?);
        }
        self.last = targets.clone();
        let (number, changes) = (self.number, finished(changes));
        Some(Snapshot { number, head, targets, full: OnceLock::new(), changes, recent })
    }
}

fn head(readiness: Readiness, step_functions: Option<&StepFunctionsJson>) -> String {
    let (state, reason) = match readiness {
        Readiness::Ready => ("ready", None),
        Readiness::Draining => ("draining", None),
        Readiness::StoreFailed(reason) => ("store_failed", Some(reason)),
    };
    let daemon = Daemon { version: env!("CARGO_PKG_VERSION"), state, reason };
    let daemon = serde_json::to_string(&daemon).unwrap_or_default();
    let workflows = serde_json::to_string(&step_functions).unwrap_or_else(|_| "null".into());
    let now = Handle::wall_now();
    format!("\"at\":\"{now}\",\"daemon\":{daemon},\"step_functions\":{workflows}")
}

/// All but the end of an event. JSON has no line ends of its own here, so one line of data holds it.
fn event<'a>(
    number: u64,
    head: &str,
    full: bool,
    targets: impl Iterator<Item = &'a Arc<str>>,
) -> String {
    let mut text =
        format!("event: targets\nid: {number}\ndata: {{{head},\"full\":{full},\"targets\":[");
    for (index, target) in targets.enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(target);
    }
    text.push(']');
    text
}

fn finished(mut text: String) -> Bytes {
    text.push_str("}\n\n");
    text.into()
}
