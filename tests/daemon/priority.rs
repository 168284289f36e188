//! HIGH through a backlog of BATCH, and BATCH under a flood of HIGH. Decided by counting requests
//! at the API: what was sent between two moments, not how long it took.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::broker::job::Priority;
use tollgate::demo::auditor::Books;
use tollgate::demo::fragile_api::{FragileApi, Fragility};

use crate::support::broken_disk::Saboteur;
use crate::support::{Client, Daemon, erp};

fn jobs(count: usize, priority: &str) -> String {
    let job = json!({"target": "erp", "priority": priority, "path": "/x"});
    Value::from(vec![job; count]).to_string()
}

async fn fill(client: &Client, daemon: &Daemon, count: usize, priority: &str) {
    for _ in 0..count / 1_000 {
        let batch = jobs(1_000, priority);
        let answer = client.send("POST", daemon.data, "/v1/jobs/batch", &[], batch).await.unwrap();
        assert_eq!(answer.status, 200);
    }
}

async fn high_through_batch(backlog: usize, rate: usize, trials: usize) {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let targets = erp(api.address(), &format!("{rate}/s"), "");
    let daemon = Daemon::start(&targets);
    let client = Client::new();
    fill(&client, &daemon, backlog, "BATCH").await;
    let mut passed = Vec::new();
    let mut waits = Vec::new();
    for trial in 0..trials {
        // Apart by a number of tokens that drifts against their rhythm.
        let pause = Duration::from_micros(90_000 + 1_370 * trial as u64);
        tokio::time::sleep_until(tokio::time::Instant::now() + pause).await;
        let body = json!({"target": "erp", "priority": "HIGH", "path": "/high"});
        let id = client.submit(daemon.data, &body).await.parse().unwrap();
        let acknowledged = api.auditor().now();
        let ended = client.ended(daemon.data, &format!("{id}")).await;
        assert_eq!(ended["state"], "succeeded");
        let first = api.auditor().read(|books| books.job(id).unwrap().first_at);
        let before = api.auditor().read(|books| {
            let between = books.arrivals().iter().filter(|a| a.at > acknowledged && a.at < first);
            between.count()
        });
        passed.push(before);
        waits.push(first.since(acknowledged));
    }
    passed.sort_unstable();
    waits.sort_unstable();
    let token = Duration::from_secs(1) / u32::try_from(rate).unwrap();
    println!(
        "HIGH through {backlog} BATCH at {rate}/s, {trials} trials: wait p50 {:?} p99 {:?} (a token \
         is {token:?}); requests sent in between: at most {}",
        waits[trials / 2],
        waits[trials * 99 / 100],
        passed[trials - 1],
    );
    // One that was chosen already; so HIGH goes with the second token at the latest.
    assert!(passed[trials - 1] <= 1, "{passed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn high_goes_with_the_second_token_at_the_latest() {
    high_through_batch(5_000, 50, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "half a minute"]
async fn high_through_fifty_thousand_batch() {
    high_through_batch(50_000, 50, 100).await;
}

async fn batch_under_a_flood(rate: usize, sent: usize) {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let more = "max_concurrent = 20\n[targets.erp.priority]\nmax_deferrals = 20\n";
    let daemon = Daemon::start(&erp(api.address(), &format!("{rate}/s"), more));
    let client = Client::new();
    client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    for priority in ["HIGH", "NORMAL", "BATCH"] {
        fill(&client, &daemon, sent.next_multiple_of(1_000), priority).await;
    }
    client.post(daemon.admin, "/v1/targets/erp/resume", &json!({})).await;
    client
        .until(daemon.admin, "/v1/targets/erp", |_| api.auditor().read(Books::total) >= sent as u64)
        .await;
    let order: Vec<Priority> = api.auditor().read(|books| {
        books.arrivals().iter().take(sent).map(|arrival| arrival.caller.priority.unwrap()).collect()
    });
    for lower in [Priority::Normal, Priority::Batch] {
        let turns: Vec<usize> = (0..sent).filter(|turn| order[*turn] == lower).collect();
        println!("{lower}: {} of {sent} under a flood of HIGH", turns.len());
        for pair in turns.windows(2) {
            let higher = order[pair[0]..pair[1]].iter().filter(|other| **other < lower).count();
            // Requests that are under way together may arrive in another order.
            assert!(higher <= 20 + 20, "{lower} was passed over {higher} times");
        }
        assert!(turns.len() >= sent / 24, "{lower} had {} of {sent}", turns.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_has_its_share_under_a_flood_of_high() {
    batch_under_a_flood(500, 1_000).await;
}

/// A disk that takes its time with each commit, and many callers with batches at once, who have
/// asked before it: a HIGH job is not acknowledged with the last of them.
async fn one_job_passes(callers: usize, batch: usize) {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let daemon = Daemon::start(&erp(api.address(), "1/h", ""));
    let client = Client::new();
    let slowly = "fdatasync:delay_enter=200000";
    let Some(_saboteur) = Saboteur::attach(&daemon, slowly) else { return };
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut others: tokio::task::JoinSet<()> = (0..callers)
        .map(|_| {
            let (client, data, acknowledged) = (client.clone(), daemon.data, acknowledged.clone());
            async move {
                let batch = jobs(batch, "BATCH");
                let answer = client.send("POST", data, "/v1/jobs/batch", &[], batch).await.unwrap();
                assert_eq!(answer.status, 200);
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
        })
        .collect();
    // One commit is being written, the next is full, and the others wait or are on their way.
    client
        .until(daemon.admin, "/v1/targets/erp", |target| {
            target["priorities"]["BATCH"]["depth"].as_u64().unwrap() >= 1_500
        })
        .await;
    client
        .submit(daemon.data, &json!({"target": "erp", "priority": "HIGH", "path": "/high"}))
        .await;
    let before = acknowledged.load(Ordering::SeqCst);
    while let Some(answered) = others.join_next().await {
        answered.unwrap();
    }
    println!("{before} of {callers} batches of {batch} were acknowledged before one job");
    assert!(before <= callers / 2, "{before}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_job_passes_the_batches_of_others() {
    one_job_passes(12, 1_000).await;
}

/// Requests as small as its own, and more of them than a commit takes.
#[tokio::test(flavor = "multi_thread")]
async fn high_is_taken_in_before_batch() {
    one_job_passes(400, 32).await;
}
