//! Flows as far as memory knows them, and what waits to hear of one.

use std::collections::{BTreeMap, BTreeSet};

use super::Broker;
use super::change::{Change, Load, Ticket, Turn};
use super::fair::{FlowId, Tag};
use super::io::{JobCommand, Output, ReplyTo};
use super::job::{Header, JobId};
use super::time::Now;

#[derive(Clone, Copy, Debug)]
struct Known {
    /// When its last job is done, in its queue's virtual time.
    done: Tag,
    /// Not on disk before this turn is.
    turn: Turn,
}

/// What was used last is in `young`, what was used before in `old`; what is in neither, the store
/// knows.
#[derive(Debug)]
pub(super) struct Flows {
    young: BTreeMap<FlowId, Known>,
    old: BTreeMap<FlowId, Known>,
    /// Of each of the two.
    capacity: usize,
    committed: Turn,
    asked: BTreeMap<Ticket, (FlowId, Then)>,
    /// Whose time has come, and whose flow is asked for.
    due: BTreeSet<JobId>,
    /// Pages of a sweep that lack so many answers.
    pages: BTreeMap<Ticket, usize>,
}

/// What is done once a flow is known.
#[derive(Clone, Debug)]
pub(super) enum Then {
    Submit(ReplyTo),
    Due(JobId),
    Command {
        to: ReplyTo,
        command: JobCommand,
    },
    /// The page is asked for once more.
    Page(Ticket),
}

impl Flows {
    pub(super) fn new(capacity: usize) -> Flows {
        Flows {
            young: BTreeMap::new(),
            old: BTreeMap::new(),
            capacity,
            committed: Turn(0),
            asked: BTreeMap::new(),
            due: BTreeSet::new(),
            pages: BTreeMap::new(),
        }
    }

    pub(super) fn committed(&mut self, turn: Turn) {
        self.committed = turn;
    }

    pub(super) fn get(&self, flow: &FlowId) -> Option<Tag> {
        let known = self.young.get(flow).or_else(|| self.old.get(flow));
        known.map(|known| known.done)
    }

    fn learn(&mut self, flow: FlowId, done: Tag, turn: Turn) {
        let before = self.young.get(&flow).or_else(|| self.old.get(&flow)).copied();
        let before = before.unwrap_or(Known { done, turn });
        let known = Known { done: done.max(before.done), turn: turn.max(before.turn) };
        self.young.insert(flow, known);
        if self.young.len() > self.capacity {
            let young = std::mem::take(&mut self.young);
            let mut old = std::mem::replace(&mut self.old, young);
            // The store does not know these yet.
            old.retain(|_, known| known.turn > self.committed);
            for (flow, known) in old {
                self.old.entry(flow).or_insert(known);
            }
        }
    }
}

impl Broker {
    /// Gives a job its tag: it comes into line now. `found`: what the store said of its flow.
    pub(super) fn tag(&mut self, header: &mut Header, found: Tag) {
        let Some(target) = self.targets.get(&header.target) else { return };
        let clock = target.clocks.get(header.priority);
        let Some(flow) = header.flow_id() else {
            header.tag = clock.now.max(clock.done);
            return;
        };
        let known = self.flows.get(&flow).unwrap_or_default().max(found);
        header.tag = clock.now.max(known);
        let weights = target.live.as_ref().map(|live| &live.policy.weights);
        let weight = weights.map_or(std::num::NonZeroU32::MIN, |weights| weights.of(&flow.key));
        let done = header.tag.done(weight);
        self.flows.learn(flow.clone(), done, self.turn);
        self.change(Change::Flow { flow, done });
    }

    /// Whether the flow of this job must be asked for before it can come into line; then `then`
    /// follows.
    pub(super) fn ask_flow(&mut self, header: &Header, then: Then) -> bool {
        let Some(flow) = header.flow_id() else { return false };
        if let Some(done) = self.flows.get(&flow) {
            // So that it is not forgotten for others of its page.
            self.flows.learn(flow, done, Turn(0));
            return false;
        }
        match &then {
            Then::Due(id) if !self.flows.due.insert(*id) => return true,
            Then::Page(page) => *self.flows.pages.entry(*page).or_default() += 1,
            _ => {}
        }
        let ticket = self.next_ticket();
        self.outputs.push_back(Output::Load(Load::Flow { flow: flow.clone(), ticket }));
        self.flows.asked.insert(ticket, (flow, then));
        true
    }

    /// As [`Broker::ask_flow`], for all rows of a sweep's page.
    pub(super) fn ask_flows_of<'a>(
        &mut self,
        page: Ticket,
        headers: impl Iterator<Item = &'a Header>,
    ) -> bool {
        let mut seen = BTreeSet::new();
        for header in headers {
            if header.flow_id().is_some_and(|flow| seen.insert(flow)) {
                self.ask_flow(header, Then::Page(page));
            }
        }
        self.flows.pages.contains_key(&page)
    }

    /// `done`: where it is still to come.
    pub(super) fn flow(&mut self, now: Now, ticket: Ticket, done: Option<Tag>) {
        let done = done.unwrap_or_default();
        let Some((flow, then)) = self.flows.asked.remove(&ticket) else { return };
        self.flows.learn(flow.clone(), done, Turn(0));
        match then {
            Then::Submit(to) => self.flow_found(now, to, flow, done),
            Then::Due(id) => {
                self.flows.due.remove(&id);
                self.due_at_last(now, id);
            }
            Then::Command { to, command } => self.command(now, to, command),
            Then::Page(page) => {
                let Some(missing) = self.flows.pages.get_mut(&page) else { return };
                *missing -= 1;
                if *missing == 0 {
                    self.flows.pages.remove(&page);
                    self.page_again(page);
                }
            }
        }
    }

    /// For a submission.
    pub(super) fn ask_flow_for(&mut self, flow: FlowId, to: ReplyTo) {
        let ticket = self.next_ticket();
        self.outputs.push_back(Output::Load(Load::Flow { flow: flow.clone(), ticket }));
        self.flows.asked.insert(ticket, (flow, Then::Submit(to)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::fair::FlowKey;
    use crate::broker::job::{Priority, TargetId};

    fn flow(number: u32) -> FlowId {
        let key = FlowKey::new(&number.to_string()).expect("a key");
        FlowId { target: TargetId(1), priority: Priority::Batch, key }
    }

    #[test]
    fn memory_is_bounded_and_forgets_nothing_that_is_not_on_disk() {
        let mut flows = Flows::new(4);
        flows.learn(flow(0), Tag(7), Turn(2));
        flows.committed(Turn(1));
        for number in 1..100 {
            flows.learn(flow(number), Tag(1), Turn(1));
        }
        assert_eq!(flows.get(&flow(0)), Some(Tag(7)));
        assert!(flows.young.len() + flows.old.len() <= 10);
        flows.committed(Turn(2));
        for number in 1..100 {
            flows.learn(flow(number), Tag(1), Turn(2));
        }
        assert_eq!(flows.get(&flow(0)), None);
    }

    #[test]
    fn an_older_answer_does_not_set_a_flow_back() {
        let mut flows = Flows::new(4);
        flows.learn(flow(0), Tag(7), Turn(2));
        flows.learn(flow(0), Tag(3), Turn(0));
        assert_eq!(flows.get(&flow(0)), Some(Tag(7)));
    }
}
