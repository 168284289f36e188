//! Looking things up in the store without holding up the other requests.

use crate::broker::job::JobId;
use crate::broker::payload::{Answer, Request};
use crate::store::{Filter, Page, Reader, StoreError};

use super::AdminState;
use super::error::AdminError;

#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ReadError(pub(super) String);

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> ReadError {
        ReadError(error.to_string())
    }
}

/// What the admin address wants to know of the store. Every call may block on the disk.
pub(super) trait Records: Send + Sync {
    fn job(&self, id: JobId) -> Result<Option<crate::store::JobRecord>, ReadError>;
    fn answer(&self, id: JobId) -> Result<Option<Answer>, ReadError>;
    fn request(&self, id: JobId) -> Result<Option<Request>, ReadError>;
    fn list(&self, filter: &Filter, after: Option<JobId>, limit: usize) -> Result<Page, ReadError>;
    fn bytes(&self) -> u64;
    fn has_room(&self) -> bool;
}

impl Records for Reader {
    fn job(&self, id: JobId) -> Result<Option<crate::store::JobRecord>, ReadError> {
        Ok(Reader::job(self, id)?)
    }

    fn answer(&self, id: JobId) -> Result<Option<Answer>, ReadError> {
        Ok(Reader::answer(self, id)?)
    }

    fn request(&self, id: JobId) -> Result<Option<Request>, ReadError> {
        Ok(Reader::request(self, id)?)
    }

    fn list(&self, filter: &Filter, after: Option<JobId>, limit: usize) -> Result<Page, ReadError> {
        Ok(Reader::list(self, filter, after, limit)?)
    }

    fn bytes(&self) -> u64 {
        Reader::bytes(self)
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
            Ok(found) => Ok(found?),
            Err(error) => Err(AdminError::Read(ReadError(error.to_string()))),
        }
    }
}
