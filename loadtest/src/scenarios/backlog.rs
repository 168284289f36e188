//! Very many waiting jobs: what they cost in memory and on disk, and whether anything gets slower.

use serde::{Deserialize, Serialize};

use super::units::Seconds;
use super::{MIB, PATIENCE, Place, closed, ratio};
use crate::arrivals::Arrivals;
use crate::daemon::{Daemon, Setup, Targets};
use crate::report::{Line, Turn};
use crate::sink::{Keep, Sink};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Backlog {
    pub(crate) jobs: u64,
    /// For each measurement of a rate.
    pub(crate) seconds: Seconds,
}

/// Of one point of time.
struct Rates {
    enqueue: f64,
    dispatch: f64,
}

/// What is let go by a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    All,
    /// The warm-up included, more or less.
    AsMuchAsCame,
}

/// Points of the curves of memory and disk.
const STEPS: u64 = 20;
/// Jobs of the probes are numbered from here on.
const PROBES: u64 = 100_000_000_000;

impl Backlog {
    pub(super) async fn turn(&self, place: &Place) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        let sink = Sink::start(place.clock, Keep::Everything).await?;
        let mut daemon = place.daemon(&Setup::new(Targets::unlimited(sink.address()))).await?;
        daemon.pause(0).await?;
        let empty = self.probe(place, &sink, &daemon, PROBES, Goes::All).await?;

        let (mut rss, mut disk) = (Vec::new(), Vec::new());
        let start = place.clock.now();
        let mut most_rss: f64 = 0.0;
        for step in 0..=STEPS {
            let (from, to) = (self.jobs * step.saturating_sub(1) / STEPS, self.jobs * step / STEPS);
            let (from, to) = if step == 0 { (0, 0) } else { (from, to) };
            place.fill_plain(&daemon, from, to - from).await?;
            let mib = daemon.stat()?.rss as f64 / MIB;
            most_rss = most_rss.max(mib);
            rss.push((to as f64, mib));
            disk.push((to as f64, daemon.store_size() as f64 / MIB));
        }
        let filled_in = place.clock.now().since(start).as_secs_f64();
        let size = daemon.store_size() as f64;
        let full = self.probe(place, &sink, &daemon, 2 * PROBES, Goes::AsMuchAsCame).await?;
        daemon.crash().await?;

        turn.lower("rss_mib", "MiB", most_rss);
        turn.lower("rss_after_restart_mib", "MiB", daemon.stat()?.rss as f64 / MIB);
        turn.lower("ready_after_kill_s", "s", daemon.ready_after.as_secs_f64());
        turn.higher("fill_per_s", "1/s", self.jobs as f64 / filled_in.max(1e-9));
        turn.info("enqueue_empty_per_s", "1/s", empty.enqueue);
        turn.higher("enqueue_full_per_s", "1/s", full.enqueue);
        turn.higher("enqueue_full_vs_empty", "x", ratio(full.enqueue, empty.enqueue));
        turn.info("dispatch_empty_per_s", "1/s", empty.dispatch);
        turn.higher("dispatch_full_per_s", "1/s", full.dispatch);
        turn.higher("dispatch_full_vs_empty", "x", ratio(full.dispatch, empty.dispatch));
        turn.lower("disk_mib", "MiB", size / MIB);
        turn.lower("disk_bytes_each", "B/job", size / self.jobs.max(1) as f64);
        let line = |label: &str, points| vec![Line { label: label.into(), points }];
        turn.plot("rss", "jobs waiting", "RSS, MiB", line("RSS", rss));
        turn.plot("disk", "jobs waiting", "store, MiB", line("store", disk));
        Ok(turn)
    }

    /// How fast jobs come in and go out now.
    async fn probe(
        &self,
        place: &Place,
        sink: &Sink,
        daemon: &Daemon,
        first: u64,
        goes: Goes,
    ) -> anyhow::Result<Rates> {
        let tally = closed(place, daemon.data, 64, self.seconds, first).await?;
        sink.take();
        let before = sink.count();
        let waiting = daemon.metrics().await?.sum("tollgate_queue_depth", "") as u64;
        let goal = match goes {
            Goes::All => waiting,
            Goes::AsMuchAsCame => (tally.taken * 6 / 5).min(waiting),
        };
        daemon.resume(0).await?;
        sink.until(before + goal, PATIENCE).await?;
        daemon.pause(0).await?;
        let mut arrivals = Arrivals(sink.take());
        arrivals.0.truncate(usize::try_from(goal).unwrap_or(usize::MAX));
        Ok(Rates { enqueue: tally.rate(), dispatch: arrivals.rate() })
    }
}
