//! Many times more jobs than a target can bear: some are turned away, clearly; the rest is kept.

use serde::{Deserialize, Serialize};

use super::units::{Rate, Seconds};
use super::{MIB, PATIENCE, Place, SECOND};
use crate::arrivals::Arrivals;
use crate::daemon::{Setup, Targets};
use crate::jobs::{Mix, Requests};
use crate::load::{Load, Pace, Schedule, Spacing};
use crate::report::{Line, Turn};
use crate::sink::{Keep, Sink};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Overload {
    /// Of the target.
    pub(crate) rate: Rate,
    /// So many times the rate is handed in.
    pub(crate) times: f64,
    pub(crate) max_queued: u64,
    pub(crate) seconds: Seconds,
}

const FULL: u16 = 429;

impl Overload {
    pub(super) async fn turn(&self, place: &Place) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        let per_second = self.rate.per_second();
        let sink = Sink::start(place.clock, Keep::Everything).await?;
        let targets = Targets::paced(sink.address(), &self.rate.to_string());
        let targets = Targets { max_queued: self.max_queued, ..targets };
        let daemon = place.daemon(&Setup::new(targets)).await?;
        let before = daemon.stat()?;
        let time = self.seconds.time();
        let schedule = Schedule::new(per_second * self.times, time, Spacing::Poisson, 1);
        let requests = Requests::new(Mix { priorities: [1, 8, 1], ..Mix::default() }, None);
        let load = Load::new(requests, 64, Pace::Open(schedule)).keeping_acks();
        let tally = load.run(place.clock, daemon.data).await?;
        let after = daemon.stat()?;
        let depth = daemon.metrics().await?.sum("tollgate_queue_depth", "");
        // What was taken has to arrive, all of it.
        sink.until(tally.taken, PATIENCE).await?;
        let all = Arrivals(sink.take());

        turn.answers("the producers", &tally, &[FULL]);
        let refused = tally.statuses.get(&FULL).copied().unwrap_or(0);
        turn.info("offered_per_s", "1/s", tally.offered as f64 / tally.span.as_secs_f64());
        turn.info("taken", "jobs", tally.taken as f64);
        turn.info("turned_away", "jobs", refused as f64);
        turn.lower("other_answers", "requests", tally.other_than(&[FULL]) as f64);
        let taken = tally.acks.iter().map(|ack| ack.number);
        turn.lower("lost", "jobs", all.missing(taken) as f64);
        turn.lower("repeats", "jobs", all.repeats() as f64);
        turn.lower("waiting_over_max", "jobs", (depth - self.max_queued as f64).max(0.0));
        turn.lower("p99_ms", "ms", tally.latencies.ms(0.99));
        turn.info("generator_lag_p99_ms", "ms", tally.lags.ms(0.99));
        turn.higher("use", "%", 100.0 * all.rate() / per_second);
        // Of the seconds after the last answer to the flood: is it itself again?
        let later = all.0.iter().filter(|arrival| arrival.at > tally.last);
        let later = Arrivals(later.copied().collect());
        turn.higher("use_after", "%", 100.0 * later.rate() / per_second);
        let over = all.most_in(SECOND) as f64 - per_second.ceil();
        turn.lower("over_the_limit", "jobs", over.max(0.0));
        turn.lower("rss_growth_mib", "MiB", (after.rss as f64 - before.rss as f64) / MIB);
        turn.latencies("taken", &tally.latencies);
        let points = all.per_second();
        let limit = points.iter().map(|(second, _)| (*second, per_second)).collect();
        let lines = vec![
            Line { label: "arrivals".into(), points },
            Line { label: "limit".into(), points: limit },
        ];
        turn.plot("arrivals", "seconds", "arrivals a second", lines);
        daemon.stop()?;
        Ok(turn)
    }
}
