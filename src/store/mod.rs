//! The durable store.

#[cfg(test)]
pub(crate) mod model;
mod record;

use std::sync::Arc;

pub use record::{Filter, JobRecord, Page};

use crate::broker::change::{Loaded, Turn};
use crate::broker::job::JobId;
use crate::broker::payload::{Answer, Request};

#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(String);

/// What the store's thread tells the loop.
#[derive(Debug)]
pub enum Done {
    /// `requests`: of the jobs that the turn started, to be sent.
    Committed {
        turn: Turn,
        requests: Vec<(JobId, Arc<Request>)>,
    },
    Loaded(Loaded),
    /// Nothing can be promised any more.
    Failed(StoreError),
}

/// Reads what is committed. Cheap to clone, usable from any thread; calls block on the disk.
#[derive(Clone)]
pub struct Reader;

impl Reader {
    pub fn job(&self, _id: JobId) -> Result<Option<JobRecord>, StoreError> {
        Ok(None)
    }
    /// The kept part of the last answer.
    pub fn answer(&self, _id: JobId) -> Result<Option<Answer>, StoreError> {
        Ok(None)
    }
    pub fn request(&self, _id: JobId) -> Result<Option<Request>, StoreError> {
        Ok(None)
    }
    /// Newest first? By id, ascending, after `after`; looks at no more than a bounded number of
    /// rows, so a page can be short (even empty) and still have a `next`.
    pub fn list(
        &self,
        _filter: &Filter,
        _after: Option<JobId>,
        _limit: usize,
    ) -> Result<Page, StoreError> {
        Ok(Page::default())
    }
    /// The size of the file, in bytes.
    pub fn bytes(&self) -> u64 {
        0
    }
    /// Whether new jobs may come in: the disk has room (`min_free_disk`).
    pub fn has_room(&self) -> bool {
        true
    }
}
