use std::time::Duration;

use super::{a_day, few, now, only, rate, schedule, secs, window};
use crate::broker::calendar::Rule;
use crate::broker::forecast::{
    By, Concurrency, Gate, Hold, Limits, Order, Plan, Queued, drained, plan, position, start,
};
use crate::broker::job::Priority;
use crate::broker::time::Wall;

const NONE: Queued = [0; 3];

/// In seconds from now.
fn normal(limits: &Limits, nth: u64) -> f64 {
    let at = start(limits, &NONE, Priority::Normal, nth).expect("it will start");
    at.since(now()).as_secs_f64()
}

fn near(told: f64, expected: f64) {
    assert!((told - expected).abs() <= expected.abs() * 0.001 + 0.01, "{told}, not {expected}");
}

#[test]
fn a_rate_and_a_burst() {
    let mut limits = only(rate(10, 1));
    near(normal(&limits, 1), 0.1);
    near(normal(&limits, 1_000), 100.0);
    limits.bucket.burst = few(20);
    limits.bucket.tokens = 20.0;
    near(normal(&limits, 20), 0.0);
    near(normal(&limits, 21), 0.1);
    near(normal(&limits, 120), 10.0);
}

#[test]
fn a_window_is_filled_and_waited_for() {
    let mut limits = only(rate(10, 1));
    limits.windows = vec![window(100, secs(60))];
    near(normal(&limits, 100), 10.0);
    near(normal(&limits, 101), 60.1);
    near(normal(&limits, 250), 125.0);
    // A slot is free again one window after the end of its attempt.
    limits.concurrency.mean = Some(Duration::from_millis(500));
    near(normal(&limits, 101), 60.6);
    // What was taken before counts.
    limits.concurrency.mean = None;
    limits.windows[0].taken = vec![(now() + secs(30), 60), (now() + secs(50), 40)];
    near(normal(&limits, 1), 30.0);
    near(normal(&limits, 61), 50.0);
    // After a reload more may be taken than there are.
    limits.windows[0].taken = vec![(now() + secs(30), 60), (now() + secs(50), 50)];
    near(normal(&limits, 51), 50.0);
}

#[test]
fn a_window_that_fills_a_million_times_costs_no_million_steps() {
    let mut limits = only(rate(50, 1));
    limits.windows = vec![window(10, secs(1)), window(5_000, secs(3_600))];
    limits.quotas = vec![a_day(100_000, 100_000)];
    // 5,000 in the first 500 s of an hour: 80,000 today, 100,000 on each of nine days, and the
    // last 20,000 in four more hours.
    near(normal(&limits, 1_000_000), (16.0 + 9.0 * 24.0 + 3.0) * 3_600.0 + 500.0);
    // Past ten years nothing is said.
    assert_eq!(start(&limits, &NONE, Priority::Normal, 1_000_000_000), None);
    assert_eq!(start(&limits, &NONE, Priority::Normal, u64::MAX), None);
}

#[test]
fn a_quota_ends_the_day() {
    let mut limits = only(rate(10, 1));
    limits.quotas = vec![a_day(1_000, 100)];
    near(normal(&limits, 100), 10.0);
    let midnight = 16.0 * 3_600.0;
    // The bucket has filled up to one token meanwhile.
    near(normal(&limits, 101), midnight);
    near(normal(&limits, 1_100), midnight + 99.9);
    near(normal(&limits, 1_101), midnight + 86_400.0);
}

#[test]
fn a_closed_window_is_waited_for_and_nothing_reaches_into_it() {
    let mut limits = only(rate(10, 1));
    limits.schedule = schedule(&[("daily 08:01-09:00", Rule::Closed)]);
    near(normal(&limits, 600), 60.0);
    near(normal(&limits, 601), 3_600.0);
    limits.lasting = secs(30);
    near(normal(&limits, 300), 30.0);
    near(normal(&limits, 302), 3_600.1);
    limits.schedule = schedule(&[("daily", Rule::Closed)]);
    assert_eq!(start(&limits, &NONE, Priority::High, 1), None);
}

#[test]
fn a_schedule_sets_the_rate() {
    let mut limits = only(rate(10, 1));
    limits.schedule = schedule(&[("Mon 08:00-08:10", Rule::Rate(rate(1, 1)))]);
    near(normal(&limits, 600), 600.0);
    near(normal(&limits, 1_600), 700.0);
}

#[test]
fn few_places_and_slow_answers() {
    let mut limits = only(rate(10, 1));
    let mean = Some(secs(2));
    limits.concurrency = Concurrency { max: few(4), in_flight: 4, mean };
    near(normal(&limits, 200), 100.0);
    let target = Order { at: now(), priority: Priority::Normal, jobs: 200 };
    assert!(plan(&limits, &NONE, target).phases.iter().any(|phase| phase.by == By::Concurrency));
}

#[test]
fn a_hold_is_waited_for_and_a_pause_is_for_ever() {
    let mut limits = only(rate(10, 1));
    limits.gate = Gate::Until(now() + secs(60), Hold::Breaker);
    near(normal(&limits, 11), 61.0);
    for hold in [Hold::Paused, Hold::Draining, Hold::NotConfigured] {
        limits.gate = Gate::Shut(hold);
        assert_eq!(start(&limits, &NONE, Priority::High, 1), None);
        assert_eq!(drained(&limits, &[0, 1, 0]), [Some(now()), None, Some(now())]);
    }
}

#[test]
fn high_goes_first_and_what_is_kept_for_it_is_kept() {
    let mut limits = only(rate(10, 1));
    let queued = [100, 100, 100];
    let high = position(&limits, &queued, Priority::High, 100);
    let normal = position(&limits, &queued, Priority::Normal, 1);
    let batch = position(&limits, &queued, Priority::Batch, 100);
    assert_eq!((high.position, normal.position, batch.position), (100, 101, 300));
    let seconds = |at: Option<Wall>| at.unwrap().since(now()).as_secs_f64();
    // Every 21st turn is a lower one's, so HIGH takes a tenth longer.
    assert!((10.0..11.5).contains(&seconds(high.estimated_start)), "{high:?}");
    near(seconds(batch.estimated_start), 30.0);
    let [a, b, c] = drained(&limits, &queued);
    assert!(a < b && b < c);

    limits.windows = vec![window(50, secs(60))];
    limits.windows[0].reserve = 10;
    near(seconds(start(&limits, &[0; 3], Priority::Batch, 41)), 60.1);
    near(seconds(start(&limits, &[0; 3], Priority::High, 50)), 5.0);
}

fn planned(limits: &Limits, queued: &Queued, order: Order) -> Plan {
    let plan = plan(limits, queued, order);
    for pair in plan.phases.windows(2) {
        assert!(pair[0].to <= pair[1].from && pair[0].by != pair[1].by, "{:#?}", plan.phases);
    }
    plan
}

#[test]
fn a_plan_says_what_would_wait_and_which_limits_decide() {
    let mut limits = only(rate(10, 1));
    limits.windows = vec![window(100, secs(60))];
    limits.schedule = schedule(&[("daily 10:00-11:00", Rule::Closed)]);
    let order = Order { at: now(), priority: Priority::Normal, jobs: 15_000 };
    let plan = planned(&limits, &[0, 50, 1_000], order);
    let told: Vec<(By, f64)> = plan
        .phases
        .iter()
        .map(|phase| (phase.by, phase.to.since(phase.from).as_secs_f64()))
        .collect();
    // Ten seconds at full speed, then what the window allows; at ten it closes.
    assert!(matches!(told[0].0, By::Rate(_)), "{told:?}");
    assert_eq!(told[1].0, By::Window(0));
    assert!(told[1].1 > 7_000.0, "{told:?}");
    assert!(told.contains(&(By::Closed, 3_600.0)), "{told:?}");
    let jobs: f64 = plan.phases.iter().map(|phase| phase.jobs).sum();
    assert!(jobs > 15_050.0 && jobs < 16_100.0, "{jobs}");
    let [delay] = plan.delays[..] else { panic!("{:?}", plan.delays) };
    assert_eq!((delay.priority, delay.jobs), (Priority::Batch, 1_000));
    assert!(delay.with.unwrap().since(delay.without.unwrap()) > secs(8_000));
    assert!(plan.first < plan.last);
}

#[test]
fn a_plan_for_later_delays_only_what_is_left_then() {
    let limits = only(rate(10, 1));
    let order = Order { at: now() + secs(60), priority: Priority::High, jobs: 1_000 };
    let plan = planned(&limits, &[0, 1_000, 0], order);
    let [delay] = plan.delays[..] else { panic!("{:?}", plan.delays) };
    assert_eq!((delay.priority, delay.jobs), (Priority::Normal, 400));
    near(plan.first.unwrap().since(now()).as_secs_f64(), 60.1);
    near(delay.with.unwrap().since(now()).as_secs_f64(), 200.0);
    // All gone by then: nothing is delayed, and the first starts when it comes.
    let plan = planned(&limits, &[0, 100, 0], order);
    assert_eq!(plan.delays, []);
    near(plan.first.unwrap().since(now()).as_secs_f64(), 60.0);
}

#[test]
fn a_plan_for_a_paused_target_is_that_it_never_starts() {
    let mut limits = only(rate(10, 1));
    limits.gate = Gate::Shut(Hold::Paused);
    let order = Order { at: now(), priority: Priority::High, jobs: 10 };
    let plan = planned(&limits, &[5, 0, 0], order);
    assert_eq!((plan.first, plan.last, plan.delays), (None, None, Vec::new()));
}

#[test]
fn many_phases_are_cut() {
    let mut limits = only(rate(10, 1));
    limits.quotas = vec![a_day(100, 100)];
    let order = Order { at: now(), priority: Priority::Batch, jobs: 10_000 };
    let plan = planned(&limits, &NONE, order);
    assert_eq!(plan.phases.len(), 60);
    assert!((130..150).contains(&plan.more_phases), "{}", plan.more_phases);
    assert_eq!(plan.last.unwrap().since(now()).as_secs() / 86_400, 98);
}
