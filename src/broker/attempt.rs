//! Attempts: armed, let go, ended.
//!
//! A start must be durable before its request leaves, and a commit takes time that varies. So a
//! job is *armed* (chosen, and its start committed) a little before its token is there, by the
//! [`Lead`] that commits took lately, and *let go* when the start is on disk and the token is
//! taken, which paces what leaves and not what is written. With an empty queue and a full bucket
//! all of it happens in the commit that stores the job.

use std::sync::Arc;
use std::time::Duration;

use super::change::{Change, Turn};
use super::io::{BlockedOn, Output};
use super::job::{End, Failure, Happening, Header, JobId, Owed, Place, Priority, TargetId};
use super::lines::Next;
use super::payload::{Outcome, Report};
use super::retry::{self, Verdict};
use super::target::Armed;
use super::time::{Mono, Now, Wall};
use super::{Broker, Story};

/// An attempt that was started in this life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) attempt: u32,
    pub(super) began: Mono,
}

/// How long before its token a job is armed: what commits took lately, and a little more. As a
/// retransmission timer is (RFC 6298), it is made of a smoothed mean and a smoothed deviation.
#[derive(Debug)]
pub(super) struct Lead {
    mean: Duration,
    deviation: Duration,
}

impl Default for Lead {
    fn default() -> Lead {
        Lead { mean: Duration::from_millis(1), deviation: Duration::ZERO }
    }
}

impl Lead {
    const LEAST: Duration = Duration::from_micros(200);
    /// A disk that takes longer than this holds the rate back; better than jobs chosen too early.
    const MOST: Duration = Duration::from_millis(50);

    fn learn(&mut self, took: Duration) {
        let off = took.abs_diff(self.mean);
        self.deviation = (self.deviation * 3 + off) / 4;
        self.mean = (self.mean * 7 + took) / 8;
    }

    fn get(&self) -> Duration {
        (self.mean + self.deviation * 2).clamp(Lead::LEAST, Lead::MOST)
    }
}

/// By how much a target is held longer than the job that it refused.
const MARGIN: Duration = Duration::from_millis(2);

impl Broker {
    /// Starts and lets go whatever can be, and notes why no more.
    pub(super) fn pump(&mut self, id: TargetId, now: Now) {
        self.give_up_late(id, now);
        let mut wake = self.release(id, now);
        let blocked = loop {
            match self.startable(id, now) {
                Startable::Job(job, priority) => self.arm(id, job, priority, now),
                Startable::TooLate(job) => self.expire(now, job),
                Startable::Nobody => break None,
                Startable::Blocked(on, until) => {
                    wake = earlier(wake, until);
                    break Some((on, until));
                }
            }
        };
        let Some(target) = self.targets.get_mut(&id) else { return };
        target.note_blocked(blocked, now.mono);
        for priority in Priority::ALL {
            if let Some(wanted) = target.lines.line(priority).window.ask() {
                let load = super::Load::Ready {
                    target: id,
                    priority,
                    after: wanted.after,
                    limit: wanted.limit,
                };
                self.outputs.push_back(Output::Load(load));
            }
        }
        if let Some(old) = std::mem::replace(&mut target.wake, wake) {
            self.wakes.remove(&(old, id));
        }
        if let Some(at) = wake {
            self.wakes.insert((at, id));
        }
    }

    fn startable(&self, id: TargetId, now: Now) -> Startable {
        let Some(target) = self.targets.get(&id) else { return Startable::Nobody };
        let Some(live) = &target.live else {
            return match Priority::ALL.iter().map(|p| target.counts.in_line(*p)).sum() {
                0_u64 => Startable::Nobody,
                _ => Startable::Blocked(BlockedOn::Paused, None),
            };
        };
        let next = target.lines.next(&target.counts, live.policy.max_deferrals.get());
        let Next::Job(priority, job) = next else { return Startable::Nobody };
        let header = self.jobs.in_window(job, |place| *place == Place::Queued);
        if header.deadline.is_some_and(|deadline| deadline <= now.wall) {
            return Startable::TooLate(job);
        }
        if let Some((on, until)) = target.closed(now.mono, self.draining) {
            return Startable::Blocked(on, until);
        }
        if target.in_flight >= live.policy.limit.max_concurrent.get() {
            return Startable::Blocked(BlockedOn::Concurrency, None);
        }
        let max_deferrals = live.policy.max_deferrals.get();
        // Lower ones that are armed already let it go first.
        let ahead = target.armed.iter().filter(|armed| armed.rank(max_deferrals) <= priority);
        let ahead = u32::try_from(ahead.count()).unwrap_or(u32::MAX);
        let token = live.bucket.earliest(now.mono, ahead.saturating_add(1));
        let start = token.before(self.lead.get());
        if start > now.mono {
            // Behind a full bucket the next token comes only once one is taken: when that will be,
            // the commit of those that are armed will tell.
            let until = (!live.bucket.is_full(now.mono)).then_some(start);
            return Startable::Blocked(BlockedOn::Rate, until);
        }
        Startable::Job(job, priority)
    }

    /// Puts a start on record.
    fn arm(&mut self, id: TargetId, job: JobId, priority: Priority, now: Now) {
        let Some((header, place)) = self.jobs.get(job) else { return };
        let before = (header.clone(), *place);
        let mut header = before.0.clone();
        header.attempts += 1;
        header.first_sent_at.get_or_insert(now.wall);
        let attempt = header.attempts;
        let waited = now.wall.since(header.ready_at);
        let Some(target) = self.targets.get_mut(&id) else { return };
        let outputs = &mut self.outputs;
        let passed_over = target.lines.go(priority, |of| {
            outputs.push_back(Output::PassedOver { target: id, of });
        });
        if attempt == 1 {
            outputs.push_back(Output::Waited { target: id, priority, wait: waited });
        }
        let began = now.mono;
        let turn = self.turn;
        target.armed.push(Armed { job, priority, turn, at: began, durable: false, passed_over });
        self.arming.insert((self.turn, id));
        self.flights.insert(job, Flight { attempt, began });
        let to = Place::Running { started: now.wall };
        self.shift(now, before, header, to, Happening::Sent { attempt, passed_over }.into());
    }

    /// Lets go those whose start is on disk, highest first, as tokens allow: a HIGH job that came
    /// after a lower one was armed need not wait for it. Being passed over here counts as it does
    /// in line. Returns when the next one can go.
    fn release(&mut self, id: TargetId, now: Now) -> Option<Mono> {
        let target = self.targets.get_mut(&id)?;
        let live = target.live.as_ref()?;
        let max_deferrals = live.policy.max_deferrals.get();
        loop {
            let index = first_to_leave(&target.armed, max_deferrals)?;
            if !live.bucket.take(now.mono) {
                return Some(live.bucket.earliest(now.mono, 1));
            }
            let Armed { job, priority, .. } = target.armed.remove(index);
            for earlier in &mut target.armed[..index] {
                if earlier.durable && earlier.priority > priority {
                    earlier.passed_over = earlier.passed_over.saturating_add(1);
                }
            }
            let attempt = self.flights.get(&job).map_or(0, |flight| flight.attempt);
            self.outputs.push_back(Output::Send { job, target: id, priority, attempt });
        }
    }

    /// Starts that came to disk with `turn`.
    pub(super) fn durable(&mut self, now: Now, turn: Turn) {
        let mut slowest = None;
        while let Some((armed_in, id)) = self.arming.first().copied()
            && armed_in <= turn
        {
            self.arming.pop_first();
            let Some(target) = self.targets.get_mut(&id) else { continue };
            for armed in &mut target.armed {
                if armed.turn <= turn && !armed.durable {
                    armed.durable = true;
                    slowest = slowest.max(Some(now.mono.since(armed.at)));
                }
            }
            self.dirty.insert(id);
        }
        if let Some(took) = slowest {
            self.lead.learn(took);
        }
        while let Some((armed_in, job)) = self.called_back.first().copied()
            && armed_in <= turn
        {
            self.called_back.pop_first();
            // One that was armed anew meanwhile needs it.
            if !self.flights.contains_key(&job) {
                self.outputs.push_back(Output::Unsend { job });
            }
        }
    }

    /// Calls back what was armed and has not left.
    pub(super) fn disarm(&mut self, id: TargetId, now: Now) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        for armed in std::mem::take(&mut target.armed) {
            self.call_back(armed, now);
        }
    }

    /// As [`Broker::disarm`], one job. Whether it was armed and had not left.
    pub(super) fn recall(&mut self, id: TargetId, job: JobId, now: Now) -> bool {
        let Some(target) = self.targets.get_mut(&id) else { return false };
        let Some(index) = target.armed.iter().position(|armed| armed.job == job) else {
            return false;
        };
        let armed = target.armed.remove(index);
        self.call_back(armed, now);
        true
    }

    /// Ends those that were armed and whose deadline has passed since.
    fn give_up_late(&mut self, id: TargetId, now: Now) {
        let (jobs, Some(target)) = (&self.jobs, self.targets.get_mut(&id)) else { return };
        let is_late = |armed: &mut Armed| {
            let deadline = jobs.get(armed.job).and_then(|(header, _)| header.deadline);
            deadline.is_some_and(|deadline| deadline <= now.wall)
        };
        let late: Vec<Armed> = target.armed.extract_if(.., is_late).collect();
        for armed in late {
            self.call_back(armed, now);
            self.expire(now, armed.job);
        }
    }

    fn call_back(&mut self, armed: Armed, now: Now) {
        let Armed { job, priority, turn, durable, passed_over, .. } = armed;
        let Some((header, place)) = self.jobs.get(job) else { return };
        let before = (header.clone(), *place);
        let mut header = before.0.clone();
        let attempt = header.attempts;
        header.attempts -= 1;
        if header.spent == 0 && header.refusals == 0 {
            header.first_sent_at = None;
        }
        if let Some(target) = self.targets.get_mut(&header.target) {
            target.lines.line(priority).come_back(passed_over);
        }
        if durable {
            self.outputs.push_back(Output::Unsend { job });
        } else {
            // Its request comes with the commit that is under way.
            self.called_back.insert((turn, job));
        }
        self.shift(now, before, header, Place::Queued, Happening::NotSent { attempt }.into());
    }

    /// A job that was under way when the last life ended.
    pub(super) fn resume(&mut self, header: Header, started: Wall, now: Now) {
        let place = Place::Running { started };
        if let Some(target) = self.targets.get_mut(&header.target) {
            target.in_flight += 1;
        }
        self.jobs.put(header.clone(), place);
        let report = Report {
            outcome: Outcome::Unknown,
            answer: None,
            retry_after: None,
            reason: Some("the broker stopped while this attempt was under way".into()),
            took: now.wall.since(started),
        };
        self.end_attempt(now, (header, place), now.mono, report);
    }

    /// It was let go, and found before its request left that no workflow waits for it any more.
    pub(super) fn not_sent(&mut self, now: Now, job: JobId, attempt: u32, reason: String) {
        if self.flights.get(&job).is_none_or(|flight| flight.attempt != attempt) {
            return;
        }
        let Some((header, place)) = self.jobs.get(job) else { return };
        let before = (header.clone(), *place);
        let mut header = Header { owed: Owed::Nothing, ..before.0.clone() };
        header.attempts -= 1;
        self.lookups.cancelled(job);
        let events = vec![
            Happening::NotSent { attempt },
            Happening::TokenLate { reason: reason.clone() },
            Happening::Cancelled { reason: Some(reason) },
        ];
        let to = Place::Ended { end: End::Cancelled, at: now.wall };
        self.shift(now, before, header, to, Story { events, answer: None });
    }

    pub(super) fn attempted(&mut self, now: Now, job: JobId, attempt: u32, report: Report) {
        let Some(flight) = self.flights.get(&job).copied() else { return };
        if flight.attempt != attempt {
            return;
        }
        let Some((header, place)) = self.jobs.get(job) else { return };
        let before = (header.clone(), *place);
        self.end_attempt(now, before, flight.began, report);
    }

    fn end_attempt(&mut self, now: Now, from: (Header, Place), began: Mono, report: Report) {
        let mut header = from.0.clone();
        let attempt = header.attempts;
        let status = report.answer.as_ref().map(|answer| answer.status);
        // A target that left the configuration keeps its jobs; they wait as long as it is away.
        let retry = self.targets.get(&header.target).and_then(|t| t.live.as_ref());
        let retry = retry.map_or(retry::WHILE_AWAY, |live| live.policy.retry);
        let verdict = retry::verdict(&report, &header, &retry, now.wall);
        let held = self.hold_target(now, &header, began, &report, &retry);
        let reason = report.reason;
        let mut story = Story { events: Vec::new(), answer: report.answer.map(Arc::new) };
        match report.outcome {
            Outcome::Done => {
                story.events.push(Happening::Done { attempt, status: status.unwrap_or(0) });
            }
            Outcome::Rejected => {
                story.events.push(Happening::Rejected { attempt, status: status.unwrap_or(0) });
            }
            Outcome::Refused => {
                header.refusals += 1;
                let until = now.wall + held;
                story.events.push(Happening::Refused { attempt, status, reason, until });
            }
            Outcome::Unknown => {
                header.spent += 1;
                story.events.push(Happening::Unknown { attempt, status, reason });
            }
        }
        let to = match verdict {
            Verdict::Succeed => Place::Ended { end: End::Succeeded, at: now.wall },
            Verdict::Fail(failure) => {
                if failure == Failure::RetriesExhausted {
                    let code = End::Failed(failure).code().unwrap_or_default();
                    story.events.push(Happening::Failed { code });
                }
                Place::Ended { end: End::Failed(failure), at: now.wall }
            }
            Verdict::Wait(_) if header.deadline.is_some_and(|at| at <= now.wall) => {
                story.events.push(Happening::Expired);
                Place::Ended { end: End::Expired, at: now.wall }
            }
            Verdict::Wait(delay) => {
                let due = now.wall + delay.max(held);
                story.events.push(Happening::Waiting { until: due });
                Place::Waiting { due }
            }
        };
        self.shift(now, from, header, to, story);
    }

    /// A refusal holds the whole target back; says for how long. Anything else shows that the
    /// target answers, or that it is not this that ails it.
    fn hold_target(
        &mut self,
        now: Now,
        header: &Header,
        began: Mono,
        report: &Report,
        retry: &super::policy::Retry,
    ) -> Duration {
        let id = header.target;
        let Some(target) = self.targets.get_mut(&id) else { return Duration::ZERO };
        if report.outcome != Outcome::Refused {
            target.answered(began);
            return Duration::ZERO;
        }
        let streak = target.refused_in_a_row(began);
        let held = retry::hold(retry, streak, report.retry_after);
        // Its job is due with the millisecond after; it must be back in line before others go.
        let until = now.mono + held + MARGIN;
        // A longer hold from before stays.
        let until = target.hold(now.mono, until, streak);
        let until = now.wall + until.since(now.mono).saturating_sub(MARGIN);
        self.change(Change::Held { target: id, until });
        self.disarm(id, now);
        held
    }
}

/// Of those whose start is on disk the highest, unless a lower one was passed over so often that it
/// is its turn; of several such the lowest, as in line.
fn first_to_leave(armed: &[Armed], max_deferrals: u32) -> Option<usize> {
    let ready = || armed.iter().enumerate().filter(|(_, armed)| armed.durable);
    let (highest, first) = ready().min_by_key(|(index, armed)| (armed.priority, *index))?;
    let turn = ready()
        .filter(|(_, armed)| armed.priority > first.priority && armed.passed_over >= max_deferrals)
        .max_by_key(|(index, armed)| (armed.priority, std::cmp::Reverse(*index)));
    Some(turn.map_or(highest, |(index, _)| index))
}

enum Startable {
    Nobody,
    Job(JobId, Priority),
    TooLate(JobId),
    Blocked(BlockedOn, Option<Mono>),
}

fn earlier(one: Option<Mono>, other: Option<Mono>) -> Option<Mono> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
