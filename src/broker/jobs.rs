//! The jobs that memory knows: those in a window, those under way, and those that changed in a
//! turn that is not on disk yet. Of the rest the store alone knows.

use std::collections::{BTreeMap, VecDeque};

use super::change::Turn;
use super::job::{Header, JobId, Place};

#[derive(Debug)]
struct Known {
    header: Header,
    place: Place,
    /// To be forgotten once this turn is on disk: until then the store would answer with an older
    /// state of the job.
    leaving: Option<Turn>,
}

#[derive(Debug, Default)]
pub(super) struct Jobs {
    known: BTreeMap<JobId, Known>,
    leaving: VecDeque<(Turn, JobId)>,
    /// Deleted in a turn that is not on disk yet.
    deleted: BTreeMap<JobId, Turn>,
}

impl Jobs {
    pub(super) fn get(&self, id: JobId) -> Option<(&Header, &Place)> {
        self.known.get(&id).map(|known| (&known.header, &known.place))
    }

    /// One that a window holds.
    ///
    /// # Panics
    /// Where windows and jobs disagree. That is a fault of the core or of the store, and to pass
    /// over it would mean to look at the same job for ever.
    pub(super) fn in_window(&self, id: JobId, place: fn(&Place) -> bool) -> &Header {
        let known = self.known.get(&id).expect("a job in a window is known");
        assert!(place(&known.place), "{id} is in a window, and {:?}", known.place);
        &known.header
    }

    pub(super) fn contains(&self, id: JobId) -> bool {
        self.known.contains_key(&id)
    }

    pub(super) fn put(&mut self, header: Header, place: Place) {
        self.known.insert(header.id, Known { header, place, leaving: None });
    }

    /// What the store says of a job, unless memory knows better.
    pub(super) fn keep(&mut self, header: Header, place: Place) {
        let known = self.known.entry(header.id).or_insert(Known { header, place, leaving: None });
        known.leaving = None;
    }

    /// A window holds it again.
    pub(super) fn revive(&mut self, id: JobId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.leaving = None;
        }
    }

    /// No window holds it any more; `turn` is the one that is being gathered.
    pub(super) fn let_go(&mut self, id: JobId, turn: Turn) {
        if let Some(known) = self.known.get_mut(&id) {
            known.leaving = Some(turn);
            self.leaving.push_back((turn, id));
        }
    }

    pub(super) fn delete(&mut self, id: JobId, turn: Turn) {
        self.known.remove(&id);
        self.deleted.insert(id, turn);
    }

    pub(super) fn is_deleted(&self, id: JobId) -> bool {
        self.deleted.contains_key(&id)
    }

    pub(super) fn committed(&mut self, turn: Turn) {
        if !self.deleted.is_empty() {
            self.deleted.retain(|_, deleted| *deleted > turn);
        }
        while let Some((gone, id)) = self.leaving.front().copied()
            && gone <= turn
        {
            self.leaving.pop_front();
            if self.known.get(&id).is_some_and(|known| known.leaving == Some(gone)) {
                self.known.remove(&id);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}
