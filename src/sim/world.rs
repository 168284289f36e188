//! The world: true time, what happens in it, and when it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::calendar::{Calendar, Event, Life, Parcel};
use super::callers::Callers;
use super::census::Census;
use super::checker::Checker;
use super::clocks::{Clocks, Moment};
use super::disk::Disk;
use super::planted::Planted;
use super::rng::Rng;
use super::shape::Shape;
use super::shell::Shell;
use super::target::Mood;
use super::trace::Trace;
use super::violation::{Checked, ensure};
use super::workflows::Workflows;
use super::works::Works;
use crate::broker::calendar::Schedule;
use crate::broker::io::Input;
use crate::broker::job::{End, JobId, Place, Priority, TargetId};
use crate::broker::payload::Follow;
use crate::broker::policy::{Bounds, Ceilings, LimitName, Policy};
use crate::broker::time::Lived;
use crate::store::life::Run;
use crate::store::model::Model;

/// What the core is told of targets, and of the limits that they share.
type Configured = (Vec<(TargetId, String, Policy)>, Vec<(LimitName, Bounds)>);

/// A world that is not over by then never will be.
const STEPS: u64 = 4_000_000;

#[derive(Debug)]
pub(super) struct World {
    pub(super) shape: Shape,
    pub(super) planted: Option<Planted>,
    pub(super) rng: Rng,
    pub(super) at: Moment,
    pub(super) calendar: Calendar,
    pub(super) clocks: Clocks,
    pub(super) disk: Disk,
    pub(super) checker: Checker,
    pub(super) works: Works,
    pub(super) callers: Callers,
    pub(super) workflows: Workflows,
    pub(super) trace: Trace,
    /// Every target that ever was, by number.
    pub(super) targets: Vec<TargetId>,
    moods: BTreeMap<TargetId, Mood>,
    pub(super) config: BTreeMap<TargetId, Policy>,
    /// Those that targets share.
    pub(super) limits: BTreeMap<LimitName, Bounds>,
    /// Numbers the runs of the machine.
    pub(super) boot: u128,
    /// When a run of the machine and the life of the store were last tied together.
    pub(super) life_began: Option<(Run, Lived)>,
    /// `None`: the process is not running.
    pub(super) shell: Option<Shell>,
    pub(super) life: Life,
    pub(super) stopped_until: Moment,
    /// The process decides, and sends nothing.
    pub(super) stalled_until: Moment,
    /// When the core asked to be called, and when it will be.
    pub(super) wake: Option<(Moment, Moment)>,
    /// Ticks that did nothing, in this second.
    pub(super) idle_ticks: (u64, u64),
    calm: bool,
    /// Targets that stay gone or paused at the end.
    left_out: BTreeSet<TargetId>,
    pub(super) settled: bool,
    pub(super) steps: u64,
    /// Not before this step.
    pub(super) next_audit: u64,
    pub(super) census: Census,
    /// Every request that left.
    pub(super) departures: Vec<(Moment, JobId, Priority)>,
}

impl World {
    pub(super) fn new(seed: u64, planted: Option<Planted>, trace: Trace) -> World {
        let mut rng = Rng::new(seed);
        let shape = Shape::random(&mut rng);
        World::of(shape, rng, planted, trace)
    }

    pub(super) fn of(shape: Shape, rng: Rng, planted: Option<Planted>, trace: Trace) -> World {
        let keeps_previous = matches!(planted, Some(Planted::LyingDisk | Planted::StaleLoads));
        let lies = planted == Some(Planted::LyingVerify);
        let workflows = Workflows::new(&rng, &shape);
        let mut world = World {
            planted,
            rng,
            at: Moment::START,
            calendar: Calendar::default(),
            clocks: Clocks::new(),
            disk: Disk::new(Model::default(), shape.pace, keeps_previous),
            checker: Checker::new(),
            works: Works::new(shape.delivery, shape.asynchronous),
            callers: Callers::new(),
            workflows,
            trace,
            targets: Vec::new(),
            moods: BTreeMap::new(),
            config: BTreeMap::new(),
            limits: BTreeMap::new(),
            boot: 1,
            life_began: None,
            shell: None,
            life: Life::default(),
            stopped_until: Moment::START,
            stalled_until: Moment::START,
            wake: None,
            idle_ticks: (0, 0),
            calm: false,
            left_out: BTreeSet::new(),
            settled: false,
            steps: 0,
            next_audit: 0,
            census: Census::default(),
            departures: Vec::new(),
            shape,
        };
        world.works.lies = lies;
        world.works.blind = planted == Some(Planted::FreedAtSending);
        for number in 0..world.shape.shared {
            let limit = world.shape.shared_limit(&mut world.rng);
            world.limits.insert(Shape::limit_name(number), limit);
        }
        for _ in 0..world.shape.targets {
            world.add_target();
        }
        world.calendar.add(Moment::START, Event::Start);
        world.calendar.add(Moment::START + world.shape.horizon, Event::Calm);
        for event in
            [Event::Call, Event::Crash, Event::Stop, Event::Jump, Event::Reload, Event::Drain]
        {
            world.again(world.mean(&event), event);
        }
        world.workflows.begin(&mut world.calendar);
        world
    }

    fn mean(&self, event: &Event) -> Option<Duration> {
        match event {
            Event::Call => self.shape.calls,
            Event::Crash => self.shape.crashes,
            Event::Stop => self.shape.stops,
            Event::Jump => self.shape.jumps,
            Event::Reload => self.shape.reloads,
            Event::Drain => self.shape.drains,
            Event::Mood(_) => self.shape.moods,
            _ => None,
        }
    }

    /// It happens once more, after a while.
    fn again(&mut self, mean: Option<Duration>, event: Event) {
        if let Some(mean) = mean
            && !self.calm
        {
            let at = self.at + self.rng.gap(mean);
            self.calendar.add(at, event);
        }
    }

    fn add_target(&mut self) {
        let name = format!("target-{}", self.targets.len());
        let known = self.disk.model.add_targets(std::slice::from_ref(&name));
        let id = known.iter().find(|(_, known)| *known == name).map(|(id, _)| *id);
        let id = id.expect("the store numbers every name");
        self.targets.push(id);
        self.moods.insert(id, Mood::Fast);
        let policy = self.shape.policy(&mut self.rng);
        self.config.insert(id, policy);
        self.again(self.shape.moods, Event::Mood(id));
    }

    /// Until everything that can end has ended.
    pub(super) fn run(&mut self) -> Checked {
        while !self.is_over()? {
            self.step()?;
        }
        self.checker.audit(&self.disk.model).map(|_| ())
    }

    pub(super) fn step(&mut self) -> Checked {
        self.steps += 1;
        ensure!(self.steps < STEPS, "there is no end to it");
        let wake = self.wake.map(|(_, comes)| comes.max(self.stopped_until));
        let next = self.calendar.next_at();
        match wake {
            Some(wake) if next.is_none_or(|next| wake < next) => {
                self.at = self.at.max(wake);
                self.tick()?;
            }
            _ => {
                let Some((at, event)) = self.calendar.pop() else {
                    ensure!(false, "nothing will ever happen again");
                    return Ok(());
                };
                if event.is_for_process() && at < self.stopped_until {
                    self.calendar.add(self.stopped_until, event);
                    return Ok(());
                }
                self.at = self.at.max(at);
                self.happen(event)?;
            }
        }
        self.rest()
    }

    /// When something happens next.
    pub(super) fn next_at(&self) -> Option<Moment> {
        let wake = self.wake.map(|(_, comes)| comes.max(self.stopped_until));
        [wake, self.calendar.next_at()].into_iter().flatten().min()
    }

    fn happen(&mut self, event: Event) -> Checked {
        let at = self.at;
        self.again(self.mean(&event), event.clone());
        match event {
            Event::Disk(life) if life == self.life => self.disk_done(),
            Event::Report(parcel, report) if parcel.life == self.life => {
                if self.planted == Some(Planted::LostReports) && self.rng.one_in(20) {
                    return Ok(());
                }
                let Parcel { job, number, target, .. } = parcel;
                let mut report = report;
                if self.planted == Some(Planted::FalseDone) {
                    report.follow = Follow::Nothing;
                }
                if self.planted == Some(Planted::RetriedWithoutToken) && report.may_run_on() {
                    self.calendar.add(at, Event::Arrival(parcel));
                }
                if let Some(shell) = &mut self.shell {
                    shell.leaving.remove(&(target, job));
                }
                self.feed(Input::Attempted { job, number, report })
            }
            Event::Left(parcel) if parcel.life == self.life => self.leave(parcel),
            Event::SaysLeft(parcel) if parcel.life == self.life => self.says_left(parcel),
            Event::Disk(_) | Event::Report(..) | Event::Left(_) | Event::SaysLeft(_) => Ok(()),
            Event::Arrival(parcel) => {
                self.checker.limits.arrive(at, parcel)?;
                let given_up = parcel.sent + self.shape.timeout;
                if at >= given_up || parcel.life != self.life {
                    self.census.count("an arrival after the end of its attempt");
                }
                let mood = self.moods.get(&parcel.target).copied().unwrap_or(Mood::Fast);
                let (mut after, mut report) =
                    self.works.receive(at, parcel, mood, &mut self.rng)?;
                if at >= given_up || self.planted == Some(Planted::FreedAtSending) {
                    return Ok(());
                }
                if at + after >= given_up {
                    after = given_up.since(at);
                    report = super::target::timed_out(self.shape.timeout);
                }
                // What is told twice is to be heard once.
                if self.rng.one_in(30) {
                    let again = after + self.rng.span(Duration::from_millis(1), after * 8);
                    self.calendar.add(at + again, Event::Report(parcel, report.clone()));
                }
                self.calendar.add(at + after, Event::Report(parcel, report));
                Ok(())
            }
            Event::Call | Event::CallAgain => self.call(),
            Event::Mood(id) => {
                let mood = Mood::random(&mut self.rng);
                self.trace.note(at, || format!("{id:?} is {mood:?} now"));
                self.moods.insert(id, mood);
                Ok(())
            }
            Event::Crash => self.crash(),
            Event::Start => self.start(),
            Event::Stop => {
                self.census.count("a stop");
                let longest = self.rng.pick(&[20, 4_000]);
                let stop = self.rng.span(Duration::from_millis(1), Duration::from_millis(longest));
                self.trace.note(at, || format!("the process stops for {stop:?}"));
                self.stopped_until = self.stopped_until.max(at + stop);
                Ok(())
            }
            Event::Jump => {
                self.jump();
                Ok(())
            }
            Event::Reload => self.reload(),
            Event::Drain => self.drain(),
            Event::Exit(life) => self.exit(life),
            Event::Calm => self.calm_down(),
            Event::Workflow(aim) => self.run_act(aim),
        }
    }

    fn call(&mut self) -> Checked {
        if self.shell.is_none() {
            return Ok(());
        }
        let mut targets = self.targets.clone();
        if self.rng.one_in(8) {
            targets.push(TargetId(99));
        }
        let wall = self.clocks.now(self.at).wall;
        let mut input = self.callers.want(&mut self.rng, &self.shape, &targets, wall);
        self.workflows.send_in(&mut input);
        // Others come at once, while a turn is being written.
        if self.rng.one_in(3) {
            let at = self.at + self.rng.span(Duration::from_micros(1), Duration::from_millis(5));
            self.calendar.add(at, Event::CallAgain);
        }
        self.feed(input)
    }

    fn jump(&mut self) {
        let longest = self.rng.pick(&[2, 7_200]);
        let by = self.rng.span(Duration::from_millis(1), Duration::from_secs(longest));
        let millis = by.as_millis() as i64;
        let millis = if self.rng.one_in(2) { millis } else { -millis };
        self.census.count(if millis > 0 { "a jump forward" } else { "a jump back" });
        if millis > 0 {
            self.checker.holds.jumped_forward(by);
        }
        self.trace.note(self.at, || format!("the wall clock jumps by {millis} ms"));
        self.clocks.jump(millis);
    }

    fn reload(&mut self) -> Checked {
        self.change_config();
        if self.shell.is_none() {
            return Ok(());
        }
        if self.rng.one_in(3) {
            self.shape.retention = self.rng.pick(&[10, 600, 3_600]) * Duration::from_secs(1);
            self.feed(Input::Retention { keep: self.shape.retention })?;
        }
        self.configure()
    }

    /// Somebody edits the configuration.
    pub(super) fn change_config(&mut self) {
        if self.targets.len() < 6 && self.rng.one_in(4) {
            self.add_target();
        }
        for number in 0..self.shape.shared {
            let name = Shape::limit_name(number);
            match self.rng.below(6) {
                0 => drop(self.limits.remove(&name)),
                1 | 2 => {
                    let limit = self.shape.shared_limit(&mut self.rng);
                    self.limits.insert(name, limit);
                }
                _ => {}
            }
        }
        for id in self.targets.clone() {
            match self.rng.below(6) {
                0 => {
                    if self.checker.book.alive(id) > 0 {
                        self.census.count("a target gone with jobs");
                    }
                    self.config.remove(&id);
                }
                1 | 2 => {
                    let policy = self.shape.policy(&mut self.rng);
                    self.config.insert(id, policy);
                }
                3 if !self.config.contains_key(&id) => {
                    let policy = self.shape.policy(&mut self.rng);
                    self.config.insert(id, policy);
                }
                _ => {}
            }
        }
    }

    pub(super) fn configure(&mut self) -> Checked {
        let (targets, limits) = self.configured();
        self.feed(Input::Configure { targets, limits })
    }

    /// As the configuration has them: it never names a limit that it does not have.
    pub(super) fn policies(&self) -> BTreeMap<TargetId, Policy> {
        let mut policies = self.config.clone();
        for policy in policies.values_mut() {
            policy.share.retain(|name| self.limits.contains_key(name));
        }
        policies
    }

    pub(super) fn configured(&self) -> Configured {
        let name = |id: &TargetId| format!("target-{}", id.0);
        let targets = self.policies().into_iter().map(|(id, mut policy)| {
            if self.planted == Some(Planted::FreedAtTimeout) {
                policy.limit.hold_after_timeout = Duration::ZERO;
            }
            (id, name(&id), policy)
        });
        let limits = self.limits.iter().map(|(name, bounds)| (name.clone(), bounds.clone()));
        (targets.collect(), limits.collect())
    }

    /// No more trouble: from here on everything can end.
    fn calm_down(&mut self) -> Checked {
        self.trace.note(self.at, || "calm".into());
        self.calm = true;
        self.workflows.calm_down();
        self.calendar.forget(|event| {
            matches!(
                event,
                Event::Call
                    | Event::CallAgain
                    | Event::Mood(_)
                    | Event::Crash
                    | Event::Stop
                    | Event::Jump
                    | Event::Reload
                    | Event::Drain
            )
        });
        for mood in self.moods.values_mut() {
            *mood = Mood::Fast;
        }
        for id in self.targets.clone() {
            if self.rng.one_in(6) {
                self.left_out.insert(id);
            } else if !self.config.contains_key(&id) {
                let policy = self.shape.policy(&mut self.rng);
                self.config.insert(id, policy);
            }
        }
        // A long backlog behind a narrow window would take for ever.
        for policy in self.config.values_mut() {
            policy.limit.ceilings = Ceilings::default();
            policy.tempo.schedule = Schedule::default();
        }
        for bounds in self.limits.values_mut() {
            bounds.ceilings = Ceilings::default();
        }
        self.settle()
    }

    /// Everything is configured and resumed, but for what is left out.
    pub(super) fn settle(&mut self) -> Checked {
        let up = self.shell.is_some() && !self.checker.draining;
        if !self.calm || self.settled || !up {
            return Ok(());
        }
        self.settled = true;
        self.configure()?;
        for target in self.targets.clone() {
            let to = self.callers.next_ask();
            let paused = self.left_out.contains(&target);
            self.feed(Input::Pause { to, target, paused })?;
        }
        Ok(())
    }

    fn is_over(&self) -> Result<bool, super::violation::Violation> {
        let idle = self.shell.as_ref().is_some_and(Shell::is_idle) && self.disk.is_idle();
        if !self.settled || !idle || self.checker.acks.is_waited_for() {
            return Ok(false);
        }
        let book = &self.checker.book;
        let under_way = self.targets.iter().any(|id| {
            let open = !book.is_paused(*id) && self.config.contains_key(id);
            // A group that is held waits for a person, and nobody is there any more.
            let alive = || book.alive(*id) - book.groups.stuck(*id, book);
            book.running(*id) > 0 || (open && alive() > 0)
        });
        // Retention takes what ended, and leaves the dead.
        let kept = book.jobs().any(|(_, entry)| {
            matches!(entry.place, Place::Ended { end: End::Succeeded | End::Cancelled, .. })
        });
        Ok(!under_way && !kept && self.owes_nobody())
    }
}
