//! The store as it should be, over plain maps: what the real one is compared with, and the store
//! of the simulated world.
//!
//! Every index is derived from the jobs themselves by a scan, so that nothing in here can agree
//! with a wrong index of the real store by making the same mistake. A change that the real store
//! would refuse as corruption panics here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::codec::encode;
use super::keys;
use super::load::Excess;
use super::record::{Attempt, JobRecord, cap_history};
use crate::broker::change::{
    Account, Buried, Candidate, Change, Claim, Counts, DedupKey, Holder, Insert, Load, Loaded,
    Move, Recovered, RecoveredTarget, Spent, Turn,
};
use crate::broker::fair::{Clocks, FlowId, Tag};
use crate::broker::group::{GroupKey, Stand};
use crate::broker::job::{Header, JobId, Owed, Place, Priority, Seat, TargetId};
use crate::broker::payload::{Answer, Request};
use crate::broker::policy::{DeadRetention, LimitId};
use crate::broker::time::{Lived, Wall};

/// Clone it to keep what a crash would leave.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    jobs: BTreeMap<JobId, ModelJob>,
    claims: BTreeMap<DedupKey, Claim>,
    holders: BTreeMap<DedupKey, JobId>,
    targets: BTreeMap<TargetId, ModelTarget>,
    last_seat: Seat,
    clocks: BTreeMap<TargetId, Clocks>,
    flows: BTreeMap<FlowId, Tag>,
    spent: BTreeMap<(LimitId, Account), u64>,
    /// When something was last spent.
    pub(crate) last: Option<(Lived, Wall)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelJob {
    pub(crate) record: JobRecord,
    pub(crate) request: Arc<Request>,
    pub(crate) answer: Option<Arc<Answer>>,
    pub(crate) claimed: Option<DedupKey>,
    pub(crate) original: Option<Arc<Request>>,
    /// By the number of the request.
    pub(crate) attempts: BTreeMap<u32, Attempt>,
    /// Of a dead one: of all of that, in bytes.
    size: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct ModelTarget {
    name: String,
    paused: bool,
    held_until: Option<Wall>,
}

impl Model {
    /// Names that are new get the next free number. All known targets come back, by number.
    pub(crate) fn add_targets(&mut self, names: &[String]) -> Vec<(TargetId, String)> {
        for name in names {
            if self.targets.values().all(|target| target.name != *name) {
                let id = TargetId(self.targets.keys().next_back().map_or(0, |last| last.0 + 1));
                let target = ModelTarget { name: name.clone(), paused: false, held_until: None };
                self.targets.insert(id, target);
            }
        }
        self.targets.iter().map(|(id, target)| (*id, target.name.clone())).collect()
    }

    pub(crate) fn recover(&self) -> Recovered {
        let targets = self.targets.iter().map(|(id, target)| {
            let mut counts = Counts::default();
            for job in self.records().filter(|job| job.header.target == *id) {
                counts.enter(job.header.priority, &job.place, job.header.stand());
            }
            RecoveredTarget {
                id: *id,
                name: target.name.clone(),
                paused: target.paused,
                held_until: target.held_until,
                counts,
                clocks: self.clocks_of(*id),
            }
        });
        let running = self.records().filter_map(|job| match job.place {
            Place::Running { started } => Some((job.header.clone(), started)),
            _ => None,
        });
        Recovered {
            targets: targets.collect(),
            running: running.collect(),
            last_seat: self.last_seat,
            spent: self.spent().collect(),
            // Only who has a clock knows.
            lived: Lived::default(),
        }
    }

    pub(crate) fn spent(&self) -> impl Iterator<Item = Spent> + '_ {
        self.spent.iter().map(|((limit, account), count)| Spent {
            limit: limit.clone(),
            account: *account,
            count: *count,
        })
    }

    fn spend(&mut self, spent: &Spent) {
        let key = (spent.limit.clone(), spent.account);
        if spent.count == 0 {
            self.spent.remove(&key);
        } else {
            self.spent.insert(key, spent.count);
        }
    }

    /// Returns the request of each job that the turn moved into `Running`, in that order.
    ///
    /// # Panics
    /// On a change that does not fit what is stored, or that the state diagram forbids.
    pub(crate) fn commit(&mut self, _turn: Turn, changes: &[Change]) -> Vec<(JobId, Arc<Request>)> {
        let mut started: Vec<(JobId, Arc<Request>)> = Vec::new();
        for change in changes {
            let known = change.target().is_none_or(|target| self.targets.contains_key(&target));
            assert!(known, "no such target: {change:?}");
            if let Some(target) = change.target() {
                self.clocks.entry(target).or_default().apply(change);
            }
            match change {
                Change::Insert(insert) => self.insert(insert),
                Change::Move(step) => {
                    self.step(step);
                    let id = step.header.id;
                    if matches!(step.to, Place::Running { .. })
                        && started.iter().all(|(other, _)| *other != id)
                    {
                        started.push((id, self.jobs[&id].request.clone()));
                    }
                }
                Change::Delete { id, target, priority, place, stand } => {
                    self.delete(*id, *target, *priority, place, *stand);
                }
                Change::Rewrite { id, request, .. } => self.rewrite(*id, request),
                Change::Paused { target, paused } => self.target(*target).paused = *paused,
                Change::Spent(spent) => self.spend(spent),
                Change::Lived { lived, wall } => self.last = Some((*lived, *wall)),
                Change::Flow { flow, done } => {
                    self.flows.insert(flow.clone(), *done);
                }
                Change::Held { target, until } => self.target(*target).held_until = Some(*until),
            }
        }
        started
    }

    pub(crate) fn load(&self, load: &Load) -> Loaded {
        match load {
            Load::Ready { target, priority, after, limit } => {
                let rows = self.records().filter(|job| {
                    job.place == Place::Queued
                        && job.header.target == *target
                        && job.header.priority == *priority
                        && after.is_none_or(|after| job.header.rank() > after)
                });
                let (rows, exhausted) = window(rows.map(|job| (job.header.rank(), job)), *limit);
                let rows = rows.into_iter().map(|(_, job)| job.header.clone()).collect();
                Loaded::Ready { target: *target, priority: *priority, rows, exhausted }
            }
            Load::Timers { after, limit } => {
                let rows = self.records().filter_map(|job| match job.place {
                    Place::Scheduled { due }
                    | Place::Waiting { due }
                    | Place::Verifying { due } => Some(((due, job.header.id), job)),
                    _ => None,
                });
                let rows = rows.filter(|(key, _)| after.is_none_or(|after| *key > after));
                let (rows, exhausted) = window(rows, *limit);
                let rows = rows.into_iter().map(|(_, job)| (job.header.clone(), job.place));
                Loaded::Timers { rows: rows.collect(), exhausted }
            }
            Load::Deadlines { after, limit } => {
                let rows = self.records().filter(|job| !job.place.is_ended());
                let rows = rows.filter_map(|job| Some((job.header.deadline?, job.header.id)));
                let rows = rows.filter(|key| after.is_none_or(|after| *key > after));
                let (rows, exhausted) = window(rows.map(|key| (key, ())), *limit);
                let rows = rows.into_iter().map(|(key, ())| key).collect();
                Loaded::Deadlines { rows, exhausted }
            }
            Load::Job { id, ticket } => {
                let job = self.jobs.get(id).map(|job| &job.record);
                let job = job.map(|job| (job.header.clone(), job.place));
                Loaded::Job { ticket: *ticket, job }
            }
            Load::Claim { key, ticket } => {
                let holder = self.claims.get(key).map(|claim| {
                    let id = self.holders[key];
                    let ended = self.jobs.get(&id).is_none_or(|job| job.record.place.is_ended());
                    let cancelled =
                        self.jobs.get(&id).is_some_and(|job| job.record.place.is_cancelled());
                    Holder { id, digest: claim.digest, until: claim.until, ended, cancelled }
                });
                Loaded::Claim { ticket: *ticket, holder }
            }
            Load::Candidates { ids, ticket } => {
                let rows = ids.iter().filter_map(|id| self.candidate(*id)).collect();
                Loaded::Candidates { ticket: *ticket, rows }
            }
            Load::Flow { flow, ticket } => {
                let done = self.flows.get(flow).copied();
                let now = self.clocks_of(flow.target).get(flow.priority).now;
                Loaded::Flow { ticket: *ticket, done: done.filter(|done| *done > now) }
            }
            Load::Group { key, ticket } => {
                let taken = self.members(key).any(|job| job.header.stand() != Stand::Gone);
                Loaded::Group { ticket: *ticket, taken }
            }
            Load::Heir { key, ticket } => {
                let heir = self.heir(key).map(|job| (job.header.clone(), job.place));
                Loaded::Heir { ticket: *ticket, heir }
            }
            Load::Vacant { after, limit } => {
                let keys: BTreeSet<GroupKey> =
                    self.records().filter_map(|job| job.header.group_key()).collect();
                let vacant = keys.into_iter().filter(|key| self.heir(key).is_some());
                // The store sorts them by the hash of their names.
                let rows = vacant.map(|key| (keys::group(key.target, &key.name), key));
                let after = after.as_ref().map(|key| keys::group(key.target, &key.name));
                let rows = rows.filter(|(key, _)| after.is_none_or(|after| *key > after));
                let (rows, exhausted) = window(rows, *limit);
                let groups = rows.into_iter().map(|(_, key)| key).collect();
                Loaded::Vacant { groups, exhausted }
            }
            Load::Dead { target, after, limit, ticket } => {
                let rows = self.ended(true).filter(|(_, job)| job.header.target == *target);
                let rows = rows.filter(|(key, _)| after.is_none_or(|after| *key > after));
                let (rows, exhausted) = window(rows, *limit);
                let rows = rows.into_iter().map(|(_, job)| (job.header.clone(), job.place));
                Loaded::Dead { ticket: *ticket, rows: rows.collect(), exhausted }
            }
            Load::Graves { target, keep, now, limit } => self.graves(*target, *keep, *now, *limit),
            Load::Finished { before, limit } => {
                // From its end, or for its callback from later.
                let kept = |at: Wall, job: &JobRecord| job.header.kept_for_callback().unwrap_or(at);
                let laid_down = || {
                    let ended = self.ended(false);
                    let ended = ended.filter(|(_, job)| job.header.owed == Owed::Nothing);
                    let ended = ended.map(|((at, id), job)| ((kept(at, job), id), job));
                    ended.filter(|((at, _), _)| *at != Wall::NEVER)
                };
                let due = laid_down().filter(|((at, _), _)| at < before);
                let (rows, _) = window(due, *limit);
                let last = rows.last().map(|(key, _)| *key);
                let left = laid_down().map(|(key, _)| key).filter(|key| Some(*key) > last);
                let next = left.min().map(|(at, _)| at);
                let rows = rows.into_iter().map(|(_, job)| {
                    (job.header.id, job.header.target, job.header.priority, job.place)
                });
                Loaded::Finished { rows: rows.collect(), next }
            }
        }
    }

    pub(crate) fn job(&self, id: JobId) -> Option<&ModelJob> {
        self.jobs.get(&id)
    }

    /// By id.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (JobId, &ModelJob)> {
        self.jobs.iter().map(|(id, job)| (*id, job))
    }

    fn records(&self) -> impl Iterator<Item = &JobRecord> {
        self.jobs.values().map(|job| &job.record)
    }

    /// Those that ended and are, or are not, dead; with when and who.
    fn ended(&self, dead: bool) -> impl Iterator<Item = ((Wall, JobId), &JobRecord)> {
        self.records().filter_map(move |job| match job.place {
            Place::Ended { end, at } if end.is_dead() == dead => Some(((at, job.header.id), job)),
            _ => None,
        })
    }

    fn candidate(&self, id: JobId) -> Option<Candidate> {
        let job = self.jobs.get(&id)?;
        let holder = job.claimed.as_ref().and_then(|key| self.holders.get(key)).copied();
        let is_cancelled =
            |id: &JobId| self.jobs.get(id).is_some_and(|job| job.record.place.is_cancelled());
        Some(Candidate {
            header: job.record.header.clone(),
            place: job.record.place,
            name: job.claimed.as_ref().map(|key| key.name.clone()),
            holder: holder.filter(|holder| !is_cancelled(holder)),
        })
    }

    pub(crate) fn clocks_of(&self, target: TargetId) -> Clocks {
        self.clocks.get(&target).cloned().unwrap_or_default()
    }

    /// When the last job of each flow is done.
    pub(crate) fn flows(&self) -> &BTreeMap<FlowId, Tag> {
        &self.flows
    }

    fn members(&self, key: &GroupKey) -> impl Iterator<Item = &JobRecord> {
        self.records().filter(move |job| {
            let group = job.header.group.as_ref().filter(|_| job.header.target == key.target);
            group.is_some_and(|group| group.name == key.name)
        })
    }

    /// The next in a group without a head.
    fn heir(&self, key: &GroupKey) -> Option<&JobRecord> {
        if self.members(key).any(|job| job.header.stand() == Stand::Head) {
            return None;
        }
        let behind = self.members(key).filter(|job| job.header.stand() == Stand::Behind);
        behind.min_by_key(|job| job.header.group.as_ref().map(|group| group.order))
    }

    /// A group has one head at most, and who is behind in it is nowhere else.
    fn grouped(&self, header: &Header, place: &Place) {
        let behind = matches!(place, Place::Behind { .. });
        let fits = match header.stand() {
            Stand::Behind => behind || place.is_ended(),
            Stand::Head => !behind,
            Stand::Gone => !behind && (place.is_ended() || header.group.is_none()),
        };
        assert!(fits, "{header:?} is {place:?}");
        if let Some(key) = header.group_key() {
            let heads = self.members(&key).filter(|job| job.header.stand() == Stand::Head);
            assert!(heads.count() <= 1, "a second head of its group: {header:?}");
        }
    }

    fn target(&mut self, id: TargetId) -> &mut ModelTarget {
        self.targets.get_mut(&id).expect("the target was checked")
    }

    fn insert(&mut self, insert: &Insert) {
        let header = &insert.header;
        assert!(
            matches!(insert.place, Place::Queued | Place::Scheduled { .. } | Place::Behind { .. }),
            "a job begins queued, scheduled or behind: {insert:?}"
        );
        let claimed = insert.claim.as_ref().map(|claim| {
            assert_eq!(claim.key.target, header.target, "a claim is within the job's own target");
            self.holders.insert(claim.key.clone(), header.id);
            self.claims.insert(claim.key.clone(), claim.clone());
            claim.key.clone()
        });
        let has_token = insert.request.task_token.is_some();
        assert_eq!(has_token, header.owed == Owed::TaskToken, "owed, or not: {insert:?}");
        let mut record =
            JobRecord { header: header.clone(), place: insert.place, history: Vec::new() };
        record.history.clone_from(&insert.events);
        cap_history(&mut record.history);
        let job = ModelJob {
            record,
            request: insert.request.clone(),
            answer: None,
            claimed,
            original: None,
            attempts: BTreeMap::new(),
            size: 0,
        };
        assert!(self.jobs.insert(header.id, job).is_none(), "the id is taken: {insert:?}");
        self.grouped(header, &insert.place);
        self.seated(header, &insert.place);
    }

    fn step(&mut self, step: &Move) {
        let job = self.jobs.get_mut(&step.header.id);
        let job = job.unwrap_or_else(|| panic!("a job moves that is not there: {step:?}"));
        let old = &job.record.header;
        assert_eq!(job.record.place, step.from, "the job is somewhere else: {step:?}");
        assert_eq!(old.priority, step.from_priority, "another priority: {step:?}");
        assert_eq!(old.seat, step.from_seat, "another seat: {step:?}");
        assert_eq!(old.owed, step.from_owed, "something else is owed: {step:?}");
        assert_eq!(old.stand(), step.from_stand, "it stands elsewhere in its group: {step:?}");
        let place = |header: &Header| header.group.as_ref().map(|g| (g.name.clone(), g.order));
        assert_eq!(place(old), place(&step.header), "a job never changes its group: {step:?}");
        assert_eq!(old.target, step.header.target, "a job never changes its target: {step:?}");
        assert_eq!(old.enqueued_at, step.header.enqueued_at, "a job is born once: {step:?}");
        assert!(step.from.may_become(&step.to), "no legal move: {step:?}");
        if step.header.owed == Owed::Nothing && job.request.task_token.is_some() {
            // A token that is answered is not kept.
            job.request = Arc::new(Request { task_token: None, ..Request::clone(&job.request) });
        }
        job.record.header = step.header.clone();
        job.record.place = step.to;
        job.record.history.extend_from_slice(&step.events);
        cap_history(&mut job.record.history);
        if let Some(answer) = &step.answer {
            job.answer = Some(kept(answer));
        }
        let number = step.header.number();
        if let Some(attempt) = Attempt::of(step) {
            job.attempts.insert(number, attempt);
            job.attempts.retain(|other, _| *other + Attempt::KEPT > number);
        } else if matches!(step.to, Place::Ended { end, .. } if !end.is_dead()) {
            job.attempts.clear();
        }
        job.size = job.weigh();
        self.grouped(&step.header, &step.to);
        self.seated(&step.header, &step.to);
    }

    fn rewrite(&mut self, id: JobId, request: &Arc<Request>) {
        let job = self.jobs.get_mut(&id).expect("a job that is rewritten is there");
        let dead = matches!(job.record.place, Place::Ended { end, .. } if end.is_dead());
        assert!(dead, "a living job is rewritten: {job:?}");
        let task_token = job.request.task_token.clone();
        let after = Arc::new(Request { task_token, ..Request::clone(request) });
        let before = std::mem::replace(&mut job.request, after);
        // Its token is kept beside it.
        let before = Arc::new(Request { task_token: None, ..Request::clone(&before) });
        job.original.get_or_insert(before);
    }

    fn graves(&self, target: TargetId, keep: DeadRetention, now: Wall, limit: usize) -> Loaded {
        let mut dead: Vec<(Wall, JobId)> = self
            .ended(true)
            .filter(|(_, job)| job.header.target == target)
            .map(|(key, _)| key)
            .collect();
        dead.sort_unstable();
        let buried = Buried {
            count: dead.len() as u64,
            size: dead.iter().map(|(_, id)| self.jobs[id].size).sum(),
            oldest: dead.first().map(|(at, _)| *at),
        };
        let mut excess = Excess::new(keep, now, buried);
        let (mut rows, mut next) = (Vec::new(), None);
        for (at, id) in dead {
            let job = &self.jobs[&id];
            if job.record.header.owed != Owed::Nothing || job.record.header.owes_callback() {
                continue;
            }
            if rows.len() == limit || !excess.takes(at, job.size) {
                next = Some(at);
                break;
            }
            rows.push((job.record.header.clone(), job.record.place));
        }
        Loaded::Graves { target, rows, buried, next }
    }

    fn delete(
        &mut self,
        id: JobId,
        target: TargetId,
        priority: Priority,
        place: &Place,
        stand: Stand,
    ) {
        let job = self.jobs.remove(&id);
        let job = job.unwrap_or_else(|| panic!("a job is deleted that is not there: {id}"));
        assert!(place.is_ended(), "a living job is deleted: {job:?}");
        assert_eq!(job.record.place, *place, "the job is somewhere else");
        assert_eq!(job.record.header.target, target, "the job has another target");
        assert_eq!(job.record.header.stand(), stand, "it stands elsewhere in its group");
        assert_eq!(job.record.header.owed, Owed::Nothing, "its token is not answered: {job:?}");
        assert!(!job.record.header.owes_callback(), "its callback is not told: {job:?}");
        assert_eq!(job.record.header.priority, priority, "the job has another priority");
        if let Some(key) = job.claimed
            && self.holders.get(&key) == Some(&id)
        {
            self.holders.remove(&key);
            self.claims.remove(&key);
        }
    }

    /// No two jobs of a queue have one seat.
    fn seated(&mut self, header: &Header, place: &Place) {
        let never_given = header.seat > self.last_seat;
        self.last_seat = self.last_seat.max(header.seat);
        if *place == Place::Queued && !never_given {
            let twin = self.records().find(|other| {
                other.place == Place::Queued
                    && other.header.id != header.id
                    && other.header.target == header.target
                    && other.header.priority == header.priority
                    && other.header.seat == header.seat
            });
            assert!(twin.is_none(), "two in one seat: {header:?} and {twin:?}");
        }
    }
}

impl ModelJob {
    fn weigh(&self) -> u64 {
        fn of<T: serde::Serialize>(value: &T) -> u64 {
            let mut bytes = Vec::new();
            encode(&mut bytes, value).expect("what is stored can be written");
            bytes.len() as u64
        }
        // A task token is kept elsewhere.
        of(&Request { task_token: None, ..Request::clone(&self.request) })
            + self.answer.as_deref().map_or(0, of)
            + self.original.as_deref().map_or(0, of)
            + self.attempts.values().map(of).sum::<u64>()
    }
}

/// The first `limit` by key, and whether there are no more.
fn window<K: Ord, R>(rows: impl Iterator<Item = (K, R)>, limit: usize) -> (Vec<(K, R)>, bool) {
    let mut rows: Vec<(K, R)> = rows.collect();
    let exhausted = rows.len() <= limit;
    if !exhausted {
        rows.select_nth_unstable_by(limit, |a, b| a.0.cmp(&b.0));
        rows.truncate(limit);
    }
    rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    (rows, exhausted)
}

fn kept(answer: &Arc<Answer>) -> Arc<Answer> {
    if answer.body.len() <= answer.keep {
        return answer.clone();
    }
    Arc::new(answer.cut(answer.keep))
}
