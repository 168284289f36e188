//! Reading jobs from the store without holding up a thread that serves connections.

use std::sync::Arc;

use crate::broker::group::GroupKey;
use crate::broker::job::{Header, JobId, Place};
use crate::broker::payload::{Answer, Request};
use crate::http_api::problem::{Kind, Problem};
use crate::store::{JobRecord, Reader, StoreError};
use crate::trace::{Context, TraceId};

/// The part of [`Reader`] that sources need; a seam, so that they can be tried without a disk.
pub(crate) trait Records: Send + Sync + 'static {
    fn job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError>;
    fn answer(&self, id: JobId) -> Result<Option<Answer>, StoreError>;
    fn request(&self, id: JobId) -> Result<Option<Request>, StoreError>;
    /// Whose turn it is in a group.
    fn head_of(&self, group: &GroupKey) -> Result<Option<JobId>, StoreError>;
    fn has_room(&self) -> bool;
}

impl Records for Reader {
    fn job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        Reader::job(self, id)
    }

    fn answer(&self, id: JobId) -> Result<Option<Answer>, StoreError> {
        Reader::answer(self, id)
    }

    fn request(&self, id: JobId) -> Result<Option<Request>, StoreError> {
        Reader::request(self, id)
    }

    fn head_of(&self, group: &GroupKey) -> Result<Option<JobId>, StoreError> {
        Reader::head_of(self, group)
    }

    fn has_room(&self) -> bool {
        Reader::has_room(self)
    }
}

/// A job, and what was kept of its last answer if it has ended.
pub(crate) type Found = (JobRecord, Option<Answer>);

/// A look-up can wait for the disk, so it is made on a thread for that; both reads in one go.
pub(crate) async fn find(records: &Arc<dyn Records>, id: JobId) -> Result<Option<Found>, Problem> {
    look(records, move |records| {
        let Some(record) = records.job(id)? else { return Ok(None) };
        let answer = if record.place.is_ended() { records.answer(id)? } else { None };
        Ok(Some((record, answer)))
    })
    .await
}

/// The trace that a job belongs to; `None` where its request is not kept any more.
pub(crate) async fn trace(
    records: &Arc<dyn Records>,
    id: JobId,
) -> Result<Option<TraceId>, Problem> {
    let request = look(records, move |records| records.request(id)).await?;
    Ok(request.map(|request| Context::of(id, &request).trace))
}

/// For whom a job waits in its group.
pub(crate) async fn ahead(
    records: &Arc<dyn Records>,
    record: &JobRecord,
) -> Result<Option<JobId>, Problem> {
    match record.waits_in() {
        Some(group) => look(records, move |records| records.head_of(&group)).await,
        None => Ok(None),
    }
}

async fn look<T: Send + 'static>(
    records: &Arc<dyn Records>,
    look: impl FnOnce(&dyn Records) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let records = records.clone();
    let reading = tokio::task::spawn_blocking(move || look(&*records));
    match reading.await {
        Ok(found) => Ok(found?),
        Err(error) => {
            tracing::error!(%error, "a look-up in the store did not end");
            Err(Problem::new(Kind::Internal, "the look-up failed; the daemon's log says why"))
        }
    }
}

/// A job as the broker told of it, without the history that only the store has.
pub(crate) fn untold(header: Header, place: Place) -> JobRecord {
    JobRecord { header, place, history: Vec::new() }
}

/// New jobs need room. Asked on the spot: it is one figure, not a search.
pub(crate) fn check_room(records: &Arc<dyn Records>) -> Result<(), Problem> {
    if records.has_room() { Ok(()) } else { Err(Problem::disk_full()) }
}
