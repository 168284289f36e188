//! Where a job stands in its queue, and when it would start.

use crate::broker::forecast::{self, Position};
use crate::broker::job::{JobState, Place, Priority};
use crate::handle::Handle;
use crate::store::JobRecord;

/// Jobs before it that are counted; a job behind more of them has no position.
const COUNTED: u64 = 100_000;

/// `None` for a job that is not in its queue, or too far back to be counted at once, and where the
/// broker cannot tell just now: an estimate is no reason to refuse an answer.
pub(crate) async fn of(handle: &Handle, record: &JobRecord) -> Option<Position> {
    if record.place != Place::Queued {
        return None;
    }
    let header = &record.header;
    let (target, priority, rank) = (header.target, header.priority, header.rank());
    let reader = handle.reader().clone();
    let before = move || reader.ahead(target, priority, rank, COUNTED);
    let before = tokio::task::spawn_blocking(before).await.ok()?.ok()??;
    let view = handle.view().await.ok()?;
    let view = view.targets.into_iter().find(|view| view.id == target)?;
    let queued = Priority::ALL.map(|priority| view.counts.get(priority, JobState::Queued));
    let position =
        move || forecast::position(&view.forecast, &queued, priority, before.saturating_add(1));
    tokio::task::spawn_blocking(position).await.ok()
}
