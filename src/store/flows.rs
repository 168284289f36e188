//! Flows of the queues, each with when its last job is done, for as long as that is to come.
//!
//! Nothing says when virtual time has passed the end of a flow. So each commit that has to do with
//! flows also looks at some rows of the table, one after the other and round again, and takes away
//! those that are over: the table stays about as long as there are flows with jobs in line.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::codec::{decode, encode};
use super::error::Result;
use super::keys;
use super::tables::{self, CLOCKS, FLOWS, JOURNAL};
use crate::broker::fair::{Clock, Clocks, FlowId, Tag};
use crate::broker::job::TargetId;

const TABLE: &str = "flows";

/// Rows looked at in a commit, beside two for each that it writes.
const LOOKED_AT: usize = 8;

/// What a commit did.
#[derive(Debug, Default)]
pub(super) struct Touched {
    flows: BTreeMap<FlowId, Tag>,
}

impl Touched {
    pub(super) fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    pub(super) fn note(&mut self, flow: &FlowId, done: Tag) {
        self.flows.insert(flow.clone(), done);
    }
}

const ROW: &str = "broom";

/// Where the search for rows that are over goes on. It is on disk too, so that a record of the
/// journal that is applied again sweeps what it swept before.
#[derive(Debug, Default)]
pub(super) struct Broom(Vec<u8>);

impl Broom {
    pub(super) fn read(txn: &ReadTransaction) -> Result<Broom> {
        let row = txn.open_table(JOURNAL)?.get(ROW)?;
        Ok(Broom(row.map(|row| row.value().to_vec()).unwrap_or_default()))
    }

    pub(super) fn write(
        &mut self,
        touched: &Touched,
        clocks: impl Fn(TargetId) -> Option<Clocks>,
        txn: &WriteTransaction,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        let mut table = txn.open_table(FLOWS)?;
        let mut key = Vec::new();
        for (flow, done) in &touched.flows {
            keys::flow(flow, &mut key);
            encode(bytes, done)?;
            table.insert(key.as_slice(), bytes.as_slice())?;
        }
        if table.is_empty()? {
            return Ok(());
        }
        let most = LOOKED_AT + 2 * touched.flows.len();
        let mut over: Vec<Vec<u8>> = Vec::new();
        let mut last = None;
        for row in table.range::<&[u8]>(self.0.as_slice()..)?.take(most) {
            let (key, value) = row?;
            let (target, priority) = keys::read_flow(key.value())?;
            let now = clocks(target).map_or(Tag::default(), |clocks| clocks.get(priority).now);
            if decode::<Tag>(TABLE, value.value())? <= now {
                over.push(key.value().to_vec());
            }
            last = Some(key.value().to_vec());
        }
        for key in over {
            table.remove(key.as_slice())?;
        }
        // Behind the last one, or from the beginning.
        self.0 = last.unwrap_or_default();
        if !self.0.is_empty() {
            self.0.push(0);
        }
        txn.open_table(JOURNAL)?.insert(ROW, self.0.as_slice())?;
        Ok(())
    }
}

/// When the last job of the flow is done, where that is still to come.
pub(super) fn done(txn: &ReadTransaction, flow: &FlowId) -> Result<Option<Tag>> {
    let mut key = Vec::new();
    keys::flow(flow, &mut key);
    let Some(row) = txn.open_table(FLOWS)?.get(key.as_slice())? else { return Ok(None) };
    let done: Tag = decode(TABLE, row.value())?;
    let clock = tables::read(txn, CLOCKS)?.get(&keys::clock(flow.target, flow.priority))?;
    let clock: Clock = match clock {
        Some(row) => decode("clocks", row.value())?,
        None => Clock::default(),
    };
    Ok(Some(done).filter(|done| *done > clock.now))
}
