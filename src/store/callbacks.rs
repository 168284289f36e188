//! Callbacks of jobs that have ended: those that are to be told yet, and those that were given up.
//!
//! Both tables are kept by the callback's name first, so that whoever tells one callback reads
//! nothing of the others, and how many there are of each stands beside them. What is said is made of
//! the job.

use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use ring::digest;
use serde::{Deserialize, Serialize};

use super::codec::{decode, encode};
use super::error::{Result, StoreError};
use super::keys;
use super::tables::{self, CALLBACK_COUNTS, CALLBACKS, UNDELIVERED, Writer};
use crate::broker::callback::{Callback, CallbackName, Telling};
use crate::broker::job::JobId;

const OWED_NAME: &str = "callbacks";
const UNDELIVERED_NAME: &str = "undelivered";
const COUNTS_NAME: &str = "callback_counts";

/// A callback's name as a hash, and a job's id.
pub(super) type CallbackKey = [u8; 32];
type NameKey = [u8; 16];

/// How many jobs of one callback there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackCount {
    pub name: CallbackName,
    /// To be told yet.
    pub owed: u64,
    /// Given up, and kept.
    pub undelivered: u64,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackList {
    Owed,
    Undelivered,
}

/// Within a commit. Most commits have nothing to do with callbacks, and open no table.
pub(super) struct Callbacks<'txn> {
    txn: &'txn WriteTransaction,
    open: Option<Open<'txn>>,
}

struct Open<'txn> {
    owed: Writer<'txn, 32>,
    undelivered: Writer<'txn, 32>,
    counts: Writer<'txn, 16>,
}

impl<'txn> Callbacks<'txn> {
    pub(super) fn new(txn: &'txn WriteTransaction) -> Callbacks<'txn> {
        Callbacks { txn, open: None }
    }

    /// A job moves, or is forgotten, or what is owed changes.
    pub(super) fn follow(
        &mut self,
        id: JobId,
        was: Option<&Callback>,
        is: Option<&Callback>,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        let (before, after) = (was.and_then(list), is.and_then(list));
        let Some(callback) = was.or(is).filter(|_| before != after) else { return Ok(()) };
        let open = match &mut self.open {
            Some(open) => open,
            closed => closed.insert(Open {
                owed: Writer::open(self.txn, CALLBACKS, OWED_NAME)?,
                undelivered: Writer::open(self.txn, UNDELIVERED, UNDELIVERED_NAME)?,
                counts: Writer::open(self.txn, CALLBACK_COUNTS, COUNTS_NAME)?,
            }),
        };
        let name = name_key(&callback.name);
        let key = key(name, id);
        let mut count = match open.counts.find(&name)? {
            Some(row) => decode(COUNTS_NAME, row.value())?,
            None => CallbackCount { name: callback.name.clone(), owed: 0, undelivered: 0 },
        };
        let less = |count: u64| {
            count.checked_sub(1).ok_or_else(|| StoreError::row(COUNTS_NAME, "less than nothing"))
        };
        match before {
            None => {}
            Some(CallbackList::Owed) => {
                open.owed.remove(&key)?;
                count.owed = less(count.owed)?;
            }
            Some(CallbackList::Undelivered) => {
                open.undelivered.remove(&key)?;
                count.undelivered = less(count.undelivered)?;
            }
        }
        match after {
            None => {}
            Some(CallbackList::Owed) => {
                open.owed.add(&key, &[])?;
                count.owed += 1;
            }
            Some(CallbackList::Undelivered) => {
                open.undelivered.add(&key, &[])?;
                count.undelivered += 1;
            }
        }
        if count.owed == 0 && count.undelivered == 0 {
            return open.counts.discard(&name).map(drop);
        }
        encode(bytes, &count)?;
        open.counts.put(&name, bytes)
    }
}

/// The row that a job has here.
pub(super) fn row(
    callback: &Callback,
    id: JobId,
) -> Option<(CallbackList, &CallbackName, CallbackKey)> {
    Some((list(callback)?, &callback.name, key(name_key(&callback.name), id)))
}

fn list(callback: &Callback) -> Option<CallbackList> {
    match callback.telling {
        Telling::NotYet | Telling::Delivered => None,
        Telling::Owed { .. } => Some(CallbackList::Owed),
        Telling::Undelivered { .. } => Some(CallbackList::Undelivered),
    }
}

/// Half of SHA-256: two names of one hash would be told each other's jobs.
fn name_key(name: &CallbackName) -> NameKey {
    let hash = digest::digest(&digest::SHA256, name.as_str().as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&hash.as_ref()[..16]);
    key
}

fn key(name: NameKey, id: JobId) -> CallbackKey {
    keys::join([&name, &keys::job(id)])
}

/// Jobs of one callback, by id.
pub(super) fn page(
    txn: &ReadTransaction,
    name: &CallbackName,
    list: CallbackList,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<JobId>> {
    let name = name_key(name);
    let from = match after {
        None => Bound::Included(key(name, JobId(0))),
        Some(id) => Bound::Excluded(key(name, id)),
    };
    let to = key(name, JobId(u128::MAX));
    let table = match list {
        CallbackList::Owed => tables::read(txn, CALLBACKS)?,
        CallbackList::Undelivered => tables::read(txn, UNDELIVERED)?,
    };
    let rows = table.range::<&CallbackKey>((from.as_ref(), Bound::Included(&to)))?.take(limit);
    let id = |key: &CallbackKey| {
        let mut id = [0; 16];
        id.copy_from_slice(&key[16..]);
        JobId(u128::from_be_bytes(id))
    };
    rows.map(|row| Ok(id(row?.0.value()))).collect()
}

/// By name; of those only that have any.
pub(super) fn counts(txn: &ReadTransaction) -> Result<Vec<CallbackCount>> {
    let mut counts: Vec<CallbackCount> = Vec::new();
    for row in tables::read(txn, CALLBACK_COUNTS)?.iter()? {
        counts.push(decode(COUNTS_NAME, row?.1.value())?);
    }
    counts.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(counts)
}
