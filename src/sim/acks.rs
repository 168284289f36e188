//! What callers asked, what they were told, and whether it holds.

use std::collections::{BTreeMap, BTreeSet};

use super::book::{Book, Claimant, Entry};
use super::violation::{Checked, ensure};
use crate::broker::change::{Change, DedupKey};
use crate::broker::io::{
    CommandError, Input, JobCommand, Refusal, Reply, ReplyTo, Submission, Submitted,
};
use crate::broker::job::{Header, JobId, Owed, Place, TargetId};
use crate::broker::policy::Policy;
use crate::broker::time::Wall;
use crate::store::model::Model;

#[derive(Clone, Debug)]
enum Asked {
    Submit(Vec<Submission>),
    Command(JobCommand),
    /// With those that were dead then, and are since; and how many there were.
    Sweep(TargetId, Vec<(JobId, Place)>, usize),
    Pause(TargetId, bool),
}

#[derive(Debug, Default)]
pub(super) struct Acks {
    asked: BTreeMap<ReplyTo, Asked>,
    /// Answers that are decided and not let out.
    decided: BTreeSet<ReplyTo>,
    /// Claims that ended since somebody asked who holds them, and the jobs that took them over.
    lapsed: Vec<(DedupKey, Claimant, Option<JobId>)>,
    acknowledged: BTreeSet<JobId>,
    deleted: BTreeSet<JobId>,
    cancelled: BTreeSet<JobId>,
    /// Their callers hung up while they were not under way.
    abandoned: BTreeSet<JobId>,
    draining: bool,
}

impl Acks {
    /// Nobody who waits for an answer gets one.
    pub(super) fn restart(&mut self) {
        self.asked.clear();
        self.decided.clear();
        self.lapsed.clear();
        self.abandoned.clear();
        self.draining = false;
    }

    pub(super) fn input(&mut self, input: &Input, book: &Book) {
        let (to, asked) = match input {
            Input::Submit { to, jobs } => (to, Asked::Submit(jobs.clone())),
            Input::Command { to, command } => (to, Asked::Command(command.clone())),
            Input::Sweep { to, target, sweep: _, which } => {
                let dead = book.jobs().filter(|(_, entry)| {
                    entry.header.target == *target
                        && matches!(entry.place, Place::Ended { end, .. } if end.is_dead())
                        && which.fits(&entry.header, &entry.place)
                });
                let dead: Vec<(JobId, &Entry)> = dead.map(|(id, entry)| (*id, entry)).collect();
                let meant = dead.len();
                // One that owes an answer is left alone.
                let owes = |entry: &Entry| entry.header.owed == Owed::TaskToken;
                let dead = dead.into_iter().filter(|(_, entry)| !owes(entry));
                let dead = dead.map(|(id, entry)| (id, entry.place)).collect();
                (to, Asked::Sweep(*target, dead, meant))
            }
            Input::Pause { to, target, paused } => (to, Asked::Pause(*target, *paused)),
            Input::Abandoned { job } => {
                if book.get(*job).is_some_and(Entry::is_pending) {
                    self.abandoned.insert(*job);
                }
                return;
            }
            Input::Drain => {
                self.draining = true;
                return;
            }
            _ => return,
        };
        self.asked.insert(*to, asked);
    }

    pub(super) fn is_waited_for(&self) -> bool {
        !self.asked.is_empty() || !self.decided.is_empty()
    }

    /// `book` is as it was before.
    pub(super) fn change(&mut self, change: &Change, book: &Book) {
        if let Change::Delete { id, .. } = change {
            self.deleted.insert(*id);
        }
        let (key, taker) = match change {
            Change::Insert(insert) => {
                (insert.claim.as_ref().map(|claim| &claim.key), Some(insert.header.id))
            }
            Change::Delete { id, .. } => (book.get(*id).and_then(Entry::claimed), None),
            Change::Move(step) => {
                // It was started, or it is another life: whoever wants it now has not hung up.
                if matches!(step.to, Place::Running { .. }) || step.from.is_ended() {
                    self.abandoned.remove(&step.header.id);
                }
                // If it dies again, no sweep that is under way is to find it.
                for asked in self.asked.values_mut() {
                    if let Asked::Sweep(_, dead, _) = asked {
                        dead.retain(|(id, _)| *id != step.header.id);
                    }
                }
                return;
            }
            Change::Rewrite { .. }
            | Change::Paused { .. }
            | Change::Held { .. }
            | Change::Flow { .. }
            | Change::Spent(_)
            | Change::Lived { .. } => return,
        };
        if let Some(key) = key
            && let Some(claimant) = book.claimant(key)
        {
            self.lapsed.push((key.clone(), claimant, taker));
        }
    }

    /// An answer that is decided and not let out. `book` knows all that was decided with it.
    pub(super) fn decided(
        &mut self,
        to: ReplyTo,
        reply: &Reply,
        wall: Wall,
        book: &Book,
        policy: impl Fn(TargetId) -> Option<Policy>,
    ) -> Checked {
        let Some(asked) = self.asked.remove(&to) else {
            ensure!(false, "nobody asked for {reply:?}");
            return Ok(());
        };
        self.decided.insert(to);
        match (asked, reply) {
            (Asked::Submit(jobs), Reply::Submitted(results)) => {
                ensure!(
                    jobs.len() == results.len(),
                    "{} answers for {}",
                    results.len(),
                    jobs.len()
                );
                for (job, result) in jobs.iter().zip(results) {
                    self.submitted(job, result, wall, book, &policy)?;
                }
            }
            (Asked::Command(command), Reply::Job(result)) => {
                self.commanded(&command, result, book)?;
            }
            (Asked::Sweep(target, dead, meant), Reply::Swept(count)) => {
                // One whose name another has, or had, stays as it is.
                let is_named = |id: JobId, entry: &Entry| {
                    let key = entry.claimed();
                    key.is_none_or(|key| book.claimant(key).is_some_and(|holder| holder.id == id))
                };
                let left = dead.iter().find(|(id, place)| {
                    book.get(*id).is_some_and(|entry| entry.place == *place && is_named(*id, entry))
                });
                ensure!(left.is_none(), "a sweep of {target:?} left {left:?}");
                ensure!(*count <= meant as u64, "{count} swept, of {meant}");
            }
            (Asked::Pause(target, paused), Reply::Target(Ok(()))) => {
                ensure!(book.is_paused(target) == paused, "{target:?} is paused, or not: {paused}");
            }
            (Asked::Pause(target, _), Reply::Target(Err(_))) => {
                ensure!(policy(target).is_none(), "{target:?} is configured, and unknown");
            }
            (asked, reply) => ensure!(false, "{asked:?} is answered with {reply:?}"),
        }
        if self.asked.is_empty() {
            self.lapsed.clear();
        }
        Ok(())
    }

    fn submitted(
        &mut self,
        job: &Submission,
        result: &Submitted,
        wall: Wall,
        book: &Book,
        policy: impl Fn(TargetId) -> Option<Policy>,
    ) -> Checked {
        let policy = policy(job.target);
        let most = policy.map(|policy| policy.max_queued);
        let digest = job.dedup.as_ref().map(|dedup| dedup.digest);
        match result {
            Submitted::Accepted { header, .. } => {
                let Some(entry) = book.get(job.id) else {
                    ensure!(false, "{} is accepted and nowhere", job.id);
                    return Ok(());
                };
                // What cannot be sent waits for nobody, and nobody for it.
                let group = job.group.as_ref().filter(|_| job.unfit.is_none());
                ensure!(
                    header.id == job.id
                        && header.target == job.target
                        && header.priority == job.priority
                        && header.deadline == job.deadline
                        && header.group.as_ref().map(|group| &group.name) == group
                        && header.flow == job.flow
                        && entry.header.id == header.id,
                    "{job:?} became {header:?}"
                );
                ensure!(!self.draining, "{} is accepted while draining", job.id);
                ensure!(
                    most.is_some_and(|most| book.alive(job.target) <= most),
                    "{} is accepted: {} jobs of {most:?}",
                    job.id,
                    book.alive(job.target)
                );
                if let Some(key) = key(job) {
                    let holder = book.claimant(&key);
                    ensure!(
                        holder.is_some_and(|claimant| claimant.id == job.id),
                        "{} is accepted, and {key:?} is held by {holder:?}",
                        job.id
                    );
                    let before = self.lapsed.iter().find(|(_, _, taker)| *taker == Some(job.id));
                    if let Some((_, before, _)) = before
                        && let Some(entry) = book.get(before.id)
                    {
                        ensure!(
                            entry.place.is_cancelled()
                                || entry.place.is_ended() && before.until <= wall,
                            "{} takes {key:?} from {before:?}: {:?}",
                            job.id,
                            entry.place
                        );
                    }
                }
            }
            Submitted::Duplicate { id } | Submitted::Refused(Refusal::DedupMismatch { id }) => {
                let Some(key) = key(job) else {
                    ensure!(false, "{} has no dedup_id: {result:?}", job.id);
                    return Ok(());
                };
                let lapsed = self.lapsed.iter().filter(|(lapsed, ..)| *lapsed == key);
                let holders = lapsed.map(|(_, claimant, _)| *claimant).chain(book.claimant(&key));
                let same = matches!(result, Submitted::Duplicate { .. });
                let fits = holders.into_iter().any(|claimant| {
                    claimant.id == *id && (Some(claimant.digest) == digest) == same
                });
                ensure!(fits, "{} is {result:?}, and {key:?}: {:?}", job.id, book.claimant(&key));
                if same {
                    // Somebody relies on it again.
                    self.abandoned.remove(id);
                }
                // Nobody does it, and its name is free.
                let cancelled = book.get(*id).is_some_and(|entry| entry.place.is_cancelled());
                ensure!(!cancelled, "{} is {result:?}, which was cancelled", job.id);
            }
            Submitted::Refused(Refusal::QueueFull { .. }) => ensure!(
                most.is_some_and(|most| book.alive(job.target) >= most),
                "{} is refused: full with {} jobs, of {most:?}",
                job.id,
                book.alive(job.target)
            ),
            Submitted::Refused(Refusal::UnknownTarget) => {
                ensure!(most.is_none(), "{} is refused: {:?} is known", job.id, job.target);
            }
            Submitted::Refused(Refusal::Draining) => {
                ensure!(self.draining, "{} is refused: not draining", job.id);
            }
            Submitted::Refused(Refusal::TooLate { estimated_start }) => ensure!(
                job.deadline
                    .is_some_and(|deadline| deadline <= *estimated_start && deadline > wall),
                "{} is refused: it would start in time, at {estimated_start}",
                job.id
            ),
            Submitted::Refused(Refusal::DeadlinePassed) => ensure!(
                job.deadline.is_some_and(|deadline| deadline <= wall),
                "{} is refused: its deadline is not over",
                job.id
            ),
        }
        Ok(())
    }

    fn commanded(
        &self,
        command: &JobCommand,
        result: &Result<Box<(Header, Place)>, CommandError>,
        book: &Book,
    ) -> Checked {
        let entry = book.get(command.job());
        match result {
            Err(CommandError::NoSuchJob) => {
                ensure!(entry.is_none(), "{command:?}: there is such a job: {entry:?}");
            }
            Err(CommandError::Conflict { state }) => {
                let found = entry.map(|entry| entry.header.state_in(&entry.place));
                ensure!(
                    found == Some(*state),
                    "{command:?} conflicts with {state}: it is {found:?}"
                );
            }
            Err(CommandError::Overtaken { by }) => {
                let key = entry.and_then(Entry::claimed);
                let holder = key.and_then(|key| book.claimant(key)).map(|holder| holder.id);
                let fits = holder == Some(*by) && *by != command.job();
                ensure!(fits, "{command:?}: overtaken by {by}, and {holder:?} has its name");
            }
            Err(CommandError::Draining) => ensure!(self.draining, "{command:?}: not draining"),
            Ok(job) => {
                let (header, place) = &**job;
                if matches!(command, JobCommand::Purge { .. }) {
                    ensure!(entry.is_none(), "{command:?}: it is still there");
                    return Ok(());
                }
                let found = entry.map(|entry| (&entry.header, &entry.place));
                ensure!(found == Some((header, place)), "{command:?} did {header:?}: {found:?}");
                let done = match command {
                    JobCommand::Cancel { .. } => place.is_cancelled(),
                    JobCommand::Reprioritize { priority, .. } => header.priority == *priority,
                    JobCommand::Redrive { .. } => !place.is_ended() && header.spent == 0,
                    JobCommand::TellAgain { .. } => header.owes_callback(),
                    JobCommand::Purge { .. } => true,
                };
                ensure!(done, "{command:?} did {header:?}, {place:?}");
            }
        }
        Ok(())
    }

    /// An answer goes out.
    pub(super) fn told(&mut self, to: ReplyTo, reply: &Reply, model: &Model) -> Checked {
        ensure!(self.decided.remove(&to), "{to:?} is answered twice, or nobody waits");
        match reply {
            Reply::Submitted(results) => {
                for result in results {
                    if let Submitted::Accepted { header, .. } = result {
                        self.acknowledged.insert(header.id);
                        self.is_kept(header.id, model)?;
                    }
                }
            }
            Reply::Job(Ok(job)) if job.1.is_cancelled() => {
                let header = &job.0;
                self.cancelled.insert(header.id);
                let place = model.job(header.id).map(|job| job.record.place);
                let cancelled = place.is_some_and(|place| place.is_cancelled());
                ensure!(
                    cancelled || self.deleted.contains(&header.id),
                    "{} is said to be cancelled; on disk it is {place:?}",
                    header.id
                );
            }
            Reply::Job(_) | Reply::Swept(_) | Reply::Target(_) => {}
        }
        Ok(())
    }

    /// Somebody asks to cancel this job, whatever it may have done already.
    pub(super) fn wants_it_cancelled(&self, id: JobId) -> bool {
        self.asked.values().any(|asked| {
            matches!(asked, Asked::Command(JobCommand::Cancel { job, even_if_tried: true, .. })
                if *job == id)
        })
    }

    /// Nobody wants it any more; unless it is under way it is to be cancelled.
    pub(super) fn is_left_alone(&self, book: &Book) -> Checked {
        let left = self.abandoned.iter().find(|id| {
            book.get(**id).is_some_and(|entry| {
                entry.is_pending() && entry.header.spent == 0 && !entry.header.course.doubt
            })
        });
        ensure!(left.is_none(), "the caller of {left:?} hung up");
        Ok(())
    }

    pub(super) fn is_cancelled(&self, id: JobId) -> bool {
        self.cancelled.contains(&id)
    }

    /// What was acknowledged is there, unless it was deleted.
    pub(super) fn nothing_is_lost(&self, model: &Model) -> Checked {
        self.acknowledged.iter().try_for_each(|id| self.is_kept(*id, model))
    }

    fn is_kept(&self, id: JobId, model: &Model) -> Checked {
        let kept = model.job(id).is_some() || self.deleted.contains(&id);
        ensure!(kept, "{id} was acknowledged and is not on disk");
        Ok(())
    }
}

fn key(job: &Submission) -> Option<DedupKey> {
    let dedup = job.dedup.as_ref()?;
    Some(DedupKey { target: job.target, name: dedup.name.clone() })
}
