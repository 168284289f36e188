//! What a caller sees of each kind of end, through the whole daemon.

use serde_json::json;
use tollgate::demo::auditor::Books;
use tollgate::demo::fragile_api::{FragileApi, Fragility};

use crate::support::{Client, Daemon, erp};

fn events(job: &serde_json::Value) -> Vec<&str> {
    job["history"].as_array().unwrap().iter().map(|line| line["event"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_acknowledged_sent_and_answered() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let mut daemon = Daemon::start(&erp(api.address(), "100/s", ""));
    let client = Client::new();
    let order = json!({"target": "erp", "path": "/orders", "body": {"sku": "A-1"}});
    let id = client.submit(daemon.data, &order).await;
    let job = client.ended(daemon.data, &id).await;
    assert_eq!(job["state"], "succeeded");
    assert_eq!(job["result"]["StatusCode"], 200);
    assert_eq!(events(&job), ["enqueued", "sent", "done"]);

    // The sidecar: the API's own answer.
    let path = "/proxy/erp/orders/17";
    let answer = client.send("GET", daemon.data, path, &[], "").await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["tollgate-attempts"], "1");

    // What the API turned down is its answer too, and a dead job.
    let nowhere = client.get(daemon.data, "/proxy/erp/nowhere").await;
    assert_eq!(nowhere.status, 404);
    let id = nowhere.headers["tollgate-job-id"].to_str().unwrap();
    let dead = client.get(daemon.data, &format!("/v1/jobs/{id}")).await.json();
    assert_eq!(dead["error"]["code"], "Tollgate.Http.404");
    let list = client.get(daemon.admin, "/v1/targets/erp/dead").await.json();
    assert!(list.to_string().contains(id));
    assert!(daemon.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_a_problem_at_both_addresses() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let daemon = Daemon::start(&erp(api.address(), "100/s", ""));
    let client = Client::new();
    for address in [daemon.data, daemon.admin] {
        for path in ["/nowhere", "/v1/jobs/", "//v1/jobs", "/proxy", "/proxy/"] {
            let answer = client.get(address, path).await;
            assert_eq!(answer.status, 404, "{path}");
            assert_eq!(answer.headers["content-type"], "application/problem+json", "{path}");
            assert_eq!(answer.json()["status"], 404, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_tried_again_and_spends_no_attempt() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let address = api.address();
    let books = api.auditor().clone();
    api.stop().await;
    let retry = "[targets.erp.retry]\nmax_attempts = 1\nmin_backoff = \"20ms\"\n";
    let daemon = Daemon::start(&erp(address, "100/s", retry));
    let client = Client::new();
    let id = client.submit(daemon.data, &json!({"target": "erp"})).await;
    let path = format!("/v1/jobs/{id}");
    let refused =
        |job: &serde_json::Value| events(job).iter().filter(|event| **event == "refused").count();
    client.until(daemon.data, &path, |job| refused(job) >= 3).await;
    let api = FragileApi::start_at(address, Fragility::SOUND, books).await.unwrap();
    let job = client.ended(daemon.data, &id).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert!(refused(&job) >= 3, "{job}");
    assert_eq!(api.auditor().read(Books::total), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_job_is_redriven_and_a_caller_that_hangs_up_cancels() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let daemon = Daemon::start(&erp(api.address(), "100/s", ""));
    let client = Client::new();
    let id = client.submit(daemon.data, &json!({"target": "erp", "path": "/nowhere"})).await;
    assert_eq!(client.ended(daemon.data, &id).await["state"], "failed");
    let redriven = client.post(daemon.admin, "/v1/targets/erp/dead/redrive", &json!({})).await;
    assert_eq!(redriven.json()["redriven"], 1);
    let again = client.ended(daemon.data, &id).await;
    assert_eq!(again["attempts"], 2);
    let purged = client.send("DELETE", daemon.admin, "/v1/targets/erp/dead", &[], "").await;
    assert_eq!(purged.unwrap().json()["purged"], 1);
    assert_eq!(client.get(daemon.data, &format!("/v1/jobs/{id}")).await.status, 404);

    client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    let waiting = tokio::spawn({
        let (client, data) = (Client::new(), daemon.data);
        async move { client.get(data, "/proxy/erp/slow").await }
    });
    let queued = client
        .until(daemon.admin, "/v1/jobs?target=erp&state=queued", |page| {
            page["jobs"].as_array().is_some_and(|jobs| jobs.len() == 1)
        })
        .await;
    let id = queued["jobs"][0]["id"].as_str().unwrap().to_owned();
    waiting.abort();
    let job = client.ended(daemon.data, &id).await;
    assert_eq!(job["state"], "cancelled");
    assert_eq!(api.auditor().read(|books| books.jobs().count()), 1, "it never reached the API");
}
