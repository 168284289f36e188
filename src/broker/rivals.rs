//! Redriving a job whose name a later one has: what the name stands for would be done twice.
//!
//! A `dedup_id` stands for its job while that lives and for a while after, and a later job may then
//! take it. Whoever redrives the first one is told of the later one, which is the one to redrive.

use super::Broker;
use super::change::{Candidate, DedupKey, Load, Ticket};
use super::command::{Pending, is_laid_down};
use super::flows::Then;
use super::io::{CommandError, JobCommand, Output, ReplyTo};
use super::job::{Header, JobId, Place};
use super::time::Now;

impl Broker {
    /// Redrives a job once it is known that no other has its name.
    pub(super) fn ask_to_redrive(&mut self, to: ReplyTo, command: JobCommand) {
        let (job, ticket) = (command.job(), self.next_ticket());
        self.pending.insert(ticket, Pending::Redrive { to, command });
        self.outputs.push_back(Output::Load(Load::Candidates { ids: vec![job], ticket }));
    }

    pub(super) fn candidates(&mut self, now: Now, ticket: Ticket, rows: Vec<Candidate>) {
        match self.pending.get(&ticket) {
            Some(Pending::Redrive { .. }) => {
                let Some(Pending::Redrive { to, command }) = self.pending.remove(&ticket) else {
                    return;
                };
                let found = rows.into_iter().next();
                if let Some(result) = self.try_redrive(now, to, command, found) {
                    self.answer(to, result);
                }
            }
            Some(Pending::Sweep { .. }) => self.redrive_page(now, ticket, rows),
            _ => {}
        }
    }

    /// `None` where something must be asked first.
    fn try_redrive(
        &mut self,
        now: Now,
        to: ReplyTo,
        command: JobCommand,
        found: Option<Candidate>,
    ) -> Option<Result<(Header, Place), CommandError>> {
        let id = command.job();
        let (edit, by) = match &command {
            JobCommand::Redrive { edit, by, .. } => (edit.clone(), by.clone()),
            _ => (None, None),
        };
        let rival = found.as_ref().and_then(|found| self.rival(id, found));
        let Some(job) = self.newest(id, found) else { return Some(Err(CommandError::NoSuchJob)) };
        if !is_laid_down(&job) {
            return Some(Err(CommandError::Conflict { state: job.0.state_in(&job.1) }));
        }
        if self.draining {
            return Some(Err(CommandError::Draining));
        }
        if let Some(by) = rival {
            return Some(Err(CommandError::Overtaken { by }));
        }
        let mut header = job.0.clone();
        header.priority = edit.as_ref().and_then(|edit| edit.priority).unwrap_or(header.priority);
        if self.ask_flow(&header, Then::Command { to, command }) {
            return None;
        }
        Some(Ok(self.redrive(now, job, edit.as_deref(), by.as_ref(), None)))
    }

    /// What memory has learned meanwhile is newer than what the store said.
    pub(super) fn newest(&self, id: JobId, found: Option<Candidate>) -> Option<(Header, Place)> {
        let found = found.filter(|_| !self.jobs.is_deleted(id));
        let known = self.jobs.get(id).map(|(header, place)| (header.clone(), *place));
        known.or(found.map(|found| (found.header, found.place)))
    }

    /// The other job that has its name.
    pub(super) fn rival(&self, id: JobId, found: &Candidate) -> Option<JobId> {
        let name = found.name.clone()?;
        let key = DedupKey { target: found.header.target, name };
        if let Some(holder) = self.lookups.fresh_holder(&key) {
            return Some(holder).filter(|holder| *holder != id);
        }
        let holder = found.holder.filter(|holder| *holder != id)?;
        (!self.let_its_name_go(holder)).then_some(holder)
    }

    /// What was cancelled, or is gone, by what memory has learned since the store was asked.
    pub(super) fn let_its_name_go(&self, holder: JobId) -> bool {
        self.jobs.is_deleted(holder)
            || self.jobs.get(holder).is_some_and(|(_, place)| place.is_cancelled())
    }
}
