//! What is known of the targets without looking: names, holds and counts, in memory as on disk.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::codec::{decode, encode};
use super::error::{Result, StoreError};
use super::flows::{self, Broom};
use super::tables::{self, CLOCKS, COUNTS, META, META_LAST_SEAT, TARGETS, Writer};
use super::{codec, keys};
use crate::broker::change::{Change, Counts, Recovered, RecoveredTarget};
use crate::broker::counts::Count;
use crate::broker::fair::Clocks;
use crate::broker::job::{Header, JobState, Priority, Seat, TargetId};
use crate::broker::time::Wall;

const TABLE: &str = "targets";

#[derive(Debug, Default)]
pub(super) struct Books {
    targets: BTreeMap<TargetId, Target>,
    last_seat: Seat,
    broom: Broom,
}

#[derive(Debug)]
struct Target {
    name: String,
    paused: bool,
    held_until: Option<Wall>,
    counts: Counts,
    clocks: Clocks,
}

/// What a commit did to the books and must write.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// As they were before.
    counts: BTreeMap<TargetId, (Counts, Clocks)>,
    flows: flows::Touched,
    /// Paused or held.
    targets: Vec<TargetId>,
    seat: bool,
}

impl Books {
    /// Reads a few rows a target; no job is looked at.
    pub(super) fn read(txn: &ReadTransaction) -> Result<Books> {
        let mut books = Books { broom: Broom::read(txn)?, ..Books::default() };
        for row in tables::read(txn, TARGETS)?.iter()? {
            let (key, value) = row?;
            let (name, paused, held_until) = decode(TABLE, value.value())?;
            let (counts, clocks) = Default::default();
            let target = Target { name, paused, held_until, counts, clocks };
            books.targets.insert(keys::read_target(key.value()), target);
        }
        for row in txn.open_table(COUNTS)?.iter()? {
            let (key, value) = row?;
            let (target, priority, counted) = keys::read_count(key.value())?;
            let count = u64::from_be_bytes(*value.value());
            books.target(target)?.counts.set_of(priority, counted, count);
        }
        for row in tables::read(txn, CLOCKS)?.iter()? {
            let (key, value) = row?;
            let (target, priority) = keys::read_clock(key.value())?;
            books.target(target)?.clocks.set(priority, decode("clocks", value.value())?);
        }
        if let Some(seat) = txn.open_table(META)?.get(META_LAST_SEAT)? {
            books.last_seat = Seat(seat.value());
        }
        Ok(books)
    }

    /// The counts against the lengths of the tables, which redb knows without looking.
    pub(super) fn audit(&self, txn: &ReadTransaction) -> Result<()> {
        use JobState::{
            Cancelled, Expired, Failed, Queued, Running, Scheduled, Succeeded, Verifying, Waiting,
        };
        let sum = |states: &[JobState]| -> u64 {
            let of = |target: &Target| states.iter().map(|s| target.counts.in_state(*s)).sum();
            self.targets.values().map(of).fold(0, u64::saturating_add)
        };
        let check = |table: &str, rows: u64, states: &[JobState]| {
            let counted = sum(states);
            if rows == counted {
                return Ok(());
            }
            Err(StoreError::row(table, format_args!("{rows} rows, but {counted} jobs are counted")))
        };
        check("jobs", tables::read(txn, tables::JOBS)?.len()?, &JobState::ALL)?;
        check("requests", tables::read(txn, tables::REQUESTS)?.len()?, &JobState::ALL)?;
        let behind = self.all(Count::Behind);
        let queued = tables::read(txn, tables::READY)?.len()?.saturating_add(behind);
        check("ready", queued, &[Queued])?;
        let (held, holding) = (tables::read(txn, tables::HELD)?.len()?, self.all(Count::Holding));
        if held != holding {
            let what = format_args!("{held} rows, but {holding} jobs that hold their group");
            return Err(StoreError::row("held", what));
        }
        let timers = tables::read(txn, tables::TIMERS)?.len()?;
        check("timers", timers, &[Scheduled, Waiting, Verifying])?;
        check("running", tables::read(txn, tables::RUNNING)?.len()?, &[Running])?;
        check("finished", tables::read(txn, tables::FINISHED)?.len()?, &[Succeeded, Cancelled])?;
        check("dead", tables::read(txn, tables::DEAD)?.len()?, &[Failed, Expired])
    }

    fn all(&self, count: Count) -> u64 {
        let of = |target: &Target| Priority::ALL.iter().map(|p| target.counts.of(*p, count)).sum();
        self.targets.values().map(of).fold(0, u64::saturating_add)
    }

    pub(super) fn recovered(&self, running: Vec<(Header, Wall)>) -> Recovered {
        let targets = self.targets.iter().map(|(id, target)| RecoveredTarget {
            id: *id,
            name: target.name.clone(),
            paused: target.paused,
            held_until: target.held_until,
            counts: target.counts.clone(),
            clocks: target.clocks.clone(),
        });
        Recovered {
            targets: targets.collect(),
            running,
            last_seat: self.last_seat,
            ..Recovered::default()
        }
    }

    /// By number.
    pub(super) fn names(&self) -> Vec<(TargetId, String)> {
        self.targets.iter().map(|(id, target)| (*id, target.name.clone())).collect()
    }

    /// Those among `names` that are not known yet, with the numbers that follow. No number is ever
    /// given twice, because no target is ever forgotten.
    pub(super) fn unknown(&self, names: &[String]) -> Result<Vec<(TargetId, String)>> {
        let mut next =
            self.targets.keys().next_back().map_or(Some(0), |last| last.0.checked_add(1));
        let mut new: Vec<(TargetId, String)> = Vec::new();
        for name in names {
            let known = self.targets.values().any(|target| target.name == *name);
            if known || new.iter().any(|(_, other)| other == name) {
                continue;
            }
            let Some(number) = next else {
                return Err(StoreError::row(TABLE, "there are no more numbers for targets"));
            };
            new.push((TargetId(number), name.clone()));
            next = number.checked_add(1);
        }
        Ok(new)
    }

    pub(super) fn write_new(txn: &WriteTransaction, new: &[(TargetId, String)]) -> Result<()> {
        let mut rows = Writer::open(txn, TARGETS, TABLE)?;
        let mut bytes = Vec::new();
        for (id, name) in new {
            codec::encode(&mut bytes, &(name, false, None::<Wall>))?;
            rows.add(&keys::target(*id), &bytes)?;
        }
        Ok(())
    }

    /// Before [`Books::write_new`] is durable: if it never is, no commit follows.
    pub(super) fn learn(&mut self, new: &[(TargetId, String)]) {
        for (id, name) in new {
            let (counts, clocks) = Default::default();
            let (name, paused, held_until) = (name.clone(), false, None);
            self.targets.insert(*id, Target { name, paused, held_until, counts, clocks });
        }
    }

    pub(super) fn apply(&mut self, change: &Change, touched: &mut Touched) -> Result<()> {
        let Some(id) = change.target() else { return Ok(()) };
        let target = self.target(id)?;
        let seat = match change {
            Change::Insert(insert) => Some(insert.header.seat),
            Change::Move(step) => Some(step.header.seat),
            Change::Delete { .. } => None,
            Change::Rewrite { .. } => return Ok(()),
            Change::Paused { paused, .. } => {
                target.paused = *paused;
                touched.targets.push(id);
                return Ok(());
            }
            Change::Flow { flow, done } => {
                touched.flows.note(flow, *done);
                return Ok(());
            }
            Change::Held { until, .. } => {
                target.held_until = Some(*until);
                touched.targets.push(id);
                return Ok(());
            }
            Change::Spent(_) | Change::Lived { .. } => return Ok(()),
        };
        let before = || (target.counts.clone(), target.clocks.clone());
        touched.counts.entry(id).or_insert_with(before);
        target.clocks.apply(change);
        target.counts.try_apply(change).map_err(|missing| StoreError::row("counts", missing))?;
        if let Some(seat) = seat
            && seat > self.last_seat
        {
            self.last_seat = seat;
            touched.seat = true;
        }
        Ok(())
    }

    pub(super) fn write(
        &mut self,
        touched: &Touched,
        txn: &WriteTransaction,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        let mut counts = txn.open_table(COUNTS)?;
        let mut clocks = Writer::open(txn, CLOCKS, "clocks")?;
        let mut ticked = false;
        for (id, (before, clocks_before)) in &touched.counts {
            let Some(target) = self.targets.get(id) else { continue };
            for priority in Priority::ALL {
                let clock = target.clocks.get(priority);
                if clock != clocks_before.get(priority) {
                    encode(bytes, &clock)?;
                    clocks.put(&keys::clock(*id, priority), bytes)?;
                    ticked = true;
                }
                for counted in Count::all() {
                    let count = target.counts.of(priority, counted);
                    if count != before.of(priority, counted) {
                        let key = keys::count(*id, priority, counted);
                        counts.insert(&key, &count.to_be_bytes())?;
                    }
                }
            }
        }
        if ticked || !touched.flows.is_empty() {
            let clocks = |id| self.targets.get(&id).map(|target| target.clocks.clone());
            self.broom.write(&touched.flows, clocks, txn, bytes)?;
        }
        if !touched.targets.is_empty() {
            let mut rows = Writer::open(txn, TARGETS, TABLE)?;
            for id in &touched.targets {
                let Some(target) = self.targets.get(id) else { continue };
                encode(bytes, &(&target.name, target.paused, target.held_until))?;
                rows.replace(&keys::target(*id), bytes)?;
            }
        }
        if touched.seat {
            txn.open_table(META)?.insert(META_LAST_SEAT, self.last_seat.0)?;
        }
        Ok(())
    }

    fn target(&mut self, id: TargetId) -> Result<&mut Target> {
        self.targets
            .get_mut(&id)
            .ok_or_else(|| StoreError::row(TABLE, format_args!("row {} is missing", id.0)))
    }
}
