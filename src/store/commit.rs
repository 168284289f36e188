//! One turn into one transaction.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use redb::{ReadableTable, Table, WriteTransaction};

use super::bodies::{Bodies, Library, Owner};
use super::books::Books;
use super::callbacks::Callbacks;
use super::codec::{decode, encode};
use super::error::{Result, StoreError};
use super::groups::{Groups, Was};
use super::journal::{Blob, Blobs};
use super::live::Live;
use super::shelf::AtHand;
use super::tables::{
    CLAIMS, DEAD, DEADLINES, FINISHED, GRAVES, JOBS, READY, RUNNING, TIMERS, VERIFYING, Writer,
};
use super::tokens::Tokens;
use super::{jobs, keys};
use crate::broker::change::{Change, Claim, Insert, Move};
use crate::broker::fair::Rank;
use crate::broker::group::Stand;
use crate::broker::job::{Header, JobId, JobState, Owed, Place, Priority, TargetId};
use crate::broker::payload::Request;
use crate::broker::time::Wall;

/// Holder, digest, until.
pub(super) type ClaimRow = (JobId, [u8; 32], Wall);

/// Buffers that live longer than a commit, so that they need not grow again.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) bytes: Vec<u8>,
    key: Vec<u8>,
}

/// What the writer knows and holds from one commit to the next.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) books: Books,
    pub(super) live: Live,
    pub(super) library: Library,
    pub(super) buffers: Buffers,
}

/// All tables of jobs, open for writing.
pub(super) struct Commit<'txn> {
    jobs: Writer<'txn, 16>,
    bodies: Bodies<'txn>,
    ready: Writer<'txn, 21>,
    timers: Writer<'txn, 24>,
    deadlines: Writer<'txn, 24>,
    running: Writer<'txn, 16>,
    finished: Writer<'txn, 24>,
    dead: Writer<'txn, 28>,
    groups: Groups<'txn>,
    graves: Writer<'txn, 4>,
    tokens: Tokens<'txn>,
    callbacks: Callbacks<'txn>,
    verifying: Writer<'txn, 16>,
    claims: Table<'txn, &'static [u8], &'static [u8]>,
    buffers: &'txn mut Buffers,
    /// All of the record that the changes are in.
    record: &'txn [u8],
    starts: Starts,
    /// Of the jobs that came in with this turn, so that a start need not read them back; `None`
    /// once it is among the started ones.
    requests: HashMap<JobId, Option<Arc<Request>>>,
    started: Vec<(JobId, Arc<Request>)>,
}

/// Whether the requests of started jobs are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Starts {
    ToBeSent,
    /// In a life that is over.
    Past,
}

impl<'txn> Commit<'txn> {
    pub(super) fn open(
        txn: &'txn WriteTransaction,
        memory: &'txn mut Memory,
        record: AtHand<'txn>,
        starts: Starts,
    ) -> Result<(Commit<'txn>, &'txn mut Books)> {
        let Memory { books, live, library, buffers } = memory;
        let commit = Commit {
            jobs: Writer::open(txn, JOBS, "jobs")?,
            bodies: Bodies::open(txn, library, live, record)?,
            ready: Writer::open(txn, READY, "ready")?,
            timers: Writer::open(txn, TIMERS, "timers")?,
            deadlines: Writer::open(txn, DEADLINES, "deadlines")?,
            running: Writer::open(txn, RUNNING, "running")?,
            finished: Writer::open(txn, FINISHED, "finished")?,
            dead: Writer::open(txn, DEAD, "dead")?,
            groups: Groups::open(txn)?,
            graves: Writer::open(txn, GRAVES, "graves")?,
            tokens: Tokens::open(txn, &library.seals)?,
            callbacks: Callbacks::new(txn),
            verifying: Writer::open(txn, VERIFYING, "verifying")?,
            claims: txn.open_table(CLAIMS)?,
            buffers,
            record: record.bytes,
            starts,
            requests: HashMap::new(),
            started: Vec::new(),
        };
        Ok((commit, books))
    }

    /// `blobs`: where its bodies are in the record.
    pub(super) fn apply(&mut self, change: &Change, blobs: &Blobs) -> Result<()> {
        match change {
            Change::Insert(insert) => self
                .insert(insert, blobs)
                .map_err(|error| during(error, "insert", insert.header.id)),
            Change::Move(step) => {
                self.step(step, blobs).map_err(|error| during(error, "move", step.header.id))
            }
            Change::Delete { id, target, priority, place, stand } => self
                .delete(*id, *target, *priority, place, *stand)
                .map_err(|error| during(error, "delete", *id)),
            Change::Rewrite { id, .. } => {
                self.rewrite(*id, blobs).map_err(|error| during(error, "rewrite", *id))
            }
            Change::Paused { .. }
            | Change::Held { .. }
            | Change::Flow { .. }
            | Change::Spent(_)
            | Change::Lived { .. } => Ok(()),
        }
    }

    pub(super) fn moved(&mut self, owner: Owner, body: &Blob) -> Result<()> {
        self.bodies.moved(owner, body)
    }

    /// The request of each job that was moved into `Running`, in that order.
    pub(super) fn started(self) -> Vec<(JobId, Arc<Request>)> {
        self.started
    }

    /// Reads the request at once: later in the turn the job may be deleted.
    fn start(&mut self, id: JobId, owed: Owed) -> Result<()> {
        if self.starts == Starts::Past {
            return Ok(());
        }
        let request = match self.requests.entry(id) {
            Entry::Occupied(mut entry) => match entry.get_mut().take() {
                Some(request) if owed == Owed::Nothing && request.task_token.is_some() => {
                    Arc::new(Request { task_token: None, ..Request::clone(&request) })
                }
                Some(request) => request,
                None => return Ok(()),
            },
            Entry::Vacant(entry) => {
                entry.insert(None);
                let mut request = self.bodies.request(id)?;
                if owed == Owed::TaskToken {
                    request.task_token = Some(self.tokens.get(id)?);
                }
                Arc::new(request)
            }
        };
        self.started.push((id, request));
        Ok(())
    }

    fn insert(&mut self, insert: &Insert, blobs: &Blobs) -> Result<()> {
        let header = &insert.header;
        if !is_first(&insert.place) {
            return Err(StoreError::row(
                "jobs",
                format_args!("begins as {}", insert.place.state()),
            ));
        }
        let dedup = insert.claim.as_ref().map(|claim| claim.key.name.as_str());
        let bytes = &mut self.buffers.bytes;
        jobs::write_first(bytes, header, insert.place, dedup, &insert.events)?;
        self.jobs.add(&keys::job(header.id), bytes)?;
        self.bodies.add(header.id, &blobs.request)?;
        self.add_to_place(header, insert.place)?;
        self.tokens.add(header.id, header.owed, blobs.token.of(self.record))?;
        let to = Was::of(header, insert.place);
        let bytes = &mut self.buffers.bytes;
        self.groups.moved(header.id, header.target, Was::NOWHERE, to, bytes)?;
        if let Some(deadline) = header.deadline {
            self.deadlines.add(&keys::time(deadline, header.id), &[])?;
        }
        if let Some(claim) = &insert.claim {
            self.claim(header, claim)?;
        }
        if self.starts == Starts::ToBeSent {
            self.requests.insert(header.id, Some(insert.request.clone()));
        }
        Ok(())
    }

    fn step(&mut self, step: &Move, blobs: &Blobs) -> Result<()> {
        let header = &step.header;
        let key = keys::job(header.id);
        let (old_deadline, old_group, old_callback, old_rank, was_verifying) = {
            let row = self.jobs.get(&key)?;
            let (head, history) = jobs::read_head(row.value())?;
            let old = head.header.as_ref();
            let same = old.target == header.target
                && old.priority == step.from_priority
                && old.seat == step.from_seat
                && old.owed == step.from_owed
                && old.stand() == step.from_stand;
            if head.place != step.from || !same {
                let is = format!("{} at {:?}, {}", old.priority, old.seat, head.place.state());
                let said = format!(
                    "{} at {:?}, {}",
                    step.from_priority,
                    step.from_seat,
                    step.from.state()
                );
                return Err(StoreError::row("jobs", format_args!("it is {is}, not {said}")));
            }
            if !step.from.may_become(&step.to) {
                let (from, to) = (step.from.state(), step.to.state());
                return Err(StoreError::row("jobs", format_args!("{from} never becomes {to}")));
            }
            let bytes = &mut self.buffers.bytes;
            jobs::write_moved(bytes, &head, history, header, step.to, &step.events)?;
            let was_verifying = old.state_in(&step.from) == JobState::Verifying;
            let group = old.group.clone();
            let deadline = old.deadline.filter(|_| !step.from.is_ended());
            (deadline, group, old.callback.clone(), old.rank(), was_verifying)
        };
        self.jobs.replace(&key, &self.buffers.bytes)?;
        let old_kept = old_callback.as_ref().and_then(|callback| callback.kept_from());
        let old = (old_rank, old_kept);
        self.take_from_place(header.id, header.target, step.from_priority, old, step.from)?;
        // Before its place: that has the size of all that is kept.
        if blobs.answer.is_there() {
            self.bodies.answered(header.id, &blobs.answer)?;
        }
        if blobs.attempt.is_there() {
            self.bodies.attempted(header.id, header.number(), &blobs.attempt)?;
        } else if header.number() > u32::from(matches!(step.from, Place::Running { .. }))
            && matches!(step.to, Place::Ended { end, .. } if !end.is_dead())
        {
            self.bodies.forget_attempts(header.id)?;
        }
        self.add_to_place(header, step.to)?;
        let before = (step.from_owed, &step.from);
        self.tokens.follow(header.id, before, (header.owed, &step.to))?;
        let callback = header.callback.as_deref();
        let bytes = &mut self.buffers.bytes;
        self.callbacks.follow(header.id, old_callback.as_deref(), callback, bytes)?;
        match (was_verifying, header.state_in(&step.to) == JobState::Verifying) {
            (false, true) => self.verifying.add(&key, &[])?,
            (true, false) => drop(self.verifying.remove(&key)?),
            _ => {}
        }
        let from = Was { group: old_group.as_ref(), place: step.from };
        let to = Was::of(header, step.to);
        self.groups.moved(header.id, header.target, from, to, &mut self.buffers.bytes)?;
        let new_deadline = header.deadline.filter(|_| !step.to.is_ended());
        if old_deadline != new_deadline {
            if let Some(deadline) = old_deadline {
                self.deadlines.remove(&keys::time(deadline, header.id))?;
            }
            if let Some(deadline) = new_deadline {
                self.deadlines.add(&keys::time(deadline, header.id), &[])?;
            }
        }
        if matches!(step.to, Place::Running { .. }) {
            self.start(header.id, header.owed)?;
        }
        Ok(())
    }

    fn rewrite(&mut self, id: JobId, blobs: &Blobs) -> Result<()> {
        let place = jobs::read_head(self.jobs.get(&keys::job(id))?.value())?.0.place;
        if !matches!(place, Place::Ended { end, .. } if end.is_dead()) {
            return Err(StoreError::row("jobs", format_args!("it is {}", place.state())));
        }
        self.requests.remove(&id);
        self.bodies.rewrite(id, &blobs.request)
    }

    /// What dead jobs of this target take, in bytes, is so much more or less from here on.
    fn bury(&mut self, target: TargetId, change: impl FnOnce(u64) -> Option<u64>) -> Result<()> {
        let key = keys::target(target);
        let before: u64 = match self.graves.find(&key)? {
            Some(row) => decode("graves", row.value())?,
            None => 0,
        };
        let after = change(before)
            .ok_or_else(|| StoreError::row("graves", "the dead take less than nothing"))?;
        encode(&mut self.buffers.bytes, &after)?;
        self.graves.put(&key, &self.buffers.bytes)
    }

    fn delete(
        &mut self,
        id: JobId,
        target: TargetId,
        priority: Priority,
        place: &Place,
        stand: Stand,
    ) -> Result<()> {
        let (rank, group, callback) = {
            let row = self.jobs.remove(&keys::job(id))?;
            let (head, _) = jobs::read_head(row.value())?;
            let old = head.header.as_ref();
            if head.place != *place || old.target != target || old.priority != priority {
                let (is, said) = (head.place.state(), place.state());
                let what =
                    format_args!("it is {} and {is}, not {priority} and {said}", old.priority);
                return Err(StoreError::row("jobs", what));
            }
            if old.stand() != stand {
                let what = format_args!("it stands {:?} in its group, not {stand:?}", old.stand());
                return Err(StoreError::row("jobs", what));
            }
            let old_rank = old.rank();
            if !place.is_ended() {
                return Err(StoreError::row("jobs", format_args!("it is {} yet", place.state())));
            }
            if let Some(name) = head.dedup {
                let key = &mut self.buffers.key;
                keys::claim(target, name, key);
                let holder = match self.claims.get(key.as_slice())? {
                    Some(row) => Some(decode::<ClaimRow>("claims", row.value())?.0),
                    None => None,
                };
                // A later job may have taken it over, and may be gone with it.
                if holder == Some(id) {
                    self.claims.remove(key.as_slice())?;
                }
            }
            if old.owed != Owed::Nothing {
                return Err(StoreError::row("jobs", "its task token is not answered yet"));
            }
            if old.owes_callback() {
                return Err(StoreError::row("jobs", "its callback is not told yet"));
            }
            let Header { group, callback, .. } = head.header.into_owned();
            (old_rank, group, callback)
        };
        self.callbacks.follow(id, callback.as_deref(), None, &mut self.buffers.bytes)?;
        self.bodies.forget(id)?;
        let from = Was { group: group.as_ref(), place: *place };
        self.groups.moved(id, target, from, Was::NOWHERE, &mut self.buffers.bytes)?;
        let kept = callback.as_ref().and_then(|callback| callback.kept_from());
        self.take_from_place(id, target, priority, (rank, kept), *place)
    }

    fn claim(&mut self, header: &Header, claim: &Claim) -> Result<()> {
        if claim.key.target != header.target {
            return Err(StoreError::row("claims", "a claim within another target"));
        }
        let Buffers { bytes, key } = &mut *self.buffers;
        keys::claim(header.target, &claim.key.name, key);
        encode(bytes, &(header.id, claim.digest, claim.until))?;
        // That an older one may be overwritten is the core's decision.
        self.claims.insert(key.as_slice(), bytes.as_slice())?;
        Ok(())
    }

    fn add_to_place(&mut self, header: &Header, place: Place) -> Result<()> {
        let id = header.id;
        let bytes = &mut self.buffers.bytes;
        match place {
            Place::Queued => {
                encode(bytes, header)?;
                self.ready.add(&keys::ready(header.target, header.priority, header.rank()), bytes)
            }
            Place::Scheduled { due } | Place::Waiting { due } | Place::Verifying { due } => {
                encode(bytes, &(header, place))?;
                self.timers.add(&keys::time(due, id), bytes)
            }
            Place::Running { started } => {
                encode(bytes, &(header, started))?;
                self.running.add(&keys::job(id), bytes)
            }
            Place::Ended { end, at } if end.is_dead() => {
                let size = self.bodies.size(id)?;
                encode(bytes, &(header, place, size))?;
                self.dead.add(&keys::dead(header.target, at, id), bytes)?;
                self.bury(header.target, |bytes| bytes.checked_add(size))
            }
            Place::Ended { at, .. } => {
                encode(bytes, &(header.target, header.priority, place))?;
                self.finished.add(&keys::time(header.kept_for_callback().unwrap_or(at), id), bytes)
            }
            // Its group's table knows it.
            Place::Behind { .. } => Ok(()),
        }
    }

    fn take_from_place(
        &mut self,
        id: JobId,
        target: TargetId,
        priority: Priority,
        (rank, kept): (Rank, Option<Wall>),
        place: Place,
    ) -> Result<()> {
        match place {
            Place::Queued => self.ready.remove(&keys::ready(target, priority, rank)).map(drop),
            Place::Scheduled { due } | Place::Waiting { due } | Place::Verifying { due } => {
                self.timers.remove(&keys::time(due, id)).map(drop)
            }
            Place::Running { .. } => self.running.remove(&keys::job(id)).map(drop),
            Place::Ended { end, at } if end.is_dead() => {
                let (_, _, size): (Header, Place, u64) =
                    decode("dead", self.dead.remove(&keys::dead(target, at, id))?.value())?;
                self.bury(target, |bytes| bytes.checked_sub(size))
            }
            Place::Ended { at, .. } => {
                self.finished.remove(&keys::time(kept.unwrap_or(at), id)).map(drop)
            }
            Place::Behind { .. } => Ok(()),
        }
    }
}

/// Whether a job may begin there.
fn is_first(place: &Place) -> bool {
    matches!(place, Place::Queued | Place::Scheduled { .. } | Place::Behind { .. })
}

fn during(error: StoreError, doing: &str, id: JobId) -> StoreError {
    match error {
        StoreError::Corrupt(what) => StoreError::Corrupt(format!("{doing} of job {id}: {what}")),
        other => other,
    }
}
