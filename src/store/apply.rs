//! One record into one transaction, be it new or read again from the journal.

use std::sync::Arc;

use redb::WriteTransaction;

use super::bodies::Owner;
use super::books::{Books, Touched};
use super::commit::{Commit, Memory, Starts};
use super::error::Result;
use super::journal::{Blob, Blobs, Opening, Position};
use super::shelf::AtHand;
use super::{life, spent};
use crate::broker::change::Change;
use crate::broker::job::JobId;
use crate::broker::payload::Request;

/// What a record says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) opening: &'a Opening,
    pub(super) changes: &'a [Change],
    /// Of each change.
    pub(super) blobs: &'a [Blobs],
    /// Bodies that are in here once more.
    pub(super) moved: &'a [(Owner, Blob)],
    /// All of the record.
    pub(super) bytes: &'a [u8],
    /// Where it begins.
    pub(super) at: Position,
}

impl Said<'_> {
    /// Returns the request of each job that it moved into `Running`, in that order.
    pub(super) fn apply(
        &self,
        txn: &WriteTransaction,
        memory: &mut Memory,
        starts: Starts,
    ) -> Result<Vec<(JobId, Arc<Request>)>> {
        if !self.opening.targets.is_empty() {
            Books::write_new(txn, &self.opening.targets)?;
            memory.books.learn(&self.opening.targets);
        }
        let mut touched = Touched::default();
        let mut spent = spent::Touched::default();
        let mut last = None;
        let record = AtHand { bytes: self.bytes, at: self.at };
        let (mut commit, books) = Commit::open(txn, memory, record, starts)?;
        for (change, blobs) in self.changes.iter().zip(self.blobs) {
            match change {
                Change::Spent(said) => spent.say(said),
                Change::Lived { lived, wall } => last = Some((*lived, *wall)),
                _ => {
                    commit.apply(change, blobs)?;
                    books.apply(change, &mut touched)?;
                }
            }
        }
        for (owner, body) in self.moved {
            commit.moved(*owner, body)?;
        }
        let started = commit.started();
        let Memory { books, live, buffers, .. } = memory;
        let bytes = &mut buffers.bytes;
        spent.write(txn, bytes)?;
        if let Some(last) = last {
            life::write(self.opening.began.as_ref(), last, txn, bytes)?;
        }
        books.write(&touched, txn, bytes)?;
        live.write(txn)?;
        self.at.after(self.bytes.len()).write(txn, bytes)?;
        Ok(started)
    }
}
