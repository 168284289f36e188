//! The open file, for as long as anybody holds it.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::Database;

/// redb writes when it closes a file, and a damaged one can make it panic there. Nothing is lost by
/// it: every commit is on disk by then.
#[derive(Debug)]
pub(super) struct File(Option<Database>);

impl File {
    pub(super) fn new(database: Database) -> File {
        File(Some(database))
    }
}

impl Deref for File {
    type Target = Database;
    fn deref(&self) -> &Database {
        // Only `drop` takes it.
        self.0.as_ref().unwrap_or_else(|| unreachable!("it is open until it is dropped"))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let database = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
            tracing::error!("closing the store made a panic: its file is damaged");
        }
    }
}
