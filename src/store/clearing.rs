//! Clearing segments of the journal of which little is wanted, so that one body that is kept for long
//! does not keep a whole segment with it.
//!
//! A closed segment of which less than half is wanted is read again, some of it behind each commit.
//! What a row of the index still refers to is written once more, in a record like any other, and the
//! row refers to that. At the end nothing is wanted of the segment, and it goes.
//!
//! A segment that is damaged stays as it is, with whatever can be read of it: that its room cannot be
//! had is no reason to stop. Whoever wants a damaged body of it is told so then.

use std::collections::BTreeSet;

use redb::ReadTransaction;

use super::bodies::Owner;
use super::error::{Result, StoreError};
use super::journal::{Journal, Reread, Stretch};
use super::live::Live;

/// What is read at a time, in bytes.
const SLICE: u64 = 512 << 10;

/// Which segment is being cleared.
#[derive(Debug, Default)]
pub(super) struct Clearing {
    now: Option<At>,
    /// The last one, so that all have their turn.
    last: u64,
    /// They are not tried again in this life.
    damaged: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug)]
struct At {
    segment: u64,
    offset: u64,
}

/// Bodies that are wanted, as they are kept.
pub(super) type Moving = Vec<(Owner, Vec<u8>)>;

impl Clearing {
    /// Looks for a segment to clear, unless there is one.
    pub(super) fn choose(&mut self, live: &Live, journal: &Journal) -> Result<()> {
        if self.now.is_some() {
            return Ok(());
        }
        for (segment, wanted) in live.segments() {
            let passed = segment <= self.last || self.damaged.contains(&segment);
            if passed || !journal.is_closed(segment) {
                continue;
            }
            if wanted < journal.length(segment)? / 2 {
                self.now = Some(At { segment, offset: Journal::BEGIN });
                self.last = segment;
                return Ok(());
            }
        }
        self.last = 0;
        Ok(())
    }

    /// What the next stretch has that is wanted.
    pub(super) fn some(&mut self, journal: &Journal, txn: &ReadTransaction) -> Result<Moving> {
        let mut moving = Moving::new();
        let Some(At { segment, offset }) = self.now else { return Ok(moving) };
        let Stretch { records, next } = match journal.read_some(segment, offset, SLICE) {
            Ok(stretch) => stretch,
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(%error, segment, "the room of a damaged segment is not given back");
                self.damaged.insert(segment);
                self.now = None;
                return Ok(moving);
            }
            // A disk that fails is not the segment's fault.
            Err(error) => return Err(error),
        };
        self.now = next.map(|offset| At { segment, offset });
        for (at, record) in records {
            for (owner, blob) in Reread::of(&record)?.owners() {
                let wanted = owner.spot(txn)?.is_some_and(|spot| {
                    spot.segment == segment && spot.offset == at + blob.start as u64
                });
                if wanted && let Some(body) = blob.of(&record) {
                    moving.push((owner, body.to_vec()));
                }
            }
        }
        Ok(moving)
    }

    pub(super) fn is_at_it(&self) -> bool {
        self.now.is_some()
    }
}
