//! What the rest of the daemon reads of the store, past its thread.

use std::fmt;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableDatabase, ReadableTableMetadata};

use super::bodies::Library;
use super::callbacks::{self, CallbackCount, CallbackList};
use super::cursor::Cursor;
use super::disk::{Disk, Space};
use super::error::StoreError;
use super::file::File;
use super::list::DeathTally;
use super::record::{Attempt, Filter, JobRecord, Page};
use super::{error, groups, jobs, keys, list, tables, tokens};
use crate::broker::callback::CallbackName;
use crate::broker::fair::Rank;
use crate::broker::group::GroupKey;
use crate::broker::io::DeadFilter;
use crate::broker::job::{JobId, Priority, TargetId};
use crate::broker::payload::{Answer, Request, TaskToken};

/// How often a read that met a segment which was just removed begins anew: each time the rows are
/// of another commit.
const ANEW: usize = 10;

/// Reads what is committed. Cheap to clone, usable from any thread; calls block on the disk.
#[derive(Clone)]
pub struct Reader {
    database: Arc<File>,
    library: Library,
    disk: Arc<Disk>,
}

impl Reader {
    pub(super) fn new(database: Arc<File>, library: Library, disk: Arc<Disk>) -> Reader {
        Reader { database, library, disk }
    }

    pub fn job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        self.read(|txn| {
            let row = tables::read(txn, tables::JOBS)?.get(&keys::job(id))?;
            row.map(|row| jobs::read(row.value())).transpose()
        })
    }

    /// The kept part of the last answer.
    pub fn answer(&self, id: JobId) -> Result<Option<Answer>, StoreError> {
        self.read(|txn| self.library.answer(txn, id))
    }

    /// The request that a job came with, where it was given another.
    pub fn original(&self, id: JobId) -> Result<Option<Request>, StoreError> {
        self.read(|txn| self.library.original(txn, id))
    }

    /// The last answers of a job that has not succeeded, oldest first.
    pub fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, StoreError> {
        self.read(|txn| self.library.attempts(txn, id))
    }

    /// Less its task token.
    pub fn request(&self, id: JobId) -> Result<Option<Request>, StoreError> {
        self.read(|txn| self.library.request(txn, id))
    }

    /// The order is that of the index that answers best: queued jobs by target, priority and seat;
    /// scheduled and waiting ones by their time; succeeded and cancelled ones by their end; dead
    /// ones by target and death; running ones, and all where no state is asked for, by id.
    ///
    /// At most 1,000 jobs a page. A bounded number of rows is looked at, so a page can be short,
    /// even empty, and still have a `next`. A job that moves between two pages may be in both or
    /// in neither.
    ///
    /// # Errors
    /// [`StoreError::Cursor`] for a cursor that came of another state's listing.
    pub fn list(
        &self,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.read(|txn| list::list(txn, filter, after, limit, list::LOOKED_AT))
    }

    /// How many jobs in a line have a lower rank; `None` if more than `most`.
    pub fn ahead(
        &self,
        target: TargetId,
        priority: Priority,
        rank: Rank,
        most: u64,
    ) -> Result<Option<u64>, StoreError> {
        self.read(|txn| {
            let first = keys::ready(target, priority, Rank::default());
            let own = keys::ready(target, priority, rank);
            let mut count = 0;
            for row in tables::read(txn, tables::READY)?.range::<&keys::ReadyKey>(&first..&own)? {
                row?;
                count += 1;
                if count > most {
                    return Ok(None);
                }
            }
            Ok(Some(count))
        })
    }

    /// The dead jobs of a target, newest first.
    ///
    /// # Errors
    /// [`StoreError::Cursor`] for a cursor that came of another listing.
    pub fn dead(
        &self,
        target: TargetId,
        filter: &DeadFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.read(|txn| list::dead(txn, target, filter, after, limit))
    }

    /// What the next `looked_at` dead jobs of a target died of, from the newest back.
    ///
    /// # Errors
    /// [`StoreError::Cursor`] for a cursor that came of another listing.
    pub fn deaths(
        &self,
        target: TargetId,
        filter: &DeadFilter,
        after: Option<&Cursor>,
        looked_at: usize,
    ) -> Result<DeathTally, StoreError> {
        self.read(|txn| list::tally(txn, target, filter, after, looked_at))
    }

    /// Jobs that ended and whose task token is to be answered, by id.
    pub fn outbox(&self, after: Option<JobId>, limit: usize) -> Result<Vec<JobId>, StoreError> {
        self.read(|txn| list::ids(txn, tables::OUTBOX, after, limit))
    }

    /// How many of these there are.
    pub fn outbox_len(&self) -> Result<u64, StoreError> {
        self.read(|txn| Ok(tables::read(txn, tables::OUTBOX)?.len()?))
    }

    /// Jobs of one callback that it is to be told of yet, or was not told of, by id.
    pub fn callbacks(
        &self,
        name: &CallbackName,
        list: CallbackList,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobId>, StoreError> {
        self.read(|txn| callbacks::page(txn, name, list, after, limit))
    }

    /// How many there are of each callback that has any, by name.
    pub fn callback_counts(&self) -> Result<Vec<CallbackCount>, StoreError> {
        self.read(callbacks::counts)
    }

    /// The task token of a job, while an answer is owed to it.
    pub fn token(&self, id: JobId) -> Result<Option<TaskToken>, StoreError> {
        self.read(|txn| tokens::token(txn, &self.library.seals, id))
    }

    /// Jobs that have not ended and have a task token, by id, with their tokens.
    pub fn tokens(
        &self,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<(JobId, TaskToken)>, StoreError> {
        self.read(|txn| tokens::page(txn, &self.library.seals, after, limit))
    }

    /// How many of these there are.
    pub fn tokens_len(&self) -> Result<u64, StoreError> {
        self.read(|txn| Ok(tables::read(txn, tables::TOKENS)?.len()?))
    }

    /// Whose turn it is in a group; perhaps a dead job's, that holds it.
    pub fn head_of(&self, group: &GroupKey) -> Result<Option<JobId>, StoreError> {
        self.read(|txn| groups::head(txn, group))
    }

    /// Dead jobs that hold their groups, some of them where there are more than `limit`.
    pub fn holding(&self, target: TargetId, limit: usize) -> Result<Vec<JobId>, StoreError> {
        self.read(|txn| groups::held(txn, target, limit))
    }

    /// How large the file is and what is left around it. Asks the disk.
    pub fn space(&self) -> Space {
        self.disk.space()
    }

    /// Whether new jobs may come in: the disk has room (`min_free_disk`). The disk is asked once a
    /// second at most.
    pub fn has_room(&self) -> bool {
        self.disk.has_room()
    }

    pub(super) fn read<T>(
        &self,
        mut read: impl FnMut(&ReadTransaction) -> error::Result<T>,
    ) -> Result<T, StoreError> {
        let mut left = ANEW;
        loop {
            let done = error::caught(|| read(&self.database.begin_read()?), || self.leak());
            match done {
                Err(StoreError::Moved) if left > 0 => left -= 1,
                done => return done.map_err(|error| error.of(self.disk.path())),
            }
        }
    }

    /// After a panic within redb its locks are poisoned, and it would panic again while it closes
    /// the file. The system closes the file at the end of the process, which is near.
    pub(super) fn leak(&self) {
        std::mem::forget(self.database.clone());
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.disk.path()).finish()
    }
}
