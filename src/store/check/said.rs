//! Claims, and how many callbacks are owed: as it is said, and as it is.

use std::collections::BTreeMap;

use redb::ReadableTable;

use super::super::callbacks::{self, CallbackCount};
use super::super::codec::decode;
use super::super::commit::ClaimRow;
use super::super::error::Result;
use super::super::{jobs, keys, tables};
use super::Check;

impl Check<'_> {
    pub(super) fn claims(&mut self) -> Result<()> {
        for row in self.txn.open_table(tables::CLAIMS)?.iter()? {
            let (key, value) = row?;
            let (id, ..): ClaimRow = decode("claims", value.value())?;
            let job = self.jobs.get(&keys::job(id))?;
            let mut own = Vec::new();
            if let Some(job) = job {
                let (head, _) = jobs::read_head(job.value())?;
                keys::claim(head.header.target, head.dedup.unwrap_or_default(), &mut own);
            }
            if own != key.value() {
                self.checked
                    .found(format!("table claims: a name is held by {id}, which has another"));
            }
        }
        Ok(())
    }

    pub(super) fn callbacks(&mut self) -> Result<()> {
        let mut said = BTreeMap::new();
        for CallbackCount { name, owed, undelivered } in callbacks::counts(self.txn)? {
            said.insert(name, (owed, undelivered));
        }
        if said != self.told {
            let what = format!(
                "table callback_counts: says (owed, undelivered) {said:?}, and there are {:?}",
                self.told
            );
            self.checked.found(what);
        }
        Ok(())
    }
}
