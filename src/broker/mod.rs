//! The pure core: a state machine without input, output, threads, randomness or a clock.
//!
//! [`Broker::handle`] is given what happened and when; [`Broker::poll_output`] gives back what is
//! to be done about it, and [`Broker::poll_timeout`] when to call again at the latest. The shell
//! gathers the changes of a turn, calls [`Broker::cut`] when it takes them to the store, and says
//! [`Input::Committed`] once they are on disk.
//!
//! | file | holds |
//! | --- | --- |
//! | `job`, `course`, `payload`, `policy`, `time` | the words |
//! | `change`, `io` | what is said to the store and to the shell |
//! | `counts` | how many jobs are where |
//! | `group`, `fair`, `flows` | jobs that go one after the other; those that share a queue |
//! | `callback` | who is told of a job's end |
//! | `window`, `jobs` | what memory knows of what the store holds |
//! | `lines`, `limit`, `alarms`, `lead`, `retry`, `ending`, `target` | who is next, when, and what then |
//! | `pressure`, `breaker`, `adaptive`, `hint` | what a target's answers say about its pace |
//! | `calendar` | the clock of a place: schedules, quotas |
//! | `forecast` | estimates of when jobs start |
//! | `submit`, `command`, `rivals`, `start`, `leave`, `flight`, `attempt`, `estimate`, `clock`, `graves` | what the broker does, by occasion |

pub mod adaptive;
mod alarms;
mod attempt;
pub mod breaker;
pub mod calendar;
pub mod callback;
pub mod change;
mod clock;
mod command;
pub mod counts;
pub mod course;
mod ending;
mod estimate;
pub mod fair;
mod flight;
mod flows;
pub mod forecast;
mod graves;
pub mod group;
pub mod hint;
pub mod io;
pub mod job;
mod jobs;
mod lead;
mod leave;
mod limit;
mod lines;
pub mod payload;
pub mod policy;
pub mod pressure;
mod retry;
mod rivals;
mod set_back;
mod start;
mod submit;
mod target;
#[cfg(test)]
mod tests;
mod text;
pub mod time;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use change::{Change, Insert, Load, Loaded, Move, RecoveredTarget, Ticket, Turn};
use fair::Rank;
use group::Stand;
use io::{Input, LimitView, Output, Start, TargetView, Windows};
use job::{Event, Happening, Header, JobId, Place, Priority, Seat, TargetId};
use jobs::Jobs;
use limit::Limits;
use payload::Answer;
use policy::{Bounds, LimitName, Policy};
use target::Target;
use time::{Now, Wall};
use window::Window;

/// See the module.
#[derive(Debug)]
pub struct Broker {
    targets: BTreeMap<TargetId, Target>,
    jobs: Jobs,
    timers: Window<(Wall, JobId), JobId>,
    deadlines: Window<(Wall, JobId), JobId>,
    flights: BTreeMap<JobId, flight::Flight>,
    /// Where something was armed in a turn that is not on disk yet.
    arming: BTreeSet<(Turn, TargetId)>,
    /// Starts that were called back before the turn that armed them is on disk.
    called_back: BTreeSet<(Turn, JobId)>,
    lookups: submit::Lookups,
    groups: group::Groups,
    flows: flows::Flows,
    pending: BTreeMap<Ticket, command::Pending>,
    /// Jobs whose workflow is gone, and whose row was asked for to say so.
    gone: BTreeMap<JobId, Ticket>,
    retention: clock::Retention,
    lookout: set_back::Lookout,
    graves: graves::Graves,
    lead: lead::Lead,
    limits: Limits,
    /// Counts turns among targets that share limits.
    servings: u64,
    /// To be looked at before the next output.
    dirty: BTreeSet<TargetId>,
    alarms: alarms::Alarms,
    outputs: VecDeque<Output>,
    windows: Windows,
    /// The one that is being gathered.
    turn: Turn,
    last_seat: Seat,
    last_ticket: Ticket,
    draining: bool,
    drained: bool,
}

impl Broker {
    /// What was under way when the last life ended counts as an attempt of unknown outcome.
    pub fn new(start: Start, now: Now) -> Broker {
        let Start { recovered, targets, limits, retention, windows } = start;
        let mut broker = Broker {
            targets: BTreeMap::new(),
            jobs: Jobs::default(),
            timers: Window::unknown(windows.timers),
            deadlines: Window::unknown(windows.timers),
            flights: BTreeMap::new(),
            arming: BTreeSet::new(),
            called_back: BTreeSet::new(),
            lookups: submit::Lookups::default(),
            groups: group::Groups::default(),
            flows: flows::Flows::new(windows.flows.max(2 * windows.page)),
            pending: BTreeMap::new(),
            gone: BTreeMap::new(),
            retention: clock::Retention::new(retention),
            lookout: set_back::Lookout::default(),
            graves: graves::Graves::default(),
            lead: lead::Lead::default(),
            limits: Limits::new(recovered.lived, recovered.spent, now.mono),
            servings: 0,
            dirty: BTreeSet::new(),
            alarms: alarms::Alarms::default(),
            outputs: VecDeque::new(),
            windows,
            turn: Turn(1),
            last_seat: recovered.last_seat,
            last_ticket: Ticket(0),
            draining: false,
            drained: false,
        };
        for found in recovered.targets {
            broker.targets.insert(found.id, Target::new(found, windows.line, now));
        }
        broker.configure(targets, limits, now);
        broker.ask_vacant(None);
        for (header, started) in recovered.running {
            broker.resume(header, started, now);
        }
        broker.settle(now);
        broker
    }

    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Tick => {}
            Input::Submit { to, jobs } => self.submit(now, to, jobs),
            Input::Command { to, command } => self.command(now, to, command),
            Input::Sweep { to, target, sweep, which } => self.sweep(now, to, target, sweep, which),
            Input::Pause { to, target, paused } => self.pause(now, to, target, paused),
            Input::Abandoned { job } => self.abandoned(now, job),
            Input::TaskGone { job, reason } => self.task_gone(now, job, reason),
            Input::Settled { job, how } => self.settled(now, job, how),
            Input::Told { job, end, how } => self.told(now, job, end, how),
            Input::NotSent { job, number, reason } => self.not_sent(now, job, number, reason),
            Input::Attempted { job, number, report } => self.attempted(now, job, number, report),
            Input::Committed { turn } => self.committed(now, turn),
            Input::Loaded(loaded) => self.loaded(now, loaded),
            Input::Configure { targets, limits } => self.configure(targets, limits, now),
            Input::Left { job, number, at } => self.left(job, number, at),
            Input::Retention { keep } => self.retention.keep(keep),
            Input::Drain => self.drain(now),
        }
        self.settle(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The shell takes what was gathered to the store; what comes from here on is another turn's.
    pub fn cut(&mut self) -> Turn {
        let turn = self.turn;
        self.turn = Turn(turn.0 + 1);
        self.groups.cut();
        turn
    }

    pub fn view(&self, now: Now) -> Vec<TargetView> {
        self.targets.values().map(|target| self.view_of(target, now)).collect()
    }

    /// Every limit that is configured: each target's own, and those that are shared.
    pub fn limits(&self, now: Now) -> Vec<LimitView> {
        self.limits.view(now.mono)
    }

    /// How many job headers memory holds: bounded by windows and what is under way.
    pub fn known_jobs(&self) -> usize {
        self.jobs.len()
    }

    fn view_of(&self, target: &Target, now: Now) -> TargetView {
        let oldest = Priority::ALL.map(|priority| {
            let (header, _) = self.jobs.get(target.lines.first(priority)?)?;
            Some(header.enqueued_at)
        });
        let dead_fill = self.graves.fill(target.id, now.wall);
        let rate = self.limits.pace(target.id).map(|pace| pace.rate);
        let forecast = Arc::new(self.forecast(target, now));
        TargetView { dead_fill, ..target.view(oldest, rate, forecast, now.mono) }
    }

    fn configure(
        &mut self,
        targets: Vec<(TargetId, String, Policy)>,
        limits: Vec<(LimitName, Bounds)>,
        now: Now,
    ) {
        let own = targets
            .iter()
            .map(|(id, _, policy)| (*id, (policy.limit.bounds(), policy.share.clone())));
        let (spent, changed) =
            self.limits.configure(own.collect(), limits.into_iter().collect(), now);
        self.write_spent(spent, now);
        // What was chosen under other limits is chosen anew.
        for id in changed {
            self.disarm(id, now);
        }
        self.adopt_limits();
        // Of one that was away nobody looked at the retries when the clock was set back.
        self.lookout.look_again();
        let line = self.windows.line;
        let mut policies: BTreeMap<TargetId, Policy> = BTreeMap::new();
        for (id, name, policy) in targets {
            policies.insert(id, policy);
            self.targets.entry(id).or_insert_with(|| {
                let new = RecoveredTarget {
                    id,
                    name,
                    paused: false,
                    held_until: None,
                    counts: change::Counts::default(),
                    clocks: fair::Clocks::default(),
                };
                Target::new(new, line, now)
            });
        }
        let ids: Vec<TargetId> = self.targets.keys().copied().collect();
        for id in ids {
            if let Some(target) = self.targets.get_mut(&id) {
                let policy = policies.remove(&id);
                let keep = policy.as_ref().map(|policy| policy.outcomes.dead_retention);
                self.graves.configure(id, keep);
                target.configure(policy, now.mono);
                if target.live.is_none() {
                    self.disarm(id, now);
                }
            }
            self.dirty.insert(id);
        }
    }

    fn drain(&mut self, now: Now) {
        self.draining = true;
        let ids: Vec<TargetId> = self.targets.keys().copied().collect();
        for id in ids {
            self.disarm(id, now);
            self.dirty.insert(id);
        }
    }

    fn committed(&mut self, now: Now, turn: Turn) {
        self.jobs.committed(turn);
        self.lookups.committed(turn);
        self.groups.committed(turn);
        self.flows.committed(turn);
        self.durable(now, turn);
    }

    fn loaded(&mut self, now: Now, loaded: Loaded) {
        match loaded {
            Loaded::Ready { target, priority, rows, exhausted } => {
                let Some(found) = self.targets.get_mut(&target) else { return };
                let keys: Vec<(Rank, JobId)> =
                    rows.iter().map(|row| (row.rank(), row.id)).collect();
                let rows = rows.into_iter().map(|row| (row, Place::Queued));
                let window = &mut found.lines.line(priority).window;
                fill(window, &mut self.jobs, self.turn, keys, rows, exhausted);
                self.dirty.insert(target);
            }
            Loaded::Timers { rows, exhausted } => {
                let keys: Vec<((Wall, JobId), JobId)> = rows
                    .iter()
                    .filter_map(|(row, place)| Some(((due(place)?, row.id), row.id)))
                    .collect();
                fill(&mut self.timers, &mut self.jobs, self.turn, keys, rows, exhausted);
                self.lookout.look_again();
            }
            Loaded::Deadlines { rows, exhausted } => {
                let rows = rows.into_iter().map(|(at, id)| ((at, id), id));
                self.deadlines.loaded(rows, exhausted, |_| {});
            }
            Loaded::Job { ticket, job } => self.found(now, ticket, job),
            Loaded::Claim { ticket, holder } => self.claimed(now, ticket, holder),
            Loaded::Candidates { ticket, rows } => self.candidates(now, ticket, rows),
            Loaded::Flow { ticket, done } => self.flow(now, ticket, done),
            Loaded::Group { ticket, taken } => self.grouped(now, ticket, taken),
            Loaded::Heir { ticket, heir } => self.heir(now, ticket, heir),
            Loaded::Vacant { groups, exhausted } => self.vacant(groups, exhausted),
            Loaded::Dead { ticket, rows, exhausted } => self.swept(ticket, rows, exhausted),
            Loaded::Finished { rows, next } => self.forget(rows, next),
            Loaded::Graves { target, rows, buried, next } => {
                self.let_graves_go(now, target, rows, buried, next);
            }
        }
    }

    /// What follows from what was just handled: timers that are due, jobs that can be started,
    /// windows that run low.
    fn settle(&mut self, now: Now) {
        self.bring_near(now);
        self.fire(now);
        while let Some(target) = self.alarms.due(now.mono, self.lead.get()) {
            self.dirty.insert(target);
        }
        while let Some(target) = self.dirty.pop_first() {
            self.pump(target, now);
        }
        self.refill_timers();
        self.look_at_graves(now);
        if self.draining && !self.drained && self.flights.is_empty() {
            self.drained = true;
            self.outputs.push_back(Output::Drained);
        }
    }

    fn refill_timers(&mut self) {
        if let Some(wanted) = self.timers.ask() {
            let load = Load::Timers { after: wanted.after, limit: wanted.limit };
            self.outputs.push_back(Output::Load(load));
        }
        if let Some(wanted) = self.deadlines.ask() {
            let load = Load::Deadlines { after: wanted.after, limit: wanted.limit };
            self.outputs.push_back(Output::Load(load));
        }
    }

    /// A new job, in its first place.
    fn insert(&mut self, insert: Insert) {
        let (header, place) = (insert.header.clone(), insert.place);
        self.change(Change::Insert(Box::new(insert)));
        if let Some(deadline) = header.deadline {
            self.deadlines.insert((deadline, header.id), header.id);
        }
        self.groups.joined(&header, self.turn, false);
        if header.stand() == Stand::Behind
            && let Some(key) = header.group_key()
        {
            self.ask_heir(key, None);
        }
        self.enter(header, place, true);
    }

    /// The one way by which a job gets from one place to another: memory, books and store alike.
    /// Returns its header as it is then.
    fn shift(
        &mut self,
        now: Now,
        from: (Header, Place),
        mut header: Header,
        to: Place,
        story: Story,
    ) -> Header {
        let (before, place) = from;
        if to.is_ended() && !place.is_ended() {
            self.hold_group(&mut header, &to);
        }
        header.follow_callback(&place, &to, now.wall);
        assert!(place.may_become(&to), "{}: {place:?} never becomes {to:?}", header.id);
        let id = header.id;
        match place {
            Place::Queued => {
                if let Some(target) = self.targets.get_mut(&header.target) {
                    target.lines.line(before.priority).window.remove(before.rank());
                }
            }
            Place::Scheduled { due } | Place::Waiting { due } | Place::Verifying { due } => {
                self.timers.remove((due, id));
            }
            Place::Running { .. } => {
                self.land(id, header.target, now);
                // Its place is free for another, wherever this one goes.
                self.dirty.insert(header.target);
                if let Some(target) = self.targets.get_mut(&header.target) {
                    target.in_flight -= 1;
                    target.armed.retain(|armed| armed.job != id);
                }
            }
            Place::Ended { .. } | Place::Behind { .. } => {}
        }
        // While it was under way its deadline may have passed, and was looked at in vain.
        if matches!(place, Place::Running { .. } | Place::Ended { .. })
            && !to.is_ended()
            && let Some(deadline) = header.deadline
        {
            self.deadlines.insert((deadline, id), id);
        }
        if matches!(place, Place::Ended { end, .. } if end.is_dead()) {
            self.graves.changed(header.target);
        }
        if to.is_ended()
            && let Some(deadline) = before.deadline
        {
            self.deadlines.remove((deadline, id));
        }
        let events = story.events.into_iter().map(|what| Event { at: now.wall, what }).collect();
        self.change(Change::Move(Box::new(Move {
            header: header.clone(),
            from: place,
            from_priority: before.priority,
            from_seat: before.seat,
            from_owed: before.owed,
            from_stand: before.stand(),
            to,
            events,
            answer: story.answer,
        })));
        self.enter(header.clone(), to, !place.is_ended());
        if before.stand() == Stand::Head
            && header.stand() != Stand::Head
            && let Some(key) = header.group_key()
        {
            self.ask_heir(key, Some((before.priority, before.tag)));
        }
        header
    }

    /// `anew`: it was not among those that have ended, if it is now.
    fn enter(&mut self, header: Header, place: Place, anew: bool) {
        let (id, target_id) = (header.id, header.target);
        let (priority, rank) = (header.priority, header.rank());
        self.jobs.put(header, place);
        let let_go = match place {
            Place::Queued => {
                self.dirty.insert(target_id);
                let target = self.targets.get_mut(&target_id);
                target.and_then(|target| target.lines.line(priority).window.insert(rank, id))
            }
            Place::Scheduled { due } | Place::Waiting { due } | Place::Verifying { due } => {
                self.timers.insert((due, id), id)
            }
            Place::Running { .. } => {
                if let Some(target) = self.targets.get_mut(&target_id) {
                    target.in_flight += 1;
                }
                None
            }
            Place::Ended { end, at } => {
                self.retention.ended(at);
                if end.is_dead() && anew {
                    self.died(id, target_id);
                }
                self.dirty.insert(target_id);
                Some(id)
            }
            Place::Behind { .. } => Some(id),
        };
        if let Some(let_go) = let_go {
            self.jobs.let_go(let_go, self.turn);
        }
    }

    fn change(&mut self, change: Change) {
        if let Some(target) = change.target().and_then(|id| self.targets.get_mut(&id)) {
            target.counts.apply(&change);
            target.clocks.apply(&change);
        }
        self.outputs.push_back(Output::Change(change));
    }

    fn next_seat(&mut self) -> Seat {
        self.last_seat = Seat(self.last_seat.0 + 1);
        self.last_seat
    }

    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket = Ticket(self.last_ticket.0 + 1);
        self.last_ticket
    }
}

/// What a move adds to a job's history, and the answer that it leaves.
#[derive(Default)]
struct Story {
    events: Vec<Happening>,
    answer: Option<Arc<Answer>>,
}

impl From<Happening> for Story {
    fn from(event: Happening) -> Story {
        Story { events: vec![event], answer: None }
    }
}

fn due(place: &Place) -> Option<Wall> {
    match place {
        Place::Scheduled { due } | Place::Waiting { due } | Place::Verifying { due } => Some(*due),
        Place::Queued | Place::Running { .. } | Place::Ended { .. } | Place::Behind { .. } => None,
    }
}

/// Takes loaded rows into a window and into the jobs that memory knows.
fn fill<K: Copy + Ord>(
    window: &mut Window<K, JobId>,
    jobs: &mut Jobs,
    turn: Turn,
    keys: Vec<(K, JobId)>,
    rows: impl IntoIterator<Item = (Header, Place)>,
    exhausted: bool,
) {
    let mut rows: BTreeMap<JobId, (Header, Place)> =
        rows.into_iter().map(|(header, place)| (header.id, (header, place))).collect();
    let let_go = window.loaded(keys, exhausted, |id| match rows.remove(&id) {
        Some((header, place)) => jobs.keep(header, place),
        None => jobs.revive(id),
    });
    for id in let_go {
        jobs.let_go(id, turn);
    }
}

/// Whether a job can still be called back.
fn is_pending(place: &Place) -> bool {
    match place {
        Place::Scheduled { .. } | Place::Queued | Place::Waiting { .. } => true,
        Place::Verifying { .. } | Place::Behind { .. } => true,
        Place::Running { .. } | Place::Ended { .. } => false,
    }
}
