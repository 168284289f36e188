//! What each target can bear, and what it is made to bear: counted in true time, over all lives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::clocks::Moment;
use super::violation::{Checked, Violation, ensure};
use crate::broker::job::{JobId, TargetId};
use crate::broker::policy::{Limit, Policy, Rate};

/// The bucket forgives a late wake-up so much.
const TOLERANCE: Duration = Duration::from_micros(1_500);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Limited {
    policy: Option<Policy>,
    /// Limits with the moments from which they were in force.
    limits: Vec<(Moment, Limit)>,
    sent: VecDeque<Moment>,
    arrived: VecDeque<Moment>,
    /// Sent in this life and not ended.
    in_flight: BTreeSet<JobId>,
    /// There is a token then at the latest.
    token_by: Moment,
}

#[derive(Debug, Default)]
pub(super) struct Limits(BTreeMap<TargetId, Limited>);

impl Limits {
    pub(super) fn configure(&mut self, at: Moment, policies: &BTreeMap<TargetId, Policy>) {
        for id in policies.keys() {
            self.0.entry(*id).or_default();
        }
        for (id, target) in &mut self.0 {
            let new = policies.get(id).cloned();
            let old_limit = target.policy.as_ref().map(|policy| policy.limit);
            if let Some(limit) = new.as_ref().map(|policy| policy.limit)
                && old_limit != Some(limit)
            {
                target.limits.push((at, limit));
                target.token_by = at + stretched(limit.rate);
            }
            target.policy = new;
        }
    }

    pub(super) fn restart(&mut self, at: Moment) {
        for target in self.0.values_mut() {
            target.in_flight.clear();
            if let Some(policy) = &target.policy {
                target.token_by = at + stretched(policy.limit.rate);
            }
        }
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = TargetId> {
        self.0.keys().copied()
    }

    pub(super) fn policy(&self, id: TargetId) -> Option<&Policy> {
        self.0.get(&id)?.policy.as_ref()
    }

    pub(super) fn token_by(&self, id: TargetId) -> Moment {
        self.0.get(&id).map_or(Moment::NEVER, |target| target.token_by)
    }

    /// `room`: how many may be under way at once.
    pub(super) fn send(&mut self, at: Moment, id: TargetId, job: JobId, room: u32) -> Checked {
        let Some(target) = self.0.get_mut(&id) else { return Err(no_such(id)) };
        target.in_flight.insert(job);
        let busy = target.in_flight.len();
        ensure!(busy <= room as usize, "{busy} requests are under way at {id:?}, not {room}");
        target.sent.push_back(at);
        if let Some(policy) = &target.policy {
            target.token_by = at + stretched(policy.limit.rate);
        }
        check(&target.limits, &target.sent, at)
            .map_err(|broken| sent_to(id, "sent to", &broken))?;
        trim(&mut target.sent, &mut target.limits, at);
        Ok(())
    }

    pub(super) fn ended(&mut self, id: TargetId, job: JobId) {
        if let Some(target) = self.0.get_mut(&id) {
            target.in_flight.remove(&job);
        }
    }

    /// Hard windows are about sendings; that arrivals keep within the second shows that the
    /// bucket leaves room for a network that is not even.
    pub(super) fn arrive(&mut self, at: Moment, id: TargetId) -> Checked {
        let Some(target) = self.0.get_mut(&id) else { return Err(no_such(id)) };
        target.arrived.push_back(at);
        while target.arrived.front().is_some_and(|first| at.since(*first) >= SECOND) {
            target.arrived.pop_front();
        }
        let bound = Bound::over(&target.limits, at, SECOND);
        let (count, allowed) = (target.arrived.len() as u64, bound.in_any(SECOND));
        ensure!(count <= allowed, "{count} arrivals at {id:?} in a second, not {allowed}");
        Ok(())
    }
}

/// The most generous of the limits that were in force in a window.
struct Bound {
    rate: Rate,
    burst: u64,
}

impl Bound {
    fn over(limits: &[(Moment, Limit)], at: Moment, window: Duration) -> Bound {
        let from = at.before(window);
        // The one that was in force when the window began, and all since.
        let first = limits.partition_point(|(since, _)| *since <= from).saturating_sub(1);
        let in_force = || limits[first..].iter().map(|(_, limit)| limit);
        let rate = in_force().map(|limit| limit.rate).min_by_key(|rate| rate.interval());
        let burst = in_force().map(|limit| u64::from(limit.burst.get())).max();
        Bound { rate: rate.expect("a limit is in force"), burst: burst.unwrap_or(1) }
    }

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

fn check(limits: &[(Moment, Limit)], sent: &VecDeque<Moment>, at: Moment) -> Checked {
    let Some((_, latest)) = limits.last() else { return Ok(()) };
    let ten = latest.rate.interval() * 10;
    for window in [SECOND, latest.rate.per(), ten] {
        let from = at.before(window);
        let count = (sent.len() - sent.partition_point(|moment| *moment <= from)) as u64;
        let bound = Bound::over(limits, at, window);
        let allowed = if window == ten {
            bound.in_any(window).max(bound.by_the_bucket(window))
        } else {
            bound.in_any(window)
        };
        ensure!(count <= allowed, "{count} within {window:?}, not {allowed}");
    }
    Ok(())
}

/// Drops what no window can reach any more.
fn trim(sent: &mut VecDeque<Moment>, limits: &mut Vec<(Moment, Limit)>, at: Moment) {
    let longest = limits.iter().map(|(_, limit)| limit.rate.per().max(limit.rate.interval() * 10));
    let from = at.before(longest.max().unwrap_or(SECOND).max(SECOND));
    while sent.front().is_some_and(|first| *first <= from) {
        sent.pop_front();
    }
    let first = limits.partition_point(|(since, _)| *since <= from).saturating_sub(1);
    limits.drain(..first);
}

/// The bucket fills a little slower than it might.
pub(super) fn stretched(rate: Rate) -> Duration {
    rate.interval() + rate.interval() / 250
}

fn no_such(id: TargetId) -> Violation {
    Violation(format!("there is no {id:?}"))
}

fn sent_to(id: TargetId, what: &str, broken: &Violation) -> Violation {
    Violation(format!("too many requests {what} {id:?}: {broken}"))
}
