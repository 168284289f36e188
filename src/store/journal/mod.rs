//! The journal: what every commit is durable in.
//!
//! A directory beside the file of redb, `tollgate.redb.journal`, holds segments, numbered files
//! that are only ever appended to. A turn is one record ([`frame`], [`record`]): one write and one
//! `fdatasync`, and then it may be acknowledged. redb is the index of what the records say. Each
//! turn is in it at once, for whoever reads, but only in memory; a checkpoint makes it durable from
//! time to time. The row `journal` of redb says up to which [`Position`] of the journal it has
//! everything, in the same transaction with that everything. So what is on the disk is always
//!
//! > the last checkpoint of redb, and the records of the journal from its position on,
//!
//! and opening the store puts the two together: it applies these records, in order and each once,
//! in one transaction that is a checkpoint. A crash in the midst of that changes nothing.
//!
//! What is synced when:
//! - A record before its turn is acknowledged.
//! - The header of a new segment before the first record, and then the directory, so that the name
//!   is there as well.
//! - The directory, and the last record, once more when the journal is opened: whoever wrote them
//!   may have died between the writing and the syncing, and what the kernel still shows may be
//!   lost with the power. Only then redb may say that it has that record.
//! - redb in a checkpoint, in two phases and with its allocator's state, so that it opens at once.
//!
//! The end of the journal: a record is written only when the one before it was acknowledged, so at
//! most the last one can be torn by a crash, and nobody was told of it. It is cut off. Where
//! another record follows one that cannot be read, that was no crash but damage, and the store is
//! not opened.
//!
//! Behind the last record there may be zeros, written ahead for the next ones: a file that need not
//! grow has nothing to sync but what was written, not its inode too, nor the journal of its file
//! system. They are cut off when the journal is opened, and when a segment is full.
//!
//! A write or a sync that fails is final: what it left nobody knows before the journal is read
//! again, so the store refuses everything from there on. Half a record that a full disk took is
//! cut off at the next opening.

mod frame;
mod position;
mod record;
mod segment;
mod tail;
mod volume;

use std::sync::Arc;

pub(super) use position::Position;
pub(super) use record::{Blob, Blobs, Opening, Record, Reread};
pub(super) use segment::{StoreId, missing};
pub(super) use tail::Tail;
pub(super) use volume::{Directory, Piece, Volume};

use super::checkpoint::Limits;
use super::error::{Result, StoreError};

/// Where records are written.
#[derive(Debug)]
pub(super) struct Journal {
    volume: Arc<dyn Volume>,
    store: StoreId,
    /// The segment that `next` is in.
    active: Arc<dyn Piece>,
    /// Where the next record will be, unless there is to be a new segment for it.
    next: Position,
    /// How far the active one is written, be it with zeros, in bytes.
    written: u64,
    limits: Limits,
}

impl Journal {
    /// Where the next record will be, in a segment that has room for it.
    pub(super) fn make_room(&mut self) -> Result<Position> {
        if self.next.offset >= self.limits.segment {
            self.turn_over()?;
        }
        Ok(self.next)
    }

    /// The last segment gets no more records, unless it has none yet. Says where the next one will
    /// be.
    pub(super) fn turn_over(&mut self) -> Result<Position> {
        if self.next.offset > Journal::BEGIN {
            // Behind the records of a segment that others follow there is nothing.
            if self.written > self.next.offset {
                let cut = self.active.cut(self.next.offset).and_then(|()| self.active.sync());
                cut.map_err(|error| self.failed("ending", &error))?;
            }
            let number = self.next.segment + 1;
            self.active = segment::create(&*self.volume, number, self.store)?;
            self.next = Position { segment: number, offset: Journal::BEGIN, ..self.next };
            self.written = Journal::BEGIN;
        }
        Ok(self.next)
    }

    /// Returns once the record is on the disk.
    pub(super) fn append(&mut self, record: &mut Record) -> Result<()> {
        let frame = record.sealed(self.store, self.next.sequence)?;
        let next = self.next.after(frame.len());
        self.active
            .write(self.next.offset, frame)
            .map_err(|error| self.failed("writing", &error))?;
        if next.offset > self.written {
            // Much at once is seldom: for it to grow costs less than to write everything twice.
            let ahead =
                if frame.len() as u64 <= self.limits.ahead / 16 { self.limits.ahead } else { 0 };
            self.prepare(next.offset, ahead).map_err(|error| self.failed("writing", &error))?;
        }
        self.active.sync().map_err(|error| self.failed("syncing", &error))?;
        self.next = next;
        Ok(())
    }

    /// Writes zeros for the records to come.
    fn prepare(&mut self, from: u64, ahead: u64) -> std::io::Result<()> {
        const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
        self.written = from;
        while self.written < from + ahead {
            let left = (from + ahead - self.written).min(ZEROS.len() as u64);
            self.active.write(self.written, &ZEROS[..left as usize])?;
            self.written += left;
        }
        Ok(())
    }

    /// Where the next record will be, as far as is known.
    pub(super) fn next(&self) -> Position {
        self.next
    }

    /// The segments that get no more records.
    pub(super) fn is_closed(&self, segment: u64) -> bool {
        segment < self.next.segment
    }

    /// Of a segment, in bytes.
    pub(super) fn length(&self, segment: u64) -> Result<u64> {
        let piece = self.volume.open(segment);
        piece.and_then(|piece| piece.len()).map_err(|error| reading(segment, &error))
    }

    /// Records of a closed segment, about so many bytes of them.
    pub(super) fn read_some(&self, segment: u64, mut from: u64, bytes: u64) -> Result<Stretch> {
        let failed = |error| reading(segment, &error);
        let piece = self.volume.open(segment).map_err(failed)?;
        let length = piece.len().map_err(failed)?;
        let end = from.saturating_add(bytes);
        let mut records = Vec::new();
        while from < length {
            if from >= end {
                return Ok(Stretch { records, next: Some(from) });
            }
            let record = tail::record_at(&*piece, length, self.store, from).map_err(failed)?;
            let Some((_, record)) = record else {
                let what = format!("segment {segment} of the journal is damaged at byte {from}");
                return Err(StoreError::Corrupt(what));
            };
            let at = from;
            from += record.len() as u64;
            records.push((at, record));
        }
        Ok(Stretch { records, next: None })
    }

    /// All that there are, in order.
    pub(super) fn segments(&self) -> Result<Vec<u64>> {
        self.volume.list().map_err(|error| self.failed("looking for", &error))
    }

    /// Whether these segments are there.
    pub(super) fn audit(&self, mut wanted: impl Iterator<Item = u64>) -> Result<()> {
        let there = self.segments()?;
        match wanted.find(|number| !there.contains(number)) {
            Some(number) => Err(segment::missing(number)),
            None => Ok(()),
        }
    }

    /// Removes the segments before the one that is written, but for those that are wanted. A
    /// checkpoint must have all that they say.
    pub(super) fn forget(&self, is_wanted: impl Fn(u64) -> bool) -> Result<()> {
        let last = self.next.segment;
        segment::remove(&*self.volume, |number| number < last && !is_wanted(number))
    }

    /// Behind the header of a segment.
    pub(super) const BEGIN: u64 = segment::HEADER as u64;

    fn failed(&self, doing: &str, error: &std::io::Error) -> StoreError {
        StoreError::file(&format!("{doing} segment {} of the journal", self.next.segment), error)
    }
}

/// Some records of a segment.
pub(super) struct Stretch {
    /// Each with where it begins.
    pub(super) records: Vec<(u64, Vec<u8>)>,
    /// Where those begin that come next; `None` at the end.
    pub(super) next: Option<u64>,
}

fn reading(segment: u64, error: &std::io::Error) -> StoreError {
    StoreError::file(&format!("reading segment {segment} of the journal"), error)
}
