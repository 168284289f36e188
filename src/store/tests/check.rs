//! What the check of a file finds, and that it finds nothing where nothing is wrong.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::weather::Weather;
use super::{names, options};
use crate::broker::change::Turn;
use crate::store::codec::encode;
use crate::store::journal::Directory;
use crate::store::model::Model;
use crate::store::tables as t;
use crate::store::{Checked, Keys, Options, Store, StoreError, check, compact};

const KEY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa01";

/// A store that has seen many turns, in `path`.
fn weathered(options: &Options, seed: u64, turns: u64) {
    let (mut weather, mut model) = (Weather::new(seed), Model::default());
    let known = names(&["erp", "crm"]);
    model.add_targets(&known);
    weather.targets = 2;
    let (mut store, _) = Store::open(options, &known).unwrap();
    for turn in 0..turns {
        let changes = weather.turn(&model);
        model.commit(Turn(turn), &changes);
        store.commit(Turn(turn), &changes).unwrap();
    }
}

fn damage(path: &Path, damage: impl FnOnce(&WriteTransaction)) {
    let database = Database::create(path).unwrap();
    let txn = database.begin_write().unwrap();
    damage(&txn);
    txn.commit().unwrap();
}

#[test]
fn a_store_that_was_never_harmed_is_in_order() {
    for seed in 0..4 {
        let directory = tempfile::tempdir().unwrap();
        let keys = (seed % 2 == 0).then(|| Keys::parse(KEY).unwrap());
        let options = Options { keys, ..options(directory.path().join("store.redb")) };
        weathered(&options, seed, 60);
        let checked = check(&options).unwrap();
        assert_eq!(checked, Checked { jobs: checked.jobs, ..Checked::default() }, "seed {seed}");
        assert!(checked.jobs > 20, "seed {seed}: {}", checked.jobs);
    }
}

/// Takes the first row of a table away, or gives it one more, and must be told of it by name.
macro_rules! planted {
    ($path:expr, $options:expr, $($name:literal $table:ident),*) => {$(
        let whole = std::fs::read($path).unwrap();
        damage($path, |txn| {
            let mut table = txn.open_table(t::$table).unwrap();
            let first = table.first().unwrap().map(|(key, _)| *key.value());
            let first = first.unwrap_or_else(|| panic!("this weather leaves {} empty", $name));
            table.remove(&first).unwrap();
        });
        is_found($options, $name, "a row is missing");
        std::fs::write($path, &whole).unwrap();
        damage($path, |txn| {
            let mut table = txn.open_table(t::$table).unwrap();
            let (mut last, value) = table
                .last()
                .unwrap()
                .map(|(key, value)| (*key.value(), value.value().to_vec()))
                .unwrap();
            // Of a job that there never was.
            let end = last.len() - 1;
            last[end] = last[end].wrapping_add(1);
            table.insert(&last, value.as_slice()).unwrap();
        });
        is_found($options, $name, "a row too many");
        std::fs::write($path, &whole).unwrap();
    )*};
}

#[track_caller]
fn is_found(options: &Options, table: &str, what: &str) {
    let checked = check(options).unwrap();
    let named = |finding: &String| finding.contains(&format!("table {table}"));
    assert!(checked.findings.iter().any(named), "{table}, {what}: {checked:?}");
}

#[test]
fn a_row_that_is_missing_or_too_many_is_found_in_every_table() {
    let directory = tempfile::tempdir().unwrap();
    // The first weather that leaves no table empty.
    let all_of = |seed: u64| {
        let options = options(directory.path().join(seed.to_string()));
        weathered(&options, seed, 120);
        let database = Database::create(&options.path).unwrap();
        let txn = database.begin_read().unwrap();
        let verifying = txn.open_table(t::VERIFYING).unwrap().len().unwrap();
        let running = txn.open_table(t::RUNNING).unwrap().len().unwrap();
        let outbox = txn.open_table(t::OUTBOX).unwrap().len().unwrap();
        (verifying > 0 && running > 0 && outbox > 0).then_some(options)
    };
    let options = (0..20).find_map(all_of).unwrap();
    let path = options.path.as_path();
    assert_eq!(check(&options).unwrap().findings, Vec::<String>::new());
    planted!(
        path, &options,
        "requests" REQUESTS, "ready" READY, "timers" TIMERS, "deadlines" DEADLINES,
        "running" RUNNING, "finished" FINISHED, "dead" DEAD, "heads" HEADS, "behind" BEHIND,
        "tokens" TOKENS, "outbox" OUTBOX, "verifying" VERIFYING
    );
}

#[test]
fn what_says_something_else_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path().join("store.redb"));
    let path = options.path.as_path();
    weathered(&options, 3, 120);
    let whole = std::fs::read(path).unwrap();
    let planted = |table: &str, plant: &dyn Fn(&WriteTransaction)| {
        damage(path, plant);
        is_found(&options, table, "planted");
        std::fs::write(path, &whole).unwrap();
    };
    planted("counts", &|txn| {
        let mut counts = txn.open_table(t::COUNTS).unwrap();
        let key = *counts.first().unwrap().unwrap().0.value();
        counts.insert(&key, &77_u64.to_be_bytes()).unwrap();
    });
    planted("graves", &|txn| {
        let mut bytes = Vec::new();
        encode(&mut bytes, &1_u64).unwrap();
        txn.open_table(t::GRAVES).unwrap().insert(&[0; 4], bytes.as_slice()).unwrap();
    });
    planted("meta", &|txn| {
        txn.open_table(t::META).unwrap().insert(t::META_LAST_SEAT, 1).unwrap();
    });
    planted("answers", &|txn| {
        let mut answers = txn.open_table(t::ANSWERS).unwrap();
        answers.insert(&[0xee; 16], [1].as_slice()).unwrap();
    });
    planted("ready", &|txn| {
        let mut ready = txn.open_table(t::READY).unwrap();
        let key = *ready.first().unwrap().unwrap().0.value();
        let value = ready.last().unwrap().unwrap().1.value().to_vec();
        ready.insert(&key, value.as_slice()).unwrap();
    });
    planted("claims", &|txn| {
        let mut claims = txn.open_table(t::CLAIMS).unwrap();
        let value = claims.first().unwrap().unwrap().1.value().to_vec();
        claims.insert([0, 0, 0, 0, b'?'].as_slice(), value.as_slice()).unwrap();
    });
    planted("targets", &|txn| {
        txn.open_table(t::TARGETS).unwrap().remove(&[0, 0, 0, 1]).unwrap();
    });
    planted("jobs", &|txn| {
        let mut jobs = txn.open_table(t::JOBS).unwrap();
        let key = *jobs.first().unwrap().unwrap().0.value();
        jobs.insert(&key, [1, 2, 3].as_slice()).unwrap();
    });
    assert_eq!(check(&options).unwrap().findings, Vec::<String>::new(), "as it was");
}

#[test]
fn a_page_that_was_bent_is_found_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path().join("store.redb"));
    let path = options.path.as_path();
    weathered(&options, 5, 30);
    let whole = std::fs::read(path).unwrap();
    let mut found = 0;
    for page in (1..whole.len() / 4_096).step_by(7) {
        let at = page * 4_096 + 64;
        if whole[at..at + 8] == [0; 8] {
            continue;
        }
        let mut bent = whole.clone();
        bent[at] ^= 0x40;
        std::fs::write(path, &bent).unwrap();
        match check(&options) {
            // A page that is free: nobody reads it.
            Ok(checked) if checked.findings.is_empty() => {}
            Ok(_) | Err(StoreError::Corrupt(_)) => found += 1,
            Err(other) => panic!("page {page}: {other}"),
        }
    }
    assert!(found > 3, "{found}");
}

#[test]
fn a_record_that_was_bent_and_a_body_that_is_counted_wrong_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path().join("store.redb"));
    weathered(&options, 5, 30);
    let segment = Directory::path_beside(&options.path).join("0000000001.segment");
    let whole = std::fs::read(&segment).unwrap();
    // Behind the last record there are zeros, which say nothing.
    let records = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for byte in (40..records).step_by(records.div_ceil(12)) {
        let mut bent = whole.clone();
        bent[byte] ^= 0x40;
        std::fs::write(&segment, &bent).unwrap();
        let findings = check(&options).unwrap().findings;
        assert!(findings[0].contains("segment 1 of the journal"), "byte {byte}: {findings:?}");
    }
    std::fs::write(&segment, &whole).unwrap();
    assert_eq!(check(&options).unwrap().findings, Vec::<String>::new(), "as it was");
    damage(&options.path, |txn| {
        txn.open_table(t::SEGMENTS).unwrap().insert(1, 7).unwrap();
    });
    is_found(&options, "segments", "a count");
}

#[test]
fn a_file_is_made_as_small_as_what_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let keys = Some(Keys::parse(KEY).unwrap());
    let options = Options { keys, ..options(directory.path().join("store.redb")) };
    weathered(&options, 1, 60);
    let sizes = compact(&options).unwrap();
    assert!(sizes.after < sizes.before, "{sizes:?}");
    let journal = Directory::bytes(&Directory::path_beside(&options.path));
    assert!(journal > 0);
    assert_eq!(sizes.after, std::fs::metadata(&options.path).unwrap().len() + journal);
    assert_eq!(check(&options).unwrap().findings, Vec::<String>::new());
    let (store, _) = Store::open(&options, &[]).unwrap();
    assert!(matches!(check(&options), Err(StoreError::Locked { .. })));
    assert!(matches!(compact(&options), Err(StoreError::Locked { .. })));
    drop(store);
}
