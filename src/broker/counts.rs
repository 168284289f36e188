//! How many jobs of a target are where.

use super::change::Change;
use super::group::Stand;
use super::job::{JobState, Place, Priority};

/// How many jobs of one target are where. Kept in the commit that moves them, never by a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts([Line; Priority::ALL.len()]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    states: [u64; JobState::ALL.len()],
    /// Of the queued ones, those that wait behind others of their group.
    behind: u64,
    /// Of the dead ones, those that hold their group.
    holding: u64,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    In(JobState),
    /// Also counted as queued.
    Behind,
    /// Also counted as failed or expired.
    Holding,
}

impl Count {
    /// All that there are.
    pub fn all() -> impl Iterator<Item = Count> {
        JobState::ALL.into_iter().map(Count::In).chain([Count::Behind, Count::Holding])
    }
}

impl Counts {
    pub fn get(&self, priority: Priority, state: JobState) -> u64 {
        self.0[priority.index()].states[state as usize]
    }

    pub fn set(&mut self, priority: Priority, state: JobState, count: u64) {
        self.0[priority.index()].states[state as usize] = count;
    }

    pub fn add(&mut self, priority: Priority, state: JobState) {
        self.0[priority.index()].states[state as usize] += 1;
    }

    pub fn of(&self, priority: Priority, count: Count) -> u64 {
        let line = &self.0[priority.index()];
        match count {
            Count::In(state) => line.states[state as usize],
            Count::Behind => line.behind,
            Count::Holding => line.holding,
        }
    }

    pub fn set_of(&mut self, priority: Priority, count: Count, to: u64) {
        let line = &mut self.0[priority.index()];
        match count {
            Count::In(state) => line.states[state as usize] = to,
            Count::Behind => line.behind = to,
            Count::Holding => line.holding = to,
        }
    }

    pub fn in_state(&self, state: JobState) -> u64 {
        Priority::ALL.iter().map(|priority| self.get(*priority, state)).sum()
    }

    /// In line: queued, and not behind others of their group.
    pub fn in_line(&self, priority: Priority) -> u64 {
        self.get(priority, JobState::Queued).saturating_sub(self.of(priority, Count::Behind))
    }

    /// The same, of all three queues.
    pub fn all_in_line(&self) -> u64 {
        Priority::ALL.iter().map(|priority| self.in_line(*priority)).sum()
    }

    /// Groups that a dead job holds.
    pub fn held_groups(&self) -> u64 {
        Priority::ALL.iter().map(|priority| self.of(*priority, Count::Holding)).sum()
    }

    /// Those that have not ended.
    pub fn alive(&self) -> u64 {
        JobState::ALL.iter().filter(|state| !state.is_final()).map(|s| self.in_state(*s)).sum()
    }

    pub fn dead(&self) -> u64 {
        self.in_state(JobState::Failed) + self.in_state(JobState::Expired)
    }

    /// As [`Counts::try_apply`].
    ///
    /// # Panics
    /// Where something leaves a place that it never came to: the books would be wrong.
    pub fn apply(&mut self, change: &Change) {
        if let Err(missing) = self.try_apply(change) {
            panic!("a job leaves a place only after it came there: {missing}");
        }
    }

    /// What `change` does to the counts of its target; the one place that knows.
    ///
    /// # Errors
    /// Where something leaves a place that it never came to. Then the counts mean nothing any more.
    pub fn try_apply(&mut self, change: &Change) -> Result<(), Missing> {
        match change {
            Change::Insert(insert) => {
                let header = &insert.header;
                self.enter(header.priority, &insert.place, header.stand());
            }
            Change::Move(step) => {
                self.leave(step.from_priority, &step.from, step.from_stand)?;
                self.enter(step.header.priority, &step.to, step.header.stand());
            }
            Change::Delete { priority, place, stand, .. } => {
                self.leave(*priority, place, *stand)?;
            }
            Change::Rewrite { .. }
            | Change::Paused { .. }
            | Change::Held { .. }
            | Change::Flow { .. }
            | Change::Spent(_)
            | Change::Lived { .. } => {}
        }
        Ok(())
    }

    pub(crate) fn enter(&mut self, priority: Priority, place: &Place, stand: Stand) {
        for count in counted(place, stand) {
            self.set_of(priority, count, self.of(priority, count) + 1);
        }
    }

    fn leave(&mut self, priority: Priority, place: &Place, stand: Stand) -> Result<(), Missing> {
        for count in counted(place, stand) {
            let less = self.of(priority, count).checked_sub(1);
            self.set_of(priority, count, less.ok_or(Missing { priority, count })?);
        }
        Ok(())
    }
}

/// There is no such job to take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {priority} job is {}", match count {
    Count::In(state) => state.as_str(),
    Count::Behind => "behind others of its group",
    Count::Holding => "holding its group",
})]
pub struct Missing {
    priority: Priority,
    count: Count,
}

/// What a job counts as.
fn counted(place: &Place, stand: Stand) -> impl Iterator<Item = Count> + use<> {
    let behind = matches!(place, Place::Behind { .. }).then_some(Count::Behind);
    let holding = holds(place, stand).then_some(Count::Holding);
    [Some(Count::In(place.state())), behind, holding].into_iter().flatten()
}

/// Whether a job there holds its group without ever leaving by itself.
pub fn holds(place: &Place, stand: Stand) -> bool {
    place.is_ended() && stand == Stand::Head
}
