//! Groups: who is the head of each, who waits behind it, and which have nobody at their head.
//!
//! All of it follows from how the members stand ([`Stand`]), so that a group is never without a
//! head unseen: what a crash leaves between the end of one head and the turn of the next is a row
//! of `vacant`.

use std::ops::Bound;

use redb::{ReadTransaction, WriteTransaction};

use super::codec::{decode, encode};
use super::error::{Result, StoreError};
use super::jobs;
use super::keys::{self, GroupRow};
use super::tables::{self, BEHIND, HEADS, HELD, JOBS, VACANT, Writer};
use crate::broker::counts;
use crate::broker::group::{GroupKey, GroupName, Membership, Stand};
use crate::broker::job::{Header, JobId, Place, TargetId};

/// Where a job is, as far as its group cares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Was<'a> {
    pub(super) group: Option<&'a Membership>,
    pub(super) place: Place,
}

impl<'a> Was<'a> {
    pub(super) fn of(header: &'a Header, place: Place) -> Was<'a> {
        Was { group: header.group.as_ref(), place }
    }

    /// Of a job that is not there yet, or not any more.
    pub(super) const NOWHERE: Was<'static> =
        Was { group: None, place: Place::Behind { due: None } };

    fn stand(&self) -> Stand {
        self.group.map_or(Stand::Gone, |group| group.stand)
    }

    fn holds(&self) -> bool {
        counts::holds(&self.place, self.stand())
    }
}

/// Within a commit.
pub(super) struct Groups<'txn> {
    heads: Writer<'txn, 20>,
    behind: Writer<'txn, 28>,
    held: Writer<'txn, 20>,
    vacant: Writer<'txn, 20>,
}

impl<'txn> Groups<'txn> {
    pub(super) fn open(txn: &'txn WriteTransaction) -> Result<Groups<'txn>> {
        Ok(Groups {
            heads: Writer::open(txn, HEADS, "heads")?,
            behind: Writer::open(txn, BEHIND, "behind")?,
            held: Writer::open(txn, HELD, "held")?,
            vacant: Writer::open(txn, VACANT, "vacant")?,
        })
    }

    /// A job of `target` went from one place to another.
    pub(super) fn moved(
        &mut self,
        id: JobId,
        target: TargetId,
        from: Was<'_>,
        to: Was<'_>,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        let Some(group) = to.group.or(from.group) else { return Ok(()) };
        let key = keys::group(target, &group.name);
        let (was, is) = (from.stand(), to.stand());
        if was != is {
            let member = keys::member(key, group.order);
            match was {
                Stand::Head => drop(self.heads.remove(&key)?),
                Stand::Behind => drop(self.behind.remove(&member)?),
                Stand::Gone => {}
            }
            match is {
                Stand::Head => self.heads.add(&key, &keys::job(id))?,
                Stand::Behind => self.behind.add(&member, &keys::job(id))?,
                Stand::Gone => {}
            }
            self.look_for_vacancy(&key, &group.name, bytes)?;
        }
        match (from.holds(), to.holds()) {
            (false, true) => self.held.add(&key, &keys::job(id)),
            (true, false) => self.held.remove(&key).map(drop),
            _ => Ok(()),
        }
    }

    fn look_for_vacancy(
        &mut self,
        key: &GroupRow,
        name: &GroupName,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        let vacant = !self.heads.has(key)? && self.behind.any(&keys::members(*key))?;
        if vacant {
            encode(bytes, name)?;
            self.vacant.put(key, bytes)
        } else {
            drop(self.vacant.discard(key)?);
            Ok(())
        }
    }
}

pub(super) fn is_taken(txn: &ReadTransaction, key: &GroupKey) -> Result<bool> {
    let key = keys::group(key.target, &key.name);
    if tables::read(txn, HEADS)?.get(&key)?.is_some() {
        return Ok(true);
    }
    Ok(tables::read(txn, VACANT)?.get(&key)?.is_some())
}

/// The next one of a group that has no head.
pub(super) fn heir(txn: &ReadTransaction, key: &GroupKey) -> Result<Option<(Header, Place)>> {
    let key = keys::group(key.target, &key.name);
    if tables::read(txn, HEADS)?.get(&key)?.is_some() {
        return Ok(None);
    }
    let (first, last) = keys::members(key);
    let behind = tables::read(txn, BEHIND)?;
    let Some(row) = behind.range::<&keys::MemberKey>(&first..=&last)?.next() else {
        return Ok(None);
    };
    let row = row?;
    let Some(job) = tables::read(txn, JOBS)?.get(&id("behind", row.1.value())?)? else {
        return Err(StoreError::row("jobs", "one that waits in its group is missing"));
    };
    let (head, _) = jobs::read_head(job.value())?;
    Ok(Some((head.header.into_owned(), head.place)))
}

pub(super) fn vacant(
    txn: &ReadTransaction,
    after: Option<&GroupKey>,
    limit: usize,
) -> Result<(Vec<GroupKey>, bool)> {
    let from = after
        .map_or(Bound::Unbounded, |after| Bound::Excluded(keys::group(after.target, &after.name)));
    let mut groups = Vec::new();
    for row in tables::read(txn, VACANT)?.range::<&GroupRow>((from.as_ref(), Bound::Unbounded))? {
        let (key, value) = row?;
        if groups.len() == limit {
            return Ok((groups, false));
        }
        let name = decode("vacant", value.value())?;
        groups.push(GroupKey { target: keys::read_group_target(key.value()), name });
    }
    Ok((groups, true))
}

/// Whose turn it is in the group.
pub(super) fn head(txn: &ReadTransaction, key: &GroupKey) -> Result<Option<JobId>> {
    let row = tables::read(txn, HEADS)?.get(&keys::group(key.target, &key.name))?;
    row.map(|row| Ok(JobId(u128::from_be_bytes(id("heads", row.value())?)))).transpose()
}

/// Dead jobs that hold their groups, in no order that means anything.
pub(super) fn held(txn: &ReadTransaction, target: TargetId, limit: usize) -> Result<Vec<JobId>> {
    let (first, last) = keys::groups(target);
    let rows = tables::read(txn, HELD)?;
    let rows = rows.range::<&GroupRow>(&first..=&last)?.take(limit);
    rows.map(|row| Ok(JobId(u128::from_be_bytes(id("held", row?.1.value())?)))).collect()
}

pub(super) fn id(table: &str, value: &[u8]) -> Result<keys::JobKey> {
    value.try_into().map_err(|_| StoreError::row(table, "a value is no job's id"))
}
