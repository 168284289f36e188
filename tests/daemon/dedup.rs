//! The same key and the same payload are the same job, whichever door it came by and whoever asks
//! when; another payload is a mistake that is told.

use serde_json::json;
use tollgate::demo::auditor::Books;
use tollgate::demo::fragile_api::{FragileApi, Fragility};

use crate::support::{Client, Daemon, erp};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_job_over_a_kill() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let mut daemon = Daemon::start(&erp(api.address(), "50/s", ""));
    let client = Client::new();
    let job =
        |n: u32| json!({"target": "erp", "path": "/orders", "dedup_id": "d", "body": {"n": n}});
    client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    let first = client.submit(daemon.data, &job(1)).await;
    // Two of one batch, and one that waits in the queue: told before any of them has ended.
    let batch = client.post(daemon.data, "/v1/jobs/batch", &json!([job(1), job(2)])).await.json();
    assert_eq!(
        (&batch["jobs"][0]["id"], &batch["jobs"][0]["duplicate"]),
        (&json!(first), &json!(true))
    );
    assert_eq!(batch["jobs"][1]["status"], 422, "{batch}");
    daemon.kill();
    daemon.restart();
    let again = client.post(daemon.data, "/v1/jobs", &job(1)).await;
    assert_eq!((again.status, &again.json()["id"]), (202, &json!(first)));
    assert_eq!(client.post(daemon.data, "/v1/jobs", &job(2)).await.status, 422);
    client.post(daemon.admin, "/v1/targets/erp/resume", &json!({})).await;
    let result = client.ended(daemon.data, &first).await["result"].clone();
    daemon.kill();
    daemon.restart();
    let again = client.post(daemon.data, "/v1/jobs", &job(1)).await.json();
    assert_eq!((&again["duplicate"], &again["result"]), (&json!(true), &result));
    assert_eq!(api.auditor().read(Books::total), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxied_request_that_is_repeated_gets_the_first_answer() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let mut daemon = Daemon::start(&erp(api.address(), "50/s", ""));
    let client = Client::new();
    let key = [("idempotency-key", "k-1"), ("content-type", "text/plain")];
    let send = |daemon: &Daemon, body: &'static str| {
        let (client, address) = (client.clone(), daemon.data);
        async move { client.send("POST", address, "/proxy/erp/orders", &key, body).await.unwrap() }
    };
    let first = send(&daemon, "one").await;
    assert_eq!(first.status, 200);
    daemon.kill();
    daemon.restart();
    let again = send(&daemon, "one").await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.headers["tollgate-job-id"], first.headers["tollgate-job-id"]);
    assert_eq!(send(&daemon, "two").await.status, 422);
    assert_eq!(api.auditor().read(Books::total), 1);
}
