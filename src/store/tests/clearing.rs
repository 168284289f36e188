//! Room in the journal is given back, whatever is kept for long.

use super::power::{Image, Medium, open_on};
use super::{ERP, RUNNING, SUCCEEDED, header, insert, names, request, step};
use crate::broker::change::{Change, Turn};
use crate::broker::group::Stand;
use crate::broker::job::{End, Failure, JobId, Place};
use crate::broker::time::Wall;
use crate::store::Store;
use crate::store::bodies::Owner;

const JOBS: u128 = 400;
const BODY: usize = 1_024;

fn is_kept(id: u128) -> bool {
    id.is_multiple_of(16)
}

fn commit(store: &mut Store, changes: &[Change]) {
    store.commit(Turn(1), changes).unwrap();
    store.tidy().unwrap();
}

fn taken(medium: &Medium) -> usize {
    medium.image().segments.values().map(Vec::len).sum()
}

/// Most of `JOBS` are gone; some of each segment are kept.
fn mostly_gone() -> (Medium, Store) {
    let medium = Medium::holding(Image::default());
    let (mut store, _) = open_on(medium.clone(), 1 << 20, &names(&["erp"])).unwrap();
    for id in 1..=JOBS {
        let mut change = insert(header(id));
        if let Change::Insert(insert) = &mut change {
            insert.request = request(BODY);
        }
        commit(&mut store, &[change]);
    }
    let all = taken(&medium);
    assert!(all > JOBS as usize * BODY, "{all} bytes");
    for id in (1..=JOBS).filter(|id| !is_kept(*id)) {
        let delete = Change::Delete {
            id: JobId(id),
            target: ERP,
            priority: header(id).priority,
            place: SUCCEEDED,
            stand: Stand::Gone,
        };
        let start = step(header(id), Place::Queued, RUNNING);
        commit(&mut store, &[start, step(header(id), RUNNING, SUCCEEDED), delete]);
    }
    (medium, store)
}

/// Idle traffic: each of these makes a checkpoint due, and a stretch is cleared behind it.
fn idle(store: &mut Store) {
    let pause = vec![Change::Paused { target: ERP, paused: true }; 60];
    for _ in 0..120 {
        commit(store, &pause);
    }
}

#[test]
fn one_job_that_is_kept_does_not_keep_its_segment() {
    let (medium, mut store) = mostly_gone();
    idle(&mut store);
    let left = taken(&medium);
    let kept = (1..=JOBS).filter(|id| is_kept(*id)).count() * BODY;
    assert!(left < 2 * kept + 5 * 12 * 1_024, "{left} bytes are left for {kept}");

    let look = |store: &Store| {
        for id in (1..=JOBS).filter(|id| is_kept(*id)) {
            let found = store.reader().request(JobId(id)).unwrap().unwrap();
            assert_eq!(found, *request(BODY));
        }
    };
    look(&store);
    medium.off();
    drop(store);
    // After a kill too.
    let next = medium.next_process();
    let (store, _) = open_on(next, 1 << 20, &[]).unwrap();
    look(&store);
}

#[test]
fn a_damaged_segment_stays_and_stops_nothing() {
    let (medium, store) = mostly_gone();
    drop(store);
    let mut image = medium.image();
    // Not its header, and not the tail that is read at the start.
    let (number, segment) = image.segments.iter_mut().nth(3).unwrap();
    let (number, middle) = (*number, segment.len() / 2);
    segment[middle] ^= 1;
    let medium = Medium::holding(image);
    let (mut store, _) = open_on(medium.clone(), 1 << 20, &[]).unwrap();
    let before = medium.image().segments.len();
    idle(&mut store);
    let left = medium.image().segments;
    assert!(left.contains_key(&number), "what can be read of it is still wanted");
    assert!(left.len() < before / 2, "{} of {before} segments are left", left.len());
    store.commit(Turn(9), &[insert(header(JOBS + 1))]).unwrap();
    let bad = (1..=JOBS).filter(|id| is_kept(*id));
    let bad = bad.filter(|id| store.reader().request(JobId(*id)).is_err()).count();
    assert!(bad <= 1, "{bad} bodies cannot be read");
}

#[test]
fn a_request_that_was_moved_and_then_rewritten_is_moved_again() {
    let medium = Medium::holding(Image::default());
    let (mut store, _) = open_on(medium, 1 << 20, &names(&["erp"])).unwrap();
    let mut change = insert(header(1));
    if let Change::Insert(insert) = &mut change {
        insert.request = request(BODY);
    }
    commit(&mut store, &[change]);
    let failed = Place::Ended { end: End::Failed(Failure::RetriesExhausted), at: Wall::EPOCH };
    let start = step(header(1), Place::Queued, RUNNING);
    commit(&mut store, &[start, step(header(1), RUNNING, failed)]);
    let id = JobId(1);
    let segment = |store: &Store, owner: Owner| {
        store.reader().read(|txn| owner.spot(txn)).unwrap().unwrap().segment
    };
    let first = segment(&store, Owner::Request(id));
    idle(&mut store);
    let moved = segment(&store, Owner::Request(id));
    assert!(moved > first, "{first}, then {moved}");
    commit(&mut store, &[Change::Rewrite { id, target: ERP, request: request(2 * BODY) }]);
    assert_eq!(segment(&store, Owner::Original(id)), moved);
    idle(&mut store);
    idle(&mut store);
    let original = segment(&store, Owner::Original(id));
    assert!(original > moved, "{moved}, then {original}");
    assert_eq!(store.reader().original(id).unwrap().unwrap(), *request(BODY));
}
