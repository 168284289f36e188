//! A made-up loop and a made-up store, and the router on top of them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tower_service::Service;

use crate::admin::events::Events;
use crate::admin::held_back::Recent;
use crate::admin::records::{OwedTokens, Part, ReadError, Records};
use crate::admin::{AdminState, SharedReadiness, router};
use crate::auth::Access;
use crate::broker::calendar::Schedule;
use crate::broker::change::Counts;
use crate::broker::forecast::{self, Gate, Hold};
use crate::broker::group::{GroupKey, Stand};
use crate::broker::io::{
    BlockedOn, CommandError, DeadFilter, Input, JobCommand, Reply, ReplyTo, TargetView,
    UnknownTarget,
};
use crate::broker::job::{
    End, Event, Failure, Happening, Header, JobId, JobState, Place, Priority, Seat, TargetId,
};
use crate::broker::payload::{self, Answer};
use crate::broker::policy::{Limit, Policy, Rate, Retry, Tempo};
use crate::broker::time::{Mono, Now, Wall};
use crate::callbacks::Callbacks;
use crate::config::Target;
use crate::handle::{Ask, Directory, Handle, Message, View};
use crate::metrics::Metrics;
use crate::reload::Reloader;
use crate::step_functions::Health;
use crate::store::{DeathTally, Filter, JobRecord, Options, Space, Store};

pub(super) const ERP: TargetId = TargetId(1);
const SHOP: TargetId = TargetId(2);
const GONE: TargetId = TargetId(3);

/// 2023-11-14T22:13:20Z, ten minutes after the start of the loop.
pub(super) fn now() -> Now {
    Now { mono: Mono::ZERO + Duration::from_secs(600), wall: Wall::from_millis(1_700_000_000_000) }
}

fn policy() -> Policy {
    let few = |n| NonZeroU32::new(n).unwrap();
    Policy {
        limit: Limit::plain(Rate::new(few(10), Duration::from_secs(1)).unwrap(), few(2), few(4)),
        share: Vec::new(),
        tempo: Tempo::default(),
        retry: Retry {
            max_attempts: few(5),
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(300),
            max_retry_duration: Duration::from_secs(86_400),
        },
        max_deferrals: few(20),
        max_queued: 1_000,
        outcomes: Default::default(),
        on_group_failure: Default::default(),
        weights: Default::default(),
    }
}

fn forecast(gate: Gate) -> forecast::Limits {
    let Policy { limit, max_deferrals, .. } = policy();
    forecast::Limits {
        now: now().wall,
        gate,
        bucket: forecast::Bucket { rate: limit.rate, burst: limit.burst, tokens: 0.0 },
        shared: Vec::new(),
        windows: Vec::new(),
        quotas: Vec::new(),
        concurrency: forecast::Concurrency { max: limit.max_concurrent, in_flight: 4, mean: None },
        schedule: Schedule::default(),
        lasting: Duration::ZERO,
        max_deferrals,
    }
}

/// `erp`: busy, 5 HIGH, 10 NORMAL and 100 BATCH in its queues.
pub(in crate::admin) fn target_view() -> TargetView {
    let mut counts = Counts::default();
    counts.set(Priority::High, JobState::Queued, 5);
    counts.set(Priority::Normal, JobState::Queued, 10);
    counts.set(Priority::Batch, JobState::Queued, 100);
    counts.set(Priority::Normal, JobState::Running, 4);
    counts.set(Priority::Normal, JobState::Scheduled, 7);
    counts.set(Priority::Batch, JobState::Waiting, 2);
    counts.set(Priority::High, JobState::Failed, 2);
    counts.set(Priority::Batch, JobState::Expired, 1);
    counts.set(Priority::Batch, JobState::Succeeded, 99);
    let ago = |seconds: u64| Some(Wall::from_millis(now().wall.as_millis() - seconds * 1000));
    let mut blocked_for = [Duration::ZERO; BlockedOn::ALL.len()];
    blocked_for[BlockedOn::Rate as usize] = Duration::from_secs(60);
    blocked_for[BlockedOn::Concurrency as usize] = Duration::from_secs(450);
    TargetView {
        id: ERP,
        name: "erp".into(),
        policy: Some(policy()),
        dead_fill: None,
        counts,
        oldest: [ago(1), ago(30), ago(3_600)],
        in_flight: 4,
        paused: false,
        blocked: Some((BlockedOn::Rate, Some(now().mono + Duration::from_millis(100)))),
        rate: Some(policy().limit.rate),
        breaker_open: false,
        forecast: Arc::new(forecast(Gate::Open)),
        blocked_by: None,
        blocked_window: None,
        blocked_for,
    }
}

/// `shop`: paused, with one job. `gone`: not configured any more, with one job.
pub(super) fn view() -> View {
    let mut counts = Counts::default();
    counts.set(Priority::Normal, JobState::Queued, 1);
    let shop = TargetView {
        id: SHOP,
        name: "shop".into(),
        counts: counts.clone(),
        oldest: [None, Some(Wall::EPOCH), None],
        in_flight: 0,
        paused: true,
        blocked: Some((BlockedOn::Paused, None)),
        forecast: Arc::new(forecast(Gate::Shut(Hold::Paused))),
        blocked_for: [Duration::ZERO; BlockedOn::ALL.len()],
        ..target_view()
    };
    let gone = TargetView {
        id: GONE,
        name: "gone".into(),
        policy: None,
        forecast: Arc::new(forecast(Gate::Shut(Hold::NotConfigured))),
        paused: false,
        blocked: None,
        ..shop.clone()
    };
    View { now: now(), targets: vec![shop, gone, target_view()], limits: Vec::new() }
}

fn directory() -> Directory {
    let target = |name: &str, url: &str| {
        Some(Arc::new(Target {
            name: name.into(),
            url: url.parse().unwrap(),
            timeout: Duration::from_secs(30),
            headers: HeaderMap::new(),
            listen: None,
            policy: policy(),
            asking: Default::default(),
        }))
    };
    Directory::new([
        (ERP, "erp".into(), target("erp", "https://user:hush@erp.example/api")),
        (SHOP, "shop".into(), target("shop", "http://127.0.0.1:9000/")),
        (GONE, "gone".into(), None),
    ])
}

/// The n-th job there is: of `erp`, NORMAL.
pub(super) fn id(n: u128) -> JobId {
    JobId(0x0197_a3b0_6d1e_7c55_b1b2_6f5a_0000_0000 + n)
}

pub(super) fn record(n: u128, place: Place) -> JobRecord {
    let header = Header {
        id: id(n),
        target: ERP,
        priority: Priority::Normal,
        seat: Seat(u64::try_from(n).unwrap()),
        enqueued_at: now().wall,
        ready_at: now().wall,
        deadline: None,
        attempts: 1,
        spent: 1,
        refusals: 0,
        first_sent_at: None,
        max_attempts: None,
        owed: crate::broker::job::Owed::Nothing,
        course: Default::default(),
        group: None,
        flow: None,
        tag: Default::default(),
        callback: None,
    };
    let history = vec![Event { at: now().wall, what: Happening::Enqueued }];
    JobRecord { header, place, history }
}

pub(super) fn failed() -> Place {
    let end = End::Failed(Failure::Rejected { status: 404 });
    Place::Ended { end, at: now().wall }
}

pub(super) fn expired() -> Place {
    Place::Ended { end: End::Expired, at: now().wall }
}

/// A store that is a map.
#[derive(Default)]
pub(super) struct Shelf {
    jobs: Mutex<BTreeMap<JobId, JobRecord>>,
    pub(super) answers: Mutex<BTreeMap<JobId, Answer>>,
    pub(super) requests: Mutex<BTreeMap<JobId, payload::Request>>,
    /// How many rows one `list` looks at; 0 for any number.
    pub(super) rows_a_look: AtomicUsize,
    pub(super) lists: AtomicUsize,
    pub(super) full: AtomicBool,
    pub(super) broken: AtomicBool,
    pub(super) owed: Mutex<OwedTokens>,
}

impl Shelf {
    pub(super) fn put(&self, record: JobRecord) {
        self.jobs.lock().unwrap().insert(record.header.id, record);
    }

    fn sound(&self) -> Result<(), ReadError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(ReadError::Store("previous I/O error".into()));
        }
        Ok(())
    }
}

impl Shelf {
    /// By id. A cursor is the last id that was looked at, in its list's direction.
    fn walk(
        &self,
        back: bool,
        after: Option<&str>,
        limit: usize,
        fits: impl Fn(&JobRecord) -> bool,
    ) -> Result<Part, ReadError> {
        self.sound()?;
        self.lists.fetch_add(1, Ordering::SeqCst);
        let sign = if back { '-' } else { '+' };
        let after: Option<JobId> = after
            .map(|text| text.strip_prefix(sign).and_then(|id| id.parse().ok()))
            .map(|id| id.ok_or(ReadError::Cursor))
            .transpose()?;
        let most = match self.rows_a_look.load(Ordering::SeqCst) {
            0 => usize::MAX,
            most => most,
        };
        let jobs = self.jobs.lock().unwrap();
        let mut rows: Vec<&JobRecord> = jobs.values().collect();
        if back {
            rows.reverse();
        }
        let is_past =
            |id: JobId| after.is_none_or(|after| if back { id < after } else { id > after });
        rows.retain(|job| is_past(job.header.id));
        let mut part = Part::default();
        for (index, job) in rows.iter().enumerate() {
            if fits(job) {
                part.jobs.push((*job).clone());
            }
            if part.jobs.len() == limit || index + 1 == most {
                let more = index + 1 < rows.len();
                part.next = more.then(|| format!("{sign}{}", job.header.id));
                break;
            }
        }
        Ok(part)
    }
}

impl Records for Shelf {
    fn job(&self, id: JobId) -> Result<Option<JobRecord>, ReadError> {
        self.sound()?;
        Ok(self.jobs.lock().unwrap().get(&id).cloned())
    }

    fn answer(&self, id: JobId) -> Result<Option<Answer>, ReadError> {
        self.sound()?;
        Ok(self.answers.lock().unwrap().get(&id).cloned())
    }

    fn request(&self, id: JobId) -> Result<Option<payload::Request>, ReadError> {
        self.sound()?;
        Ok(self.requests.lock().unwrap().get(&id).cloned())
    }

    fn original(&self, _: JobId) -> Result<Option<payload::Request>, ReadError> {
        Ok(None)
    }

    fn attempts(&self, _: JobId) -> Result<Vec<crate::store::Attempt>, ReadError> {
        Ok(Vec::new())
    }

    fn list(&self, filter: &Filter, after: Option<&str>, limit: usize) -> Result<Part, ReadError> {
        self.walk(false, after, limit, |job| {
            filter.target.is_none_or(|target| target == job.header.target)
                && filter.state.is_none_or(|state| state == job.header.state_in(&job.place))
                && filter.priority.is_none_or(|priority| priority == job.header.priority)
        })
    }

    fn dead(
        &self,
        target: TargetId,
        filter: &DeadFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Part, ReadError> {
        self.walk(true, after, limit, |job| {
            matches!(job.place, Place::Ended { end, .. } if end.is_dead())
                && job.header.target == target
                && filter.fits(&job.header, &job.place)
        })
    }

    fn deaths(
        &self,
        _: TargetId,
        _: &DeadFilter,
        _: Option<&str>,
    ) -> Result<DeathTally, ReadError> {
        self.sound().map(|()| DeathTally::default())
    }

    fn space(&self) -> Space {
        Space { bytes: 4_096, free: Some(1 << 30), min_free: 1 << 20 }
    }

    fn head_of(&self, group: &GroupKey) -> Result<Option<JobId>, ReadError> {
        let jobs = self.jobs.lock().unwrap();
        let is_head = |job: &&JobRecord| {
            job.header.stand() == Stand::Head && job.header.group_key().as_ref() == Some(group)
        };
        Ok(jobs.values().find(is_head).map(|job| job.header.id))
    }

    fn has_room(&self) -> bool {
        !self.full.load(Ordering::SeqCst)
    }

    fn owed(&self) -> Result<OwedTokens, ReadError> {
        self.sound()?;
        Ok(*self.owed.lock().unwrap())
    }
}

fn store(dir: &TempDir) -> Store {
    let options =
        Options { path: dir.path().join("store"), cache: 1 << 20, min_free_disk: 0, keys: None };
    // Targets are numbered from 0 as they are named.
    Store::open(&options, &["another".into(), "erp".into()]).unwrap().0
}

/// What the loop was asked to do, in a few words, and what it says to each.
type Script = dyn FnMut(&Input) -> Reply + Send;

pub(super) struct World {
    router: Router,
    pub(super) handle: Handle,
    pub(super) events: Events,
    state: AdminState,
    pub(super) shelf: Arc<Shelf>,
    pub(super) readiness: SharedReadiness,
    pub(super) asked: Arc<Mutex<Vec<Input>>>,
    dir: TempDir,
}

impl World {
    /// A loop that does whatever it is asked to.
    pub(super) fn new() -> World {
        World::with(|input| match input {
            Input::Command { command, .. } => {
                let n = command.job().0 - id(0).0;
                let place = match command {
                    JobCommand::Cancel { .. } => {
                        Place::Ended { end: End::Cancelled, at: now().wall }
                    }
                    _ => Place::Queued,
                };
                let mut header = record(n, place).header;
                if let JobCommand::Reprioritize { priority, .. } = command {
                    header.priority = *priority;
                }
                Reply::Job(Ok(Box::new((header, place))))
            }
            Input::Sweep { .. } => Reply::Swept(3),
            Input::Pause { .. } => Reply::Target(Ok(())),
            other => panic!("the admin address asked for {other:?}"),
        })
    }

    /// A loop that refuses every command on a job, and knows no target.
    pub(super) fn refusing(error: CommandError) -> World {
        World::with(move |input| match input {
            Input::Command { .. } => Reply::Job(Err(error.clone())),
            Input::Pause { .. } => Reply::Target(Err(UnknownTarget)),
            other => panic!("not asked for here: {other:?}"),
        })
    }

    pub(super) fn with(script: impl FnMut(&Input) -> Reply + Send + 'static) -> World {
        let (sender, messages) = mpsc::channel();
        let asked: Arc<Mutex<Vec<Input>>> = Arc::default();
        let seen = asked.clone();
        let mut script: Box<Script> = Box::new(script);
        // It ends with the last handle.
        std::thread::spawn(move || {
            for message in messages {
                match message {
                    Message::View(answer) => drop(answer.send(view())),
                    Message::Ask(Ask { make, answer, .. }) => {
                        let input = make(ReplyTo(0));
                        let reply = script(&input);
                        seen.lock().unwrap().push(input);
                        drop(answer.send(reply));
                    }
                    _ => panic!("the admin address only looks and asks"),
                }
            }
        });
        World::on(sender, asked)
    }

    /// No loop, and a real store that `fill` puts jobs into.
    pub(super) fn on_disk(fill: impl FnOnce(&mut Store)) -> World {
        let mut world = World::stopped();
        world.dir = tempfile::tempdir().unwrap();
        let mut store = store(&world.dir);
        fill(&mut store);
        let handle = Handle::new(mpsc::channel().0, store.reader(), directory(), Instant::now());
        let readiness = world.readiness.clone();
        world.router = router(
            AdminState::new(
                handle.clone(),
                Metrics::new(),
                Reloader::without_a_file(handle.clone()),
                readiness,
                None,
                Callbacks::none(&handle),
            ),
            Access::default(),
        );
        world
    }

    /// A loop that has ended.
    pub(super) fn stopped() -> World {
        World::on(mpsc::channel().0, Arc::default())
    }

    /// A loop that takes messages and never answers; keep the receiver.
    pub(super) fn hanging() -> (World, mpsc::Receiver<Message>) {
        let (sender, messages) = mpsc::channel();
        (World::on(sender, Arc::default()), messages)
    }

    fn on(loop_: mpsc::Sender<Message>, asked: Arc<Mutex<Vec<Input>>>) -> World {
        let dir = tempfile::tempdir().unwrap();
        // So that something can have lasted for long.
        let started = Instant::now().checked_sub(Duration::from_secs(3_600));
        let started = started.unwrap_or_else(Instant::now);
        let handle = Handle::new(loop_, store(&dir).reader(), directory(), started);
        let shelf = Arc::new(Shelf::default());
        let readiness = SharedReadiness::default();
        let events = Events::default();
        let state = AdminState {
            handle: handle.clone(),
            metrics: Metrics::new(),
            reloader: Reloader::without_a_file(handle.clone()),
            readiness: readiness.clone(),
            records: shelf.clone(),
            recent: Recent::default(),
            events: events.clone(),
            step_functions: None,
            callbacks: Callbacks::none(&handle),
        };
        let router = router(state.clone(), Access::default());
        World { router, handle, events, state, shelf, readiness, asked, dir }
    }

    /// With `[step_functions]` in the configuration.
    pub(super) fn with_step_functions(health: &Health) -> World {
        let mut world = World::new();
        world.state.step_functions = Some(health.clone());
        world.router = router(world.state.clone(), Access::default());
        world
    }

    pub(super) async fn get(&self, path: &str) -> Answered {
        self.send("GET", path, "").await
    }

    pub(super) async fn post(&self, path: &str) -> Answered {
        self.send("POST", path, "").await
    }

    pub(super) async fn send(&self, method: &str, path: &str, body: &'static str) -> Answered {
        let request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:7071");
        self.call(request.body(Body::from(body)).unwrap()).await
    }

    /// An answer whose body is still to come.
    pub(super) async fn open(&self, path: &str) -> http::Response<Body> {
        let request = Request::get(path).header("host", "127.0.0.1:7071");
        self.router.clone().call(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    pub(super) async fn call(&self, request: Request<Body>) -> Answered {
        let response = self.router.clone().call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answered { status: parts.status, headers: parts.headers, body }
    }
}

#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answered {
    pub(super) fn kind(&self) -> &str {
        self.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body of a 200.
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        assert_eq!((self.status.as_u16(), self.kind()), (200, "application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The body of an error with this status.
    #[track_caller]
    pub(super) fn problem(&self, status: u16) -> Value {
        let kind = "application/problem+json";
        assert_eq!((self.status.as_u16(), self.kind()), (status, kind), "{self:?}");
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], status);
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
        problem
    }

    /// The detail of an error with this status.
    #[track_caller]
    pub(super) fn detail(&self, status: u16) -> String {
        self.problem(status)["detail"].as_str().unwrap().to_owned()
    }
}
