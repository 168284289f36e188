//! How the tokens are used, and by whom: worlds without trouble, a backlog without end.

use std::num::NonZeroU32;
use std::time::Duration;

use super::clocks::Moment;
use super::disk::Pace;
use super::rng::Rng;
use super::shape::Shape;
use super::trace::Trace;
use super::world::World;
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
    let to = world.callers.next_ask();
    let wall = world.clocks.now(world.at).wall;
    let shape = world.shape.clone();
    let input = world.callers.submit(to, &mut world.rng, &shape, &[TARGET], wall, count);
    let Input::Submit { to, jobs } = input else { unreachable!("it is a submission") };
    let jobs: Vec<Submission> =
        jobs.into_iter().map(|job| Submission { priority, max_attempts: None, ..job }).collect();
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
