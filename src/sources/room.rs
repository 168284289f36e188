//! Whether a source may fetch more: it asks before it takes, so that nothing is taken out of a
//! queue only to be put back.

use std::time::Duration;

use crate::broker::job::TargetId;
use crate::handle::{Handle, Stopped};

/// How soon to look again where nothing tells when there is room.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    For { target: TargetId, jobs: u64 },
    None { why: Why, look_again: Duration },
}

/// Why nothing is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The configuration does not name the target any more.
    NoTarget,
    QueueFull,
    DiskFull,
}

impl Why {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Why::NoTarget => "its target is not configured any more",
            Why::QueueFull => "its target's queue is full",
            Why::DiskFull => "there is too little room on the disk",
        }
    }
}

pub(super) async fn room(handle: &Handle, target: &str) -> Result<Room, Stopped> {
    let none = |why| Ok(Room::None { why, look_again: LOOK_AGAIN });
    let directory = handle.directory();
    let Some((id, _)) = directory.configured(target) else { return none(Why::NoTarget) };
    if !handle.reader().has_room() {
        return none(Why::DiskFull);
    }
    let view = handle.view().await?;
    let Some(target) = view.targets.into_iter().find(|target| target.id == id) else {
        return none(Why::NoTarget);
    };
    let Some(policy) = target.policy else { return none(Why::NoTarget) };
    match policy.max_queued.saturating_sub(target.counts.alive()) {
        0 => {
            let look_again = policy.limit.rate.interval().clamp(LOOK_AGAIN, LOOK_AGAIN * 30);
            Ok(Room::None { why: Why::QueueFull, look_again })
        }
        jobs => Ok(Room::For { target: id, jobs }),
    }
}
