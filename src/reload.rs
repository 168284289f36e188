//! A new configuration for a running daemon: all of it, or nothing and the reason.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use tokio::sync::{Mutex, oneshot};

use crate::broker::job::TargetId;
use crate::callbacks::Callbacks;
use crate::config::{self, Config};
use crate::handle::{Handle, Message};
use crate::metrics::Metrics;
use crate::serve::{self, Sidecars};
use crate::store::Work;

/// Asks for a reload; cheap to clone.
#[derive(Clone)]
pub struct Reloader(Arc<Inner>);

/// Whom a new configuration reaches.
pub(crate) struct Reach {
    pub(crate) loop_: mpsc::Sender<Message>,
    pub(crate) store: mpsc::Sender<Work>,
    pub(crate) handle: Handle,
    pub(crate) metrics: Metrics,
    pub(crate) sidecars: Sidecars,
    pub(crate) callbacks: Callbacks,
}

struct Inner {
    file: Option<PathBuf>,
    /// What the daemon was started with: parts of it are in force until it ends.
    started: Config,
    reach: Reach,
    /// The file's text when it was last looked at. Held during a reload: one at a time.
    text: Mutex<Option<Vec<u8>>>,
}

/// Says everything that is wrong, a line each.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReloadError(pub String);

impl ReloadError {
    fn new(why: impl std::fmt::Display) -> ReloadError {
        ReloadError(why.to_string())
    }
}

impl Reloader {
    pub(crate) fn new(file: Option<PathBuf>, started: Config, reach: Reach) -> Reloader {
        let text = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let inner = Inner { file, started, reach, text: Mutex::new(text) };
        Reloader(Arc::new(inner))
    }

    /// Reads the file again and applies it. Returns the parts that are not as they were at the
    /// start, and take effect at the next one only.
    ///
    /// # Errors
    /// Names every fault of the file, and means that nothing has changed.
    pub async fn reload(&self) -> Result<Vec<&'static str>, ReloadError> {
        let mut text = self.0.text.lock().await;
        self.apply(&mut text).await
    }

    /// The same, unless the file is as it was when it was last looked at: then `None`.
    pub async fn reload_if_changed(&self) -> Option<Result<Vec<&'static str>, ReloadError>> {
        let mut text = self.0.text.lock().await;
        let file = self.0.file.clone()?;
        let now = tokio::fs::read(file).await.ok();
        if now == *text {
            return None;
        }
        Some(self.apply(&mut text).await)
    }

    async fn apply(&self, seen: &mut Option<Vec<u8>>) -> Result<Vec<&'static str>, ReloadError> {
        let result = self.try_apply(seen).await;
        match &result {
            Ok(later) => {
                for part in later {
                    tracing::warn!("{part} changed: takes effect at the next start");
                }
                self.0.reach.metrics.reloaded(Ok(Handle::wall_now().as_millis()));
                tracing::info!("configuration reloaded");
            }
            Err(_) => self.0.reach.metrics.reloaded(Err(())),
        }
        result
    }

    async fn try_apply(
        &self,
        seen: &mut Option<Vec<u8>>,
    ) -> Result<Vec<&'static str>, ReloadError> {
        let inner = &self.0;
        let file = inner.file.clone().ok_or_else(|| {
            ReloadError::new("this daemon was started without a configuration file")
        })?;
        *seen = tokio::fs::read(&file).await.ok();
        let read = move || config::load(&file, &|name| std::env::var(name).ok());
        let config = tokio::task::spawn_blocking(read).await.map_err(ReloadError::new)?;
        let config = config.map_err(ReloadError::new)?;
        config::check_bound(&inner.started.server, &config).map_err(ReloadError)?;
        // Addresses and the store first: they can fail, and nothing has changed until then.
        let new_sidecars = inner
            .reach
            .sidecars
            .bind_new(&config)
            .await
            .map_err(|e| ReloadError(format!("{e:#}")))?;
        let known = self.add_targets(&config).await?;
        let started = &inner.started;
        let mut later = Vec::new();
        for (part, changed) in [
            ("[server]", {
                // Another certificate takes effect now; TLS at all, or none any more, does not.
                let (old, new) = (&started.server, &config.server);
                let tls = if old.tls.is_some() && new.tls.is_some() { &new.tls } else { &old.tls };
                *new != config::Server { tls: tls.clone(), ..old.clone() }
            }),
            ("[store] path, cache, min_free_disk or encrypt_key_file", {
                let old = &started.store;
                let retention = config.store.retention;
                config.store != config::Store { retention, ..old.clone() }
            }),
            ("[step_functions]", config.step_functions != started.step_functions),
            ("[[sources.…]]", config.sources != started.sources),
            ("[telemetry]", config.telemetry != started.telemetry),
        ] {
            if changed {
                later.push(part);
            }
        }
        serve::warn_of_strangers(&config);
        inner.reach.sidecars.admit(&config);
        // Those who tell first: a name that is let in has somebody behind it.
        inner.reach.callbacks.configure(&config.callbacks);
        // A token is taken where somebody answers it now, and will after the next start.
        let answers = started.step_functions.is_some() && config.step_functions.is_some();
        inner.reach.handle.swap_directory(serve::directory(&known, &config, answers));
        let targets = serve::configured(&known, &config);
        let limits = serve::shared_limits(&config);
        let retention = config.store.retention;
        let message = Message::Configure { targets, limits, retention };
        inner.reach.loop_.send(message).map_err(|_| ReloadError::new(crate::handle::Stopped))?;
        let wanted: BTreeMap<_, _> = config
            .targets
            .iter()
            .filter_map(|(name, target)| Some((name.clone(), target.listen.clone()?)))
            .collect();
        inner.reach.sidecars.keep_only(&wanted);
        for (name, bound) in new_sidecars {
            inner.reach.sidecars.serve(name, bound);
        }
        Ok(later)
    }

    async fn add_targets(&self, config: &Config) -> Result<Vec<(TargetId, String)>, ReloadError> {
        let names = config.targets.keys().cloned().collect();
        let (sender, receiver) = oneshot::channel();
        let answer = Box::new(move |known| {
            // Whoever asked for the reload may have gone; the targets are there all the same.
            let _ = sender.send(known);
        });
        let gone = |_| ReloadError::new("the store has stopped");
        self.0.reach.store.send(Work::AddTargets { names, answer }).map_err(|_| gone(()))?;
        let known = receiver.await.map_err(|_| gone(()))?;
        known.map_err(ReloadError::new)
    }
}

#[cfg(test)]
impl Reloader {
    /// For tests of who asks: whatever is asked, the answer is that there is no file.
    pub(crate) fn without_a_file(handle: Handle) -> Reloader {
        let text = "[targets.erp]\nurl = \"http://127.0.0.1:1\"\nlimit.rate = \"1/s\"";
        let config = config::parse(text, std::path::Path::new("test.toml"), &|_| None).unwrap();
        let sidecars = Sidecars::new(
            handle.clone(),
            crate::http_api::server::Limits::new(
                config.server.max_body,
                crate::http_api::server::Slots::new(16),
            ),
            config.server.listen.clone(),
            Default::default(),
            Default::default(),
            crate::serve::Threads::one(nobody_calls()),
        );
        let (loop_, store) = (mpsc::channel().0, mpsc::channel().0);
        let callbacks = Callbacks::none(&handle);
        let metrics = Metrics::new();
        Reloader::new(None, config, Reach { loop_, store, handle, metrics, sidecars, callbacks })
    }
}

/// Threads for callers that a test does not have.
#[cfg(test)]
fn nobody_calls() -> &'static tokio::runtime::Handle {
    static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> = std::sync::LazyLock::new(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).build().expect("a thread can be had")
    });
    RUNTIME.handle()
}
