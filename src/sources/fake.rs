//! A broker for tests: takes what it is told, answers from a script, and keeps what it was told.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

use super::records::Records;
use crate::broker::change::Counts;
use crate::broker::forecast::{self, Bucket, Concurrency, Gate};
use crate::broker::group::{GroupKey, Stand};
use crate::broker::io::{
    CommandError, Input, JobCommand, Reply, ReplyTo, Submission, Submitted, TargetView,
};
use crate::broker::job::{
    End, Event, Happening, Header, JobId, JobState, Place, Priority, Seat, TargetId,
};
use crate::broker::payload::{Answer, Request};
use crate::broker::policy::{Limit, Policy, Rate, Retry, Tempo};
use crate::broker::time::Wall;
use crate::config::Target;
use crate::handle::{Ask, Directory, Ended, Handle, Message, View};
use crate::store::{JobRecord, Options, Store, StoreError};

/// Two targets, `erp` (1) and `crm` (2).
pub(crate) fn directory() -> Directory {
    let one = NonZeroU32::MIN;
    let policy = Policy {
        limit: Limit::plain(Rate::new(one, Duration::from_secs(1)).unwrap(), one, one),
        share: Vec::new(),
        tempo: Tempo::default(),
        retry: Retry {
            max_attempts: one,
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(1),
            max_retry_duration: Duration::from_secs(1),
        },
        max_deferrals: one,
        max_queued: 10,
        outcomes: Default::default(),
        on_group_failure: Default::default(),
        weights: Default::default(),
    };
    let target = |name: &str| {
        Arc::new(Target {
            name: name.to_owned(),
            url: http::Uri::from_static("http://target.example"),
            timeout: Duration::from_secs(1),
            headers: http::HeaderMap::new(),
            listen: None,
            policy: policy.clone(),
            asking: Default::default(),
        })
    };
    Directory::new([
        (TargetId(1), "erp".to_owned(), Some(target("erp"))),
        (TargetId(2), "crm".to_owned(), Some(target("crm"))),
    ])
}

/// What the store holds.
#[derive(Default)]
pub(crate) struct Shelf {
    jobs: Mutex<HashMap<JobId, (JobRecord, Option<Answer>)>>,
    full: std::sync::atomic::AtomicBool,
}

impl Shelf {
    pub(crate) fn put(&self, record: JobRecord, answer: Option<Answer>) {
        self.jobs().insert(record.header.id, (record, answer));
    }

    pub(crate) fn fill_up(&self) {
        self.full.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, (JobRecord, Option<Answer>)>> {
        self.jobs.lock().unwrap()
    }
}

impl Records for Shelf {
    fn job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        Ok(self.jobs().get(&id).map(|(record, _)| record.clone()))
    }

    fn answer(&self, id: JobId) -> Result<Option<Answer>, StoreError> {
        Ok(self.jobs().get(&id).and_then(|(_, answer)| answer.clone()))
    }

    /// None of them is kept.
    fn request(&self, _id: JobId) -> Result<Option<Request>, StoreError> {
        Ok(None)
    }

    fn head_of(&self, group: &GroupKey) -> Result<Option<JobId>, StoreError> {
        let jobs = self.jobs();
        let is_head = |job: &&JobRecord| {
            job.header.stand() == Stand::Head && job.header.group_key().as_ref() == Some(group)
        };
        Ok(jobs.values().map(|(job, _)| job).find(is_head).map(|job| job.header.id))
    }

    fn has_room(&self) -> bool {
        !self.full.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// What is answered to submissions, in order; whatever comes after the script is accepted.
type Script = Arc<Mutex<VecDeque<Submitted>>>;
/// Answers that are kept back, where they are.
type Held = Arc<Mutex<Option<Vec<(oneshot::Sender<Reply>, Reply)>>>>;

pub(crate) struct Fake {
    pub(crate) handle: Handle,
    pub(crate) shelf: Arc<Shelf>,
    seen: UnboundedReceiver<Input>,
    script: Script,
    held: Held,
    alive: Arc<std::sync::atomic::AtomicU64>,
}

impl Fake {
    pub(crate) fn start() -> Fake {
        let (to_loop, told) = mpsc::channel();
        // Never read: what is read comes from the shelf.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let options = Options { path, cache: 1 << 20, min_free_disk: 0, keys: None };
        let reader = Store::open(&options, &[]).unwrap().0.reader();
        let handle = Handle::new(to_loop, reader, directory(), std::time::Instant::now());
        let (note, seen) = unbounded_channel();
        let (shelf, script, held) = (Arc::<Shelf>::default(), Script::default(), Held::default());
        let (shelf_, script_, held_) = (shelf.clone(), script.clone(), held.clone());
        let alive = Arc::<std::sync::atomic::AtomicU64>::default();
        let alive_ = alive.clone();
        let waiting = handle.callers().waiting().clone();
        std::thread::spawn(move || {
            for message in told {
                match message {
                    Message::Ask(Ask { make, answer, wants, .. }) => {
                        let input = make(ReplyTo(0));
                        let reply = reply(&input, &shelf_, &script_);
                        waiting.takes_in(wants);
                        waiting.answered(wants, &reply);
                        // First what the test sees: it may decide what comes next.
                        let _ = note.send(input);
                        match held_.lock().unwrap().as_mut() {
                            Some(held) => held.push((answer, reply)),
                            None => drop(answer.send(reply)),
                        }
                    }
                    Message::Tell(input) => drop(note.send(input)),
                    Message::Abandoned(job) if waiting.is_given_up(job) => {
                        drop(note.send(Input::Abandoned { job }));
                    }
                    Message::View(answer) => {
                        let alive = alive_.load(std::sync::atomic::Ordering::SeqCst);
                        drop(answer.send(view(alive)));
                    }
                    _ => {}
                }
            }
        });
        Fake { handle, shelf, seen, script, held, alive }
    }

    pub(crate) fn will_say(&self, results: impl IntoIterator<Item = Submitted>) {
        self.script.lock().unwrap().extend(results);
    }

    /// So many of the ten jobs that `erp` may have are there.
    pub(crate) fn has(&self, alive: u64) {
        self.alive.store(alive, std::sync::atomic::Ordering::SeqCst);
    }

    /// Lets out what was held, and holds nothing any more.
    pub(crate) fn let_go(&self) {
        for (answer, reply) in self.held.lock().unwrap().take().into_iter().flatten() {
            drop(answer.send(reply));
        }
    }

    /// From now on nothing is answered, as if commits took for ever.
    pub(crate) fn hold_answers(&self) {
        *self.held.lock().unwrap() = Some(Vec::new());
    }

    /// The next thing the broker was told.
    pub(crate) async fn told(&mut self) -> Input {
        self.seen.recv().await.expect("the fake broker lives as long as its handle")
    }

    /// The next thing was a submission of one job.
    pub(crate) async fn submitted(&mut self) -> Submission {
        match self.told().await {
            Input::Submit { mut jobs, .. } if jobs.len() == 1 => jobs.remove(0),
            other => panic!("not one job: {other:?}"),
        }
    }

    /// The next thing was that a caller hung up.
    pub(crate) async fn abandoned(&mut self) -> JobId {
        match self.told().await {
            Input::Abandoned { job } => job,
            other => panic!("nobody hung up: {other:?}"),
        }
    }

    pub(crate) fn has_been_told_nothing(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }

    /// Ends a job, in the store and for who watches it.
    pub(crate) fn end(&self, id: JobId, end: End, answer: Option<Answer>) {
        let mut record = record(id, Place::Ended { end, at: Wall::from_millis(2) });
        record.header.attempts = 1;
        self.shelf.put(record.clone(), answer.clone());
        self.handle.watchers().tell(&Ended {
            header: record.header,
            place: record.place,
            answer: answer.map(Arc::new),
        });
    }
}

fn view(alive: u64) -> View {
    let mut counts = Counts::default();
    counts.set(Priority::Normal, JobState::Queued, alive);
    let targets = directory();
    let policy = targets.configured("erp").map(|(_, target)| target.policy.clone()).unwrap();
    let target = TargetView {
        id: TargetId(1),
        name: "erp".to_owned(),
        rate: Some(policy.limit.rate),
        breaker_open: false,
        forecast: Arc::new(forecast(&policy)),
        blocked_by: None,
        blocked_window: None,
        policy: Some(policy),
        counts,
        oldest: [None; 3],
        in_flight: 0,
        paused: false,
        blocked: None,
        blocked_for: Default::default(),
        dead_fill: None,
    };
    View { now: Default::default(), targets: vec![target], limits: Vec::new() }
}

fn forecast(policy: &Policy) -> forecast::Limits {
    let Policy { limit, max_deferrals, .. } = policy;
    forecast::Limits {
        now: Wall::EPOCH,
        gate: Gate::Open,
        bucket: Bucket { rate: limit.rate, burst: limit.burst, tokens: 0.0 },
        shared: Vec::new(),
        windows: Vec::new(),
        quotas: Vec::new(),
        concurrency: Concurrency { max: limit.max_concurrent, in_flight: 0, mean: None },
        schedule: Default::default(),
        lasting: Duration::ZERO,
        max_deferrals: *max_deferrals,
    }
}

fn reply(input: &Input, shelf: &Shelf, script: &Script) -> Reply {
    match input {
        Input::Submit { jobs, .. } => Reply::Submitted(
            jobs.iter()
                .map(|job| script.lock().unwrap().pop_front().unwrap_or_else(|| accept(job, shelf)))
                .collect(),
        ),
        Input::Command { command: JobCommand::Cancel { job, .. }, .. } => {
            Reply::Job(match shelf.job(*job) {
                Ok(Some(found)) if matches!(found.place, Place::Queued) => {
                    let at = Wall::from_millis(3);
                    let cancelled = record(*job, Place::Ended { end: End::Cancelled, at });
                    shelf.put(cancelled.clone(), None);
                    Ok(Box::new((cancelled.header, cancelled.place)))
                }
                Ok(Some(found)) => Err(CommandError::Conflict { state: found.place.state() }),
                _ => Err(CommandError::NoSuchJob),
            })
        }
        other => panic!("nobody here asks for {other:?}"),
    }
}

fn accept(job: &Submission, shelf: &Shelf) -> Submitted {
    let mut record = record(job.id, Place::Queued);
    record.header.target = job.target;
    record.header.priority = job.priority;
    shelf.put(record.clone(), None);
    Submitted::Accepted { header: record.header, place: record.place }
}

/// A job of `erp`.
pub(crate) fn record(id: JobId, place: Place) -> JobRecord {
    let at = Wall::from_millis(1);
    JobRecord {
        header: Header {
            id,
            target: TargetId(1),
            priority: Priority::Normal,
            seat: Seat(1),
            enqueued_at: at,
            ready_at: at,
            deadline: None,
            attempts: 0,
            spent: 0,
            refusals: 0,
            first_sent_at: None,
            max_attempts: None,
            owed: crate::broker::job::Owed::Nothing,
            course: Default::default(),
            group: None,
            flow: None,
            tag: Default::default(),
            callback: None,
        },
        place,
        history: vec![Event { at, what: Happening::Enqueued }],
    }
}
