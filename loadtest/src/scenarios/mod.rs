//! What can be measured. Each procedure makes one turn: a fresh daemon on a fresh store, some
//! load, figures.

mod backlog;
mod besieged;
mod drain;
mod idle;
mod overload;
mod pacing;
mod passing;
mod restart;
mod soak;
mod submit;
mod targets;
pub(crate) mod units;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use tollgate::broker::job::Priority;

use crate::clock::Clock;
use crate::daemon::{Daemon, Setup};
use crate::jobs::{Mix, Requests};
use crate::load::{Load, Pace, Tally};
use crate::process::Process;
use crate::report::Turn;

use units::Seconds;

/// A kind of scenario with its parameters.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Procedure {
    Enqueue(submit::Enqueue),
    Batch(submit::Batch),
    Drain(drain::Drain),
    Pacing(pacing::Pacing),
    Passing(passing::Passing),
    Backlog(backlog::Backlog),
    Restart(restart::Restart),
    Overload(overload::Overload),
    Besieged(besieged::Besieged),
    Idle(idle::Idle),
    Targets(targets::Targets),
    Soak(soak::Soak),
}

impl Procedure {
    /// `nth`: of the scenario's turns, from 0.
    pub(crate) async fn turn(&self, place: &Place, nth: usize) -> anyhow::Result<Turn> {
        match self {
            Procedure::Enqueue(enqueue) => enqueue.turn(place, nth).await,
            Procedure::Batch(batch) => batch.turn(place, nth).await,
            Procedure::Drain(drain) => drain.turn(place).await,
            Procedure::Pacing(pacing) => pacing.turn(place).await,
            Procedure::Passing(passing) => passing.turn(place).await,
            Procedure::Backlog(backlog) => backlog.turn(place).await,
            Procedure::Restart(restart) => restart.turn(place).await,
            Procedure::Overload(overload) => overload.turn(place).await,
            Procedure::Besieged(besieged) => besieged.turn(place).await,
            Procedure::Idle(idle) => idle.turn(place).await,
            Procedure::Targets(targets) => targets.turn(place).await,
            Procedure::Soak(soak) => soak.turn(place).await,
        }
    }
}

/// Where things are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) program: PathBuf,
    /// For stores and files; on the disk that is measured.
    pub(crate) dir: PathBuf,
    pub(crate) clock: Clock,
}

const MIB: f64 = 1_048_576.0;
const SECOND: Duration = Duration::from_secs(1);
/// How long nothing may arrive before a run is given up.
const PATIENCE: Duration = Duration::from_secs(20);

impl Place {
    async fn daemon(&self, setup: &Setup) -> anyhow::Result<Daemon> {
        Daemon::start(&self.program, &self.dir, setup).await
    }

    /// A baseline in a process of its own: this program, started again.
    fn baseline(&self, append: Option<&Path>) -> anyhow::Result<(Process, std::net::SocketAddr)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("baseline");
        if let Some(path) = append {
            command.arg("--append").arg(path);
        }
        let mut process = Process::start(&mut command, &self.dir.join("baseline.log"))?;
        let address = process.listening()?;
        Ok((process, address))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}-{}", uuid::Uuid::now_v7()))
    }

    /// Hands in `jobs` jobs, the first with number `first`, as fast as batches of 1,000 go; all
    /// must be taken.
    async fn fill(
        &self,
        daemon: &Daemon,
        mix: Mix,
        first: u64,
        jobs: u64,
    ) -> anyhow::Result<Tally> {
        let requests = Requests::new(mix, Some(1000));
        let load = Load::new(requests, 4, Pace::Jobs(jobs)).from(first);
        let tally = load.run(self.clock, daemon.data).await?;
        all_taken(&tally, jobs)?;
        Ok(tally)
    }

    /// NORMAL jobs of 1 KiB.
    async fn fill_plain(&self, daemon: &Daemon, first: u64, jobs: u64) -> anyhow::Result<Tally> {
        self.fill(daemon, Mix::of(Priority::Normal, 1024), first, jobs).await
    }
}

/// A closed loop of single requests that is warmed up, then measured.
async fn closed(
    place: &Place,
    address: std::net::SocketAddr,
    connections: usize,
    seconds: Seconds,
    first: u64,
) -> anyhow::Result<Tally> {
    let measured = seconds.time();
    let pace = Pace::Time { warm_up: measured / 5, measured };
    let requests = Requests::new(Mix::default(), None);
    let tally =
        Load::new(requests, connections, pace).from(first).run(place.clock, address).await?;
    some_taken(tally)
}

/// A rate of nothing is no figure.
fn some_taken(tally: Tally) -> anyhow::Result<Tally> {
    ensure!(tally.taken > 0, "nothing was taken: {}", tally.answers());
    Ok(tally)
}

fn all_taken(tally: &Tally, jobs: u64) -> anyhow::Result<()> {
    let taken = tally.taken;
    ensure!(taken == jobs, "of {jobs} jobs {taken} were taken: {}", tally.answers());
    Ok(())
}

fn ratio(ours: f64, theirs: f64) -> f64 {
    ours / theirs.max(f64::MIN_POSITIVE)
}
