//! New jobs: whether they are taken, and whether they are there already.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Broker;
use super::change::{Claim, DedupKey, Holder, Insert, Load, Ticket, Turn};
use super::course::Course;
use super::io::{Output, Refusal, Reply, ReplyTo, Submission, Submitted};
use super::job::{End, Event, Failure, Happening, Header, JobId, Owed, Place};
use super::time::{Now, Wall};

/// Submissions that wait to hear who holds their `dedup_id`, and claims too new to be in the
/// store's answers.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    batches: BTreeMap<ReplyTo, Batch>,
    asked: BTreeMap<Ticket, (ReplyTo, usize)>,
    fresh: BTreeMap<DedupKey, (JobId, [u8; 32], Turn)>,
}

#[derive(Debug)]
struct Batch {
    jobs: Vec<Submission>,
    holders: Vec<Option<Holder>>,
    missing: usize,
}

impl Lookups {
    /// What was cancelled is done with: its name is free again.
    pub(super) fn cancelled(&mut self, id: JobId) {
        self.fresh.retain(|_, (holder, _, _)| *holder != id);
    }

    pub(super) fn committed(&mut self, turn: Turn) {
        self.fresh.retain(|_, (_, _, claimed)| *claimed > turn);
    }
}

impl Broker {
    /// A batch with `dedup_id`s first asks the store who holds them; all of it then goes into one
    /// turn, so that what is accepted is durable together.
    pub(super) fn submit(&mut self, now: Now, to: ReplyTo, jobs: Vec<Submission>) {
        let holders = vec![None; jobs.len()];
        let mut missing = 0;
        for (index, job) in jobs.iter().enumerate() {
            if let Some(dedup) = &job.dedup {
                let ticket = self.next_ticket();
                let key = DedupKey { target: job.target, name: dedup.name.clone() };
                self.lookups.asked.insert(ticket, (to, index));
                self.outputs.push_back(Output::Load(Load::Claim { key, ticket }));
                missing += 1;
            }
        }
        let batch = Batch { jobs, holders, missing };
        if missing == 0 {
            self.take_in(now, to, batch);
        } else {
            self.lookups.batches.insert(to, batch);
        }
    }

    pub(super) fn claimed(&mut self, now: Now, ticket: Ticket, holder: Option<Holder>) {
        let Some((to, index)) = self.lookups.asked.remove(&ticket) else { return };
        let Some(batch) = self.lookups.batches.get_mut(&to) else { return };
        batch.holders[index] = holder;
        batch.missing -= 1;
        if batch.missing == 0
            && let Some(batch) = self.lookups.batches.remove(&to)
        {
            self.take_in(now, to, batch);
        }
    }

    fn take_in(&mut self, now: Now, to: ReplyTo, batch: Batch) {
        let jobs = batch.jobs.into_iter().zip(batch.holders);
        let results = jobs.map(|(job, holder)| self.take(now, job, holder)).collect();
        self.outputs.push_back(Output::Reply { to, reply: Reply::Submitted(results) });
    }

    fn take(&mut self, now: Now, job: Submission, holder: Option<Holder>) -> Submitted {
        if let Some(known) = self.duplicate(now.wall, &job, holder) {
            return known;
        }
        if let Err(refusal) = self.admit(now, &job) {
            return Submitted::Refused(refusal);
        }
        let claim = job.dedup.map(|dedup| {
            let key = DedupKey { target: job.target, name: dedup.name };
            self.lookups.fresh.insert(key.clone(), (job.id, dedup.digest, self.turn));
            Claim { key, digest: dedup.digest, until: now.wall + dedup.keep }
        });
        let mut events = vec![Event { at: now.wall, what: Happening::Enqueued }];
        let place = match job.not_before.filter(|due| *due > now.wall) {
            Some(due) => {
                events.push(Event { at: now.wall, what: Happening::Scheduled { until: due } });
                Place::Scheduled { due }
            }
            None => Place::Queued,
        };
        let header = Header {
            id: job.id,
            target: job.target,
            priority: job.priority,
            seat: self.next_seat(),
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
        };
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
            return Submitted::Accepted { header, place };
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
                    named && !holder.cancelled
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
