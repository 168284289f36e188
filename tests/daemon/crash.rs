//! SIGKILL under load: every acknowledged job ends, and the target's own clock never counts more
//! than the limit.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tollgate::broker::job::Priority;
use tollgate::demo::fragile_api::{Failures, FragileApi, Fragility, Latency};

use crate::metronome::Metronome;
use crate::support::{Client, Daemon, erp};

struct Plan {
    jobs: usize,
    per_second: usize,
    kills: usize,
    failures: Failures,
}

/// Twenty jobs a batch, each with a `dedup_id`: a producer that heard nothing asks again.
const BATCH: usize = 20;

/// Takes the daemon's word for acknowledgements and the API's for everything else.
async fn run(plan: Plan) {
    let api = FragileApi::start(Fragility {
        seed: 7,
        latency: Latency::Uniform {
            least: Duration::from_millis(1),
            most: Duration::from_millis(30),
        },
        failures: plan.failures,
        ..Fragility::SOUND
    })
    .await
    .unwrap();
    let more = "max_concurrent = 64\n[targets.erp.retry]\nmin_backoff = \"50ms\"\n\
                max_backoff = \"1s\"\nmax_attempts = 50\n";
    let mut daemon = Daemon::start(&erp(api.address(), &format!("{}/s", plan.per_second), more));
    let client = Client::new();
    let (addresses, _) = tokio::sync::watch::channel(daemon.data);
    let (acknowledged, mut heard) = mpsc::unbounded_channel();
    let producer = tokio::spawn(produce(
        client.clone(),
        addresses.subscribe(),
        plan.jobs,
        plan.per_second,
        acknowledged,
    ));

    let metronome = Metronome::start();
    let mut ids = BTreeSet::new();
    let between = plan.jobs / (plan.kills + 1);
    for kill in 1..=plan.kills {
        // By progress at the target, not by time: each kill meets a daemon at work.
        let mark = (kill * between) as u64;
        while api.auditor().read(tollgate::demo::auditor::Books::total) < mark {
            let more = tokio::time::timeout(Duration::from_millis(10), heard.recv()).await;
            ids.extend(more.ok().flatten());
        }
        daemon.kill();
        daemon.restart();
        addresses.send_replace(daemon.data);
    }
    while let Some(id) = heard.recv().await {
        ids.insert(id);
    }
    producer.await.unwrap();
    assert_eq!(ids.len(), plan.jobs, "every job was acknowledged under its own id");

    let mut succeeded = 0;
    for id in &ids {
        let job = client.ended(daemon.data, id).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        succeeded += 1;
        check_history(&job, &api);
    }
    let stalled = metronome.longest_silence();
    api.auditor().read(|books| {
        println!(
            "{succeeded} of {} jobs succeeded over {} kills; {} requests, {} of them repeats; \
             most in any second {} of {}; {} faults; the API was kept from its clock for {stalled:?} \
             at most",
            plan.jobs,
            plan.kills,
            books.total(),
            books.repeats(),
            books.peak().arrivals,
            plan.per_second,
            books.fault_count(),
        );
        assert_eq!(books.fault_count(), 0, "{:?}", books.faults());
        assert_eq!(books.jobs().count(), plan.jobs, "the API saw jobs that nobody was told of");
        // Arrivals are counted when the API gets to run: while it is kept from that, what was sent
        // in good order piles up before its door. On a quiet machine this adds nothing.
        let piled_up = (stalled.as_secs_f64() * plan.per_second as f64) as usize;
        let most = books.peak().arrivals;
        assert!(most <= plan.per_second + piled_up, "{most} arrivals in one second");
    });
    assert!(daemon.terminate().success());
}

/// Each arrival at the API is an attempt in the job's history. (The history may have one more: a
/// start that was on record when the daemon was killed, and had not left.)
fn check_history(job: &serde_json::Value, api: &FragileApi) {
    let id = job["id"].as_str().unwrap().parse().unwrap();
    let arrivals = api.auditor().read(|books| books.job(id).map_or(0, |book| book.arrivals));
    let sent = job["history"].as_array().unwrap().iter().filter(|line| line["event"] == "sent");
    let sent = sent.count();
    assert!(arrivals >= 1 && sent >= arrivals as usize, "{arrivals} arrivals: {job}");
}

/// Submits jobs at twice the rate until all are acknowledged, over whatever dies under way.
async fn produce(
    client: Client,
    mut address: tokio::sync::watch::Receiver<std::net::SocketAddr>,
    jobs: usize,
    per_second: usize,
    acknowledged: mpsc::UnboundedSender<String>,
) {
    let started = Instant::now();
    for first in (0..jobs).step_by(BATCH) {
        let due = Duration::from_secs_f64(first as f64 / (2 * per_second) as f64);
        tokio::time::sleep_until(started + due).await;
        let batch: Vec<_> = (first..(first + BATCH).min(jobs))
            .map(|number| {
                json!({
                    "target": "erp",
                    "priority": Priority::ALL[number % 3].as_str(),
                    "path": format!("/orders/{number}"),
                    "body": {"number": number},
                    "dedup_id": format!("order-{number}"),
                })
            })
            .collect();
        let body = serde_json::Value::from(batch).to_string();
        loop {
            let to = *address.borrow_and_update();
            let answer = client.send("POST", to, "/v1/jobs/batch", &[], body.clone()).await;
            match answer {
                Ok(answer) if answer.status == 200 => {
                    for job in answer.json()["jobs"].as_array().unwrap() {
                        let id = job["id"].as_str().unwrap_or_else(|| panic!("no job: {job}"));
                        // The test that listens ends only after this.
                        acknowledged.send(id.to_owned()).unwrap();
                    }
                    break;
                }
                Ok(answer) => panic!("{}: {:?}", answer.status, answer.body),
                // It died: wait for the next one. Where the same one closed an old connection,
                // asking it again at once is right.
                Err(_) => {
                    let next = address.wait_for(|now| *now != to);
                    let _ = tokio::time::timeout(Duration::from_millis(200), next).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_over_three_kills() {
    let failures = Failures { error: 30, broken: 20, half: 10, ..Failures::NONE };
    run(Plan { jobs: 1_200, per_second: 200, kills: 3, failures }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute"]
async fn ten_thousand_jobs_over_ten_kills() {
    let failures = Failures { error: 20, broken: 10, half: 5, ..Failures::NONE };
    run(Plan { jobs: 10_000, per_second: 200, kills: 10, failures }).await;
}
