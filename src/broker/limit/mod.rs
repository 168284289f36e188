//! What targets can bear, and what of it is spent.
//!
//! Each target has a limit of its own, and any number of limits that it shares with others. A
//! request needs something of each of them, and gets all or nothing:
//! - a place and a slot of every window are *reserved* when the job is armed, and given back if it
//!   is called back; after the attempt they are free when the end of the attempt says so;
//! - a token of every bucket is *taken* when the request is let go.
//!
//! | file | holds |
//! | --- | --- |
//! | `bucket` | the token bucket |
//! | `sliding` | a hard window |
//! | `quota` | a calendar quota |
//! | `places` | places of requests that timed out |
//! | `limiter` | one limit: all of these |

mod bucket;
mod limiter;
mod places;
mod quota;
mod sliding;
#[cfg(test)]
mod tests;

use crate::broker::payload::Close;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bucket::Bucket;
use limiter::Limiter;

use super::alarms::Wake;
use super::change::Spent;
use super::io::{BlockedOn, LimitView};
use super::job::{Priority, TargetId};
use super::policy::{Bounds, LimitId, LimitName, Pace, Rate};
use super::time::{Lived, Mono, Now};

/// The limits beside its own that an attempt counts in.
pub(super) type Shares = Arc<[LimitName]>;

/// What keeps a target from having one more attempt under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocked {
    pub(super) on: BlockedOn,
    /// `None`: until something happens. For [`BlockedOn::Rate`] when the token comes.
    pub(super) until: Option<Mono>,
    /// `None`: the target's own.
    pub(super) limit: Option<LimitName>,
    pub(super) window: Option<Rate>,
}

impl Blocked {
    /// By no limit, or by a bucket.
    pub(super) fn on(on: BlockedOn, until: Option<Mono>) -> Blocked {
        Blocked { on, until, limit: None, window: None }
    }

    pub(super) fn wake(&self) -> Wake {
        match self.on {
            BlockedOn::Rate => Wake { at: None, token: self.until },
            _ => Wake::at(self.until),
        }
    }
}

/// When a token of every bucket will be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) at: Mono,
    /// The last of the buckets is full: no token comes before one is taken.
    pub(super) full: bool,
    /// Whose that one is; `None`: the target's own.
    pub(super) limit: Option<LimitName>,
}

/// Of one target.
#[derive(Debug, Default)]
struct Own {
    limiter: Limiter,
    shares: Shares,
    /// With whom it shares, directly or by others; itself among them.
    peers: Arc<[TargetId]>,
}

#[derive(Debug)]
pub(super) struct Limits {
    /// What the store had lived when the core's clock said `origin`.
    base: Lived,
    origin: Mono,
    own: BTreeMap<TargetId, Own>,
    shared: BTreeMap<LimitName, Limiter>,
}

impl Limits {
    pub(super) fn new(lived: Lived, spent: Vec<Spent>, now: Mono) -> Limits {
        let mut limits =
            Limits { base: lived, origin: now, own: BTreeMap::new(), shared: BTreeMap::new() };
        for Spent { limit, account, count } in spent {
            limits.limiter(&limit).recover(account, count);
        }
        limits
    }

    pub(super) fn lived(&self, now: Mono) -> Lived {
        let micros = now.since(self.origin).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        Lived::from_micros(self.base.as_micros().saturating_add(micros))
    }

    fn mono(&self, lived: Lived) -> Mono {
        self.origin + lived.since(self.base)
    }

    /// The limits that there are from now on. What was spent stays spent. Returns what is to be
    /// written, and the targets for which anything has changed.
    pub(super) fn configure(
        &mut self,
        mut own: BTreeMap<TargetId, (Bounds, Vec<LimitName>)>,
        mut shared: BTreeMap<LimitName, Bounds>,
        now: Now,
    ) -> (Vec<Spent>, BTreeSet<TargetId>) {
        let at = (self.lived(now.mono), now.wall);
        let mut spent = Vec::new();
        let mut changed = BTreeSet::new();
        let mut entries = Vec::new();
        for id in own.keys() {
            self.own.entry(*id).or_default();
        }
        for name in shared.keys() {
            self.shared.entry(name.clone()).or_default();
        }
        let mut joined = BTreeSet::new();
        for (id, target) in &mut self.own {
            let (bounds, shares) = own.remove(id).unzip();
            let shares: Shares = shares.unwrap_or_default().into();
            joined.extend(shares.iter().filter(|name| !target.shares.contains(name)).cloned());
            if target.limiter.configure(bounds, now.mono, at, &mut entries)
                || target.shares != shares
            {
                changed.insert(*id);
            }
            target.shares = shares;
            spent.extend(of(&LimitId::Target(*id), &mut entries));
        }
        for (name, limiter) in &mut self.shared {
            let changes = limiter.configure(shared.remove(name), now.mono, at, &mut entries);
            // Who joins brings along what it has under way, which was not thought of when others
            // were armed.
            if changes || joined.contains(name) {
                let users = self.own.iter().filter(|(_, own)| own.shares.contains(name));
                changed.extend(users.map(|(id, _)| *id));
            }
            spent.extend(of(&LimitId::Shared(name.clone()), &mut entries));
        }
        self.shared.retain(|_, limiter| !limiter.is_forgotten(at.0, at.1));
        // A limit that is configured for a target, and is not there itself, cannot be obeyed.
        for name in self.own.values().flat_map(|own| own.shares.iter()) {
            self.shared.entry(name.clone()).or_default();
        }
        self.find_peers();
        (spent, changed)
    }

    fn find_peers(&mut self) {
        let mut members: BTreeMap<&LimitName, BTreeSet<TargetId>> = BTreeMap::new();
        for (id, own) in &self.own {
            for name in own.shares.iter() {
                members.entry(name).or_default().insert(*id);
            }
        }
        let mut found: BTreeMap<TargetId, Arc<[TargetId]>> = BTreeMap::new();
        for id in self.own.keys() {
            if found.contains_key(id) {
                continue;
            }
            let (mut peers, mut next) = (BTreeSet::from([*id]), vec![*id]);
            while let Some(here) = next.pop() {
                let shares = self.own.get(&here).into_iter().flat_map(|own| own.shares.iter());
                for other in shares.flat_map(|name| &members[name]) {
                    if peers.insert(*other) {
                        next.push(*other);
                    }
                }
            }
            let all: Arc<[TargetId]> = peers.iter().copied().collect();
            found.extend(peers.into_iter().map(|peer| (peer, all.clone())));
        }
        for (id, peers) in found {
            if let Some(own) = self.own.get_mut(&id) {
                own.peers = peers;
            }
        }
    }

    pub(super) fn shares(&self, id: TargetId) -> Shares {
        self.own.get(&id).map(|own| own.shares.clone()).unwrap_or_default()
    }

    /// Those that may wait for the same token, `id` among them.
    pub(super) fn peers(&self, id: TargetId) -> Arc<[TargetId]> {
        match self.own.get(&id) {
            Some(own) if !own.peers.is_empty() => own.peers.clone(),
            _ => Arc::new([id]),
        }
    }

    /// Who is held to a limit among `taken` that `id` is held to no more.
    pub(super) fn sharers_left_behind(
        &self,
        id: TargetId,
        taken: &Shares,
    ) -> impl Iterator<Item = TargetId> {
        let now = self.own.get(&id).map(|own| &own.shares);
        let left = taken.iter().filter(move |name| !now.is_some_and(|now| now.contains(name)));
        left.flat_map(|name| {
            let sharers = self.own.iter().filter(move |(_, own)| own.shares.contains(name));
            sharers.map(|(id, _)| *id)
        })
    }

    /// Whether a limit applies to both.
    pub(super) fn have_in_common(&self, one: TargetId, other: TargetId) -> bool {
        let other = self.own.get(&other).map(|own| &own.shares);
        self.own
            .get(&one)
            .zip(other)
            .is_some_and(|(one, other)| one.shares.iter().any(|name| other.contains(name)))
    }

    /// Whether there are a place and slots for one more.
    pub(super) fn room(
        &mut self,
        id: TargetId,
        priority: Priority,
        now: Now,
    ) -> Result<(), Blocked> {
        let at = (self.lived(now.mono), now.wall);
        let high = priority == Priority::High;
        let Some(own) = self.own.get_mut(&id) else { return Ok(()) };
        let mut worst = own.limiter.room(at, high).err().map(|block| (block, None));
        for name in own.shares.iter() {
            let Some(limiter) = self.shared.get_mut(name) else { continue };
            if let Err(block) = limiter.room(at, high) {
                let longer = worst.as_ref().is_none_or(|(worst, _)| {
                    worst.until.is_some_and(|worst| block.until.is_none_or(|until| until > worst))
                });
                if longer {
                    worst = Some((block, Some(name.clone())));
                }
            }
        }
        match worst {
            None => Ok(()),
            Some((block, limit)) => {
                let until = block.until.map(|until| self.mono(until));
                Err(Blocked { on: block.on, until, limit, window: block.window })
            }
        }
    }

    /// Whether a lower priority may lack what HIGH would get.
    pub(super) fn keep_some_for_high(&self, id: TargetId) -> bool {
        self.all(id).any(|(_, limiter)| limiter.keeps_some_for_high())
    }

    /// `nth`: which token of a limit it would be; of the target's own, or of a shared one.
    pub(super) fn tokens(
        &self,
        id: TargetId,
        now: Mono,
        mut nth: impl FnMut(Option<&LimitName>) -> u32,
    ) -> Tokens {
        let mut last = Tokens { at: now, full: false, limit: None };
        for (name, limiter) in self.all(id) {
            let (at, full) = limiter.earliest(now, nth(name));
            if at > last.at {
                last = Tokens { at, full, limit: name.cloned() };
            }
        }
        last
    }

    /// As [`Limits::tokens`], but not before what left at another rate, slowed since, lets it go.
    pub(super) fn goes(
        &self,
        id: TargetId,
        now: Mono,
        nth: impl FnMut(Option<&LimitName>) -> u32,
    ) -> Tokens {
        let tokens = self.tokens(id, now, nth);
        match self.may_leave_at(id, now) {
            Some(at) if at > tokens.at => Tokens { at, full: false, ..tokens },
            _ => tokens,
        }
    }

    /// Of the target's own limit: it changes in the course of time.
    pub(super) fn set_pace(&mut self, id: TargetId, pace: Pace, now: Mono) {
        if let Some(own) = self.own.get_mut(&id) {
            own.limiter.set_pace(pace, now);
        }
    }

    pub(super) fn pace(&self, id: TargetId) -> Option<Pace> {
        self.own.get(&id)?.limiter.bucket().map(Bucket::pace)
    }

    /// When one more may be let go, for all that is on its way out already; `None`: once some of
    /// that has left.
    pub(super) fn may_leave_at(&self, id: TargetId, now: Mono) -> Option<Mono> {
        self.all(id).try_fold(now, |last, (_, limiter)| Some(last.max(limiter.may_leave_at(now)?)))
    }

    /// Takes a token of every bucket; [`Limits::tokens`] said that they are there.
    pub(super) fn take(&mut self, id: TargetId, now: Mono) -> Shares {
        let shares = self.shares(id);
        self.each(id, &shares, |limiter, _| limiter.take(now));
        shares
    }

    /// A request that was let go has left this process, or never will: `at` says when, where it
    /// has.
    pub(super) fn left(&mut self, id: TargetId, taken: &Shares, at: Option<Mono>) {
        self.each(id, taken, |limiter, _| limiter.left(at));
    }

    /// A place and slots for one more; [`Limits::room`] said that they are there.
    pub(super) fn reserve(&mut self, id: TargetId) -> Shares {
        self.own.entry(id).or_default();
        let shares = self.shares(id);
        self.each(id, &shares, |limiter, _| limiter.reserve());
        shares
    }

    /// Limits that came to apply while an attempt was under way: it counts in them too.
    pub(super) fn adopt(&mut self, id: TargetId, reserved: &Shares) -> Shares {
        let now = self.shares(id);
        let mut all: Vec<LimitName> = reserved.to_vec();
        for name in now.iter().filter(|name| !reserved.contains(name)) {
            if let Some(limiter) = self.shared.get_mut(name) {
                limiter.reserve();
            }
            all.push(name.clone());
        }
        all.into()
    }

    /// Nothing was sent.
    pub(super) fn put_back(&mut self, id: TargetId, reserved: &Shares) {
        self.each(id, reserved, |limiter, _| limiter.put_back());
    }

    /// An attempt ended. What it spent is to be on record with its end.
    pub(super) fn ended(
        &mut self,
        id: TargetId,
        reserved: &Shares,
        now: Now,
        close: Close,
    ) -> Vec<Spent> {
        let at = (self.lived(now.mono), now.wall);
        let (mut spent, mut entries) = (Vec::new(), Vec::new());
        self.each(id, reserved, |limiter, id| {
            limiter.ended(at, close, &mut entries);
            spent.extend(of(id, &mut entries));
        });
        spent
    }

    pub(super) fn own_tokens(&self, id: TargetId, now: Mono) -> f64 {
        let bucket = self.own.get(&id).and_then(|own| own.limiter.bucket());
        bucket.map_or(0.0, |bucket| bucket.tokens(now))
    }

    pub(super) fn shared_tokens(&self, name: &LimitName, now: Mono) -> Option<(Pace, f64)> {
        let bucket = self.shared.get(name)?.bucket()?;
        Some((bucket.pace(), bucket.tokens(now)))
    }

    /// Every limit that is configured.
    pub(super) fn view(&self, now: Mono) -> Vec<LimitView> {
        let lived = self.lived(now);
        let own = self.own.iter().map(|(id, own)| (LimitId::Target(*id), &own.limiter));
        let shared = self.shared.iter();
        let shared = shared.map(|(name, limiter)| (LimitId::Shared(name.clone()), limiter));
        own.chain(shared).filter_map(|(id, limiter)| limiter.view(id, lived)).collect()
    }

    /// Those that a target is held to.
    pub(super) fn view_of(&self, id: TargetId, now: Mono) -> Vec<LimitView> {
        let lived = self.lived(now);
        let name = |name: Option<&LimitName>| match name {
            None => LimitId::Target(id),
            Some(name) => LimitId::Shared(name.clone()),
        };
        self.all(id).filter_map(|(shared, limiter)| limiter.view(name(shared), lived)).collect()
    }

    fn all(&self, id: TargetId) -> impl Iterator<Item = (Option<&LimitName>, &Limiter)> {
        self.own.get(&id).into_iter().flat_map(|own| {
            let shared = own.shares.iter();
            let shared = shared.filter_map(|name| Some((Some(name), self.shared.get(name)?)));
            std::iter::once((None, &own.limiter)).chain(shared)
        })
    }

    fn each(&mut self, id: TargetId, shares: &Shares, mut act: impl FnMut(&mut Limiter, &LimitId)) {
        if let Some(own) = self.own.get_mut(&id) {
            act(&mut own.limiter, &LimitId::Target(id));
        }
        for name in shares.iter() {
            if let Some(limiter) = self.shared.get_mut(name) {
                act(limiter, &LimitId::Shared(name.clone()));
            }
        }
    }

    fn limiter(&mut self, id: &LimitId) -> &mut Limiter {
        match id {
            LimitId::Target(id) => &mut self.own.entry(*id).or_default().limiter,
            LimitId::Shared(name) => self.shared.entry(name.clone()).or_default(),
        }
    }
}

fn of<'a>(
    id: &'a LimitId,
    entries: &'a mut limiter::Entries,
) -> impl Iterator<Item = Spent> + use<'a> {
    let spent = |(account, count)| Spent { limit: id.clone(), account, count };
    entries.drain(..).map(spent)
}
