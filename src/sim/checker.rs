//! Watches all that goes into the core and comes out of it, and says which promise is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::acks::Acks;
use super::book::Book;
use super::breakers::Breakers;
use super::calendar::{Parcel, What};
use super::clocks::Moment;
use super::doubts::Doubts;
use super::fairness::Fairness;
use super::groups::Turns;
use super::history;
use super::holds::Holds;
use super::limits::Limits;
use super::order::Order;
use super::tokens::Tokens;
use super::violation::{Checked, Violation, ensure};
use super::works;
use crate::broker::calendar::Rule;
use crate::broker::change::{Change, Load, Loaded, Move, Turn};
use crate::broker::course::Aim;
use crate::broker::io::{Input, Output, Reply, ReplyTo, Sending};
use crate::broker::job::{End, Failure, Happening, Header, JobId, Place, Priority, TargetId};
use crate::broker::payload::{Follow, Outcome, Report};
use crate::broker::policy::{Bounds, LimitName, Policy};
use crate::broker::time::{Now, Wall};
use crate::store::model::Model;

/// The most by which a job is chosen before its token is there, and what the bucket forgives.
const LEAD: Duration = Duration::from_millis(52);

/// Why the core says what it says just now.
#[derive(Clone, Debug)]
enum Cause {
    Start,
    Report { job: JobId, number: u32, report: Box<Report> },
    Other,
}

#[derive(Debug)]
pub(super) struct Checker {
    pub(super) book: Book,
    pub(super) limits: Limits,
    pub(super) order: Order,
    pub(super) acks: Acks,
    pub(super) holds: Holds,
    pub(super) doubts: Doubts,
    turns: Turns,
    breakers: Breakers,
    pub(super) tokens: Tokens,
    fairness: Fairness,
    cause: Cause,
    /// The one that is being gathered.
    turn: Turn,
    /// Every attempt that ever left.
    sent: BTreeSet<(JobId, u32)>,
    not_before: BTreeMap<JobId, Wall>,
    /// What the wall clock said when the core was told anything last.
    pub(super) seen: Wall,
    /// The latest that the wall clock ever said.
    latest: Wall,
    pub(super) draining: bool,
    retention: Duration,
    /// As it was when the store was last asked what it lets go.
    asked_retention: Duration,
    /// How often in a row retention asked for what is over, and got nothing.
    in_vain: u32,
}

impl Checker {
    pub(super) fn new() -> Checker {
        Checker {
            book: Book::default(),
            limits: Limits::default(),
            order: Order::default(),
            acks: Acks::default(),
            holds: Holds::default(),
            doubts: Doubts::default(),
            turns: Turns::default(),
            breakers: Breakers::default(),
            seen: Wall::EPOCH,
            tokens: Tokens::default(),
            fairness: Fairness::default(),
            cause: Cause::Start,
            turn: Turn(1),
            sent: BTreeSet::new(),
            not_before: BTreeMap::new(),
            latest: Wall::EPOCH,
            draining: false,
            retention: Duration::ZERO,
            asked_retention: Duration::ZERO,
            in_vain: 0,
        }
    }

    /// The process starts with what is on disk.
    pub(super) fn start(
        &mut self,
        at: Moment,
        now: Now,
        model: &Model,
        policies: &BTreeMap<TargetId, Policy>,
        shared: &BTreeMap<LimitName, Bounds>,
        retention: Duration,
    ) -> Checked {
        self.book = Book::of(model);
        self.doubts.restart(model);
        self.fairness = Fairness::of(model);
        self.order.restart();
        self.acks.restart();
        self.tokens.restart();
        self.turn = Turn(1);
        self.draining = false;
        self.retention = retention;
        self.cause = Cause::Start;
        (self.latest, self.seen) = (self.latest.max(now.wall), now.wall);
        self.breakers.restart();
        self.breakers.configure(now.mono, policies);
        let held: Vec<(TargetId, Duration)> = model
            .recover()
            .targets
            .into_iter()
            .map(|target| (target.id, target.held_until.unwrap_or(Wall::EPOCH).since(now.wall)))
            .collect();
        self.holds.restart(at, &held);
        for (id, policy) in policies {
            self.holds.configured(at, *id, policy.retry.max_backoff);
        }
        self.limits.configure(at, policies, shared);
        let running = model.recover().running;
        let running: Vec<TargetId> = running.iter().map(|(header, _)| header.target).collect();
        self.limits.restart(at, &running);
        self.acks.nothing_is_lost(model)
    }

    pub(super) fn input(&mut self, at: Moment, now: Now, input: &Input) -> Checked {
        (self.latest, self.seen) = (self.latest.max(now.wall), now.wall);
        self.cause = Cause::Other;
        self.acks.input(input, &self.book);
        self.fairness.input(input);
        self.tokens.input(input, &self.book, &self.order)?;
        match input {
            Input::Submit { jobs, .. } => self.doubts.submitted(jobs),
            Input::Attempted { job, number, report } => {
                self.report(at, now, *job, *number, report);
            }
            Input::Loaded(loaded) => {
                if let Loaded::Finished { rows, next } = loaded {
                    let over = next.is_some_and(|next| next + self.retention <= now.wall);
                    self.in_vain = if over && rows.is_empty() { self.in_vain + 1 } else { 0 };
                    ensure!(self.in_vain < 3, "asked for what is to be forgotten again and again");
                }
                self.order.answered(loaded);
            }
            Input::Configure { targets, limits } => {
                let policies: BTreeMap<TargetId, Policy> =
                    targets.iter().map(|(id, _, policy)| (*id, policy.clone())).collect();
                for (id, policy) in &policies {
                    self.holds.configured(at, *id, policy.retry.max_backoff);
                }
                self.breakers.configure(now.mono, &policies);
                self.limits.configure(at, &policies, &limits.iter().cloned().collect());
            }
            Input::Left { job, number, .. } => {
                if let Some(target) = self.book.get(*job).map(|entry| entry.header.target) {
                    self.limits.left(at, *job, *number, target);
                }
            }
            Input::NotSent { job, .. } if self.tokens.is_called_off(*job) => {
                if let Some(entry) = self.book.get(*job) {
                    self.breakers.unsent(entry.header.target, *job);
                    self.limits.disarmed(entry.header.target, *job);
                }
            }
            Input::Retention { keep } => self.retention = *keep,
            Input::Drain => self.draining = true,
            Input::Committed { turn } => {
                self.order.committed(*turn);
                self.holds.committed(*turn);
            }
            _ => {}
        }
        Ok(())
    }

    fn report(&mut self, at: Moment, now: Now, job: JobId, number: u32, report: &Report) {
        let Some(entry) = self.book.get(job) else { return };
        let target = entry.header.target;
        let current =
            matches!(entry.place, Place::Running { .. }) && entry.header.number() == number;
        if !current || self.order.has(target, job) {
            return;
        }
        self.cause = Cause::Report { job, number, report: Box::new(report.clone()) };
        let rules = self.rules(target);
        self.doubts.told(now, &entry.header, report, &rules);
        self.breakers.ended(now.mono, target, job, report);
        self.limits.ended(at, target, job, report.close);
        if report.outcome == Outcome::Refused {
            let probes = self.limits.may_probe(target);
            self.holds.refused(at, self.turn, target, report, &rules.retry, probes);
        }
    }

    pub(super) fn cut(&mut self, turn: Turn) -> Checked {
        ensure!(turn == self.turn, "{turn:?} is cut, and {:?} was gathered", self.turn);
        self.turn = Turn(turn.0 + 1);
        Ok(())
    }

    pub(super) fn output(
        &mut self,
        at: Moment,
        now: Now,
        output: &Output,
        model: &Model,
    ) -> Checked {
        match output {
            Output::Change(change) => {
                self.change(at, now, change)?;
                // What is not configured is treated as it last was.
                let policy = change.target().and_then(|target| self.limits.policy(target));
                let on_failure = policy.map(|policy| policy.on_group_failure);
                self.turns.change(change, &self.book, on_failure)?;
                self.fairness.change(change, &self.book, policy)?;
                self.acks.change(change, &self.book);
                self.tokens.change(change)?;
                self.book.apply(change)
            }
            Output::Reply { to, reply } => {
                let policy = |id| self.limits.policy(id).cloned();
                self.acks.decided(*to, reply, now.wall, &self.book, policy)
            }
            Output::Load(load) => {
                self.order.asked(load);
                if matches!(load, Load::Finished { .. }) {
                    self.asked_retention = self.retention;
                }
                Ok(())
            }
            Output::Send(Sending { job, target, priority, number, aim, .. }) => {
                let said = self.book.get(*job).map(|entry| &entry.header);
                let fits = said
                    .is_some_and(|header| header.target == *target && header.priority == *priority);
                ensure!(fits, "sent as {priority} to {target:?}: {said:?}");
                if let Aim::Poll { path } = aim {
                    ensure!(*path == works::path(*job), "{job} is polled at {path}");
                }
                let (life, target, job, number) = (Default::default(), *target, *job, *number);
                let parcel = Parcel { life, target, job, number, what: What::of(aim), sent: at };
                self.send(at, now, parcel, model)
            }
            Output::PassedOver { target, of } => self.order.reported(*target, *of),
            Output::Drained => {
                ensure!(self.draining, "drained, and nobody asked for it");
                let running = self.limits.targets().find(|id| self.book.running(*id) > 0);
                ensure!(running.is_none(), "drained, and something is under way at {running:?}");
                Ok(())
            }
            Output::Unsend { .. } | Output::Waited { .. } | Output::DeadFill(_) => Ok(()),
        }
    }

    /// All of what the core says at once was said.
    pub(super) fn handled(&mut self) -> Checked {
        if matches!(self.cause, Cause::Start) {
            let running = self.limits.targets().find(|id| self.book.running(*id) > 0);
            ensure!(running.is_none(), "{running:?} has jobs that run since before the start");
        }
        self.order.handled()
    }

    /// `self.book` is as it was before.
    fn change(&mut self, at: Moment, now: Now, change: &Change) -> Checked {
        match change {
            Change::Insert(insert) => {
                if let Place::Scheduled { due } | Place::Behind { due: Some(due) } = insert.place {
                    self.not_before.insert(insert.header.id, due);
                }
                Ok(())
            }
            Change::Move(step) => match (step.from, step.to) {
                (Place::Queued, Place::Running { .. }) => self.arm(at, now, &step.header),
                (Place::Running { .. }, Place::Queued) => {
                    self.breakers.unsent(step.header.target, step.header.id);
                    self.limits.disarmed(step.header.target, step.header.id);
                    self.order.disarm(step.header.target, step.header.id)
                }
                (Place::Running { .. }, Place::Ended { end: End::Cancelled, .. })
                    if self.tokens.is_called_off(step.header.id) =>
                {
                    Ok(())
                }
                (Place::Running { .. }, _) => self.end(now, step),
                (
                    Place::Scheduled { due } | Place::Waiting { due } | Place::Verifying { due },
                    Place::Queued,
                ) => {
                    ensure!(
                        due <= now.wall,
                        "{} is due at {due}, not {}",
                        step.header.id,
                        now.wall
                    );
                    Ok(())
                }
                // Whoever redrives a job wants it now.
                (
                    Place::Ended { .. },
                    Place::Queued | Place::Behind { .. } | Place::Scheduled { .. },
                ) => {
                    self.not_before.remove(&step.header.id);
                    if let Place::Scheduled { due } = step.to {
                        self.not_before.insert(step.header.id, due);
                    }
                    self.doubts.redriven(&step.header)?;
                    let rival = self.book.rival(step.header.id);
                    ensure!(
                        rival.is_none(),
                        "{} is redriven, and {rival:?} has its name",
                        step.header.id
                    );
                    let deadline = step.header.deadline;
                    let in_time = deadline.is_none_or(|deadline| deadline > now.wall);
                    ensure!(in_time, "{} is redriven after its deadline", step.header.id);
                    Ok(())
                }
                // Its token is settled, or it holds its group from now on.
                (Place::Ended { .. }, Place::Ended { .. }) => Ok(()),
                (_, Place::Ended { end: End::Cancelled, .. }) => {
                    let tried = step.header.spent > 0 || step.header.course.doubt;
                    let id = step.header.id;
                    let asked = self.acks.wants_it_cancelled(id) || self.tokens.is_gone(id);
                    ensure!(asked || !tried, "{:?} is cancelled, and was tried", step.header);
                    Ok(())
                }
                // It was never to be sent.
                (Place::Queued, Place::Ended { end: End::Failed(Failure::BadMessage), .. })
                    if self.fairness.is_unfit(step.header.id) =>
                {
                    Ok(())
                }
                (_, Place::Ended { end, .. }) => {
                    self.doubts.ends(step.header.id, end)?;
                    let asking = self.book.get(step.header.id);
                    let asking = asking.is_some_and(|entry| entry.header.course.is_asking());
                    ensure!(!asking, "{} is being asked for, and ends", step.header.id);
                    let hopeless = step.events.iter().any(|event| match event.what {
                        Happening::Hopeless { estimated_start } => {
                            step.header.deadline.is_some_and(|deadline| deadline <= estimated_start)
                        }
                        _ => false,
                    });
                    if hopeless {
                        return Ok(());
                    }
                    let over = step.header.deadline.is_some_and(|deadline| deadline <= now.wall);
                    ensure!(over, "{:?} expires at {}", step.header, now.wall);
                    Ok(())
                }
                _ => Ok(()),
            },
            Change::Rewrite { id, .. } => {
                self.doubts.rewritten(*id);
                Ok(())
            }
            Change::Delete { id, place: Place::Ended { end, at }, .. } => {
                let keep = self.retention.min(self.asked_retention);
                let old = *at + keep <= self.latest;
                ensure!(end.is_dead() || old, "{id} is forgotten too early: it ended at {at}");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn arm(&mut self, at: Moment, now: Now, header: &Header) -> Checked {
        let (id, target) = (header.id, header.target);
        let Some(policy) = self.limits.policy(target) else {
            ensure!(false, "{id} is started, and {target:?} is not configured");
            return Ok(());
        };
        ensure!(!self.book.is_paused(target), "{id} is started, and {target:?} is paused");
        ensure!(!self.draining, "{id} is started while draining");
        let in_time = header.deadline.is_none_or(|deadline| deadline > now.wall);
        ensure!(in_time || header.course.is_asking(), "{id} is started after its deadline");
        self.doubts.arm(header, policy.outcomes.delivery)?;
        let room = policy.limit.max_concurrent.get();
        let busy = self.book.running(target);
        ensure!(busy < room, "{id} is started, and {busy} of {room} are under way");
        let max_deferrals = policy.max_deferrals.get();
        let reserves = self.limits.keep_some_for_high(target);
        self.order.arm(&self.book, header, self.turn, max_deferrals, room, reserves)?;
        // Choose late: HIGH waits for whatever was chosen before it came.
        let early = (LEAD.as_nanos() / policy.limit.rate.interval().as_nanos()) as usize;
        // And while those before them have not left this process.
        let most = policy.limit.burst.get() as usize + early + 4;
        let armed = self.order.are_ahead(target, header.priority, policy.max_deferrals.get());
        let foreseen = armed <= most || self.limits.tempo;
        ensure!(foreseen, "{armed} are chosen in advance at {target:?}, not {most}");
        self.breakers.arm(now.mono, target, id)?;
        if header.priority != Priority::High {
            self.limits.leaves_what_is_kept(at, target)?;
        }
        self.limits.armed(target, id);
        Ok(())
    }

    fn end(&self, now: Now, step: &Move) -> Checked {
        let (id, header) = (step.header.id, &step.header);
        let Some(before) = self.book.get(id).map(|entry| &entry.header) else { return Ok(()) };
        let mut told = None;
        let (outcome, status) = match &self.cause {
            Cause::Start => (Outcome::Unknown, None),
            Cause::Report { job, number, report } if *job == id && *number == header.number() => {
                told = Some(&**report);
                (report.outcome, report.answer.as_ref().map(|answer| answer.status))
            }
            cause => {
                ensure!(false, "{id} ends its attempt because of {cause:?}");
                return Ok(());
            }
        };
        if let Place::Ended { end, .. } = step.to {
            self.doubts.ends(id, end)?;
        }
        if before.course.is_asking() {
            let rules = self.rules(header.target);
            return self.doubts.answered(now, before, step, told, &rules);
        }
        let follow = told.map_or(&Follow::Nothing, |report| &report.follow);
        if outcome == Outcome::Unknown {
            self.doubts.after_unknown(step)?;
        }
        let taken_on = *follow != Follow::Nothing;
        let spent = u32::from(outcome == Outcome::Unknown || taken_on);
        let refused = u32::from(outcome == Outcome::Refused);
        ensure!(
            header.spent == before.spent + spent && header.refusals == before.refusals + refused,
            "{outcome:?} made {header:?} of {before:?}"
        );
        let Place::Ended { end, .. } = step.to else {
            ensure!(
                matches!(outcome, Outcome::Unknown | Outcome::Refused) || taken_on,
                "{outcome:?} leads to {:?}",
                step.to
            );
            if taken_on {
                let asked = matches!(step.to, Place::Verifying { .. });
                ensure!(asked, "{follow:?} leads to {:?}", step.to);
                return Ok(());
            }
            return self.waits(now, step, outcome);
        };
        let fits = match end {
            End::Succeeded => outcome == Outcome::Done && !taken_on,
            End::Failed(Failure::Rejected { status: kept }) => {
                outcome == Outcome::Rejected && status == Some(kept)
            }
            End::Failed(Failure::RetriesExhausted) => self.is_exhausted(now, header, outcome),
            End::Expired => header.deadline.is_some_and(|deadline| deadline <= now.wall),
            // That it may have done its work is looked at with every end.
            End::Failed(Failure::OutcomeUnknown) => true,
            End::Failed(Failure::BadMessage) | End::Cancelled => false,
        };
        ensure!(fits, "{outcome:?} ended {header:?} as {end:?}");
        Ok(())
    }

    fn send(&mut self, at: Moment, now: Now, parcel: Parcel, model: &Model) -> Checked {
        let Parcel { target, job: id, number, what, .. } = parcel;
        let stored = model.job(id).map(|job| &job.record);
        let durable = stored.is_some_and(|record| {
            matches!(record.place, Place::Running { .. }) && record.header.number() == number
        });
        ensure!(durable, "request {number} of {id} leaves, and on disk it is {stored:?}");
        ensure!(self.sent.insert((id, number)), "request {number} of {id} leaves twice");
        let Some(entry) = self.book.get(id) else { return Ok(()) };
        ensure!(
            matches!(entry.place, Place::Running { .. }) && entry.header.number() == number,
            "request {number} of {id} leaves, and it is {entry:?}"
        );
        ensure!(!self.acks.is_cancelled(id), "{id} leaves, and was cancelled");
        self.turns.send(&entry.header, &self.book)?;
        self.tokens.send(id)?;
        let deadline = entry.header.deadline.unwrap_or(Wall::NEVER);
        let in_time = now.wall < deadline || what != What::Work;
        ensure!(in_time, "{id} leaves at {}, after its deadline {deadline}", now.wall);
        let not_before = self.not_before.get(&id).copied().unwrap_or(Wall::EPOCH);
        ensure!(not_before <= self.latest, "{id} leaves before {not_before}");
        ensure!(!self.book.is_paused(target), "{id} leaves, and {target:?} is paused");
        ensure!(!self.draining, "{id} leaves while draining");
        let Some(policy) = self.limits.policy(target) else {
            ensure!(false, "{id} leaves, and {target:?} is not configured");
            return Ok(());
        };
        let allowed = entry.header.max_attempts;
        ensure!(
            allowed.is_none_or(|allowed| entry.header.spent < allowed.max(1)) || what != What::Work,
            "{id} has spent all its attempts: {:?}",
            entry.header
        );
        let room = policy.limit.max_concurrent.get();
        let armed_with = self.order.send(target, id, policy.max_deferrals.get())?;
        self.holds.send(at, target, self.limits.may_probe(target))?;
        let schedule = &policy.tempo.schedule;
        let closed = schedule.at(super::limits::wall(at)).rule == Rule::Closed;
        ensure!(!(closed && self.limits.steady), "{id} leaves, and {target:?} is closed");
        self.limits.send(at, target, id, number, room.max(armed_with))
    }

    /// An answer goes out.
    pub(super) fn told(&mut self, to: ReplyTo, reply: &Reply, model: &Model) -> Checked {
        self.acks.told(to, reply, model)
    }

    /// Everything is on disk: what is there is what was said, and each history explains its job.
    /// Returns how many jobs there are.
    pub(super) fn audit(&self, model: &Model) -> Result<u64, Violation> {
        let mut count = 0;
        for (id, job) in model.jobs() {
            count += 1;
            let said = self.book.get(id).map(|entry| (&entry.header, &entry.place));
            let stored = (&job.record.header, &job.record.place);
            ensure!(said == Some(stored), "{id} is said to be {said:?}, and stored as {stored:?}");
            history::explains(&job.record)?;
        }
        let said = self.book.jobs().count() as u64;
        ensure!(said == count, "{said} jobs, and {count} on disk");
        self.acks.nothing_is_lost(model)?;
        self.tokens.audit(model)?;
        Ok(count)
    }
}
