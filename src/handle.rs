//! How the outer parts (HTTP, later SQS and Activities) talk to the one loop.

mod callers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

pub(crate) use self::callers::{Caller, Callers, Waiting};
use crate::broker::callback::CallbackName;
use crate::broker::io::{
    CommandError, DeadFilter, Input, JobCommand, LimitView, Reply, Submission, Submitted, Sweep,
    TargetView, UnknownTarget,
};
use crate::broker::job::{Header, JobId, Place, Priority, TargetId};
use crate::broker::payload::{Answer, Report};
use crate::broker::policy::{Bounds, LimitName};
use crate::broker::time::{Mono, Wall};
use crate::config::Target;
use crate::intake::Demand;
use crate::pulse::Pulse;
use crate::store::Reader;

/// The loop has stopped, because the daemon is going down or its store failed a write. Whether
/// what was asked for happened is known only after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker has stopped; whether this was done is not known until it is back")]
pub struct Stopped;

/// What the loop is told from outside.
pub(crate) enum Message {
    Ask(Ask),
    /// The last caller who waited for a proxied job has hung up.
    Abandoned(JobId),
    Tell(Input),
    View(oneshot::Sender<View>),
    /// A request has ended.
    Attempted {
        job: JobId,
        target: TargetId,
        priority: Priority,
        number: u32,
        report: Report,
    },
    /// A commit or a load is done; see the store's thread.
    Store(crate::store::Done),
    /// The targets there are from now on, and how long ended jobs are kept.
    Configure {
        targets: Vec<(TargetId, Arc<Target>)>,
        /// Those that targets share.
        limits: Vec<(LimitName, Bounds)>,
        retention: Duration,
    },
    /// Take nothing new, finish what is under way, and say so.
    Drain(oneshot::Sender<()>),
    /// Write what is left to write, and leave.
    Stop,
}

/// What a caller wants of the core.
pub(crate) struct Ask {
    pub(crate) demand: Demand,
    pub(crate) make: MakeInput,
    /// Gets the reply once it is durable.
    pub(crate) answer: oneshot::Sender<Reply>,
    pub(crate) wants: Wants,
}

impl Ask {
    /// The caller has hung up while it stood in line, and nobody else could want it. A job for which
    /// nobody would have waited anyway is taken in: there are callers who never read their answers.
    pub(crate) fn is_given_up(&self) -> bool {
        matches!(self.wants, Wants::Company(_)) && self.answer.is_closed()
    }
}

/// What somebody who brings jobs relies on where such a job is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// That it will be done.
    Promise,
    /// To wait for it as the caller of the job that was not made.
    Company(JobId),
}

/// Makes the input once the loop knows whom the answer is for.
pub(crate) type MakeInput = Box<dyn FnOnce(crate::broker::io::ReplyTo) -> Input + Send>;

/// All targets at one moment.
#[derive(Clone, Debug)]
pub struct View {
    pub now: crate::broker::time::Now,
    pub targets: Vec<TargetView>,
    pub limits: Vec<LimitView>,
}

/// The targets by name and by number, as configured now. Swapped whole on a reload.
#[derive(Debug, Default)]
pub struct Directory {
    by_name: BTreeMap<String, (TargetId, Option<Arc<Target>>)>,
    names: HashMap<TargetId, String>,
    answers_tokens: bool,
    callbacks: BTreeSet<CallbackName>,
}

impl Directory {
    /// `None` in a pair: the store knows the target, the configuration does not.
    pub fn new(targets: impl IntoIterator<Item = (TargetId, String, Option<Arc<Target>>)>) -> Self {
        let mut directory = Directory::default();
        for (id, name, target) in targets {
            directory.names.insert(id, name.clone());
            directory.by_name.insert(name, (id, target));
        }
        directory
    }

    /// The same, where task tokens can be answered: Step Functions is configured.
    #[must_use]
    pub fn with_step_functions(mut self, configured: bool) -> Self {
        self.answers_tokens = configured;
        self
    }

    /// The same, where these can be told of a job's end.
    #[must_use]
    pub fn with_callbacks(mut self, names: impl IntoIterator<Item = CallbackName>) -> Self {
        self.callbacks = names.into_iter().collect();
        self
    }

    /// A callback that the configuration names.
    pub fn callback(&self, name: &str) -> Option<&CallbackName> {
        self.callbacks.iter().find(|known| known.as_str() == name)
    }

    pub fn callbacks(&self) -> impl Iterator<Item = &CallbackName> {
        self.callbacks.iter()
    }

    /// Whether a job may have a task token.
    pub fn answers_tokens(&self) -> bool {
        self.answers_tokens
    }

    /// A target that the configuration names.
    pub fn configured(&self, name: &str) -> Option<(TargetId, &Arc<Target>)> {
        let (id, target) = self.by_name.get(name)?;
        target.as_ref().map(|target| (*id, target))
    }

    /// A target that has or had jobs here, configured or not.
    pub fn known(&self, name: &str) -> Option<TargetId> {
        self.by_name.get(name).map(|(id, _)| *id)
    }

    pub fn name(&self, id: TargetId) -> &str {
        self.names.get(&id).map_or("?", String::as_str)
    }

    pub fn target(&self, id: TargetId) -> Option<&Arc<Target>> {
        self.by_name.get(self.names.get(&id)?)?.1.as_ref()
    }

    pub fn configured_names(&self) -> impl Iterator<Item = &str> {
        self.by_name.iter().filter(|(_, (_, target))| target.is_some()).map(|(n, _)| n.as_str())
    }
}

/// A job's end, told once it is durable.
#[derive(Clone, Debug)]
pub struct Ended {
    pub header: Header,
    pub place: Place,
    /// The last answer, whole (up to [`Answer::LIVE`]); the store keeps less of it.
    pub answer: Option<Arc<Answer>>,
}

/// Who waits for the end of which job.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<HashMap<JobId, Vec<oneshot::Sender<Ended>>>>);

impl Watchers {
    fn add(&self, id: JobId) -> oneshot::Receiver<Ended> {
        let (sender, receiver) = oneshot::channel();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = all.entry(id).or_default();
        waiting.retain(|other| !other.is_closed());
        waiting.push(sender);
        receiver
    }

    /// Forgets a watcher that gave up, so that watching leaves nothing behind.
    fn prune(&self, id: JobId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = all.get_mut(&id) {
            waiting.retain(|other| !other.is_closed());
            if waiting.is_empty() {
                all.remove(&id);
            }
        }
    }

    pub(crate) fn tell(&self, ended: &Ended) {
        let waiting = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.is_empty() {
                return;
            }
            all.remove(&ended.header.id)
        };
        for watcher in waiting.into_iter().flatten() {
            // A watcher that hung up meanwhile wants nothing.
            let _ = watcher.send(ended.clone());
        }
    }
}

/// One that waits for a job's end. Make it before you look whether the job has ended already.
pub struct Watcher {
    id: JobId,
    receiver: Option<oneshot::Receiver<Ended>>,
    watchers: Arc<Watchers>,
}

impl Watcher {
    /// `None` where the broker stopped before the job ended.
    pub async fn ended(&mut self) -> Option<Ended> {
        match self.receiver.as_mut() {
            Some(receiver) => receiver.await.ok(),
            None => None,
        }
    }

    /// As [`Watcher::ended`], but at most so long.
    pub async fn ended_within(&mut self, patience: Duration) -> Option<Ended> {
        tokio::time::timeout(patience, self.ended()).await.ok().flatten()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The sender sees the hang-up only once the receiver is gone.
        self.receiver = None;
        self.watchers.prune(self.id);
    }
}

/// A cheap clone for whoever brings jobs or asks about them.
#[derive(Clone)]
pub struct Handle {
    loop_: std::sync::mpsc::Sender<Message>,
    reader: Reader,
    watchers: Arc<Watchers>,
    callers: Callers,
    directory: Arc<RwLock<Arc<Directory>>>,
    pulse: Arc<Pulse>,
    started: std::time::Instant,
}

impl Handle {
    pub(crate) fn new(
        loop_: std::sync::mpsc::Sender<Message>,
        reader: Reader,
        directory: Directory,
        started: std::time::Instant,
    ) -> Handle {
        Handle {
            callers: Callers::new(loop_.clone()),
            loop_,
            reader,
            watchers: Arc::default(),
            directory: Arc::new(RwLock::new(Arc::new(directory))),
            pulse: Arc::default(),
            started,
        }
    }

    /// A new job's id: UUIDv7 (RFC 9562), in order within this process.
    pub fn new_id() -> JobId {
        JobId(uuid::Uuid::now_v7().as_u128())
    }

    /// The wall clock, read at the edge.
    pub fn wall_now() -> Wall {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Wall::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The clock that the core paces by.
    pub fn mono_now(&self) -> Mono {
        Mono::from_nanos(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    pub fn directory(&self) -> Arc<Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn swap_directory(&self, directory: Directory) {
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(directory);
    }

    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// How the loop does, without asking it.
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    pub(crate) fn watchers(&self) -> Arc<Watchers> {
        self.watchers.clone()
    }

    /// Returns once those that were accepted are durable, together. Those that are there already are
    /// promised by that, and live on without whoever waits for them. `held` is dropped once the loop
    /// has taken the jobs in, though nobody may wait for the answer any more.
    pub async fn submit(
        &self,
        jobs: Vec<Submission>,
        held: impl Send + 'static,
    ) -> Result<Vec<Submitted>, Stopped> {
        self.bring(jobs, held, Wants::Promise).await
    }

    /// As [`Handle::submit`], of one.
    pub(crate) async fn submit_one(
        &self,
        job: Submission,
        held: impl Send + 'static,
    ) -> Result<Submitted, Stopped> {
        self.submit(vec![job], held).await?.pop().ok_or(Stopped)
    }

    /// As [`Handle::submit_one`], for a caller of [`Callers::first`] who waits for the job's end: where it
    /// is there already, for the end of that one.
    pub(crate) async fn submit_and_wait(
        &self,
        job: Submission,
        held: impl Send + 'static,
    ) -> Result<Submitted, Stopped> {
        let wants = Wants::Company(job.id);
        self.bring(vec![job], held, wants).await?.pop().ok_or(Stopped)
    }

    async fn bring(
        &self,
        jobs: Vec<Submission>,
        held: impl Send + 'static,
        wants: Wants,
    ) -> Result<Vec<Submitted>, Stopped> {
        let demand = Demand::of(&jobs);
        let make = |to| {
            drop(held);
            Input::Submit { to, jobs }
        };
        match self.ask_for(demand, wants, make).await? {
            Reply::Submitted(results) => Ok(results),
            other => unreachable!("a submission is answered with {other:?}"),
        }
    }

    pub(crate) fn callers(&self) -> &Callers {
        &self.callers
    }

    /// Returns once the change is durable.
    pub async fn command(
        &self,
        command: JobCommand,
    ) -> Result<Result<(Header, Place), CommandError>, Stopped> {
        match self.ask(|to| Input::Command { to, command }).await? {
            Reply::Job(result) => Ok(result.map(|job| *job)),
            other => unreachable!("a command is answered with {other:?}"),
        }
    }

    /// Redrives or purges those jobs of `target` that are dead now; says how many.
    pub async fn sweep(
        &self,
        target: TargetId,
        sweep: Sweep,
        which: DeadFilter,
    ) -> Result<u64, Stopped> {
        match self.ask(move |to| Input::Sweep { to, target, sweep, which }).await? {
            Reply::Swept(count) => Ok(count),
            other => unreachable!("a sweep is answered with {other:?}"),
        }
    }

    pub async fn pause(
        &self,
        target: TargetId,
        paused: bool,
    ) -> Result<Result<(), UnknownTarget>, Stopped> {
        match self.ask(move |to| Input::Pause { to, target, paused }).await? {
            Reply::Target(result) => Ok(result),
            other => unreachable!("a pause is answered with {other:?}"),
        }
    }

    /// All targets as they are now.
    pub async fn view(&self) -> Result<View, Stopped> {
        let (sender, receiver) = oneshot::channel();
        self.loop_.send(Message::View(sender)).map_err(|_| Stopped)?;
        receiver.await.map_err(|_| Stopped)
    }

    /// Make it before looking whether the job has ended already, or an end can be missed.
    pub fn watch(&self, id: JobId) -> Watcher {
        let receiver = Some(self.watchers.add(id));
        Watcher { id, receiver, watchers: self.watchers.clone() }
    }

    pub(crate) fn tell(&self, input: Input) {
        // Where the loop has stopped, nothing is left that would want to know.
        let _ = self.loop_.send(Message::Tell(input));
    }

    async fn ask(
        &self,
        make: impl FnOnce(crate::broker::io::ReplyTo) -> Input + Send + 'static,
    ) -> Result<Reply, Stopped> {
        self.ask_for(Demand::COMMAND, Wants::Promise, make).await
    }

    async fn ask_for(
        &self,
        demand: Demand,
        wants: Wants,
        make: impl FnOnce(crate::broker::io::ReplyTo) -> Input + Send + 'static,
    ) -> Result<Reply, Stopped> {
        let (answer, receiver) = oneshot::channel();
        let ask = Ask { demand, make: Box::new(make), answer, wants };
        self.loop_.send(Message::Ask(ask)).map_err(|_| Stopped)?;
        receiver.await.map_err(|_| Stopped)
    }
}
