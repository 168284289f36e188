//! The workers over a real store and a stub of the service.

mod heartbeats;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::mpsc;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::stub::{Call, Stub};
use super::*;
use crate::broker::change::{Change, Insert, Move, Turn};
use crate::broker::io::{Input, Settlement};
use crate::broker::job::{End, Event, Happening, Header, JobId, Owed, Place, Source};
use crate::broker::payload::{Answer, Request};
use crate::broker::policy::Rate;
use crate::broker::time::Wall;
use crate::handle::{Directory, Message};
use crate::sources::fake;
use crate::store::{Options, Store};

/// A store, and a loop that does nothing but commit what it is told of tokens.
struct World {
    stub: Stub,
    store: Arc<Mutex<Shelf>>,
    handle: Handle,
    told: UnboundedReceiver<Input>,
    metrics: Metrics,
    _dir: tempfile::TempDir,
}

struct Shelf {
    store: Store,
    turn: u64,
    /// What is told is not committed: as if the loop died before it could.
    deaf: bool,
}

impl Shelf {
    fn commit(&mut self, changes: &[Change]) {
        self.store.commit(Turn(self.turn), changes).unwrap();
        self.turn += 1;
    }

    fn shift(&mut self, header: Header, owed: Owed, from: Place, to: Place, what: Happening) {
        let answer = Answer { status: 200, body: Bytes::from("{\"n\":1}"), ..Answer::default() };
        self.commit(&[Change::Move(Box::new(Move {
            from,
            from_priority: header.priority,
            from_seat: header.seat,
            from_owed: header.owed,
            from_stand: Default::default(),
            header: Header { owed, ..header },
            to,
            events: vec![Event { at: Wall::EPOCH, what }],
            answer: matches!(to, Place::Ended { end: End::Succeeded, .. })
                .then(|| Arc::new(answer)),
        }))]);
    }

    fn settle(&mut self, id: JobId, how: &Settlement) {
        let record = self.store.reader().job(id).unwrap().unwrap();
        let what = match how {
            Settlement::Answered => Happening::TokenAnswered,
            Settlement::Late { reason } => Happening::TokenLate { reason: reason.clone() },
        };
        self.shift(record.header, Owed::Nothing, record.place, record.place, what);
    }
}

fn header(number: u128) -> Header {
    let mut header = fake::record(JobId(number), Place::Queued).header;
    header.target = crate::broker::job::TargetId(0);
    header.seat = crate::broker::job::Seat(u64::try_from(number).unwrap());
    header.owed = Owed::TaskToken;
    header
}

fn insert(number: u128, place: Place) -> Change {
    let request = Request {
        method: "POST".into(),
        path: "/".into(),
        task_token: TaskToken::new(token_of(number)),
        ..Request::default()
    };
    Change::Insert(Box::new(Insert {
        source: Source::Api,
        header: header(number),
        place,
        request: Arc::new(request),
        claim: None,
        events: vec![],
    }))
}

fn token_of(number: u128) -> String {
    format!("token-{number:05}")
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let options = Options { path, cache: 1 << 20, min_free_disk: 0, keys: None };
        let (store, _) = Store::open(&options, &["erp".to_owned()]).unwrap();
        let (to_loop, messages) = mpsc::channel();
        let reader = store.reader();
        let handle = Handle::new(to_loop, reader, Directory::default(), std::time::Instant::now());
        let store = Arc::new(Mutex::new(Shelf { store, turn: 0, deaf: false }));
        let (note, told) = unbounded_channel();
        let shelf = store.clone();
        std::thread::spawn(move || {
            for message in messages {
                let Message::Tell(input) = message else { continue };
                let mut shelf = shelf.lock().unwrap();
                if let Input::Settled { job, how } = &input
                    && !shelf.deaf
                {
                    shelf.settle(*job, how);
                }
                drop(shelf);
                let _ = note.send(input);
            }
        });
        let stub = Stub::new();
        World { stub, store, handle, told, metrics: Metrics::new(), _dir: dir }
    }

    /// Jobs in line, with a token each.
    fn waiting(&self, numbers: std::ops::Range<u128>) {
        let inserts: Vec<_> = numbers.map(|number| insert(number, Place::Queued)).collect();
        self.store.lock().unwrap().commit(&inserts);
    }

    fn ended(&self, numbers: std::ops::Range<u128>) {
        self.waiting(numbers.clone());
        let mut shelf = self.store.lock().unwrap();
        for number in numbers {
            let running = Place::Running { started: Wall::EPOCH };
            let over = Place::Ended { end: End::Succeeded, at: Wall::EPOCH };
            let sent = Happening::Sent { attempt: 1, passed_over: 0 };
            shelf.shift(header(number), Owed::TaskToken, Place::Queued, running, sent);
            let done = Happening::Done { attempt: 1, status: 200 };
            shelf.shift(header(number), Owed::TaskToken, running, over, done);
        }
    }

    fn start(&self, heartbeat: Option<Duration>) -> (StepFunctions, watch::Sender<bool>) {
        self.start_at(heartbeat, 5_000)
    }

    fn start_at(
        &self,
        heartbeat: Option<Duration>,
        per_second: u32,
    ) -> (StepFunctions, watch::Sender<bool>) {
        let config = config::StepFunctions {
            endpoint_url: None,
            heartbeat,
            check_before_dispatch: true,
            callback_rate: Rate::new(NonZeroU32::new(per_second).unwrap(), Duration::from_secs(1))
                .unwrap(),
        };
        let (stop, stopped) = watch::channel(false);
        let metrics = self.metrics.clone();
        let reader = self.handle.reader().clone();
        metrics.callbacks_pending_from(move || reader.outbox_len().ok());
        let service = self.stub.aws.aws().step_functions(None);
        (StepFunctions::start(service, &config, self.handle.clone(), metrics, stopped), stop)
    }

    async fn settled(&mut self) -> (JobId, Settlement) {
        match self.told.recv().await.unwrap() {
            Input::Settled { job, how } => (job, how),
            other => panic!("not of a token: {other:?}"),
        }
    }

    fn pending(&self) -> u64 {
        self.handle.reader().outbox_len().unwrap()
    }

    fn counted(&self, line: &str) -> bool {
        let view = crate::handle::View {
            now: Default::default(),
            targets: Vec::new(),
            limits: Vec::new(),
        };
        self.metrics.render(&view, &Default::default()).lines().any(|other| other == line)
    }
}

fn tokens(calls: &[Call]) -> Vec<String> {
    let mut tokens: Vec<_> = calls.iter().map(|call| call.token().to_owned()).collect();
    tokens.sort();
    tokens
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_is_answered_once_and_leaves_the_outbox() {
    let mut world = World::new().await;
    // More than a page, and more than are sent at once.
    world.ended(0..600);
    let (sfn, stop) = world.start(None);
    for _ in 0..600 {
        assert_eq!(world.settled().await.1, Settlement::Answered);
    }
    // One that ends later, with an id before all that were read.
    world.ended(700..701);
    sfn.job_ended();
    assert_eq!(world.settled().await.0, JobId(700));
    assert_eq!(world.pending(), 0);
    let calls = world.stub.calls();
    assert!(calls.iter().all(|call| call.operation == "SendTaskSuccess"));
    let expected: Vec<_> = (0..600).chain(700..701).map(token_of).collect();
    assert_eq!(tokens(&calls), expected);
    assert_eq!(sfn.health().state(), State::Ok);
    assert!(world.counted("tollgate_callbacks_total{result=\"accepted\"} 601"));
    assert!(world.counted("tollgate_callbacks_pending 0"));
    stop.send(true).unwrap();
    sfn.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weather_delays_answers_and_loses_none() {
    let mut world = World::new().await;
    world.ended(0..50);
    world.stub.will_say([
        Some((400, "ThrottlingException")),
        Some((503, "")),
        Some((400, "AccessDeniedException")),
    ]);
    let (sfn, _stop) = world.start(None);
    let mut answered = BTreeSet::new();
    for _ in 0..50 {
        let (job, how) = world.settled().await;
        assert_eq!(how, Settlement::Answered);
        assert!(answered.insert(job));
    }
    assert_eq!((world.pending(), sfn.health().state()), (0, State::Ok));
    assert_eq!(world.stub.calls().len(), 53);
    assert!(world.counted("tollgate_callbacks_total{result=\"retried\"} 2"));
    assert!(world.counted("tollgate_callbacks_total{result=\"held\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_key_is_locked_holds_up_only_itself() {
    let mut world = World::new().await;
    world.ended(0..100);
    world
        .stub
        .always(|call| (call.token() == token_of(0)).then_some((400, "KmsAccessDeniedException")));
    let (sfn, _stop) = world.start(None);
    for _ in 0..99 {
        assert_ne!(world.settled().await.0, JobId(0));
    }
    assert_eq!(world.pending(), 1);
    let State::Held(Trouble { part: Part::SomeAnswers, error, .. }) = sfn.health().state() else {
        panic!("{:?}", sfn.health().state())
    };
    assert!(error.contains("KmsAccessDenied") && !error.contains("token-"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_answered_is_late_and_what_is_too_large_is_a_failure() {
    let mut world = World::new().await;
    world.ended(0..2);
    world.stub.always(|call| match (call.operation.as_str(), call.token()) {
        (_, "token-00000") => Some((400, "TaskTimedOut")),
        ("SendTaskSuccess", _) => Some((400, "InvalidOutput")),
        _ => None,
    });
    let (_sfn, _stop) = world.start(None);
    for _ in 0..2 {
        match world.settled().await {
            (JobId(0), Settlement::Late { reason }) => {
                assert!(reason.contains("answered before, or its task is over"), "{reason}");
            }
            (JobId(1), Settlement::Answered) => {}
            other => panic!("{other:?}"),
        }
    }
    let calls = world.stub.calls();
    let failure = calls.iter().find(|call| call.operation == "SendTaskFailure").unwrap();
    assert_eq!(failure.input["error"], "Tollgate.ResultTooLarge");
    assert!(world.counted("tollgate_callbacks_total{result=\"late\"} 1"));
    assert!(world.counted("tollgate_callbacks_total{result=\"too_large\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_sent_and_not_recorded_is_late_after_the_crash() {
    let mut world = World::new().await;
    world.ended(0..20);
    world.store.lock().unwrap().deaf = true;
    let (sfn, stop) = world.start(None);
    for _ in 0..20 {
        assert_eq!(world.settled().await.1, Settlement::Answered);
    }
    stop.send(true).unwrap();
    sfn.stopped().await;
    assert_eq!((world.pending(), world.stub.calls().len()), (20, 20), "and none twice meanwhile");
    world.store.lock().unwrap().deaf = false;
    world.stub.always(|_| Some((400, "TaskTimedOut")));
    let (_sfn, _stop) = world.start(None);
    for _ in 0..20 {
        assert!(matches!(world.settled().await.1, Settlement::Late { .. }));
    }
    assert_eq!(world.pending(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_job_is_still_wanted_is_a_guess_only_while_nobody_can_say() {
    let world = World::new().await;
    let (sfn, _stop) = world.start(None);
    let token = TaskToken::new("t").unwrap();
    for (says, gone) in [
        (None, Some(false)),
        (Some((400, "TaskTimedOut")), Some(true)),
        (Some((400, "TaskDoesNotExist")), Some(true)),
        (Some((400, "InvalidToken")), None),
        (Some((400, "AccessDeniedException")), None),
        (Some((500, "")), None),
    ] {
        world.stub.will_say([says]);
        let told = match sfn.still_wanted(&token).await {
            Wanted::Yes => Some(false),
            Wanted::Gone { .. } => Some(true),
            Wanted::Unknown => None,
        };
        assert_eq!(told, gone, "{says:?}");
    }
}

#[test]
fn of_a_token_a_hash_is_shown() {
    let token = TaskToken::new("secret").unwrap();
    assert_eq!(token_hash(&token), "2bb80d53");
}
