//! What must be true of task tokens: each is settled once, as Step Functions has it, and nothing is
//! done for a workflow that is gone.

use std::collections::BTreeSet;

use super::book::{Book, Entry};
use super::order::Order;
use super::violation::{Checked, ensure};
use crate::broker::change::Change;
use crate::broker::io::Input;
use crate::broker::job::{Happening, JobId, Owed, Place};
use crate::store::JobRecord;
use crate::store::model::Model;

/// A history of this length may lack a part.
const MAY_BE_CUT: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Jobs that came with one.
    known: BTreeSet<JobId>,
    /// Step Functions took an answer to them.
    answered: BTreeSet<JobId>,
    /// Their executions were stopped.
    stopped: BTreeSet<JobId>,
    /// The core was told in this life that their workflow is gone, while they were not under way.
    gone: BTreeSet<JobId>,
    /// Called off before their requests left.
    called_off: BTreeSet<JobId>,
}

impl Tokens {
    pub(super) fn restart(&mut self) {
        self.gone.clear();
        self.called_off.clear();
    }

    pub(super) fn answered(&mut self, id: JobId) {
        self.answered.insert(id);
    }

    pub(super) fn stopped(&mut self, id: JobId) {
        self.stopped.insert(id);
    }

    pub(super) fn input(&mut self, input: &Input, book: &Book, order: &Order) -> Checked {
        match input {
            Input::TaskGone { job, .. } => {
                let Some(entry) = book.get(*job) else { return Ok(()) };
                // One that is being asked for is not let go of: what it did is found out first.
                let asking = entry.header.course.is_asking();
                let meant = entry.header.owed == Owed::TaskToken && !asking;
                if meant && (entry.is_pending() || order.has(entry.header.target, *job)) {
                    self.gone.insert(*job);
                }
            }
            Input::NotSent { job, number, .. } => {
                let Some(entry) = book.get(*job) else { return Ok(()) };
                let running = matches!(entry.place, Place::Running { .. });
                if running && entry.header.number() == *number {
                    ensure!(
                        entry.header.owed == Owed::TaskToken,
                        "{job} is called off, and no workflow is owed an answer"
                    );
                    self.called_off.insert(*job);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// May be cancelled whatever it did before.
    pub(super) fn is_gone(&self, id: JobId) -> bool {
        self.gone.contains(&id) || self.called_off.contains(&id)
    }

    pub(super) fn is_called_off(&self, id: JobId) -> bool {
        self.called_off.contains(&id)
    }

    pub(super) fn send(&self, id: JobId) -> Checked {
        ensure!(!self.gone.contains(&id), "{id} leaves, and its workflow is gone");
        Ok(())
    }

    pub(super) fn change(&mut self, change: &Change) -> Checked {
        let step = match change {
            Change::Insert(insert) => {
                if insert.header.owed == Owed::TaskToken {
                    self.known.insert(insert.header.id);
                }
                return Ok(());
            }
            Change::Move(step) => step,
            _ => return Ok(()),
        };
        let id = step.header.id;
        let revived = step.from.is_ended() && !step.to.is_ended();
        ensure!(!revived || step.from_owed == Owed::Nothing, "{id} runs again, and owes an answer");
        if revived {
            // Its workflow was told how it had ended: now it runs for whoever redrove it.
            self.gone.remove(&id);
        }
        for event in &step.events {
            match &event.what {
                Happening::TokenAnswered => ensure!(
                    self.answered.contains(&id),
                    "{id} is said to be answered, and Step Functions has no answer"
                ),
                Happening::TokenLate { .. } => ensure!(
                    self.answered.contains(&id) || self.stopped.contains(&id),
                    "{id} is said to be late, and its workflow waits"
                ),
                _ => {}
            }
        }
        Ok(())
    }

    /// All that was said is on disk: who is gone has been let go of.
    pub(super) fn are_let_go(&self, book: &Book) -> Checked {
        let left = self.gone.iter().find(|id| book.get(**id).is_some_and(Entry::is_pending));
        ensure!(left.is_none(), "the workflow of {left:?} is gone, and it still waits");
        Ok(())
    }

    pub(super) fn audit(&self, model: &Model) -> Checked {
        model.jobs().try_for_each(|(id, job)| self.is_settled_once(id, &job.record))
    }

    fn is_settled_once(&self, id: JobId, record: &JobRecord) -> Checked {
        if record.history.len() >= MAY_BE_CUT {
            return Ok(());
        }
        let settled = record.history.iter().filter(|event| {
            matches!(event.what, Happening::TokenAnswered | Happening::TokenLate { .. })
        });
        let expected = match record.header.owed {
            Owed::Nothing => usize::from(self.known.contains(&id)),
            Owed::TaskToken => 0,
        };
        let settled = settled.count();
        ensure!(settled == expected, "the token of {id} is settled {settled} times: {record:?}");
        Ok(())
    }
}
