//! What the broker has said of its jobs: what is on disk, and what it gathered since. Kept from its
//! changes alone, without windows, so that the checker sees every job at any moment.

use std::collections::{BTreeMap, BTreeSet};

use super::groups::Groups;
use super::violation::{Checked, ensure};
use crate::broker::change::{Change, DedupKey, Load, Loaded, Ticket};
use crate::broker::fair::Rank;
use crate::broker::job::{Header, JobId, Place, Priority, TargetId};
use crate::broker::time::Wall;
use crate::store::model::Model;

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) header: Header,
    pub(super) place: Place,
    claimed: Option<DedupKey>,
}

impl Entry {
    pub(super) fn is_pending(&self) -> bool {
        !self.place.is_ended() && !matches!(self.place, Place::Running { .. })
    }

    /// Its deadline is of no matter now: it is under way, or its outcome is being asked for.
    fn has_no_deadline(&self) -> bool {
        !self.is_pending() || self.header.course.is_asking()
    }

    /// The key that it came with; perhaps another job holds it now.
    pub(super) fn claimed(&self) -> Option<&DedupKey> {
        self.claimed.as_ref()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claimant {
    pub(super) id: JobId,
    pub(super) digest: [u8; 32],
    pub(super) until: Wall,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    jobs: BTreeMap<JobId, Box<Entry>>,
    lines: BTreeMap<(TargetId, Priority), BTreeMap<Rank, JobId>>,
    timers: BTreeSet<(Wall, JobId)>,
    /// Of jobs that are not under way.
    deadlines: BTreeSet<(Wall, JobId)>,
    claims: BTreeMap<DedupKey, Claimant>,
    alive: BTreeMap<TargetId, u64>,
    running: BTreeMap<TargetId, u32>,
    paused: BTreeSet<TargetId>,
    pub(super) groups: Groups,
}

impl Book {
    /// What a store holds.
    pub(super) fn of(model: &Model) -> Book {
        let mut book = Book::default();
        for (id, job) in model.jobs() {
            let claimed = job.claimed.clone();
            if let Some(key) = &claimed {
                let load = Load::Claim { key: key.clone(), ticket: Ticket(0) };
                if let Loaded::Claim { holder: Some(holder), .. } = model.load(&load) {
                    let claimant =
                        Claimant { id: holder.id, digest: holder.digest, until: holder.until };
                    book.claims.insert(key.clone(), claimant);
                }
            }
            let (header, place) = (job.record.header.clone(), job.record.place);
            book.enter(id, Entry { header, place, claimed });
        }
        let paused = model.recover().targets.into_iter().filter(|target| target.paused);
        book.paused = paused.map(|target| target.id).collect();
        book
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Entry> {
        self.jobs.get(&id).map(|entry| &**entry)
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = (&JobId, &Entry)> {
        self.jobs.iter().map(|(id, entry)| (id, &**entry))
    }

    /// Who is first in a line.
    pub(super) fn head(&self, target: TargetId, priority: Priority) -> Option<JobId> {
        self.lines.get(&(target, priority))?.values().next().copied()
    }

    pub(super) fn is_queued(&self, target: TargetId) -> bool {
        Priority::ALL.into_iter().any(|priority| self.head(target, priority).is_some())
    }

    pub(super) fn first_timer(&self) -> Option<(Wall, JobId)> {
        self.timers.first().copied()
    }

    pub(super) fn first_deadline(&self) -> Option<(Wall, JobId)> {
        self.deadlines.first().copied()
    }

    pub(super) fn claimant(&self, key: &DedupKey) -> Option<Claimant> {
        self.claims.get(key).copied()
    }

    /// The other job that has its name: a cancelled one has let it go.
    pub(super) fn rival(&self, id: JobId) -> Option<JobId> {
        let holder = self.claimant(self.get(id)?.claimed()?)?.id;
        let place = self.get(holder).map(|entry| entry.place);
        let cancelled = place.is_some_and(|place| place.is_cancelled());
        (holder != id && !cancelled).then_some(holder)
    }

    pub(super) fn alive(&self, target: TargetId) -> u64 {
        self.alive.get(&target).copied().unwrap_or(0)
    }

    pub(super) fn running(&self, target: TargetId) -> u32 {
        self.running.get(&target).copied().unwrap_or(0)
    }

    pub(super) fn is_paused(&self, target: TargetId) -> bool {
        self.paused.contains(&target)
    }

    pub(super) fn apply(&mut self, change: &Change) -> Checked {
        match change {
            Change::Insert(insert) => {
                let id = insert.header.id;
                ensure!(!self.jobs.contains_key(&id), "{id} is inserted twice");
                let claimed = insert.claim.as_ref().map(|claim| {
                    let claimant = Claimant { id, digest: claim.digest, until: claim.until };
                    self.claims.insert(claim.key.clone(), claimant);
                    claim.key.clone()
                });
                let (header, place) = (insert.header.clone(), insert.place);
                self.enter(id, Entry { header, place, claimed });
            }
            Change::Move(step) => {
                let id = step.header.id;
                let Some(old) = self.leave(id) else {
                    ensure!(false, "{id} moves and is not there: {step:?}");
                    return Ok(());
                };
                ensure!(old.place == step.from, "{id} is {:?}, not {:?}", old.place, step.from);
                let entry = Entry { header: step.header.clone(), place: step.to, ..old };
                self.enter(id, entry);
            }
            Change::Delete { id, place, .. } => {
                let Some(old) = self.leave(*id) else {
                    ensure!(false, "{id} is deleted and is not there");
                    return Ok(());
                };
                ensure!(old.place == *place, "{id} is {:?}, not {place:?}", old.place);
                if let Some(key) = old.claimed
                    && self.claims.get(&key).is_some_and(|claimant| claimant.id == *id)
                {
                    self.claims.remove(&key);
                }
            }
            Change::Paused { target, paused: true } => {
                self.paused.insert(*target);
            }
            Change::Paused { target, paused: false } => {
                self.paused.remove(target);
            }
            Change::Rewrite { id, .. } => {
                let place = self.get(*id).map(|entry| entry.place);
                let dead = matches!(place, Some(Place::Ended { end, .. }) if end.is_dead());
                ensure!(dead, "{id} is given another request, and it is {place:?}");
            }
            Change::Held { .. } | Change::Flow { .. } | Change::Spent(_) | Change::Lived { .. } => {
            }
        }
        Ok(())
    }

    fn enter(&mut self, id: JobId, entry: Entry) {
        let header = &entry.header;
        match entry.place {
            Place::Scheduled { due } | Place::Waiting { due } | Place::Verifying { due } => {
                self.timers.insert((due, id));
            }
            Place::Queued => {
                let line = self.lines.entry((header.target, header.priority)).or_default();
                line.insert(header.rank(), id);
            }
            Place::Running { .. } => *self.running.entry(header.target).or_default() += 1,
            Place::Ended { .. } | Place::Behind { .. } => {}
        }
        if !entry.place.is_ended() {
            *self.alive.entry(header.target).or_default() += 1;
        }
        self.groups.enter(header);
        if let Some(deadline) = header.deadline
            && !entry.has_no_deadline()
        {
            self.deadlines.insert((deadline, id));
        }
        self.jobs.insert(id, Box::new(entry));
    }

    fn leave(&mut self, id: JobId) -> Option<Entry> {
        let entry = self.jobs.remove(&id)?;
        let header = &entry.header;
        match entry.place {
            Place::Scheduled { due } | Place::Waiting { due } | Place::Verifying { due } => {
                self.timers.remove(&(due, id));
            }
            Place::Queued => {
                if let Some(line) = self.lines.get_mut(&(header.target, header.priority)) {
                    line.remove(&header.rank());
                }
            }
            Place::Running { .. } => *self.running.entry(header.target).or_default() -= 1,
            Place::Ended { .. } | Place::Behind { .. } => {}
        }
        if !entry.place.is_ended() {
            *self.alive.entry(header.target).or_default() -= 1;
        }
        self.groups.leave(header);
        if let Some(deadline) = header.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        Some(*entry)
    }
}
