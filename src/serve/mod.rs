//! The daemon: store, loop, listeners; put together once, taken down in order.

mod callers;
mod file_watch;
mod files;
mod listeners;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{oneshot, watch};

use crate::admin::{AdminState, Readiness, SharedReadiness};
use crate::auth::Access;
use crate::aws::Aws;
use crate::broker::Broker;
use crate::broker::change::{Recovered, RecoveredTarget};
use crate::broker::io::{Start, Windows};
use crate::broker::job::TargetId;
use crate::broker::policy::{Bounds, LimitName};
use crate::broker::time::Now;
use crate::callbacks::Callbacks;
use crate::config::{Config, Listen, Sources, Target, Telemetry};
use crate::dispatch::Dispatcher;
use crate::driver::{Driver, Health, Parts};
use crate::handle::{Directory, Handle, Message, Stopped};
use crate::http_api::server::{self, Limits, Slots};
use crate::http_api::tls::TlsInForce;
use crate::metrics::{Books, Metrics};
use crate::reload::{Reach, Reloader};
use crate::sources::{activity, sqs};
use crate::step_functions::StepFunctions;
use crate::store::{self, Store};
use crate::trace::Tracer;

use callers::Callers;
#[cfg(test)]
pub(crate) use callers::Threads;
use files::Shares;
use listeners::Listeners;
pub(crate) use listeners::Sidecars;

/// Histograms are emptied into their buckets this often, whether anybody scrapes or not.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long a call that answers a task token, or tells a callback, may take while the daemon goes
/// down.
const CALLBACKS_WITHIN: Duration = Duration::from_secs(10);

/// A daemon that serves.
pub struct Running {
    pub data: Listen,
    pub admin: Listen,
    /// Of the ports; sockets in the file system have none.
    pub tls: bool,
    pub handle: Handle,
    reloader: Reloader,
    readiness: SharedReadiness,
    health: watch::Receiver<Health>,
    loop_: mpsc::Sender<Message>,
    threads: [JoinHandle<()>; 2],
    listeners: Listeners,
    drain_timeout: Duration,
    step_functions: Option<StepFunctions>,
    callbacks: Callbacks,
    tracer: Tracer,
    /// Tells them to stop.
    stop_callbacks: watch::Sender<bool>,
    /// Holds `true` once no source may take anything any more.
    sources: watch::Sender<bool>,
    /// Ends the file watch and the upkeep.
    _chores: Vec<Chore>,
}

/// A task that ends when this is dropped.
struct Chore(tokio::task::JoinHandle<()>);

impl Drop for Chore {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Opens the store, binds every listener, starts the loop. `file` is read again on a reload;
/// without one there is nothing to reload.
///
/// # Errors
/// Where an address or the store cannot be had; nothing is left running then.
pub async fn start(config: Config, file: Option<PathBuf>) -> anyhow::Result<Running> {
    let started = Instant::now();
    warn_of_strangers(&config);
    let metrics = Metrics::new();
    let shares = Shares::of(server::raise_file_limit());
    // Addresses first: a second daemon fails on them, before it can touch anything.
    let bound = listeners::Bound::all(&config).await?;
    let (data, admin) = (bound.data().clone(), bound.admin().clone());
    let (store, recovered) = open_store(&config).await?;
    let reader = store.reader();
    let (outbox, inbox) = mpsc::channel();
    let to_loop = outbox.clone();
    let (work, store_thread) = store::spawn(store, move |done| {
        // A loop that has stopped has no use for it.
        let _ = to_loop.send(Message::Store(done));
    })
    .context("start the store's thread")?;
    let known = recovered.targets.iter().map(|target| (target.id, target.name.clone()));
    let known: Vec<(TargetId, String)> = known.collect();
    let live = configured(&known, &config);
    let answers = config.step_functions.is_some();
    let directory = directory(&known, &config, answers);
    let handle = Handle::new(outbox.clone(), reader, directory, started);
    let pending = handle.reader().clone();
    metrics.callbacks_pending_from(move || pending.outbox_len().ok());
    let aws = Aws::new();
    let (stop_callbacks, callbacks_stop) = watch::channel(false);
    let step_functions = config.step_functions.as_ref().map(|config| {
        let service = aws.step_functions(config.endpoint_url.as_ref().map(ToString::to_string));
        StepFunctions::start(service, config, handle.clone(), metrics.clone(), callbacks_stop)
    });
    if step_functions.is_none() && handle.reader().outbox_len()? > 0 {
        tracing::warn!(
            tokens = handle.reader().outbox_len()?,
            "jobs have ended whose task tokens are to be answered, and there is no \
             [step_functions] in the configuration: they wait"
        );
    }
    let dispatcher = Dispatcher::new(shares.targets)?;
    let callbacks =
        Callbacks::start(&config.callbacks, dispatcher.clone(), handle.clone(), &metrics);
    let tracer = tracer(&config.telemetry, &metrics)?;
    let (health_sender, health) = watch::channel(Health::Starting);
    let driver = Driver::new(Parts {
        broker: core(recovered, &live, &config, &handle),
        handle: handle.clone(),
        inbox,
        outbox: outbox.clone(),
        store: work.clone(),
        dispatcher,
        runtime: tokio::runtime::Handle::current(),
        targets: live.into_iter().collect::<HashMap<_, _>>(),
        books: Books::new(metrics.clone()),
        health: health_sender,
        step_functions: step_functions.clone(),
        callbacks: callbacks.clone(),
        tracer: tracer.clone(),
    });
    let loop_thread = std::thread::Builder::new().name("loop".into());
    let loop_thread = loop_thread.spawn(move || driver.run()).context("start the loop")?;

    // Nobody is told what the last life thought of a job that was under way when it ended.
    let begun = health.clone().wait_for(|health| !matches!(health, Health::Starting)).await.is_ok();
    anyhow::ensure!(begun, "the loop ended as soon as it began; the log says why");

    let callers = Callers::start()?;
    let readiness = SharedReadiness::default();
    let drain_timeout = config.server.drain_timeout;
    let tls = TlsInForce::new(config.server.tls.clone());
    let sidecars = Sidecars::new(
        handle.clone(),
        Limits::new(config.server.max_body, Slots::new(shares.data)),
        data.clone(),
        Access::new(config.access.clone()),
        tls.clone(),
        callers.threads().clone(),
    );
    let (sources, shutdown) = watch::channel(false);
    let from_aws = Chore(tokio::spawn(poll_sources(aws, &config, handle.clone(), shutdown)));
    let reloader = Reloader::new(
        file.clone(),
        config,
        Reach {
            loop_: outbox.clone(),
            store: work,
            handle: handle.clone(),
            metrics: metrics.clone(),
            sidecars: sidecars.clone(),
            callbacks: callbacks.clone(),
        },
    );
    let state = AdminState::new(
        handle.clone(),
        metrics.clone(),
        reloader.clone(),
        readiness.clone(),
        step_functions.as_ref().map(StepFunctions::health),
        callbacks.clone(),
    );
    let listeners = bound.serve(&handle, state, sidecars, callers, shares.admin);
    let mut chores = vec![
        from_aws,
        Chore(tokio::spawn(upkeep(metrics))),
        Chore(tokio::spawn(tell_readiness(health.clone(), readiness.clone()))),
    ];
    if let Some(file) = file {
        chores.push(Chore(tokio::spawn(file_watch::reload_on_change(file, reloader.clone()))));
    }
    Ok(Running {
        data,
        admin,
        tls: tls.is_on(),
        handle,
        reloader,
        readiness,
        health,
        loop_: outbox,
        threads: [loop_thread, store_thread],
        listeners,
        drain_timeout,
        step_functions,
        callbacks,
        tracer,
        stop_callbacks,
        sources,
        _chores: chores,
    })
}

impl Running {
    pub fn reloader(&self) -> &Reloader {
        &self.reloader
    }

    /// Resolves when the daemon can promise nothing any more, with the reason.
    pub fn failed(&self) -> impl Future<Output = anyhow::Error> + use<> {
        let mut health = self.health.clone();
        async move {
            let lives = |health: &Health| matches!(health, Health::Starting | Health::Running);
            let ended = health.wait_for(|health| !lives(health)).await;
            match ended.as_deref() {
                Ok(Health::Failed(error)) => anyhow::Error::new(error.clone()).context(
                    "the store failed; what was acknowledged is safe, what was under way is \
                     known at the next start",
                ),
                Ok(Health::Starting | Health::Running | Health::Stopped) | Err(_) => {
                    anyhow::anyhow!("the broker's loop has stopped unasked; see the log")
                }
            }
        }
    }

    /// Takes nothing new, finishes what is under way within `drain_timeout`, closes the store.
    ///
    /// # Errors
    /// Where the loop or the store had stopped before it was asked to.
    pub async fn drain(self) -> anyhow::Result<()> {
        self.readiness.set(Readiness::Draining);
        self.sources.send_replace(true);
        let (done, drained) = oneshot::channel();
        self.loop_.send(Message::Drain(done)).map_err(|_| Stopped)?;
        if tokio::time::timeout(self.drain_timeout, drained).await.is_err() {
            tracing::warn!(
                "attempts were still under way after {:?}; they count as unknown at the next start",
                self.drain_timeout
            );
        }
        // Answers to workflows that are under way are heard out and put on record.
        self.stop_callbacks.send_replace(true);
        if let Some(step_functions) = &self.step_functions
            && tokio::time::timeout(CALLBACKS_WITHIN, step_functions.stopped()).await.is_err()
        {
            tracing::warn!("answers to task tokens were still under way; they are sent again");
        }
        if tokio::time::timeout(CALLBACKS_WITHIN, self.callbacks.stop()).await.is_err() {
            tracing::warn!("callbacks were still under way; they are sent again");
        }
        let _ = self.tracer.flush().await;
        // Callers that wait for a job which will not run any more are let go.
        self.listeners.close().await;
        self.loop_.send(Message::Stop).map_err(|_| Stopped)?;
        let threads = self.threads;
        let ends = move || threads.into_iter().map(JoinHandle::join).all(|end| end.is_ok());
        anyhow::ensure!(
            tokio::task::spawn_blocking(ends).await?,
            "a thread panicked while the daemon went down"
        );
        Ok(())
    }
}

async fn open_store(config: &Config) -> anyhow::Result<(Store, Recovered)> {
    let options = store::Options {
        path: config.store.path.clone(),
        cache: config.store.cache,
        min_free_disk: config.store.min_free_disk,
        keys: config.store.keys.clone(),
    };
    let names: Vec<String> = config.targets.keys().cloned().collect();
    let path = options.path.display().to_string();
    let opened = tokio::task::spawn_blocking(move || Store::open(&options, &names)).await?;
    opened.with_context(|| format!("open the store {path}"))
}

fn core(
    recovered: Recovered,
    live: &[(TargetId, Arc<Target>)],
    config: &Config,
    handle: &Handle,
) -> Broker {
    for RecoveredTarget { name, counts, .. } in &recovered.targets {
        if !config.targets.contains_key(name) && counts.alive() > 0 {
            tracing::warn!(
                target = name,
                jobs = counts.alive(),
                "the store has jobs for a target that the configuration does not name; they wait"
            );
        }
    }
    let now = Now { mono: handle.mono_now(), wall: Handle::wall_now() };
    let targets = live.iter().map(|(id, t)| (*id, t.name.clone(), t.policy.clone())).collect();
    let retention = config.store.retention;
    let limits = shared_limits(config);
    let windows = Windows::default();
    Broker::new(Start { recovered, targets, limits, retention, windows }, now)
}

pub(crate) fn shared_limits(config: &Config) -> Vec<(LimitName, Bounds)> {
    config.limits.iter().map(|(name, bounds)| (name.clone(), bounds.clone())).collect()
}

/// The targets that are both in the store (all are) and in the configuration.
pub(crate) fn configured(
    known: &[(TargetId, String)],
    config: &Config,
) -> Vec<(TargetId, Arc<Target>)> {
    let find = |(id, name): &(TargetId, String)| Some((*id, config.targets.get(name)?.clone()));
    known.iter().filter_map(find).collect()
}

pub(crate) fn warn_of_strangers(config: &Config) {
    if config.insecure_allow_anonymous {
        tracing::warn!(
            "auth.insecure_allow_anonymous is set: listeners without a file of tokens let \
             everybody in who reaches them"
        );
    }
}

/// `answers`: whether task tokens get their answer.
pub(crate) fn directory(known: &[(TargetId, String)], config: &Config, answers: bool) -> Directory {
    let entries =
        known.iter().map(|(id, name)| (*id, name.clone(), config.targets.get(name).cloned()));
    Directory::new(entries)
        .with_step_functions(answers)
        .with_callbacks(config.callbacks.keys().cloned())
}

fn poll_sources(
    aws: Aws,
    config: &Config,
    handle: Handle,
    shutdown: watch::Receiver<bool>,
) -> impl Future<Output = ()> + use<> {
    let Sources { sqs, activity } = config.sources.clone();
    // Activities are where their tasks' tokens are answered.
    let endpoint = config.step_functions.as_ref().and_then(|config| config.endpoint_url.as_ref());
    let step_functions = aws.step_functions(endpoint.map(ToString::to_string));
    async move {
        tokio::join!(
            sqs::run(&sqs, &aws, handle.clone(), shutdown.clone()),
            activity::run(&activity, &step_functions, handle, shutdown),
        );
    }
}

fn tracer(telemetry: &Telemetry, metrics: &Metrics) -> anyhow::Result<Tracer> {
    match &telemetry.otlp_endpoint {
        None => Ok(Tracer::default()),
        Some(endpoint) => {
            Ok(Tracer::start(endpoint, telemetry.otlp_sample_ratio, metrics.clone())?)
        }
    }
}

async fn upkeep(metrics: Metrics) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics.upkeep();
    }
}

async fn tell_readiness(mut health: watch::Receiver<Health>, readiness: SharedReadiness) {
    let failed = health.wait_for(|health| matches!(health, Health::Failed(_))).await;
    if let Ok(health) = failed
        && let Health::Failed(error) = &*health
    {
        readiness.set(Readiness::StoreFailed(error.to_string()));
    }
}
