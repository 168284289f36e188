//! What people and callers do to jobs that are there: cancel, change, redrive, purge, pause.

use std::collections::BTreeSet;

use super::change::{Candidate, Change, Load, Ticket};
use super::fair::Tag;
use super::flows::Then;
use super::group::Stand;
use super::io::{
    CommandError, JobCommand, Output, Reply, ReplyTo, Settlement, Sweep, UnknownTarget,
};
use super::job::{End, Happening, Header, JobId, Owed, Place, TargetId};
use super::time::{Now, Wall};
use super::{Broker, Story, is_pending};

/// What an answer of the store was wanted for.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    Find {
        job: JobId,
        purpose: Purpose,
    },
    /// `since`: who died since it began. They were not meant, and a job that was redriven and died
    /// again least of all. Times of death do not tell: the wall clock may have been set back.
    Sweep {
        to: ReplyTo,
        target: TargetId,
        sweep: Sweep,
        since: BTreeSet<JobId>,
        count: u64,
        /// Where its page begins.
        after: Option<(Wall, JobId)>,
        /// Where the next one begins; `None` at the end.
        next: Option<(Wall, JobId)>,
    },
    Redrive {
        to: ReplyTo,
        job: JobId,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Command { to: ReplyTo, command: JobCommand },
    Abandon,
    Expire,
    TaskGone { reason: String },
    Settle { how: Settlement },
}

impl Broker {
    pub(super) fn command(&mut self, now: Now, to: ReplyTo, command: JobCommand) {
        match self.get(command.job()) {
            _ if matches!(command, JobCommand::Redrive { .. }) => {
                self.ask_to_redrive(to, command.job());
            }
            Some(job) => self.carry_out(now, to, &command, job),
            None => self.find(command.job(), Purpose::Command { to, command }),
        }
    }

    pub(super) fn abandoned(&mut self, now: Now, id: JobId) {
        match self.get(id) {
            Some(job) => self.abandon(now, job),
            None => self.find(id, Purpose::Abandon),
        }
    }

    pub(super) fn task_gone(&mut self, now: Now, id: JobId, reason: String) {
        match self.get(id) {
            Some(job) => self.drop_task(now, job, reason),
            None => self.find(id, Purpose::TaskGone { reason }),
        }
    }

    pub(super) fn settled(&mut self, now: Now, id: JobId, how: Settlement) {
        match self.get(id) {
            Some(job) => self.settle_token(now, job, how),
            None => self.find(id, Purpose::Settle { how }),
        }
    }

    pub(super) fn pause(&mut self, now: Now, to: ReplyTo, id: TargetId, paused: bool) {
        let reply = match self.targets.get_mut(&id) {
            None => Err(UnknownTarget),
            Some(target) => {
                if target.paused != paused {
                    target.paused = paused;
                    self.change(Change::Paused { target: id, paused });
                    if paused {
                        self.disarm(id, now);
                    }
                    self.dirty.insert(id);
                }
                Ok(())
            }
        };
        self.outputs.push_back(Output::Reply { to, reply: Reply::Target(reply) });
    }

    pub(super) fn sweep(&mut self, to: ReplyTo, target: TargetId, sweep: Sweep) {
        let since = BTreeSet::new();
        self.next_page(Pending::Sweep {
            to,
            target,
            sweep,
            since,
            count: 0,
            after: None,
            next: None,
        });
    }

    /// Asks the store for a job that memory does not know.
    pub(super) fn find(&mut self, id: JobId, purpose: Purpose) {
        let ticket = self.next_ticket();
        self.pending.insert(ticket, Pending::Find { job: id, purpose });
        self.outputs.push_back(Output::Load(Load::Job { id, ticket }));
    }

    pub(super) fn found(&mut self, now: Now, ticket: Ticket, job: Option<(Header, Place)>) {
        let Some(Pending::Find { job: id, purpose }) = self.pending.remove(&ticket) else {
            return;
        };
        // What memory has learned meanwhile is newer than what the store said.
        let job = job.filter(|_| !self.jobs.is_deleted(id));
        let Some(job) = self.get(id).or(job) else {
            if let Purpose::Command { to, .. } = purpose {
                self.answer(to, Err(CommandError::NoSuchJob));
            }
            return;
        };
        if !self.jobs.contains(id) {
            // It passes through memory for this, and is let go with what is done to it.
            self.jobs.put(job.0.clone(), job.1);
            self.jobs.let_go(id, self.turn);
        }
        match purpose {
            Purpose::Command { to, command } => self.carry_out(now, to, &command, job),
            Purpose::Abandon => self.abandon(now, job),
            Purpose::TaskGone { reason } => self.drop_task(now, job, reason),
            Purpose::Settle { how } => self.settle_token(now, job, how),
            Purpose::Expire => match job.0.deadline {
                Some(deadline) if deadline <= now.wall => self.expire(now, id),
                // The wall clock was set back meanwhile.
                Some(deadline) if is_pending(job.1.state()) => {
                    self.deadlines.insert((deadline, id), id);
                }
                _ => {}
            },
        }
    }

    fn carry_out(&mut self, now: Now, to: ReplyTo, command: &JobCommand, job: (Header, Place)) {
        let state = job.1.state();
        let conflict = Err(CommandError::Conflict { state });
        let result = match command {
            JobCommand::Cancel { even_if_tried, reason, .. } => {
                if is_pending(state) && (*even_if_tried || job.0.spent == 0) {
                    Ok(self.cancel(now, job, reason.clone()))
                } else {
                    conflict
                }
            }
            JobCommand::Reprioritize { priority, .. } if is_pending(state) => {
                let mut header = job.0.clone();
                header.priority = *priority;
                if header.priority == job.0.priority {
                    Ok(job)
                } else {
                    // Another queue has another virtual time.
                    header.tag = Tag::default();
                    if !matches!(job.1, Place::Scheduled { .. }) {
                        let command = command.clone();
                        if self.ask_flow(&header, Then::Command { to, command }) {
                            return;
                        }
                        self.tag(&mut header, Tag::default());
                    }
                    let event = Happening::PriorityChanged { from: job.0.priority, to: *priority };
                    let place = job.1;
                    self.shift(now, job, header.clone(), place, event.into());
                    Ok((header, place))
                }
            }
            JobCommand::Purge { .. } if is_laid_down(&job) => {
                self.purge(&job);
                Ok(job)
            }
            JobCommand::Reprioritize { .. }
            | JobCommand::Redrive { .. }
            | JobCommand::Purge { .. } => conflict,
        };
        self.answer(to, result);
    }

    fn cancel(
        &mut self,
        now: Now,
        job: (Header, Place),
        reason: Option<String>,
    ) -> (Header, Place) {
        self.lookups.cancelled(job.0.id);
        let header = job.0.clone();
        let to = Place::Ended { end: End::Cancelled, at: now.wall };
        let story = Story::from(Happening::Cancelled { reason });
        let header = self.shift(now, job, header, to, story);
        (header, to)
    }

    /// No workflow waits for it any more. What is under way is finished; its end then finds the
    /// token late.
    fn drop_task(&mut self, now: Now, mut job: (Header, Place), reason: String) {
        if job.0.owed == Owed::Nothing {
            return;
        }
        // Its start is on record, and its request has not left: it never will.
        if self.recall(job.0.target, job.0.id, now)
            && let Some(called_back) = self.get(job.0.id)
        {
            job = called_back;
        }
        if !is_pending(job.1.state()) {
            return;
        }
        self.lookups.cancelled(job.0.id);
        let header = Header { owed: Owed::Nothing, ..job.0.clone() };
        let to = Place::Ended { end: End::Cancelled, at: now.wall };
        let events = vec![
            Happening::TokenLate { reason: reason.clone() },
            Happening::Cancelled { reason: Some(reason) },
        ];
        self.shift(now, job, header, to, Story { events, answer: None });
    }

    fn settle_token(&mut self, now: Now, job: (Header, Place), how: Settlement) {
        if job.0.owed == Owed::Nothing || !job.1.is_ended() {
            return;
        }
        let event = match how {
            Settlement::Answered => Happening::TokenAnswered,
            Settlement::Late { reason } => Happening::TokenLate { reason },
        };
        let header = Header { owed: Owed::Nothing, ..job.0.clone() };
        let place = job.1;
        self.shift(now, job, header, place, event.into());
    }

    /// Its caller hung up: nobody wants it any more, unless it may have done work already.
    fn abandon(&mut self, now: Now, job: (Header, Place)) {
        if is_pending(job.1.state()) && job.0.spent == 0 {
            self.cancel(now, job, Some("its caller hung up".into()));
        }
    }

    /// To the end of its queue, as if it were new but for the number of its next attempt. In its
    /// group it has its old place.
    pub(super) fn redrive(&mut self, now: Now, job: (Header, Place)) -> (Header, Place) {
        let mut header = Header {
            seat: self.next_seat(),
            ready_at: now.wall,
            deadline: job.0.deadline.filter(|deadline| *deadline > now.wall),
            spent: 0,
            refusals: 0,
            first_sent_at: None,
            ..job.0.clone()
        };
        self.tag(&mut header, Tag::default());
        let mut story = Story::from(Happening::Redriven);
        let to = if self.rejoin(&mut header) {
            story.events.push(Happening::Behind);
            Place::Behind { due: None }
        } else {
            Place::Queued
        };
        let header = self.shift(now, job, header, to, story);
        (header, to)
    }

    fn purge(&mut self, (header, place): &(Header, Place)) {
        let (id, target, priority) = (header.id, header.target, header.priority);
        self.jobs.delete(id, self.turn);
        let stand = header.stand();
        self.change(Change::Delete { id, target, priority, place: *place, stand });
        if stand == Stand::Head
            && let Some(key) = header.group_key()
        {
            self.ask_heir(key, Some((priority, header.tag)));
        }
    }

    pub(super) fn swept(&mut self, ticket: Ticket, rows: Vec<(Header, Place)>, exhausted: bool) {
        let Some(Pending::Sweep { sweep, since, count, next, .. }) = self.pending.get_mut(&ticket)
        else {
            return;
        };
        let place = |(header, place): &(Header, Place)| match place {
            Place::Ended { at, .. } => Some((*at, header.id)),
            _ => None,
        };
        *next = rows.last().and_then(place).filter(|_| !exhausted);
        let meant: Vec<JobId> =
            rows.iter().map(|(header, _)| header.id).filter(|id| !since.contains(id)).collect();
        if *sweep == Sweep::Redrive && !meant.is_empty() {
            // Only once it is known that nobody else has their names.
            self.outputs.push_back(Output::Load(Load::Candidates { ids: meant, ticket }));
            return;
        }
        let mut purged = Vec::new();
        for job in rows.into_iter().filter(|(header, _)| meant.contains(&header.id)) {
            let job =
                self.jobs.get(job.0.id).map_or(job, |(header, place)| (header.clone(), *place));
            if is_laid_down(&job) && !self.jobs.is_deleted(job.0.id) {
                *count += 1;
                purged.push(job);
            }
        }
        for job in purged {
            self.purge(&job);
        }
        self.page_done(ticket);
    }

    /// What a sweep redrives, less those whose names others have.
    pub(super) fn redrive_page(&mut self, now: Now, ticket: Ticket, rows: Vec<Candidate>) {
        if self.ask_flows_of(ticket, rows.iter().map(|row| &row.header)) {
            return;
        }
        let mut redriven = 0;
        for row in rows {
            let (id, rival) = (row.header.id, self.rival(row.header.id, &row));
            let meant = match self.pending.get(&ticket) {
                Some(Pending::Sweep { since, .. }) => !since.contains(&id),
                _ => false,
            };
            let job = self.newest(id, Some(row)).filter(is_laid_down);
            if let Some(job) = job.filter(|_| meant && rival.is_none()) {
                self.redrive(now, job);
                redriven += 1;
            }
        }
        if let Some(Pending::Sweep { count, .. }) = self.pending.get_mut(&ticket) {
            *count += redriven;
        }
        self.page_done(ticket);
    }

    fn page_done(&mut self, ticket: Ticket) {
        let Some(Pending::Sweep { to, target, sweep, since, count, next, .. }) =
            self.pending.remove(&ticket)
        else {
            return;
        };
        match next {
            None => self.finish_sweep(to, count),
            after => {
                let next = None;
                self.next_page(Pending::Sweep { to, target, sweep, since, count, after, next });
            }
        }
    }

    /// A job of this target died.
    pub(super) fn died(&mut self, id: JobId, of: TargetId) {
        for pending in self.pending.values_mut() {
            if let Pending::Sweep { target, since, .. } = pending
                && *target == of
            {
                since.insert(id);
            }
        }
    }

    /// All flows of a page are known now. Its rows are too old: they are asked for once more.
    pub(super) fn page_again(&mut self, page: Ticket) {
        if let Some(pending) = self.pending.remove(&page) {
            self.next_page(pending);
        }
    }

    fn next_page(&mut self, pending: Pending) {
        let Pending::Sweep { target, after, .. } = pending else { return };
        let ticket = self.next_ticket();
        self.pending.insert(ticket, pending);
        let load = Load::Dead { target, after, limit: self.windows.page, ticket };
        self.outputs.push_back(Output::Load(load));
    }

    fn finish_sweep(&mut self, to: ReplyTo, count: u64) {
        self.outputs.push_back(Output::Reply { to, reply: Reply::Swept(count) });
    }

    pub(super) fn answer(&mut self, to: ReplyTo, result: Result<(Header, Place), CommandError>) {
        self.outputs.push_back(Output::Reply { to, reply: Reply::Job(result) });
    }

    fn get(&self, id: JobId) -> Option<(Header, Place)> {
        self.jobs.get(id).map(|(header, place)| (header.clone(), *place))
    }
}

/// Dead, and nobody is owed an answer any more: it can be redriven or purged.
pub(super) fn is_laid_down((header, place): &(Header, Place)) -> bool {
    matches!(place, Place::Ended { end, .. } if end.is_dead()) && header.owed == Owed::Nothing
}
