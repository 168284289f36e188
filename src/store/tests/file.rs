//! The file itself: how it is made, whom it lets in, and what is said when it is not as it should.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};

use redb::{Database, TableDefinition};

use super::weather::Dice;
use super::{ERP, RUNNING, at, header, insert, names, open, options, step};
use crate::broker::change::{Load, Turn};
use crate::broker::job::{Place, Priority};
use crate::store::journal::Directory;
use crate::store::tables::{META, META_FORMAT, READY};
use crate::store::{Store, StoreError};

fn refusal(path: &std::path::Path) -> StoreError {
    match Store::open(&options(path), &[]) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

#[test]
fn only_the_owner_can_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/and deep/tollgate.redb");
    let (_store, _) = open(&path);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    let journal = Directory::path_beside(&path);
    assert_eq!(journal, directory.path().join("new/and deep/tollgate.redb.journal"));
    assert_eq!(mode(&journal), 0o700);
    let segments = fs::read_dir(&journal).unwrap().map(|segment| segment.unwrap().path());
    assert_eq!(segments.map(|segment| mode(&segment)).collect::<Vec<_>>(), [0o600]);
}

/// By an older umask, or because a backup was copied back.
#[test]
fn what_others_could_read_is_closed_to_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (mut store, _) = open(&path);
    store.commit(Turn(1), &[insert(header(1))]).unwrap();
    drop(store);
    let journal = Directory::path_beside(&path);
    let segment = journal.join("0000000001.segment");
    let other = journal.join("notes");
    fs::write(&other, "not ours").unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let all = [(&path, 0o644), (&journal, 0o2755), (&segment, 0o666), (&other, 0o644)];
    for (path, mode) in all {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let (store, _) = open(&path);
    assert!(store.reader().job(header(1).id).unwrap().is_some());
    assert_eq!(all.map(|(path, _)| mode(path)), [0o600, 0o2700, 0o600, 0o644]);
}

#[test]
fn what_is_no_store_keeps_its_rights() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text");
    fs::write(&text, "dear diary".repeat(1000)).unwrap();
    fs::set_permissions(&text, fs::Permissions::from_mode(0o644)).unwrap();
    refusal(&text);
    assert_eq!(fs::metadata(&text).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn it_is_never_open_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (store, _) = open(&path);
    assert_eq!(refusal(&path), StoreError::Locked { path: path.clone() });
    // A reader keeps the file too.
    let reader = store.reader();
    drop(store);
    assert_eq!(refusal(&path), StoreError::Locked { path: path.clone() });
    drop(reader);
    open(&path);
}

#[test]
fn another_format_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    drop(open(&path));
    {
        let database = Database::create(&path).unwrap();
        let txn = database.begin_write().unwrap();
        txn.open_table(META).unwrap().insert(META_FORMAT, 2).unwrap();
        txn.commit().unwrap();
    }
    let error = refusal(&path);
    assert_eq!(error, StoreError::Version { path: path.clone(), found: 2 });
    assert!(error.to_string().contains("format 2, this one reads 1"), "{error}");
}

#[test]
fn what_is_no_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text");
    fs::write(&text, "dear diary".repeat(1000)).unwrap();
    assert!(matches!(refusal(&text), StoreError::Foreign { .. }));
    assert_eq!(fs::read(&text).unwrap(), "dear diary".repeat(1000).as_bytes());

    let place = directory.path().display();
    let text = format!("opening {place}: Is a directory (os error 21)");
    assert_eq!(refusal(directory.path()), StoreError::Io(text));

    let below_a_file = directory.path().join("text/store");
    assert!(matches!(refusal(&below_a_file), StoreError::Io(_)));

    let other = directory.path().join("other");
    {
        let database = Database::create(&other).unwrap();
        let txn = database.begin_write().unwrap();
        let table: TableDefinition<'_, u8, u8> = TableDefinition::new("songs");
        txn.open_table(table).unwrap();
        txn.commit().unwrap();
    }
    assert!(matches!(refusal(&other), StoreError::Foreign { .. }));
    {
        let database = Database::create(&other).unwrap();
        let txn = database.begin_write().unwrap();
        let table: TableDefinition<'_, u8, u8> = TableDefinition::new("meta");
        txn.open_table(table).unwrap();
        txn.commit().unwrap();
    }
    assert!(matches!(refusal(&other), StoreError::Foreign { .. }));
}

#[test]
fn a_crash_while_it_is_made_does_not_matter() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    // After its name, before anything else.
    fs::write(&path, []).unwrap();
    drop(open(&path));
    // After the header, before the magic number.
    fs::remove_file(&path).unwrap();
    fs::remove_dir_all(Directory::path_beside(&path)).unwrap();
    drop(Database::create(&path).unwrap());
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.write_all_at(&[0; 9], 0).unwrap();
    file.write_all_at(&vec![0; length as usize - 4096], 4096).unwrap();
    drop(open(&path));
}

#[test]
fn a_store_and_its_journal_belong_together() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let journal = Directory::path_beside(&path);
    drop(open(&path));
    let why = |error: StoreError| match error {
        StoreError::Corrupt(why) => why,
        other => panic!("{other}"),
    };
    fs::rename(&path, directory.path().join("old")).unwrap();
    let other = why(refusal(&path));
    assert!(other.contains("belongs to another store"), "{other}");
    fs::rename(directory.path().join("old"), &path).unwrap();
    fs::rename(&journal, directory.path().join("old.journal")).unwrap();
    let missing = why(refusal(&path));
    assert!(missing.contains("segment 1 of the journal is missing"), "{missing}");
    fs::remove_dir(&journal).unwrap();
    fs::rename(directory.path().join("old.journal"), &journal).unwrap();
    open(&path);
}

#[test]
fn a_store_without_its_magic_number_is_not_thrown_away() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (mut store, _) = open(&path);
    store.commit(Turn(1), &[insert(header(1))]).unwrap();
    drop(store);
    let before = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 9], 0).unwrap();
    assert!(matches!(refusal(&path), StoreError::Foreign { .. }));
    assert_eq!(fs::read(&path).unwrap()[4096..], before[4096..]);
}

#[test]
fn a_missing_row_is_found_at_the_door() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (mut store, _) = open(&path);
    store.commit(Turn(1), &[insert(header(1))]).unwrap();
    drop(store);
    {
        let database = Database::create(&path).unwrap();
        let txn = database.begin_write().unwrap();
        txn.open_table(READY).unwrap().pop_first().unwrap();
        txn.commit().unwrap();
    }
    let text = format!("{}: table ready: 0 rows, but 1 jobs are counted", path.display());
    assert_eq!(refusal(&path), StoreError::Corrupt(text));
}

#[test]
fn a_row_in_the_wrong_place_fails_the_commit_that_needs_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (mut store, _) = open(&path);
    store.commit(Turn(1), &[insert(header(1))]).unwrap();
    drop(store);
    {
        let database = Database::create(&path).unwrap();
        let txn = database.begin_write().unwrap();
        {
            let mut ready = txn.open_table(READY).unwrap();
            ready.pop_first().unwrap();
            ready.insert(&[9; 21], [1_u8].as_slice()).unwrap();
        }
        txn.commit().unwrap();
    }
    let (mut store, _) = open(&path);
    let error = store.commit(Turn(2), &[step(header(1), Place::Queued, RUNNING)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the store is damaged: {}: move of job 00000000-0000-0000-0000-000000000001: \
             table ready: row 000000000100000000000000000000000000000001 is missing; \
             keep the file as it is and restore it from a backup",
            path.display()
        )
    );
    assert_eq!(store.commit(Turn(3), &[insert(header(2))]), Err(error), "failed for good");
}

/// Whatever a disk does to the file, the worst is an error.
#[test]
fn damage_is_an_error_and_never_a_panic() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (mut store, _) = open(&path);
    for id in 1..=40 {
        store.commit(Turn(id as u64), &[insert(header(id))]).unwrap();
    }
    drop(store);
    let whole = fs::read(&path).unwrap();
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut dice = Dice(3);
    let mut noticed = 0;
    for _ in 0..150 {
        let mut damaged = whole.clone();
        for _ in 0..1 + dice.roll(4) {
            damaged[*dice.pick(&used)] ^= 1 << dice.roll(8);
        }
        fs::write(&path, &damaged).unwrap();
        noticed += u32::from(read_and_write(&path).is_err());
    }
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(read_and_write(&path).is_err(), "half a file");
    assert!(noticed > 0, "no damage was noticed at all");
}

fn read_and_write(path: &std::path::Path) -> Result<(), StoreError> {
    let (mut store, _) = Store::open(&options(path), &names(&["erp", "new"]))?;
    let priority = Priority::Normal;
    store.load(&Load::Ready { target: ERP, priority, after: None, limit: 100 })?;
    store.load(&Load::Timers { after: Some((at(1), header(1).id)), limit: 100 })?;
    let reader = store.reader();
    for id in 1..=40 {
        reader.job(header(id).id)?;
        reader.request(header(id).id)?;
    }
    store.commit(Turn(1), &[step(header(7), Place::Queued, RUNNING)])?;
    Ok(())
}
