//! The ceilings of intake, beside what the machine itself can do, in turns.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::Seconds;
use super::{MIB, Place, closed, ratio, some_taken};
use crate::baseline;
use crate::daemon::{Setup, Targets};
use crate::jobs::{Mix, Requests};
use crate::load::{Load, Pace, Tally};
use crate::machine::Device;
use crate::process::{Process, Stat};
use crate::report::Turn;

/// Single submissions: a bare hyper server, one that appends and syncs, and the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enqueue {
    pub(crate) connections: usize,
    /// For each of the three.
    pub(crate) seconds: Seconds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Bare,
    Append,
    Daemon,
}

/// What one subject did.
struct Found {
    tally: Tally,
    cpu_us: f64,
    own_cpu_us: f64,
    bytes_written: Option<f64>,
}

/// Processor time of a subject and of ourselves, and what went to the device.
struct Meter<'a> {
    stat: &'a dyn Fn() -> anyhow::Result<Stat>,
    device: Option<Device>,
    before: (Stat, Stat, Option<u64>),
}

impl<'a> Meter<'a> {
    fn start(
        place: &Place,
        stat: &'a dyn Fn() -> anyhow::Result<Stat>,
    ) -> anyhow::Result<Meter<'a>> {
        let device = Device::of(&place.dir);
        let written = device.as_ref().map(Device::written).transpose()?;
        let before = (stat()?, Stat::of_this_process()?, written);
        Ok(Meter { stat, device, before })
    }

    fn stop(self, tally: Tally) -> anyhow::Result<Found> {
        let (theirs, ours, written) = self.before;
        // What was sent while it warmed up cost time, too, and is in no tally: so by requests of
        // the whole time, of which the measured part is five sixths.
        let jobs = tally.offered.max(1) as f64 * 1.2;
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / jobs;
        let now = self.device.as_ref().map(Device::written).transpose()?;
        Ok(Found {
            cpu_us: each((self.stat)()?.cpu.saturating_sub(theirs.cpu)),
            own_cpu_us: each(Stat::of_this_process()?.cpu.saturating_sub(ours.cpu)),
            bytes_written: written
                .zip(now)
                .map(|(then, now)| now.saturating_sub(then) as f64 / jobs),
            tally,
        })
    }
}

impl Enqueue {
    pub(super) async fn turn(&self, place: &Place, nth: usize) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        let mut rates = [0.0; 3];
        let mut subjects = [Subject::Bare, Subject::Append, Subject::Daemon];
        // Whoever is first finds another machine than whoever is last.
        subjects.rotate_left(nth % 3);
        for subject in subjects {
            let found = match subject {
                Subject::Bare => self.baseline(place, None).await?,
                Subject::Append => {
                    let path = place.file("append");
                    let found = self.baseline(place, Some(&path)).await?;
                    std::fs::remove_file(path)?;
                    found
                }
                Subject::Daemon => self.daemon(place, &mut turn).await?,
            };
            let name = match subject {
                Subject::Bare => "bare",
                Subject::Append => "append",
                Subject::Daemon => "daemon",
            };
            turn.answers(name, &found.tally, &[]);
            rates[subject as usize] = found.tally.rate();
            turn.higher(format!("{name}_per_s"), "1/s", found.tally.rate());
            turn.lower(format!("{name}_p50_ms"), "ms", found.tally.latencies.ms(0.5));
            turn.lower(format!("{name}_p99_ms"), "ms", found.tally.latencies.ms(0.99));
            turn.lower(format!("{name}_cpu_us"), "µs/job", found.cpu_us);
            turn.info(format!("generator_cpu_us_{name}"), "µs/job", found.own_cpu_us);
            if let Some(bytes) = found.bytes_written.filter(|_| subject != Subject::Bare) {
                turn.lower(format!("{name}_disk_bytes"), "B/job", bytes);
            }
            turn.latencies(name, &found.tally.latencies);
        }
        let [bare, append, daemon] = rates;
        turn.higher("vs_append", "x", ratio(daemon, append));
        turn.higher("vs_bare", "x", ratio(daemon, bare));
        Ok(turn)
    }

    async fn load(&self, place: &Place, address: SocketAddr) -> anyhow::Result<Tally> {
        closed(place, address, self.connections, self.seconds, 0).await
    }

    async fn baseline(
        &self,
        place: &Place,
        append: Option<&std::path::Path>,
    ) -> anyhow::Result<Found> {
        let (process, address): (Process, _) = place.baseline(append)?;
        let stat = || process.stat();
        let meter = Meter::start(place, &stat)?;
        let tally = self.load(place, address).await?;
        meter.stop(tally)
    }

    async fn daemon(&self, place: &Place, turn: &mut Turn) -> anyhow::Result<Found> {
        // Nothing is sent: the target is paused.
        let daemon = place.daemon(&Setup::new(Targets::unlimited(nobody()))).await?;
        daemon.pause(0).await?;
        let stat = || daemon.stat();
        let meter = Meter::start(place, &stat)?;
        let tally = self.load(place, daemon.data).await?;
        let found = meter.stop(tally)?;
        let metrics = daemon.metrics().await?;
        let commits = metrics.sum("tollgate_store_commit_seconds_count", "");
        let seconds = metrics.sum("tollgate_store_commit_seconds_sum", "");
        let jobs = metrics.sum("tollgate_jobs_enqueued_total", "");
        turn.info("daemon_jobs_per_commit", "jobs", ratio(jobs, commits));
        turn.lower("daemon_commit_ms", "ms", 1000.0 * ratio(seconds, commits));
        turn.lower("daemon_rss_mib", "MiB", daemon.stat()?.rss as f64 / MIB);
        daemon.stop()?;
        Ok(found)
    }
}

/// An address where nobody listens; for targets that are paused.
pub(super) fn nobody() -> SocketAddr {
    ([127, 0, 0, 1], 9).into()
}

/// Batches of jobs: the disk's own appended file, and the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    pub(crate) connections: usize,
    pub(crate) batch: usize,
    pub(crate) seconds: Seconds,
}

impl Batch {
    pub(super) async fn turn(&self, place: &Place, nth: usize) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        let (disk, daemon) = if nth.is_multiple_of(2) {
            (self.disk(place).await?, self.daemon(place, &mut turn).await?)
        } else {
            let daemon = self.daemon(place, &mut turn).await?;
            (self.disk(place).await?, daemon)
        };
        turn.info("disk_jobs_per_s", "1/s", disk);
        turn.higher("daemon_jobs_per_s", "1/s", daemon);
        turn.higher("vs_disk", "x", ratio(daemon, disk));
        Ok(turn)
    }

    async fn disk(&self, place: &Place) -> anyhow::Result<f64> {
        let (path, batch) = (place.file("disk"), self.batch);
        let time = self.seconds.time();
        tokio::task::spawn_blocking(move || baseline::disk(&path, batch, 1024, time)).await?
    }

    async fn daemon(&self, place: &Place, turn: &mut Turn) -> anyhow::Result<f64> {
        let daemon = place.daemon(&Setup::new(Targets::unlimited(nobody()))).await?;
        daemon.pause(0).await?;
        let measured = self.seconds.time();
        let pace = Pace::Time { warm_up: measured / 5, measured };
        let requests = Requests::new(Mix::default(), Some(self.batch));
        let load = Load::new(requests, self.connections, pace);
        let before = (daemon.stat()?, Stat::of_this_process()?);
        let tally = some_taken(load.run(place.clock, daemon.data).await?)?;
        let after = (daemon.stat()?, Stat::of_this_process()?);
        let jobs = tally.taken.max(1) as f64 * 1.2;
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / jobs;
        turn.lower("daemon_cpu_us", "µs/job", each(after.0.cpu.saturating_sub(before.0.cpu)));
        turn.info("generator_cpu_us", "µs/job", each(after.1.cpu.saturating_sub(before.1.cpu)));
        turn.lower("batch_p99_ms", "ms", tally.latencies.ms(0.99));
        turn.latencies("batch", &tally.latencies);
        turn.answers("batches", &tally, &[]);
        daemon.stop()?;
        Ok(tally.rate())
    }
}
