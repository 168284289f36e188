//! One limit: a bucket, places, windows; a target's own, or one that several share.

use crate::broker::payload::Close;
use std::time::Duration;

use super::bucket::Bucket;
use super::places::Places;
use super::quota::{Period, QuotaUse};
use super::sliding::Sliding;
use crate::broker::change::Account;
use crate::broker::io::{BlockedOn, LimitView, WindowView};
use crate::broker::policy::{Bounds, HOLD_AFTER_TIMEOUT, LimitId, Pace, Rate};
use crate::broker::time::{Lived, Mono, Wall};

/// What is to be written of a limit, with how much there is now; nought: the row goes.
pub(super) type Entries = Vec<(Account, u64)>;

/// What stands in the way of one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) on: BlockedOn,
    /// `None`: until an attempt ends.
    pub(super) until: Option<Lived>,
    /// The window, where it is one.
    pub(super) window: Option<Rate>,
}

#[derive(Debug, Default)]
pub(super) struct Limiter {
    /// `None`: the configuration does not name it. What was spent is remembered all the same.
    bounds: Option<Bounds>,
    /// As it was when it was last configured.
    hold: Option<Duration>,
    bucket: Option<Bucket>,
    /// As configured; of a limit that is not, those of which something was spent.
    windows: Vec<Sliding>,
    places: Places,
    quota: QuotaUse,
    /// Attempts that are armed or sent.
    under_way: u32,
    /// Let go, and not known to have left this process.
    leaving: u32,
    /// Rows of steps that are over, to go with the next that are written.
    over: Vec<Account>,
}

impl Limiter {
    /// What the last life wrote down.
    pub(super) fn recover(&mut self, account: Account, count: u64) {
        match account {
            Account::Window { per, end } => {
                let known = self.windows.iter().position(|window| window.per() == per);
                let index = known.unwrap_or_else(|| {
                    self.windows.push(Sliding::of_width(per));
                    self.windows.len() - 1
                });
                self.windows[index].add(end, count);
            }
            Account::Place { until } => {
                self.places.add(until, count);
            }
            Account::Quota { since, until } => {
                let other = self.quota.recover(Period { since, until, spent: count });
                self.over.extend(other.map(account_of));
            }
        }
    }

    /// Other bounds from now on; what was spent stays spent. Says whether they are others.
    pub(super) fn configure(
        &mut self,
        bounds: Option<Bounds>,
        now: Mono,
        (lived, wall): (Lived, Wall),
        entries: &mut Entries,
    ) -> bool {
        self.expire(lived, wall);
        if self.bounds == bounds {
            self.write_over(entries);
            return false;
        }
        self.bucket = match (bounds.as_ref().and_then(|bounds| bounds.pace), &self.bucket) {
            (None, _) => None,
            (Some(pace), None) => Some(Bucket::empty(pace, now)),
            (Some(pace), Some(old)) => Some(old.reconfigured(pace, now)),
        };
        if let Some(bounds) = &bounds {
            self.hold = Some(bounds.hold_after_timeout);
            self.rebuild(&bounds.ceilings.windows, lived, entries);
            let held = self.places.held();
            let before = self.quota.period();
            self.quota.configure(bounds.ceilings.quota.clone(), lived, wall, held);
            self.over.extend(self.quota.stale().map(account_of));
            if let (Some(before), true) = (before, before != self.quota.period()) {
                self.over.push(account_of(before));
                let now = self.quota.period().filter(|now| now.spent > 0);
                let same = now.is_some_and(|now| account_of(now) == account_of(before));
                self.over.retain(|account| !same || *account != account_of(before));
                entries.extend(now.map(|now| (account_of(now), now.spent)));
            }
        }
        self.bounds = bounds;
        self.write_over(entries);
        true
    }

    /// Windows of the widths that are wanted now, each from what is known of the past.
    fn rebuild(&mut self, wanted: &[Rate], lived: Lived, entries: &mut Entries) {
        let old = std::mem::take(&mut self.windows);
        for rate in wanted {
            if let Some(same) = old.iter().find(|window| window.per() == rate.per()) {
                let mut window = same.clone();
                window.set_count(u64::from(rate.count().get()));
                self.windows.push(window);
                continue;
            }
            let mut window = Sliding::new(*rate);
            // The narrowest that looks back far enough knows it best; else the widest.
            let far_enough = old.iter().filter(|window| window.per() >= rate.per());
            let source = far_enough.min_by_key(|window| window.per());
            let source = source.or_else(|| old.iter().max_by_key(|window| window.per()));
            for (end, count) in source.into_iter().flat_map(Sliding::ends) {
                // Steps of a wide window end long after what they count.
                window.add(end.min(lived), count);
            }
            // One that may still arrive may be in a step that was just cut short.
            for (until, count) in self.places.all() {
                window.add(until, count);
            }
            window.expire(lived, |_| {});
            let per = rate.per();
            entries.extend(window.ends().map(|(end, n)| (Account::Window { per, end }, n)));
            self.windows.push(window);
        }
        for gone in old {
            let per = gone.per();
            if wanted.iter().all(|rate| rate.per() != per) {
                entries.extend(gone.ends().map(|(end, _)| (Account::Window { per, end }, 0)));
            }
        }
    }

    /// Whether a place and a slot of every window is there for one more.
    pub(super) fn room(&mut self, (lived, wall): (Lived, Wall), high: bool) -> Result<(), Block> {
        self.expire(lived, wall);
        let Some(bounds) = &self.bounds else { return Ok(()) };
        let busy = u64::from(self.under_way);
        let mut worst: Option<Block> = None;
        let mut blocked = |on, until: Option<Lived>, window| {
            let block = Block { on, until, window };
            if worst.is_none_or(|worst| is_longer(until, worst.until)) {
                worst = Some(block);
            }
        };
        if let Some(most) = bounds.max_concurrent
            && let Err(until) = self.places.room(busy, u64::from(most.get()))
        {
            blocked(BlockedOn::Concurrency, until, None);
        }
        for (window, rate) in self.windows.iter().zip(&bounds.ceilings.windows) {
            let kept = if high { 0 } else { bounds.ceilings.reserve_high.of(window.count()) };
            if let Err(until) = window.room(busy, kept) {
                blocked(BlockedOn::Window, until, Some(*rate));
            }
        }
        if let Some(quota) = &bounds.ceilings.quota {
            let kept = bounds.ceilings.reserve_high.of(u64::from(quota.count.get()));
            if let Err(until) = self.quota.room(busy, high, kept, (lived, wall)) {
                blocked(BlockedOn::Quota, Some(until), None);
            }
        }
        worst.map_or(Ok(()), Err)
    }

    /// Whether there is anything of which lower priorities get less.
    pub(super) fn keeps_some_for_high(&self) -> bool {
        self.bounds.as_ref().is_some_and(|bounds| bounds.ceilings.reserve_high.as_f64() > 0.0)
    }

    /// When the `nth` token from now on will be there; and whether no token is to come before one
    /// is taken.
    pub(super) fn earliest(&self, now: Mono, nth: u32) -> (Mono, bool) {
        self.bucket
            .as_ref()
            .map_or((now, false), |bucket| (bucket.earliest(now, nth), bucket.is_full(now)))
    }

    /// When one more may be let go for all those that are on their way out of this process: should
    /// they be held up here and leave together, they must not be more than the bucket holds. `None`:
    /// once some have left.
    pub(super) fn may_leave_at(&self, now: Mono) -> Option<Mono> {
        let Some(bucket) = &self.bucket else { return Some(now) };
        bucket.leaves_at(now, self.leaving.saturating_add(1))
    }

    /// # Panics
    /// Where there is no token: the caller asked, and nothing happened since.
    pub(super) fn take(&mut self, now: Mono) {
        if let Some(bucket) = &self.bucket {
            assert!(bucket.take(now), "a token that is there can be taken");
        }
        self.leaving += 1;
    }

    /// `at`: when, if it has left.
    pub(super) fn left(&mut self, at: Option<Mono>) {
        self.leaving = self.leaving.saturating_sub(1);
        if let (Some(bucket), Some(at)) = (&self.bucket, at) {
            bucket.left(at);
        }
    }

    pub(super) fn reserve(&mut self) {
        self.under_way += 1;
    }

    /// What was reserved was not used: nothing was sent.
    pub(super) fn put_back(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// An attempt ended. Unless it did so with its answer nobody knows whether its request has
    /// arrived yet; where it was given up it may still be worked on, and keeps its place.
    pub(super) fn ended(
        &mut self,
        (lived, wall): (Lived, Wall),
        close: Close,
        entries: &mut Entries,
    ) {
        self.under_way = self.under_way.saturating_sub(1);
        self.expire(lived, wall);
        let hold = self.hold.unwrap_or(HOLD_AFTER_TIMEOUT);
        let held = if close == Close::Whole { Duration::ZERO } else { hold };
        for window in &mut self.windows {
            let per = window.per();
            let (end, count) = window.ended(lived, held);
            entries.push((Account::Window { per, end }, count));
        }
        let spent = self.quota.ended().into_iter().flatten();
        entries.extend(spent.map(|period| (account_of(period), period.spent)));
        if close == Close::GivenUp && !held.is_zero() {
            let (until, count) = self.places.hold(lived, held);
            entries.push((Account::Place { until }, count));
        }
        self.write_over(entries);
    }

    /// As it is now; `None` where it is not configured.
    pub(super) fn view(&self, id: LimitId, lived: Lived) -> Option<LimitView> {
        let bounds = self.bounds.clone()?;
        let busy = u64::from(self.under_way);
        let windows = bounds.ceilings.windows.iter().zip(&self.windows).map(|(rate, window)| {
            let left = window.count().saturating_sub(window.spent_at(lived) + busy);
            let free = window.ends().map(|(end, count)| ((end + window.per()).since(lived), count));
            let taken = free.filter(|(after, _)| !after.is_zero()).collect();
            WindowView { rate: *rate, left, taken }
        });
        let windows = windows.collect();
        let quota = self.quota.quota().map(|quota| (quota.clone(), self.quota.left(busy)));
        let held = self.places.held_at(lived);
        Some(LimitView { id, bounds, under_way: self.under_way, held, windows, quota })
    }

    /// The rate changes with time; no token is gained by it.
    pub(super) fn set_pace(&mut self, pace: Pace, now: Mono) {
        if let Some(bucket) = &mut self.bucket
            && bucket.pace() != pace
        {
            *bucket = bucket.reconfigured(pace, now);
        }
    }

    pub(super) fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// Nothing is configured, under way or remembered.
    pub(super) fn is_forgotten(&mut self, lived: Lived, wall: Wall) -> bool {
        self.expire(lived, wall);
        self.bounds.is_none()
            && self.under_way == 0
            && self.leaving == 0
            && self.places.held() == 0
            && self.over.is_empty()
            && self.quota.period().is_none_or(|period| period.spent == 0 || period.until < lived)
            && self.windows.iter().all(|window| window.spent() == 0)
    }

    fn expire(&mut self, lived: Lived, wall: Wall) {
        let over = &mut self.over;
        for window in &mut self.windows {
            let per = window.per();
            window.expire(lived, |end| over.push(Account::Window { per, end }));
        }
        self.places.expire(lived, |until| over.push(Account::Place { until }));
        let over_period = self.quota.turn(lived, wall, self.places.held());
        self.over.extend(over_period.into_iter().chain(self.quota.stale()).map(account_of));
    }

    fn write_over(&mut self, entries: &mut Entries) {
        // A step that is over may be one that was just written: then it is to be there no more.
        entries.extend(self.over.drain(..).map(|account| (account, 0)));
    }
}

fn account_of(period: Period) -> Account {
    Account::Quota { since: period.since, until: period.until }
}

/// Whether `one` is later than `other`; nobody knows when is later than any time.
fn is_longer(one: Option<Lived>, other: Option<Lived>) -> bool {
    match (one, other) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(one), Some(other)) => one > other,
    }
}
