//! Very many targets, of which nearly all do nothing: does the busy one pay for them?

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{Rate, Seconds};
use super::{MIB, PATIENCE, Place, ratio};
use crate::clock::pass;
use crate::daemon::{Setup, Targets as Config};
use crate::jobs::Mix;
use crate::report::Turn;
use crate::sink::{Keep, Sink};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Targets {
    pub(crate) targets: u32,
    /// What they are compared with.
    pub(crate) few: u32,
    pub(crate) jobs_each: u64,
    /// Of the one target that is busy.
    pub(crate) rate: Rate,
    pub(crate) seconds: Seconds,
}

struct Found {
    cpu_us: f64,
    rss: f64,
    ready: Duration,
    scrape_ms: f64,
}

impl Targets {
    pub(super) async fn turn(&self, place: &Place) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        let few = self.with(place, self.few).await?;
        let many = self.with(place, self.targets).await?;
        turn.lower("rss_mib", "MiB", many.rss);
        turn.info("rss_few_mib", "MiB", few.rss);
        turn.lower("busy_cpu_us", "µs/job", many.cpu_us);
        turn.info("busy_cpu_few_us", "µs/job", few.cpu_us);
        turn.lower("busy_cpu_many_vs_few", "x", ratio(many.cpu_us, few.cpu_us));
        turn.lower("ready_ms", "ms", many.ready.as_secs_f64() * 1000.0);
        turn.lower("metrics_ms", "ms", many.scrape_ms);
        Ok(turn)
    }

    /// The first target is busy; the others may send once a day.
    async fn with(&self, place: &Place, count: u32) -> anyhow::Result<Found> {
        let per_second = self.rate.per_second();
        let sink = Sink::start(place.clock, Keep::Count).await?;
        let busy = Config::paced(sink.address(), &self.rate.to_string());
        let idle = Config { count: count - 1, rate: "1/d".into(), ..busy.clone() };
        let mut setup = Setup::new(busy);
        setup.targets.push(idle);
        let mut daemon = place.daemon(&setup).await?;
        daemon.pause(0).await?;
        let mix = Mix { targets: count, ..Mix::default() };
        place.fill(&daemon, mix, 0, u64::from(count) * self.jobs_each).await?;
        let jobs = (per_second * (self.seconds.count() + 3.0)) as u64;
        place.fill_plain(&daemon, 10_000_000_000, jobs).await?;
        // With everything in it, as after a crash.
        daemon.crash().await?;
        daemon.resume(0).await?;
        sink.until(1, PATIENCE).await?;
        pass(Duration::from_secs(1)).await;
        let before = (daemon.stat()?, sink.count());
        pass(self.seconds.time()).await;
        let after = (daemon.stat()?, sink.count());
        let scrape = place.clock.now();
        daemon.metrics().await?;
        let scrape_ms = place.clock.now().since(scrape).as_secs_f64() * 1000.0;
        let cpu = after.0.cpu.saturating_sub(before.0.cpu).as_secs_f64();
        let sent = after.1.saturating_sub(before.1).max(1);
        let ready = daemon.ready_after;
        daemon.stop()?;
        let cpu_us = cpu * 1e6 / sent as f64;
        Ok(Found { cpu_us, rss: after.0.rss as f64 / MIB, ready, scrape_ms })
    }
}
