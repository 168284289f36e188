//! How exactly a limit is kept, and how much of it is used, with a backlog behind it.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::units::{Rate, Seconds};
use super::{PATIENCE, Place, SECOND, ratio};
use crate::arrivals::Arrivals;
use crate::clock::pass;
use crate::daemon::{Setup, Targets};
use crate::jobs::{Mix, Requests};
use crate::load::{Load, Pace, Schedule, Spacing};
use crate::machine::cores;
use crate::report::{Line, Turn};
use crate::sink::{Keep, Sink};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pacing {
    /// "50/s"
    pub(crate) rate: Rate,
    pub(crate) seconds: Seconds,
    /// Jobs a second that are handed in meanwhile; 0: none.
    pub(crate) enqueue_beside: f64,
}

/// Connections of the load beside; enough for it to be handed in while each answer waits for a
/// commit.
const BESIDE: usize = 128;

impl Pacing {
    pub(super) async fn turn(&self, place: &Place) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        let per_second = self.rate.per_second();
        let time = self.seconds.time();
        let sink = Sink::start(place.clock, Keep::Everything).await?;
        let targets = Targets::paced(sink.address(), &self.rate.to_string());
        let daemon = place.daemon(&Setup::new(targets)).await?;
        daemon.pause(0).await?;
        // Enough that the queue is never empty.
        let jobs = (per_second * (self.seconds.count() + 4.0)).ceil() as u64;
        place.fill_plain(&daemon, 0, jobs).await?;
        daemon.resume(0).await?;
        sink.until(1, PATIENCE).await?;
        // The start is not what is measured: connections are opened.
        pass(SECOND.min(time / 5)).await;
        let before = (daemon.stat()?, place.clock.now());
        if self.enqueue_beside > 0.0 {
            let schedule = Schedule::new(self.enqueue_beside, time, Spacing::Poisson, 1);
            let requests = Requests::new(Mix::default(), None);
            let load = Load::new(requests, BESIDE, Pace::Open(schedule)).from(jobs);
            let tally = load.run(place.clock, daemon.data).await?;
            turn.answers("the load beside", &tally, &[]);
            turn.higher("beside_per_s", "1/s", tally.rate());
            turn.lower("beside_p99_ms", "ms", tally.latencies.ms(0.99));
        } else {
            pass(time).await;
        }
        let after = (daemon.stat()?, place.clock.now());
        let all = Arrivals(sink.take());
        let during = all.0.iter().filter(|a| a.at >= before.1 && a.at < after.1).copied();
        let arrivals = Arrivals(during.collect());
        ensure!(arrivals.len() > 2, "only {} jobs arrived", arrivals.len());

        // By the whole run, its start included: a limit has no time off.
        let allowed = per_second.ceil();
        let most = all.most_in(SECOND) as f64;
        turn.lower("over_the_limit", "jobs", (most - allowed).max(0.0));
        turn.info("most_in_a_second", "jobs", most);
        turn.higher("use", "%", 100.0 * ratio(arrivals.rate(), per_second));
        let errors = arrivals.spacing_errors(self.rate.interval());
        turn.lower("spacing_p50_ms", "ms", errors.ms(0.5));
        turn.lower("spacing_p99_ms", "ms", errors.ms(0.99));
        turn.lower("spacing_most_ms", "ms", errors.longest_ms());
        let cpu = after.0.cpu.saturating_sub(before.0.cpu);
        turn.lower("cpu_us", "µs/job", cpu.as_secs_f64() * 1e6 / arrivals.len() as f64);
        turn.lower("cpu_cores", "%", 100.0 * cores(cpu, after.1.since(before.1)));
        turn.lower("repeats", "jobs", all.repeats() as f64);
        let points = all.per_second();
        let limit = points.iter().map(|(second, _)| (*second, per_second)).collect();
        turn.plot(
            "arrivals",
            "seconds",
            "arrivals a second",
            vec![
                Line { label: "arrivals".into(), points },
                Line { label: "limit".into(), points: limit },
            ],
        );
        turn.latencies("distance from the interval", &errors);
        daemon.stop()?;
        Ok(turn)
    }
}
