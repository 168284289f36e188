//! The durable store: a journal, redb as its index, one writer, and readers beside it.
//!
//! A turn of the core is one record of the [`journal`] and one transaction of redb. It is on the
//! disk when [`Store::commit`] returns, and opening the store after a crash finds the last turn
//! that was. Each place of a job is an index of its own, and counts are kept beside them, so that
//! nothing here ever walks the backlog.
//!
//! The order of a commit: the changes are applied to a transaction, which shows whether they fit;
//! the record is written and synced; the transaction is committed, in memory, and so shown to
//! readers. What a reader sees is on the disk.
//!
//! The store trusts nothing that it reads: a row that should be there and is not, or that says
//! something else than the change that moves it, fails the commit.

mod apply;
mod bodies;
mod books;
mod callbacks;
mod catch_up;
mod check;
mod checkpoint;
mod clearing;
mod codec;
mod commit;
mod compact;
mod cursor;
mod disk;
mod error;
mod file;
mod flows;
pub(crate) mod fuzz;
mod groups;
mod jobs;
mod journal;
mod key_file;
mod keys;
pub(crate) mod life;
mod list;
mod live;
mod load;
#[cfg(test)]
pub(crate) mod model;
mod open;
mod reader;
mod record;
mod rights;
mod seal;
mod shelf;
mod spent;
mod tables;
#[cfg(test)]
mod tests;
mod tokens;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use redb::{Database, Durability, ReadableDatabase, ReadableTable};

pub use callbacks::{CallbackCount, CallbackList};
pub use check::{Checked, check};
pub use compact::{Compacted, compact};
pub use cursor::{Cursor, NotACursor};
pub use disk::Space;
pub use error::StoreError;
pub use key_file::{KeyId, Keys};
pub use list::{DeathTally, Deaths};
pub use reader::Reader;
pub use record::{Attempt, Filter, HISTORY_HEAD, HISTORY_KEPT, JobRecord, Page};
pub use worker::{AnswerTargets, Work, spawn};

use crate::broker::change::{Change, Load, Loaded, Recovered, Turn};
use crate::broker::job::{Header, JobId, TargetId};
use crate::broker::payload::Request;
use crate::broker::time::Wall;
use bodies::{Library, Owner};
use checkpoint::{Limits, Since};
use clearing::Clearing;
use commit::{Memory, Starts};
use disk::Disk;
use file::File;
use journal::{Journal, Record, Volume};
use life::{Began, Life};
use seal::Seals;
use shelf::Shelf;

/// The format of the file: its tables, keys and values. Another one is refused. (The journal has a
/// version of its own.)
pub const FORMAT: u64 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub path: PathBuf,
    /// How much of its file redb keeps in memory, in bytes.
    pub cache: usize,
    /// Below it [`Reader::has_room`] says no; in bytes.
    pub min_free_disk: u64,
    /// Of `encrypt_key_file`; `None`: nothing is encrypted, and nothing can be that is there.
    pub keys: Option<Keys>,
}

/// What the store's thread tells the loop.
#[derive(Debug)]
pub enum Done {
    /// `requests`: of the jobs that the turn started, to be sent.
    Committed {
        turn: Turn,
        requests: Vec<(JobId, Arc<Request>)>,
    },
    Loaded(Box<Loaded>),
    /// Nothing can be promised any more.
    Failed(StoreError),
}

/// The one writer.
pub struct Store {
    database: Arc<File>,
    reader: Reader,
    disk: Arc<Disk>,
    journal: Journal,
    record: Record,
    memory: Memory,
    life: Life,
    limits: Limits,
    since: Since,
    clearing: Clearing,
    /// Whatever failed once fails for ever: what a failed write left on the disk is not known, and
    /// the books ran ahead of a commit that was not.
    failed: Option<StoreError>,
}

impl Store {
    /// Opens the file and its journal or makes them, readable by their owner alone, with the
    /// directories above them.
    ///
    /// Names that are not known yet become targets. [`Recovered`] has all targets, those too that
    /// `target_names` does not have.
    ///
    /// # Errors
    /// Where the file cannot be had, is another's, or is not as it was left.
    pub fn open(
        options: &Options,
        target_names: &[String],
    ) -> Result<(Store, Recovered), StoreError> {
        // It holds the lock on both.
        let database = open::open(&options.path, options.cache)?;
        let volume = Arc::new(open::open_journal(&options.path)?);
        let disk = Disk::new(options.path.clone(), options.min_free_disk);
        let limits = Limits::default();
        Store::sealed_over(database, volume, disk, limits, options.keys.as_ref(), target_names)
    }

    #[cfg(test)]
    fn over(
        database: Database,
        volume: Arc<dyn Volume>,
        disk: Disk,
        limits: Limits,
        target_names: &[String],
    ) -> Result<(Store, Recovered), StoreError> {
        Store::sealed_over(database, volume, disk, limits, None, target_names)
    }

    fn sealed_over(
        database: Database,
        volume: Arc<dyn Volume>,
        disk: Disk,
        limits: Limits,
        keys: Option<&Keys>,
        target_names: &[String],
    ) -> Result<(Store, Recovered), StoreError> {
        let (database, disk) = (Arc::new(File::new(database)), Arc::new(disk));
        let library = Library { shelf: Shelf::new(volume.clone()), seals: Seals::begin(keys)? };
        let reader = Reader::new(database.clone(), library.clone(), disk.clone());
        let (memory, journal) = error::caught(
            || {
                let caught_up = catch_up::all(&database, volume, &library, limits)?;
                // Now the index has every value that there is.
                library.admit(&database)?;
                Ok(caught_up)
            },
            || reader.leak(),
        )
        .map_err(|error| error.of(disk.path()))?;
        let (running, spent, past) = reader.read(|txn| {
            memory.books.audit(txn)?;
            let mut running: Vec<(Header, Wall)> = Vec::new();
            for row in tables::read(txn, tables::RUNNING)?.iter()? {
                running.push(codec::decode("running", row?.1.value())?);
            }
            Ok((running, spent::read(txn)?, life::read(txn)?))
        })?;
        let (life, lived) = Life::begin(past, crate::handle::Handle::wall_now());
        let (record, since, clearing) = Default::default();
        let mut store = Store {
            database,
            reader,
            disk,
            journal,
            record,
            memory,
            life,
            limits,
            since,
            clearing,
            failed: None,
        };
        store.guarded(|store| store.sweep())?;
        store.add_targets(target_names)?;
        let recovered = store.memory.books.recovered(running);
        let recovered = Recovered { spent, lived, ..recovered };
        Ok((store, recovered))
    }

    /// Returns once the new ones are durable, with all that are known, by number.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn add_targets(&mut self, names: &[String]) -> Result<Vec<(TargetId, String)>, StoreError> {
        self.guarded(|store| {
            let new = store.memory.books.unknown(names)?;
            if !new.is_empty() {
                store.write(None, &new, &[], &[])?;
            }
            Ok(store.memory.books.names())
        })
    }

    /// Returns once the turn is durable, with the request of each job that it moved into
    /// `Running`, in that order.
    ///
    /// # Errors
    /// A change that does not fit what is stored, or a failed write. Then whether the turn is on
    /// disk is known only when the store was opened again, and every further commit fails.
    pub fn commit(
        &mut self,
        turn: Turn,
        changes: &[Change],
    ) -> Result<Vec<(JobId, Arc<Request>)>, StoreError> {
        self.guarded(|store| {
            if changes.is_empty() {
                return Ok(Vec::new());
            }
            let lived = changes.iter().any(|change| matches!(change, Change::Lived { .. }));
            let began = if lived { store.life.tell() } else { None };
            store.write(began, &[], changes, &[])
        })
        .inspect_err(|error| {
            tracing::debug!(turn = turn.0, %error, "commit failed");
        })
    }

    /// To be called between commits, when whoever waits for one was answered: makes redb durable
    /// where enough has come together since it last was, and gives room back.
    ///
    /// # Errors
    /// A failed write; then every further commit fails.
    pub fn tidy(&mut self) -> Result<(), StoreError> {
        self.guarded(|store| {
            if store.clearing.is_at_it() {
                let moving = store.clearing.some(&store.journal, &store.database.begin_read()?)?;
                if !moving.is_empty() {
                    store.write(None, &[], &[], &moving)?;
                }
            }
            if store.since.is_enough(store.limits) {
                store.checkpoint()?;
                store.clearing.choose(&store.memory.live, &store.journal)?;
            }
            Ok(())
        })
    }

    /// As of the last commit.
    ///
    /// # Errors
    /// Where the file cannot be read, or a row not be understood.
    pub fn load(&self, load: &Load) -> Result<Loaded, StoreError> {
        self.reader.read(|txn| load::load(txn, load))
    }

    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    fn write(
        &mut self,
        began: Option<Began>,
        targets: &[(TargetId, String)],
        changes: &[Change],
        moving: &[(Owner, Vec<u8>)],
    ) -> error::Result<Vec<(JobId, Arc<Request>)>> {
        let Store { journal, record, memory, .. } = self;
        record.begin(&memory.library.seals, began, targets, changes, moving)?;
        let bytes = record.bytes().len();
        let at = journal.make_room()?;
        let mut txn = self.database.begin_write()?;
        txn.set_durability(Durability::None)?;
        let started = record.says(changes, at).apply(&txn, memory, Starts::ToBeSent)?;
        journal.append(record)?;
        txn.commit()?;
        self.since.add(bytes, changes.len());
        self.disk.wrote(bytes);
        Ok(started)
    }

    /// redb has all that the journal has, for good.
    fn checkpoint(&mut self) -> error::Result<()> {
        let mut txn = self.database.begin_write()?;
        // Two phases, and a file that opens at once after a crash.
        txn.set_quick_repair(true);
        txn.commit()?;
        self.since = Since::default();
        self.sweep()
    }

    /// Behind a checkpoint: segments that nobody wants any more.
    fn sweep(&self) -> error::Result<()> {
        let Memory { live, library, .. } = &self.memory;
        self.journal.forget(|number| live.wants(number))?;
        library.shelf.close(|number| !live.wants(number));
        Ok(())
    }

    fn guarded<T>(
        &mut self,
        write: impl FnOnce(&mut Store) -> error::Result<T>,
    ) -> Result<T, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let reader = self.reader();
        error::caught(|| write(self), || reader.leak()).map_err(|error| {
            let error = error.of(self.disk.path());
            self.failed = Some(error.clone());
            error
        })
    }
}

/// So that the next life has nothing to catch up with.
impl Drop for Store {
    fn drop(&mut self) {
        if self.failed.is_none() && self.since != Since::default() {
            // Should it fail, the journal has everything.
            if let Err(error) = self.guarded(Store::checkpoint) {
                tracing::warn!(%error, "the store was closed without a checkpoint");
            }
        }
    }
}
