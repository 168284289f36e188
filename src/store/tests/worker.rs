//! The store's thread: order, and what happens when the disk fails.

use std::sync::mpsc::{Receiver, channel};

use super::power::{Deed, Fault, Image, Medium, open_on};
use super::{RUNNING, header, insert, names, open, step};
use crate::broker::change::{Change, Load, Loaded, Ticket, Turn};
use crate::broker::job::{JobId, Place};
use crate::store::{Done, Store, StoreError, Work, spawn};

fn commit(turn: u64, changes: Vec<Change>) -> Work {
    Work::Commit { turn: Turn(turn), changes }
}

fn loaded(done: &Done) -> Option<&Loaded> {
    match done {
        Done::Loaded(loaded) => Some(loaded),
        _ => None,
    }
}

#[test]
fn everything_is_answered_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path().join("store"));
    let (told, done) = channel();
    let (work, thread) = spawn(store, move |done| told.send(done).unwrap()).unwrap();
    let load = |ticket| Work::Load(Load::Job { id: JobId(1), ticket: Ticket(ticket) });
    let (answer, targets) = channel();
    for next in [
        load(1),
        commit(1, vec![insert(header(1))]),
        load(2),
        commit(2, vec![step(header(1), Place::Queued, RUNNING)]),
        Work::AddTargets {
            names: names(&["new"]),
            answer: Box::new(move |result| answer.send(result).unwrap()),
        },
        Work::Stop,
    ] {
        work.send(next).unwrap();
    }
    thread.join().unwrap();
    let done: Vec<Done> = done.iter().collect();
    assert!(matches!(loaded(&done[0]), Some(Loaded::Job { job: None, .. })), "{done:?}");
    assert!(matches!(&done[1], Done::Committed { turn: Turn(1), .. }), "{done:?}");
    assert!(
        matches!(loaded(&done[2]), Some(Loaded::Job { job: Some((_, Place::Queued)), .. })),
        "{done:?}"
    );
    let Done::Committed { turn: Turn(2), requests } = &done[3] else { panic!("{done:?}") };
    assert_eq!((done.len(), requests[0].0), (4, JobId(1)));
    assert_eq!(targets.recv().unwrap().unwrap().len(), 2);
}

/// A disk in memory, and a word that makes it full.
fn on_a_disk_that_fills_up() -> (Store, Medium) {
    let disk = Medium::holding(Image::default());
    let (store, _) = open_on(disk.clone(), 1 << 20, &names(&["erp"])).unwrap();
    (store, disk)
}

fn fill_up(disk: &Medium) {
    disk.plant(Fault { deed: Deed::Write, nth: 0, error: 28, lasts: true });
}

fn make_room(disk: &Medium) {
    disk.plant(Fault { deed: Deed::Write, nth: usize::MAX, error: 28, lasts: false });
}

#[test]
fn a_full_disk_has_a_word_of_its_own() {
    let (mut store, disk) = on_a_disk_that_fills_up();
    store.commit(Turn(1), &[insert(header(1))]).unwrap();
    fill_up(&disk);
    let error = store.commit(Turn(2), &[insert(header(2))]).unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    // That there is room again changes nothing: nobody knows what the failed commit left.
    make_room(&disk);
    assert_eq!(store.commit(Turn(3), &[insert(header(3))]), Err(error));
}

#[test]
fn after_a_failed_write_the_thread_says_so_once_and_then_nothing() {
    let (store, disk) = on_a_disk_that_fills_up();
    let (told, done): (_, Receiver<Done>) = channel();
    let (work, thread) = spawn(store, move |done| told.send(done).unwrap()).unwrap();
    work.send(commit(1, vec![insert(header(1))])).unwrap();
    assert!(matches!(done.recv().unwrap(), Done::Committed { .. }));
    fill_up(&disk);
    work.send(commit(2, vec![insert(header(2))])).unwrap();
    assert!(matches!(done.recv().unwrap(), Done::Failed(StoreError::Full(_))));
    make_room(&disk);
    work.send(commit(3, vec![insert(header(3))])).unwrap();
    work.send(Work::Load(Load::Job { id: JobId(1), ticket: Ticket(1) })).unwrap();
    let (answer, targets) = channel();
    let answer = Box::new(move |result| answer.send(result).unwrap());
    work.send(Work::AddTargets { names: names(&["new"]), answer }).unwrap();
    assert!(targets.recv().is_err(), "answered after a failed write");
    work.send(Work::Stop).unwrap();
    thread.join().unwrap();
    assert!(done.recv().is_err(), "answered after a failed write");
}
