//! `tollgate store check`: whether a file is what a store must be, looked at as a whole.
//!
//! redb looks at every page and its checksum. Then every row of a job is derived from the job's own
//! record, and must be there as derived; and no table may have a row more. Every record of the
//! journal must be whole, and every body that a row refers to. Nothing is mended but what is
//! mended whenever a store is opened.

mod journal;
mod said;

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::bodies::Library;
use super::callbacks::{self, CallbackList};
use super::checkpoint::Limits;
use super::codec::{decode, encode};
use super::error::{self, Result, StoreError};
use super::journal::Volume;
use super::load::Grave;
use super::seal::{Field, Seals};
use super::shelf::Shelf;
use super::tables::{self, Definition};
use super::{Attempt, Options, catch_up, jobs, keys, life, open, spent};
use crate::broker::callback::CallbackName;
use crate::broker::change::Counts;
use crate::broker::counts::{Count, holds};
use crate::broker::fair::{Clock, Tag};
use crate::broker::group::{GroupName, Stand};
use crate::broker::job::{Header, JobId, JobState, Owed, Place, Priority, Seat, TargetId};
use crate::broker::payload::{Answer, Request, TaskToken};
use crate::broker::time::Wall;

/// What was looked at, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub jobs: u64,
    /// The first ones, for people.
    pub findings: Vec<String>,
    /// Those that came after them.
    pub more: u64,
}

impl Checked {
    /// Findings that are kept.
    const MOST: usize = 100;

    fn found(&mut self, what: String) {
        if self.findings.len() < Checked::MOST {
            self.findings.push(what);
        } else {
            self.more += 1;
        }
    }

    /// Damage is a finding; anything else ends the check.
    fn take(&mut self, done: Result<()>) -> Result<()> {
        match done {
            Err(StoreError::Corrupt(what)) => self.found(what),
            other => other?,
        }
        Ok(())
    }
}

/// Of the file of a daemon that is stopped. Takes as long as reading all of it does.
///
/// # Errors
/// Where the file cannot be had or read, or is encrypted with a key that is not there.
pub fn check(options: &Options) -> Result<Checked> {
    let path = &options.path;
    // It holds the lock on the journal too.
    let mut database = open::open(path, options.cache)?;
    let volume: Arc<dyn Volume> = Arc::new(open::open_journal(path)?);
    let work = || {
        let mut checked = Checked::default();
        match database.check_integrity() {
            Ok(true) => {}
            Ok(false) => checked.found("redb: its pages were not in order, and are mended".into()),
            Err(error) => checked.take(Err(redb::Error::from(error).into()))?,
        }
        let (shelf, seals) = (Shelf::new(volume.clone()), Seals::begin(options.keys.as_ref())?);
        let library = Library { shelf, seals };
        match catch_up::all(&database, volume, &library, Limits::default()) {
            Ok((_, journal)) => journal::check(&journal, &mut checked)?,
            Err(error) => checked.take(Err(error))?,
        }
        let admitted = library.admit(&database);
        checked.take(admitted)?;
        let txn = database.begin_read()?;
        Check::open(&txn, &library, &mut checked)?.all()?;
        Ok(checked)
    };
    let checked = error::caught(work, || {});
    if let Err(StoreError::Corrupt(_)) = &checked {
        // Closing it might make redb panic once more; the process is about to end.
        std::mem::forget(database);
    }
    checked.map_err(|error| error.of(path))
}

struct Check<'a> {
    txn: &'a ReadTransaction,
    library: &'a Library,
    checked: &'a mut Checked,
    jobs: tables::Rows<16>,
    counts: BTreeMap<TargetId, Counts>,
    /// What the dead take, in bytes.
    graves: BTreeMap<TargetId, u64>,
    /// How many rows each table must have.
    rows: BTreeMap<&'static str, u64>,
    /// How many ends each callback is owed, and how many it was given up for.
    told: BTreeMap<CallbackName, (u64, u64)>,
    last_seat: Seat,
    bytes: Vec<u8>,
}

impl<'a> Check<'a> {
    fn open(
        txn: &'a ReadTransaction,
        library: &'a Library,
        checked: &'a mut Checked,
    ) -> Result<Check<'a>> {
        Ok(Check {
            txn,
            library,
            checked,
            jobs: tables::read(txn, tables::JOBS)?,
            counts: BTreeMap::new(),
            graves: BTreeMap::new(),
            rows: BTreeMap::new(),
            told: BTreeMap::new(),
            last_seat: Seat(0),
            bytes: Vec::new(),
        })
    }

    fn all(mut self) -> Result<()> {
        let jobs = tables::read(self.txn, tables::JOBS)?;
        for row in jobs.iter()? {
            let (key, value) = row?;
            let id = JobId(u128::from_be_bytes(*key.value()));
            self.checked.jobs += 1;
            let done = self.job(id, value.value()).map_err(|error| of_job(error, id));
            self.checked.take(done)?;
        }
        let done = self.kept();
        self.checked.take(done)?;
        for part in [
            Check::targets,
            Check::groups,
            Check::claims,
            Check::callbacks,
            Check::lengths,
            Check::books,
            Check::segments,
        ] {
            let done = part(&mut self);
            self.checked.take(done)?;
        }
        Ok(())
    }

    /// What follows from a job's own record.
    fn job(&mut self, id: JobId, value: &[u8]) -> Result<()> {
        let record = jobs::read(value)?;
        let (header, place) = (&record.header, record.place);
        let key = keys::job(id);
        if header.id != id {
            self.checked.found(format!("table jobs: row {id} is of job {}", header.id));
        }
        self.last_seat = self.last_seat.max(header.seat);
        let counts = self.counts.entry(header.target).or_default();
        counts.enter(header.priority, &place, header.stand());
        self.request(id)?;
        self.place(header, place)?;
        if let Some(deadline) = header.deadline
            && !place.is_ended()
        {
            self.has(tables::DEADLINES, "deadlines", id, &keys::time(deadline, id), Some(&[]))?;
        }
        if header.state_in(&place) == JobState::Verifying {
            self.has(tables::VERIFYING, "verifying", id, &key, Some(&[]))?;
        }
        match (header.owed, place.is_ended()) {
            (Owed::Nothing, _) => {}
            (Owed::TaskToken, false) => self.has(tables::TOKENS, "tokens", id, &key, None)?,
            (Owed::TaskToken, true) => self.has(tables::OUTBOX, "outbox", id, &key, None)?,
        }
        if let Some((list, name, key)) =
            header.callback.as_ref().and_then(|it| callbacks::row(it, id))
        {
            let (table, told) = match list {
                CallbackList::Owed => (tables::CALLBACKS, "callbacks"),
                CallbackList::Undelivered => (tables::UNDELIVERED, "undelivered"),
            };
            self.has(table, told, id, &key, Some(&[]))?;
            let count = self.told.entry(name.clone()).or_default();
            match list {
                CallbackList::Owed => count.0 += 1,
                CallbackList::Undelivered => count.1 += 1,
            }
        }
        let Some(group) = &header.group else { return Ok(()) };
        let row = keys::group(header.target, &group.name);
        match group.stand {
            Stand::Head => self.has(tables::HEADS, "heads", id, &row, Some(&key))?,
            Stand::Behind => {
                let member = keys::member(row, group.order);
                self.has(tables::BEHIND, "behind", id, &member, Some(&key))?;
            }
            Stand::Gone => {}
        }
        if holds(&place, header.stand()) {
            self.has(tables::HELD, "held", id, &row, Some(&key))?;
        }
        Ok(())
    }

    fn request(&mut self, id: JobId) -> Result<()> {
        let key = keys::job(id);
        self.has(tables::REQUESTS, "requests", id, &key, None)?;
        if let Some(row) = tables::read(self.txn, tables::REQUESTS)?.get(&key)? {
            self.library.read::<Request>(Field::Request, &key, row.value())?;
        }
        Ok(())
    }

    /// The one row of the index of its place.
    fn place(&mut self, header: &Header, place: Place) -> Result<()> {
        let id = header.id;
        let mut bytes = std::mem::take(&mut self.bytes);
        match place {
            Place::Queued => {
                let key = keys::ready(header.target, header.priority, header.rank());
                encode(&mut bytes, header)?;
                self.has(tables::READY, "ready", id, &key, Some(&bytes))?;
            }
            Place::Scheduled { due } | Place::Waiting { due } | Place::Verifying { due } => {
                encode(&mut bytes, &(header, place))?;
                self.has(tables::TIMERS, "timers", id, &keys::time(due, id), Some(&bytes))?;
            }
            Place::Running { started } => {
                encode(&mut bytes, &(header, started))?;
                self.has(tables::RUNNING, "running", id, &keys::job(id), Some(&bytes))?;
            }
            Place::Ended { end, at } if end.is_dead() => {
                let key = keys::dead(header.target, at, id);
                // What it took when it died: a request that was edited since may take more.
                let size = match tables::read(self.txn, tables::DEAD)?.get(&key)? {
                    Some(row) => decode::<Grave>("dead", row.value())?.2,
                    None => 0,
                };
                encode(&mut bytes, &(header, place, size))?;
                self.has(tables::DEAD, "dead", id, &key, Some(&bytes))?;
                *self.graves.entry(header.target).or_default() += size;
            }
            Place::Ended { at, .. } => {
                encode(&mut bytes, &(header.target, header.priority, place))?;
                let key = keys::time(header.kept_for_callback().unwrap_or(at), id);
                self.has(tables::FINISHED, "finished", id, &key, Some(&bytes))?;
            }
            // Its group's table knows it.
            Place::Behind { .. } => {}
        }
        self.bytes = bytes;
        Ok(())
    }

    /// `value`: what must stand there, where it is known.
    fn has<const N: usize>(
        &mut self,
        table: Definition<N>,
        name: &'static str,
        id: JobId,
        key: &[u8; N],
        value: Option<&[u8]>,
    ) -> Result<()> {
        *self.rows.entry(name).or_default() += 1;
        match tables::read(self.txn, table)?.get(key)? {
            None => self.checked.found(format!("table {name}: the row of job {id} is missing")),
            Some(row) if value.is_some_and(|value| value != row.value()) => {
                let what =
                    format!("table {name}: the row of job {id} does not say what the job does");
                self.checked.found(what);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// What a job may have and need not.
    fn kept(&mut self) -> Result<()> {
        self.each(tables::ANSWERS, "answers", |library, key, value| {
            library.read::<Answer>(Field::Answer, key, value).map(drop)
        })?;
        self.each(tables::ORIGINALS, "originals", |library, key, value| {
            library.read::<Request>(Field::Original, key, value).map(drop)
        })?;
        self.each(tables::ATTEMPTS, "attempts", |library, key, value| {
            library.read::<Attempt>(Field::Attempt, key, value).map(drop)
        })?;
        for (table, name) in [(tables::TOKENS, "tokens"), (tables::OUTBOX, "outbox")] {
            self.each(table, name, |library, key, value| {
                library.seals.decode::<TaskToken>(Field::Token, key, value).map(drop)
            })?;
        }
        Ok(())
    }

    /// Rows whose key begins with the id of a job that there is.
    fn each<const N: usize>(
        &mut self,
        table: Definition<N>,
        name: &'static str,
        read: impl Fn(&Library, &[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        for row in tables::read(self.txn, table)?.iter()? {
            let (key, value) = row?;
            let job: keys::JobKey = key.value().as_slice()[..16].try_into().unwrap_or_default();
            let id = JobId(u128::from_be_bytes(job));
            if self.jobs.get(&job)?.is_none() {
                self.checked
                    .found(format!("table {name}: a row is of job {id}, which is not there"));
            }
            let done = read(self.library, key.value(), value.value());
            self.checked.take(done.map_err(|error| of_job(error, id)))?;
        }
        Ok(())
    }

    fn targets(&mut self) -> Result<()> {
        let mut named = Vec::new();
        for row in tables::read(self.txn, tables::TARGETS)?.iter()? {
            let (key, value) = row?;
            let _: (String, bool, Option<Wall>) = decode("targets", value.value())?;
            named.push(keys::read_target(key.value()));
        }
        for target in self.counts.keys().filter(|target| !named.contains(target)) {
            let what = format!("table targets: number {} has jobs and no name", target.0);
            self.checked.found(what);
        }
        let mut stored: BTreeMap<TargetId, Counts> = BTreeMap::new();
        for row in self.txn.open_table(tables::COUNTS)?.iter()? {
            let (key, value) = row?;
            let (target, priority, counted) = keys::read_count(key.value())?;
            let count = u64::from_be_bytes(*value.value());
            stored.entry(target).or_default().set_of(priority, counted, count);
        }
        for target in named {
            let (counted, said) = (self.counts.get(&target), stored.remove(&target));
            let (counted, said) = (counted.cloned().unwrap_or_default(), said.unwrap_or_default());
            for priority in Priority::ALL {
                for count in Count::all() {
                    let (is, says) = (counted.of(priority, count), said.of(priority, count));
                    if is != says {
                        self.checked.found(format!(
                            "table counts: target {} has {is} jobs at {priority} {count:?}, not {says}",
                            target.0
                        ));
                    }
                }
            }
        }
        for target in stored.keys() {
            let what = format!("table counts: there is no target with the number {}", target.0);
            self.checked.found(what);
        }
        let mut dug = BTreeMap::new();
        for row in tables::read(self.txn, tables::GRAVES)?.iter()? {
            let (key, value) = row?;
            let bytes: u64 = decode("graves", value.value())?;
            if bytes != 0 {
                dug.insert(keys::read_target(key.value()), bytes);
            }
        }
        self.graves.retain(|_, bytes| *bytes != 0);
        if dug != self.graves {
            let what = format!("table graves: it says {dug:?}, and there is {:?}", self.graves);
            self.checked.found(what);
        }
        Ok(())
    }

    /// A group with somebody behind and nobody at its head is known for it, and no other.
    fn groups(&mut self) -> Result<()> {
        let (heads, vacant) =
            (tables::read(self.txn, tables::HEADS)?, tables::read(self.txn, tables::VACANT)?);
        let mut last: Option<keys::GroupRow> = None;
        for row in tables::read(self.txn, tables::BEHIND)?.iter()? {
            let (key, _) = row?;
            let group: keys::GroupRow = key.value()[..20].try_into().unwrap_or([0; 20]);
            if last.replace(group) == Some(group) || heads.get(&group)?.is_some() {
                continue;
            }
            *self.rows.entry("vacant").or_default() += 1;
            match vacant.get(&group)? {
                Some(row) => drop(decode::<GroupName>("vacant", row.value())?),
                None => {
                    self.checked.found("table vacant: a group without a head is missing".into());
                }
            }
        }
        Ok(())
    }

    /// No table has rows that no job asks for.
    fn lengths(&mut self) -> Result<()> {
        let mut length = |name: &'static str, rows: u64| {
            let of_jobs = self.rows.get(name).copied().unwrap_or_default();
            if rows != of_jobs {
                let what =
                    format!("table {name}: it has {rows} rows, and {of_jobs} are to be there");
                self.checked.found(what);
            }
        };
        for (table, name) in [
            (tables::REQUESTS, "requests"),
            (tables::RUNNING, "running"),
            (tables::TOKENS, "tokens"),
            (tables::OUTBOX, "outbox"),
            (tables::VERIFYING, "verifying"),
        ] {
            length(name, tables::read(self.txn, table)?.len()?);
        }
        for (table, name) in [
            (tables::TIMERS, "timers"),
            (tables::DEADLINES, "deadlines"),
            (tables::FINISHED, "finished"),
        ] {
            length(name, tables::read(self.txn, table)?.len()?);
        }
        for (table, name) in
            [(tables::CALLBACKS, "callbacks"), (tables::UNDELIVERED, "undelivered")]
        {
            length(name, tables::read(self.txn, table)?.len()?);
        }
        for (table, name) in
            [(tables::HEADS, "heads"), (tables::HELD, "held"), (tables::VACANT, "vacant")]
        {
            length(name, tables::read(self.txn, table)?.len()?);
        }
        for (table, name) in [(tables::BEHIND, "behind"), (tables::DEAD, "dead")] {
            length(name, tables::read(self.txn, table)?.len()?);
        }
        length("ready", tables::read(self.txn, tables::READY)?.len()?);
        Ok(())
    }

    /// What stands for itself can be read, and no seat was given that is to be given yet.
    fn books(&mut self) -> Result<()> {
        for row in tables::read(self.txn, tables::CLOCKS)?.iter()? {
            let (key, value) = row?;
            keys::read_clock(key.value())?;
            decode::<Clock>("clocks", value.value())?;
        }
        for row in self.txn.open_table(tables::FLOWS)?.iter()? {
            let (key, value) = row?;
            keys::read_flow(key.value())?;
            decode::<Tag>("flows", value.value())?;
        }
        spent::read(self.txn)?;
        life::read(self.txn)?;
        let meta = self.txn.open_table(tables::META)?;
        let last = meta.get(tables::META_LAST_SEAT)?.map_or(0, |seat| seat.value());
        if last < self.last_seat.0 {
            let what =
                format!("table meta: seat {} is taken, and {last} is the last", self.last_seat.0);
            self.checked.found(what);
        }
        Ok(())
    }
}

fn of_job(error: StoreError, id: JobId) -> StoreError {
    match error {
        StoreError::Corrupt(what) => StoreError::Corrupt(format!("job {id}: {what}")),
        other => other,
    }
}
