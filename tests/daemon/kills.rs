//! SIGKILL again and again, at any moment of a life, with all promises of "What it promises" looked
//! at from outside: by what was acknowledged, what arrived at two targets, and what Step Functions
//! was told. Nothing that the daemon says of itself counts, but that a job has ended.
//!
//! `cargo test --release --test daemon kills:: -- --ignored --nocapture`: two hundred kills.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use tokio::sync::watch;
use tollgate::broker::job::{JobId, Priority};
use tollgate::demo::auditor::Books;
use tollgate::demo::fragile_api::{Failures, FragileApi, Fragility, Latency};

use crate::metronome::Metronome;
use crate::support::{Client, Daemon, nap};

/// Of each target.
const PER_SECOND: usize = 200;
/// Jobs that a producer hands in at once.
const BATCH: usize = 20;
/// Jobs that are handed in before the targets have seen those before them.
const AHEAD: u64 = 400;
/// In KiB. A daemon with this backlog takes a tenth of it.
const MEMORY: u64 = 512 * 1_024;

/// What a Step Functions of our own was told of each task, where it took it.
#[derive(Clone, Debug, Default)]
struct Workflows(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    calls: u64,
    answers: BTreeMap<String, Vec<&'static str>>,
}

impl Workflows {
    fn told<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every seventh call fails.
    async fn start(&self) -> SocketAddr {
        let app = axum::Router::new().fallback(Workflows::call).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // A connection that a kill has cut is none of this one's business.
        tokio::spawn(axum::serve(listener, app).into_future());
        address
    }

    async fn call(
        State(workflows): State<Workflows>,
        headers: HeaderMap,
        body: String,
    ) -> impl IntoResponse {
        let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
        let verdict = match target {
            Some("AWSStepFunctions.SendTaskSuccess") => "success",
            Some("AWSStepFunctions.SendTaskFailure") => "failure",
            other => panic!("nobody asked for {other:?}"),
        };
        let body: Value = serde_json::from_str(&body).unwrap();
        let token = body["taskToken"].as_str().unwrap().to_owned();
        let failed = workflows.told(|told| {
            told.calls += 1;
            let failed = told.calls.is_multiple_of(7);
            if !failed {
                told.answers.entry(token).or_default().push(verdict);
            }
            failed
        });
        let status = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.0")], "{}")
    }
}

/// A job that a caller was told of.
#[derive(Debug)]
struct Acknowledged {
    id: String,
    number: usize,
}

impl Acknowledged {
    fn at_most_once(&self) -> bool {
        self.number.is_multiple_of(3)
    }

    fn token(&self) -> Option<String> {
        token(self.number)
    }
}

fn token(number: usize) -> Option<String> {
    number.is_multiple_of(4).then(|| format!("token-{number}"))
}

fn job(number: usize) -> Value {
    json!({
        "target": if number.is_multiple_of(3) { "once" } else { "erp" },
        "priority": Priority::ALL[number % 3].as_str(),
        "path": format!("/orders/{number}"),
        "body": {"number": number},
        "dedup_id": format!("order-{number}"),
        "task_token": token(number),
    })
}

/// Hands jobs in until `enough`, each batch until it is acknowledged, over whatever dies under way.
async fn produce(
    client: Client,
    mut address: watch::Receiver<SocketAddr>,
    enough: watch::Receiver<bool>,
    seen: impl Fn() -> u64,
) -> Vec<Acknowledged> {
    let mut all: Vec<Acknowledged> = Vec::new();
    while !*enough.borrow() {
        if all.len() as u64 > seen() + AHEAD {
            nap().await;
            continue;
        }
        let first = all.len();
        let batch: Vec<Value> = (first..first + BATCH).map(job).collect();
        let body = Value::from(batch).to_string();
        loop {
            let to = *address.borrow_and_update();
            match client.send("POST", to, "/v1/jobs/batch", &[], body.clone()).await {
                Ok(answer) if answer.status == 200 => {
                    let jobs = answer.json();
                    for (at, job) in jobs["jobs"].as_array().unwrap().iter().enumerate() {
                        let id = job["id"].as_str().unwrap_or_else(|| panic!("no job: {job}"));
                        all.push(Acknowledged { id: id.to_owned(), number: first + at });
                    }
                    break;
                }
                Ok(answer) => panic!("{}: {:?}", answer.status, answer.body),
                // It died: wait for the next one.
                Err(_) => {
                    let next = address.wait_for(|now| *now != to);
                    let _ = tokio::time::timeout(Duration::from_millis(200), next).await;
                }
            }
        }
    }
    all
}

async fn api(seed: u64, failures: Failures) -> FragileApi {
    let latency =
        Latency::Uniform { least: Duration::from_millis(1), most: Duration::from_millis(30) };
    FragileApi::start(Fragility { seed, latency, failures, ..Fragility::SOUND }).await.unwrap()
}

/// Of the daemon as it runs, in KiB.
fn memory(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn run(kills: u64) {
    let erp = api(7, Failures { error: 30, broken: 20, half: 10, ..Failures::NONE }).await;
    let once = api(8, Failures { broken: 60, half: 20, ..Failures::NONE }).await;
    let workflows = Workflows::default();
    let aws = |name: &str| (name.to_owned(), "x".to_owned());
    let aws = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"].map(aws).to_vec();
    let mut targets = format!(
        "[step_functions]\nendpoint_url = \"http://{}\"\nheartbeat = \"off\"\n\
         check_before_dispatch = false\n",
        workflows.start().await
    );
    for (name, api, delivery) in [("erp", &erp, "at-least-once"), ("once", &once, "at-most-once")] {
        targets += &format!(
            "[targets.{name}]\nurl = \"http://{}\"\ntimeout = \"5s\"\ndelivery = \"{delivery}\"\n\
             [targets.{name}.limit]\nrate = \"{PER_SECOND}/s\"\nmax_concurrent = 64\n\
             hold_after_timeout = \"500ms\"\n\
             [targets.{name}.retry]\nmin_backoff = \"50ms\"\nmax_backoff = \"1s\"\n\
             max_attempts = 50\n",
            api.address()
        );
    }
    let mut daemon = Daemon::start_in(&targets, aws);
    let client = Client::new();
    let (addresses, _) = watch::channel(daemon.data);
    let (stop, enough) = watch::channel(false);
    let total = |api: &FragileApi| api.auditor().read(Books::total);
    let books = (erp.auditor().clone(), once.auditor().clone());
    let seen = move || books.0.read(Books::total) + books.1.read(Books::total);
    let producer = tokio::spawn(produce(client.clone(), addresses.subscribe(), enough, seen));

    let metronome = Metronome::start();
    let (mut dice, mut most_memory) = (0x9e37_79b9_7f4a_7c15_u64, 0);
    for _kill in 0..kills {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        // By progress at the targets, not by time: most kills meet a daemon at work, and one in
        // eight one that has hardly begun.
        let more = if dice.is_multiple_of(8) { 0 } else { 1 + dice / 8 % 60 };
        let mark = total(&erp) + total(&once) + more;
        while total(&erp) + total(&once) < mark {
            nap().await;
        }
        most_memory = most_memory.max(memory(&daemon));
        daemon.kill();
        daemon.restart();
        addresses.send_replace(daemon.data);
    }
    stop.send_replace(true);
    let jobs = producer.await.unwrap();

    let (mut unknown, mut tokens) = (0, 0);
    for job in &jobs {
        let ended = client.ended(daemon.data, &job.id).await;
        let id: JobId = job.id.parse().unwrap();
        let api = if job.at_most_once() { &once } else { &erp };
        let (arrivals, done) = api
            .auditor()
            .read(|books| books.job(id).map_or((0, 0), |book| (book.arrivals, book.done)));
        if !job.at_most_once() {
            // Promise 1: it was acknowledged, so it is done.
            assert_eq!(ended["state"], "succeeded", "{ended}");
            assert!(done >= 1, "{ended} is done nowhere");
        } else if ended["state"] == "succeeded" {
            // Promise 3.
            assert_eq!((arrivals, done), (1, 1), "{ended}");
        } else {
            assert_eq!(ended["error"]["code"], "Tollgate.OutcomeUnknown", "{ended}");
            assert!(arrivals <= 1, "sent {arrivals} times: {ended}");
            unknown += 1;
        }
        if let Some(token) = job.token() {
            // Promise 4. What is told more than once is told alike.
            let verdict = if ended["state"] == "succeeded" { "success" } else { "failure" };
            let told = loop {
                match workflows.told(|told| told.answers.get(&token).cloned()) {
                    Some(told) => break told,
                    None => nap().await,
                }
            };
            assert!(told.iter().all(|said| *said == verdict), "{told:?}: {ended}");
            tokens += 1;
        }
    }
    let stalled = metronome.longest_silence();
    let known: BTreeSet<JobId> = jobs.iter().map(|job| job.id.parse().unwrap()).collect();
    for (name, api) in [("erp", &erp), ("once", &once)] {
        api.auditor().read(|books| {
            println!(
                "{name}: {} requests, {} of them repeats, most in any second {} of {PER_SECOND}, \
                 {} faults",
                books.total(),
                books.repeats(),
                books.peak().arrivals,
                books.fault_count()
            );
            // Attempts numbered in order, one Idempotency-Key for all of a job's requests.
            assert_eq!(books.fault_count(), 0, "{:?}", books.faults());
            // Promise 2. What was kept waiting before the API's door arrives at once.
            let piled_up = (stalled.as_secs_f64() * PER_SECOND as f64) as usize;
            assert!(books.peak().arrivals <= PER_SECOND + piled_up);
            // Promise 1, the other way round: nothing was sent that nobody was told of.
            let unknown: Vec<JobId> =
                books.jobs().map(|(id, _)| id).filter(|id| !known.contains(id)).collect();
            assert_eq!(unknown, [], "nobody was told of these");
        });
    }
    assert_eq!(total(&once), once.auditor().read(|books| books.jobs().count() as u64));
    // Promise 6.
    assert!(most_memory < MEMORY, "{most_memory} KiB");
    println!(
        "{kills} kills, {} jobs acknowledged: {unknown} of unknown outcome, {tokens} tokens \
         answered; at most {most_memory} KiB of memory; the targets were kept from their clocks \
         for {stalled:?} at most",
        jobs.len()
    );
    assert!(daemon.terminate().success());
    let check = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["store", "check"])
        .arg(daemon.store())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success() && said.contains("is in order"), "{said}");
    println!("{}", said.trim());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_holds_over_eight_kills() {
    run(8).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "five minutes"]
async fn every_promise_holds_over_two_hundred_kills() {
    run(200).await;
}
