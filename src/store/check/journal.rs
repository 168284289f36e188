//! The journal's part of the check: every record of every segment, and how much of each is wanted.

use std::collections::BTreeMap;

use redb::ReadableTable;

use super::super::error::{Result, StoreError};
use super::super::journal::{Journal, Reread, Stretch};
use super::super::shelf::Kept;
use super::super::tables::{self, Definition};
use super::{Check, Checked};

/// What is read at a time, in bytes.
const SLICE: u64 = 4 << 20;

/// All records; one that nobody wants any more would be in the way when its segment is cleared.
pub(super) fn check(journal: &Journal, checked: &mut Checked) -> Result<()> {
    for segment in journal.segments()? {
        let done = whole(journal, segment);
        checked.take(done)?;
    }
    Ok(())
}

fn whole(journal: &Journal, segment: u64) -> Result<()> {
    let mut from = Some(Journal::BEGIN);
    while let Some(offset) = from {
        let Stretch { records, next } = journal.read_some(segment, offset, SLICE)?;
        for (at, record) in records {
            Reread::of(&record).map_err(|error| match error {
                StoreError::Corrupt(what) => {
                    let what = format!("segment {segment} of the journal, byte {at}: {what}");
                    StoreError::Corrupt(what)
                }
                other => other,
            })?;
        }
        from = next;
    }
    Ok(())
}

impl Check<'_> {
    /// Of each segment as much is wanted as rows refer to.
    pub(super) fn segments(&mut self) -> Result<()> {
        let mut wanted = BTreeMap::new();
        self.add_wanted(tables::REQUESTS, "requests", &mut wanted)?;
        self.add_wanted(tables::ANSWERS, "answers", &mut wanted)?;
        self.add_wanted(tables::ORIGINALS, "originals", &mut wanted)?;
        self.add_wanted(tables::ATTEMPTS, "attempts", &mut wanted)?;
        let mut said = BTreeMap::new();
        for row in self.txn.open_table(tables::SEGMENTS)?.iter()? {
            let (number, bytes) = row?;
            said.insert(number.value(), bytes.value());
        }
        if said != wanted {
            let what = format!("table segments: it says {said:?}, and wanted is {wanted:?}");
            self.checked.found(what);
        }
        Ok(())
    }

    fn add_wanted<const N: usize>(
        &self,
        table: Definition<N>,
        name: &str,
        wanted: &mut BTreeMap<u64, u64>,
    ) -> Result<()> {
        for row in tables::read(self.txn, table)?.iter()? {
            // One that cannot be read is found where it is read.
            if let Ok(kept) = Kept::read(name, row?.1.value())
                && let Some(spot) = kept.spot()
            {
                *wanted.entry(spot.segment).or_default() += u64::from(spot.length);
            }
        }
        Ok(())
    }
}
