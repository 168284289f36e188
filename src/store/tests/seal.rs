//! What is encrypted on disk, under which key, and what becomes of it when a key or a row is not
//! the one that it was written with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable};

use super::against_model::same;
use super::weather::Weather;
use super::{ERP, RUNNING, SUCCEEDED, at, header, insert, names, options, step};
use crate::broker::change::{Change, Insert, Move, Turn};
use crate::broker::job::{End, Failure, JobId, Owed, Place};
use crate::broker::payload::{Answer, Request, TaskToken};
use crate::store::codec::encode;
use crate::store::journal::Directory;
use crate::store::model::Model;
use crate::store::open::open_journal;
use crate::store::seal::{Field, Seals};
use crate::store::shelf::{Kept, Shelf};
use crate::store::tables::{ANSWERS, ATTEMPTS, Definition, ORIGINALS, OUTBOX, REQUESTS, TOKENS};
use crate::store::{Keys, Options, Store, StoreError, compact};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa01";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb02";
/// Parts of everything that must not be read in the file.
const SECRETS: [&str; 7] = [
    "hush-body",
    "hush-token",
    "hush-header",
    "hush-query",
    "hush-answer",
    "hush-cookie",
    "hush-edited",
];
/// What stands before an encrypted value and the tag behind it.
const ADDED: usize = 49;

fn keys(lines: &[&str]) -> Option<Keys> {
    (!lines.is_empty()).then(|| Keys::parse(&lines.join("\n")).unwrap())
}

fn try_open(path: &Path, lines: &[&str]) -> Result<Store, StoreError> {
    let options = Options { keys: keys(lines), ..options(path) };
    Store::open(&options, &names(&["erp"])).map(|(store, _)| store)
}

fn open(path: &Path, lines: &[&str]) -> Store {
    try_open(path, lines).unwrap()
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    (directory, path)
}

fn secret_request() -> Request {
    Request {
        method: "POST".into(),
        path: "/orders?key=hush-query".into(),
        headers: vec![("authorization".into(), Bytes::from_static(b"hush-header"))],
        body: Bytes::from_static(b"hush-body"),
        idempotency_key: None,
        live: false,
        task_token: TaskToken::new("hush-token"),
    }
}

fn secret_answer() -> Answer {
    Answer {
        status: 500,
        headers: vec![("set-cookie".into(), Bytes::from_static(b"hush-cookie"))],
        body: Bytes::from_static(b"hush-answer"),
        ..Answer::default()
    }
}

/// A job that has one of everything: a token that is owed, an answer, an attempt, and another
/// request than it came with.
fn live_through_it(store: &mut Store, id: u128) {
    let mut new = header(id);
    new.owed = Owed::TaskToken;
    let Change::Insert(mut first) = insert(new.clone()) else { unreachable!() };
    *first = Insert { request: Arc::new(secret_request()), ..*first };
    let owing = |change| match change {
        Change::Move(mut step) => {
            step.from_owed = Owed::TaskToken;
            Change::Move(step)
        }
        other => other,
    };
    let mut sent = new.clone();
    sent.attempts = 1;
    let dead = Place::Ended { end: End::Failed(Failure::RetriesExhausted), at: at(3_000) };
    let started = owing(step(sent.clone(), Place::Queued, RUNNING));
    let Change::Move(ended) = owing(step(sent, RUNNING, dead)) else { unreachable!() };
    let ended = Move { answer: Some(Arc::new(secret_answer())), ..*ended };
    let edited = Request { body: Bytes::from_static(b"hush-edited"), ..secret_request() };
    let edit = Change::Rewrite { id: JobId(id), target: ERP, request: Arc::new(edited) };
    let started = store.commit(Turn(1), &[Change::Insert(first), started]).unwrap();
    assert_eq!(started[0].1.task_token, TaskToken::new("hush-token"));
    store.commit(Turn(2), &[Change::Move(Box::new(ended))]).unwrap();
    store.commit(Turn(3), &[edit]).unwrap();
}

/// That job is answered for, and goes.
fn goes(store: &mut Store, id: u128) {
    let dead = Place::Ended { end: End::Failed(Failure::RetriesExhausted), at: at(3_000) };
    let mut answered = header(id);
    (answered.attempts, answered.owed) = (1, Owed::Nothing);
    let Change::Move(mut paid) = step(answered.clone(), dead, dead) else { unreachable!() };
    paid.from_owed = Owed::TaskToken;
    let gone = Change::Delete {
        id: JobId(id),
        target: ERP,
        priority: answered.priority,
        place: dead,
        stand: Default::default(),
    };
    store.commit(Turn(4), &[Change::Move(paid), gone]).unwrap();
}

/// Everything of that job is there.
fn is_all_there(store: &Store, id: u128) {
    let (reader, id) = (store.reader(), JobId(id));
    let plain = |request| Some(Request { task_token: None, ..request });
    assert_eq!(reader.original(id).unwrap(), plain(secret_request()));
    assert_eq!(&reader.request(id).unwrap().unwrap().body[..], b"hush-edited");
    assert_eq!(reader.answer(id).unwrap(), Some(secret_answer()));
    assert_eq!(reader.attempts(id).unwrap()[0].answer, secret_answer());
    assert_eq!(reader.token(id).unwrap(), TaskToken::new("hush-token"));
}

/// Which of the secrets can be read in the file and its journal as they lie there.
fn found(path: &Path) -> Vec<&'static str> {
    let mut raw = std::fs::read(path).unwrap();
    for segment in std::fs::read_dir(Directory::path_beside(path)).unwrap() {
        raw.extend(std::fs::read(segment.unwrap().path()).unwrap());
    }
    let is_in = |secret: &&str| raw.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
    SECRETS.into_iter().filter(is_in).collect()
}

#[test]
fn nothing_secret_stands_in_the_file() {
    for (lines, shown) in [(&[A][..], &[][..]), (&[], &SECRETS)] {
        let (_directory, path) = file();
        let mut store = open(&path, lines);
        live_through_it(&mut store, 1);
        assert_eq!(found(&path), shown, "while it is open");
        is_all_there(&store, 1);
        drop(store);
        assert_eq!(found(&path), shown);
        is_all_there(&open(&path, lines), 1);
    }
}

#[test]
fn what_only_the_journal_has_after_a_crash_is_sealed_and_needs_its_key() {
    let (_directory, path) = file();
    let mut store = open(&path, &[A]);
    live_through_it(&mut store, 1);
    // As a kill would leave it: without a checkpoint.
    let (_elsewhere, copy) = file();
    std::fs::copy(&path, &copy).unwrap();
    let journal = Directory::path_beside(&copy);
    std::fs::create_dir(&journal).unwrap();
    for segment in std::fs::read_dir(Directory::path_beside(&path)).unwrap() {
        let segment = segment.unwrap();
        std::fs::copy(segment.path(), journal.join(segment.file_name())).unwrap();
    }
    drop(store);
    assert!(raw(&copy, REQUESTS).is_empty(), "the index has it already");
    assert!(found(&copy).is_empty());
    assert!(matches!(try_open(&copy, &[B]), Err(StoreError::Key { values: 5, .. })));
    is_all_there(&open(&copy, &[A]), 1);
}

#[test]
fn a_store_that_encrypts_does_what_the_model_does() {
    for seed in 0..3 {
        let (_directory, path) = file();
        let (mut weather, mut model) = (Weather::new(seed), Model::default());
        model.add_targets(&names(&["erp"]));
        let mut store = open(&path, &[A]);
        for turn in 0..40 {
            let changes = weather.turn(&model);
            let started = store.commit(Turn(turn), &changes).unwrap();
            assert_eq!(started, model.commit(Turn(turn), &changes), "seed {seed}, turn {turn}");
        }
        same(&store.reader(), &model);
        drop(store);
        same(&open(&path, &[A]).reader(), &model);
    }
}

#[test]
fn without_a_key_a_value_is_what_it_always_was() {
    let mut plain = Vec::new();
    encode(&mut plain, &secret_request()).unwrap();
    let mut bytes = Vec::new();
    let off = Seals::begin(None).unwrap();
    off.encode_behind(&mut bytes, Field::Request, &[1; 16], &secret_request()).unwrap();
    assert_eq!(bytes, plain);
    bytes.clear();
    let on = Seals::begin(keys(&[A]).as_ref()).unwrap();
    on.encode_behind(&mut bytes, Field::Request, &[1; 16], &secret_request()).unwrap();
    assert_eq!(bytes.len(), plain.len() - 1 + ADDED);
}

#[test]
fn a_key_that_is_missing_stops_the_start_and_harms_nothing() {
    let (_directory, path) = file();
    live_through_it(&mut open(&path, &[A]), 1);
    let lost = keys(&[A]).unwrap().first().unwrap().id().to_string();
    for lines in [&[][..], &[B], &["none", B]] {
        match try_open(&path, lines) {
            Err(error @ StoreError::Key { values: 5, .. }) => {
                let text = error.to_string();
                assert!(text.contains(&lost) && text.contains("encrypt_key_file"), "{text}");
                assert!(text.contains("store.redb"), "{text}");
                assert!(!text.contains(A) && !text.contains(B), "{text}");
            }
            other => panic!("{lines:?}: {:?}", other.err()),
        }
    }
    is_all_there(&open(&path, &[A]), 1);
}

#[test]
fn keys_are_changed_one_after_the_other() {
    let (_directory, path) = file();
    live_through_it(&mut open(&path, &[A]), 1);
    let mut store = open(&path, &[B, A]);
    is_all_there(&store, 1);
    live_through_it(&mut store, 2);
    drop(store);
    assert!(matches!(try_open(&path, &[B]), Err(StoreError::Key { values: 5, .. })));
    let mut store = open(&path, &[B, A]);
    goes(&mut store, 1);
    drop(store);
    is_all_there(&open(&path, &[B]), 2);
    assert!(matches!(try_open(&path, &[A]), Err(StoreError::Key { .. })));
}

#[test]
fn encryption_is_switched_on_and_off_under_a_store() {
    let (_directory, path) = file();
    live_through_it(&mut open(&path, &[]), 1);
    let mut store = open(&path, &[A]);
    is_all_there(&store, 1);
    live_through_it(&mut store, 2);
    drop(store);
    let mut store = open(&path, &["none", A]);
    live_through_it(&mut store, 3);
    for id in 1..=3 {
        is_all_there(&store, id);
    }
    drop(store);
    let sealed: Vec<bool> = kept(&path, REQUESTS).iter().map(|(_, v)| v[0] == 0x81).collect();
    assert_eq!(sealed, [false, true, false]);
}

#[test]
fn what_was_plain_is_gone_when_its_job_is_and_the_store_was_compacted() {
    let (_directory, path) = file();
    let compact = || compact(&Options { keys: keys(&[A]), ..options(&path) }).unwrap();
    live_through_it(&mut open(&path, &[]), 1);
    // So that what is encrypted shares no segment with what is not.
    compact();
    live_through_it(&mut open(&path, &[A]), 2);
    compact();
    assert_eq!(found(&path), SECRETS, "the first job is there, and as it was");
    let mut store = open(&path, &[A]);
    is_all_there(&store, 1);
    is_all_there(&store, 2);
    goes(&mut store, 1);
    drop(store);
    // Its segment went with it; what stood in pages that are free now is there.
    assert_ne!(found(&path), [""; 0]);
    compact();
    assert_eq!(found(&path), [""; 0]);
    is_all_there(&open(&path, &[A]), 2);
}

/// The rows of a table as they are on disk.
fn raw<const N: usize>(path: &Path, table: Definition<N>) -> Vec<([u8; N], Vec<u8>)> {
    let database = Database::create(path).unwrap();
    let txn = database.begin_read().unwrap();
    let table = txn.open_table(table).unwrap();
    let rows = table.iter().unwrap().map(|row| row.unwrap());
    rows.map(|(key, value)| (*key.value(), value.value().to_vec())).collect()
}

/// The bodies that the rows of a table have, as they are on disk.
fn kept<const N: usize>(path: &Path, table: Definition<N>) -> Vec<([u8; N], Vec<u8>)> {
    let shelf = Shelf::new(Arc::new(open_journal(path).unwrap()));
    let body = |row: &[u8]| match Kept::read("t", row).unwrap() {
        Kept::Here(body) => body.to_vec(),
        Kept::There(spot) => shelf.fetch(spot).unwrap(),
    };
    raw(path, table).into_iter().map(|(key, row)| (key, body(&row))).collect()
}

#[test]
fn a_value_is_of_its_job_and_of_its_field() {
    let (_directory, path) = file();
    let mut store = open(&path, &[A]);
    live_through_it(&mut store, 1);
    live_through_it(&mut store, 2);
    drop(store);
    // Every value, with what it is and whose.
    let mut values: Vec<(Field, Vec<u8>, Vec<u8>)> = Vec::new();
    for (field, table) in
        [(Field::Request, REQUESTS), (Field::Original, ORIGINALS), (Field::Answer, ANSWERS)]
    {
        values.extend(kept(&path, table).into_iter().map(|(k, v)| (field, k.to_vec(), v)));
    }
    let tokens = raw(&path, OUTBOX).into_iter();
    values.extend(tokens.map(|(key, value)| (Field::Token, key.to_vec(), value)));
    let attempts = kept(&path, ATTEMPTS).into_iter();
    values.extend(attempts.map(|(key, value)| (Field::Attempt, key.to_vec(), value)));
    assert_eq!(values.len(), 10);
    assert!(raw(&path, TOKENS).is_empty(), "both have ended");
    let seals = Seals::begin(keys(&[A]).as_ref()).unwrap();
    let opens = |field, row: &[u8], value: &[u8]| match field {
        Field::Answer => seals.decode::<Answer>(field, row, value).map(drop),
        Field::Token => seals.decode::<TaskToken>(field, row, value).map(drop),
        Field::Attempt => seals.decode::<crate::store::Attempt>(field, row, value).map(drop),
        Field::Request | Field::Original => seals.decode::<Request>(field, row, value).map(drop),
    };
    let mut swapped = 0;
    for (of, (_, _, value)) in values.iter().enumerate() {
        for (at, (field, row, _)) in values.iter().enumerate() {
            match opens(*field, row, value) {
                // An original is what was once the request of the same job.
                Ok(()) if of != at => {
                    let request =
                        |at: usize| matches!(values[at].0, Field::Request | Field::Original);
                    assert_eq!(values[of].1, *row, "a value passes for another job's");
                    assert!(request(of) && request(at), "a value passes for another");
                    swapped += 1;
                }
                Ok(()) => {}
                Err(StoreError::Corrupt(what)) => {
                    assert_ne!(of, at);
                    assert!(what.ends_with("was changed, or is another row's"), "{what}");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(swapped, 4, "each job's request and the one that it had first");
    let (field, row, value) = &values[0];
    for byte in 0..value.len() {
        let mut bent = value.clone();
        bent[byte] ^= 1;
        assert!(opens(*field, row, &bent).is_err(), "byte {byte}");
        assert!(opens(*field, row, &value[..byte]).is_err(), "the first {byte} bytes");
    }
}

#[test]
fn a_swap_in_the_file_is_an_error_and_not_the_other_jobs_body() {
    let (_directory, path) = file();
    let mut store = open(&path, &[A]);
    live_through_it(&mut store, 1);
    live_through_it(&mut store, 2);
    drop(store);
    let rows = raw(&path, REQUESTS);
    let database = Database::create(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(REQUESTS).unwrap().insert(&rows[0].0, rows[1].1.as_slice()).unwrap();
    txn.commit().unwrap();
    drop(database);
    let store = open(&path, &[A]);
    let error = store.reader().request(JobId(1)).unwrap_err().to_string();
    assert!(error.contains("table requests") && error.contains("another row's"), "{error}");
    assert!(store.reader().request(JobId(2)).is_ok());
}

#[test]
fn no_nonce_comes_twice_over_lives_and_threads() {
    let keys = keys(&[A]);
    let mut heads = BTreeSet::new();
    for _life in 0..20 {
        let seals = Seals::begin(keys.as_ref()).unwrap();
        let of_each = std::thread::scope(|scope| {
            let press = || {
                let mut bytes = Vec::new();
                let head = |_| {
                    bytes.clear();
                    seals.encode_behind(&mut bytes, Field::Token, &[0; 16], "the same").unwrap();
                    bytes[..33].to_vec()
                };
                (0..50).map(head).collect::<Vec<_>>()
            };
            let threads = [scope.spawn(press), scope.spawn(press)];
            threads.map(|thread| thread.join().unwrap()).concat()
        });
        heads.extend(of_each);
    }
    assert_eq!(heads.len(), 20 * 2 * 50);
}

#[test]
fn a_job_that_succeeds_is_read_with_its_answer() {
    let (_directory, path) = file();
    let mut store = open(&path, &[A]);
    store.commit(Turn(1), &[insert(header(1)), step(header(1), Place::Queued, RUNNING)]).unwrap();
    let Change::Move(ended) = step(header(1), RUNNING, SUCCEEDED) else { unreachable!() };
    let ended = Move { answer: Some(Arc::new(secret_answer())), ..*ended };
    store.commit(Turn(2), &[Change::Move(Box::new(ended))]).unwrap();
    assert_eq!(store.reader().answer(JobId(1)).unwrap(), Some(secret_answer()));
    assert!(found(&path).is_empty());
}
