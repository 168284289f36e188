//! How much of an answer is held in memory.
//!
//! What the store keeps of an answer is bounded, and so are the attempts under way. But a caller at
//! a sidecar gets all of it, and may take his time: what is held for such callers, beyond what is
//! kept anyway, is bounded over all of them together.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::broker::payload::Answer;

/// In bytes: so many of the largest answers at once.
const BYTES: usize = 32 * Answer::LIVE;

/// Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Live(Arc<Semaphore>);

impl Default for Live {
    fn default() -> Live {
        Live(Arc::new(Semaphore::new(BYTES)))
    }
}

/// Room for one answer's body.
#[derive(Debug)]
pub(super) struct Room {
    /// In bytes; beyond it, room is shared.
    keep: usize,
    most: usize,
    live: Live,
    shared: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// For `keep` bytes in any case, and for `most` where that is possible.
    pub(super) fn new(keep: usize, most: usize, live: Live) -> Room {
        Room { keep, most, live, shared: None }
    }

    /// How many of `more` bytes there is room for behind the `held` that there are.
    pub(super) fn after(&mut self, held: usize, more: usize) -> usize {
        let wanted = (held + more).min(self.most);
        let shared = self.shared.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = wanted.saturating_sub(self.keep + shared);
        if missing == 0 || self.grow(missing) {
            wanted.saturating_sub(held)
        } else {
            (self.keep + shared).saturating_sub(held)
        }
    }

    fn grow(&mut self, bytes: usize) -> bool {
        let Ok(count) = u32::try_from(bytes) else { return false };
        let Ok(more) = self.live.0.clone().try_acquire_many_owned(count) else { return false };
        match &mut self.shared {
            Some(shared) => shared.merge(more),
            none => *none = Some(more),
        }
        true
    }

    /// The body, which takes its room with it for as long as anybody has a part of it.
    pub(super) fn hold(self, body: Vec<u8>) -> Bytes {
        // Without the spare room that growing left.
        let body = body.into_boxed_slice();
        match self.shared {
            None => Bytes::from(body),
            Some(shared) => Bytes::from_owner(Owned { body, _shared: shared }),
        }
    }
}

struct Owned {
    body: Box<[u8]>,
    _shared: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_beyond_what_is_kept_is_shared_and_given_back() {
        let live = Live(Arc::new(Semaphore::new(10)));
        let mut one = Room::new(4, 100, live.clone());
        assert_eq!(one.after(0, 4), 4);
        assert_eq!(live.0.available_permits(), 10);
        assert_eq!(one.after(4, 8), 8);
        let mut other = Room::new(4, 100, live.clone());
        assert_eq!(other.after(0, 7), 4, "three more are not there");
        assert_eq!(other.after(4, 2), 2);
        assert_eq!(live.0.available_permits(), 0);
        let body = one.hold(vec![0; 12]);
        let part = body.slice(..3);
        drop(body);
        assert_eq!(live.0.available_permits(), 0, "a part holds the whole");
        drop(part);
        assert_eq!(live.0.available_permits(), 8);
        assert_eq!(other.after(6, 100), 0, "not in part");
        drop(other);
        assert_eq!(live.0.available_permits(), 10);
    }

    #[test]
    fn what_nobody_waits_for_is_kept_and_no_more() {
        let mut room = Room::new(4, 4, Live::default());
        assert_eq!((room.after(0, 9), room.after(3, 1), room.after(4, 1)), (4, 1, 0));
        assert!(room.shared.is_none());
        assert_eq!(room.hold(vec![1, 2]), [1, 2][..]);
    }
}
