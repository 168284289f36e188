//! A file of each format that ever was: this version reads it as it was written, or refuses it with
//! a word.
//!
//! `TOLLGATE_WRITE_FIXTURE=1 cargo test --lib store::tests::fixture` writes the one of this
//! format. Once a version is released, what it wrote must stay as it is: raise `FORMAT` instead.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use redb::Database;

use super::weather::Weather;
use super::{header, insert, names, options};
use crate::broker::change::{Change, Turn};
use crate::store::journal::Directory;
use crate::store::model::{Model, ModelJob};
use crate::store::{FORMAT, Filter, Reader, Store, StoreError};

const TO_WRITE: &str = "TOLLGATE_WRITE_FIXTURE";

/// Pages are left out that hold nothing but zeros.
const PAGE: usize = 4096;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store")
}

/// The length of the file, then each page with its number; all numbers little-endian.
fn pack(file: &[u8]) -> Vec<u8> {
    let mut packed = (file.len() as u32).to_le_bytes().to_vec();
    for (number, page) in file.chunks(PAGE).enumerate() {
        if page.iter().any(|byte| *byte != 0) {
            packed.extend((number as u32).to_le_bytes());
            packed.extend(page);
            packed.resize(packed.len() + PAGE - page.len(), 0);
        }
    }
    packed
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap()) as usize;
    let (length, pages) = packed.split_at(4);
    let mut file = vec![0; number(length).next_multiple_of(PAGE)];
    for page in pages.chunks_exact(4 + PAGE) {
        let at = number(&page[..4]) * PAGE;
        file[at..at + PAGE].copy_from_slice(&page[4..]);
    }
    file.truncate(number(length));
    file
}

/// What a user can see of every job, in words that do not depend on how this version keeps it.
fn told(reader: &Reader, recovered: &crate::broker::change::Recovered) -> String {
    let mut text = String::new();
    for target in &recovered.targets {
        writeln!(text, "target {} {} paused={}", target.id.0, target.name, target.paused).unwrap();
    }
    let mut after = None;
    let mut jobs = Vec::new();
    loop {
        let page = reader.list(&Filter::default(), after.as_ref(), 1_000).unwrap();
        jobs.extend(page.jobs);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    for job in jobs {
        let header = &job.header;
        let request = reader.request(header.id).unwrap().unwrap();
        let answer = reader.answer(header.id).unwrap().map(|answer| answer.status);
        let token = reader.token(header.id).unwrap();
        let token = token.map(|token| token.reveal().to_owned());
        writeln!(
            text,
            "job {} target {} {} {} attempts={} seat={} deadline={:?} group={:?} {} {} body={} \
             answer={answer:?} token={token:?} events={}",
            header.id,
            header.target.0,
            header.priority,
            job.place.state(),
            header.attempts,
            header.seat.0,
            header.deadline.map(crate::broker::time::Wall::as_millis),
            header.group.as_ref().map(|group| group.name.as_str()),
            request.method,
            request.path,
            request.body.len(),
            job.history.len(),
        )
        .unwrap();
    }
    text
}

/// Turns of the first weather that leaves a job in each of these states, and a small file.
fn changes() -> Vec<Change> {
    let wanted = ["scheduled", "queued", "running", "waiting", "succeeded", "failed", "cancelled"];
    (0..)
        .find_map(|seed| {
            let mut weather = Weather::new(seed);
            let mut model = Model::default();
            model.add_targets(&names(&["erp", "crm"]));
            weather.targets = 2;
            let mut changes = Vec::new();
            for _ in 0..24 {
                let next = weather.turn(&model);
                model.commit(Turn(1), &next);
                changes.extend(next);
            }
            let is =
                |state: &str| model.jobs().any(|(_, j)| j.record.place.state().as_str() == state);
            let answer = |job: &ModelJob| job.answer.as_ref().map_or(0, |answer| answer.body.len());
            let bytes = model.jobs().map(|(_, job)| job.request.body.len() + answer(job));
            let small = bytes.sum::<usize>() < 40_000;
            (small && wanted.iter().all(|state| is(state))).then_some(changes)
        })
        .unwrap_or_default()
}

fn copy_segments(from: &Path, to: &Path) {
    for segment in fs::read_dir(from).unwrap() {
        let segment = segment.unwrap();
        fs::copy(segment.path(), to.join(segment.file_name())).unwrap();
    }
}

fn write() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (mut store, _) = Store::open(&options(&path), &names(&["erp", "crm"])).unwrap();
    // In one commit, which leaves no old pages behind.
    store.commit(Turn(1), &changes()).unwrap();
    drop(store);
    Database::create(&path).unwrap().compact().unwrap();
    let (store, recovered) = Store::open(&options(&path), &[]).unwrap();
    let text = told(&store.reader(), &recovered);
    drop(store);
    let to = self::directory().join(format!("format-{FORMAT}"));
    let _ = fs::remove_dir_all(to.with_extension("journal"));
    fs::create_dir_all(to.with_extension("journal")).unwrap();
    copy_segments(&Directory::path_beside(&path), &to.with_extension("journal"));
    fs::write(to.with_extension("pages"), pack(&fs::read(&path).unwrap())).unwrap();
    fs::write(to.with_extension("txt"), text).unwrap();
}

#[test]
fn each_format_is_read_as_it_was_written_or_refused() {
    if std::env::var_os(TO_WRITE).is_some() {
        write();
    }
    let mut formats = Vec::new();
    for entry in fs::read_dir(directory()).unwrap() {
        let packed = entry.unwrap().path();
        if packed.extension().is_none_or(|extension| extension != "pages") {
            continue;
        }
        let name = packed.file_stem().unwrap().to_str().unwrap();
        let format: u64 = name.strip_prefix("format-").unwrap().parse().unwrap();
        formats.push(format);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        fs::write(&path, unpack(&fs::read(&packed).unwrap())).unwrap();
        let journal = Directory::path_beside(&path);
        fs::create_dir(&journal).unwrap();
        copy_segments(&packed.with_extension("journal"), &journal);
        let opened = Store::open(&options(&path), &names(&["new"]));
        if format != FORMAT {
            let error = opened.err().expect("a file of another format was opened");
            assert_eq!(error, StoreError::Version { path, found: format });
            continue;
        }
        let help = format!(
            "what is on disk has changed. Before the first release: {TO_WRITE}=1 cargo test --lib \
             store::tests::fixture; after it: raise FORMAT, and say how an older file is read"
        );
        let (mut store, mut recovered) = opened.unwrap_or_else(|error| panic!("{error}\n{help}"));
        recovered.targets.retain(|target| target.name != "new");
        let wanted = fs::read_to_string(packed.with_extension("txt")).unwrap();
        assert_eq!(told(&store.reader(), &recovered), wanted, "{help}");
        // And it goes on in it.
        store.commit(Turn(1), &[insert(header(1 << 100 | 1 << 50))]).unwrap();
    }
    assert!(formats.contains(&FORMAT), "there is no file of format {FORMAT}: {formats:?}");
}

#[test]
fn packing_loses_nothing() {
    for length in [0, 1, PAGE, 3 * PAGE + 5] {
        let mut file = vec![0; length];
        if let Some(last) = file.last_mut() {
            *last = 7;
        }
        assert_eq!(unpack(&pack(&file)), file);
    }
}
