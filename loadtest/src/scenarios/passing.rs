//! HIGH jobs that come while a backlog of BATCH waits at a slow target.

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use tollgate::broker::job::Priority;

use super::units::{Rate, Seconds};
use super::{MIB, PATIENCE, Place, SECOND};
use crate::arrivals::Arrivals;
use crate::clock::pass;
use crate::daemon::{Setup, Targets};
use crate::jobs::{Mix, Requests};
use crate::load::{Load, Pace, Schedule, Spacing};
use crate::report::Turn;
use crate::sink::{Keep, Sink};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Passing {
    pub(crate) backlog: u64,
    /// "50/s"
    pub(crate) rate: Rate,
    pub(crate) high_per_second: f64,
    pub(crate) seconds: Seconds,
}

impl Passing {
    pub(super) async fn turn(&self, place: &Place) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        let per_second = self.rate.per_second();
        let interval = self.rate.interval();
        let sink = Sink::start(place.clock, Keep::Everything).await?;
        let daemon = place
            .daemon(&Setup::new(Targets::paced(sink.address(), &self.rate.to_string())))
            .await?;
        daemon.pause(0).await?;
        place.fill(&daemon, Mix::of(Priority::Batch, 1024), 0, self.backlog).await?;
        daemon.resume(0).await?;
        sink.until(1, PATIENCE).await?;
        pass(SECOND).await;

        let time = self.seconds.time();
        let schedule = Schedule::new(self.high_per_second, time, Spacing::Jittered, 1);
        let requests = Requests::new(Mix::of(Priority::High, 1024), None);
        let load = Load::new(requests, 4, Pace::Open(schedule)).from(self.backlog).keeping_acks();
        let tally = load.run(place.clock, daemon.data).await?;
        ensure!(tally.other_than(&[]) == 0, "HIGH jobs: {}", tally.answers());
        pass(10 * interval).await;
        let arrivals = Arrivals(sink.take());
        let (waits, missing) = arrivals.waits(&tally.acks);
        let batch = arrivals.0.iter().filter(|a| a.priority == Some(Priority::Batch)).count();
        let interval_ms = interval.as_secs_f64() * 1000.0;
        turn.lower("wait_p50_ms", "ms", waits.ms(0.5));
        turn.lower("wait_p99_ms", "ms", waits.ms(0.99));
        turn.lower("wait_p99_intervals", "intervals", waits.ms(0.99) / interval_ms);
        turn.lower("wait_most_intervals", "intervals", waits.longest_ms() / interval_ms);
        turn.lower("missing", "jobs", missing as f64);
        turn.info("high_jobs", "jobs", tally.acks.len() as f64);
        turn.info("batch_jobs_meanwhile", "jobs", batch as f64);
        turn.higher("use", "%", 100.0 * arrivals.rate() / per_second);
        let over = arrivals.most_in(SECOND) as f64 - per_second.ceil();
        turn.lower("over_the_limit", "jobs", over.max(0.0));
        turn.lower("enqueue_p99_ms", "ms", tally.latencies.ms(0.99));
        turn.lower("rss_mib", "MiB", daemon.stat()?.rss as f64 / MIB);
        turn.latencies("HIGH, from its acknowledgement to its arrival", &waits);
        daemon.stop()?;
        Ok(turn)
    }
}
