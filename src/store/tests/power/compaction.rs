//! A crash in the midst of `tollgate store compact`.

use std::sync::Arc;

use redb::Database;

use super::history::{History, Planted};
use super::medium::Medium;
use super::tape::{Entry, Point, StateNo, Tape};
use super::{CACHE, is_the_model, open_by};
use crate::store::compact;
use crate::store::tests::weather::Dice;

#[test]
fn a_crash_in_a_compaction_leaves_all_that_was_there() {
    let mut tried = 0;
    for seed in 0..2 {
        let history = History::live(seed, 40, Planted::Nothing);
        let last = history.tape.entries.iter().rev().find_map(|entry| match entry {
            Entry::Acknowledged(state) => Some(state.0),
            _ => None,
        });
        let model = &history.states[last.unwrap()].model;
        let medium = Medium::recording(Tape { base: history.tape.played(), entries: Vec::new() });
        let before = medium.image();
        medium.acknowledged(StateNo(0));
        // redb's own commits on the way are no quick-repair ones: a crash there costs a walk.
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE);
        let mut database = builder.create_with_backend(medium.clone()).unwrap();
        compact::within(&mut database, Arc::new(medium.clone())).unwrap();
        drop(database);
        let after = medium.image();
        assert!(after.index.len() < before.index.len(), "seed {seed}: it gave nothing back");
        assert!(after.segments.last_key_value() > before.segments.last_key_value());

        let tape = medium.into_tape();
        let (mut point, mut dice) = (Point::start(&tape), Dice(seed));
        while let Some(entry) = point.advance() {
            let is_sync = matches!(entry, Entry::Synced(_) | Entry::NamesSynced);
            if !is_sync && !point.next_is_sync() && !dice.one_in(20) {
                continue;
            }
            for image in [point.written.clone(), point.cut(&mut dice), point.cut(&mut dice)] {
                let medium = Medium::holding(image);
                let opened = open_by(&builder, medium.clone(), &[]);
                let at = point.position();
                let (store, recovered) = opened.unwrap_or_else(|error| {
                    panic!("seed {seed}: it does not open after entry {at}: {error}")
                });
                let is_it = recovered == model.recover() && is_the_model(&store.reader(), model);
                assert!(is_it, "seed {seed}: it is another after entry {at}");
                medium.off();
                tried += 1;
            }
        }
    }
    println!("{tried} crash points");
    assert!(tried > 100, "{tried} crash points");
}
