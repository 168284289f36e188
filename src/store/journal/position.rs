//! A place in the journal.

use redb::{ReadTransaction, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::segment::HEADER;
use crate::store::codec::{decode, encode};
use crate::store::error::{Result, StoreError};
use crate::store::tables::JOURNAL;

const ROW: &str = "position";

/// Between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::store) struct Position {
    pub(in crate::store) segment: u64,
    /// In bytes, from the beginning of the segment.
    pub(in crate::store) offset: u64,
    /// How many records there were before it, ever.
    pub(in crate::store) sequence: u64,
}

impl Position {
    /// Of a journal without a record.
    pub(in crate::store) const FIRST: Position =
        Position { segment: 1, offset: HEADER as u64, sequence: 0 };

    /// Behind a record of so many bytes that is here.
    pub(in crate::store) fn after(self, bytes: usize) -> Position {
        Position { offset: self.offset + bytes as u64, sequence: self.sequence + 1, ..self }
    }

    /// The index has all that is before this.
    pub(in crate::store) fn write(self, txn: &WriteTransaction, bytes: &mut Vec<u8>) -> Result<()> {
        encode(bytes, &self)?;
        txn.open_table(JOURNAL)?.insert(ROW, bytes.as_slice())?;
        Ok(())
    }

    pub(in crate::store) fn read(txn: &ReadTransaction) -> Result<Position> {
        match txn.open_table(JOURNAL)?.get(ROW)? {
            Some(row) => decode("journal", row.value()),
            None => Err(StoreError::row("journal", "its position is missing")),
        }
    }
}
