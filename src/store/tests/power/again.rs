//! Lives in which nothing happens, one after the other, behind one that ended where a segment of the
//! journal begins: what the first of them tidies away the next one must not miss.

use std::sync::Arc;

use redb::Database;

use super::medium::{Deed, Fault, Medium};
use super::{CACHE, Image, open_by, open_on};
use crate::broker::change::{Change, Turn};
use crate::store::tests::{ERP, names};
use crate::store::{Store, compact};

/// Without a body, so that nobody wants a segment for it.
const SMALL: [Change; 1] = [Change::Paused { target: ERP, paused: true }];
const NO_ROOM: i32 = 28;

fn open(medium: &Medium) -> Store {
    open_on(medium.clone(), CACHE, &names(&["erp"])).unwrap().0
}

fn starts_three_times(mut medium: Medium, how: &str) {
    for start in 1..=3 {
        let opened = open_on(medium.clone(), CACHE, &names(&["erp"]));
        drop(opened.unwrap_or_else(|error| panic!("{how}, start {start}: {error}")));
        medium.off();
        medium = medium.next_process();
    }
}

/// The turn that begins the second segment.
fn turning() -> u64 {
    let medium = Medium::holding(Image::default());
    let mut store = open(&medium);
    let mut turn = 0;
    while medium.image().segments.len() < 2 {
        turn += 1;
        store.commit(Turn(turn), &SMALL).unwrap();
    }
    turn
}

/// Left in order, just before the second segment.
fn full() -> (Image, Turn) {
    let turning = turning();
    let medium = Medium::holding(Image::default());
    let mut store = open(&medium);
    for turn in 1..turning {
        store.commit(Turn(turn), &SMALL).unwrap();
    }
    drop(store);
    (medium.image(), Turn(turning))
}

#[test]
fn one_that_was_killed_where_it_began_a_segment() {
    let (image, turn) = full();
    assert_eq!(image.segments.len(), 1);
    for changes in 0.. {
        let medium = Medium::holding(image.clone());
        let mut store = open(&medium);
        medium.kill_after(Some(changes));
        let done = store.commit(turn, &SMALL);
        medium.off();
        drop(store);
        starts_three_times(medium.next_process(), &format!("killed after {changes} changes"));
        if done.is_ok() {
            assert!(changes > 2);
            break;
        }
    }
}

#[test]
fn one_whose_disk_was_full_where_it_began_a_segment() {
    let turning = turning();
    for nth in 0..20 {
        let medium = Medium::holding(Image::default());
        let mut store = open(&medium);
        for turn in 1..turning {
            store.commit(Turn(turn), &SMALL).unwrap();
        }
        medium.plant(Fault { deed: Deed::Write, nth, error: NO_ROOM, lasts: false });
        let done = store.commit(Turn(turning), &SMALL);
        // It leaves in order all the same.
        drop(store);
        let medium = Medium::holding(medium.image());
        starts_three_times(medium, &format!("write {nth} had no room, {done:?}"));
    }
}

#[test]
fn one_that_was_killed_in_a_compaction() {
    let image = {
        let medium = Medium::holding(Image::default());
        let mut store = open(&medium);
        store.commit(Turn(1), &SMALL).unwrap();
        drop(store);
        medium.image()
    };
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    for changes in 0.. {
        let medium = Medium::holding(image.clone());
        let mut database = builder.create_with_backend(medium.clone()).unwrap();
        medium.kill_after(Some(changes));
        let done = compact::within(&mut database, Arc::new(medium.clone()));
        medium.off();
        // It was killed: nothing is written on the way out.
        std::mem::forget(database);
        let mut medium = medium.next_process();
        for start in 1..=3 {
            let opened = open_by(&builder, medium.clone(), &[]);
            let told = |error| panic!("killed after {changes} changes, start {start}: {error}");
            drop(opened.unwrap_or_else(told));
            medium.off();
            medium = medium.next_process();
        }
        if done.is_ok() {
            assert!(changes > 5);
            break;
        }
    }
}
