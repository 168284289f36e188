//! Answers to the core's questions, each from one index.

use std::ops::Bound;

use redb::ReadTransaction;
use redb::ReadableTableMetadata;

use super::codec::decode;
use super::commit::ClaimRow;
use super::error::Result;
use super::tables::{
    self, CLAIMS, COUNTS, DEAD, DEADLINES, FINISHED, GRAVES, JOBS, OUTBOX, READY, Rows, TIMERS,
};
use super::{flows, groups, jobs, keys, list};
use crate::broker::change::{Buried, Candidate, Holder, Load, Loaded};
use crate::broker::counts::Count;
use crate::broker::fair::Rank;
use crate::broker::job::{Header, JobId, JobState, Place, Priority, TargetId};
use crate::broker::policy::DeadRetention;
use crate::broker::time::Wall;

const LAST_JOB: JobId = JobId(u128::MAX);

pub(super) fn load(txn: &ReadTransaction, load: &Load) -> Result<Loaded> {
    Ok(match load {
        Load::Ready { target, priority, after, limit } => {
            let key = |rank| keys::ready(*target, *priority, rank);
            let first = Bound::Included(key(Rank::default()));
            let from = after.map_or(first, |rank| Bound::Excluded(key(rank)));
            let table = tables::read(txn, READY)?;
            let (rows, exhausted) =
                window(&table, from, key(keys::LAST_RANK), *limit, |_, value| {
                    decode("ready", value)
                })?;
            Loaded::Ready { target: *target, priority: *priority, rows, exhausted }
        }
        Load::Timers { after, limit } => {
            let table = tables::read(txn, TIMERS)?;
            let (rows, exhausted) = window(&table, time(*after), LAST_TIME, *limit, |_, value| {
                decode("timers", value)
            })?;
            Loaded::Timers { rows, exhausted }
        }
        Load::Deadlines { after, limit } => {
            let table = tables::read(txn, DEADLINES)?;
            let (rows, exhausted) =
                window(&table, time(*after), LAST_TIME, *limit, |key, _| Ok(keys::read_time(key)))?;
            Loaded::Deadlines { rows, exhausted }
        }
        Load::Job { id, ticket } => {
            let job = tables::read(txn, JOBS)?.get(&keys::job(*id))?;
            let job = match job {
                Some(row) => {
                    let (head, _) = jobs::read_head(row.value())?;
                    Some((head.header.into_owned(), head.place))
                }
                None => None,
            };
            Loaded::Job { ticket: *ticket, job }
        }
        Load::Claim { key, ticket } => {
            let holder = holder(txn, key.target, &key.name)?;
            Loaded::Claim { ticket: *ticket, holder }
        }
        Load::Candidates { ids, ticket } => {
            let mut rows = Vec::with_capacity(ids.len());
            for id in ids {
                rows.extend(candidate(txn, *id)?);
            }
            Loaded::Candidates { ticket: *ticket, rows }
        }
        Load::Flow { flow, ticket } => {
            Loaded::Flow { ticket: *ticket, done: flows::done(txn, flow)? }
        }
        Load::Group { key, ticket } => {
            Loaded::Group { ticket: *ticket, taken: groups::is_taken(txn, key)? }
        }
        Load::Heir { key, ticket } => {
            Loaded::Heir { ticket: *ticket, heir: groups::heir(txn, key)? }
        }
        Load::Vacant { after, limit } => {
            let (groups, exhausted) = groups::vacant(txn, after.as_ref(), *limit)?;
            Loaded::Vacant { groups, exhausted }
        }
        Load::Dead { target, after, limit, ticket } => {
            let key = |(at, id)| keys::dead(*target, at, id);
            let first = Bound::Included(key((Wall::EPOCH, JobId(0))));
            let from = after.map_or(first, |after| Bound::Excluded(key(after)));
            let table = tables::read(txn, DEAD)?;
            let (rows, exhausted) =
                window(&table, from, key((Wall::NEVER, LAST_JOB)), *limit, |_, value| {
                    let (header, place, _): Grave = decode("dead", value)?;
                    Ok((header, place))
                })?;
            Loaded::Dead { ticket: *ticket, rows, exhausted }
        }
        Load::Finished { before, limit } => finished(txn, *before, *limit)?,
        Load::Graves { target, keep, now, limit } => graves(txn, *target, *keep, *now, *limit)?,
    })
}

const LAST_TIME: keys::TimeKey = [u8::MAX; 24];

fn time(after: Option<(Wall, JobId)>) -> Bound<keys::TimeKey> {
    after.map_or(Bound::Unbounded, |(at, id)| Bound::Excluded(keys::time(at, id)))
}

/// At most `limit` rows, and whether there are no more.
fn window<const N: usize, R>(
    table: &Rows<N>,
    from: Bound<[u8; N]>,
    to: [u8; N],
    limit: usize,
    mut read: impl FnMut(&[u8; N], &[u8]) -> Result<R>,
) -> Result<(Vec<R>, bool)> {
    let mut rows = Vec::with_capacity(limit.min(256));
    let range = (from.as_ref(), Bound::Included(&to));
    for row in table.range::<&[u8; N]>(range)? {
        let (key, value) = row?;
        if rows.len() == limit {
            return Ok((rows, false));
        }
        rows.push(read(key.value(), value.value())?);
    }
    Ok((rows, true))
}

fn candidate(txn: &ReadTransaction, id: JobId) -> Result<Option<Candidate>> {
    let Some(row) = tables::read(txn, JOBS)?.get(&keys::job(id))? else { return Ok(None) };
    let (head, _) = jobs::read_head(row.value())?;
    let (name, place) = (head.dedup.map(str::to_owned), head.place);
    let header = head.header.into_owned();
    let holder = match &name {
        Some(name) => holder(txn, header.target, name)?,
        None => None,
    };
    let holder = holder.filter(|holder| !holder.cancelled).map(|holder| holder.id);
    Ok(Some(Candidate { header, place, name, holder }))
}

fn holder(txn: &ReadTransaction, target: TargetId, name: &str) -> Result<Option<Holder>> {
    let mut key = Vec::with_capacity(4 + name.len());
    keys::claim(target, name, &mut key);
    let Some(row) = txn.open_table(CLAIMS)?.get(key.as_slice())? else {
        return Ok(None);
    };
    let (id, digest, until): ClaimRow = decode("claims", row.value())?;
    let (ended, cancelled) = match tables::read(txn, JOBS)?.get(&keys::job(id))? {
        Some(row) => {
            let place = jobs::read_head(row.value())?.0.place;
            (place.is_ended(), place.is_cancelled())
        }
        None => (true, false),
    };
    Ok(Some(Holder { id, digest, until, ended, cancelled }))
}

/// A dead job, and its size in bytes.
pub(super) type Grave = (Header, Place, u64);

fn graves(
    txn: &ReadTransaction,
    target: TargetId,
    keep: DeadRetention,
    now: Wall,
    limit: usize,
) -> Result<Loaded> {
    let mut buried = Buried::default();
    let counts = txn.open_table(COUNTS)?;
    for priority in Priority::ALL {
        for state in [JobState::Failed, JobState::Expired] {
            if let Some(count) = counts.get(&keys::count(target, priority, Count::In(state)))? {
                buried.count += u64::from_be_bytes(*count.value());
            }
        }
    }
    if let Some(row) = tables::read(txn, GRAVES)?.get(&keys::target(target))? {
        buried.size = decode("graves", row.value())?;
    }
    let mut excess = Excess::new(keep, now, buried);
    let outbox = tables::read(txn, OUTBOX)?;
    let nobody_waits = outbox.is_empty()?;
    let (mut rows, mut next) = (Vec::new(), None);
    let (first, last) = list::graves(target);
    for row in tables::read(txn, DEAD)?.range::<&keys::DeadKey>(&first..=&last)? {
        let (header, place, size): Grave = decode("dead", row?.1.value())?;
        let Place::Ended { at, .. } = place else { continue };
        buried.oldest.get_or_insert(at);
        let waits = !nobody_waits && outbox.get(&keys::job(header.id))?.is_some();
        if waits || header.owes_callback() {
            continue;
        }
        if rows.len() == limit || !excess.takes(at, size) {
            next = Some(at);
            break;
        }
        rows.push((header, place));
    }
    Ok(Loaded::Graves { target, rows, buried, next })
}

/// What is too much of a target's dead jobs.
#[derive(Debug)]
pub(super) struct Excess {
    count: u64,
    size: u64,
    /// Whoever died then or before is too old.
    too_old: Option<Wall>,
}

impl Excess {
    pub(super) fn new(keep: DeadRetention, now: Wall, buried: Buried) -> Excess {
        let over = |is: u64, most: Option<u64>| most.map_or(0, |most| is.saturating_sub(most));
        let age = keep.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        Excess {
            count: over(buried.count, keep.count),
            size: over(buried.size, keep.size),
            too_old: age.and_then(|age| now.as_millis().checked_sub(age)).map(Wall::from_millis),
        }
    }

    /// Whether the oldest that is left is to go. Where it is, it is gone from what is too much.
    pub(super) fn takes(&mut self, died: Wall, size: u64) -> bool {
        let old = self.too_old.is_some_and(|then| died <= then);
        if !old && self.count == 0 && self.size == 0 {
            return false;
        }
        self.count = self.count.saturating_sub(1);
        self.size = self.size.saturating_sub(size);
        true
    }
}

fn finished(txn: &ReadTransaction, before: Wall, limit: usize) -> Result<Loaded> {
    let mut rows = Vec::new();
    let mut next = None;
    let outbox = tables::read(txn, OUTBOX)?;
    let nobody_waits = outbox.is_empty()?;
    for row in tables::read(txn, FINISHED)?.range::<&keys::TimeKey>(..)? {
        let (key, value) = row?;
        let (at, id) = keys::read_time(key.value());
        if !nobody_waits && outbox.get(&keys::job(id))?.is_some() {
            continue;
        }
        if at >= before || at == Wall::NEVER || rows.len() == limit {
            // One whose callback is to be told comes back with what becomes of that.
            next = Some(at).filter(|at| *at != Wall::NEVER);
            break;
        }
        let (target, priority, place): (TargetId, Priority, Place) =
            decode("finished", value.value())?;
        rows.push((id, target, priority, place));
    }
    Ok(Loaded::Finished { rows, next })
}
