//! Power cuts and kills. Every write, change of length and sync of a store at work, of its index and
//! of its journal, is recorded in one order; then its files are put together as a crash at each point can have left it, and opened again. What
//! is found must be what was acknowledged last, or the commit that was under way, whole.
//!
//! `cargo test --lib store::tests::power -- --ignored --nocapture` tries tens of thousands of crash
//! points; `TOLLGATE_SEEDS=0..100` before it as many as one likes.

mod again;
mod compaction;
mod crashes;
mod failing;
mod history;
mod medium;
mod rows;
mod tape;

use std::sync::Arc;

use redb::{Builder, Database};

use crashes::{Broken, Crashes, Effort, Tried};
use history::{History, Planted};

pub(super) use medium::{Deed, Fault, Medium};
pub(super) use tape::Image;

use crate::broker::change::Recovered;
use crate::broker::payload::Request;
use crate::store::checkpoint::Limits;
use crate::store::disk::Disk;
use crate::store::error::{Result as StoreResult, caught};
use crate::store::model::Model;
use crate::store::open::check_format;
use crate::store::{Reader, Store, StoreError};

/// Small enough that pages are written before their commit is, too.
const CACHE: usize = 256 * 1024;

/// A few turns fill a segment, and a few more make a checkpoint due.
const LIMITS: Limits = Limits { segment: 12 << 10, ahead: 24 << 10, bytes: 30 << 10, changes: 60 };

/// As `Store::open` does it, on another disk.
pub(super) fn open_on(
    medium: Medium,
    cache: usize,
    targets: &[String],
) -> Result<(Store, Recovered), StoreError> {
    let mut builder = Database::builder();
    builder.set_cache_size(cache).set_repair_callback(|_| {
        panic!("the whole file is walked: the last commit was no quick-repair one")
    });
    open_by(&builder, medium, targets)
}

fn open_by(
    builder: &Builder,
    medium: Medium,
    targets: &[String],
) -> Result<(Store, Recovered), StoreError> {
    let backend = medium.clone();
    let database: StoreResult<Database> = caught(
        || {
            let database = builder.create_with_backend(backend).map_err(redb::Error::from)?;
            check_format("memory".as_ref(), &database)?;
            Ok(database)
        },
        || {},
    );
    let disk = Disk::new("/nowhere/at/all".into(), 0);
    let (store, recovered) = Store::over(database?, Arc::new(medium), disk, LIMITS, targets)?;
    // What time it is the model does not know.
    Ok((store, Recovered { lived: Default::default(), ..recovered }))
}

/// Its jobs, and their bodies, which the rows of the index only refer to.
fn is_the_model(reader: &Reader, model: &Model) -> bool {
    model.jobs().all(|(id, job)| {
        let request = Request { task_token: None, ..Request::clone(&job.request) };
        let attempts: Vec<_> = job.attempts.values().cloned().collect();
        reader.job(id).is_ok_and(|found| found.as_ref() == Some(&job.record))
            && reader.request(id).is_ok_and(|found| found == Some(request))
            && reader.answer(id).is_ok_and(|found| found.as_ref() == job.answer.as_deref())
            && reader.original(id).is_ok_and(|found| found.as_ref() == job.original.as_deref())
            && reader.attempts(id).is_ok_and(|found| found == attempts)
    })
}

fn crash(seed: u64, turns: u64, planted: Planted, effort: Effort) -> Result<Tried, Broken> {
    let history = History::live(seed, turns, planted);
    println!(
        "seed {seed}: {} entries, {} states, {} kills, {} closings",
        history.tape.entries.len(),
        history.states.len(),
        history.kills,
        history.closings
    );
    Crashes::of(&history, seed, effort).all()
}

/// `TOLLGATE_SEEDS`, or these.
fn seeds(default: &str) -> std::ops::Range<u64> {
    let seeds = std::env::var("TOLLGATE_SEEDS").unwrap_or_else(|_| default.into());
    let (from, to) = seeds.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn a_crash_leaves_what_was_acknowledged() {
    let effort = Effort { kills_one_in: 20, cuts_one_in: 20, again_one_in: 40 };
    let tried = crash(1, 12, Planted::Nothing, effort).unwrap_or_else(|broken| panic!("{broken}"));
    println!("{tried:?}");
    assert!(tried.kills > 10 && tried.cuts > 100 && tried.second_crashes > 20, "{tried:?}");
    assert!(tried.in_the_making > 10 && tried.unacknowledged_found > 0, "{tried:?}");
}

/// The checker would see it: each of these faults breaks a promise, and each is found.
#[test]
fn planted_faults_are_found() {
    let effort = Effort { kills_one_in: 20, cuts_one_in: 20, again_one_in: 1_000 };
    for (planted, within) in [
        (Planted::IdleSyncs, 600),
        (Planted::IdleNames, 600),
        (Planted::EarlyAcknowledgement, 200),
        (Planted::HalfATurn, 600),
    ] {
        let broken = crash(1, 12, planted, effort).expect_err("the fault was not found");
        println!("{planted:?}: {broken}");
        assert!(broken.after < within, "{planted:?} was found late: {broken}");
    }
}

/// `TOLLGATE_SEEDS=1000..1010 cargo test --lib store::tests::power -- --ignored --nocapture`
#[test]
#[ignore = "tens of thousands of crash points"]
fn every_crash_leaves_what_was_acknowledged() {
    let effort = Effort { kills_one_in: 1, cuts_one_in: 2, again_one_in: 50 };
    let mut all = Tried::default();
    for seed in seeds("0..10") {
        let tried = crash(seed, 60, Planted::Nothing, effort);
        let tried = tried.unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        println!("{tried:?}");
        all.add(tried);
    }
    println!("{} crash points: {all:?}", all.all());
}
