//! One who has much and many who have little, in one queue. Decided by counting requests at the API.

use serde_json::{Value, json};
use tollgate::broker::job::JobId;
use tollgate::demo::auditor::Books;
use tollgate::demo::fragile_api::{FragileApi, Fragility};

use crate::support::{Client, Daemon, erp};

/// Of those with one job each.
const OTHERS: usize = 50;

async fn singles_through(backlog: usize) {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let mut daemon = Daemon::start(&erp(api.address(), "20/s", "max_concurrent = 1\n"));
    let client = Client::new();
    let job = json!({"target": "erp", "priority": "BATCH", "path": "/", "fairness_key": "noisy"});
    for _ in 0..backlog / 1_000 {
        let batch = Value::from(vec![job.clone(); 1_000]);
        assert_eq!(client.post(daemon.data, "/v1/jobs/batch", &batch).await.status, 200);
    }
    // What is fair is on disk.
    daemon.kill();
    daemon.restart();
    let others: Vec<Value> = (0..OTHERS)
        .map(|tenant| {
            json!({
                "target": "erp", "priority": "BATCH", "path": "/",
                "fairness_key": format!("tenant-{tenant}"),
            })
        })
        .collect();
    let answer = client.post(daemon.data, "/v1/jobs/batch", &others.into()).await.json();
    let came = api.auditor().read(Books::total) as usize;
    let ids: Vec<JobId> = answer["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["id"].as_str().unwrap().parse().unwrap())
        .collect();
    for id in &ids {
        assert_eq!(client.ended(daemon.data, &id.to_string()).await["state"], "succeeded");
    }
    let places: Vec<usize> = api.auditor().read(|books| {
        let place = |id: &JobId| books.arrivals().iter().position(|a| a.caller.job == Some(*id));
        ids.iter().map(|id| place(id).unwrap() + 1 - came).collect()
    });
    let last = places.iter().max().unwrap();
    println!("{OTHERS} single jobs behind {backlog}: the last of them went with request {last}");
    assert!(*last <= 60, "{places:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_job_does_not_wait_for_anothers_backlog() {
    singles_through(3_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute"]
async fn a_single_job_does_not_wait_for_a_hundred_thousand() {
    singles_through(100_000).await;
}
