//! Where bodies are: small ones in their row of the index, others where the journal has them.
//!
//! A row of the index has a [`Kept`]. A body that stands in the journal is never copied into redb:
//! the row says where it is, how long, and its checksum. A segment is kept as long as a row refers
//! to a body in it; [`super::live`] counts these.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::codec::{decode, encode};
use super::error::{Result, StoreError};
use super::journal::{self, Blob, Piece, Position, Volume};

/// A body of at most so many bytes stands in its row: a reference is not much shorter.
const SMALL: usize = 64;
/// Segments that are kept open for reading.
const OPEN: usize = 32;

/// What a row of the index has of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kept<'a> {
    Here(&'a [u8]),
    There(Spot),
}

/// A body in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spot {
    pub(super) segment: u64,
    /// In bytes, from the beginning of the segment.
    pub(super) offset: u64,
    /// In bytes.
    pub(super) length: u32,
    /// CRC-32 (IEEE).
    checksum: u32,
}

impl<'a> Kept<'a> {
    /// Of a body that stands in the journal there.
    pub(super) fn new(body: &'a [u8], segment: u64, offset: u64) -> Kept<'a> {
        if body.len() <= SMALL {
            return Kept::Here(body);
        }
        let checksum = crc32fast::hash(body);
        Kept::There(Spot { segment, offset, length: body.len() as u32, checksum })
    }

    pub(super) fn read(table: &str, row: &'a [u8]) -> Result<Kept<'a>> {
        decode(table, row)
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) -> Result<()> {
        encode(bytes, self)
    }

    /// Of the body, in bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Kept::Here(body) => body.len() as u64,
            Kept::There(spot) => u64::from(spot.length),
        }
    }

    pub(super) fn spot(&self) -> Option<Spot> {
        match self {
            Kept::Here(_) => None,
            Kept::There(spot) => Some(*spot),
        }
    }
}

/// Fetches bodies from the journal. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub(super) struct Shelf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    volume: Arc<dyn Volume>,
    /// Read last comes last.
    open: Mutex<VecDeque<(u64, Arc<dyn Piece>)>>,
}

impl Shelf {
    pub(super) fn new(volume: Arc<dyn Volume>) -> Shelf {
        Shelf(Arc::new(Inner { volume, open: Mutex::default() }))
    }

    /// # Errors
    /// [`StoreError::Moved`] where the segment is there no more: the row that the body is wanted
    /// for is of the past. Where what is there is not what was written.
    pub(super) fn fetch(&self, spot: Spot) -> Result<Vec<u8>> {
        let doing = |error: io::Error| {
            StoreError::file(&format!("reading segment {} of the journal", spot.segment), &error)
        };
        let piece = match self.segment(spot.segment) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Moved);
            }
            other => other.map_err(doing)?,
        };
        let mut body = vec![0; spot.length as usize];
        match piece.read(spot.offset, &mut body) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(doing(error)),
            Ok(()) if crc32fast::hash(&body) == spot.checksum => return Ok(body),
            Ok(()) => {}
        }
        let Spot { segment, offset, .. } = spot;
        let what =
            format!("segment {segment} of the journal: the body at byte {offset} is damaged");
        Err(StoreError::Corrupt(what))
    }

    /// So that their room is given back.
    pub(super) fn close(&self, gone: impl Fn(u64) -> bool) {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(number, _)| !gone(*number));
    }

    /// As [`Shelf::fetch`], for a row of the present: what it refers to is there.
    pub(super) fn fetch_present(&self, spot: Spot) -> Result<Vec<u8>> {
        self.fetch(spot).map_err(|error| match error {
            StoreError::Moved => journal::missing(spot.segment),
            other => other,
        })
    }

    fn segment(&self, number: u64) -> io::Result<Arc<dyn Piece>> {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|(other, _)| *other == number)
            && let Some(found) = open.remove(at)
        {
            let piece = found.1.clone();
            open.push_back(found);
            return Ok(piece);
        }
        let piece = self.0.volume.open(number)?;
        if open.len() == OPEN {
            open.pop_front();
        }
        open.push_back((number, piece.clone()));
        Ok(piece)
    }
}

/// The record that a transaction applies: its bodies may not be on the shelf yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtHand<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: Position,
}

impl<'a> AtHand<'a> {
    pub(super) fn keep(&self, blob: &Blob) -> Result<Kept<'a>> {
        let body = blob.of(self.bytes).ok_or_else(|| {
            StoreError::row("journal", "a body that a change needs is not in its record")
        })?;
        Ok(Kept::new(body, self.at.segment, self.at.offset + blob.start as u64))
    }

    /// `None` where it is in another record.
    pub(super) fn find(&self, spot: Spot) -> Option<&'a [u8]> {
        let start = spot.offset.checked_sub(self.at.offset)?;
        let start = usize::try_from(start).ok().filter(|_| spot.segment == self.at.segment)?;
        self.bytes.get(start..start + spot.length as usize)
    }
}
