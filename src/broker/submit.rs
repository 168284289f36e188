//! New jobs: whether they are taken, and whether they are there already.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::callback::Callback;
use super::change::{Claim, DedupKey, Holder, Insert, Load, Ticket, Turn};
use super::course::Course;
use super::fair::{FlowId, Tag};
use super::forecast;
use super::group::{GroupKey, Membership, Stand};
use super::io::{Output, Refusal, Reply, ReplyTo, Submission, Submitted};
use super::job::{
    End, Event, Failure, Happening, Header, JobId, JobState, Owed, Place, Priority, Source,
};
use super::time::{Now, Wall};
use super::{Broker, Story};

/// Submissions that wait to hear who holds their `dedup_id` and whether their group is taken, and
/// claims too new to be in the store's answers.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    batches: BTreeMap<ReplyTo, Batch>,
    asked: BTreeMap<Ticket, (ReplyTo, usize)>,
    fresh: BTreeMap<DedupKey, (JobId, [u8; 32], Turn)>,
}

#[derive(Debug)]
struct Batch {
    jobs: Vec<(Submission, Found)>,
    /// When the last job of each flow is done.
    flows: BTreeMap<FlowId, Tag>,
    missing: usize,
    /// In which the store was asked.
    turn: Turn,
}

/// What the store knew.
#[derive(Clone, Debug, Default)]
struct Found {
    holder: Option<Holder>,
    /// Somebody of its group is there.
    taken: bool,
}

impl Lookups {
    /// Of a name that was given in a turn that is not on disk.
    pub(super) fn fresh_holder(&self, key: &DedupKey) -> Option<JobId> {
        self.fresh.get(key).map(|(holder, _, _)| *holder)
    }

    /// What was cancelled is done with: its name is free again.
    pub(super) fn cancelled(&mut self, id: JobId) {
        self.fresh.retain(|_, (holder, _, _)| *holder != id);
    }

    pub(super) fn committed(&mut self, turn: Turn) {
        self.fresh.retain(|_, (_, _, claimed)| *claimed > turn);
    }
}

impl Broker {
    /// A batch with `dedup_id`s, groups or flows first asks the store about them; all of it then goes into
    /// one turn, so that what is accepted is durable together. Answers come in the order of the
    /// questions, and so do jobs with the same question get in.
    pub(super) fn submit(&mut self, now: Now, to: ReplyTo, jobs: Vec<Submission>) {
        let mut missing = 0;
        for (index, job) in jobs.iter().enumerate() {
            let target = job.target;
            if let Some(dedup) = &job.dedup {
                let key = DedupKey { target, name: dedup.name.clone() };
                self.ask((to, index), |ticket| Load::Claim { key, ticket });
                missing += 1;
            }
            if let Some(name) = &job.group {
                let key = GroupKey { target, name: name.clone() };
                self.ask((to, index), |ticket| Load::Group { key, ticket });
                missing += 1;
            }
        }
        let mut flows = BTreeMap::new();
        missing += self.ask_flows(to, &jobs, missing > 0, &mut flows);
        let jobs = jobs.into_iter().map(|job| (job, Found::default())).collect();
        let batch = Batch { jobs, flows, missing, turn: self.turn };
        if missing == 0 {
            self.take_in(now, to, batch);
        } else {
            self.lookups.batches.insert(to, batch);
        }
    }

    /// Fills `known` where nothing is to be asked. What is known now would be too old once all else
    /// is answered, so where one must `wait` every flow is asked for. Returns how many were.
    fn ask_flows(
        &mut self,
        to: ReplyTo,
        jobs: &[Submission],
        wait: bool,
        known: &mut BTreeMap<FlowId, Tag>,
    ) -> usize {
        let flow = |job: &Submission| {
            let key = job.flow.clone()?;
            Some(FlowId { target: job.target, priority: job.priority, key })
        };
        let flows: BTreeSet<FlowId> = jobs.iter().filter_map(flow).collect();
        let asked = flows.len();
        if !wait {
            let of = |flow: &FlowId| Some((flow.clone(), self.flows.get(flow)?));
            *known = flows.iter().filter_map(of).collect();
            if known.len() == asked {
                return 0;
            }
            known.clear();
        }
        for flow in flows {
            self.ask_flow_for(flow, to);
        }
        asked
    }

    /// One that was asked for by [`Broker::ask_flows`].
    pub(super) fn flow_found(&mut self, now: Now, to: ReplyTo, flow: FlowId, done: Tag) {
        if let Some(batch) = self.lookups.batches.get_mut(&to) {
            batch.flows.insert(flow, done);
            self.one_less(now, to);
        }
    }

    fn ask(&mut self, whom: (ReplyTo, usize), load: impl FnOnce(Ticket) -> Load) {
        let ticket = self.next_ticket();
        self.lookups.asked.insert(ticket, whom);
        self.outputs.push_back(Output::Load(load(ticket)));
    }

    pub(super) fn claimed(&mut self, now: Now, ticket: Ticket, holder: Option<Holder>) {
        self.answered(now, ticket, |found| found.holder = holder);
    }

    pub(super) fn grouped(&mut self, now: Now, ticket: Ticket, taken: bool) {
        self.answered(now, ticket, |found| found.taken = taken);
    }

    fn answered(&mut self, now: Now, ticket: Ticket, note: impl FnOnce(&mut Found)) {
        let Some((to, index)) = self.lookups.asked.remove(&ticket) else { return };
        let Some(batch) = self.lookups.batches.get_mut(&to) else { return };
        note(&mut batch.jobs[index].1);
        self.one_less(now, to);
    }

    fn one_less(&mut self, now: Now, to: ReplyTo) {
        let Some(batch) = self.lookups.batches.get_mut(&to) else { return };
        batch.missing -= 1;
        if batch.missing == 0
            && let Some(batch) = self.lookups.batches.remove(&to)
        {
            self.take_in(now, to, batch);
        }
    }

    fn take_in(&mut self, now: Now, to: ReplyTo, batch: Batch) {
        let Batch { jobs, flows, turn, .. } = batch;
        let jobs = jobs.into_iter();
        let results = jobs.map(|(job, found)| self.take(now, job, found, &flows, turn)).collect();
        self.outputs.push_back(Output::Reply { to, reply: Reply::Submitted(results) });
    }

    fn take(
        &mut self,
        now: Now,
        job: Submission,
        found: Found,
        flows: &BTreeMap<FlowId, Tag>,
        asked: Turn,
    ) -> Submitted {
        let Found { holder, taken } = found;
        if let Some(known) = self.duplicate(now.wall, &job, holder) {
            if let Submitted::Duplicate { id } = known {
                self.promised(id);
            }
            return known;
        }
        if let Err(refusal) = self.admit(now, &job) {
            return Submitted::Refused(refusal);
        }
        let hopeless = self.hopeless(now, &job);
        if let Some(estimated_start) = hopeless
            && matches!(job.source, Source::Api | Source::Proxy)
        {
            return Submitted::Refused(Refusal::TooLate { estimated_start });
        }
        let claim = job.dedup.map(|dedup| {
            let key = DedupKey { target: job.target, name: dedup.name };
            self.lookups.fresh.insert(key.clone(), (job.id, dedup.digest, self.turn));
            Claim { key, digest: dedup.digest, until: now.wall + dedup.keep }
        });
        let mut events = vec![Event { at: now.wall, what: Happening::Enqueued }];
        let seat = self.next_seat();
        // What cannot be sent waits for nobody, and nobody for it.
        let group = job.group.filter(|_| job.unfit.is_none()).map(|name| {
            let key = GroupKey { target: job.target, name };
            let free = self.groups.is_free(&key, taken, asked);
            let stand = if free { Stand::Head } else { Stand::Behind };
            Membership { name: key.name, order: seat, stand }
        });
        let behind = group.as_ref().is_some_and(|group| group.stand == Stand::Behind);
        let place = match job.not_before.filter(|due| *due > now.wall) {
            due if behind => {
                events.push(Event { at: now.wall, what: Happening::Behind });
                Place::Behind { due }
            }
            Some(due) => {
                events.push(Event { at: now.wall, what: Happening::Scheduled { until: due } });
                Place::Scheduled { due }
            }
            None => Place::Queued,
        };
        let mut header = Header {
            id: job.id,
            target: job.target,
            priority: job.priority,
            seat,
            enqueued_at: now.wall,
            ready_at: now.wall,
            deadline: job.deadline,
            attempts: 0,
            spent: 0,
            refusals: 0,
            first_sent_at: None,
            max_attempts: job.max_attempts,
            owed: match job.request.task_token {
                Some(_) => Owed::TaskToken,
                None => Owed::Nothing,
            },
            course: Course::new(job.delivery),
            group,
            flow: job.flow,
            tag: Tag::default(),
            callback: job.callback.map(|name| Box::new(Callback::new(name))),
        };
        if job.unfit.is_none() && !matches!(place, Place::Scheduled { .. }) {
            let found = header.flow_id().and_then(|flow| flows.get(&flow).copied());
            self.tag(&mut header, found.unwrap_or_default());
        }
        let insert = |place| Insert {
            header: header.clone(),
            place,
            request: job.request,
            claim,
            source: job.source,
            events,
        };
        let Some(reason) = job.unfit else {
            self.insert(insert(place));
            let Some(estimated_start) = hopeless else {
                return Submitted::Accepted { header, place };
            };
            // A message cannot be refused. Its workflow is told at once.
            let end = Place::Ended { end: End::Expired, at: now.wall };
            let events = vec![Happening::Hopeless { estimated_start }, Happening::Expired];
            let header = self.shift(
                now,
                (header.clone(), place),
                header,
                end,
                Story { events, answer: None },
            );
            return Submitted::Accepted { header, place: end };
        };
        self.insert(insert(Place::Queued));
        let end = End::Failed(Failure::BadMessage);
        let dead = Place::Ended { end, at: now.wall };
        let story = Happening::Unfit { reason }.into();
        self.shift(now, (header.clone(), Place::Queued), header.clone(), dead, story);
        Submitted::Accepted { header, place: dead }
    }

    fn duplicate(&self, now: Wall, job: &Submission, holder: Option<Holder>) -> Option<Submitted> {
        let dedup = job.dedup.as_ref()?;
        let key = DedupKey { target: job.target, name: dedup.name.clone() };
        let (id, digest) = match self.lookups.fresh.get(&key) {
            Some((id, digest, _)) => (*id, *digest),
            None => {
                // One that had ended may have been redriven since the store was asked.
                let lives = |id| self.jobs.get(id).is_some_and(|(_, place)| !place.is_ended());
                let holds = |holder: &Holder| {
                    let named = !holder.ended || now < holder.until || lives(holder.id);
                    named && !holder.cancelled && !self.let_its_name_go(holder.id)
                };
                let holder = holder.filter(holds)?;
                (holder.id, holder.digest)
            }
        };
        Some(if digest == dedup.digest {
            Submitted::Duplicate { id }
        } else {
            Submitted::Refused(Refusal::DedupMismatch { id })
        })
    }

    /// With `reject_if_late`, when a job would start that cannot make its deadline by the limits in
    /// force. Of one with a `fairness_key`, or in a group, only what stands in higher queues counts:
    /// how many go before it in its own is not known here.
    fn hopeless(&self, now: Now, job: &Submission) -> Option<Wall> {
        let deadline = job.deadline?;
        let target = self.targets.get(&job.target)?;
        if job.unfit.is_some() || !target.live.as_ref()?.policy.outcomes.reject_if_late {
            return None;
        }
        let queued = Priority::ALL.map(|priority| target.counts.get(priority, JobState::Queued));
        let alone = job.flow.is_none() && job.group.is_none();
        let before = if alone { queued[job.priority.index()] } else { 0 };
        let limits = self.forecast(target, now);
        // One that is never sent as things stand, to a target that is paused, may be yet.
        let start = forecast::start(&limits, &queued, job.priority, before.saturating_add(1))?;
        let start = start.max(job.not_before.unwrap_or(Wall::EPOCH));
        (start >= deadline).then_some(start)
    }

    fn admit(&self, now: Now, job: &Submission) -> Result<(), Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        let target = self.targets.get(&job.target).ok_or(Refusal::UnknownTarget)?;
        let live = target.live.as_ref().ok_or(Refusal::UnknownTarget)?;
        if job.deadline.is_some_and(|deadline| deadline <= now.wall) {
            return Err(Refusal::DeadlinePassed);
        }
        if target.counts.alive() >= live.policy.max_queued {
            // A place is free once a job has ended; at best that is a token's time away.
            let retry_after = live.policy.limit.rate.interval().max(Duration::from_secs(1));
            return Err(Refusal::QueueFull { retry_after });
        }
        Ok(())
    }
}
