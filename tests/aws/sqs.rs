//! Messages in, jobs out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::api::Api;
use crate::middle::{FailingDeletes, Middle};
use crate::ministack::ministack;
use crate::support::{Client, erp};
use crate::{daemon, source};

fn numbers(calls: &[crate::api::Call]) -> Vec<u64> {
    let read = |call: &crate::api::Call| {
        let body: serde_json::Value = serde_json::from_str(&call.body).unwrap();
        body["number"].as_u64().unwrap()
    };
    calls.iter().map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_three_queues_become_jobs_of_their_priority_and_are_deleted() {
    let Some(aws) = ministack().await else { return };
    let api = Api::start().await;
    let mut config = erp(api.address, "1000/s", "max_concurrent = 50\n");
    let mut queues = Vec::new();
    for (index, priority) in ["BATCH", "NORMAL", "HIGH"].into_iter().enumerate() {
        let url = aws.queue(&format!("tollgate-{}", priority.to_lowercase())).await;
        for number in 0..25 {
            let body = json!({"number": 100 * index + number});
            let message = json!({"Method": "PUT", "Path": "/orders", "RequestBody": body});
            aws.send(&url, message.to_string()).await;
        }
        config.push_str(&source(&url, priority));
        queues.push(url);
    }
    let mut daemon = daemon(&aws, &config);
    let calls = api.called(75).await;
    for queue in &queues {
        aws.emptied(queue).await;
    }
    assert_eq!(numbers(&calls).into_iter().collect::<BTreeSet<_>>().len(), 75);
    for call in &calls {
        let number = numbers(std::slice::from_ref(call))[0];
        let priority = ["BATCH", "NORMAL", "HIGH"][usize::try_from(number / 100).unwrap()];
        assert_eq!((call.priority.as_str(), call.method.as_str()), (priority, "PUT"), "{call:?}");
        assert_eq!(call.path, "/orders");
    }
    let metrics = Client::new().get(daemon.admin, "/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let counted = metrics.lines().filter(|line| {
        line.starts_with("tollgate_jobs_enqueued_total{")
            && line.contains("source=\"sqs\"")
            && line.ends_with(" 25")
    });
    assert_eq!(counted.count(), 3, "{metrics}");
    assert!(daemon.terminate().success());
    assert_eq!(api.calls().len(), 75, "nothing was made twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivered_message_is_the_same_job() {
    for (failures, sender_fault) in [(3, true), (2, false)] {
        let Some(aws) = ministack().await else { return };
        let api = Api::start().await;
        let deletes =
            Arc::new(FailingDeletes { to_fail: AtomicUsize::new(failures), sender_fault });
        let middle = Middle::start(aws.address, deletes.clone()).await;
        let url = aws.queue("tollgate-normal").await;
        for number in 0..3 {
            aws.send(&url, json!({"number": number, "TaskToken": "same"}).to_string()).await;
        }
        let through = middle.through(aws.address, &url);
        let config = erp(api.address, "1000/s", "") + &source(&through, "NORMAL");
        let mut daemon = daemon(&aws, &config);
        aws.emptied(&url).await;
        assert_eq!(deletes.to_fail.load(Ordering::SeqCst), 0, "deletes have failed");
        let calls = api.called(3).await;
        assert_eq!(numbers(&calls).into_iter().collect::<BTreeSet<_>>().len(), 3);
        assert!(daemon.terminate().success());
        assert_eq!(api.calls().len(), 3, "each once, although two have the same token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_is_a_dead_job_with_its_bytes() {
    let Some(aws) = ministack().await else { return };
    let api = Api::start().await;
    let url = aws.queue("tollgate-normal").await;
    aws.send(&url, "{\"order\": 7, oops").await;
    aws.send(&url, json!({"number": 1}).to_string()).await;
    let config = erp(api.address, "1000/s", "") + &source(&url, "NORMAL");
    let mut daemon = daemon(&aws, &config);
    api.called(1).await;
    aws.emptied(&url).await;
    let client = Client::new();
    let dead = client.get(daemon.admin, "/v1/targets/erp/dead").await.json();
    let jobs = dead["jobs"].as_array().unwrap_or_else(|| panic!("{dead}"));
    assert_eq!(jobs.len(), 1, "{dead}");
    let id = jobs[0]["id"].as_str().unwrap();
    let job = client.ended(daemon.data, id).await;
    assert_eq!(job["error"]["code"], "Tollgate.BadMessage", "{job}");
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.contains("not a JSON object"), "{message}");
    assert!(daemon.terminate().success());
    assert_eq!(api.calls().len(), 1, "the other message was not held up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_deadline_has_passed_expires_and_is_not_sent() {
    let Some(aws) = ministack().await else { return };
    let api = Api::start().await;
    let url = aws.queue("tollgate-normal").await;
    let late = json!({"RequestBody": {"number": 1}, "Deadline": "2020-01-01T00:00:00Z"});
    aws.send(&url, late.to_string()).await;
    let config = erp(api.address, "1000/s", "") + &source(&url, "NORMAL");
    let mut daemon = daemon(&aws, &config);
    let client = Client::new();
    let some = |dead: &serde_json::Value| dead["jobs"].as_array().is_some_and(|j| !j.is_empty());
    let dead = client.until(daemon.admin, "/v1/targets/erp/dead", some).await;
    assert_eq!(dead["jobs"][0]["state"], "expired", "{dead}");
    assert_eq!(dead["jobs"][0]["error"]["code"], "Tollgate.DeadlineExceeded", "{dead}");
    aws.emptied(&url).await;
    assert!(daemon.terminate().success());
    assert_eq!(api.calls().len(), 0);
}

/// What one poller takes in: `cargo test --test aws -- --ignored --nocapture takes_in`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn how_much_one_queue_takes_in() {
    const MESSAGES: usize = 1_000;
    let Some(aws) = ministack().await else { return };
    let api = Api::start().await;
    let url = aws.queue("tollgate-normal").await;
    for number in 0..MESSAGES {
        aws.send(&url, json!({"number": number}).to_string()).await;
    }
    let config = erp(api.address, "10000/s", "max_concurrent = 64\n") + &source(&url, "NORMAL");
    let mut daemon = daemon(&aws, &config);
    api.called(1).await;
    let started = std::time::Instant::now();
    api.called(MESSAGES).await;
    println!("{:.0} messages/s", MESSAGES as f64 / started.elapsed().as_secs_f64());
    assert!(daemon.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_target_leaves_messages_where_they_are() {
    let Some(aws) = ministack().await else { return };
    let api = Api::start().await;
    let url = aws.queue("tollgate-normal").await;
    for number in 0..12 {
        aws.send(&url, json!({"number": number}).to_string()).await;
    }
    let config = erp(api.address, "5/s", "").replacen("timeout", "max_queued = 4\ntimeout", 1);
    let mut daemon = daemon(&aws, &(config + &source(&url, "NORMAL")));
    let calls = api.called(12).await;
    aws.emptied(&url).await;
    assert_eq!(numbers(&calls).into_iter().collect::<BTreeSet<_>>().len(), 12);
    let log = daemon.log();
    assert!(log.contains("its target's queue is full"), "{log}");
    assert!(daemon.terminate().success());
    assert_eq!(api.calls().len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queue_keeps_its_order() {
    let Some(aws) = ministack().await else { return };
    let api = Api::start().await;
    let url = aws.queue("tollgate-normal.fifo").await;
    for number in 0..30 {
        let call = aws.sqs.send_message().queue_url(&url);
        let call = call.message_body(json!({"number": number}).to_string());
        let call = call.message_group_id("g").message_deduplication_id(format!("d-{number}"));
        call.send().await.unwrap();
    }
    let config = erp(api.address, "1000/s", "max_concurrent = 1\n") + &source(&url, "NORMAL");
    let mut daemon = daemon(&aws, &config);
    let calls = api.called(30).await;
    aws.emptied(&url).await;
    assert_eq!(numbers(&calls), (0..30).collect::<Vec<_>>());
    assert!(daemon.terminate().success());
}
