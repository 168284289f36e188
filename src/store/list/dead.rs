//! The dead jobs of one target: listing them, and what they died of. Both go along the index of
//! the dead alone and look at a bounded number of its rows; the jobs themselves are read only where
//! they are listed.

use std::collections::BTreeMap;

use redb::ReadTransaction;

use super::{Found, LOOKED_AT, Walk, graves};
use crate::broker::io::DeadFilter;
use crate::broker::job::{End, JobId, Place, TargetId};
use crate::broker::time::Wall;
use crate::store::codec::decode;
use crate::store::cursor::{Cursor, Index};
use crate::store::error::Result;
use crate::store::load::Grave;
use crate::store::record::{Filter, Page};
use crate::store::tables::DEAD;

/// What one stretch of the dead died of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeathTally {
    /// Most frequent first.
    pub deaths: Vec<Deaths>,
    /// How many dead jobs it has, be they counted or not.
    pub looked_at: u64,
    /// Where the next stretch begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// Those that died of the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deaths {
    pub end: End,
    pub count: u64,
    pub oldest: Wall,
    pub newest: Wall,
    /// The newest one.
    pub example: JobId,
}

/// The dead jobs of a target, newest first.
pub(in crate::store) fn dead(
    txn: &ReadTransaction,
    target: TargetId,
    filter: &DeadFilter,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page> {
    let any = Filter::default();
    let mut walk = Walk::new(txn, &any, after, limit, LOOKED_AT)?;
    walk.along(Index::DeadNewest, DEAD, &[graves(target)], |_, value| {
        let (header, place, _): Grave = decode("dead", value)?;
        Ok(if filter.fits(&header, &place) { Found::Job(header.id) } else { Found::Nothing })
    })?;
    Ok(walk.page)
}

/// What those of the next `looked_at` dead jobs of a target that fit died of, from the newest back.
pub(in crate::store) fn tally(
    txn: &ReadTransaction,
    target: TargetId,
    filter: &DeadFilter,
    after: Option<&Cursor>,
    looked_at: usize,
) -> Result<DeathTally> {
    let any = Filter::default();
    let mut walk = Walk::new(txn, &any, after, 1, looked_at)?;
    let mut deaths: BTreeMap<End, Deaths> = BTreeMap::new();
    let mut looked_at = 0;
    walk.along(Index::DeadNewest, DEAD, &[graves(target)], |_, value| {
        let (header, place, _): Grave = decode("dead", value)?;
        looked_at += 1;
        if let Place::Ended { end, at } = place
            && filter.fits(&header, &place)
        {
            let first = Deaths { end, count: 0, oldest: at, newest: at, example: header.id };
            let deaths = deaths.entry(end).or_insert(first);
            deaths.count += 1;
            deaths.oldest = deaths.oldest.min(at);
        }
        Ok(Found::Nothing)
    })?;
    let mut deaths: Vec<Deaths> = deaths.into_values().collect();
    deaths.sort_by_key(|deaths| std::cmp::Reverse(deaths.count));
    Ok(DeathTally { deaths, looked_at, next: walk.page.next })
}
