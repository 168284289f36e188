//! Changes that do not fit what is stored are refused, and nothing of their turn is kept.

use std::sync::Arc;

use bytes::Bytes;

use super::{ERP, RUNNING, SUCCEEDED, at, header, insert, open, step};
use crate::broker::change::{Change, Turn};
use crate::broker::group::Stand;
use crate::broker::job::{End, JobId, Place, Priority, Seat, TargetId};
use crate::broker::payload::Answer;
use crate::store::{Cursor, Filter, HISTORY_HEAD, HISTORY_KEPT, StoreError};

/// Job 1 is queued and job 2 succeeded; then `change` is refused with `why`.
fn refused(change: Change, why: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (mut store, _) = open(&path);
    let second = header(2);
    let begin = [
        insert(header(1)),
        insert(second.clone()),
        step(second.clone(), Place::Queued, RUNNING),
        step(second, RUNNING, SUCCEEDED),
    ];
    store.commit(Turn(1), &begin).unwrap();
    let error = store.commit(Turn(2), &[insert(header(3)), change]).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(what) if what.contains(why)), "{error}");
    assert_eq!(store.commit(Turn(3), &[]), Err(error.clone()), "failed for good");
    assert_eq!(store.add_targets(&[]), Err(error));
    drop(store);
    let (store, recovered) = open(&path);
    assert_eq!(store.reader().job(JobId(3)).unwrap(), None, "half a turn was kept");
    assert_eq!(recovered.last_seat, Seat(2));
}

#[test]
fn what_does_not_fit_is_refused() {
    let one = || header(1);
    let two = || header(2);
    let elsewhere = at(5);
    refused(insert(one()), "table jobs: row 00000000000000000000000000000001 is there already");
    refused(step(one(), RUNNING, SUCCEEDED), "it is NORMAL at Seat(1), queued, not");
    refused(step(one(), Place::Queued, SUCCEEDED), "queued never becomes succeeded");
    refused(step(two(), SUCCEEDED, Place::Queued), "succeeded never becomes queued");
    refused(step(header(9), Place::Queued, RUNNING), "is missing");
    let mut high = one();
    high.priority = Priority::High;
    refused(step(high, Place::Queued, RUNNING), "it is NORMAL at Seat(1), queued, not HIGH");
    let mut seatless = one();
    seatless.seat = Seat(8);
    refused(step(seatless, Place::Queued, RUNNING), "not NORMAL at Seat(8)");
    let mut abroad = insert(header(4));
    if let Change::Insert(insert) = &mut abroad {
        insert.header.target = TargetId(3);
    }
    refused(abroad, "table targets: row 3 is missing");
    let mut twin = header(5);
    twin.seat = Seat(1);
    refused(
        insert(twin),
        "table ready: row 000000000100000000000000000000000000000001 is there already",
    );
    let mut owing = header(7);
    owing.owed = crate::broker::job::Owed::TaskToken;
    refused(insert(owing), "table tokens: TaskToken is owed, with no token");
    let mut begun = insert(header(6));
    if let Change::Insert(insert) = &mut begun {
        insert.place = RUNNING;
    }
    refused(begun, "begins as running");
    let normal = Priority::Normal;
    let delete = |id, place| {
        let (id, stand) = (JobId(id), Stand::Gone);
        Change::Delete { id, target: ERP, priority: normal, place, stand }
    };
    refused(delete(1, Place::Queued), "it is queued yet");
    refused(delete(2, Place::Ended { end: End::Succeeded, at: elsewhere }), "it is NORMAL and");
    refused(delete(7, SUCCEEDED), "is missing");
    refused(
        Change::Paused { target: TargetId(3), paused: true },
        "table targets: row 3 is missing",
    );
}

#[test]
fn a_long_history_keeps_its_beginning_and_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path().join("store"));
    store.commit(Turn(0), &[insert(header(1))]).unwrap();
    let mut seen = vec![at(1_000)];
    for turn in 1..=20 {
        let change = |round| {
            let mut change = step(header(1), Place::Queued, Place::Queued);
            let Change::Move(step) = &mut change else { unreachable!("a step is a move") };
            step.events[0].at = at(10_000 + turn * 15 + round);
            seen.push(step.events[0].at);
            change
        };
        let changes: Vec<Change> = (0..15).map(change).collect();
        store.commit(Turn(turn), &changes).unwrap();
    }
    let history = store.reader().job(JobId(1)).unwrap().unwrap().history;
    let times: Vec<_> = history.iter().map(|event| event.at).collect();
    let tail = seen.len() - (HISTORY_KEPT - HISTORY_HEAD);
    assert_eq!(times, [&seen[..HISTORY_HEAD], &seen[tail..]].concat());
}

#[test]
fn of_a_long_answer_the_beginning_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path().join("store"));
    let mut change = step(header(1), RUNNING, SUCCEEDED);
    if let Change::Move(step) = &mut change {
        let body = Bytes::from(vec![b'a'; Answer::KEPT + 1]);
        step.answer = Some(Arc::new(Answer { status: 200, body, ..Answer::default() }));
    }
    let changes = [insert(header(1)), step(header(1), Place::Queued, RUNNING), change];
    store.commit(Turn(1), &changes).unwrap();
    let answer = store.reader().answer(JobId(1)).unwrap().unwrap();
    assert_eq!((answer.body.len(), answer.truncated), (Answer::KEPT, true));
}

#[test]
fn a_start_hands_out_the_request_once() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path().join("store"));
    store.commit(Turn(1), &[insert(header(1))]).unwrap();
    let start = |id| step(header(id), Place::Queued, RUNNING);
    let back = step(header(2), RUNNING, Place::Queued);
    let changes = [insert(header(2)), start(2), back, start(1), start(2)];
    let started = store.commit(Turn(2), &changes).unwrap();
    let ids: Vec<_> = started.iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, [2, 1]);
    assert_eq!(started[1].1.path, "/orders");
}

#[test]
fn a_page_looks_at_a_bounded_number_of_rows() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path().join("store"));
    let many: Vec<Change> = (1..=50).map(|id| insert(header(id))).collect();
    store.commit(Turn(1), &many).unwrap();
    let reader = store.reader();
    let filter = Filter { priority: Some(Priority::High), ..Filter::default() };
    let page = |after: Option<&Cursor>| {
        reader.read(|txn| crate::store::list::list(txn, &filter, after, 10, 20)).unwrap()
    };
    let first = page(None);
    assert!(first.jobs.is_empty() && first.next.is_some(), "{first:?}");
    let second = page(first.next.as_ref());
    assert!(second.jobs.is_empty() && second.next.is_some(), "{second:?}");
    assert_eq!(page(second.next.as_ref()).next, None);

    let queued = Filter { state: Some(crate::broker::job::JobState::Queued), ..Filter::default() };
    assert_eq!(reader.list(&queued, first.next.as_ref(), 10), Err(StoreError::Cursor));
}
