//! Listings: which index answers a filter, and a walk along it that looks at a bounded number of
//! rows.

mod dead;

use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable};

use super::codec::decode;
use super::cursor::{Cursor, Index};
use super::error::{Result, StoreError};
use super::load::Grave;
use super::record::{Filter, JobRecord, Page};
use super::tables::{
    self, BEHIND, DEAD, FINISHED, JOBS, READY, RUNNING, Rows, TARGETS, TIMERS, VERIFYING,
};
use super::{groups, jobs, keys};
use crate::broker::fair::Rank;
use crate::broker::job::{Header, JobId, JobState, Place, Priority, TargetId};
use crate::broker::time::Wall;
pub use dead::{DeathTally, Deaths};
pub(super) use dead::{dead, tally};

/// How many rows one call looks at, be they listed or not.
pub(super) const LOOKED_AT: usize = 10_000;
/// How many jobs a page holds at most, whatever is asked for.
pub(super) const LONGEST_PAGE: usize = 1_000;

/// A page along the index that answers the filter best.
pub(super) fn list(
    txn: &ReadTransaction,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: usize,
    looked_at: usize,
) -> Result<Page> {
    use JobState::{
        Cancelled, Expired, Failed, Queued, Running, Scheduled, Succeeded, Verifying, Waiting,
    };
    let mut walk = Walk::new(txn, filter, after, limit, looked_at)?;
    match filter.state {
        // Here the row is the record already.
        None => walk.along(Index::Jobs, JOBS, &[all()], |_, value| {
            let (head, _) = jobs::read_head(value)?;
            let header = head.header.as_ref();
            let state = header.state_in(&head.place);
            let fits =
                filter.allows(header.target, header.priority, state) && filter.allows_group(header);
            Ok(if fits { Found::Record(Box::new(jobs::read(value)?)) } else { Found::Nothing })
        }),
        Some(Running) => walk.along(Index::Running, RUNNING, &[all()], |_, value| {
            let (header, started): (Header, Wall) = decode("running", value)?;
            Ok(filter.find_at(&header, Place::Running { started }))
        }),
        Some(Queued) => queued(&mut walk, txn, filter),
        Some(Scheduled | Waiting) => walk.along(Index::Timers, TIMERS, &[all()], |_, value| {
            let (header, place): (Header, Place) = decode("timers", value)?;
            Ok(filter.find_at(&header, place))
        }),
        Some(Verifying) => {
            let jobs = tables::read(txn, JOBS)?;
            walk.along(Index::Verifying, VERIFYING, &[all()], |key, _| {
                let row = jobs.get(key)?;
                let row =
                    row.ok_or_else(|| StoreError::row("jobs", "a verifying job is missing"))?;
                let (head, _) = jobs::read_head(row.value())?;
                Ok(filter.find_at(&head.header, head.place))
            })
        }
        Some(Succeeded | Cancelled) => {
            walk.along(Index::Finished, FINISHED, &[all()], |key, value| {
                let (target, priority, place): (TargetId, Priority, Place) =
                    decode("finished", value)?;
                Ok(filter.find(keys::read_time(key).1, target, priority, place.state()))
            })
        }
        Some(Failed | Expired) => {
            let span = filter.target.map_or_else(all, graves);
            walk.along(Index::Dead, DEAD, &[span], |_, value| {
                let (header, place, _): Grave = decode("dead", value)?;
                Ok(filter.find_at(&header, place))
            })
        }
    }?;
    Ok(walk.page)
}

/// Those in line, and then those that wait behind others of their group.
fn queued(walk: &mut Walk<'_>, txn: &ReadTransaction, filter: &Filter) -> Result<()> {
    if !walk.is_along(Index::Behind) {
        walk.along(Index::Ready, READY, &queues(txn, filter)?, |_, value| {
            let header: Header = decode("ready", value)?;
            Ok(filter.find_at(&header, Place::Queued))
        })?;
        if walk.page.next.is_some() {
            return Ok(());
        }
        walk.after = None;
    }
    let span = match (filter.target, &filter.group) {
        (Some(target), Some(name)) => keys::members(keys::group(target, name)),
        (Some(target), None) => {
            let (first, last) = keys::groups(target);
            (keys::members(first).0, keys::members(last).1)
        }
        (None, _) => all(),
    };
    if walk.is_full() {
        let (first, last) = &span;
        let more = tables::read(txn, BEHIND)?.range::<&[u8; 28]>(first..=last)?.next().is_some();
        // Before the first of them: no name has this hash.
        walk.page.next = more.then(|| Cursor::new(Index::Behind, &[0; 28]));
        return Ok(());
    }
    let jobs = tables::read(txn, JOBS)?;
    walk.along(Index::Behind, BEHIND, &[span], |_, value| {
        let id = groups::id("behind", value)?;
        let Some(row) = jobs.get(&id)? else {
            return Err(StoreError::row("jobs", "one that waits in its group is missing"));
        };
        let (head, _) = jobs::read_head(row.value())?;
        Ok(filter.find_at(head.header.as_ref(), head.place))
    })
}

impl Filter {
    fn allows(&self, target: TargetId, priority: Priority, state: JobState) -> bool {
        self.target.is_none_or(|wanted| wanted == target)
            && self.priority.is_none_or(|wanted| wanted == priority)
            && self.state.is_none_or(|wanted| wanted == state)
    }

    fn allows_group(&self, header: &Header) -> bool {
        let name = header.group.as_ref().map(|group| &group.name);
        self.group.is_none() || self.group.as_ref() == name
    }

    fn find(&self, id: JobId, target: TargetId, priority: Priority, state: JobState) -> Found {
        if self.allows(target, priority, state) { Found::Job(id) } else { Found::Nothing }
    }

    fn find_at(&self, header: &Header, place: Place) -> Found {
        self.find(header.id, header.target, header.priority, header.state_in(&place))
    }
}

/// First and last key, both included.
pub(super) type Span<const N: usize> = ([u8; N], [u8; N]);

fn all<const N: usize>() -> Span<N> {
    ([0; N], [u8::MAX; N])
}

pub(super) fn graves(target: TargetId) -> Span<28> {
    let first = keys::dead(target, Wall::EPOCH, JobId(0));
    (first, keys::dead(target, Wall::NEVER, JobId(u128::MAX)))
}

/// The queues that the filter allows, in order: of the others no row is looked at.
fn queues(txn: &ReadTransaction, filter: &Filter) -> Result<Vec<Span<21>>> {
    let span = |target, first, last| {
        (keys::ready(target, first, Rank::default()), keys::ready(target, last, keys::LAST_RANK))
    };
    let of = |target| match filter.priority {
        Some(priority) => span(target, priority, priority),
        None => span(target, Priority::High, Priority::Batch),
    };
    match (filter.target, filter.priority) {
        (Some(target), _) => Ok(vec![of(target)]),
        (None, None) => Ok(vec![all()]),
        (None, Some(_)) => {
            let mut spans = Vec::new();
            for row in tables::read(txn, TARGETS)?.iter()? {
                spans.push(of(keys::read_target(row?.0.value())));
            }
            Ok(spans)
        }
    }
}

/// What a row turned out to be.
enum Found {
    Nothing,
    Job(JobId),
    Record(Box<JobRecord>),
}

struct Walk<'t> {
    txn: &'t ReadTransaction,
    filter: &'t Filter,
    jobs: Rows<16>,
    after: Option<&'t Cursor>,
    limit: usize,
    /// How many rows may still be looked at.
    left: usize,
    page: Page,
}

impl<'t> Walk<'t> {
    fn new(
        txn: &'t ReadTransaction,
        filter: &'t Filter,
        after: Option<&'t Cursor>,
        limit: usize,
        looked_at: usize,
    ) -> Result<Walk<'t>> {
        let jobs = tables::read(txn, JOBS)?;
        let limit = limit.clamp(1, LONGEST_PAGE);
        Ok(Walk { txn, filter, jobs, after, limit, left: looked_at.max(1), page: Page::default() })
    }

    fn is_full(&self) -> bool {
        self.left == 0 || self.page.jobs.len() == self.limit
    }

    /// Whether the page before ended in this index.
    fn is_along(&self, index: Index) -> bool {
        self.after.is_some_and(|cursor| cursor.is_along(index))
    }

    fn along<const N: usize>(
        &mut self,
        index: Index,
        table: tables::Definition<N>,
        spans: &[Span<N>],
        mut find: impl FnMut(&[u8; N], &[u8]) -> Result<Found>,
    ) -> Result<()> {
        let after = match self.after {
            Some(cursor) => Some(cursor.key::<N>(index).ok_or(StoreError::Cursor)?),
            None => None,
        };
        let back = index == Index::DeadNewest;
        let table = tables::read(self.txn, table)?;
        let mut last = after;
        for span in spans {
            let (from, to) = rest(span, after, back);
            let mut rows = table.range::<&[u8; N]>((from.as_ref(), to.as_ref()))?;
            while let Some(row) = if back { rows.next_back() } else { rows.next() } {
                if let Some(last) = last
                    && self.is_full()
                {
                    self.page.next = Some(Cursor::new(index, &last));
                    return Ok(());
                }
                let (key, value) = row?;
                self.left = self.left.saturating_sub(1);
                last = Some(*key.value());
                match find(key.value(), value.value())? {
                    Found::Nothing => {}
                    Found::Record(record) => self.page.jobs.push(*record),
                    Found::Job(id) => {
                        let record = self.record(id)?;
                        if self.filter.allows_group(&record.header) {
                            self.page.jobs.push(record);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn record(&self, id: JobId) -> Result<JobRecord> {
        match self.jobs.get(&keys::job(id))? {
            Some(row) => jobs::read(row.value()),
            None => Err(StoreError::row("jobs", format_args!("job {id} is missing"))),
        }
    }
}

/// What of the span comes after the cursor; an empty range where nothing can.
fn rest<const N: usize>(
    (first, last): &Span<N>,
    after: Option<[u8; N]>,
    back: bool,
) -> (Bound<[u8; N]>, Bound<[u8; N]>) {
    let (mut from, mut to) = (Bound::Included(*first), Bound::Included(*last));
    match after {
        Some(after) if back && after <= *last => to = Bound::Excluded(after),
        Some(after) if !back && after >= *first => from = Bound::Excluded(after),
        _ => {}
    }
    (from, to)
}

/// The ids of a table that is keyed by them.
pub(super) fn ids(
    txn: &ReadTransaction,
    table: tables::Definition<16>,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<JobId>> {
    let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(keys::job(id)));
    let from = from.as_ref();
    let table = tables::read(txn, table)?;
    let rows = table.range::<&keys::JobKey>((from, Bound::Unbounded))?.take(limit);
    rows.map(|row| Ok(JobId(u128::from_be_bytes(*row?.0.value())))).collect()
}
