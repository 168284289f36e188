//! What can go wrong with the store, in words for those who run it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::key_file::KeyId;

/// After one of these from a commit nothing more is written: redb refuses it, and whether the
/// failed commit is on disk is known only once the file was opened again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the store cannot be read or written: {0}; nothing acknowledged is lost, start again once this is mended"
    )]
    Io(String),
    #[error(
        "there is no room left for the store: {0}; nothing acknowledged is lost, free some space and start again"
    )]
    Full(String),
    #[error("the store is damaged: {0}; keep the file as it is and restore it from a backup")]
    Corrupt(String),
    #[error(
        "{} was written by another version of Tollgate (format {found}, this one reads {}); use that version, or name another file in [store] path",
        path.display(),
        super::FORMAT
    )]
    Version { path: PathBuf, found: u64 },
    #[error("{} is not a Tollgate store: {what}; name another file in [store] path", path.display())]
    Foreign { path: PathBuf, what: String },
    #[error(
        "{} has {values} values that are encrypted with key {id}, which [store] encrypt_key_file does not have; put the line of that key back into it",
        path.display()
    )]
    Key { path: PathBuf, id: KeyId, values: u64 },
    #[error("{} is in use by another process; stop it, or name another file in [store] path", path.display())]
    Locked { path: PathBuf },
    /// What a row of the past referred to. Whoever reads anew finds it.
    #[error("what was to be read was moved meanwhile; ask again")]
    Moved,
    /// Of a listing, not of the store.
    #[error("this cursor is of another listing; begin again without one")]
    Cursor,
}

pub(super) type Result<T> = std::result::Result<T, StoreError>;

impl StoreError {
    /// A row of `table` is not as it must be.
    pub(super) fn row(table: &str, what: impl std::fmt::Display) -> StoreError {
        StoreError::Corrupt(format!("table {table}: {what}"))
    }

    pub(super) fn io(path: &Path, doing: &str, error: &io::Error) -> StoreError {
        kind(error)(format!("{doing} {}: {error}", path.display()))
    }

    /// About a file whose store is named where the error leaves this module.
    pub(super) fn file(doing: &str, error: &io::Error) -> StoreError {
        kind(error)(format!("{doing}: {error}"))
    }

    /// Says which file; once, where an error leaves this module.
    pub(super) fn of(self, path: &Path) -> StoreError {
        let name = |text: String| format!("{}: {text}", path.display());
        match self {
            StoreError::Io(text) => StoreError::Io(name(text)),
            StoreError::Full(text) => StoreError::Full(name(text)),
            StoreError::Corrupt(text) => StoreError::Corrupt(name(text)),
            StoreError::Key { id, values, .. } => {
                StoreError::Key { path: path.to_owned(), id, values }
            }
            named => named,
        }
    }
}

/// redb checks a page when it recovers, not when it reads one, and some damaged pages make it
/// panic. Here that is an error like any other, and `spoilt` is told.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T>, spoilt: impl FnOnce()) -> Result<T> {
    // What the work leaves half done is not used again: a writer that failed is given up, and a
    // reader changes nothing.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        spoilt();
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(StoreError::Corrupt(format!("reading it made a panic: {text}")))
    })
}

fn kind(error: &io::Error) -> fn(String) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        // A file larger than the file system or `ulimit -f` allows.
        | io::ErrorKind::FileTooLarge => StoreError::Full,
        _ => StoreError::Io,
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> StoreError {
        match error {
            redb::Error::Io(error) => kind(&error)(error.to_string()),
            redb::Error::PreviousIo => StoreError::Io("an earlier read or write failed".into()),
            redb::Error::Corrupted(text) => StoreError::Corrupt(text),
            redb::Error::DatabaseClosed => StoreError::Io("it was closed".into()),
            redb::Error::LockPoisoned(at) => StoreError::Io(format!("a thread panicked at {at}")),
            redb::Error::ValueTooLarge(bytes) => StoreError::Io(format!("{bytes} bytes in a row")),
            // The rest is about tables that are not what they should be.
            other => StoreError::Corrupt(other.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($error:ident)*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> StoreError {
                redb::Error::from(error).into()
            }
        }
    )*};
}
from_redb!(StorageError TableError TransactionError CommitError SetDurabilityError);
