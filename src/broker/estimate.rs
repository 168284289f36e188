//! What estimates are made from: the limits in force, and what is spent of them.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Broker;
use super::forecast::{Bucket, Concurrency, Gate, Hold, Limits, QuotaLeft, Window};
use super::io::BlockedOn;
use super::policy::{Pace, Rate};
use super::target::Target;
use super::time::{Now, Wall};

/// Taken slots are told in so many lots at most.
const LOTS: usize = 32;

impl Broker {
    /// The limits of a target as they stand.
    pub(super) fn forecast(&self, target: &Target, now: Now) -> Limits {
        let own = target.live.as_ref().map(|live| &live.policy);
        let pace = self
            .limits
            .pace(target.id)
            .or(own.map(|policy| Pace { rate: policy.limit.rate, burst: policy.limit.burst }));
        let pace = pace.unwrap_or(Pace { rate: Rate::ONE_A_SECOND, burst: NonZeroU32::MIN });
        let tokens = self.limits.own_tokens(target.id, now.mono);
        let (windows, quotas) = self.ceilings(target, now);
        Limits {
            now: now.wall,
            gate: self.gate(target, now),
            bucket: Bucket { rate: pace.rate, burst: pace.burst, tokens: tokens.max(0.0) },
            shared: self.shared_buckets(target, now),
            windows,
            quotas,
            concurrency: Concurrency {
                max: own.map_or(NonZeroU32::MIN, |policy| policy.limit.max_concurrent),
                in_flight: target.in_flight,
                mean: target.usually_takes,
            },
            schedule: own.map(|policy| policy.tempo.schedule.clone()).unwrap_or_default(),
            lasting: own.map_or(Duration::ZERO, |policy| policy.tempo.lasting),
            max_deferrals: own.map_or(NonZeroU32::MIN, |policy| policy.max_deferrals),
        }
    }

    fn gate(&self, target: &Target, now: Now) -> Gate {
        if target.live.is_none() {
            return Gate::Shut(Hold::NotConfigured);
        }
        let Some(closed) = target.closed(now, self.draining) else { return Gate::Open };
        let hold = match closed.on {
            BlockedOn::Draining => return Gate::Shut(Hold::Draining),
            BlockedOn::Paused => return Gate::Shut(Hold::Paused),
            BlockedOn::Refused => Hold::Refused,
            BlockedOn::Breaker => Hold::Breaker,
            // The schedule says that itself.
            _ => return Gate::Open,
        };
        // A probe is under way: it may end at any time.
        let until = closed.until.map_or(now.wall, |until| now.wall + until.since(now.mono));
        Gate::Until(until, hold)
    }

    /// Each with an equal part for every target that has jobs for it now.
    fn shared_buckets(&self, target: &Target, now: Now) -> Vec<Bucket> {
        let shares = self.limits.shares(target.id);
        let peers = self.limits.peers(target.id);
        let mut buckets = Vec::new();
        for name in shares.iter() {
            let Some((pace, tokens)) = self.limits.shared_tokens(name, now.mono) else { continue };
            let waits = |id| {
                let peer = self.targets.get(id);
                peer.is_some_and(|peer| peer.counts.all_in_line() > 0)
            };
            let others = peers.iter().filter(|peer| **peer != target.id && waits(peer));
            let others = others.filter(|peer| self.limits.shares(**peer).contains(name));
            let parts = u32::try_from(others.count()).unwrap_or(u32::MAX).saturating_add(1);
            let rate = Rate::new(pace.rate.count(), pace.rate.per().saturating_mul(parts));
            let tokens = tokens.max(0.0) / f64::from(parts);
            buckets.push(Bucket { rate: rate.unwrap_or(pace.rate), burst: pace.burst, tokens });
        }
        buckets
    }

    fn ceilings(&self, target: &Target, now: Now) -> (Vec<Window>, Vec<QuotaLeft>) {
        let (mut windows, mut quotas) = (Vec::new(), Vec::new());
        let usually = target.usually_takes.unwrap_or_default();
        for view in self.limits.view_of(target.id, now.mono) {
            let reserve = view.bounds.ceilings.reserve_high;
            let kept = |count: NonZeroU32| {
                u32::try_from(reserve.of(u64::from(count.get()))).unwrap_or(u32::MAX)
            };
            for window in &view.windows {
                let (count, width) = (window.rate.count(), window.rate.per());
                let free = window.taken.iter().map(|(after, n)| (now.wall + *after, *n));
                let mut taken = in_lots(free);
                if view.under_way > 0 {
                    taken.push((now.wall + usually + width, view.under_way));
                }
                windows.push(Window { count, width, reserve: kept(count), taken });
            }
            if let Some((quota, left)) = view.quota {
                let left = u32::try_from(left).unwrap_or(u32::MAX);
                let reserve = kept(quota.count);
                quotas.push(QuotaLeft { quota, left, reserve });
            }
        }
        (windows, quotas)
    }
}

/// Each lot is free when the last of it is.
fn in_lots(slots: impl Iterator<Item = (Wall, u64)>) -> Vec<(Wall, u32)> {
    let slots: Vec<(Wall, u64)> = slots.collect();
    let size = slots.len().div_ceil(LOTS).max(1);
    slots
        .chunks(size)
        .map(|lot| {
            let at = lot.last().map_or(Wall::EPOCH, |(at, _)| *at);
            let count = lot.iter().map(|(_, count)| count).sum::<u64>();
            (at, u32::try_from(count).unwrap_or(u32::MAX))
        })
        .collect()
}
