//! How the tokens are used, and by whom: worlds without trouble, a backlog without end.

use std::num::NonZeroU32;
use std::time::Duration;

use super::clocks::Moment;
use super::disk::Pace;
use super::rng::Rng;
use super::shape::Shape;
use super::trace::Trace;
use super::world::World;
use crate::broker::fair::{FlowKey, Weights};
use crate::broker::io::{Input, Submission, Windows};
use crate::broker::job::{JobId, Priority, TargetId};
use crate::broker::policy::{Limit, Policy, Rate, Retry, Tempo};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DEFERRALS: u32 = 20;
const TARGET: TargetId = TargetId(0);

/// A target that answers, in a world where nothing goes wrong. Commits take up to `commits`.
fn quiet(rate: u32, commits: Duration) -> World {
    let shape = Shape {
        horizon: 3_600 * SECOND,
        windows: Windows::default(),
        pace: Pace { least: MS / 10, most: commits, stalls: None },
        lateness: MS / 5,
        ..Shape::quiet()
    };
    let count = NonZeroU32::new(rate).expect("a rate");
    let policy = Policy {
        limit: Limit::plain(
            Rate::new(count, SECOND).expect("a sane rate"),
            NonZeroU32::MIN,
            NonZeroU32::new(100).expect("a number"),
        ),
        share: Vec::new(),
        tempo: Tempo::default(),
        retry: Retry {
            max_attempts: NonZeroU32::MIN,
            min_backoff: SECOND,
            max_backoff: SECOND,
            max_retry_duration: 3_600 * SECOND,
        },
        max_deferrals: NonZeroU32::new(DEFERRALS).expect("a number"),
        max_queued: u64::MAX,
        outcomes: Default::default(),
        on_group_failure: Default::default(),
        weights: Default::default(),
    };
    let mut world = World::of(shape, Rng::new(u64::from(rate)), None, Trace::default());
    world.config.insert(TARGET, policy);
    run_until(&mut world, Moment::START + MS);
    world
}

fn run_until(world: &mut World, until: Moment) {
    while world.next_at().is_some_and(|next| next <= until) {
        if let Err(violation) = world.step() {
            panic!("{violation}, at {}", world.at);
        }
    }
    world.at = world.at.max(until);
}

/// Returns the first of them.
fn submit(world: &mut World, priority: Priority, count: u64) -> JobId {
    submit_as(world, priority, count, None)
}

/// On the account of `key`.
fn submit_as(world: &mut World, priority: Priority, count: u64, key: Option<&str>) -> JobId {
    let to = world.callers.next_ask();
    let wall = world.clocks.now(world.at).wall;
    let shape = world.shape.clone();
    let input = world.callers.submit(to, &mut world.rng, &shape, &[TARGET], wall, count);
    let Input::Submit { to, jobs } = input else { unreachable!("it is a submission") };
    let flow = key.map(|key| FlowKey::new(key).expect("a key"));
    let as_wanted = |job| Submission { priority, max_attempts: None, flow: flow.clone(), ..job };
    let jobs: Vec<Submission> = jobs.into_iter().map(as_wanted).collect();
    let first = jobs[0].id;
    if let Err(violation) = world.feed(Input::Submit { to, jobs }).and_then(|()| world.rest()) {
        panic!("{violation}");
    }
    first
}

fn left_between(world: &World, from: Moment, to: Moment, priority: Priority) -> usize {
    let left =
        world.departures.iter().filter(|(at, _, of)| (from..to).contains(at) && *of == priority);
    left.count()
}

#[test]
fn hardly_a_token_is_wasted() {
    for rate in [50_u32, 200, 500] {
        let mut world = quiet(rate, 2 * MS);
        submit(&mut world, Priority::Normal, u64::from(rate) * 7);
        let from = world.at + SECOND;
        let to = from + 5 * SECOND;
        run_until(&mut world, to);
        let used = left_between(&world, from, to, Priority::Normal);
        let allowed = rate as usize * 5;
        assert!(used * 100 >= allowed * 99, "{used} of {allowed} at {rate}/s");
    }
}

#[test]
fn high_leaves_within_two_tokens_of_a_long_backlog() {
    let mut world = quiet(50, 2 * MS);
    submit(&mut world, Priority::Batch, 50_000);
    let interval = MS * 20;
    for trial in 0..100 {
        let pause = world.rng.span(100 * MS, 600 * MS);
        let asked = world.at + pause;
        run_until(&mut world, asked);
        let job = submit(&mut world, Priority::High, 1);
        run_until(&mut world, asked + 5 * interval);
        let left = world.departures.iter().find(|(_, other, _)| *other == job);
        let (left, ..) = left.unwrap_or_else(|| panic!("trial {trial}: HIGH did not leave"));
        let waited = left.since(asked);
        assert!(waited <= 2 * interval, "trial {trial}: HIGH waited {waited:?}");
    }
}

#[test]
fn batch_has_its_share_under_a_flood_of_high() {
    // With commits of up to 30 ms some twenty jobs are armed at once.
    for (rate, commits) in [(50_u32, 2 * MS), (500, 2 * MS), (500, 30 * MS)] {
        let mut world = quiet(rate, commits);
        submit(&mut world, Priority::High, u64::from(rate) * 11);
        submit(&mut world, Priority::Batch, u64::from(rate) * 2);
        let from = world.at + SECOND;
        let to = from + 9 * SECOND;
        run_until(&mut world, to);
        let batch = left_between(&world, from, to, Priority::Batch);
        let high = left_between(&world, from, to, Priority::High);
        let share = (batch + high) / (DEFERRALS as usize + 1);
        assert!(batch + 1 >= share, "{batch} BATCH to {high} HIGH at {rate}/s, {commits:?}");
        // One more at either end of the span.
        assert!(batch <= share + 2, "{batch} BATCH to {high} HIGH at {rate}/s, {commits:?}");
    }
}

/// Works off a backlog of `noisy`, one at a time, while others come with one job each. Returns how
/// many requests left from when they came until the last of theirs did.
fn tokens_until_all_went(noisy: Option<&str>, others: u64, weights: Weights) -> usize {
    let mut world = quiet(20, 2 * MS);
    let mut policy = world.config[&TARGET].clone();
    policy.limit.max_concurrent = NonZeroU32::MIN;
    policy.weights = weights;
    world.config.insert(TARGET, policy);
    if let Err(violation) = world.configure().and_then(|()| world.rest()) {
        panic!("{violation}");
    }
    submit_as(&mut world, Priority::Batch, 20_000, noisy);
    let until = world.at + 2 * SECOND;
    run_until(&mut world, until);
    let before = world.departures.len();
    let jobs: Vec<JobId> = (0..others)
        .map(|n| submit_as(&mut world, Priority::Batch, 1, Some(&format!("tenant-{n}"))))
        .collect();
    let until = world.at + 10 * SECOND;
    run_until(&mut world, until);
    let place = |job: &JobId| {
        let place = world.departures[before..].iter().position(|(_, other, _)| other == job);
        place.unwrap_or_else(|| panic!("{job} did not leave within {until}")) + 1
    };
    jobs.iter().map(place).max().unwrap_or(0)
}

#[test]
fn who_has_little_waits_for_a_few_tokens_of_who_has_much() {
    assert!(tokens_until_all_went(Some("noisy"), 50, Weights::default()) <= 52);
    assert!(tokens_until_all_went(None, 50, Weights::default()) <= 52);
    let heavy = (FlowKey::new("noisy").expect("a key"), NonZeroU32::new(10).expect("a number"));
    // A job under way, the round that has begun, and the fifty.
    assert!(tokens_until_all_went(Some("noisy"), 50, Weights::new([heavy])) <= 62);
}

#[test]
fn a_flow_has_as_many_turns_as_its_weight() {
    let mut world = quiet(50, 2 * MS);
    let mut policy = world.config[&TARGET].clone();
    let three = NonZeroU32::new(3).expect("a number");
    policy.weights = Weights::new([(FlowKey::new("heavy").expect("a key"), three)]);
    world.config.insert(TARGET, policy);
    if let Err(violation) = world.configure().and_then(|()| world.rest()) {
        panic!("{violation}");
    }
    let light = submit_as(&mut world, Priority::Normal, 1_000, Some("light"));
    let heavy = submit_as(&mut world, Priority::Normal, 1_000, Some("heavy"));
    let from = world.at + SECOND;
    let until = from + 8 * SECOND;
    run_until(&mut world, until);
    let serial = |job: JobId| job.0 & ((1 << 40) - 1);
    assert!(serial(light) < serial(heavy));
    let late = || world.departures.iter().filter(|(at, ..)| *at >= from);
    let of_heavy = late().filter(|(_, job, _)| serial(*job) >= serial(heavy)).count();
    let (heavy, light) = (of_heavy, late().count() - of_heavy);
    assert!(heavy.abs_diff(3 * light) <= 4, "{heavy} of the heavy one, {light} of the light one");
}
