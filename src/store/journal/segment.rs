//! One file of the journal: a header, and records behind it.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | [`MAGIC`] |
//! | 4 | [`VERSION`], little-endian, as all of these |
//! | 16 | the store that it belongs to |
//! | 8 | its number |
//! | 4 | CRC-32 (IEEE) of these |

use std::sync::Arc;

use redb::{ReadTransaction, WriteTransaction};

use super::volume::{Piece, Volume};
use crate::store::codec::{decode, encode};
use crate::store::error::{Result, StoreError};
use crate::store::tables::JOURNAL;

const MAGIC: [u8; 8] = *b"TOLLSEG\n";
/// Of the segments and of the records in them.
const VERSION: u32 = 1;
pub(super) const HEADER: usize = 40;

/// Chance, drawn when a store is made: its redb file and its journal belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct StoreId(pub(in crate::store) u128);

const ROW: &str = "store";

impl StoreId {
    pub(in crate::store) fn write(self, txn: &WriteTransaction, bytes: &mut Vec<u8>) -> Result<()> {
        encode(bytes, &self.0)?;
        txn.open_table(JOURNAL)?.insert(ROW, bytes.as_slice())?;
        Ok(())
    }

    pub(in crate::store) fn read(txn: &ReadTransaction) -> Result<StoreId> {
        match txn.open_table(JOURNAL)?.get(ROW)? {
            Some(row) => decode("journal", row.value()).map(StoreId),
            None => Err(StoreError::row("journal", "the store has no id")),
        }
    }
}

/// What the first bytes of a segment say.
pub(super) enum Found {
    /// A segment of this store.
    Ours,
    /// It was never finished: nothing was ever written behind its header.
    Unfinished,
}

/// A new one, its name as durable as its header when this returns.
pub(super) fn create(volume: &dyn Volume, number: u64, store: StoreId) -> Result<Arc<dyn Piece>> {
    let doing =
        |error| StoreError::file(&format!("making segment {number} of the journal"), &error);
    let piece = volume.create(number).map_err(doing)?;
    piece.write(0, &header(number, store)).map_err(doing)?;
    piece.sync().map_err(doing)?;
    volume.sync().map_err(doing)?;
    Ok(piece)
}

/// Opens one, and looks at its header.
pub(super) fn open(
    volume: &dyn Volume,
    number: u64,
    store: StoreId,
) -> Result<(Arc<dyn Piece>, Found)> {
    let doing =
        |error| StoreError::file(&format!("reading segment {number} of the journal"), &error);
    let piece = volume.open(number).map_err(doing)?;
    let length = piece.len().map_err(doing)?;
    let mut found = [0; HEADER];
    if length >= HEADER as u64 {
        piece.read(0, &mut found).map_err(doing)?;
        if found == header(number, store) {
            return Ok((piece, Found::Ours));
        }
    }
    if length <= HEADER as u64 && !is_whole(&found) {
        return Ok((piece, Found::Unfinished));
    }
    let what = if !is_whole(&found) {
        "its header is damaged"
    } else if found[8..12] != VERSION.to_le_bytes() {
        "another version of Tollgate wrote it"
    } else {
        "it belongs to another store; the file of a store and its journal are kept, moved and \
         restored together"
    };
    Err(StoreError::Corrupt(format!("segment {number} of the journal: {what}")))
}

pub(super) fn remove(volume: &dyn Volume, is_over: impl Fn(u64) -> bool) -> Result<()> {
    let doing = |error| StoreError::file("clearing the journal", &error);
    let numbers = volume.list().map_err(doing)?;
    for number in numbers.into_iter().filter(|number| is_over(*number)) {
        // Should the name come back after a crash, it is removed again.
        volume.remove(number).map_err(doing)?;
    }
    Ok(())
}

pub(in crate::store) fn missing(number: u64) -> StoreError {
    StoreError::Corrupt(format!("segment {number} of the journal is missing"))
}

fn header(number: u64, store: StoreId) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..28].copy_from_slice(&store.0.to_le_bytes());
    bytes[28..36].copy_from_slice(&number.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..36]);
    bytes[36..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Whether it is a header at all, of whatever segment.
fn is_whole(header: &[u8; HEADER]) -> bool {
    header[..8] == MAGIC && header[36..] == crc32fast::hash(&header[..36]).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_on_disk_stays_what_it_is() {
        let header = header(258, StoreId(7));
        let mut wanted = b"TOLLSEG\n\x01\0\0\0\x07".to_vec();
        wanted.resize(28, 0);
        wanted.extend([2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(header[..36], wanted);
        assert!(is_whole(&header));
    }
}
