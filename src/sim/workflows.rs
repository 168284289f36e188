//! Workflows that wait for jobs: a simulated Step Functions, and the part of the shell that speaks
//! to it (`step_functions/`), as small as it can be and still get things wrong.
//!
//! Each job with a token is one task. The shell finds what it owes on the disk, as the real one
//! does, so a crash costs it nothing but what it knew of calls under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::calendar::{Calendar, Event, Life, Parcel};
use super::clocks::Moment;
use super::planted::Planted;
use super::rng::Rng;
use super::shape::Shape;
use super::violation::Checked;
use super::world::World;
use crate::broker::io::{Input, Settlement};
use crate::broker::job::{Header, JobId, Owed};
use crate::broker::payload::{Request, TaskToken};
use crate::step_functions::exits::Exits;

const MS: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// The shell looks for what there is to be said.
    Look(Life),
    /// A call is at Step Functions.
    Arrives(Call),
    /// The shell hears what it said.
    Told(Call, Says),
    /// A request that was asked after wants to leave.
    Leave(Parcel),
    /// Step Functions behaves in another way.
    Weather,
    /// Somebody stops executions.
    StopExecution,
}

impl Act {
    pub(super) fn is_for_process(&self) -> bool {
        matches!(self, Act::Look(_) | Act::Told(..) | Act::Leave(_))
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    life: Life,
    job: JobId,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Answer,
    Heartbeat,
    /// Before dispatch.
    Check(Parcel),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Accepted,
    /// The task is closed.
    Gone,
    /// Throttled, unreachable, or the answer was lost.
    Later,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Fine,
    Throttling,
    Outage,
}

#[derive(Debug)]
pub(super) struct Workflows {
    on: bool,
    /// `check_before_dispatch`.
    checks: bool,
    rng: Rng,
    calm: bool,
    weather: Weather,
    /// How often it changes, and executions are stopped.
    mean: Duration,
    /// Tasks that take no answer any more.
    closed: BTreeSet<JobId>,
    /// What the process knows.
    memory: Memory,
}

#[derive(Debug, Default)]
struct Memory {
    /// Answers under way, and those that are not on disk yet.
    answering: BTreeSet<JobId>,
    settling: BTreeSet<JobId>,
    looks: bool,
    exits: Exits,
    /// Jobs that came with a token, and keep it: for a fault.
    ever: BTreeSet<JobId>,
}

impl Workflows {
    /// Of its own chance, so that the rest of a world is as it is without.
    pub(super) fn new(rng: &Rng, shape: &Shape) -> Workflows {
        let mut rng = rng.clone();
        let on = shape.calls.is_some() && shape.backlog < 1_000 && rng.one_in(2);
        Workflows {
            on,
            checks: rng.one_in(2),
            mean: shape.horizon / u32::try_from(rng.between(2, 12)).unwrap_or(1),
            rng,
            calm: false,
            weather: Weather::Fine,
            closed: BTreeSet::new(),
            memory: Memory::default(),
        }
    }

    /// Whether requests wait for what Step Functions says of them.
    pub(super) fn checks(&self) -> bool {
        self.on && self.checks
    }

    pub(super) fn begin(&mut self, calendar: &mut Calendar) {
        for act in [Act::Weather, Act::StopExecution] {
            self.again(Moment::START, act, calendar);
        }
    }

    fn again(&mut self, at: Moment, act: Act, calendar: &mut Calendar) {
        if self.on && !self.calm {
            let at = at + self.rng.gap(self.mean);
            calendar.add(at, Event::Workflow(act));
        }
    }

    /// A new process knows nothing.
    pub(super) fn restart(&mut self) {
        self.memory = Memory::default();
    }

    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.weather = Weather::Fine;
    }

    /// Some of these jobs come from workflows.
    pub(super) fn send_in(&mut self, input: &mut Input) {
        let Input::Submit { jobs, .. } = input else { return };
        for job in jobs.iter_mut().filter(|_| self.on) {
            if self.rng.one_in(2) {
                let token = TaskToken::new(format!("token of {}", job.id));
                Arc::<Request>::make_mut(&mut job.request).task_token = token;
            }
            if self.rng.one_in(30) {
                // As a source hands in what it cannot read.
                job.unfit = Some("by the test".into());
                (job.not_before, job.deadline) = (None, None);
            }
        }
    }

    /// What Step Functions does with a call. Perhaps it does it and its answer is lost.
    fn take(&mut self, call: &Call) -> (Says, bool) {
        let lost = match self.weather {
            Weather::Fine => false,
            Weather::Throttling if self.rng.one_in(2) => return (Says::Later, false),
            Weather::Throttling => false,
            Weather::Outage if self.rng.one_in(4) => true,
            Weather::Outage => return (Says::Later, false),
        };
        let open = !self.closed.contains(&call.job);
        let answered = open && matches!(call.what, What::Answer);
        if answered {
            self.closed.insert(call.job);
        }
        match (lost, open) {
            (true, _) => (Says::Later, answered),
            (false, true) => (Says::Accepted, answered),
            (false, false) => (Says::Gone, answered),
        }
    }
}

impl World {
    pub(super) fn run_act(&mut self, act: Act) -> Checked {
        self.trace.note(self.at, || format!("workflows: {act:?}"));
        match act {
            Act::Look(life) if life == self.life => self.look(),
            Act::Arrives(call) => {
                let (says, answered) = self.workflows.take(&call);
                if answered {
                    self.checker.tokens.answered(call.job);
                }
                let rng = &mut self.workflows.rng;
                let takes = match says {
                    Says::Later => rng.span(MS, 2_000 * MS),
                    Says::Accepted | Says::Gone => rng.span(MS / 5, 50 * MS),
                };
                self.calendar.add(self.at + takes, Event::Workflow(Act::Told(call, says)));
                Ok(())
            }
            Act::Told(call, says) if call.life == self.life => self.hear(call, says),
            Act::Leave(parcel) if parcel.life == self.life => {
                self.pass_exit(parcel);
                Ok(())
            }
            Act::Look(_) | Act::Told(..) | Act::Leave(_) => Ok(()),
            Act::Weather | Act::StopExecution if self.workflows.calm => Ok(()),
            Act::Weather => {
                let all = [Weather::Fine, Weather::Throttling, Weather::Outage];
                self.workflows.weather = self.workflows.rng.pick(&all);
                let weather = self.workflows.weather;
                self.trace.note(self.at, || format!("Step Functions: {weather:?}"));
                self.workflows.again(self.at, Act::Weather, &mut self.calendar);
                Ok(())
            }
            Act::StopExecution => {
                let owed: Vec<JobId> = self.owed().map(|(id, _)| id).collect();
                let one_in = self.workflows.rng.pick(&[2, 20]);
                for id in owed {
                    if self.workflows.rng.one_in(one_in) && self.workflows.closed.insert(id) {
                        self.checker.tokens.stopped(id);
                    }
                }
                self.workflows.again(self.at, Act::StopExecution, &mut self.calendar);
                Ok(())
            }
        }
    }

    /// A start is being written: now and then its execution is stopped meanwhile, and a heartbeat
    /// under way hears of it.
    pub(super) fn stop_at_the_last_moment(&mut self, header: &Header) {
        let job = header.id;
        let Workflows { on, calm, rng, closed, .. } = &mut self.workflows;
        let stops = *on && !*calm && header.owed == Owed::TaskToken && rng.one_in(20);
        if stops && closed.insert(job) {
            self.checker.tokens.stopped(job);
            let call = Call { life: self.life, job, what: What::Heartbeat };
            let at = self.at + self.workflows.rng.span(Duration::ZERO, 2 * MS);
            self.calendar.add(at, Event::Workflow(Act::Told(call, Says::Gone)));
        }
    }

    /// Jobs on disk to whose workflow an answer is owed, and whether they have ended.
    fn owed(&self) -> impl Iterator<Item = (JobId, bool)> {
        let owed = self.disk.model.jobs().map(|(id, job)| (id, &job.record));
        owed.filter(|(_, record)| record.header.owed == Owed::TaskToken)
            .map(|(id, record)| (id, record.place.is_ended()))
    }

    /// Something came to disk, or the process starts.
    pub(super) fn look_soon(&mut self) {
        let to_do = self.workflows.on && self.shell.is_some() && !self.workflows.memory.looks;
        if to_do && self.something_to_say() {
            self.workflows.memory.looks = true;
            let after = self.workflows.rng.span(MS, 1_000 * MS);
            self.calendar.add(self.at + after, Event::Workflow(Act::Look(self.life)));
        }
    }

    fn something_to_say(&self) -> bool {
        let Workflows { memory, calm, .. } = &self.workflows;
        let busy = |id| memory.answering.contains(&id) || memory.settling.contains(&id);
        self.owed().any(|(id, ended)| if ended { !busy(id) } else { !calm })
    }

    fn look(&mut self) -> Checked {
        self.workflows.memory.looks = false;
        let owed: BTreeMap<JobId, bool> = self.owed().collect();
        let Workflows { memory, calm, rng, .. } = &mut self.workflows;
        memory.settling.retain(|id| owed.contains_key(id));
        let mut calls = Vec::new();
        for (id, ended) in owed {
            if ended {
                if !memory.settling.contains(&id) && memory.answering.insert(id) {
                    calls.push((id, What::Answer));
                }
            } else if !*calm && rng.one_in(3) {
                calls.push((id, What::Heartbeat));
            }
        }
        for (job, what) in calls {
            self.ask(job, what)?;
        }
        self.look_soon();
        Ok(())
    }

    fn ask(&mut self, job: JobId, what: What) -> Checked {
        let call = Call { life: self.life, job, what };
        let travels = self.workflows.rng.span(MS / 10, 20 * MS);
        self.calendar.add(self.at + travels, Event::Workflow(Act::Arrives(call)));
        if self.planted == Some(Planted::EarlySettlement) && matches!(what, What::Answer) {
            return self.feed(Input::Settled { job, how: Settlement::Answered });
        }
        Ok(())
    }

    fn hear(&mut self, call: Call, says: Says) -> Checked {
        let Call { job, what, .. } = call;
        let reason = || "its task is over".to_owned();
        match (what, says) {
            (What::Answer, says) => {
                self.workflows.memory.answering.remove(&job);
                let how = match says {
                    Says::Accepted => Settlement::Answered,
                    Says::Gone => Settlement::Late { reason: reason() },
                    Says::Later => {
                        self.census.count("an answer tried again");
                        self.look_soon();
                        return Ok(());
                    }
                };
                self.workflows.memory.settling.insert(job);
                if self.planted == Some(Planted::LostSettlements) {
                    return Ok(());
                }
                // What is told twice is to be heard once.
                if self.workflows.rng.one_in(20) {
                    self.feed(Input::Settled { job, how: how.clone() })?;
                }
                self.feed(Input::Settled { job, how })
            }
            (What::Heartbeat, Says::Gone) => {
                let gone = Input::TaskGone { job, reason: reason() };
                if self.planted == Some(Planted::DeafToGone) {
                    let now = self.clocks.now(self.at);
                    return self.checker.input(self.at, now, &gone);
                }
                let target = self.checker.book.get(job).map(|entry| entry.header.target);
                if target.is_some_and(|target| self.checker.order.has(target, job)) {
                    self.census.count("a task gone at the last moment");
                }
                self.feed(gone)
            }
            (What::Heartbeat, Says::Accepted | Says::Later) => Ok(()),
            (What::Check(Parcel { number, .. }), Says::Gone) => {
                self.census.count("a call is called off");
                self.feed(Input::NotSent { job, number, reason: reason() })
            }
            (What::Check(parcel), Says::Accepted | Says::Later) => {
                self.pass_exit(parcel);
                Ok(())
            }
        }
    }

    /// The core let a job go: its workflow is asked first, as the driver does it.
    pub(super) fn set_off(&mut self, parcel: Parcel, request: &Request) -> Checked {
        if !self.workflows.checks() {
            self.depart(parcel);
            return Ok(());
        }
        let mut has_token = request.task_token.is_some();
        if self.planted == Some(Planted::OldTokens) {
            // In this life.
            if has_token {
                self.workflows.memory.ever.insert(parcel.job);
            }
            has_token = self.workflows.memory.ever.contains(&parcel.job);
        }
        // Whether somebody waits does not change what the work did.
        if has_token && parcel.what == super::calendar::What::Work {
            // What Step Functions takes to answer is not for the next request to wait for.
            self.says_left(parcel)?;
            self.ask(parcel.job, What::Check(parcel))
        } else {
            self.pass_exit(parcel);
            Ok(())
        }
    }

    fn pass_exit(&mut self, parcel: Parcel) {
        let pace = self.config.get(&parcel.target).map(|policy| policy.limit.pace());
        let now = self.clocks.now(self.at).mono;
        let later =
            pace.and_then(|pace| self.workflows.memory.exits.leave(parcel.target, pace, now));
        match later.filter(|_| self.planted != Some(Planted::NoExit)) {
            None => self.depart(parcel),
            Some(later) => {
                self.census.count("a request waits at the exit");
                let at = self.clocks.moment(later);
                self.calendar.add(at, Event::Workflow(Act::Leave(parcel)));
            }
        }
    }

    /// Every token of a job that ended is settled.
    pub(super) fn owes_nobody(&self) -> bool {
        self.owed().all(|(_, ended)| !ended)
    }
}
