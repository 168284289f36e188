//! What a record says: a version, an opening, and then change after change, each with its bodies
//! behind it.
//!
//! A body is as it is kept, `codec` and seal and all: requests, task tokens, answers. So nothing that is
//! written in here has to be looked into again.

use serde::{Deserialize, Serialize};

use super::frame::{HEAD, Head};
use super::position::Position;
use super::segment::StoreId;
use crate::broker::change::Change;
use crate::broker::job::TargetId;
use crate::store::apply::Said;
use crate::store::bodies::{self, Lengths, Owner};
use crate::store::codec::{append, decode_front, encode, take};
use crate::store::error::{Result, StoreError};
use crate::store::life::Began;
use crate::store::seal::Seals;

const NAME: &str = "journal";
/// Of buffers that are kept from one record to the next, in bytes.
const KEPT: usize = 1 << 20;

/// What stands before the changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::store) struct Opening {
    /// In the first record of a life that has to do with limits.
    pub(in crate::store) began: Option<Began>,
    /// New ones.
    pub(in crate::store) targets: Vec<(TargetId, String)>,
    changes: u32,
    /// Whose bodies are in here once more, because the segment that had them is to be cleared.
    moved: Vec<Owner>,
}

/// Where the bodies of one change are in the bytes of its record, as they are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Blobs {
    pub(in crate::store) request: Blob,
    pub(in crate::store) token: Blob,
    pub(in crate::store) answer: Blob,
    pub(in crate::store) attempt: Blob,
}

/// From the beginning of the record, in bytes; none has no length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Blob {
    pub(in crate::store) start: usize,
    pub(in crate::store) length: usize,
}

impl Blob {
    pub(in crate::store) fn is_there(&self) -> bool {
        self.length > 0
    }

    pub(in crate::store) fn of<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        (self.length > 0).then(|| record.get(self.start..self.start + self.length))?
    }
}

/// One that is to be written. It keeps its room from one to the next.
#[derive(Debug, Default)]
pub(in crate::store) struct Record {
    /// From the head of its frame on.
    bytes: Vec<u8>,
    opening: Opening,
    blobs: Vec<Blobs>,
    moved: Vec<(Owner, Blob)>,
    body: Vec<u8>,
}

impl Record {
    pub(in crate::store) fn begin(
        &mut self,
        seals: &Seals,
        began: Option<Began>,
        targets: &[(TargetId, String)],
        changes: &[Change],
        moved: &[(Owner, Vec<u8>)],
    ) -> Result<()> {
        for room in [&mut self.bytes, &mut self.body] {
            room.clear();
            room.shrink_to(KEPT);
        }
        self.blobs.clear();
        let too_many = |_| StoreError::Io(format!("{} changes in a turn", changes.len()));
        let count = u32::try_from(changes.len()).map_err(too_many)?;
        let owners = moved.iter().map(|(owner, _)| *owner).collect();
        let targets = targets.to_vec();
        self.opening = Opening { began, targets, changes: count, moved: owners };
        encode(&mut self.bytes, &self.opening)?;
        self.bytes.splice(..0, [0; HEAD]);
        for change in changes {
            self.add(change, seals)?;
        }
        self.moved.clear();
        for (owner, body) in moved {
            append(&mut self.bytes, &(body.len() as u64))?;
            self.moved.push((*owner, Blob { start: self.bytes.len(), length: body.len() }));
            self.bytes.extend_from_slice(body);
        }
        Ok(())
    }

    fn add(&mut self, change: &Change, seals: &Seals) -> Result<()> {
        append(&mut self.bytes, change)?;
        self.body.clear();
        let lengths = bodies::encode_all(change, seals, &mut self.body)?;
        append(&mut self.bytes, &lengths)?;
        self.blobs.push(blobs(lengths, self.bytes.len()));
        self.bytes.extend_from_slice(&self.body);
        Ok(())
    }

    /// From its head on.
    pub(in crate::store) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `changes` are those that it was begun with; `at`: where it will be.
    pub(in crate::store) fn says<'a>(&'a self, changes: &'a [Change], at: Position) -> Said<'a> {
        let Record { opening, blobs, moved, bytes, .. } = self;
        Said { opening, changes, blobs, moved, bytes, at }
    }

    /// As it is to stand in the journal.
    pub(super) fn sealed(&mut self, store: StoreId, sequence: u64) -> Result<&[u8]> {
        let (head, payload) = self.bytes.split_at_mut(HEAD);
        let too_long = |_| StoreError::Io(format!("{} bytes in a turn", payload.len()));
        let length = u32::try_from(payload.len()).map_err(too_long)?;
        head.copy_from_slice(&Head::of(store, sequence, length, payload).to_bytes());
        Ok(&self.bytes)
    }
}

/// One that is read again. Its changes have no bodies of their own: these are in the record.
#[derive(Debug, PartialEq)]
pub(in crate::store) struct Reread {
    pub(in crate::store) opening: Opening,
    pub(in crate::store) changes: Vec<Change>,
    pub(in crate::store) blobs: Vec<Blobs>,
    pub(in crate::store) moved: Vec<(Owner, Blob)>,
}

impl Reread {
    /// `record` is all of it, from its head on.
    pub(in crate::store) fn of(record: &[u8]) -> Result<Reread> {
        let payload = record.get(HEAD..).unwrap_or_default();
        let (opening, mut rest): (Opening, _) = decode_front(NAME, payload)?;
        let (mut changes, mut blobs) = (Vec::new(), Vec::new());
        for _ in 0..opening.changes {
            let (change, after) = take(NAME, rest)?;
            let (lengths, after): (Lengths, _) = take(NAME, after)?;
            let found = self::blobs(lengths, record.len() - after.len());
            let bodies = lengths.iter().fold(0, |sum: usize, n| sum.saturating_add(*n as usize));
            rest = after
                .get(bodies..)
                .ok_or_else(|| StoreError::row(NAME, "a body is longer than its record"))?;
            changes.push(change);
            blobs.push(found);
        }
        let mut moved = Vec::new();
        for owner in &opening.moved {
            let (length, after): (u64, _) = take(NAME, rest)?;
            let (start, length) = (record.len() - after.len(), length as usize);
            rest = after
                .get(length..)
                .ok_or_else(|| StoreError::row(NAME, "a body is longer than its record"))?;
            moved.push((*owner, Blob { start, length }));
        }
        if rest.is_empty() {
            Ok(Reread { opening, changes, blobs, moved })
        } else {
            let what = format_args!("a record is {} bytes too long", rest.len());
            Err(StoreError::row(NAME, what))
        }
    }
}

impl Reread {
    /// What its bodies were written for: a row that may refer to one, or may not any more.
    pub(in crate::store) fn owners(&self) -> Vec<(Owner, Blob)> {
        let mut owners = self.moved.clone();
        // A request that was rewritten since is the original of another one.
        owners.extend(self.moved.iter().filter_map(|(owner, blob)| match owner {
            Owner::Request(id) => Some((Owner::Original(*id), *blob)),
            _ => None,
        }));
        for (change, blobs) in self.changes.iter().zip(&self.blobs) {
            owners.extend(Owner::all_of(change, blobs));
        }
        owners
    }
}

fn blobs(lengths: Lengths, mut start: usize) -> Blobs {
    let [request, token, answer, attempt] = lengths.map(|length| {
        let blob = Blob { start, length: length as usize };
        start = start.saturating_add(blob.length);
        blob
    });
    Blobs { request, token, answer, attempt }
}
