//! The tables of the file. What a row is keyed by stands in [`super::keys`], what it holds here.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `jobs` | id | place, header, history: see [`super::jobs`] |
//! | `requests`, `answers` | id | see [`super::shelf`], as for the next two |
//! | `originals` | id | the first request of a job that was given another |
//! | `attempts` | id, number | [`super::record::Attempt`]: an answer, cut short |
//! | `segments` | number | `u64`: how many bytes of it are wanted, see [`super::live`] |
//! | `ready` | target, priority, seat | `Header` |
//! | `ready` | target, priority, tag, seat | `Header` |
//! | `timers` | due, id | `(Header, Place)` |
//! | `deadlines` | deadline, id | nothing; of jobs that have not ended |
//! | `running` | id | `(Header, Wall)`: when it was started |
//! | `finished` | when it is kept from, id | `(TargetId, Priority, Place)`; of succeeded and cancelled ones. From its end; one whose callback is to be told from never, one whose callback was given up from then |
//! | `dead` | target, end, id | `(Header, Place)`; of failed and expired ones |
//! | `heads` | target, hash of a group's name | the id of the one whose turn it is |
//! | `behind` | the same, place in the group's order | the id of one that waits for its turn |
//! | `held` | target, hash of a group's name | the id of the dead job that holds it |
//! | `vacant` | the same | the name of a group with jobs behind and no head |
//! | `dead` | target, end, id | `(Header, Place, u64)`; of failed and expired ones, with their size |
//! | `graves` | target | `u64`: the size of its dead jobs together, in bytes |
//! | `claims` | target and name | `(JobId, [u8; 32], Wall)`: holder, digest, until |
//! | `targets` | number | `(String, bool, Option<Wall>)`: name, paused, held until |
//! | `counts` | target, priority, state | how many, big-endian |
//! | `clocks` | target, priority | `Clock`: the queue's virtual time |
//! | `flows` | target, priority, fairness key | `Tag`: when its last job is done there |
//! | `tokens` | id | `TaskToken`; of jobs that have one and have not ended: see [`super::tokens`] |
//! | `outbox` | id | `TaskToken`; of jobs that ended and whose token is to be answered |
//! | `callbacks` | hash of a callback's name, id | nothing; of jobs whose end it is to be told yet: see [`super::callbacks`] |
//! | `undelivered` | the same | nothing; of jobs whose end it was not told |
//! | `callback_counts` | hash of a callback's name | its name, and how many it has in both |
//! | `verifying` | id | nothing; of jobs whose outcome is asked for, wherever their question is |
//! | `spent` | limit and account | how much, see [`super::spent`] |
//! | `clock` | `life` or `last` | see [`super::life`] |
//! | `meta` | name | `format` and `last_seat` |
//! | `journal` | `store`, `position` or `broom` | see [`super::journal`] and [`super::flows`] |
//!
//! A job has one row in `jobs`, one in `requests`, and one in the table of its place. The place of
//! one that waits behind its head has no table but `behind`.

use redb::{
    AccessGuard, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};

use super::error::{Result, StoreError};

pub(super) type Definition<const N: usize> =
    TableDefinition<'static, &'static [u8; N], &'static [u8]>;
pub(super) type Rows<const N: usize> = ReadOnlyTable<&'static [u8; N], &'static [u8]>;
pub(super) type Guard<'a> = AccessGuard<'a, &'static [u8]>;

pub(super) const JOBS: Definition<16> = TableDefinition::new("jobs");
pub(super) const REQUESTS: Definition<16> = TableDefinition::new("requests");
pub(super) const ANSWERS: Definition<16> = TableDefinition::new("answers");
pub(super) const ORIGINALS: Definition<16> = TableDefinition::new("originals");
pub(super) const ATTEMPTS: Definition<20> = TableDefinition::new("attempts");
pub(super) const GRAVES: Definition<4> = TableDefinition::new("graves");
pub(super) const READY: Definition<21> = TableDefinition::new("ready");
pub(super) const TIMERS: Definition<24> = TableDefinition::new("timers");
pub(super) const DEADLINES: Definition<24> = TableDefinition::new("deadlines");
pub(super) const RUNNING: Definition<16> = TableDefinition::new("running");
pub(super) const FINISHED: Definition<24> = TableDefinition::new("finished");
pub(super) const DEAD: Definition<28> = TableDefinition::new("dead");
pub(super) const HEADS: Definition<20> = TableDefinition::new("heads");
pub(super) const BEHIND: Definition<28> = TableDefinition::new("behind");
pub(super) const HELD: Definition<20> = TableDefinition::new("held");
pub(super) const VACANT: Definition<20> = TableDefinition::new("vacant");
pub(super) const TOKENS: Definition<16> = TableDefinition::new("tokens");
pub(super) const OUTBOX: Definition<16> = TableDefinition::new("outbox");
pub(super) const CALLBACKS: Definition<32> = TableDefinition::new("callbacks");
pub(super) const UNDELIVERED: Definition<32> = TableDefinition::new("undelivered");
pub(super) const CALLBACK_COUNTS: Definition<16> = TableDefinition::new("callback_counts");
pub(super) const VERIFYING: Definition<16> = TableDefinition::new("verifying");
pub(super) const TARGETS: Definition<4> = TableDefinition::new("targets");
pub(super) const CLOCKS: Definition<5> = TableDefinition::new("clocks");
pub(super) const FLOWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("flows");
pub(super) const CLAIMS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("claims");
pub(super) const COUNTS: TableDefinition<'static, &[u8; 6], &[u8; 8]> =
    TableDefinition::new("counts");
/// What the limits have spent.
pub(super) const SPENT: TableDefinition<'static, &[u8], u64> = TableDefinition::new("spent");
/// How long the store has lived.
pub(super) const CLOCK: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("clock");
/// What is wanted of each segment of the journal.
pub(super) const SEGMENTS: TableDefinition<'static, u64, u64> = TableDefinition::new("segments");
/// What ties the index to its journal.
pub(super) const JOURNAL: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("journal");
pub(super) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

pub(super) const META_FORMAT: &str = "format";
pub(super) const META_LAST_SEAT: &str = "last_seat";

/// So that no reader ever misses a table.
pub(super) fn create_all(txn: &WriteTransaction) -> Result<()> {
    for table in [JOBS, REQUESTS, ANSWERS, ORIGINALS, RUNNING, TOKENS, OUTBOX, VERIFYING] {
        txn.open_table(table)?;
    }
    txn.open_table(CALLBACK_COUNTS)?;
    for table in [CALLBACKS, UNDELIVERED] {
        txn.open_table(table)?;
    }
    for table in [TIMERS, DEADLINES, FINISHED] {
        txn.open_table(table)?;
    }
    for table in [HEADS, HELD, VACANT] {
        txn.open_table(table)?;
    }
    for table in [BEHIND, DEAD] {
        txn.open_table(table)?;
    }
    txn.open_table(READY)?;
    txn.open_table(DEAD)?;
    txn.open_table(ATTEMPTS)?;
    txn.open_table(GRAVES)?;
    txn.open_table(TARGETS)?;
    txn.open_table(CLOCKS)?;
    txn.open_table(FLOWS)?;
    txn.open_table(CLAIMS)?;
    txn.open_table(COUNTS)?;
    txn.open_table(SPENT)?;
    txn.open_table(CLOCK)?;
    txn.open_table(JOURNAL)?;
    txn.open_table(SEGMENTS)?;
    txn.open_table(META)?;
    Ok(())
}

pub(super) fn read<const N: usize>(txn: &ReadTransaction, table: Definition<N>) -> Result<Rows<N>> {
    Ok(txn.open_table(table)?)
}

/// A table within a commit. A row that is there against expectation, or is missing, fails the
/// commit: it is never quietly mended.
pub(super) struct Writer<'txn, const N: usize> {
    name: &'static str,
    table: Table<'txn, &'static [u8; N], &'static [u8]>,
}

impl<'txn, const N: usize> Writer<'txn, N> {
    pub(super) fn open(
        txn: &'txn WriteTransaction,
        definition: Definition<N>,
        name: &'static str,
    ) -> Result<Writer<'txn, N>> {
        Ok(Writer { name, table: txn.open_table(definition)? })
    }

    /// A row that is not there yet.
    pub(super) fn add(&mut self, key: &[u8; N], value: &[u8]) -> Result<()> {
        let old = self.table.insert(key, value)?.is_some();
        if old { Err(self.wrong(key, "is there already")) } else { Ok(()) }
    }

    /// A row that is there.
    pub(super) fn replace(&mut self, key: &[u8; N], value: &[u8]) -> Result<()> {
        let old = self.table.insert(key, value)?.is_some();
        if old { Ok(()) } else { Err(self.wrong(key, "is missing")) }
    }

    /// A row, be it there or not.
    pub(super) fn put(&mut self, key: &[u8; N], value: &[u8]) -> Result<()> {
        self.table.insert(key, value)?;
        Ok(())
    }

    /// As [`Writer::put`], with the row that was there.
    pub(super) fn swap(&mut self, key: &[u8; N], value: &[u8]) -> Result<Option<Guard<'_>>> {
        Ok(self.table.insert(key, value)?)
    }

    pub(super) fn get(&self, key: &[u8; N]) -> Result<Guard<'_>> {
        self.table.get(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    /// A row that is there.
    pub(super) fn remove(&mut self, key: &[u8; N]) -> Result<Guard<'_>> {
        // Not `ok_or_else`: the guard borrows the table that the error names.
        let name = self.name;
        self.table.remove(key)?.ok_or_else(|| wrong(name, key, "is missing"))
    }

    /// A row that may be there.
    pub(super) fn find(&self, key: &[u8; N]) -> Result<Option<Guard<'_>>> {
        Ok(self.table.get(key)?)
    }

    /// The rows from `first` to `last`.
    pub(super) fn each(
        &self,
        first: &[u8; N],
        last: &[u8; N],
        mut see: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        for row in self.table.range::<&[u8; N]>(first..=last)? {
            see(row?.1.value())?;
        }
        Ok(())
    }

    pub(super) fn clear(&mut self, first: &[u8; N], last: &[u8; N]) -> Result<()> {
        Ok(self.table.retain_in::<&[u8; N], _>(first..=last, |_, _| false)?)
    }

    /// The row that was there, if one was.
    pub(super) fn discard(&mut self, key: &[u8; N]) -> Result<Option<Guard<'_>>> {
        Ok(self.table.remove(key)?)
    }

    pub(super) fn has(&self, key: &[u8; N]) -> Result<bool> {
        Ok(self.table.get(key)?.is_some())
    }

    /// Whether there is a row from the first of these keys to the last.
    pub(super) fn any(&self, (first, last): &([u8; N], [u8; N])) -> Result<bool> {
        Ok(self.table.range::<&[u8; N]>(first..=last)?.next().transpose()?.is_some())
    }

    fn wrong(&self, key: &[u8; N], what: &str) -> StoreError {
        wrong(self.name, key, what)
    }
}

fn wrong(table: &str, key: &[u8], what: &str) -> StoreError {
    let mut hex = String::with_capacity(key.len() * 2);
    for byte in key {
        hex.push_str(&format!("{byte:02x}"));
    }
    StoreError::row(table, format_args!("row {hex} {what}"))
}
