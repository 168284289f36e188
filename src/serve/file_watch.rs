//! Reloads when the configuration file changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::reload::Reloader;

/// Editors and deployments write a file in several steps: it is read once they are through.
const SETTLE: Duration = Duration::from_millis(250);

/// Runs until it is dropped. The directory is watched, not the file: most editors replace it, and
/// a mounted ConfigMap swaps a link beside it.
pub(super) async fn reload_on_change(file: PathBuf, reloader: Reloader) {
    let (sender, mut changes) = mpsc::channel(1);
    let watching = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // One that waits to be looked at is as good as many.
            let _ = sender.try_send(());
        }
    });
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let watching = watching.and_then(|mut watcher| {
        watcher.watch(&directory, RecursiveMode::NonRecursive).map(|()| watcher)
    });
    let _watching = match watching {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(
                %error,
                "the configuration file is not watched; reload with SIGHUP or `tollgate reload`"
            );
            return;
        }
    };
    while changes.recv().await.is_some() {
        while let Ok(Some(())) = tokio::time::timeout(SETTLE, changes.recv()).await {}
        if let Some(Err(error)) = reloader.reload_if_changed().await {
            tracing::error!("{}: changed, and not applied:\n{error}", file.display());
        }
    }
}
