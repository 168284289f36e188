//! The journal is written over zeros, so that its file need not grow with each record.

use super::power::{Image, Medium, open_on};
use super::{ERP, names};
use crate::broker::change::{Change, Turn};
use crate::store::Store;

const SMALL: [Change; 1] = [Change::Paused { target: ERP, paused: true }];

fn open(medium: &Medium) -> Store {
    open_on(medium.clone(), 1 << 20, &names(&["erp"])).unwrap().0
}

fn lengths(medium: &Medium) -> Vec<usize> {
    medium.image().segments.values().map(Vec::len).collect()
}

/// What is behind the last record.
fn zeros(segment: &[u8]) -> usize {
    segment.iter().rev().take_while(|byte| **byte == 0).count()
}

#[test]
fn small_records_seldom_make_their_segment_grow() {
    let medium = Medium::holding(Image::default());
    let mut store = open(&medium);
    let mut grown = 0;
    let mut before = lengths(&medium);
    for turn in 0..400 {
        store.commit(Turn(turn), &SMALL).unwrap();
        let now = lengths(&medium);
        grown += u32::from(now != before);
        before = now;
    }
    assert!((1..=8).contains(&grown), "{grown} times, {before:?}");
}

#[test]
fn nothing_is_behind_the_records_of_a_full_segment_nor_after_a_start() {
    let medium = Medium::holding(Image::default());
    let mut store = open(&medium);
    let mut turn = 0;
    // Without `tidy` nothing is removed.
    while lengths(&medium).len() < 3 {
        turn += 1;
        store.commit(Turn(turn), &SMALL).unwrap();
    }
    let image = medium.image();
    let behind: Vec<usize> = image.segments.values().map(|segment| zeros(segment)).collect();
    // A record's last bytes may be zeros, too.
    assert!(behind[0] < 8 && behind[1] < 8 && behind[2] > 1_000, "{behind:?}");
    medium.off();
    drop(store);
    let medium = medium.next_process();
    drop(open(&medium));
    let image = medium.image();
    let behind = image.segments.last_key_value().map(|(_, segment)| zeros(segment));
    assert!(behind.is_some_and(|behind| behind < 8), "{behind:?}");
}
