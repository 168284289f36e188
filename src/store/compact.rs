//! `tollgate store compact`: a file no larger than what is in it.

use redb::CompactionError;

use super::error::{self, Result, StoreError};
use super::{Options, open};

/// How large the file was and is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    pub before: u64,
    pub after: u64,
}

/// Of the file of a daemon that is stopped. redb writes pages anew nearer to the beginning, each
/// time in a commit of its own: a crash on the way leaves a whole file.
///
/// # Errors
/// Where the file cannot be had, read or written.
pub fn compact(options: &Options) -> Result<Compacted> {
    let path = &options.path;
    let length = || {
        let file = std::fs::metadata(path);
        file.map(|file| file.len()).map_err(|error| StoreError::io(path, "looking at", &error))
    };
    let before = length()?;
    let mut database = open::open(path, options.cache)?;
    let work = || {
        while database.compact().map_err(refuse)? {}
        Ok(())
    };
    error::caught(work, || {}).map_err(|error| error.of(path))?;
    drop(database);
    Ok(Compacted { before, after: length()? })
}

fn refuse(error: CompactionError) -> StoreError {
    redb::Error::from(error).into()
}
