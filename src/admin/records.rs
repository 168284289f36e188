//! Looking things up in the store without holding up the other requests.

use crate::broker::group::GroupKey;
use crate::broker::io::DeadFilter;
use crate::broker::job::{JobId, TargetId};
use crate::broker::payload::{Answer, Request};
use crate::store::{
    Attempt, Cursor, DeathTally, Filter, JobRecord, NotACursor, Page, Reader, Space, StoreError,
};

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

/// How many dead jobs one look counts: some tens of milliseconds.
pub(super) const TALLIED: usize = 10_000;

/// What the admin address wants to know of the store. Every call may block on the disk.
pub(super) trait Records: Send + Sync {
    fn job(&self, id: JobId) -> Result<Option<JobRecord>, ReadError>;
    fn answer(&self, id: JobId) -> Result<Option<Answer>, ReadError>;
    fn request(&self, id: JobId) -> Result<Option<Request>, ReadError>;
    /// Where somebody changed it since.
    fn original(&self, id: JobId) -> Result<Option<Request>, ReadError>;
    fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, ReadError>;
    /// A part can be short, even empty, and still have a `next`.
    fn list(&self, filter: &Filter, after: Option<&str>, limit: usize) -> Result<Part, ReadError>;
    /// The dead jobs of a target, newest first.
    fn dead(
        &self,
        target: TargetId,
        filter: &DeadFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Part, ReadError>;
    /// What those of the next [`TALLIED`] dead jobs of a target that fit died of.
    fn deaths(
        &self,
        target: TargetId,
        filter: &DeadFilter,
        after: Option<&str>,
    ) -> Result<DeathTally, ReadError>;
    /// Whose turn it is in a group.
    fn head_of(&self, group: &GroupKey) -> Result<Option<JobId>, ReadError>;
    fn space(&self) -> Space;
    fn has_room(&self) -> bool;
    fn owed(&self) -> Result<OwedTokens, ReadError>;
}

/// How many jobs have a task token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OwedTokens {
    /// Of jobs that have ended: their answers are to be sent yet.
    pub(super) answers: u64,
    /// Of jobs that have not: their tasks wait.
    pub(super) tasks: u64,
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

    fn original(&self, id: JobId) -> Result<Option<Request>, ReadError> {
        Ok(Reader::original(self, id)?)
    }

    fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, ReadError> {
        Ok(Reader::attempts(self, id)?)
    }

    fn list(&self, filter: &Filter, after: Option<&str>, limit: usize) -> Result<Part, ReadError> {
        Ok(Reader::list(self, filter, cursor(after)?.as_ref(), limit)?.into())
    }

    fn dead(
        &self,
        target: TargetId,
        filter: &DeadFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Part, ReadError> {
        Ok(Reader::dead(self, target, filter, cursor(after)?.as_ref(), limit)?.into())
    }

    fn deaths(
        &self,
        target: TargetId,
        filter: &DeadFilter,
        after: Option<&str>,
    ) -> Result<DeathTally, ReadError> {
        Ok(Reader::deaths(self, target, filter, cursor(after)?.as_ref(), TALLIED)?)
    }

    fn head_of(&self, group: &GroupKey) -> Result<Option<JobId>, ReadError> {
        Ok(Reader::head_of(self, group)?)
    }

    fn space(&self) -> Space {
        Reader::space(self)
    }

    fn has_room(&self) -> bool {
        Reader::has_room(self)
    }

    fn owed(&self) -> Result<OwedTokens, ReadError> {
        Ok(OwedTokens { answers: self.outbox_len()?, tasks: self.tokens_len()? })
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
