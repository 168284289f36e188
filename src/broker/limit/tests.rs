//! Limits together: over restarts, over reloads, with others.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::broker::payload::Close;
use crate::broker::policy::{Ceilings, Limit, Pace, Reserve};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const A: TargetId = TargetId(1);
const B: TargetId = TargetId(2);

fn many(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn rate(count: u32, per: Duration) -> Rate {
    Rate::new(many(count), per).unwrap()
}

/// Fast, wide, and with these windows.
fn windows(windows: &[Rate]) -> Bounds {
    let limit = Limit::plain(rate(1_000, SECOND), many(1_000), many(1_000));
    let ceilings = Ceilings { windows: windows.to_vec(), ..Ceilings::default() };
    Limit { ceilings, hold_after_timeout: SECOND, ..limit }.bounds()
}

struct World {
    limits: Limits,
    /// As the store has it.
    spent: BTreeMap<(LimitId, Account2), u64>,
    now: Mono,
}

/// Any time of day.
fn at(mono: Mono) -> Now {
    Now { mono, wall: crate::broker::time::Wall::from_millis(1_700_000_000_000) }
}

type Account2 = crate::broker::change::Account;

impl World {
    fn new(a: Bounds) -> World {
        let now = Mono::from_nanos(5_000_000_000);
        let mut world = World {
            limits: Limits::new(Lived::default(), Vec::new(), now),
            spent: BTreeMap::new(),
            now,
        };
        world.configure(vec![(A, a, Vec::new())], Vec::new());
        world
    }

    fn configure(
        &mut self,
        own: Vec<(TargetId, Bounds, Vec<LimitName>)>,
        shared: Vec<(LimitName, Bounds)>,
    ) {
        let own = own.into_iter().map(|(id, bounds, shares)| (id, (bounds, shares)));
        let own = own.collect();
        let (spent, _) = self.limits.configure(own, shared.into_iter().collect(), at(self.now));
        self.write(spent);
    }

    fn write(&mut self, spent: Vec<Spent>) {
        for Spent { limit, account, count } in spent {
            match count {
                0 => self.spent.remove(&(limit, account)),
                count => self.spent.insert((limit, account), count),
            };
        }
    }

    /// Starts what can be, and ends it at once; says how many.
    fn drain(&mut self, id: TargetId, priority: Priority, close: Close) -> usize {
        let mut count = 0;
        while self.limits.room(id, priority, at(self.now)).is_ok() {
            let reserved = self.limits.reserve(id);
            let spent = self.limits.ended(id, &reserved, at(self.now), close);
            self.write(spent);
            count += 1;
            assert!(count < 100_000, "there is no end to it");
        }
        count
    }

    fn restart(&mut self, lived: Lived, bounds: Bounds) {
        let spent = self.spent.iter().map(|((limit, account), count)| Spent {
            limit: limit.clone(),
            account: *account,
            count: *count,
        });
        self.now = Mono::from_nanos(77);
        self.limits = Limits::new(lived, spent.collect(), self.now);
        self.configure(vec![(A, bounds, Vec::new())], Vec::new());
    }
}

#[test]
fn what_was_spent_is_known_after_a_restart_and_forgotten_in_time() {
    let bounds = windows(&[rate(10, 60 * SECOND), rate(2_000, 3_600 * SECOND)]);
    let mut world = World::new(bounds.clone());
    assert_eq!(world.drain(A, Priority::High, Close::Whole), 10);
    let lived = world.limits.lived(world.now);
    world.restart(lived + 59 * SECOND, bounds.clone());
    assert_eq!(world.drain(A, Priority::High, Close::Whole), 0);
    world.now = world.now + 2 * SECOND;
    assert_eq!(world.drain(A, Priority::High, Close::Whole), 10);
    world.restart(lived + 2 * 3_610 * SECOND, bounds);
    assert!(world.spent.is_empty(), "{:?}", world.spent);
}

#[test]
fn a_window_of_another_width_knows_what_the_old_one_knew() {
    let mut world = World::new(windows(&[rate(10, 60 * SECOND)]));
    assert_eq!(world.drain(A, Priority::High, Close::Whole), 10);
    world.configure(vec![(A, windows(&[rate(12, 30 * SECOND)]), vec![])], vec![]);
    assert_eq!(world.drain(A, Priority::High, Close::Whole), 2);
    world.configure(vec![(A, windows(&[rate(15, 3_600 * SECOND)]), vec![])], vec![]);
    assert_eq!(world.drain(A, Priority::High, Close::Whole), 3);
    let widths = world.spent.keys().map(|(_, account)| match account {
        Account2::Window { per, .. } => *per,
        other => panic!("{other:?}"),
    });
    assert!(widths.eq(world.spent.keys().map(|_| 3_600 * SECOND)), "only what is in force");
    let lived = world.limits.lived(world.now);
    world.restart(lived, windows(&[rate(15, 3_600 * SECOND)]));
    assert_eq!(world.drain(A, Priority::High, Close::Whole), 0);
}

#[test]
fn a_step_of_a_wide_window_blocks_a_narrow_one_no_longer_than_it_must() {
    let day = 86_400 * SECOND;
    let mut world = World::new(windows(&[rate(5_000, day)]));
    for _ in 0..100 {
        let reserved = world.limits.reserve(A);
        world.limits.ended(A, &reserved, at(world.now), Close::Whole);
    }
    world.configure(vec![(A, windows(&[rate(100, SECOND)]), vec![])], vec![]);
    assert!(world.limits.room(A, Priority::High, at(world.now)).is_err());
    world.now = world.now + SECOND + 2 * MS;
    assert_eq!(world.drain(A, Priority::High, Close::Whole), 100);
}

#[test]
fn a_target_that_was_gone_comes_back_with_what_it_had_spent() {
    let bounds = windows(&[rate(10, 60 * SECOND)]);
    let mut world = World::new(bounds.clone());
    assert_eq!(world.drain(A, Priority::High, Close::Whole), 10);
    world.configure(vec![], vec![]);
    world.configure(vec![(A, bounds, vec![])], vec![]);
    assert_eq!(world.drain(A, Priority::High, Close::Whole), 0);
}

#[test]
fn the_last_share_is_for_high() {
    let mut bounds = windows(&[rate(10, 60 * SECOND)]);
    bounds.ceilings.reserve_high = Reserve::new(0.25).unwrap();
    let mut world = World::new(bounds);
    assert_eq!(world.drain(A, Priority::Batch, Close::Whole), 8);
    assert_eq!(world.drain(A, Priority::Normal, Close::Whole), 0);
    assert_eq!(world.drain(A, Priority::High, Close::Whole), 2);
}

#[test]
fn a_request_that_timed_out_keeps_its_place_over_restarts() {
    let mut bounds = windows(&[]);
    bounds.max_concurrent = Some(many(2));
    let mut world = World::new(bounds.clone());
    assert_eq!(world.drain(A, Priority::High, Close::GivenUp), 2);
    let until = world.limits.room(A, Priority::High, at(world.now)).unwrap_err().until.unwrap();
    assert!(until > world.now + SECOND && until < world.now + SECOND + 3 * MS);
    let lived = world.limits.lived(world.now);
    world.restart(lived + 900 * MS, bounds);
    assert!(world.limits.room(A, Priority::High, at(world.now)).is_err());
    world.now = world.now + 103 * MS;
    assert_eq!(world.drain(A, Priority::High, Close::GivenUp), 2);
}

#[test]
fn all_limits_or_none() {
    let shared = LimitName::new("mainframe");
    let mut world = World::new(windows(&[]));
    let place = |count| Bounds { pace: None, max_concurrent: Some(many(count)), ..windows(&[]) };
    let narrow = Bounds { max_concurrent: Some(many(3)), ..windows(&[]) };
    world.configure(
        vec![(A, narrow.clone(), vec![shared.clone()]), (B, narrow, vec![shared.clone()])],
        vec![(shared.clone(), place(4))],
    );
    let mut held = Vec::new();
    for (id, count) in [(A, 3), (B, 1)] {
        for _ in 0..count {
            assert_eq!(world.limits.room(id, Priority::Batch, at(world.now)), Ok(()));
            held.push(world.limits.reserve(id));
        }
    }
    let own = world.limits.room(A, Priority::Batch, at(world.now)).unwrap_err();
    assert_eq!((own.on, own.limit), (BlockedOn::Concurrency, None));
    let others = world.limits.room(B, Priority::Batch, at(world.now)).unwrap_err();
    assert_eq!((others.on, others.limit), (BlockedOn::Concurrency, Some(shared)));
    world.limits.put_back(A, &held[0]);
    assert_eq!(world.limits.room(B, Priority::Batch, at(world.now)), Ok(()));
    assert_eq!(&*world.limits.peers(A), [A, B]);
}

#[test]
fn who_joins_a_limit_brings_what_is_under_way() {
    let shared = LimitName::new("mainframe");
    let mut world = World::new(windows(&[]));
    let flight = world.limits.reserve(A);
    let one = Bounds { pace: None, max_concurrent: Some(many(1)), ..windows(&[]) };
    world.configure(
        vec![(A, windows(&[]), vec![shared.clone()]), (B, windows(&[]), vec![shared.clone()])],
        vec![(shared, one)],
    );
    let flight = world.limits.adopt(A, &flight);
    assert!(world.limits.room(B, Priority::High, at(world.now)).is_err());
    world.limits.ended(A, &flight, at(world.now), Close::Whole);
    assert_eq!(world.limits.room(B, Priority::High, at(world.now)), Ok(()));
}

#[test]
fn those_who_share_with_each_other_by_a_third_are_peers() {
    let names = ["x", "y"].map(LimitName::new);
    let mut world = World::new(windows(&[]));
    let (c, d) = (TargetId(3), TargetId(4));
    world.configure(
        vec![
            (A, windows(&[]), vec![names[0].clone()]),
            (B, windows(&[]), names.to_vec()),
            (c, windows(&[]), vec![names[1].clone()]),
            (d, windows(&[]), vec![]),
        ],
        names.iter().map(|name| (name.clone(), windows(&[]))).collect(),
    );
    assert_eq!(&*world.limits.peers(c), [A, B, c]);
    assert_eq!(&*world.limits.peers(d), [d]);
    assert!(!world.limits.have_in_common(A, c) && world.limits.have_in_common(A, B));
}

#[test]
fn a_request_that_is_held_up_here_holds_up_the_next() {
    let slow = Pace { rate: rate(100, SECOND), burst: many(1) };
    let mut world = World::new(Bounds { pace: Some(slow), ..windows(&[]) });
    world.now = world.now + SECOND;
    let taken = world.limits.take(A, world.now);
    world.now = world.now + SECOND;
    assert_eq!(world.limits.may_leave_at(A, world.now), None);
    world.limits.left(A, &taken, Some(world.now));
    let next = world.limits.tokens(A, world.now, |_| 1).at;
    assert!(next > world.now + 8 * MS, "spaced from when it left");
    assert!(world.limits.may_leave_at(A, world.now).is_some_and(|at| at <= next));
}
