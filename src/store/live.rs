//! How much of each segment of the journal is still wanted: bytes of bodies that rows of the index
//! refer to. A segment of which nothing is wanted has no row here, and its file is removed after
//! the next checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::error::{Result, StoreError};
use super::shelf::Kept;
use super::tables::SEGMENTS;

#[derive(Debug, Default)]
pub(super) struct Live {
    bytes: BTreeMap<u64, u64>,
    /// Not written yet.
    touched: BTreeSet<u64>,
}

impl Live {
    pub(super) fn read(txn: &ReadTransaction) -> Result<Live> {
        let mut live = Live::default();
        for row in txn.open_table(SEGMENTS)?.iter()? {
            let (number, bytes) = row?;
            live.bytes.insert(number.value(), bytes.value());
        }
        Ok(live)
    }

    /// A row refers to this from here on.
    pub(super) fn enter(&mut self, kept: &Kept<'_>) {
        let Some(spot) = kept.spot() else { return };
        *self.bytes.entry(spot.segment).or_default() += u64::from(spot.length);
        self.touched.insert(spot.segment);
    }

    /// No row refers to this any more.
    pub(super) fn leave(&mut self, kept: &Kept<'_>) -> Result<()> {
        let Some(spot) = kept.spot() else { return Ok(()) };
        let bytes = self.bytes.get_mut(&spot.segment);
        let left = bytes.as_deref().and_then(|bytes| bytes.checked_sub(u64::from(spot.length)));
        let (Some(bytes), Some(left)) = (bytes, left) else {
            let what = format_args!("less than nothing is wanted of segment {}", spot.segment);
            return Err(StoreError::row("segments", what));
        };
        *bytes = left;
        if left == 0 {
            self.bytes.remove(&spot.segment);
        }
        self.touched.insert(spot.segment);
        Ok(())
    }

    pub(super) fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        if self.touched.is_empty() {
            return Ok(());
        }
        let mut table = txn.open_table(SEGMENTS)?;
        for segment in std::mem::take(&mut self.touched) {
            match self.bytes.get(&segment) {
                Some(bytes) => drop(table.insert(segment, bytes)?),
                None => drop(table.remove(segment)?),
            }
        }
        Ok(())
    }

    pub(super) fn wants(&self, segment: u64) -> bool {
        self.bytes.contains_key(&segment)
    }

    /// Those that are wanted, in order, and how many bytes of each.
    pub(super) fn segments(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.bytes.iter().map(|(number, bytes)| (*number, *bytes))
    }
}
