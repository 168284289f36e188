//! The durable store: redb behind one writer, and readers beside it.
//!
//! A turn of the core is one transaction. It is on the disk when [`Store::commit`] returns, and
//! opening the file after a crash finds the last turn that was. Each place of a job is an index of
//! its own, and counts are kept beside them, so that nothing here ever walks the backlog.
//!
//! The store trusts nothing that it reads: a row that should be there and is not, or that says
//! something else than the change that moves it, fails the commit.

mod bodies;
mod books;
mod callbacks;
mod check;
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
mod key_file;
mod keys;
pub(crate) mod life;
mod list;
mod load;
#[cfg(test)]
pub(crate) mod model;
mod open;
mod reader;
mod record;
mod seal;
mod spent;
mod tables;
#[cfg(test)]
mod tests;
mod tokens;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use redb::{Database, ReadableTable};

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
use books::{Books, Touched};
use commit::{Buffers, Commit};
use disk::Disk;
use file::File;
use life::Life;
use seal::Seals;

/// The format of the file: its tables, keys and values. Another one is refused.
pub const FORMAT: u64 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub path: PathBuf,
    /// How much of the file redb keeps in memory, in bytes.
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
    books: Books,
    buffers: Buffers,
    seals: Seals,
    life: Life,
    /// Whatever failed once fails for ever: redb refuses to go on, and so do the books, which
    /// ran ahead of a commit that was not.
    failed: Option<StoreError>,
}

impl Store {
    /// Opens the file or makes it, readable by its owner alone, with the directories above it.
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
        let database = open::open(&options.path, options.cache)?;
        let disk = Disk::new(options.path.clone(), options.min_free_disk);
        Store::sealed_over(database, disk, options.keys.as_ref(), target_names)
    }

    #[cfg(test)]
    fn over(
        database: Database,
        disk: Disk,
        target_names: &[String],
    ) -> Result<(Store, Recovered), StoreError> {
        Store::sealed_over(database, disk, None, target_names)
    }

    fn sealed_over(
        database: Database,
        disk: Disk,
        keys: Option<&Keys>,
        target_names: &[String],
    ) -> Result<(Store, Recovered), StoreError> {
        let (database, disk) = (Arc::new(File::new(database)), Arc::new(disk));
        let seals = Seals::begin(keys)?;
        let reader = Reader::new(database.clone(), disk.clone(), seals.clone());
        error::caught(|| seals.admit(&database), || reader.leak())
            .map_err(|error| error.of(disk.path()))?;
        let (books, running, spent, past) = reader.read(|txn| {
            let books = Books::read(txn)?;
            books.audit(txn)?;
            let mut running: Vec<(Header, Wall)> = Vec::new();
            for row in tables::read(txn, tables::RUNNING)?.iter()? {
                running.push(codec::decode("running", row?.1.value())?);
            }
            Ok((books, running, spent::read(txn)?, life::read(txn)?))
        })?;
        let buffers = Buffers::default();
        let (life, lived) = Life::begin(past, crate::handle::Handle::wall_now());
        let mut store = Store { database, reader, disk, books, buffers, seals, life, failed: None };
        store.add_targets(target_names)?;
        let recovered = store.books.recovered(running);
        let recovered = Recovered { spent, lived, ..recovered };
        Ok((store, recovered))
    }

    /// Returns once the new ones are durable, with all that are known, by number.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn add_targets(&mut self, names: &[String]) -> Result<Vec<(TargetId, String)>, StoreError> {
        self.guarded(|store| {
            let new = store.books.unknown(names)?;
            if !new.is_empty() {
                let mut txn = store.database.begin_write()?;
                txn.set_quick_repair(true);
                Books::write_new(&txn, &new)?;
                txn.commit()?;
                store.books.learn(new);
            }
            Ok(store.books.names())
        })
    }

    /// Returns once the turn is durable, with the request of each job that it moved into
    /// `Running`, in that order.
    ///
    /// # Errors
    /// A change that does not fit what is stored, or a failed write. Then whether the turn is on
    /// disk is known only when the file was opened again, and every further commit fails.
    pub fn commit(
        &mut self,
        turn: Turn,
        changes: &[Change],
    ) -> Result<Vec<(JobId, Arc<Request>)>, StoreError> {
        self.guarded(|store| store.write(changes)).inspect_err(|error| {
            tracing::debug!(turn = turn.0, %error, "commit failed");
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

    fn write(&mut self, changes: &[Change]) -> error::Result<Vec<(JobId, Arc<Request>)>> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut txn = self.database.begin_write()?;
        // Two phases, and a file that opens at once after a crash.
        txn.set_quick_repair(true);
        let mut touched = Touched::default();
        let mut commit = Commit::open(&txn, &self.seals, &mut self.buffers)?;
        let mut spent = spent::Touched::default();
        let mut last = None;
        for change in changes {
            match change {
                Change::Spent(said) => spent.say(said),
                Change::Lived { lived, wall } => last = Some((*lived, *wall)),
                _ => {
                    commit.apply(change)?;
                    self.books.apply(change, &mut touched)?;
                }
            }
        }
        let started = commit.started();
        spent.write(&txn, &mut self.buffers.bytes)?;
        if let Some(last) = last {
            self.life.write(last, &txn, &mut self.buffers.bytes)?;
        }
        self.books.write(&touched, &txn, &mut self.buffers.bytes)?;
        txn.commit()?;
        Ok(started)
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
