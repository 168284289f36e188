use std::collections::HashMap;
use std::sync::Mutex;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde_json::{Value, json};

use super::*;
use crate::broker::job::JobState;
use crate::demo::auditor::{Books, Caller, Fate};
use crate::handle::Handle;

/// How a daemon treats what it is brought.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manners {
    Honest,
    /// Says that it did what it did not.
    Liar,
    /// Acknowledges and forgets.
    Forgetful,
    Full,
    Silent,
    /// Takes a second job under one `dedup_id`.
    Doubling,
}

/// A daemon with no queue: what it takes is done at once.
struct Daemon {
    manners: Manners,
    auditor: Arc<Auditor>,
    states: Mutex<HashMap<JobId, JobState>>,
    names: Mutex<HashMap<String, JobId>>,
    kinds: Mutex<Vec<String>>,
}

impl Daemon {
    fn take(&self, job: &Value) -> Value {
        assert_eq!(job["target"], "erp");
        let priority: Priority = job["priority"].as_str().unwrap().parse().unwrap();
        let name = job["dedup_id"].as_str();
        let mut names = self.names.lock().unwrap();
        if let Some(first) = name.and_then(|name| names.get(name))
            && self.manners != Manners::Doubling
        {
            return json!({ "id": first.to_string(), "duplicate": true });
        }
        let id = Handle::new_id();
        names.extend(name.map(|name| (name.to_owned(), id)));
        self.finish(id, priority, job["path"].as_str().unwrap());
        json!({ "id": id.to_string(), "state": "queued" })
    }

    fn finish(&self, id: JobId, priority: Priority, path: &str) {
        let caller = Caller {
            job: Some(id),
            attempt: Some(1),
            idempotency_key: Some(id.to_string()),
            priority: Some(priority),
        };
        let mut state = JobState::Succeeded;
        if self.manners != Manners::Liar {
            let missing = path.starts_with("/nowhere");
            let fate = if missing { Fate::Missing } else { Fate::Done };
            let receipt = self.auditor.arrive(caller, |_, _| fate);
            if missing {
                state = JobState::Failed;
            } else {
                self.auditor.worked(&receipt);
            }
        }
        if self.manners != Manners::Forgetful {
            self.states.lock().unwrap().insert(id, state);
        }
    }
}

type Shared = State<Arc<Daemon>>;

async fn submit(State(daemon): Shared, body: String) -> Response {
    match daemon.manners {
        Manners::Full => StatusCode::TOO_MANY_REQUESTS.into_response(),
        Manners::Silent => std::future::pending().await,
        _ => {
            let job = daemon.take(&serde_json::from_str(&body).unwrap());
            (StatusCode::ACCEPTED, job.to_string()).into_response()
        }
    }
}

async fn batch(State(daemon): Shared, headers: HeaderMap, body: String) -> Response {
    let kind = headers["content-type"].to_str().unwrap().to_owned();
    daemon.kinds.lock().unwrap().push(kind.clone());
    let jobs: Vec<Value> = if kind == "application/x-ndjson" {
        body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    } else {
        serde_json::from_str(&body).unwrap()
    };
    match daemon.manners {
        Manners::Full => {
            let problem = json!({ "status": 429 });
            json!({ "jobs": vec![problem; jobs.len()] }).to_string().into_response()
        }
        Manners::Silent => std::future::pending().await,
        _ => {
            let taken: Vec<Value> = jobs.iter().map(|job| daemon.take(job)).collect();
            json!({ "jobs": taken }).to_string().into_response()
        }
    }
}

async fn call(State(daemon): Shared, Path(path): Path<String>, headers: HeaderMap) -> Response {
    match daemon.manners {
        Manners::Full => return StatusCode::TOO_MANY_REQUESTS.into_response(),
        Manners::Silent => return std::future::pending().await,
        _ => {}
    }
    let priority = headers["tollgate-priority"].to_str().unwrap().parse().unwrap();
    let id = Handle::new_id();
    daemon.finish(id, priority, &format!("/{path}"));
    let accepted = daemon.manners != Manners::Liar;
    ([("tollgate-job-id", id.to_string())], json!({ "accepted": accepted }).to_string())
        .into_response()
}

async fn state(State(daemon): Shared, Path(id): Path<String>) -> Response {
    match daemon.states.lock().unwrap().get(&id.parse().unwrap()) {
        Some(state) => json!({ "id": id, "state": state.as_str() }).to_string().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

struct World {
    producer: Producer,
    daemon: Arc<Daemon>,
    server: JoinHandle<()>,
}

async fn world(manners: Manners) -> World {
    let auditor = Arc::new(Auditor::new());
    let daemon = Arc::new(Daemon {
        manners,
        auditor: auditor.clone(),
        states: Mutex::default(),
        names: Mutex::default(),
        kinds: Mutex::default(),
    });
    let routes = Router::new()
        .route("/v1/jobs", post(submit))
        .route("/v1/jobs/batch", post(batch))
        .route("/v1/jobs/{id}", get(state))
        .route("/proxy/erp/{*path}", any(call))
        .with_state(daemon.clone());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let client = DataClient::new(listener.local_addr().unwrap(), "erp");
    let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    World { producer: Producer { client, ledger: Arc::default(), auditor }, daemon, server }
}

/// Everything at once.
fn plan() -> Plan {
    Plan { seed: 5, act: Duration::ZERO, jobs: 200, endless: false }
}

async fn played(manners: Manners) -> World {
    let world = world(manners).await;
    let (_pace, told) = watch::channel(Pace::Play);
    play(world.producer.clone(), plan(), told).await;
    world
}

#[tokio::test]
async fn an_honest_daemon_gets_a_clean_tally() {
    let world = played(Manners::Honest).await;
    let Producer { ledger, auditor, .. } = &world.producer;
    assert_eq!(ledger.open(), 200);
    world.producer.ask_all().await;
    let (tally, waiting) = auditor.read(|books| ledger.close(books));
    assert_eq!((waiting, tally.loss_count, tally.turned_away, tally.unclear), ([0; 3], 0, 0, 0));
    assert_eq!((tally.acknowledged(), tally.done() + tally.dead()), (200, 200));
    let missing = auditor.read(|books| books.count(Fate::Missing));
    assert!(missing > 0, "the plan asks for what there is not, too");
    assert_eq!(tally.dead(), missing);
    assert_eq!((tally.calls, tally.duplicates), (10, 5));
    assert_eq!(tally.lines.each_ref().map(|line| line.waits.len() as u64), {
        tally.lines.each_ref().map(|line| line.acknowledged)
    });
    let kinds = world.daemon.kinds.lock().unwrap().clone();
    assert!(kinds.contains(&"application/json".to_owned()), "{kinds:?}");
    assert!(kinds.contains(&"application/x-ndjson".to_owned()), "{kinds:?}");
    assert_eq!(auditor.read(|books| (books.fault_count(), ledger.strangers(books))), (0, 0));
}

#[tokio::test]
async fn a_success_that_the_api_does_not_know_is_a_loss() {
    let world = played(Manners::Liar).await;
    world.producer.ask_all().await;
    let (tally, _) = world.producer.ledger.close(&Books::default());
    // Each job, and the ten synchronous callers' answers.
    assert_eq!((tally.loss_count, tally.done()), (210, 0));
}

#[tokio::test]
async fn an_acknowledged_job_that_is_not_there_is_a_loss() {
    let world = played(Manners::Forgetful).await;
    world.producer.ask_all().await;
    let (tally, waiting) = world.producer.ledger.close(&Books::default());
    assert_eq!((tally.loss_count, waiting), (200, [0; 3]));
    assert!(tally.losses.iter().all(|(_, loss)| *loss == Loss::Gone));
}

#[tokio::test]
async fn what_is_turned_away_is_no_promise() {
    let world = played(Manners::Full).await;
    let (tally, _) = world.producer.ledger.close(&Books::default());
    assert_eq!((tally.acknowledged(), tally.turned_away, tally.loss_count), (0, 200, 0));
}

#[tokio::test]
async fn a_second_job_under_one_name_is_found_out() {
    let world = played(Manners::Doubling).await;
    let (tally, _) = world.producer.ledger.close(&Books::default());
    assert_eq!((tally.loss_count, tally.duplicates, tally.acknowledged()), (5, 0, 205));
    assert!(tally.losses.iter().all(|(_, loss)| *loss == Loss::Doubled));
}

#[tokio::test]
async fn callers_that_hang_up_leave_it_unclear() {
    let world = world(Manners::Silent).await;
    let traffic = Traffic::start(world.producer.clone(), plan());
    while world.daemon.kinds.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!traffic.is_over());
    traffic.stop(Duration::ZERO).await;
    let (tally, _) = world.producer.ledger.close(&Books::default());
    assert_eq!((tally.acknowledged(), tally.turned_away, tally.loss_count), (0, 0, 0));
    let unclear = tally.unclear;
    assert!(unclear >= 25, "at least a burst was outstanding: {unclear}");
}

#[tokio::test]
async fn a_daemon_that_is_gone_has_lost_what_is_open() {
    let world = played(Manners::Honest).await;
    world.server.abort();
    let _ = world.server.await;
    let unreachable = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = unreachable.local_addr().unwrap();
    drop(unreachable);
    let producer = Producer { client: DataClient::new(address, "erp"), ..world.producer };
    producer.ask_all().await;
    let (tally, waiting) = producer.ledger.close(&Books::default());
    assert_eq!((tally.loss_count, waiting), (200, [0; 3]));
    assert!(tally.losses.iter().all(|(_, loss)| *loss == Loss::NoAnswer));
}
