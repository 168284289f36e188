//! The broker's process in the world: it starts, runs, is told things, and dies.

use std::time::Duration;

use super::calendar::{Event, Parcel, What};
use super::disk::Done;
use super::planted::Planted;
use super::shell::Shell;
use super::violation::{Checked, Violation, ensure};
use super::words;
use super::world::World;
use crate::broker::Broker;
use crate::broker::change::{Change, Loaded};
use crate::broker::io::{BlockedOn, Input, Output, Sending, Start};
use crate::broker::job::{Header, Owed, Place, Priority, TargetId};
use crate::broker::time::{Lived, Mono};
use crate::store::life::{Past, Run};

/// Ticks in a second that may do nothing.
const IDLE_TICKS: u64 = 100;

fn sending(header: &Header) -> Sending {
    Sending {
        job: header.id,
        target: header.target,
        priority: header.priority,
        number: header.number(),
        attempt: header.attempts,
        aim: header.aim(),
        since: header.ready_at,
    }
}

impl World {
    pub(super) fn start(&mut self) -> Checked {
        if self.rng.one_in(4) && self.shape.reloads.is_some() {
            self.change_config();
        }
        let uptime = self.rng.pick(&[1, 1 << 40, 1 << 60]);
        let origin = Mono::from_nanos(self.rng.below(uptime));
        self.clocks.restart(self.at, origin);
        if self.planted == Some(Planted::FastClock) {
            self.clocks.gain(50);
        }
        let now = self.clocks.now(self.at);
        self.trace.note(self.at, || format!("the process starts: {:?}", self.config));
        let limits = &mut self.checker.limits;
        limits.even = self.shape.travel <= Duration::from_millis(1);
        limits.shared_even = limits.even;
        if self.workflows.checks() {
            // At the exit the rates of shared limits are not known, nor when a request has left.
            limits.even &= self.shape.stutter <= Duration::from_micros(200);
            limits.shared_even = false;
        }
        self.checker.limits.steady = self.shape.jumps.is_none();
        self.checker.limits.tempo = self.shape.tempo;
        let retention = self.shape.retention;
        let model = &self.disk.model;
        let policies = self.policies();
        self.checker.start(self.at, now, model, &policies, &self.limits, retention)?;
        let mut recovered = self.disk.model.recover();
        if self.planted == Some(Planted::ForgottenWindows) {
            recovered.spent.clear();
        }
        recovered.lived = self.lived();
        let (targets, limits) = self.configured();
        let start = Start {
            recovered,
            targets,
            limits,
            retention: self.shape.retention,
            windows: self.shape.windows,
        };
        self.shell = Some(Shell::new(Broker::new(start, now)));
        self.workflows.restart();
        self.look_soon();
        if self.planted == Some(Planted::FullBuckets) {
            self.clocks.restart(self.at, origin + Duration::from_secs(3_600));
        }
        self.take_outputs()?;
        if self.life.0 == 0 && self.shape.backlog > 0 {
            let to = self.callers.next_ask();
            let backlog = self.shape.backlog;
            let targets = self.targets.clone();
            let mut input =
                self.callers.submit(to, &mut self.rng, &self.shape, &targets, now.wall, backlog);
            self.workflows.send_in(&mut input);
            self.feed(input)?;
        }
        self.settle()
    }

    /// Everything but the disk is gone.
    pub(super) fn crash(&mut self) -> Checked {
        if self.shell.take().is_none() {
            return Ok(());
        }
        self.trace.note(self.at, || "the process dies".into());
        self.census.count("a crash");
        self.life.0 += 1;
        self.census.count(match self.disk.crash(&mut self.rng) {
            None => "a crash with nothing in flight",
            Some(true) => "a commit in flight survives the process",
            Some(false) => "a commit in flight is lost with the process",
        });
        if self.planted == Some(Planted::LyingDisk) {
            self.disk.lose_last_commit();
        }
        self.wake = None;
        self.stopped_until = self.at;
        if self.shape.reboots && self.rng.one_in(2) {
            self.census.count("a restart of the machine");
            self.boot += 1;
        }
        let down = self.rng.span(Duration::from_millis(1), Duration::from_secs(3));
        self.calendar.add(self.at + down, Event::Start);
        Ok(())
    }

    pub(super) fn drain(&mut self) -> Checked {
        if self.shell.is_none() || self.checker.draining {
            return Ok(());
        }
        let patience = self.rng.span(Duration::from_millis(1), Duration::from_secs(20));
        self.calendar.add(self.at + patience, Event::Exit(self.life));
        self.feed(Input::Drain)
    }

    pub(super) fn exit(&mut self, life: super::calendar::Life) -> Checked {
        if life != self.life {
            return Ok(());
        }
        let drained = self.shell.as_ref().is_some_and(|shell| shell.drained && shell.is_idle());
        if drained {
            let running = self.disk.model.recover().running;
            ensure!(running.is_empty(), "drained, and the store says that {running:?} run");
        } else {
            self.census.count("an end with the process undrained");
        }
        self.crash()
    }

    pub(super) fn tick(&mut self) -> Checked {
        let second = self.at.since(super::clocks::Moment::START).as_secs();
        let idle = self.feed_counting(Input::Tick)? == 0;
        if self.idle_ticks.0 != second {
            self.idle_ticks = (second, 0);
        }
        self.idle_ticks.1 += u64::from(idle);
        let many = self.idle_ticks.1;
        ensure!(many <= IDLE_TICKS, "woken {many} times in a second for nothing");
        Ok(())
    }

    pub(super) fn feed(&mut self, input: Input) -> Checked {
        self.feed_counting(input).map(|_| ())
    }

    /// Returns how much was said about it.
    fn feed_counting(&mut self, input: Input) -> Result<u64, super::violation::Violation> {
        let now = self.clocks.now(self.at);
        let Some(shell) = &mut self.shell else { return Ok(0) };
        self.trace.note(self.at, || format!("> {}", words::input(&input)));
        self.census.input(&input);
        self.checker.input(self.at, now, &input)?;
        shell.broker.handle(now, self.planted.map_or(input.clone(), |fault| fault.spoil(input)));
        self.take_outputs()
    }

    fn take_outputs(&mut self) -> Result<u64, super::violation::Violation> {
        let now = self.clocks.now(self.at);
        let mut count = 0;
        while let Some(shell) = &mut self.shell
            && let Some(output) = shell.broker.poll_output()
        {
            count += 1;
            self.trace.note(self.at, || format!("  < {}", words::output(&output)));
            if self.planted == Some(Planted::EarlySend) && matches!(output, Output::Send(_)) {
                continue;
            }
            self.census.output(&output, &self.checker.book);
            self.checker.output(self.at, now, &output, &self.disk.model)?;
            if let Output::Change(change) = &output {
                self.works.check(change)?;
            }
            self.gather(output)?;
        }
        self.checker.handled()?;
        Ok(count)
    }

    fn gather(&mut self, output: Output) -> Checked {
        let Some(shell) = &mut self.shell else { return Ok(()) };
        match output {
            Output::Change(change) => {
                let early = match &change {
                    Change::Move(step) if matches!(step.to, Place::Running { .. }) => {
                        Some(step.header.clone())
                    }
                    _ => None,
                };
                shell.gathered.changes.push(change);
                if let Some(header) = &early {
                    self.stop_at_the_last_moment(header);
                }
                if let Some(header) = early
                    && self.planted == Some(Planted::EarlySend)
                {
                    return self.send_again(sending(&header));
                }
            }
            Output::Reply { to, reply } => {
                if self.planted == Some(Planted::EarlyReply) && self.rng.one_in(4) {
                    return self.checker.told(to, &reply, &self.disk.model);
                }
                shell.gathered.replies.push((to, reply));
            }
            Output::Load(load) => shell.gathered.loads.push(load),
            Output::Send(sending) => {
                let Sending { job, target, priority, number, ref aim, .. } = sending;
                let request = shell.requests.remove(&job);
                ensure!(request.is_some(), "{job} leaves, and the store gave no request for it");
                shell.leaving.insert((target, job));
                self.departures.push((self.at, job, priority));
                let (what, sent) = (What::of(aim), self.at);
                let parcel = Parcel { life: self.life, target, job, number, what, sent };
                self.set_off(parcel, &request.unwrap_or_default())?;
                if self.planted == Some(Planted::DoubleSend) && self.rng.one_in(10) {
                    return self.send_again(sending);
                }
            }
            Output::Unsend { job } => {
                shell.requests.remove(&job);
                if self.planted == Some(Planted::SendUncalled)
                    && let Some(entry) = self.checker.book.get(job)
                {
                    return self.send_again(sending(&entry.header));
                }
            }
            Output::Drained => {
                shell.drained = true;
            }
            Output::PassedOver { .. } | Output::Waited { .. } | Output::DeadFill(_) => {}
        }
        Ok(())
    }

    /// A fault: a request leaves that the core did not let go.
    fn send_again(&mut self, sending: Sending) -> Checked {
        let (now, life, sent) = (self.clocks.now(self.at), self.life, self.at);
        let Sending { job, target, number, ref aim, .. } = sending;
        let what = What::of(aim);
        self.checker.output(self.at, now, &Output::Send(sending), &self.disk.model)?;
        self.depart(Parcel { life, target, job, number, what, sent });
        Ok(())
    }

    pub(super) fn depart(&mut self, parcel: Parcel) {
        let parcel = Parcel { sent: self.at, ..parcel };
        // Most of the time at once, and now and then everything stands still.
        if self.rng.one_in(40) {
            let for_ = self.rng.below(self.shape.stutter.as_nanos() as u64 + 1);
            self.stalled_until = self.stalled_until.max(self.at + Duration::from_nanos(for_));
        }
        let usual = self.shape.stutter.min(Duration::from_micros(200));
        let after = Duration::from_nanos(self.rng.below(usual.as_nanos() as u64 + 1));
        let leaves = (self.at + after).max(self.stalled_until);
        if self.planted == Some(Planted::SaysLeft) {
            self.calendar.add(self.at, Event::SaysLeft(parcel));
        }
        self.calendar.add(leaves, Event::Left(parcel));
    }

    /// A request leaves the process, and is on its way.
    pub(super) fn leave(&mut self, parcel: Parcel) -> Checked {
        let Parcel { sent, .. } = parcel;
        let travels = Duration::from_nanos(self.rng.below(self.shape.travel.as_nanos() as u64));
        let arrives = self.at + travels;
        self.calendar.add(arrives, Event::Arrival(parcel));
        let given_up = (sent + self.shape.timeout).max(self.at);
        if self.planted == Some(Planted::FreedAtSending) {
            let (after, report) = super::target::Mood::Fast.answer(&mut self.rng);
            self.calendar.add((self.at + after).min(arrives), Event::Report(parcel, report));
        } else if arrives >= given_up {
            let report = super::target::timed_out(self.shape.timeout);
            self.calendar.add(given_up, Event::Report(parcel, report));
        }
        if self.planted == Some(Planted::SaysLeft) {
            return Ok(());
        }
        self.says_left(parcel)
    }

    pub(super) fn says_left(&mut self, parcel: Parcel) -> Checked {
        let Parcel { target, job, number, .. } = parcel;
        let Some(shell) = &mut self.shell else { return Ok(()) };
        // Said once.
        if !shell.leaving.remove(&(target, job)) {
            return Ok(());
        }
        let at = self.clocks.now(self.at).mono;
        self.feed(Input::Left { job, number, at })
    }

    /// What the store has lived, as far as this machine can tell.
    fn lived(&mut self) -> Lived {
        let now = self.clocks.now(self.at);
        let run = Run { boot: self.boot, uptime: self.at.since(super::clocks::Moment::START) };
        let past = Past { life: self.life_began, last: self.disk.model.last };
        let lived = past.lived(Some(run), now.wall);
        // Written with the first commit; until then the one before does as well.
        if past.life.is_none_or(|(old, _)| old.boot != run.boot) {
            self.life_began = Some((run, lived));
        }
        lived
    }

    pub(super) fn disk_done(&mut self) -> Checked {
        let stale = self.planted == Some(Planted::StaleLoads) && self.rng.one_in(4);
        let done = if stale { self.disk.done_stale() } else { self.disk.done() };
        if let Some(takes) = self.disk.takes(&mut self.rng) {
            self.calendar.add(self.at + takes, Event::Disk(self.life));
        }
        match done {
            None => Ok(()),
            Some(Done::Loaded(loaded)) => match (self.planted, *loaded) {
                (Some(Planted::ForgottenFlows), Loaded::Flow { ticket, .. }) => {
                    self.feed(Input::Loaded(Loaded::Flow { ticket, done: None }))
                }
                (Some(Planted::LostHeirs), Loaded::Heir { .. }) => Ok(()),
                (Some(Planted::FreeGroups), Loaded::Group { ticket, .. }) => {
                    self.feed(Input::Loaded(Loaded::Group { ticket, taken: false }))
                }
                (_, loaded) => self.feed(Input::Loaded(loaded)),
            },
            Some(Done::Committed { turn, requests }) => {
                let Some(shell) = &mut self.shell else { return Ok(()) };
                shell.requests.extend(requests);
                let written = shell.writing.take();
                let fits = written.as_ref().is_some_and(|(writing, _)| *writing == turn);
                ensure!(fits, "{turn:?} is on disk, and nobody wrote it");
                for (to, reply) in written.into_iter().flat_map(|(_, replies)| replies) {
                    if self.planted == Some(Planted::LostReplies) && self.rng.one_in(10) {
                        continue;
                    }
                    self.checker.told(to, &reply, &self.disk.model)?;
                }
                self.look_soon();
                self.feed(Input::Committed { turn })
            }
        }
    }

    /// After something happened: what was gathered goes to the store, and the core sleeps.
    pub(super) fn rest(&mut self) -> Checked {
        // What else happens at this very moment belongs to the same turn, most of the time.
        let more = self.calendar.next_at() == Some(self.at);
        if !(more && self.rng.one_in(2)) {
            self.write()?;
        }
        let now = self.clocks.now(self.at);
        let Some(shell) = &self.shell else { return Ok(()) };
        let asked = shell.broker.poll_timeout(now).map(|mono| self.clocks.moment(mono));
        let idle = shell.is_idle() && self.disk.is_idle();
        if idle && shell.drained {
            self.calendar.add(self.at, Event::Exit(self.life));
        }
        if self.stopped_until <= self.at && idle {
            self.quiet(asked)?;
        }
        self.trace.note(self.at, || match asked {
            Some(asked) => format!("  asleep until {asked}"),
            None => "  asleep".into(),
        });
        if asked != self.wake.map(|(asked, _)| asked) {
            self.wake = asked.map(|asked| (asked, asked.max(self.at) + self.lateness()));
        }
        if self.planted == Some(Planted::Oversleeping) {
            self.wake = None;
        }
        Ok(())
    }

    fn lateness(&mut self) -> Duration {
        match self.rng.below(8) {
            0 => Duration::from_nanos(self.rng.below(self.shape.lateness.as_nanos() as u64 + 1)),
            _ => Duration::from_nanos(self.rng.below(100_000)).min(self.shape.lateness),
        }
    }

    fn write(&mut self) -> Checked {
        let Some(shell) = &mut self.shell else { return Ok(()) };
        if shell.writing.is_some() || shell.gathered.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::take(&mut shell.gathered);
        let turn = shell.broker.cut();
        shell.writing = Some((turn, gathered.replies));
        self.checker.cut(turn)?;
        let takes = self.disk.submit(turn, gathered.changes, gathered.loads, &mut self.rng);
        if let Some(takes) = takes {
            self.calendar.add(self.at + takes, Event::Disk(self.life));
        }
        Ok(())
    }

    /// All that was said is on disk.
    fn quiet(&mut self, asked: Option<super::clocks::Moment>) -> Checked {
        let now = self.clocks.now(self.at);
        let Some(shell) = &self.shell else { return Ok(()) };
        // The core may have been left uncalled while the process was stopped.
        let overdue = self.wake.is_some_and(|(asked, _)| asked < self.at);
        if !overdue {
            let leaving = shell.leaving.iter().map(|(target, _)| *target).collect();
            self.checker.sleeps(self.at, now, asked, &leaving).map_err(|broken| {
                let views = shell.broker.view(now).into_iter();
                let blocked = views.map(|view| format!("{:?} {:?}", view.id, view.blocked));
                Violation(format!("{broken}; {}", blocked.collect::<Vec<_>>().join(", ")))
            })?;
        }
        self.checker.acks.is_left_alone(&self.checker.book)?;
        self.checker.book.groups.are_led()?;
        self.checker.tokens.are_let_go(&self.checker.book)?;
        let useless = shell.requests.keys().find(|id| {
            let entry = self.checker.book.get(**id);
            entry.is_none_or(|entry| !matches!(entry.place, Place::Running { .. }))
        });
        ensure!(useless.is_none(), "the request of {useless:?} is kept ready for nothing");
        let windows = self.shape.windows;
        let lines = self.targets.len() * Priority::ALL.len() * windows.line;
        let under_way: u32 = self.targets.iter().map(|id| self.checker.book.running(*id)).sum();
        // Twice: what a window let go is forgotten with the next turn.
        let bound = 2 * (lines + windows.timers) + under_way as usize;
        let known = shell.broker.known_jobs();
        ensure!(known <= bound, "memory holds {known} jobs, not {bound}");
        if self.steps >= self.next_audit {
            let jobs = self.checker.audit(&self.disk.model)?;
            self.next_audit = self.steps + 64 + jobs;
            self.compare_views()?;
        }
        if self.steps.is_multiple_of(16) {
            self.count_blocked();
        }
        Ok(())
    }

    fn count_blocked(&mut self) {
        let now = self.clocks.now(self.at);
        let Some(shell) = &self.shell else { return };
        for view in shell.broker.view(now) {
            if view.blocked_by.is_some() {
                self.census.count("held back by a shared limit");
            }
            if matches!(view.blocked, Some((BlockedOn::Breaker, _))) {
                self.census.count("held back by a breaker");
            }
            if view.blocked_window.is_some() {
                self.census.count("held back by a window");
            }
        }
    }

    /// The core's own books are those of the store.
    fn compare_views(&self) -> Checked {
        let now = self.clocks.now(self.at);
        let Some(shell) = &self.shell else { return Ok(()) };
        let views = shell.broker.view(now);
        for stored in self.disk.model.recover().targets {
            let id: TargetId = stored.id;
            let Some(view) = views.iter().find(|view| view.id == id) else { continue };
            ensure!(
                view.counts == stored.counts,
                "{id:?} counts {:?}, and the store {:?}",
                view.counts,
                stored.counts
            );
            let most = view.policy.as_ref().and_then(|p| p.outcomes.dead_retention.count);
            // One whose answer is still owed to a workflow stays until that is given.
            let owes = |job: &Header| job.target == id && job.owed != Owed::Nothing;
            let jobs = self.disk.model.jobs().map(|(_, job)| &job.record);
            let dead = |place| matches!(place, Place::Ended { end, .. } if end.is_dead());
            let owing = jobs.filter(|job| owes(&job.header) && dead(job.place)).count();
            let dead = view.counts.dead() - owing as u64;
            ensure!(most.is_none_or(|most| dead <= most), "{dead} dead at {id:?}, not {most:?}");
            ensure!(view.paused == stored.paused, "{id:?} is paused, or not: {}", view.paused);
            let running = self.checker.book.running(id);
            ensure!(view.in_flight == running, "{} in flight at {id:?}: {running}", view.in_flight);
            ensure!(
                self.planted == Some(Planted::FreedAtTimeout)
                    || view.policy.as_ref() == self.checker.limits.policy(id),
                "{id:?} has another policy: {:?}",
                view.policy
            );
        }
        Ok(())
    }
}
