//! One limit, as the world sees it: its bounds over time, what was sent under it, what arrived.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::clocks::Moment;
use super::limits::{self, SECOND};
use super::violation::{Checked, ensure};
use crate::broker::calendar::Quota;
use crate::broker::job::{JobId, TargetId};
use crate::broker::payload::Close;
use crate::broker::policy::{Bounds, HOLD_AFTER_TIMEOUT, Pace, Rate};
use crate::broker::time::Wall;

/// The bucket forgives a late wake-up so much.
const TOLERANCE: Duration = Duration::from_micros(1_500);
/// Longer than any attempt takes, and longer than a target without a limit holds places.
const A_MINUTE: Duration = Duration::from_secs(60);
/// Of a period's beginning.
const ROUNDING: Duration = Duration::from_millis(3);
/// So much of time may be lost over restarts of the machine, of which only the wall clock tells.
const LOST: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Moment,
    sent: Moment,
    of: (TargetId, JobId),
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    /// With the moments from which they were in force; `None` while nothing was.
    history: Vec<(Moment, Option<Bounds>)>,
    /// As it was when it was last configured.
    hold: Option<Duration>,
    sent: VecDeque<Moment>,
    arrived: VecDeque<Arrival>,
    /// Armed or sent in this life, and not ended.
    under_way: BTreeSet<(TargetId, JobId)>,
    /// Those of them that are sent, and when they were.
    in_flight: BTreeMap<(TargetId, JobId), Moment>,
    /// Let go, and not known to have left the process.
    leaving: BTreeSet<JobId>,
    /// Until when places are held of which nobody knows whether they are free.
    held: Vec<Moment>,
    /// The same, of those that may not even have been sent.
    maybe_held: Vec<Moment>,
    /// When attempts ended, or may still have arrived.
    ends: Vec<Moment>,
    /// There is a token then at the latest.
    token_by: Moment,
    /// What has left is spaced until then.
    left_by: Moment,
    /// Until then it may hold back more than is known here.
    uncertain_until: Moment,
    /// Until then what the last life had under way is counted twice.
    twice_until: Moment,
}

impl Kept {
    pub(super) fn bounds(&self) -> Option<&Bounds> {
        self.history.last()?.1.as_ref()
    }

    pub(super) fn configure(&mut self, at: Moment, bounds: Option<Bounds>) {
        if self.bounds() == bounds.as_ref() {
            return;
        }
        if self.history.is_empty() && at > Moment::START {
            self.history.push((Moment::START, None));
        }
        // What is owed is owed at the new rate.
        let owed = self.pace().map_or(0.0, |pace| {
            self.left_by.since(at).as_secs_f64() / stretched(pace.rate).as_secs_f64()
        });
        self.hold = bounds.as_ref().map(|bounds| bounds.hold_after_timeout).or(self.hold);
        self.history.push((at, bounds));
        let each = self.pace().map_or(Duration::ZERO, |pace| stretched(pace.rate));
        self.left_by = at + each.mul_f64(owed);
        self.is_uncertain(at);
        self.no_token(at);
        self.token_by = self.token_by.max(self.left_by);
    }

    /// A target joined, with all that it has under way.
    pub(super) fn joined(&mut self, at: Moment, own: &Kept) {
        self.is_uncertain(at);
        self.under_way.extend(&own.under_way);
        self.in_flight.extend(&own.in_flight);
    }

    fn is_uncertain(&mut self, at: Moment) {
        let window = self.all_bounds(Moment::START).flat_map(|b| &b.ceilings.windows);
        let longest = window.map(|rate| rate.per()).max().unwrap_or_default();
        let hold = self.all_bounds(Moment::START).map(|b| b.hold_after_timeout).max();
        let over = at + longest + longest / 512 + hold.unwrap_or_default() * 2 + A_MINUTE;
        self.uncertain_until = self.uncertain_until.max(over);
    }

    fn all_bounds(&self, from: Moment) -> impl Iterator<Item = &Bounds> + Clone {
        // The one that was in force then, and all since.
        let first = self.history.partition_point(|(since, _)| *since <= from).saturating_sub(1);
        self.history[first..].iter().filter_map(|(_, bounds)| bounds.as_ref())
    }

    fn pace(&self) -> Option<Pace> {
        self.bounds()?.pace
    }

    fn no_token(&mut self, at: Moment) {
        self.token_by = self.pace().map_or(at, |pace| at + stretched(pace.rate));
    }

    /// The process died, and is there again.
    /// `of`: the targets to which it applies now.
    pub(super) fn restart(&mut self, at: Moment, of: &dyn Fn(TargetId) -> bool) {
        self.under_way.clear();
        self.leaving.clear();
        let hold = self.hold();
        for ((target, job), sent) in std::mem::take(&mut self.in_flight) {
            if of(target) {
                self.held.push(at + hold);
                self.ends.push(at + hold);
            } else {
                // What a target had under way that has left the limit meanwhile is nobody's any more.
                self.arrived.retain(|it| it.of != (target, job) || it.sent != sent);
            }
        }
        self.left_by = at;
        self.no_token(at);
    }

    /// Something was under way when the last life ended, as far as the disk knows.
    pub(super) fn found_running(&mut self, at: Moment) {
        let hold = self.hold();
        self.is_uncertain(at);
        self.twice_until = self.uncertain_until;
        self.ends.push(at + hold);
        self.maybe_held.push(at + hold);
    }

    /// For one that is armed.
    pub(super) fn token_by(&self) -> Moment {
        self.token_by
    }

    /// For one that is not: those that are armed go first, once they can.
    pub(super) fn token_behind_armed_by(&self, they_can: impl Fn(TargetId) -> Moment) -> Moment {
        let armed = || self.under_way.iter().filter(|key| !self.in_flight.contains_key(key));
        let each = self.pace().map_or(Duration::ZERO, |pace| stretched(pace.rate));
        let can = armed().map(|(target, _)| they_can(*target)).max().unwrap_or(Moment::START);
        self.token_by.max(can) + each * armed().count() as u32
    }

    fn hold(&self) -> Duration {
        self.hold.unwrap_or(HOLD_AFTER_TIMEOUT)
    }

    /// A request has left the process: the next is spaced from here.
    pub(super) fn left(&mut self, at: Moment, job: JobId) {
        self.leaving.remove(&job);
        if let Some(pace) = self.pace() {
            self.left_by = self.left_by.max(at) + stretched(pace.rate);
            self.token_by = self.token_by.max(self.left_by);
        }
    }

    pub(super) fn reserve(&mut self, id: TargetId, job: JobId) {
        self.under_way.insert((id, job));
    }

    pub(super) fn put_back(&mut self, id: TargetId, job: JobId) {
        self.under_way.remove(&(id, job));
        self.in_flight.remove(&(id, job));
        self.leaving.remove(&job);
    }

    /// Whether others have to leave before the next one may.
    pub(super) fn is_anything_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// By when there is room for one more of any priority; `None`: nobody knows.
    pub(super) fn room_by(&self, at: Moment) -> Option<Moment> {
        let Some(bounds) = self.bounds() else { return Some(at) };
        let busy = self.under_way.len() as u64;
        let mut by = Moment::START;
        let hold = bounds.hold_after_timeout;
        let remembers = !(bounds.ceilings.windows.is_empty()
            && self.held.is_empty()
            && self.maybe_held.is_empty());
        if at < self.uncertain_until && remembers {
            by = self.uncertain_until;
        }
        if let Some(most) = bounds.max_concurrent {
            let late = hold / 512 + LOST;
            let held = self.held.iter().chain(&self.maybe_held).map(|until| *until + late);
            by = by.max(room(at, busy, u64::from(most.get()), held)?);
        }
        // What is left of a quota over restarts and reloads is not known here.
        if bounds.ceilings.quota.is_some() {
            return None;
        }
        for rate in &bounds.ceilings.windows {
            let count = u64::from(rate.count().get());
            let most = count - bounds.ceilings.reserve_high.of(count);
            let late = rate.per() / 512 + hold / 512 + LOST;
            let ends = self.ends.iter().map(|end| *end + rate.per() + late);
            by = by.max(room(at, busy, most, ends)?);
        }
        Some(by)
    }

    /// One that is not HIGH is to be started: of each window there is more than is kept for HIGH.
    pub(super) fn leaves_what_is_kept(&self, at: Moment) -> Checked {
        let Some(bounds) = self.bounds() else { return Ok(()) };
        for rate in &bounds.ceilings.windows {
            let has = |bounds: &Bounds| {
                bounds.ceilings.windows.iter().any(|other| other.per() == rate.per())
            };
            let always = self.history.iter().all(|(_, bounds)| bounds.as_ref().is_some_and(has));
            let kept = bounds.ceilings.reserve_high.of(u64::from(rate.count().get()));
            if !always || kept == 0 || at < self.twice_until {
                continue;
            }
            let spent = self.ends.iter().filter(|end| **end + rate.per() > at).count();
            let used = (self.under_way.len() + spent) as u64;
            let allowed = u64::from(rate.count().get()).saturating_sub(kept);
            ensure!(
                used < allowed,
                "one that is not HIGH starts, and {used} of {allowed} for such are taken in {:?}",
                rate.per()
            );
        }
        Ok(())
    }

    /// `room`: how many may be under way at once; as configured if `None`.
    pub(super) fn send(
        &mut self,
        at: Moment,
        id: TargetId,
        job: JobId,
        room: Option<u32>,
    ) -> Checked {
        // The core keeps them a little longer.
        let late = self.hold() / 512 + LOST;
        self.held.retain(|until| *until + late > at);
        self.maybe_held.retain(|until| *until + A_MINUTE > at);
        self.in_flight.insert((id, job), at);
        self.leaving.insert(job);
        // It may have been chosen under other bounds.
        let from = at.before(Duration::from_secs(60));
        let first = self.history.partition_point(|(since, _)| *since <= from).saturating_sub(1);
        let lately = self.history[first..].iter();
        let most: Option<Vec<u32>> =
            lately.map(|(_, bounds)| Some(bounds.as_ref()?.max_concurrent?.get())).collect();
        let most = most.and_then(|most| most.into_iter().chain(room).max());
        if let Some(most) = most {
            let held = self.held.iter().filter(|until| **until > at).count();
            let busy = self.in_flight.len();
            ensure!(
                busy + held <= most as usize,
                "{busy} requests are under way and {held} may be, not {most}"
            );
        }
        self.sent.push_back(at);
        self.no_token(at);
        self.token_by = self.token_by.max(self.left_by);
        self.check_pace(at)?;
        let reach = self.reach();
        while self.sent.front().is_some_and(|first| *first <= at.before(reach)) {
            self.sent.pop_front();
        }
        Ok(())
    }

    pub(super) fn ended(&mut self, at: Moment, id: TargetId, job: JobId, close: Close) {
        self.under_way.remove(&(id, job));
        if self.leaving.contains(&job) {
            // When it left was not said: now at the latest.
            self.left(at, job);
        }
        if self.in_flight.remove(&(id, job)).is_none() {
            return;
        }
        let hold = self.hold();
        let end = if close == Close::Whole { at } else { at + hold };
        if close == Close::GivenUp {
            self.held.push(end);
        }
        let reach = self.reach();
        self.ends.retain(|end| *end + reach * 2 > at);
        self.ends.push(end);
    }

    /// `even`: the network adds nothing to speak of.
    /// `wall`: what the wall clock says, where nobody sets it.
    pub(super) fn arrive(
        &mut self,
        at: Moment,
        sent: Moment,
        of: (TargetId, JobId),
        even: bool,
        wall: Option<Wall>,
    ) -> Checked {
        self.arrived.push_back(Arrival { at, sent, of });
        let reach = self.reach();
        while self.arrived.front().is_some_and(|first| first.at <= at.before(reach)) {
            self.arrived.pop_front();
        }
        let windows: Vec<Duration> = self
            .bounds()
            .into_iter()
            .flat_map(|bounds| bounds.ceilings.windows.iter().map(|rate| rate.per()))
            .collect();
        for per in windows {
            self.check_window(at, per)?;
        }
        if let Some(wall) = wall {
            self.check_quota(wall)?;
        }
        if even && self.pace().is_some() {
            let count = self.arrived.iter().filter(|it| it.at > at.before(SECOND)).count();
            let allowed = self.pace_over(at, SECOND).map_or(u64::MAX, |bound| bound.in_any(SECOND));
            ensure!(count as u64 <= allowed, "{count} in a second, not {allowed}");
        }
        let old = self.history.partition_point(|(since, _)| *since <= at.before(reach * 2));
        self.history.drain(..old.saturating_sub(1));
        Ok(())
    }

    /// Of those that were sent while there was such a window, so many arrived within it at most.
    fn check_window(&self, at: Moment, per: Duration) -> Checked {
        let of = |bounds: &Option<Bounds>| {
            let rates = bounds.iter().flat_map(|bounds| &bounds.ceilings.windows);
            rates.filter(|rate| rate.per() == per).map(|rate| rate.count().get()).next()
        };
        let without = self.history.iter().rposition(|(_, bounds)| of(bounds).is_none());
        let since = without.map_or(Moment::START, |index| self.history[index + 1].0);
        let within = |it: &&Arrival| it.at > at.before(per) && it.sent >= since;
        let counted: Vec<&Arrival> = self.arrived.iter().filter(within).collect();
        let first = counted.iter().map(|it| it.sent).min().unwrap_or(at);
        let first = self.history.partition_point(|(from, _)| *from <= first).saturating_sub(1);
        let allowed = self.history[first..].iter().filter_map(|(_, bounds)| of(bounds)).max();
        let (count, allowed) = (counted.len(), allowed.unwrap_or(0));
        ensure!(count <= allowed as usize, "{count} in a window of {per:?}, not {allowed}");
        Ok(())
    }

    /// Of those that were sent while there was such a quota, so many arrived in this period at most.
    fn check_quota(&self, now: Wall) -> Checked {
        let of = |bounds: &Option<Bounds>| bounds.as_ref()?.ceilings.quota.clone();
        let Some(Some(quota)) = self.history.last().map(|(_, bounds)| of(bounds)) else {
            return Ok(());
        };
        let same = |other: &Quota| other.per == quota.per && other.zone == quota.zone;
        let other = |(_, bounds): &(Moment, Option<Bounds>)| !of(bounds).is_some_and(|q| same(&q));
        let since = match self.history.iter().rposition(other) {
            Some(index) => self.history[index + 1].0,
            None => Moment::START,
        };
        let period = quota.period(now);
        let within = |at: Moment| limits::wall(at) >= period.start + ROUNDING;
        let arrived = self.arrived.iter();
        let counted = arrived.filter(|it| within(it.at) && it.sent >= since).count();
        let allowed = self.history.iter().filter_map(|(_, bounds)| of(bounds));
        let allowed = allowed.filter(same).map(|quota| quota.count.get()).max().unwrap_or(0);
        ensure!(counted <= allowed as usize, "{counted} in a period of a quota, not {allowed}");
        Ok(())
    }

    fn check_pace(&self, at: Moment) -> Checked {
        let Some(Pace { rate, .. }) = self.pace() else { return Ok(()) };
        let ten = rate.interval() * 10;
        for window in [SECOND, rate.per(), ten] {
            let Some(bound) = self.pace_over(at, window) else { continue };
            let from = at.before(window);
            let before = self.sent.partition_point(|moment| *moment <= from);
            let count = (self.sent.len() - before) as u64;
            let allowed = if window == ten {
                bound.in_any(window).max(bound.by_the_bucket(window))
            } else {
                bound.in_any(window)
            };
            ensure!(count <= allowed, "{count} within {window:?}, not {allowed}");
        }
        Ok(())
    }

    /// The most generous that was in force in a window; `None`: for a part of it there was none.
    fn pace_over(&self, at: Moment, window: Duration) -> Option<Bound> {
        let from = at.before(window);
        let first = self.history.partition_point(|(since, _)| *since <= from).saturating_sub(1);
        let lately = self.history[first..].iter();
        let paces: Option<Vec<Pace>> = lately.map(|(_, bounds)| bounds.as_ref()?.pace).collect();
        let paces = paces?;
        let paces = paces.iter();
        let rate = paces.clone().map(|pace| pace.rate).min_by_key(|rate| rate.interval())?;
        let burst = paces.map(|pace| u64::from(pace.burst.get())).max()?;
        Some(Bound { rate, burst })
    }

    /// How far back anything that is or was in force looks.
    fn reach(&self) -> Duration {
        let all = self.all_bounds(Moment::START);
        let paces = all.clone().filter_map(|bounds| bounds.pace);
        let paces = paces.map(|pace| pace.rate.per().max(pace.rate.interval() * 10));
        let windows = all.flat_map(|bounds| &bounds.ceilings.windows).map(|rate| rate.per());
        let quotas = self.all_bounds(Moment::START).filter_map(|b| b.ceilings.quota.as_ref());
        let quotas = quotas.map(|_| Duration::from_secs(86_400));
        paces.chain(windows).chain(quotas).max().unwrap_or(SECOND).max(SECOND)
    }
}

/// By when fewer than `most` are left; `None` if that hangs on the `busy` ones.
fn room(at: Moment, busy: u64, most: u64, over: impl Iterator<Item = Moment>) -> Option<Moment> {
    let mut over: Vec<Moment> = over.filter(|over| *over > at).collect();
    over.sort_unstable();
    let used = busy + over.len() as u64;
    if used < most {
        return Some(Moment::START);
    }
    over.get(usize::try_from(used - most).ok()?).copied()
}

struct Bound {
    rate: Rate,
    burst: u64,
}

impl Bound {
    /// What users are promised.
    fn in_any(&self, window: Duration) -> u64 {
        let fills = u128::from(self.rate.count().get()) * window.as_nanos();
        fills.div_ceil(self.rate.per().as_nanos()) as u64 + self.burst - 1
    }

    /// What the bucket says, with the lateness that it forgives.
    fn by_the_bucket(&self, window: Duration) -> u64 {
        let stretched = stretched(self.rate).as_nanos();
        ((window + TOLERANCE).as_nanos() / stretched) as u64 + self.burst
    }
}

/// The bucket fills a little slower than it might.
pub(super) fn stretched(rate: Rate) -> Duration {
    rate.interval() + rate.interval() / 250
}
