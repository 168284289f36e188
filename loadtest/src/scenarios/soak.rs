//! Steady traffic of every kind against a target that fails, for as long as one likes: memory, the
//! store and open files have to stay as they are; and what a job writes to the disk in all.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate::demo::auditor::{Fate, SECOND};
use tollgate::demo::fragile_api::{FragileApi, Fragility};

use super::units::{Rate, Seconds};
use super::{MIB, Place};
use crate::clock::pass;
use crate::daemon::{Setup, Targets};
use crate::fragile::Share;
use crate::jobs::{Mix, Requests};
use crate::load::{Load, Pace, Schedule, Spacing, Tally};
use crate::machine::Device;
use crate::report::{Line, Turn};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Soak {
    pub(crate) seconds: Seconds,
    /// Of the target.
    pub(crate) rate: Rate,
    /// Part of the rate that is handed in.
    pub(crate) load: f64,
    /// Part of the requests that go wrong at the target.
    pub(crate) failing: f64,
    /// How long an ended job is kept; shorter than the run, or the store has to grow.
    pub(crate) retention_s: u64,
    /// Of the producers.
    pub(crate) connections: usize,
    /// They are opened anew this often.
    pub(crate) churn_s: Seconds,
    pub(crate) mix: Mix,
}

/// One look.
struct Look {
    at: f64,
    rss: f64,
    store: f64,
    files: f64,
}

type Part = fn(&Look) -> f64;

impl Soak {
    pub(super) async fn turn(&self, place: &Place) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        let per_second = self.rate.per_second();
        let failures = Share::of(self.failing).map_err(anyhow::Error::msg)?.failures();
        let api = FragileApi::start(Fragility { failures, ..Fragility::SOUND }).await?;
        let targets = Targets::paced(api.address(), &self.rate.to_string());
        let retention = Duration::from_secs(self.retention_s);
        let daemon = place.daemon(&Setup { retention, ..Setup::new(targets) }).await?;
        let device = Device::of(&place.dir);
        let written = device.as_ref().map(Device::written).transpose()?;
        let start = place.clock.now();
        let mut looks = Vec::new();
        let mut sum: Option<Tally> = None;
        let mut first = 0;
        while place.clock.now().since(start).as_secs_f64() < self.seconds.count() {
            let time = self.churn_s.time();
            let schedule = Schedule::new(per_second * self.load, time, Spacing::Poisson, 1 + first);
            let requests = Requests::new(self.mix.clone(), None);
            let load = Load::new(requests, self.connections, Pace::Open(schedule)).from(first);
            let tally = load.run(place.clock, daemon.data).await?;
            first += 1_000_000;
            match &mut sum {
                Some(sum) => sum.then(tally),
                None => sum = Some(tally),
            }
            let stat = daemon.stat()?;
            looks.push(Look {
                at: place.clock.now().since(start).as_secs_f64(),
                rss: stat.rss as f64 / MIB,
                store: daemon.store_size() as f64 / MIB,
                files: stat.files as f64,
            });
        }
        let taken = sum.as_ref().map_or(0, |sum| sum.taken);
        // The last jobs end, retries and all; what is left is said.
        let mut ended = 0.0;
        for _ in 0..20 {
            ended = daemon.metrics().await?.sum("tollgate_jobs_finished_total", "");
            if ended >= taken as f64 {
                break;
            }
            pass(Duration::from_secs(1)).await;
        }
        turn.info("jobs", "jobs", taken as f64);
        turn.info("not_ended", "jobs", (taken as f64 - ended).max(0.0));
        if let Some(sum) = &sum {
            turn.answers("the producers", sum, &[]);
            turn.lower("other_answers", "requests", sum.other_than(&[]) as f64);
            turn.lower("p99_ms", "ms", sum.latencies.ms(0.99));
            turn.latencies("taken", &sum.latencies);
        }
        if let (Some(device), Some(written)) = (device, written) {
            let bytes = device.written()?.saturating_sub(written) as f64;
            turn.lower("disk_bytes", "B/job", bytes / taken.max(1) as f64);
            let mean = self.mix.sizes.iter().sum::<usize>() as f64 / self.mix.sizes.len() as f64;
            turn.lower("disk_vs_size", "x", bytes / taken.max(1) as f64 / mean);
        }
        let most = api.auditor().read(|books| {
            turn.info("attempts", "requests", books.total() as f64);
            turn.info("done", "requests", books.count(Fate::Done) as f64);
            turn.lower("faults", "requests", books.fault_count() as f64);
            books.most_within(SECOND)
        });
        turn.lower("over_the_limit", "jobs", (most as f64 - per_second.ceil()).max(0.0));
        self.growth(&mut turn, &looks);
        daemon.stop()?;
        Ok(turn)
    }

    /// The last third beside the middle one: the first is the start.
    fn growth(&self, turn: &mut Turn, looks: &[Look]) {
        let third = looks.len() / 3;
        let most = |part: &[Look], of: Part| part.iter().map(of).fold(0.0, f64::max);
        let parts: [(&str, &str, Part); 3] = [
            ("rss", "MiB", |look| look.rss),
            ("store", "MiB", |look| look.store),
            ("files", "files", |look| look.files),
        ];
        for (name, unit, of) in parts {
            turn.lower(format!("{name}_most"), unit, most(looks, of));
            if third > 0 {
                let (middle, last) = (&looks[third..2 * third], &looks[2 * third..]);
                let growth = most(last, of) / most(middle, of).max(f64::MIN_POSITIVE);
                turn.lower(format!("{name}_growth"), "x", growth);
            }
        }
        let points = |of: Part| looks.iter().map(|look| (look.at, of(look))).collect();
        let lines = vec![
            Line { label: "RSS".into(), points: points(|look| look.rss) },
            Line { label: "store".into(), points: points(|look| look.store) },
        ];
        turn.plot("soak", "seconds", "MiB", lines);
    }
}
