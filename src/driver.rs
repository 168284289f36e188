//! The one loop. It feeds the core, gathers what a turn changes, commits that in one transaction,
//! and only then lets the turn's effects out. While a commit is being written the next turn
//! gathers: that is the group commit. Where little comes, it gathers a moment longer ([`spacing`]).

mod spacing;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{oneshot, watch};
use tracing::{debug, error, warn};

use self::spacing::Spacing;
use crate::broker::Broker;
use crate::broker::change::{Change, Load, Turn};
use crate::broker::course::Aim;
use crate::broker::io::{DeadFill, Input, Output, Reply, ReplyTo, Sending};
use crate::broker::job::{JobId, Owed, Priority, Source, TargetId};
use crate::broker::payload::{Close, Follow, Outcome, Report, Request};
use crate::broker::time::Now;
use crate::callbacks::Callbacks;
use crate::config::Target;
use crate::dispatch::{Departure, Dispatcher, Outgoing};
use crate::handle::{Ask, Ended, Handle, Message, View, Waiting, Wants};
use crate::intake::{Demand, Intake, Room, Size, Taken};
use crate::metrics::Books;
use crate::pulse::Pulse;
use crate::step_functions::{StepFunctions, Wanted};
use crate::store::{Done, StoreError, Work};
use crate::trace::{Attempt, Context, Recording, Tracer};

/// Messages about work under way that are handled before a turn's changes are taken to the store.
const AT_ONCE: usize = 512;
/// Jobs of callers after which work under way goes first: bounds a turn, and so how late a token can
/// be.
const SLICE: usize = 128;
/// Changes gathered for one commit beyond which callers wait for it: bounds a commit, which starts
/// and ends are in, too.
const ROOM: usize = 1024;

/// Whether the loop can still promise anything.
#[derive(Clone, Debug)]
pub(crate) enum Health {
    /// What the last life left under way is not on record yet.
    Starting,
    Running,
    /// The store failed: nothing is taken in, nothing is sent.
    Failed(StoreError),
    Stopped,
}

/// What has been decided and is not on disk.
#[derive(Default)]
struct Gathered {
    changes: Vec<Change>,
    /// What brought them.
    inputs: usize,
    loads: Vec<Load>,
    replies: Vec<(ReplyTo, Reply)>,
    /// A large request of a caller is among it.
    large: bool,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.loads.is_empty() && self.replies.is_empty()
    }

    fn size(&self) -> spacing::Size {
        spacing::Size { changes: self.changes.len(), inputs: self.inputs }
    }
}

/// What callers want of the loop.
enum Asked {
    Reply(Ask),
    Abandoned(JobId),
}

/// A turn that the store is writing.
struct Writing {
    turn: Turn,
    since: Instant,
    changes: usize,
    replies: Vec<(ReplyTo, Reply)>,
    taken: Vec<(TargetId, Priority, Source)>,
    ended: Vec<Ended>,
}

pub(crate) struct Driver {
    broker: Broker,
    handle: Handle,
    inbox: Receiver<Message>,
    /// To itself, for the attempts that it lets go.
    outbox: Sender<Message>,
    store: Sender<Work>,
    dispatcher: Dispatcher,
    runtime: tokio::runtime::Handle,
    targets: HashMap<TargetId, Arc<Target>>,
    books: Books,
    pulse: Arc<Pulse>,
    health: watch::Sender<Health>,
    step_functions: Option<StepFunctions>,
    callbacks: Callbacks,
    tracer: Tracer,
    intake: Intake<Asked>,
    waiting: Waiting,
    gathered: Gathered,
    spacing: Spacing,
    writing: Option<Writing>,
    /// Whether a large request is in what the store was given last.
    after_large: bool,
    /// Requests of started jobs, from the commit until they are sent.
    requests: HashMap<JobId, Arc<Request>>,
    asking: HashMap<ReplyTo, (oneshot::Sender<Reply>, Wants)>,
    last_asked: u64,
    draining: Vec<oneshot::Sender<()>>,
    drained: bool,
    stopping: bool,
}

/// What a loop is made of.
pub(crate) struct Parts {
    pub(crate) broker: Broker,
    pub(crate) handle: Handle,
    pub(crate) inbox: Receiver<Message>,
    pub(crate) outbox: Sender<Message>,
    pub(crate) store: Sender<Work>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) targets: HashMap<TargetId, Arc<Target>>,
    pub(crate) books: Books,
    pub(crate) health: watch::Sender<Health>,
    pub(crate) step_functions: Option<StepFunctions>,
    pub(crate) callbacks: Callbacks,
    pub(crate) tracer: Tracer,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Driver {
        Driver {
            broker: parts.broker,
            pulse: parts.handle.pulse().clone(),
            waiting: parts.handle.callers().waiting().clone(),
            handle: parts.handle,
            inbox: parts.inbox,
            outbox: parts.outbox,
            store: parts.store,
            dispatcher: parts.dispatcher,
            runtime: parts.runtime,
            targets: parts.targets,
            books: parts.books,
            health: parts.health,
            step_functions: parts.step_functions,
            callbacks: parts.callbacks,
            tracer: parts.tracer,
            intake: Intake::new(),
            gathered: Gathered::default(),
            spacing: Spacing::default(),
            writing: None,
            after_large: false,
            requests: HashMap::new(),
            asking: HashMap::new(),
            last_asked: 0,
            draining: Vec::new(),
            drained: false,
            stopping: false,
        }
    }

    /// Runs until it is told to stop or the store fails. Whoever still waits for an answer sees
    /// its channel close, and so does not take silence for a yes.
    pub(crate) fn run(mut self) {
        // A new core has much to say already: what the last life left under way, what to load.
        self.feed(Input::Tick);
        self.commit();
        let end = loop {
            if let Err(failure) = self.turn() {
                error!(%failure, "the store failed; nothing more is taken in or sent");
                break Health::Failed(failure);
            }
            if self.stopping && self.is_idle() {
                break Health::Stopped;
            }
        };
        // Where the store's thread is gone there is nobody left to stop.
        let _ = self.store.send(Work::Stop);
        self.health.send_replace(end);
    }

    fn is_idle(&self) -> bool {
        self.writing.is_none() && self.gathered.is_empty() && self.intake.is_empty()
    }

    /// Waits for something to happen, handles it, and takes what it changed to the store.
    fn turn(&mut self) -> Result<(), StoreError> {
        let mut next = self.next_message();
        self.pulse.turn.begin(self.handle.mono_now());
        if next.is_none() {
            self.feed(Input::Tick);
        }
        let mut handled = 0;
        while let Some(message) = next {
            handled += usize::from(!matches!(message, Message::Ask(_)));
            self.receive(message)?;
            next = if handled < AT_ONCE { self.inbox.try_recv().ok() } else { None };
        }
        self.take_in();
        self.commit();
        self.pulse.turn.end();
        Ok(())
    }

    /// A slice of what callers ask, where there is room.
    fn take_in(&mut self) {
        let mut taken = 0;
        while taken < SLICE
            && let Some(Taken { jobs, size, request }) = self.intake.next(self.room())
        {
            match request {
                Asked::Reply(ask) if ask.is_given_up() => {
                    self.waiting.leaves_out(ask.wants);
                    taken += 1;
                    continue;
                }
                Asked::Reply(Ask { make, answer, wants, .. }) => {
                    self.waiting.takes_in(wants);
                    self.last_asked += 1;
                    let to = ReplyTo(self.last_asked);
                    self.asking.insert(to, (answer, wants));
                    self.feed(make(to));
                }
                Asked::Abandoned(job) if self.waiting.is_given_up(job) => {
                    self.feed(Input::Abandoned { job });
                }
                Asked::Abandoned(_) => {}
            }
            taken += jobs;
            self.gathered.large |= size == Size::Large;
        }
    }

    /// A large request goes to the store at once or waits, and after it goes what waited meanwhile:
    /// so a start or a small request has to sit out one of them at most.
    fn room(&self) -> Room {
        let others_first = self.after_large && !self.gathered.is_empty();
        let largest =
            if self.writing.is_some() || others_first { Size::Small } else { Size::Large };
        Room { largest, full: self.gathered.changes.len() >= ROOM }
    }

    fn next_message(&mut self) -> Option<Message> {
        if self.intake.has(self.room()) {
            return self.inbox.try_recv().ok();
        }
        let now = self.now();
        let wakes_in = self.broker.poll_timeout(now).map(|at| at.since(now.mono));
        let commits_in = self.commits_in(Instant::now());
        let Some(patience) = wakes_in.into_iter().chain(commits_in).min() else {
            return self.inbox.recv().ok();
        };
        match self.inbox.recv_timeout(patience) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                unreachable!("the loop holds a sender to itself")
            }
        }
    }

    fn receive(&mut self, message: Message) -> Result<(), StoreError> {
        match message {
            Message::Ask(ask) => self.intake.push(ask.demand, Asked::Reply(ask)),
            // It may pass the request that brought the job: that one's caller is not there any more.
            Message::Abandoned(job) => self.intake.push(Demand::COMMAND, Asked::Abandoned(job)),
            Message::Tell(input) => self.feed(input),
            Message::Attempted { job, target, priority, number, report } => {
                self.pulse.totals(target).attempted(report.outcome);
                let name = self.handle.directory();
                let target = (target, name.name(target));
                self.books.attempt(target, priority, report.outcome, report.took);
                self.feed(Input::Attempted { job, number, report });
            }
            Message::View(answer) => {
                let now = self.now();
                // Whoever asked may have hung up.
                let (targets, limits) = (self.broker.view(now), self.broker.limits(now));
                let _ = answer.send(View { now, targets, limits });
            }
            Message::Configure { targets, limits, retention } => {
                self.targets = targets.iter().map(|(id, t)| (*id, t.clone())).collect();
                let targets = targets
                    .into_iter()
                    .map(|(id, target)| (id, target.name.clone(), target.policy.clone()))
                    .collect();
                self.feed(Input::Retention { keep: retention });
                self.feed(Input::Configure { targets, limits });
            }
            Message::Store(Done::Committed { turn, requests }) => self.committed(turn, requests),
            Message::Store(Done::Loaded(loaded)) => self.feed(Input::Loaded(*loaded)),
            Message::Store(Done::Failed(failure)) => return Err(failure),
            Message::Drain(done) => {
                self.draining.push(done);
                self.feed(Input::Drain);
                self.tell_drained();
            }
            Message::Stop => self.stopping = true,
        }
        Ok(())
    }

    fn feed(&mut self, input: Input) {
        let before = self.gathered.changes.len();
        self.broker.handle(self.now(), input);
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Change(change) => self.gathered.changes.push(change),
                Output::Reply { to, reply } => {
                    if let Some((_, wants)) = self.asking.get(&to) {
                        self.waiting.answered(*wants, &reply);
                    }
                    self.gathered.replies.push((to, reply));
                }
                Output::Load(load) => self.gathered.loads.push(load),
                Output::Send(sending) => self.send(sending),
                Output::Unsend { job } => {
                    self.requests.remove(&job);
                }
                Output::PassedOver { target, of } => {
                    let directory = self.handle.directory();
                    self.books.passed_over((target, directory.name(target)), of);
                }
                Output::Waited { target, priority, wait } => {
                    let directory = self.handle.directory();
                    self.books.waited((target, directory.name(target)), priority, wait);
                }
                Output::DeadFill(fill) => self.dead_fill(fill),
                Output::Drained => {
                    self.drained = true;
                    self.tell_drained();
                }
            }
        }
        self.gathered.inputs += usize::from(self.gathered.changes.len() > before);
    }

    fn dead_fill(&mut self, DeadFill { target, fill, dropped }: DeadFill) {
        let directory = self.handle.directory();
        let name = directory.name(target);
        let percent = (fill * 100.0).round();
        if dropped > 0 {
            warn!(target = name, dropped, percent, "dead jobs were forgotten: dead_retention");
            self.books.dropped((target, name), dropped);
        } else {
            warn!(
                target = name,
                percent,
                "dead_retention is nearly full: redrive or purge dead jobs, or raise it, before the \
                 oldest are forgotten"
            );
        }
    }

    /// How long what was gathered has to wait before it is taken to the store; `None` where there is
    /// nothing, or the store is still writing what came before.
    fn commits_in(&self, now: Instant) -> Option<Duration> {
        let is_next = self.writing.is_none() && !self.gathered.is_empty();
        is_next.then(|| self.spacing.wait(now, self.gathered.size()))
    }

    /// Takes what was gathered to the store, if that can be now.
    fn commit(&mut self) {
        let since = Instant::now();
        if self.commits_in(since) != Some(Duration::ZERO) {
            return;
        }
        self.spacing.begins(since, self.gathered.size());
        let Gathered { changes, loads, replies, large, .. } = std::mem::take(&mut self.gathered);
        self.after_large = large;
        let turn = self.broker.cut();
        self.writing = Some(Writing {
            turn,
            since,
            changes: changes.len(),
            replies,
            taken: changes.iter().filter_map(taken).collect(),
            ended: changes.iter().filter_map(ended).collect(),
        });
        self.pulse.commit.begin(self.handle.mono_now());
        // A store whose thread is gone has said so before it went.
        let _ = self.store.send(Work::Commit { turn, changes });
        for load in loads {
            let _ = self.store.send(Work::Load(load));
        }
    }

    /// A turn is on disk: its effects may be seen now.
    fn committed(&mut self, turn: Turn, requests: Vec<(JobId, Arc<Request>)>) {
        let Some(writing) = self.writing.take() else {
            unreachable!("the store commits what it was given")
        };
        self.pulse.commit.end();
        self.spacing.ended(self.gathered.size());
        assert_eq!(writing.turn, turn, "the store commits turns in order");
        if writing.changes > 0 {
            self.books.committed(writing.since.elapsed(), writing.changes);
        }
        for (to, reply) in writing.replies {
            if let Some((answer, _)) = self.asking.remove(&to) {
                // Whoever asked may have hung up; what was done stays done.
                let _ = answer.send(reply);
            }
        }
        self.requests.extend(requests);
        let directory = self.handle.directory();
        let watchers = self.handle.watchers();
        for (id, priority, source) in writing.taken {
            self.pulse.totals(id).enqueued();
            self.books.enqueued((id, directory.name(id)), priority, source);
        }
        let is_owed = |ended: &Ended| ended.header.owed == Owed::TaskToken;
        if let Some(step_functions) = &self.step_functions
            && writing.ended.iter().any(is_owed)
        {
            step_functions.job_ended();
        }
        for ended in writing.ended {
            let (id, priority) = (ended.header.target, ended.header.priority);
            if let Some(callback) = &ended.header.callback {
                self.callbacks.job_ended(&callback.name);
            }
            self.requests.remove(&ended.header.id);
            self.pulse.totals(id).ended(ended.place.state());
            self.books.finished((id, directory.name(id)), priority, ended.place.state());
            watchers.tell(&ended);
        }
        self.health.send_if_modified(|health| {
            let starting = matches!(health, Health::Starting);
            if starting {
                *health = Health::Running;
            }
            starting
        });
        self.feed(Input::Committed { turn });
        self.tell_drained();
    }

    /// The start of this request is on disk and its token is taken: off it goes.
    fn send(&mut self, sending: Sending) {
        let Sending { job, target, priority, number, attempt, aim, since } = sending;
        let request = self.requests.remove(&job);
        let (Some(request), Some(config)) = (request, self.targets.get(&target).cloned()) else {
            // A fault of ours. Nothing has left, and nothing is lost.
            error!(%job, "there is no request to send for a job that was started");
            let report = Report {
                outcome: Outcome::Refused,
                answer: None,
                retry_after: None,
                hint: None,
                reason: Some("the broker had no request at hand to send".into()),
                took: Duration::ZERO,
                close: Close::Whole,
                follow: Follow::Nothing,
            };
            let message = Message::Attempted { job, target, priority, number, report };
            let _ = self.outbox.send(message);
            return;
        };
        self.pulse.totals(target).sent(self.handle.mono_now());
        let context = Context::of(job, &request);
        let trace = context.trace;
        debug!(%job, %trace, attempt, number, ?aim, target = config.name, "sending");
        let (tracer, trace) = (self.tracer.clone(), self.tracer.recording(&context));
        let dispatcher = self.dispatcher.clone();
        let outbox = self.outbox.clone();
        let asks = self.step_functions.clone().filter(StepFunctions::checks_before_dispatch);
        let handle = self.handle.clone();
        self.runtime.spawn(async move {
            let (to_loop, clock) = (outbox.clone(), handle.clone());
            let departure = Departure::new(move || {
                let at = clock.mono_now();
                // A loop that has stopped lets nothing go.
                let _ = to_loop.send(Message::Tell(Input::Left { job, number, at }));
            });
            if let Some(step_functions) = asks {
                // What Step Functions takes to answer is not for the next request to wait for.
                if aim == Aim::Work && request.task_token.is_some() {
                    departure.tell();
                }
                // Whether somebody waits does not change what the work did.
                if aim == Aim::Work
                    && let Some(reason) = gone(&step_functions, &request).await
                {
                    let _ = outbox.send(Message::Tell(Input::NotSent { job, number, reason }));
                    return;
                }
                let pace = config.policy.limit.pace();
                while let Some(at) = step_functions.leave(target, pace, handle.mono_now()) {
                    let patience = at.since(handle.mono_now());
                    tokio::time::sleep_until(tokio::time::Instant::now() + patience).await;
                }
            }
            let (request, aim) = (&*request, &aim);
            let outgoing = Outgoing { id: job, attempt, priority, request, aim, number, trace };
            let began = SystemTime::now();
            let report = dispatcher.attempt_telling(&config, outgoing, &departure).await;
            debug!(
                %job,
                trace = %context.trace,
                attempt,
                number,
                target = config.name,
                outcome = report.outcome.as_str(),
                status = report.answer.as_ref().map(|answer| answer.status),
                took = ?report.took,
                "sent"
            );
            if trace == Recording::On {
                tracer.attempted(&Attempt {
                    context,
                    job,
                    number,
                    attempt,
                    target: &config.name,
                    url: &config.url,
                    method: &request.method,
                    path: &request.path,
                    priority,
                    aim,
                    waited_since: since,
                    began,
                    report: &report,
                });
            }
            let message = Message::Attempted { job, target, priority, number, report };
            // A loop that has stopped learns of it at the next start, as an unknown outcome.
            let _ = outbox.send(message);
        });
    }

    /// Nothing is under way, and that is on disk.
    fn tell_drained(&mut self) {
        if self.drained && self.writing.is_none() && self.gathered.changes.is_empty() {
            for done in self.draining.drain(..) {
                let _ = done.send(());
            }
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.handle.mono_now(), wall: Handle::wall_now() }
    }
}

/// Why no workflow waits for this request any more; `None` where one does, or nobody can tell: an
/// outage of Step Functions holds no work back.
async fn gone(step_functions: &StepFunctions, request: &Request) -> Option<String> {
    let token = request.task_token.as_ref()?;
    match step_functions.still_wanted(token).await {
        Wanted::Gone { reason } => Some(reason),
        Wanted::Yes | Wanted::Unknown => None,
    }
}

fn taken(change: &Change) -> Option<(TargetId, Priority, Source)> {
    let Change::Insert(insert) = change else { return None };
    Some((insert.header.target, insert.header.priority, insert.source))
}

fn ended(change: &Change) -> Option<Ended> {
    let Change::Move(step) = change else { return None };
    // One that only has its token answered ended before.
    (step.to.is_ended() && !step.from.is_ended()).then(|| Ended {
        header: step.header.clone(),
        place: step.to,
        answer: step.answer.clone(),
    })
}
