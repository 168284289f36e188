//! Looking things up in the store without holding up the other requests.

use crate::broker::job::{JobId, TargetId};
use crate::broker::payload::{Answer, Request};
use crate::store::{Cursor, Filter, JobRecord, NotACursor, Page, Reader, Space, StoreError};

use super::AdminState;
use super::error::AdminError;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    /// What `after` says is no place in this list.
    #[error("not a place in this list")]
    Cursor,
    #[error("{0}")]
    Store(String),
}

/// Part of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Part {
    pub(super) jobs: Vec<JobRecord>,
    /// Where the next part begins, in the store's own words; `None` at the end.
    pub(super) next: Option<String>,
}

/// What the admin address wants to know of the store. Every call may block on the disk.
pub(super) trait Records: Send + Sync {
    fn job(&self, id: JobId) -> Result<Option<JobRecord>, ReadError>;
    fn answer(&self, id: JobId) -> Result<Option<Answer>, ReadError>;
    fn request(&self, id: JobId) -> Result<Option<Request>, ReadError>;
    /// A part can be short, even empty, and still have a `next`.
    fn list(&self, filter: &Filter, after: Option<&str>, limit: usize) -> Result<Part, ReadError>;
    /// The dead jobs of a target, newest first.
    fn dead(&self, target: TargetId, after: Option<&str>, limit: usize) -> Result<Part, ReadError>;
    fn space(&self) -> Space;
    fn has_room(&self) -> bool;
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> ReadError {
        match error {
            StoreError::Cursor => ReadError::Cursor,
            error => ReadError::Store(error.to_string()),
        }
    }
}

impl From<Page> for Part {
    fn from(page: Page) -> Part {
        Part { jobs: page.jobs, next: page.next.map(|next| next.to_string()) }
    }
}

fn cursor(after: Option<&str>) -> Result<Option<Cursor>, ReadError> {
    after.map(str::parse).transpose().map_err(|NotACursor| ReadError::Cursor)
}

impl Records for Reader {
    fn job(&self, id: JobId) -> Result<Option<JobRecord>, ReadError> {
        Ok(Reader::job(self, id)?)
    }

    fn answer(&self, id: JobId) -> Result<Option<Answer>, ReadError> {
        Ok(Reader::answer(self, id)?)
    }

    fn request(&self, id: JobId) -> Result<Option<Request>, ReadError> {
        Ok(Reader::request(self, id)?)
    }

    fn list(&self, filter: &Filter, after: Option<&str>, limit: usize) -> Result<Part, ReadError> {
        Ok(Reader::list(self, filter, cursor(after)?.as_ref(), limit)?.into())
    }

    fn dead(&self, target: TargetId, after: Option<&str>, limit: usize) -> Result<Part, ReadError> {
        Ok(Reader::dead(self, target, cursor(after)?.as_ref(), limit)?.into())
    }

    fn space(&self) -> Space {
        Reader::space(self)
    }

    fn has_room(&self) -> bool {
        Reader::has_room(self)
    }
}

impl AdminState {
    /// Runs `look` where it may block.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&dyn Records) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, AdminError> {
        let records = self.records.clone();
        match tokio::task::spawn_blocking(move || look(records.as_ref())).await {
            Ok(found) => found.map_err(AdminError::from),
            Err(error) => Err(AdminError::Read(ReadError::Store(error.to_string()))),
        }
    }
}
