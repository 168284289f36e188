//! The file: found or made, locked, and known for what it is before anything is read from it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableDatabase, TableError};

use super::FORMAT;
use super::error::{Result, StoreError, caught};
use super::journal::{Directory, Position, StoreId};
use super::rights::keep_to_owner;
use super::tables::{META, META_FORMAT, create_all};

/// Holds the lock on the file until it is dropped.
pub(super) fn open(path: &Path, cache: usize) -> Result<Database> {
    let file = open_file(path)?;
    let database =
        caught(|| open_database(path, file, cache), || {}).map_err(|error| error.of(path))?;
    // Not sooner: what is no store is not ours to change.
    keep_to_owner([path.to_owned()]);
    Ok(database)
}

/// The directory of the journal, made where it is not there yet.
pub(super) fn open_journal(path: &Path) -> Result<Directory> {
    let directory = Directory::path_beside(path);
    Directory::open(directory.clone())
        .map_err(|error| StoreError::io(&directory, "opening the journal", &error))
}

fn open_database(path: &Path, file: File, cache: usize) -> Result<Database> {
    let named = path.to_owned();
    let mut builder = Database::builder();
    builder.set_cache_size(cache).set_repair_callback(move |repair| {
        let percent = (repair.progress() * 100.0).round();
        tracing::warn!(path = %named.display(), percent, "repairing the store after a crash");
    });
    let database = builder.create_file(file).map_err(|error| refuse(path, error))?;
    check_format(path, &database)?;
    Ok(database)
}

/// A new database gets its tables and its format here; one of another format is refused.
pub(super) fn check_format(path: &Path, database: &Database) -> Result<()> {
    let foreign =
        || StoreError::Foreign { path: path.into(), what: "its tables are not ours".into() };
    let found = {
        let txn = database.begin_read()?;
        match txn.open_table(META) {
            Ok(meta) => meta.get(META_FORMAT)?.map(|format| format.value()),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(TableError::Storage(error)) => return Err(error.into()),
            Err(_) => return Err(foreign()),
        }
    };
    match found {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(StoreError::Version { path: path.into(), found }),
        None => {
            let mut txn = database.begin_write()?;
            txn.set_quick_repair(true);
            if txn.list_tables()?.next().is_some() {
                return Err(foreign());
            }
            create_all(&txn)?;
            let mut bytes = Vec::new();
            StoreId(uuid::Uuid::now_v7().as_u128()).write(&txn, &mut bytes)?;
            Position::FIRST.write(&txn, &mut bytes)?;
            txn.open_table(META)?.insert(META_FORMAT, FORMAT)?;
            Ok(txn.commit()?)
        }
    }
}

fn refuse(path: &Path, error: DatabaseError) -> StoreError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Locked { path },
        DatabaseError::UpgradeRequired(version) => {
            StoreError::Foreign { path, what: format!("its redb format is {version}") }
        }
        DatabaseError::Storage(redb::StorageError::Io(error))
            if error.kind() == io::ErrorKind::InvalidData =>
        {
            StoreError::Foreign { path, what: error.to_string() }
        }
        other => redb::Error::from(other).into(),
    }
}

/// redb would create the file for all to read, and would not make its name durable.
fn open_file(path: &Path) -> Result<File> {
    let doing = |doing| move |error: io::Error| StoreError::io(path, doing, &error);
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_directories(parent)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            sync_directory(parent)?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = options.open(path).map_err(doing("opening"))?;
            if !file.metadata().map_err(doing("opening"))?.is_file() {
                let what = "it is no regular file".into();
                return Err(StoreError::Foreign { path: path.into(), what });
            }
            // A crash may have come between the name and its durability.
            sync_directory(parent)?;
            empty_if_never_finished(path, &file)?;
            Ok(file)
        }
        Err(error) => Err(doing("creating")(error)),
    }
}

fn create_directories(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let mut missing: Vec<PathBuf> = Vec::new();
    for ancestor in directory.ancestors() {
        if ancestor.as_os_str().is_empty() || ancestor.exists() {
            break;
        }
        missing.push(ancestor.to_owned());
    }
    for made in missing.iter().rev() {
        match fs::create_dir(made) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StoreError::io(made, "creating the directory", &error));
            }
            _ => {}
        }
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        sync_directory(above.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| StoreError::io(directory, "making the directory durable", &error))
}

/// redb's magic number is the last thing that it writes into a new file, and nothing but the
/// header is written before it.
const MAGIC: usize = 9;
const HEADER: u64 = 4096;
/// A new file of redb is smaller than this.
const NEW: u64 = 64 * 1024 * 1024;

/// A crash while the file was made leaves one that redb refuses for ever. Nothing was ever stored
/// in it, which every byte behind the header shows: so it is made anew.
fn empty_if_never_finished(path: &Path, file: &File) -> Result<()> {
    let doing = |error: io::Error| StoreError::io(path, "opening", &error);
    let length = file.metadata().map_err(doing)?.len();
    let mut magic = [0; MAGIC];
    if !(HEADER..=NEW).contains(&length) || file.read_exact_at(&mut magic, 0).is_err() {
        return Ok(());
    }
    if magic != [0; MAGIC] {
        return Ok(());
    }
    // The lock that redb itself takes: whoever makes the file just now holds it.
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path: path.into() }),
        Err(TryLockError::Error(error)) => return Err(doing(error)),
    }
    let length = file.metadata().map_err(doing)?.len();
    let mut page = vec![0; 64 * 1024];
    let mut at = HEADER;
    while at < length {
        let read = file.read_at(&mut page, at).map_err(doing)?;
        if read == 0 || page[..read].iter().any(|byte| *byte != 0) {
            return Ok(());
        }
        at += read as u64;
    }
    // Again, under the lock: another process may just have finished it.
    file.read_exact_at(&mut magic, 0).map_err(doing)?;
    if magic == [0; MAGIC] {
        tracing::warn!(path = %path.display(), "an unfinished new store is begun anew");
        file.set_len(0).map_err(doing)?;
    }
    Ok(())
}
