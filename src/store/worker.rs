//! The store's own thread: what is asked of it first is answered first.

use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::{Done, Store, StoreError};
use crate::broker::change::{Change, Load, Turn};
use crate::broker::job::TargetId;

pub enum Work {
    /// Answered with [`Done::Committed`].
    Commit { turn: Turn, changes: Vec<Change> },
    /// Answered with [`Done::Loaded`], as the store is after all that was asked before.
    Load(Load),
    /// Dropped unanswered where the store has failed before.
    AddTargets { names: Vec<String>, answer: AnswerTargets },
    /// The thread ends, and with it the store, unless a `Reader` still holds the file.
    Stop,
}

/// All known targets. Called on the store's thread: hand the answer on, and no more.
pub type AnswerTargets = Box<dyn FnOnce(Result<Vec<(TargetId, String)>, StoreError>) + Send>;

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Commit { turn, changes } => {
                write!(f, "Commit of {turn:?} with {} changes", changes.len())
            }
            Work::Load(load) => load.fmt(f),
            Work::AddTargets { names, .. } => write!(f, "AddTargets {names:?}"),
            Work::Stop => f.write_str("Stop"),
        }
    }
}

/// Starts the thread. `done` is called on it, for each `Commit` and `Load` in order.
///
/// After the first failure `done` is told [`Done::Failed`] and nothing more: nothing is written,
/// read or answered any more, because nobody can tell what the failed commit left on the disk.
/// The thread ends with [`Work::Stop`] or when all senders are gone.
///
/// # Errors
/// Where the system gives no more threads.
pub fn spawn(
    store: Store,
    done: impl Fn(Done) + Send + 'static,
) -> std::io::Result<(Sender<Work>, JoinHandle<()>)> {
    let (sender, receiver) = channel();
    let thread = std::thread::Builder::new().name("store".into());
    let handle = thread.spawn(move || run(store, &receiver, &done))?;
    Ok((sender, handle))
}

fn run(mut store: Store, work: &Receiver<Work>, done: &(impl Fn(Done) + Send)) {
    while let Ok(next) = work.recv() {
        if matches!(next, Work::Stop) {
            return;
        }
        match attend(&mut store, next) {
            Ok(Some(answer)) => done(answer),
            Ok(None) => {}
            Err(error) => return fail(error, work, done),
        }
        if let Err(error) = store.tidy() {
            return fail(error, work, done);
        }
    }
}

fn attend(store: &mut Store, work: Work) -> Result<Option<Done>, StoreError> {
    match work {
        Work::Commit { turn, changes } => {
            let requests = store.commit(turn, &changes)?;
            Ok(Some(Done::Committed { turn, requests }))
        }
        Work::Load(load) => Ok(Some(Done::Loaded(Box::new(store.load(&load)?)))),
        Work::AddTargets { names, answer } => {
            let added = store.add_targets(&names);
            let failed = added.as_ref().err().cloned();
            answer(added);
            failed.map_or(Ok(None), Err)
        }
        Work::Stop => Ok(None),
    }
}

/// Lets go of all that is asked from now on, so that no sender piles up work for nobody.
fn fail(error: StoreError, work: &Receiver<Work>, done: &impl Fn(Done)) {
    tracing::error!(%error, "the store failed");
    done(Done::Failed(error));
    while let Ok(next) = work.recv() {
        if matches!(next, Work::Stop) {
            return;
        }
    }
}
