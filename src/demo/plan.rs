//! Which jobs the demo brings, and when: a trickle of HIGH, a stream of NORMAL, bursts of BATCH,
//! and a few synchronous calls. Decided beforehand from a seed.

use std::time::Duration;

use super::fragile_api::{Fragility, NOWHERE};
use super::rng::Rng;
use crate::broker::job::Priority;
use crate::config::Target;

/// Something that a producer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// One job by `/v1/jobs`.
    Submit { priority: Priority, order: Order },
    /// The same job twice under one `dedup_id`.
    SubmitTwice { priority: Priority, order: Order },
    /// Many jobs by `/v1/jobs/batch`; as lines (NDJSON) or as an array.
    Burst { priority: Priority, orders: Vec<Order>, lines: bool },
    /// A call through the sidecar proxy that waits for its answer.
    Call { priority: Priority, order: Order },
}

/// What a job is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Unique within a demo.
    pub(super) number: u64,
    pub(super) path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// From the beginning of the act.
    pub(super) at: Duration,
    pub(super) deed: Deed,
}

/// When to bring how much. One act after the other; without an end the last one is played again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// How long an act is.
    pub(super) act: Duration,
    /// How many jobs an act brings.
    pub(super) jobs: u64,
    pub(super) endless: bool,
}

impl Plan {
    /// Of the time of a demo with an end, traffic comes in the first so much.
    const INTAKE: f64 = 0.6;
    /// Of what can be done in the time of a demo with an end, so much is asked. The rest is for
    /// the last retries, and for bad luck.
    const LOAD: f64 = 0.7;
    /// The same for a demo without an end.
    const ENDLESS_LOAD: f64 = 0.85;
    const ENDLESS_ACT: Duration = Duration::from_secs(20);

    pub(super) fn new(duration: Option<Duration>, target: &Target, fragility: &Fragility) -> Plan {
        let capacity = jobs_per_second(target, fragility);
        let seed = fragility.seed;
        let (act, time, endless) = match duration {
            Some(whole) => (whole.mul_f64(Self::INTAKE), whole.mul_f64(Self::LOAD), false),
            None => (Self::ENDLESS_ACT, Self::ENDLESS_ACT.mul_f64(Self::ENDLESS_LOAD), true),
        };
        let jobs = ((capacity * time.as_secs_f64()) as u64).max(5);
        Plan { seed, act, jobs, endless }
    }

    /// The deeds of the `n`th act in the order of their time; `None` after the end.
    pub(super) fn nth_act(&self, n: u64) -> Option<Vec<Planned>> {
        (n == 0 || self.endless).then(|| {
            let mut writer = Writer {
                rng: Rng::nth(self.seed, n),
                next_order: n * self.jobs,
                span: self.act,
                deeds: Vec::new(),
            };
            writer.write(self.jobs);
            writer.deeds.sort_by_key(|planned| planned.at);
            writer.deeds
        })
    }
}

/// How many jobs a second can be brought to their end: by the rate, less the pauses that are
/// asked for, or by the places, less those that hang; shared by all the attempts of a job.
fn jobs_per_second(target: &Target, fragility: &Fragility) -> f64 {
    let failures = fragility.failures;
    let share = |of_thousand: u16| f64::from(of_thousand) / 1000.0;
    let limit = &target.policy.limit;
    let between_starts = 1.0 / limit.rate.per_second()
        + share(failures.unavailable) * fragility.retry_after.as_secs_f64();
    let in_place = fragility.latency.mean().as_secs_f64()
        + share(failures.hung) * target.timeout.as_secs_f64();
    let places = f64::from(limit.max_concurrent.get());
    let attempts_per_second = (1.0 / between_starts).min(places / in_place.max(0.001));
    let well = 1.0 - f64::from(failures.total().min(999)) / 1000.0;
    attempts_per_second * well
}

struct Writer {
    rng: Rng,
    next_order: u64,
    span: Duration,
    deeds: Vec<Planned>,
}

impl Writer {
    /// Of a hundred jobs.
    const HIGH: u64 = 12;
    const BATCH: u64 = 38;
    const CALLS: u64 = 5;
    const BURST: u64 = 25;

    fn write(&mut self, jobs: u64) {
        let part = |of_hundred: u64| (jobs * of_hundred / 100).max(1);
        let (high, batch, calls) = (part(Self::HIGH), part(Self::BATCH), part(Self::CALLS));
        let normal = jobs.saturating_sub(high + batch + calls).max(1);
        self.bursts(batch);
        for _ in 0..high {
            let order = self.order();
            self.somewhen(Deed::Submit { priority: Priority::High, order });
        }
        for n in 0..normal {
            let order = self.order();
            let priority = Priority::Normal;
            self.somewhen(match n % 20 {
                7 => Deed::SubmitTwice { priority, order },
                _ => Deed::Submit { priority, order },
            });
        }
        for n in 0..calls {
            let order = self.order();
            let priority = if n % 2 == 0 { Priority::High } else { Priority::Normal };
            self.somewhen(Deed::Call { priority, order });
        }
    }

    /// Evenly spread, the first one at the start, so that HIGH finds something to pass.
    fn bursts(&mut self, jobs: u64) {
        let count = jobs.div_ceil(Self::BURST);
        let (each, one_more) = (jobs / count, jobs % count);
        for n in 0..count {
            let orders = (0..each + u64::from(n < one_more)).map(|_| self.order()).collect();
            let at = self.span.mul_f64(n as f64 / count as f64);
            let deed = Deed::Burst { priority: Priority::Batch, orders, lines: n % 2 == 1 };
            self.deeds.push(Planned { at, deed });
        }
    }

    fn somewhen(&mut self, deed: Deed) {
        let at = self.rng.within(self.span);
        self.deeds.push(Planned { at, deed });
    }

    fn order(&mut self) -> Order {
        let number = self.next_order;
        self.next_order += 1;
        // A few ask for what there is not, and die of it at once.
        let path = match self.rng.below(60) {
            0 => format!("{NOWHERE}/{number}"),
            _ => format!("/orders/{number}"),
        };
        Order { number, path }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::auditor::SECOND;
    use super::super::stage;
    use super::*;

    fn orders(deed: &Deed) -> Vec<u64> {
        match deed {
            Deed::Burst { orders, .. } => orders.iter().map(|order| order.number).collect(),
            Deed::Submit { order, .. }
            | Deed::SubmitTwice { order, .. }
            | Deed::Call { order, .. } => vec![order.number],
        }
    }

    fn plan(duration: Option<Duration>) -> Plan {
        let limit = stage::tests::limit(20, SECOND, 1);
        let target = stage::tests::target(limit.clone());
        Plan::new(duration, &target, &stage::fragility(&limit, 1))
    }

    #[test]
    fn the_estimate_knows_what_holds_a_target_back() {
        let limit = stage::tests::limit(20, SECOND, 1);
        let target = stage::tests::target(limit.clone());
        // 50 ms a token and 10 ms a request for the pauses; three of ten go wrong.
        let held = jobs_per_second(&target, &stage::fragility(&limit, 1));
        assert!((held - 0.7 / 0.06).abs() < 1e-9, "{held}");
        assert!((jobs_per_second(&target, &Fragility::SOUND) - 20.0).abs() < 1e-9);
        // Four places of half a second each.
        let slow = super::super::fragile_api::Latency::Fixed(SECOND / 2);
        let slow = Fragility { latency: slow, ..Fragility::SOUND };
        assert!((jobs_per_second(&target, &slow) - 8.0).abs() < 1e-9);
    }

    #[test]
    fn an_act_brings_its_jobs_in_order_and_in_time() {
        let plan = plan(Some(Duration::from_secs(30)));
        assert_eq!(plan.act, Duration::from_secs(18));
        let act = plan.nth_act(0).unwrap();
        assert_eq!(
            act.iter().map(|planned| orders(&planned.deed).len() as u64).sum::<u64>(),
            plan.jobs
        );
        assert!(act.is_sorted_by_key(|planned| planned.at));
        assert!(act.iter().all(|planned| planned.at < plan.act));
        assert_eq!(act, plan.nth_act(0).unwrap());
        assert_eq!(plan.nth_act(1), None);
        for wanted in [
            |deed: &Deed| matches!(deed, Deed::Submit { priority: Priority::High, .. }),
            |deed: &Deed| matches!(deed, Deed::Submit { priority: Priority::Normal, .. }),
            |deed: &Deed| matches!(deed, Deed::SubmitTwice { .. }),
            |deed: &Deed| matches!(deed, Deed::Burst { lines: true, .. }),
            |deed: &Deed| matches!(deed, Deed::Burst { lines: false, .. }),
            |deed: &Deed| matches!(deed, Deed::Call { .. }),
        ] {
            assert!(act.iter().any(|planned| wanted(&planned.deed)));
        }
    }

    #[test]
    fn the_shortest_demo_still_has_some_of_each() {
        let act = plan(Some(Duration::ZERO)).nth_act(0).unwrap();
        let priorities: BTreeSet<Priority> = act
            .iter()
            .map(|planned| match &planned.deed {
                Deed::Submit { priority, .. }
                | Deed::SubmitTwice { priority, .. }
                | Deed::Burst { priority, .. }
                | Deed::Call { priority, .. } => *priority,
            })
            .collect();
        assert_eq!(priorities.len(), 3);
    }

    #[test]
    fn without_an_end_each_act_is_another_and_orders_are_unique() {
        let plan = plan(None);
        let brought = |n| -> Vec<u64> {
            plan.nth_act(n).unwrap().iter().flat_map(|planned| orders(&planned.deed)).collect()
        };
        let (first, second) = (brought(0), brought(1));
        assert_eq!((first.len() as u64, second.len() as u64), (plan.jobs, plan.jobs));
        let distinct: BTreeSet<u64> = first.iter().chain(&second).copied().collect();
        assert_eq!(distinct.len() as u64, 2 * plan.jobs);
    }
}
