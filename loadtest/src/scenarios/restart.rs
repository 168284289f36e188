//! SIGKILL under load: when is it ready again, and is everything there that was acknowledged?

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::Rate;
use super::{PATIENCE, Place, SECOND};
use crate::arrivals::Arrivals;
use crate::clock::pass;
use crate::daemon::{Setup, Targets};
use crate::jobs::{Mix, Requests};
use crate::load::{Load, Pace, Schedule, Spacing};
use crate::report::{Line, Turn};
use crate::sink::{Keep, Sink};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restart {
    pub(crate) jobs: u64,
    /// Of the target; the limit has to hold across the kill.
    pub(crate) rate: Rate,
    /// Jobs a second that are handed in when it is killed.
    pub(crate) enqueue_per_second: f64,
}

impl Restart {
    pub(super) async fn turn(&self, place: &Place) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        let per_second = self.rate.per_second();
        let sink = Sink::start(place.clock, Keep::Everything).await?;
        let targets = Targets::paced(sink.address(), &self.rate.to_string());
        let mut daemon = place.daemon(&Setup::new(targets)).await?;
        place.fill_plain(&daemon, 0, self.jobs).await?;

        let schedule =
            Schedule::new(self.enqueue_per_second, Duration::from_secs(5), Spacing::Poisson, 1);
        let requests = Requests::new(Mix::default(), None);
        let load = Load::new(requests, 16, Pace::Open(schedule)).from(self.jobs).keeping_acks();
        let (clock, address) = (place.clock, daemon.data);
        let producer = tokio::spawn(async move { load.run(clock, address).await });
        pass(2 * SECOND).await;
        let killed = place.clock.now();
        daemon.crash().await?;
        let tally = producer.await??;
        let acked = self.jobs + tally.taken;
        // All that is left has to arrive; what was under way at the kill arrives twice.
        let patience = PATIENCE + 20 * self.rate.interval();
        sink.until(acked, patience).await?;
        pass(SECOND).await;
        let all = Arrivals(sink.take());

        let numbers = (0..self.jobs).chain(tally.acks.iter().map(|ack| ack.number));
        turn.lower("lost", "jobs", all.missing(numbers) as f64);
        turn.info("acknowledged", "jobs", acked as f64);
        turn.lower("repeats", "jobs", all.repeats() as f64);
        turn.lower("ready_ms", "ms", daemon.ready_after.as_secs_f64() * 1000.0);
        let first = all.0.iter().find(|a| a.at >= killed.plus(daemon.ready_after / 2));
        if let Some(first) = first {
            turn.lower("first_arrival_ms", "ms", first.at.since(killed).as_secs_f64() * 1000.0);
        }
        let over = all.most_in(SECOND) as f64 - per_second.ceil();
        turn.lower("over_the_limit", "jobs", over.max(0.0));
        turn.info("requests_cut_off", "requests", tally.broken as f64);
        let line = Line { label: "arrivals".into(), points: all.per_second() };
        turn.plot("arrivals", "seconds", "arrivals a second", vec![line]);
        daemon.stop()?;
        Ok(turn)
    }
}
