//! `tollgate demo`: a fragile fake API, the daemon on a fresh store, producers that bring a mix of
//! jobs over HTTP, and a view of it all; in one process, with nothing else installed.
//!
//! At its end it tells what happened, by the books of the fake API ([`auditor`]) and of the
//! producers ([`ledger`]): what the daemon says is only believed where these bear it out.

pub mod auditor;
mod client;
pub mod fragile_api;
mod ledger;
mod plan;
pub mod rng;
mod screen;
mod snapshot;
mod stage;
mod summary;
mod traffic;
mod view;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::config::{self, Config, Listen, Target};
use crate::serve::{self, Running};

use auditor::Auditor;
use client::DataClient;
use fragile_api::FragileApi;
use ledger::Ledger;
use plan::Plan;
use screen::Screen;
use snapshot::{Phase, Scene, Snapshot};
use stage::Scratch;
use summary::{Ending, Seen, Summary};
use traffic::{Producer, Traffic};

/// How long after its time a demo waits for the last jobs.
const GRACE: Duration = Duration::from_secs(30);
/// How long the daemon may take to say how its targets are.
const VIEW_PATIENCE: Duration = Duration::from_secs(2);
/// The same mix at each run; one in which a short demo, too, meets everything that can go wrong.
const SEED: u64 = 24;

pub struct Options {
    /// It ends by itself after this time, and a little later if jobs are left; without it, when
    /// somebody ends it.
    pub for_: Option<Duration>,
    /// Has one target. The fake API is put in its place, and the store is put elsewhere.
    pub config: Config,
    /// A directory that is not there yet: it is made for the store, and kept. Without one the
    /// store is in a temporary place that is removed at the end.
    pub dir: Option<PathBuf>,
}

/// The configuration that is built in: `config/demo.toml`.
pub fn configuration() -> anyhow::Result<Config> {
    let text = include_str!("../../config/demo.toml");
    // It names no variable: the demo is to be the same everywhere.
    Ok(config::parse(text, Path::new("config/demo.toml"), &|_| None)?)
}

/// Whether the demo will draw on the whole terminal, so that nothing else should write there.
pub fn fills_the_terminal() -> bool {
    screen::fills_the_terminal()
}

/// Whether the demo showed what it is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Nothing was lost, and the limit held.
    Kept,
    Broken,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> ExitCode {
        match verdict {
            Verdict::Kept => ExitCode::SUCCESS,
            Verdict::Broken => ExitCode::FAILURE,
        }
    }
}

/// Runs the demo and prints what happened. An error means that it could not be shown: no free
/// port, no place for the store, a daemon that does not start or does not stop.
pub async fn run(options: Options) -> anyhow::Result<Verdict> {
    let interrupts = Interrupts::new()?;
    let scratch = Scratch::make(options.dir)?;
    let target = stage::sole_target(&options.config)?;
    let limit = target.policy.limit.clone();
    let fragility = stage::fragility(&limit, SEED);
    let api = FragileApi::start(fragility.clone()).await.context("the fake API does not start")?;
    let config = stage::fit(options.config, api.address(), scratch.path())?;
    let running = serve::start(config, None).await.context("the daemon does not start")?;
    let port = |listen: &Listen| listen.port().context("the demo listens on ports only");
    let (data, admin) = (port(&running.data)?, port(&running.admin)?);

    let producer = Producer {
        client: DataClient::new(data, &target.name),
        ledger: Arc::new(Ledger::default()),
        auditor: api.auditor().clone(),
    };
    let most_in_a_second = stage::most_in_a_second(&limit);
    let scene = Scene {
        data,
        admin,
        target: target.name.clone(),
        limit,
        most_in_a_second,
        duration: options.for_,
    };
    let plan = Plan::new(options.for_, &target, &fragility);
    let mut show = Show {
        screen: Screen::open(scene.clone()),
        started: api.auditor().now(),
        traffic: Some(Traffic::start(producer.clone(), plan)),
        asking: tokio::spawn(producer.clone().keep_asking()),
        held: Duration::ZERO,
        scene,
        producer,
        running,
        interrupts,
    };
    let ending = show.watch().await;
    if ending != Ending::Finished {
        show.wind_down(&target).await;
    }
    let (summary, stopped) = show.close(ending).await;
    api.stop().await;
    let removed = scratch.remove();
    // Whoever closed standard output does not want to read it; the exit code says it too.
    let _ = screen::say(&format!("\n{summary}"));
    stopped.context("the daemon did not stop as it should")?;
    removed?;
    Ok(summary.verdict())
}

/// The demo while it runs.
struct Show {
    scene: Scene,
    screen: Screen,
    producer: Producer,
    running: Running,
    interrupts: Interrupts,
    /// By the API's clock.
    started: crate::broker::time::Mono,
    traffic: Option<Traffic>,
    asking: JoinHandle<()>,
    held: Duration,
}

enum Look {
    Fine {
        in_flight: u32,
    },
    /// Somebody wants it to end, or nobody watches.
    End,
    DaemonGone,
}

impl Show {
    /// Until it is over, one way or the other.
    async fn watch(&mut self) -> Ending {
        let mut tick = tokio::time::interval(self.screen.period());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.interrupts.next() => return Ending::Stopped,
            }
            match self.look(self.phase()).await {
                Look::Fine { .. } => {}
                Look::End => return Ending::Stopped,
                Look::DaemonGone => return Ending::DaemonGone,
            }
            if let Some(duration) = self.scene.duration {
                let elapsed = self.elapsed();
                if elapsed >= duration && self.all_ended() {
                    return Ending::Finished;
                }
                if elapsed >= duration + GRACE {
                    return Ending::GaveUp;
                }
            }
        }
    }

    /// Shows how it is now.
    async fn look(&mut self, phase: Phase) -> Look {
        let view = tokio::time::timeout(VIEW_PATIENCE, self.running.handle.view()).await;
        let view = match view {
            Ok(Ok(view)) => Some(view),
            Ok(Err(_stopped)) => return Look::DaemonGone,
            // Slow is not gone; the grace ends it.
            Err(_) => None,
        };
        let glance = self.producer.ledger.glance();
        let auditor: &Auditor = &self.producer.auditor;
        let snapshot = auditor.read(|books| {
            Snapshot::take(&self.scene, phase, auditor.now(), view.as_ref(), books, glance)
        });
        if view.is_some() {
            self.held = snapshot.held;
        }
        if self.screen.show(&snapshot).is_err() || self.screen.is_told_to_end() {
            return Look::End;
        }
        Look::Fine { in_flight: snapshot.in_flight }
    }

    fn phase(&self) -> Phase {
        let over = self.traffic.as_ref().is_none_or(Traffic::is_over);
        match self.scene.duration {
            Some(duration) if self.elapsed() >= duration => Phase::Overtime,
            _ if over => Phase::Draining,
            _ => Phase::Traffic,
        }
    }

    fn elapsed(&self) -> Duration {
        self.producer.auditor.now().since(self.started)
    }

    fn all_ended(&self) -> bool {
        self.traffic.as_ref().is_none_or(Traffic::is_over) && self.producer.ledger.open() == 0
    }

    /// Lets nothing new begin, and waits for what is under way: at most as long as one attempt
    /// may take, and not at all if somebody insists.
    async fn wind_down(&mut self, target: &Target) {
        let handle = self.running.handle.clone();
        if let Some(id) = handle.directory().known(&target.name) {
            // Where the daemon has stopped, nothing begins either.
            let _ = handle.pause(id, true).await;
        }
        if let Some(traffic) = self.traffic.take() {
            traffic.stop(Duration::from_secs(1)).await;
        }
        let last = tokio::time::Instant::now() + target.timeout + Duration::from_secs(1);
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = tokio::time::sleep_until(last) => return,
                () = self.interrupts.next() => return,
            }
            match self.look(Phase::Stopping).await {
                Look::Fine { in_flight: 1.. } => {}
                Look::Fine { in_flight: 0 } | Look::End | Look::DaemonGone => return,
            }
        }
    }

    /// Asks about every job that is still open, stops the daemon, and sums up.
    async fn close(self, ending: Ending) -> (Summary, anyhow::Result<()>) {
        let took = self.elapsed();
        self.asking.abort();
        // It was cancelled; what it was asking about is still open.
        let _ = self.asking.await;
        self.producer.ask_all().await;
        drop(self.screen);
        let stopped = self.running.drain().await;
        let Producer { ledger, auditor, .. } = &self.producer;
        let (seen, tally, waiting) = auditor.read(|books| {
            let (tally, waiting) = ledger.close(books);
            (Seen::in_books(books, ledger.strangers(books)), tally, waiting)
        });
        let overtime = self.scene.duration.map_or(Duration::ZERO, |d| took.saturating_sub(d));
        let summary = Summary {
            ending,
            took,
            // The last look comes up to one period after the time is over.
            overtime: if overtime > Duration::from_secs(1) { overtime } else { Duration::ZERO },
            limit: self.scene.limit,
            most_in_a_second: self.scene.most_in_a_second,
            tally,
            waiting,
            seen,
            held: self.held,
        };
        (summary, stopped)
    }
}

/// Ctrl-C and SIGTERM, one after the other.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> anyhow::Result<Interrupts> {
        let listen = |kind| signal(kind).context("signals cannot be listened for");
        Ok(Interrupts {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::auditor::Fate;
    use super::*;

    #[test]
    fn the_built_in_configuration_fits_the_demo() {
        let config = configuration().unwrap();
        let target = stage::sole_target(&config).unwrap();
        let api = ([127, 0, 0, 1], 4711).into();
        let fitted = stage::fit(config, api, Path::new("/somewhere")).unwrap();
        assert_eq!(fitted.targets[&target.name].url, "http://127.0.0.1:4711/");
        assert_eq!(fitted.store.path, Path::new("/somewhere/tollgate.redb"));
    }

    #[test]
    fn a_short_demo_meets_everything_that_can_go_wrong() {
        let config = configuration().unwrap();
        let target = stage::sole_target(&config).unwrap();
        let fragility = stage::fragility(&target.policy.limit, SEED);
        // What `--for 10s` brings at least, without counting its retries.
        let jobs = Plan::new(Some(Duration::from_secs(10)), &target, &fragility).jobs;
        for fate in [Fate::Error, Fate::Unavailable, Fate::Broken, Fate::Half, Fate::Hung] {
            let meets = (0..jobs).any(|number| fragility.fate(number) == fate);
            assert!(meets, "{fate:?} is not among the first {jobs} requests");
        }
    }
}
