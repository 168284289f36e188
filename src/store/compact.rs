//! `tollgate store compact`: an index no larger than what is in it, and no segment of the journal of
//! which nothing is wanted, not even the last one: a new one is begun. So what is written from here
//! on shares no segment with what was written before, which may have been plain (see [`super::seal`]).

use std::sync::Arc;

use redb::{CompactionError, Database};

use super::bodies::Library;
use super::checkpoint::Limits;
use super::disk::Disk;
use super::error::{self, Result, StoreError};
use super::journal::Volume;
use super::seal::Seals;
use super::shelf::Shelf;
use super::{Options, catch_up, open};

/// How large the file and its journal were and are together, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    pub before: u64,
    pub after: u64,
}

/// Of the store of a daemon that is stopped. Needs no key. redb writes pages anew nearer to the
/// beginning, each time in a commit of its own: a crash on the way leaves a whole file.
///
/// # Errors
/// Where the file cannot be had, read or written.
pub fn compact(options: &Options) -> Result<Compacted> {
    let path = &options.path;
    let disk = Disk::new(path.clone(), options.min_free_disk);
    let before = disk.bytes();
    // It holds the lock on the journal too.
    let mut database = open::open(path, options.cache)?;
    let volume: Arc<dyn Volume> = Arc::new(open::open_journal(path)?);
    let work = || within(&mut database, volume);
    error::caught(work, || {}).map_err(|error| error.of(path))?;
    drop(database);
    Ok(Compacted { before, after: disk.bytes() })
}

pub(super) fn within(database: &mut Database, volume: Arc<dyn Volume>) -> Result<()> {
    let library = Library { shelf: Shelf::new(volume.clone()), seals: Seals::default() };
    let (memory, mut journal) = catch_up::all(database, volume, &library, Limits::default())?;
    let next = journal.turn_over()?;
    let mut txn = database.begin_write()?;
    txn.set_quick_repair(true);
    next.write(&txn, &mut Vec::new())?;
    txn.commit()?;
    // Only now nobody asks for the segments before it.
    journal.forget(|number| memory.live.wants(number))?;
    while database.compact().map_err(refuse)? {}
    Ok(())
}

fn refuse(error: CompactionError) -> StoreError {
    redb::Error::from(error).into()
}
