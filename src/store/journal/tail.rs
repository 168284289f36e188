//! The records behind a position, and the end of them.

use std::io;
use std::sync::Arc;

use super::frame::{HEAD, Head};
use super::segment::{self, Found, StoreId};
use super::volume::{Piece, Volume};
use super::{Journal, Position};
use crate::store::checkpoint::Limits;
use crate::store::error::{Result, StoreError};

/// What is read at a time where the end is looked at, in bytes.
const WINDOW: usize = 64 * 1024;

/// Reads one record after the other; at their [`Tail::end`] the journal goes on.
#[derive(Debug)]
pub(in crate::store) struct Tail {
    volume: Arc<dyn Volume>,
    store: StoreId,
    /// The segments from the one at which it is.
    segments: Vec<u64>,
    piece: Arc<dyn Piece>,
    /// Of that one, in bytes.
    length: u64,
    at: Position,
    /// The last record that was read, and where it is.
    last: Option<(Position, Vec<u8>)>,
}

impl Tail {
    /// # Errors
    /// Where a segment is missing or is none of this store.
    pub(in crate::store) fn open(
        volume: Arc<dyn Volume>,
        store: StoreId,
        from: Position,
    ) -> Result<Tail> {
        let listing = |error| StoreError::file("listing the journal", &error);
        // A name that is there need not be there for good.
        volume.sync().map_err(listing)?;
        let mut segments = volume.list().map_err(listing)?;
        segments.retain(|number| *number >= from.segment);
        if let Some(last) = segments.last().copied()
            && (last > from.segment || from == Position::FIRST)
            && matches!(segment::open(&*volume, last, store)?.1, Found::Unfinished)
        {
            tracing::warn!(segment = last, "an unfinished segment of the journal is begun anew");
            volume.remove(last).map_err(listing)?;
            volume.sync().map_err(listing)?;
            segments.pop();
        }
        if segments.is_empty() && from == Position::FIRST {
            segment::create(&*volume, from.segment, store)?;
            segments.push(from.segment);
        }
        let wanted = from.segment..from.segment + segments.len().max(1) as u64;
        if let Some(missing) =
            wanted.zip(segments.iter().map(Some).chain([None])).find(|(w, is)| Some(w) != *is)
        {
            return Err(segment::missing(missing.0));
        }
        let (piece, length) = at_segment(&*volume, from.segment, store)?;
        if length < from.offset {
            let what = format!("segment {} of the journal is cut short", from.segment);
            return Err(StoreError::Corrupt(what));
        }
        Ok(Tail { volume, store, segments, piece, length, at: from, last: None })
    }

    /// The next record, and where it begins; `None` at the end.
    ///
    /// # Errors
    /// Where a record cannot be read, and others follow it.
    pub(in crate::store) fn next(&mut self) -> Result<Option<(Position, &[u8])>> {
        while self.at.offset == self.length && self.segments.len() > 1 {
            self.segments.remove(0);
            let number = self.segments[0];
            (self.piece, self.length) = at_segment(&*self.volume, number, self.store)?;
            let offset = segment::HEADER as u64;
            self.at = Position { segment: number, offset, ..self.at };
        }
        if self.at.offset == self.length {
            return Ok(None);
        }
        match self.record_at(self.at.offset)? {
            Some((head, frame)) if head.sequence == self.at.sequence => {
                let at = self.at;
                self.at = at.after(frame.len());
                let (_, frame) = self.last.insert((at, frame));
                Ok(Some((at, frame)))
            }
            None if self.segments.len() == 1 && !self.others_follow()? => Ok(None),
            _ => Err(StoreError::Corrupt(format!(
                "record {} of the journal, in segment {} at byte {}, cannot be read, and others \
                 follow it",
                self.at.sequence, self.at.segment, self.at.offset
            ))),
        }
    }

    /// Cuts off what a crash left behind the last record, and makes sure that this one stays.
    pub(in crate::store) fn end(self, limits: Limits) -> Result<Journal> {
        let doing = |error| {
            let what = format!("mending the end of segment {} of the journal", self.at.segment);
            StoreError::file(&what, &error)
        };
        if self.length > self.at.offset {
            if self.anything_follows()? {
                let bytes = self.length - self.at.offset;
                tracing::warn!(bytes, "the end of the journal was never acknowledged: cut off");
            }
            self.piece.cut(self.at.offset).map_err(doing)?;
        }
        if let Some((at, frame)) = &self.last
            && at.segment == self.at.segment
        {
            // The life before may have ended between its writing and its syncing; and a kernel that
            // failed to write it may go on showing it.
            self.piece.write(at.offset, frame).map_err(doing)?;
        }
        self.piece.sync().map_err(doing)?;
        Ok(Journal {
            volume: self.volume,
            store: self.store,
            active: self.piece,
            next: self.at,
            written: self.at.offset,
            limits,
        })
    }

    fn record_at(&self, offset: u64) -> Result<Option<(Head, Vec<u8>)>> {
        record_at(&*self.piece, self.length, self.store, offset).map_err(|error| {
            let what = format!("reading segment {} of the journal", self.at.segment);
            StoreError::file(&what, &error)
        })
    }

    /// Whether a later record is somewhere behind here.
    fn others_follow(&self) -> Result<bool> {
        self.any_behind(HEAD - 1, |from, window| {
            for (at, bytes) in window.windows(HEAD).enumerate() {
                let Some(head) = bytes.first_chunk().and_then(Head::from_bytes) else { continue };
                let at = from + at as u64;
                // No more records fit in between. What a caller wrote into a body to look like one
                // would have to guess the number: to look whether it is one takes time.
                let between = (at - self.at.offset) / HEAD as u64;
                let later = self.at.sequence + 1..=self.at.sequence + between;
                if later.contains(&head.sequence) && self.record_at(at)?.is_some() {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Whether there are more than zeros, which were written ahead of the next record.
    fn anything_follows(&self) -> Result<bool> {
        self.any_behind(0, |_, window| Ok(window.iter().any(|byte| *byte != 0)))
    }

    /// Whether `is` says so of a stretch behind here, told where it begins; each has the last
    /// `overlap` bytes of the one before once more.
    fn any_behind(&self, overlap: usize, is: impl Fn(u64, &[u8]) -> Result<bool>) -> Result<bool> {
        let mut window = vec![0; WINDOW];
        let mut from = self.at.offset;
        while self.length - from > overlap as u64 {
            let length = (self.length - from).min(WINDOW as u64) as usize;
            self.read(from, &mut window[..length])?;
            if is(from, &window[..length])? {
                return Ok(true);
            }
            from += (length - overlap) as u64;
        }
        Ok(false)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.piece.read(offset, bytes).map_err(|error| {
            let what = format!("reading segment {} of the journal", self.at.segment);
            StoreError::file(&what, &error)
        })
    }
}

/// One that has records: with its length.
fn at_segment(volume: &dyn Volume, number: u64, store: StoreId) -> Result<(Arc<dyn Piece>, u64)> {
    let (piece, Found::Ours) = segment::open(volume, number, store)? else {
        let what = format!("segment {number} of the journal: its header is damaged");
        return Err(StoreError::Corrupt(what));
    };
    let length = piece.len().map_err(|error| StoreError::file("reading the journal", &error))?;
    Ok((piece, length))
}

/// `None` where no whole record is there.
pub(super) fn record_at(
    piece: &dyn Piece,
    length: u64,
    store: StoreId,
    offset: u64,
) -> io::Result<Option<(Head, Vec<u8>)>> {
    let mut bytes = [0; HEAD];
    let left = length.saturating_sub(offset);
    if left < HEAD as u64 {
        return Ok(None);
    }
    piece.read(offset, &mut bytes)?;
    let Some(head) = Head::from_bytes(&bytes) else { return Ok(None) };
    if left < HEAD as u64 + u64::from(head.length) {
        return Ok(None);
    }
    let mut frame = vec![0; HEAD + head.length as usize];
    piece.read(offset, &mut frame)?;
    Ok(head.fits(store, &frame[HEAD..]).then_some((head, frame)))
}
