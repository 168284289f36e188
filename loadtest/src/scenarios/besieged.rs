//! Large batches come as fast as they are taken: small requests, HIGH jobs and the admin address
//! must not wait behind them, nor the limit's tokens go by.

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use tollgate::broker::job::Priority;

use super::units::{Rate, Seconds};
use super::{MIB, Place, SECOND, ratio, some_taken};
use crate::arrivals::Arrivals;
use crate::clock::pass;
use crate::daemon::{Setup, Targets};
use crate::jobs::{Mix, Requests};
use crate::load::{Latencies, Load, Pace, Schedule, Spacing};
use crate::report::Turn;
use crate::sink::{Keep, Sink};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Besieged {
    /// Of the target: "50/s".
    pub(crate) rate: Rate,
    /// By single requests.
    pub(crate) high_per_second: f64,
    /// Callers that hand in BATCH jobs, each its next request once the last one was answered.
    pub(crate) connections: usize,
    /// Jobs in each of their requests.
    pub(crate) batch: usize,
    pub(crate) seconds: Seconds,
}

/// There is no room for what all callers send at once.
const FULL: u16 = 503;
/// The first number of the HIGH jobs; more BATCH jobs are not handed in.
const HIGH: u64 = 500_000_000_000;

impl Besieged {
    pub(super) async fn turn(&self, place: &Place) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        let (per_second, interval) = (self.rate.per_second(), self.rate.interval());
        let sink = Sink::start(place.clock, Keep::Everything).await?;
        let targets = Targets::paced(sink.address(), &self.rate.to_string());
        let daemon = place.daemon(&Setup::new(targets)).await?;
        // Enough that the target has always something to do.
        let backlog = (per_second * (self.seconds.count() + 10.0)).ceil() as u64;
        place.fill(&daemon, Mix::of(Priority::Batch, 1024), 0, backlog).await?;
        let before = daemon.stat()?;

        let time = self.seconds.time();
        let pace = Pace::Time { warm_up: SECOND, measured: time };
        let large = Requests::new(Mix::of(Priority::Batch, 1024), Some(self.batch));
        let siege = Load::new(large, self.connections, pace).from(backlog);
        let small = Requests::new(Mix::of(Priority::High, 1024), None);
        let schedule = Schedule::new(self.high_per_second, time, Spacing::Jittered, 1);
        let high = Load::new(small, 8, Pace::Open(schedule)).from(HIGH).keeping_acks();
        let high = async {
            pass(SECOND).await;
            let from = place.clock.now();
            anyhow::Ok((from, high.run(place.clock, daemon.data).await?, place.clock.now()))
        };
        let looks = async {
            let (end, mut looks) = (place.clock.now().plus(SECOND + time), Latencies::default());
            while place.clock.now() < end {
                let from = place.clock.now();
                daemon.metrics().await?;
                looks.record(place.clock.now().since(from));
                pass(SECOND / 10).await;
            }
            anyhow::Ok(looks)
        };
        let (siege, high, looks) = tokio::join!(siege.run(place.clock, daemon.data), high, looks);
        let (siege, (from, high, to), looks) = (some_taken(siege?)?, high?, looks?);
        let after = daemon.stat()?;
        ensure!(high.other_than(&[]) == 0, "HIGH jobs: {}", high.answers());
        pass(10 * interval).await;

        let all = Arrivals(sink.take());
        let (waits, missing) = all.waits(&high.acks);
        let during = all.0.iter().filter(|arrival| (from..to).contains(&arrival.at)).copied();
        let during = Arrivals(during.collect());
        let interval_ms = interval.as_secs_f64() * 1000.0;
        turn.answers("those with batches", &siege, &[FULL]);
        turn.info("taken_per_s", "1/s", siege.rate());
        turn.lower("other_answers", "requests", siege.other_than(&[FULL]) as f64);
        turn.info("batch_p99_ms", "ms", siege.latencies.ms(0.99));
        turn.higher("use", "%", 100.0 * ratio(during.rate(), per_second));
        let over = all.most_in(SECOND) as f64 - per_second.ceil();
        turn.lower("over_the_limit", "jobs", over.max(0.0));
        turn.lower("high_enqueue_p50_ms", "ms", high.latencies.ms(0.5));
        turn.lower("high_enqueue_p99_ms", "ms", high.latencies.ms(0.99));
        turn.lower("high_wait_p50_intervals", "intervals", waits.ms(0.5) / interval_ms);
        turn.lower("high_wait_p99_intervals", "intervals", waits.ms(0.99) / interval_ms);
        turn.lower("missing", "jobs", missing as f64);
        turn.lower("admin_p50_ms", "ms", looks.ms(0.5));
        turn.lower("admin_p99_ms", "ms", looks.ms(0.99));
        turn.lower("rss_growth_mib", "MiB", (after.rss as f64 - before.rss as f64) / MIB);
        turn.latencies("HIGH, durable enqueue", &high.latencies);
        turn.latencies("HIGH, from its acknowledgement to its arrival", &waits);
        daemon.stop()?;
        Ok(turn)
    }
}
