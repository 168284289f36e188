//! Virtual time, kept a second time: each tag that is given must be the one that is due.

use std::collections::{BTreeMap, BTreeSet};

use super::book::Book;
use super::violation::{Checked, ensure};
use crate::broker::change::Change;
use crate::broker::fair::{Clocks, FlowId, Tag};
use crate::broker::io::Input;
use crate::broker::job::{Header, JobId, Place, TargetId};
use crate::broker::policy::Policy;
use crate::store::model::Model;

#[derive(Debug, Default)]
pub(super) struct Fairness {
    clocks: BTreeMap<TargetId, Clocks>,
    flows: BTreeMap<FlowId, Tag>,
    /// A flow went on; the job for which it did comes next.
    begun: Option<(FlowId, Tag)>,
    /// Never to be sent: they come into line on nobody's account, and are dead at once.
    unfit: BTreeSet<JobId>,
}

impl Fairness {
    pub(super) fn of(model: &Model) -> Fairness {
        let clocks = model.recover().targets.into_iter().map(|target| (target.id, target.clocks));
        Fairness { clocks: clocks.collect(), flows: model.flows().clone(), ..Fairness::default() }
    }

    pub(super) fn input(&mut self, input: &Input) {
        if let Input::Submit { jobs, .. } = input {
            let unfit = jobs.iter().filter(|job| job.unfit.is_some());
            self.unfit.extend(unfit.map(|job| job.id));
        }
    }

    pub(super) fn is_unfit(&self, id: JobId) -> bool {
        self.unfit.contains(&id)
    }

    /// `book` is as it was before.
    pub(super) fn change(
        &mut self,
        change: &Change,
        book: &Book,
        policy: Option<&Policy>,
    ) -> Checked {
        match change {
            Change::Flow { flow, done } => {
                let now = self.clocks.entry(flow.target).or_default().get(flow.priority).now;
                let begins = now.max(self.flows.get(flow).copied().unwrap_or_default());
                let weights = policy.map(|policy| policy.weights.of(&flow.key));
                let fits = *done == begins.done(weights.unwrap_or(std::num::NonZeroU32::MIN));
                ensure!(fits, "{flow:?} begins at {begins:?}, and is done at {done:?}");
                self.flows.insert(flow.clone(), *done);
                self.begun = Some((flow.clone(), begins));
            }
            Change::Insert(insert) => {
                let unfit = self.is_unfit(insert.header.id);
                if !unfit && !matches!(insert.place, Place::Scheduled { .. }) {
                    self.is_due(&insert.header)?;
                }
            }
            Change::Move(step) => self.step(&step.header, step.from, step.to, book)?,
            _ => {}
        }
        if let Some(target) = change.target() {
            self.clocks.entry(target).or_default().apply(change);
        }
        Ok(())
    }

    fn step(&mut self, header: &Header, from: Place, to: Place, book: &Book) -> Checked {
        let Some(before) = book.get(header.id).map(|entry| &entry.header) else { return Ok(()) };
        let put_off = matches!(to, Place::Scheduled { .. });
        let new = match (from, to) {
            (Place::Scheduled { .. }, Place::Queued) => true,
            (Place::Ended { .. }, to) => !to.is_ended(),
            _ => header.priority != before.priority,
        };
        if new && !put_off {
            return self.is_due(header);
        }
        let kept = match (from, to) {
            // It goes no sooner for having waited in its group.
            (Place::Behind { .. }, Place::Queued) => header.tag >= before.tag,
            _ => put_off || header.tag == before.tag,
        };
        ensure!(kept, "{before:?} has another tag: {header:?}");
        Ok(())
    }

    /// Whether its tag is the next of its flow.
    fn is_due(&mut self, header: &Header) -> Checked {
        let due = match header.flow_id() {
            None => {
                let clock = self.clocks.entry(header.target).or_default().get(header.priority);
                Some(clock.now.max(clock.done))
            }
            Some(flow) => self.begun.take().filter(|(begun, _)| *begun == flow).map(|(_, at)| at),
        };
        ensure!(due == Some(header.tag), "{header:?} comes into line, and {due:?} is due");
        Ok(())
    }
}
