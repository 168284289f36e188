//! How fast jobs go out when nothing holds them back; with every start and end durable.

use serde::{Deserialize, Serialize};

use super::units::Seconds;
use super::{MIB, PATIENCE, Place, all_taken, closed, ratio};
use crate::arrivals::Arrivals;
use crate::daemon::{Daemon, Setup, Targets};
use crate::jobs::{Mix, Requests};
use crate::load::{Load, Pace};
use crate::machine::Device;
use crate::report::{Line, Turn};
use crate::sink::{Keep, Sink};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drain {
    pub(crate) jobs: u64,
    /// The target's `max_concurrent`.
    pub(crate) connections: u32,
    /// So many groups, whose jobs go one at a time and in their order; 0: none.
    pub(crate) groups: u32,
}

impl Drain {
    pub(super) async fn turn(&self, place: &Place) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        let sink = Sink::start(place.clock, Keep::Everything).await?;
        // What the target itself can take, from a client that does nothing else.
        let second = Seconds::try_from(1.0).map_err(anyhow::Error::msg)?;
        let alone = closed(place, sink.address(), self.connections as usize, second, 0).await?;
        let alone = alone.rate();
        let before = sink.count();
        sink.take();

        let targets = Targets::unlimited(sink.address());
        let targets = Targets { max_concurrent: self.connections, ..targets };
        let daemon = place.daemon(&Setup::new(targets)).await?;
        daemon.pause(0).await?;
        let requests = self.fill(place, &daemon).await?;
        let device = Device::of(&place.dir);
        let written = device.as_ref().map(Device::written).transpose()?;
        let start = (daemon.stat()?, place.clock.now());
        daemon.resume(0).await?;
        sink.until(before + self.jobs, PATIENCE).await?;
        daemon.until_finished(self.jobs, PATIENCE).await?;
        let end = (daemon.stat()?, place.clock.now());
        let arrivals = Arrivals(sink.take());

        let cpu = end.0.cpu.saturating_sub(start.0.cpu).as_secs_f64();
        let whole = end.1.since(start.1);
        turn.higher("dispatch_per_s", "1/s", arrivals.rate());
        turn.higher("finished_per_s", "1/s", self.jobs as f64 / whole.as_secs_f64());
        turn.info("sink_alone_per_s", "1/s", alone);
        turn.higher("vs_sink", "x", ratio(arrivals.rate(), alone));
        turn.lower("cpu_us", "µs/job", cpu * 1e6 / self.jobs as f64);
        turn.lower("rss_mib", "MiB", end.0.rss as f64 / MIB);
        if let (Some(device), Some(written)) = (device, written) {
            let bytes = device.written()?.saturating_sub(written) as f64;
            turn.lower("disk_bytes", "B/job", bytes / self.jobs as f64);
        }
        let metrics = daemon.metrics().await?;
        let commits = metrics.sum("tollgate_store_commit_seconds_count", "");
        turn.info("jobs_per_commit", "jobs", ratio(self.jobs as f64, commits));
        turn.lower("repeats", "jobs", arrivals.repeats() as f64);
        turn.lower("missing", "jobs", arrivals.missing(0..self.jobs) as f64);
        if self.groups > 0 {
            let wrong = arrivals.out_of_order(|number| requests.group(number));
            turn.lower("out_of_order", "jobs", wrong as f64);
        }
        turn.plot(
            "arrivals",
            "seconds",
            "arrivals a second",
            vec![Line { label: "arrivals".into(), points: arrivals.per_second() }],
        );
        daemon.stop()?;
        Ok(turn)
    }

    /// By one connection: the order of the jobs is that of their numbers.
    async fn fill(&self, place: &Place, daemon: &Daemon) -> anyhow::Result<Requests> {
        let mix = Mix { groups: self.groups, ..Mix::default() };
        let requests = Requests::new(mix, Some(1000));
        let load = Load::new(requests.clone(), 1, Pace::Jobs(self.jobs));
        let tally = load.run(place.clock, daemon.data).await?;
        all_taken(&tally, self.jobs)?;
        Ok(requests)
    }
}
