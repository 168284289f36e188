//! What each limit allows, and what it is made to bear: counted in true time, over all lives, both
//! where requests are sent and where they arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use super::calendar::Parcel;
use super::clocks::Moment;
use super::kept::Kept;
use super::violation::{Checked, Violation};
use crate::broker::job::{JobId, TargetId};
use crate::broker::payload::Close;
use crate::broker::policy::{Bounds, LimitName, Policy};
use crate::broker::time::Wall;

#[derive(Debug, Default)]
struct Target {
    policy: Option<Policy>,
    own: Kept,
    /// It had a breaker in this life: that may be open, also where it has none any more.
    may_probe: bool,
}

impl Target {
    fn has_breaker(&self) -> bool {
        let failures = self.policy.as_ref().map(|policy| policy.tempo.breaker.failures);
        failures.is_some_and(|failures| failures != NonZeroU32::MAX)
    }
}

#[derive(Debug, Default)]
pub(super) struct Limits {
    targets: BTreeMap<TargetId, Target>,
    shared: BTreeMap<LimitName, Kept>,
    /// Sent, and which shared limits applied then.
    on_the_way: BTreeMap<(JobId, u32), (Moment, Vec<LimitName>)>,
    /// Rates change in the course of time, and with answers.
    pub(super) tempo: bool,
    /// Nobody sets the wall clock, so that true time tells the calendar's periods.
    pub(super) steady: bool,
    /// The network is so quick and even that arrivals keep to the bucket.
    pub(super) even: bool,
    /// The same of limits that are shared.
    pub(super) shared_even: bool,
}

impl Limits {
    pub(super) fn configure(
        &mut self,
        at: Moment,
        policies: &BTreeMap<TargetId, Policy>,
        shared: &BTreeMap<LimitName, Bounds>,
    ) {
        for id in policies.keys() {
            self.targets.entry(*id).or_default();
        }
        // What is spent under one that is not configured yet is remembered too.
        let shares = policies.values().flat_map(|policy| &policy.share);
        for name in shared.keys().chain(shares) {
            self.shared.entry(name.clone()).or_default();
        }
        for (id, target) in &mut self.targets {
            let new = policies.get(id).cloned();
            let shares = |policy: &Option<Policy>| {
                policy.as_ref().map(|policy| policy.share.clone()).unwrap_or_default()
            };
            // Whoever joins brings along what is under way.
            let before = shares(&target.policy);
            for name in shares(&new).iter().filter(|name| !before.contains(name)) {
                if let Some(kept) = self.shared.get_mut(name) {
                    kept.joined(at, &target.own);
                }
            }
            target.own.configure(at, new.as_ref().map(|policy| policy.limit.bounds()));
            target.policy = new;
            target.may_probe |= target.has_breaker();
        }
        for (name, kept) in &mut self.shared {
            kept.configure(at, shared.get(name).cloned());
        }
    }

    /// `running`: what the last life left under way, by target.
    pub(super) fn restart(&mut self, at: Moment, running: &[TargetId]) {
        for target in self.targets.values_mut() {
            target.own.restart(at, &|_| true);
            target.may_probe = target.has_breaker();
        }
        for (name, kept) in &mut self.shared {
            let targets = &self.targets;
            let shares = |id| {
                let policy = targets.get(&id).and_then(|target| target.policy.as_ref());
                policy.is_some_and(|policy| policy.share.contains(name))
            };
            kept.restart(at, &shares);
        }
        for id in running {
            self.each(*id, |kept| kept.found_running(at));
        }
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = TargetId> {
        self.targets.keys().copied()
    }

    pub(super) fn policy(&self, id: TargetId) -> Option<&Policy> {
        self.targets.get(&id)?.policy.as_ref()
    }

    /// Whether its breaker may be open.
    pub(super) fn may_probe(&self, id: TargetId) -> bool {
        self.targets.get(&id).is_some_and(|target| target.may_probe)
    }

    /// By when there is a token of every limit; `None` where that hangs on what is under way.
    /// `armed`: by when one that is armed can leave, for which a place and slots are there.
    pub(super) fn by(&self, id: TargetId, at: Moment, armed: bool) -> Option<Moment> {
        let mut by = Moment::START;
        // What answers do to a pace is not known here.
        if self.tempo {
            return None;
        }
        for kept in self.all(id) {
            by = if armed {
                by.max(kept.token_by())
            } else {
                // One that cannot go so soon holds nobody up.
                let they_can = |target| match target == id {
                    true => Moment::START,
                    false => {
                        self.all(target).map(Kept::token_by).max().unwrap_or(at).min(at + LEAD)
                    }
                };
                by.max(kept.token_behind_armed_by(they_can)).max(kept.room_by(at)?)
            };
        }
        Some(by)
    }

    /// Whether requests under one of its limits are on their way out of the process: also of targets
    /// that have left the limit meanwhile.
    pub(super) fn is_anything_leaving(&self, id: TargetId) -> bool {
        self.all(id).any(Kept::is_anything_leaving)
    }

    /// A start is on record: it has a place and slots.
    pub(super) fn armed(&mut self, id: TargetId, job: JobId) {
        self.each(id, |kept| kept.reserve(id, job));
    }

    /// A start came to nothing, or what was let go is not sent after all.
    pub(super) fn disarmed(&mut self, id: TargetId, job: JobId) {
        for kept in self.kept() {
            kept.put_back(id, job);
        }
    }

    /// `room`: how many may be under way at once.
    pub(super) fn send(
        &mut self,
        at: Moment,
        id: TargetId,
        job: JobId,
        attempt: u32,
        room: u32,
    ) -> Checked {
        let Some(target) = self.targets.get_mut(&id) else { return Err(no_such(id)) };
        let shares = target.policy.as_ref().map(|policy| policy.share.clone()).unwrap_or_default();
        target.own.send(at, id, job, Some(room)).map_err(|broken| sent_to(&id, &broken))?;
        for name in &shares {
            let Some(kept) = self.shared.get_mut(name) else { continue };
            kept.send(at, id, job, None).map_err(|broken| sent_to(name, &broken))?;
        }
        self.on_the_way.insert((job, attempt), (at, shares));
        Ok(())
    }

    pub(super) fn left(&mut self, at: Moment, job: JobId, attempt: u32, id: TargetId) {
        let shares = self.on_the_way.get(&(job, attempt)).map(|(_, shares)| shares.clone());
        if let Some(target) = self.targets.get_mut(&id) {
            target.own.left(at, job);
        }
        for name in shares.into_iter().flatten() {
            if let Some(kept) = self.shared.get_mut(&name) {
                kept.left(at, job);
            }
        }
    }

    /// Whether it has left this process is not known any more, or it has.
    pub(super) fn ended(&mut self, at: Moment, id: TargetId, job: JobId, close: Close) {
        for kept in self.kept() {
            kept.ended(at, id, job, close);
        }
    }

    pub(super) fn arrive(&mut self, at: Moment, parcel: Parcel) -> Checked {
        let id = parcel.target;
        let key = (parcel.job, parcel.number);
        let (even, shared_even) = (self.even, self.shared_even);
        let steady = self.steady.then(|| wall(at));
        let shares_now = self.policy(id).map(|policy| policy.share.clone()).unwrap_or_default();
        let (sent, shares) =
            self.on_the_way.remove(&key).unwrap_or_else(|| (at, shares_now.clone()));
        let Some(target) = self.targets.get_mut(&id) else { return Err(no_such(id)) };
        let of = (id, parcel.job);
        target.own.arrive(at, sent, of, even, steady).map_err(|broken| arrives(&id, &broken))?;
        // What was under way when a target left a limit is nobody's any more after a restart.
        for name in shares.iter().filter(|name| shares_now.contains(name)) {
            if let Some(kept) = self.shared.get_mut(name) {
                kept.arrive(at, sent, of, shared_even, steady)
                    .map_err(|broken| arrives(name, &broken))?;
            }
        }
        Ok(())
    }

    /// Whether lower priorities may lack what HIGH gets.
    pub(super) fn keep_some_for_high(&self, id: TargetId) -> bool {
        let keeps = |bounds: &Bounds| bounds.ceilings.reserve_high.as_f64() > 0.0;
        self.all(id).any(|kept| kept.bounds().is_some_and(keeps))
    }

    /// A job that is not HIGH is to be started.
    pub(super) fn leaves_what_is_kept(&self, at: Moment, id: TargetId) -> Checked {
        self.all(id).try_for_each(|kept| kept.leaves_what_is_kept(at))
    }

    /// Those that share a limit with it, itself among them.
    pub(super) fn peers(&self, id: TargetId) -> BTreeSet<TargetId> {
        let shares = |id| self.policy(id).map(|policy| policy.share.clone()).unwrap_or_default();
        let mut peers = BTreeSet::from([id]);
        loop {
            let names: BTreeSet<LimitName> = peers.iter().flat_map(|peer| shares(*peer)).collect();
            let more: BTreeSet<TargetId> = self
                .targets()
                .filter(|other| {
                    peers.contains(other) || shares(*other).iter().any(|n| names.contains(n))
                })
                .collect();
            if more.len() == peers.len() {
                return peers;
            }
            peers = more;
        }
    }

    fn all(&self, id: TargetId) -> impl Iterator<Item = &Kept> {
        let target = self.targets.get(&id);
        let shares = target.and_then(|target| target.policy.as_ref()).map(|policy| &policy.share);
        let shared = shares.into_iter().flatten().filter_map(|name| self.shared.get(name));
        target.map(|target| &target.own).into_iter().chain(shared)
    }

    fn each(&mut self, id: TargetId, mut act: impl FnMut(&mut Kept)) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        act(&mut target.own);
        for name in target.policy.iter().flat_map(|policy| &policy.share) {
            if let Some(kept) = self.shared.get_mut(name) {
                act(kept);
            }
        }
    }

    fn kept(&mut self) -> impl Iterator<Item = &mut Kept> {
        self.targets.values_mut().map(|target| &mut target.own).chain(self.shared.values_mut())
    }
}

/// What the wall clock says if nobody has set it.
pub(super) fn wall(at: Moment) -> Wall {
    Wall::from_millis(super::clocks::WALL) + at.since(Moment::START)
}

/// How long before its token a job is armed at most.
const LEAD: Duration = Duration::from_millis(50);

/// In any second as many as the bucket allows, where the network is even.
pub(super) const SECOND: Duration = Duration::from_secs(1);

fn no_such(id: TargetId) -> Violation {
    Violation(format!("there is no {id:?}"))
}

fn sent_to(limit: &dyn std::fmt::Debug, broken: &Violation) -> Violation {
    Violation(format!("too many requests sent to {limit:?}: {broken}"))
}

fn arrives(limit: &dyn std::fmt::Debug, broken: &Violation) -> Violation {
    Violation(format!("too many arrivals at {limit:?}: {broken}"))
}
