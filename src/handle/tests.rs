use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::store::{Options, Store};

/// However many callers send something large and hang up: what they sent is counted as long as it is
/// in memory.
#[test]
fn jobs_whose_caller_has_hung_up_are_held_until_the_loop_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let options = Options { path, cache: 1 << 20, min_free_disk: 0, keys: None };
    let store = Store::open(&options, &[]).unwrap().0;
    let (to_loop, told) = mpsc::channel();
    let started = std::time::Instant::now();
    let handle = Handle::new(to_loop, store.reader(), Directory::default(), started);

    let held = Arc::new(());
    {
        let mut submit = pin!(handle.submit(Vec::new(), held.clone()));
        let polled = submit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending));
    }
    let Ok(Message::Ask(Ask { make, .. })) = told.try_recv() else { unreachable!("it was asked") };
    assert_eq!(Arc::strong_count(&held), 2, "it is in memory, and counts");
    drop(make);
    assert_eq!(Arc::strong_count(&held), 1);
}

/// Who brings a job to wait for it has no use for it then. Others never wait for what they are told.
#[test]
fn only_a_job_whose_caller_would_have_waited_is_left_out() {
    for wants in [Wants::Company(JobId(1)), Wants::Promise] {
        let (answer, receiver) = oneshot::channel();
        let make: MakeInput = Box::new(|_| unreachable!("it stands in line"));
        let ask = Ask { demand: Demand::COMMAND, make, answer, wants };
        assert!(!ask.is_given_up(), "{wants:?}");
        drop(receiver);
        assert_eq!(ask.is_given_up(), wants != Wants::Promise, "{wants:?}");
    }
}
