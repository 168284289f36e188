//! What people and callers do to jobs that are there: cancel, change, redrive, purge, pause.

use std::collections::BTreeSet;

use super::callback::Told;
use super::change::{Candidate, Change, Load, Ticket};
use super::course::{Course, Delivery, Phase};
use super::fair::Tag;
use super::flows::Then;
use super::group::Stand;
use super::io::{
    CommandError, DeadFilter, Edit, JobCommand, Output, Reply, ReplyTo, Settlement, Sweep,
    UnknownTarget, Who,
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
        which: DeadFilter,
        began: Wall,
        since: BTreeSet<JobId>,
        count: u64,
        /// Where its page begins.
        after: Option<(Wall, JobId)>,
        /// Where the next one begins; `None` at the end.
        next: Option<(Wall, JobId)>,
    },
    Redrive {
        to: ReplyTo,
        command: JobCommand,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Command { to: ReplyTo, command: JobCommand },
    Abandon,
    Expire,
    TaskGone { reason: String },
    Settle { how: Settlement },
    Told { end: u32, how: Told },
}

impl Broker {
    pub(super) fn command(&mut self, now: Now, to: ReplyTo, command: JobCommand) {
        match self.known(command.job()) {
            _ if matches!(command, JobCommand::Redrive { .. }) => self.ask_to_redrive(to, command),
            Some(job) => self.carry_out(now, to, &command, job),
            None => self.find(command.job(), Purpose::Command { to, command }),
        }
    }

    pub(super) fn abandoned(&mut self, now: Now, id: JobId) {
        match self.known(id) {
            Some(job) => self.abandon(now, job),
            None => self.find(id, Purpose::Abandon),
        }
    }

    /// Somebody relies on the job from now on: one that is being looked for because its callers hung up
    /// is not ended.
    pub(super) fn promised(&mut self, id: JobId) {
        self.pending.retain(|_, pending| {
            !matches!(pending, Pending::Find { job, purpose: Purpose::Abandon } if *job == id)
        });
    }

    pub(super) fn task_gone(&mut self, now: Now, id: JobId, reason: String) {
        match self.known(id) {
            Some(job) => self.drop_task(now, job, reason),
            None => self.find(id, Purpose::TaskGone { reason }),
        }
    }

    /// A job whose row was asked for, because its workflow is gone, came into memory another way
    /// meanwhile, and would be started. Whether it was one.
    pub(super) fn drop_if_gone(&mut self, now: Now, id: JobId) -> bool {
        match self.gone.get(&id).copied() {
            Some(ticket) => {
                self.found(now, ticket, None);
                true
            }
            None => false,
        }
    }

    pub(super) fn settled(&mut self, now: Now, id: JobId, how: Settlement) {
        match self.known(id) {
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

    pub(super) fn sweep(
        &mut self,
        now: Now,
        to: ReplyTo,
        target: TargetId,
        sweep: Sweep,
        which: DeadFilter,
    ) {
        self.next_page(Pending::Sweep {
            to,
            target,
            sweep,
            which,
            began: now.wall,
            since: BTreeSet::new(),
            count: 0,
            after: None,
            next: None,
        });
    }

    /// Asks the store for a job that memory does not know.
    pub(super) fn find(&mut self, id: JobId, purpose: Purpose) {
        let ticket = self.next_ticket();
        if matches!(purpose, Purpose::TaskGone { .. }) {
            self.gone.insert(id, ticket);
        }
        self.pending.insert(ticket, Pending::Find { job: id, purpose });
        self.outputs.push_back(Output::Load(Load::Job { id, ticket }));
    }

    pub(super) fn found(&mut self, now: Now, ticket: Ticket, job: Option<(Header, Place)>) {
        let Some(Pending::Find { job: id, purpose }) = self.pending.remove(&ticket) else {
            return;
        };
        if matches!(purpose, Purpose::TaskGone { .. }) {
            self.gone.remove(&id);
        }
        // What memory has learned meanwhile is newer than what the store said.
        let job = job.filter(|_| !self.jobs.is_deleted(id));
        let Some(job) = self.known(id).or(job) else {
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
            Purpose::Told { end, how } => self.settle_callback(now, job, end, how),
            Purpose::Expire => match job.0.deadline {
                Some(deadline) if deadline <= now.wall => self.expire(now, id),
                // The wall clock was set back meanwhile.
                Some(deadline) if is_pending(&job.1) => {
                    self.deadlines.insert((deadline, id), id);
                }
                _ => {}
            },
        }
    }

    fn carry_out(&mut self, now: Now, to: ReplyTo, command: &JobCommand, job: (Header, Place)) {
        let state = job.0.state_in(&job.1);
        let conflict = Err(CommandError::Conflict { state });
        let result = match command {
            JobCommand::Cancel { even_if_tried, reason, .. } => {
                if is_pending(&job.1) && (*even_if_tried || !may_have_worked(&job.0)) {
                    Ok(self.cancel(now, job, reason.clone()))
                } else {
                    conflict
                }
            }
            JobCommand::Reprioritize { priority, by, .. } if is_pending(&job.1) => {
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
                    let event = Happening::PriorityChanged {
                        from: job.0.priority,
                        to: *priority,
                        by: by.as_deref().map(str::to_owned),
                    };
                    let place = job.1;
                    self.shift(now, job, header.clone(), place, event.into());
                    Ok((header, place))
                }
            }
            JobCommand::TellAgain { by, .. } => self.tell_again(now, job, by.as_ref()),
            JobCommand::Purge { .. } if may_be_forgotten(&job) => {
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
        // One whose work may be done is not dropped: what it did is found out.
        if job.0.owed == Owed::Nothing || job.0.course.is_asking() {
            return;
        }
        // Its start is on record, and its request has not left: it never will.
        if self.recall(job.0.target, job.0.id, now)
            && let Some(called_back) = self.known(job.0.id)
        {
            job = called_back;
        }
        if !is_pending(&job.1) {
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
        if is_pending(&job.1) && !may_have_worked(&job.0) {
            self.cancel(now, job, Some("its caller hung up".into()));
        }
    }

    /// To the end of its queue, as if it were new but for the number of its next attempt. In its
    /// group it has its old place.
    ///
    /// One whose work may be done, and whose target can be asked, is asked for first. Any other is
    /// sent, because somebody wants it; that it may have done its work before stays on record. So is
    /// one whose request is another now: it has not been sent, and asking would ask for it.
    ///
    /// `not_before`: it is scheduled until then.
    pub(super) fn redrive(
        &mut self,
        now: Now,
        job: (Header, Place),
        edit: Option<&Edit>,
        by: Option<&Who>,
        not_before: Option<Wall>,
    ) -> (Header, Place) {
        let before = &job.0.course;
        let rewritten = edit.and_then(|edit| edit.request.as_ref());
        let ask = before.doubt && before.sent_under == Delivery::Verify && rewritten.is_none();
        let phase = if ask { Phase::Verify } else { Phase::Work };
        let course = Course { phase, in_vain: 0, ..before.clone() };
        let mut header = Header {
            seat: self.next_seat(),
            priority: edit.and_then(|edit| edit.priority).unwrap_or(job.0.priority),
            ready_at: now.wall,
            deadline: job.0.deadline.filter(|deadline| *deadline > now.wall),
            spent: 0,
            refusals: 0,
            first_sent_at: None,
            course,
            ..job.0.clone()
        };
        let mut events = Vec::new();
        if let Some(edit) = edit {
            events.push(Happening::Edited { parts: edit.parts.clone() });
        }
        if let Some(request) = rewritten {
            let (id, target) = (header.id, header.target);
            self.change(Change::Rewrite { id, target, request: request.clone() });
        }
        events.push(Happening::Redriven { by: by.map(ToString::to_string) });
        let to = if self.rejoin(&mut header) {
            events.push(Happening::Behind);
            // Those before it in its group pace it.
            Place::Behind { due: None }
        } else if let Some(due) = not_before.filter(|due| *due > now.wall) {
            events.push(Happening::Scheduled { until: due });
            Place::Scheduled { due }
        } else {
            Place::Queued
        };
        if !matches!(to, Place::Scheduled { .. }) {
            self.tag(&mut header, Tag::default());
        }
        let header = self.shift(now, job, header, to, Story { events, answer: None });
        (header, to)
    }

    pub(super) fn purge(&mut self, (header, place): &(Header, Place)) {
        let (id, target, priority) = (header.id, header.target, header.priority);
        self.jobs.delete(id, self.turn);
        let stand = header.stand();
        self.change(Change::Delete { id, target, priority, place: *place, stand });
        if stand == Stand::Head
            && let Some(key) = header.group_key()
        {
            self.ask_heir(key, Some((priority, header.tag)));
        }
        self.graves.changed(target);
    }

    pub(super) fn swept(&mut self, ticket: Ticket, rows: Vec<(Header, Place)>, exhausted: bool) {
        let Some(Pending::Sweep { sweep, which, since, next, .. }) = self.pending.get_mut(&ticket)
        else {
            return;
        };
        let died_at = |(header, place): &(Header, Place)| match place {
            Place::Ended { at, .. } => Some((*at, header.id)),
            _ => None,
        };
        *next = rows.last().and_then(died_at).filter(|_| !exhausted);
        let (purge, which) = (*sweep == Sweep::Purge, which.clone());
        let meant = rows.into_iter().filter(|(header, _)| !since.contains(&header.id));
        let meant: Vec<(Header, Place)> = meant.collect();
        if purge {
            let purged = self.still_dead(meant, &which);
            for job in &purged {
                self.purge(job);
            }
            self.page_done(ticket, purged.len());
        } else if meant.is_empty() {
            self.page_done(ticket, 0);
        } else {
            // Only once it is known that nobody else has their names.
            let ids = meant.iter().map(|(header, _)| header.id).collect();
            let load = Load::Candidates { ids, ticket };
            self.outputs.push_back(Output::Load(load));
        }
    }

    /// Those that are dead and fit, by what is known of them now.
    fn still_dead(&self, jobs: Vec<(Header, Place)>, which: &DeadFilter) -> Vec<(Header, Place)> {
        let newest = |job: (Header, Place)| self.known(job.0.id).unwrap_or(job);
        let fits = |job: &(Header, Place)| {
            may_be_forgotten(job) && which.fits(&job.0, &job.1) && !self.jobs.is_deleted(job.0.id)
        };
        jobs.into_iter().map(newest).filter(fits).collect()
    }

    /// What a sweep redrives, less those whose names others have.
    pub(super) fn redrive_page(&mut self, now: Now, ticket: Ticket, rows: Vec<Candidate>) {
        if self.ask_flows_of(ticket, rows.iter().map(|row| &row.header)) {
            return;
        }
        let mut redriven = 0;
        for row in rows {
            let (id, rival) = (row.header.id, self.rival(row.header.id, &row));
            let Some(Pending::Sweep { sweep, which, began, since, count, .. }) =
                self.pending.get(&ticket)
            else {
                return;
            };
            if rival.is_some() || since.contains(&id) {
                continue;
            }
            let nth = u32::try_from(*count).unwrap_or(u32::MAX).saturating_add(redriven);
            let (not_before, by) = match sweep {
                Sweep::Redrive { pace, by } => {
                    (pace.map(|pace| *began + pace.saturating_mul(nth)), by.clone())
                }
                Sweep::Purge => (None, None),
            };
            let job = self.newest(id, Some(row)).filter(is_laid_down);
            if let Some(job) = job.filter(|job| which.fits(&job.0, &job.1)) {
                self.redrive(now, job, None, by.as_ref(), not_before);
                redriven += 1;
            }
        }
        self.page_done(ticket, redriven as usize);
    }

    fn page_done(&mut self, ticket: Ticket, more: usize) {
        let Some(Pending::Sweep { to, target, sweep, which, began, since, count, next, .. }) =
            self.pending.remove(&ticket)
        else {
            return;
        };
        let count = count + more as u64;
        match next {
            None => self.finish_sweep(to, count),
            after => self.next_page(Pending::Sweep {
                to,
                target,
                sweep,
                which,
                began,
                since,
                count,
                after,
                next: None,
            }),
        }
    }

    /// A job of this target died.
    pub(super) fn died(&mut self, id: JobId, of: TargetId) {
        self.graves.changed(of);
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
        self.outputs.push_back(Output::Reply { to, reply: Reply::Job(result.map(Box::new)) });
    }

    pub(super) fn known(&self, id: JobId) -> Option<(Header, Place)> {
        self.jobs.get(id).map(|(header, place)| (header.clone(), *place))
    }
}

/// Some attempt of it was sent and was not refused.
fn may_have_worked(header: &Header) -> bool {
    header.spent > 0 || header.course.doubt
}

/// Dead, and no workflow is owed an answer any more: it can be redriven.
pub(super) fn is_laid_down((header, place): &(Header, Place)) -> bool {
    matches!(place, Place::Ended { end, .. } if end.is_dead()) && header.owed == Owed::Nothing
}

/// Nor is anybody else to be told of its end: it can be purged.
pub(super) fn may_be_forgotten(job: &(Header, Place)) -> bool {
    is_laid_down(job) && !job.0.owes_callback()
}
