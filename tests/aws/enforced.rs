//! What only LocalStack does as AWS does: it enforces HeartbeatSeconds, and an activity's Retry has
//! a new token. One start for all of it: it is large and slow. (It knows no JSONata.)

use std::time::Instant;

use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};

use crate::api::{Api, Reply};
use crate::books;
use crate::local_aws::LocalAws;
use crate::localstack::localstack;
use crate::state_machine::{JSON_PATH, Queues, order};
use crate::support::{Client, Daemon, erp};
use crate::{daemon, source};

#[tokio::test(flavor = "multi_thread")]
async fn what_localstack_enforces() {
    let Some(aws) = localstack().await else { return };
    let started = Instant::now();
    tokio::join!(
        only_heartbeats_keep_a_task_alive(&aws),
        orders_in_a_long_line_outlive_their_heartbeat(&aws),
        an_activitys_retry_is_a_new_job(&aws),
    );
    println!("LocalStack: all three in {:.1} s", started.elapsed().as_secs_f64());
}

/// A daemon whose target is paused before it takes the first message.
async fn paused(aws: &LocalAws, config: &str, sources: &str) -> Daemon {
    let mut daemon = daemon(aws, config);
    let client = Client::new();
    client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    assert!(daemon.terminate().success());
    daemon.configure(&format!("{config}{sources}"));
    daemon.restart();
    daemon
}

/// Two brokers, one of which sends heartbeats; each has a job that waits longer than
/// HeartbeatSeconds. It is the other one's executions that say when so long has passed, twice.
async fn only_heartbeats_keep_a_task_alive(aws: &LocalAws) {
    let api = Api::start().await;
    let (alive, silent) = (aws.queue("alive").await, aws.queue("silent").await);
    let machine = |queue: &str| {
        let call = json!({
            "Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "Parameters": {
                "QueueUrl": queue,
                "MessageBody": {"TaskToken.$": "$$.Task.Token", "RequestBody.$": "$"}
            },
            "HeartbeatSeconds": 5,
            "TimeoutSeconds": 600,
            "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "TimedOut"}],
            "Next": "Done"
        });
        let states = json!({
            "Call": call, "Done": {"Type": "Succeed"}, "TimedOut": {"Type": "Succeed"}
        });
        json!({"StartAt": "Call", "States": states}).to_string()
    };
    let with = |heartbeat: &str| {
        erp(api.address, "1000/s", "") + &format!("[step_functions]\nheartbeat = \"{heartbeat}\"\n")
    };
    let with_heartbeats = paused(aws, &with("1s"), &source(&alive, "NORMAL")).await;
    let without = paused(aws, &with("off"), &source(&silent, "NORMAL")).await;
    let machine_alive = aws.machine("alive", &machine(&alive)).await;
    let machine_silent = aws.machine("silent", &machine(&silent)).await;
    let lives = aws.execution(&machine_alive, &json!({"number": 0})).await;
    let started = Instant::now();
    for number in 1..=2 {
        let dies = aws.execution(&machine_silent, &json!({"number": number})).await;
        assert_eq!(aws.ended(&dies).await.status, ExecutionStatus::Succeeded);
        assert_eq!(aws.entered(&dies).await, ["Call", "TimedOut"]);
    }
    let waited = started.elapsed();
    let call = aws.sfn.describe_execution().execution_arn(&lives);
    assert_eq!(call.send().await.unwrap().status, ExecutionStatus::Running);
    assert_eq!(api.calls().len(), 0, "the targets are paused");
    let client = Client::new();
    client.post(with_heartbeats.admin, "/v1/targets/erp/resume", &json!({})).await;
    assert_eq!(aws.ended(&lives).await.status, ExecutionStatus::Succeeded);
    assert_eq!(aws.entered(&lives).await, ["Call", "Done"]);
    // The others are called, because LocalStack says InvalidToken where AWS says TaskTimedOut; and
    // it is on record that nobody waited for them.
    client.post(without.admin, "/v1/targets/erp/resume", &json!({})).await;
    api.called(3).await;
    books::all_answered(&client, &without).await;
    books::reaches(&client, without.admin, "tollgate_callbacks_total", &["late"], 2).await;
    for (mut daemon, jobs, last) in
        [(with_heartbeats, 1, "token_answered"), (without, 2, "token_late")]
    {
        books::all_answered(&client, &daemon).await;
        let known = books::jobs(&client, &daemon).await;
        assert_eq!(known.len(), jobs);
        for job in known.values() {
            assert_eq!(books::events(job).last(), Some(&last), "{job}");
        }
        assert!(daemon.terminate().success());
    }
    println!(
        "HeartbeatSeconds 5: with heartbeats alive after {:.1} s, without them 2 of 2 executions in \
         their catch for States.Timeout",
        waited.as_secs_f64()
    );
}

/// The example in JSONPath with HeartbeatSeconds of 5 and a line of ten seconds before the ERP,
/// which fails now and then.
async fn orders_in_a_long_line_outlive_their_heartbeat(aws: &LocalAws) {
    const ORDERS: usize = 30;
    const HEARTBEAT_SECONDS: f64 = 5.0;
    let api = Api::answering(|_, nth, number| match (nth, number % 10) {
        (0, 3) => Reply::Status(500),
        (0, 6) => Reply::Status(503),
        (0, 9) => Reply::Status(400),
        _ => Reply::Status(200),
    })
    .await;
    let queues = Queues::new(aws).await;
    let definition = queues.filled(JSON_PATH);
    let shorter = definition.replace("\"HeartbeatSeconds\": 600", "\"HeartbeatSeconds\": 5");
    assert_ne!(shorter, definition);
    let machine = aws.machine("order", &shorter).await;
    let more = "[targets.erp.retry]\nmin_backoff = \"20ms\"\nmax_backoff = \"200ms\"\n";
    let config = erp(api.address, "3/s", more) + "[step_functions]\nheartbeat = \"1s\"\n";
    let mut daemon = paused(aws, &config, &queues.sources(str::to_owned)).await;
    let mut executions = Vec::new();
    for number in 0..ORDERS {
        let input = order(&format!("o-{number}"), number % 2 == 0, number % 2 == 1);
        executions.push((aws.execution(&machine, &input).await, format!("/orders/o-{number}")));
    }
    // All of them stand in line: the last one goes ten seconds later.
    let client = Client::new();
    books::reaches(&client, daemon.admin, "tollgate_queue_depth", &[], ORDERS as u64).await;
    client.post(daemon.admin, "/v1/targets/erp/resume", &json!({})).await;
    let (mut done, mut refused) = (0, 0);
    for (execution, path) in &executions {
        let ended = aws.ended(execution).await;
        let calls = api.calls();
        let last = calls.iter().rfind(|call| call.path == *path);
        // Without a call it ended before it was its turn: by its heartbeat.
        let last = last.unwrap_or_else(|| panic!("{ended:?}"));
        if last.reply == Reply::Status(200) {
            assert_eq!(ended.status, ExecutionStatus::Succeeded, "{ended:?}");
            done += 1;
        } else {
            assert_eq!(ended.error(), Some("Tollgate.Http.400"), "{ended:?}");
            refused += 1;
        }
    }
    books::all_answered(&client, &daemon).await;
    let jobs = books::jobs(&client, &daemon).await;
    let waits: Vec<f64> = jobs.values().map(waited).collect();
    let longer = waits.iter().filter(|wait| **wait > HEARTBEAT_SECONDS).count();
    assert!(longer > ORDERS / 3, "the line is too short: {waits:?}");
    assert!(jobs.values().all(|job| books::events(job).last() == Some(&"token_answered")));
    println!(
        "{ORDERS} orders with HeartbeatSeconds 5: {done} done, {refused} refused, none timed out; \
         {longer} waited longer than that, the longest {:.1} s",
        waits.iter().copied().fold(0.0, f64::max)
    );
    assert!(daemon.terminate().success());
}

/// From when a job was taken in until its last attempt, in seconds.
fn waited(job: &Value) -> f64 {
    let history = job["history"].as_array().unwrap();
    let at = |event: &Value| -> jiff::Timestamp { event["at"].as_str().unwrap().parse().unwrap() };
    let sent = history.iter().rfind(|event| event["event"] == "sent").unwrap();
    at(sent).duration_since(at(&history[0])).as_secs_f64()
}

/// The workflow tries again what the broker gave up: another token, so another job. The daemon has
/// its endpoint from its configuration here.
async fn an_activitys_retry_is_a_new_job(aws: &LocalAws) {
    let api = Api::answering(|_, nth, _| Reply::Status(if nth == 0 { 500 } else { 200 })).await;
    let created = aws.sfn.create_activity().name("erp-high").send().await.unwrap();
    let activity = created.activity_arn;
    let call = json!({
        "Type": "Task",
        "Resource": activity,
        "HeartbeatSeconds": 60,
        "Retry": [{
            "ErrorEquals": ["Tollgate.RetriesExhausted"],
            "IntervalSeconds": 1,
            "MaxAttempts": 2,
            "BackoffRate": 1.0
        }],
        "End": true
    });
    let definition = json!({"StartAt": "Call", "States": {"Call": call}});
    let machine = aws.machine("by-activity", &definition.to_string()).await;
    let config = erp(api.address, "1000/s", "[targets.erp.retry]\nmax_attempts = 1\n")
        + &format!(
            "[step_functions]\nendpoint_url = \"http://{}\"\n\
             [[sources.activity]]\narn = \"{activity}\"\ntarget = \"erp\"\npriority = \"HIGH\"\n",
            aws.address
        );
    let mut environment = aws.environment();
    environment.retain(|(name, _)| name != "AWS_ENDPOINT_URL_SFN");
    let mut daemon = Daemon::start_in(&config, environment);
    let input = json!({"Path": "/orders/7", "RequestBody": {"n": 7}});
    let execution = aws.execution(&machine, &input).await;
    let calls = api.called(2).await;
    assert_eq!(aws.ended(&execution).await.status, ExecutionStatus::Succeeded);
    assert_eq!((calls[0].path.as_str(), calls[1].path.as_str()), ("/orders/7", "/orders/7"));
    assert_ne!(calls[0].job, calls[1].job);
    assert_ne!(calls[0].key, calls[1].key);
    let client = Client::new();
    books::all_answered(&client, &daemon).await;
    let jobs = books::jobs(&client, &daemon).await;
    assert_eq!(jobs.len(), 2);
    let first = &jobs[&calls[0].job];
    assert_eq!(first["error"]["code"], "Tollgate.RetriesExhausted", "{first}");
    assert_eq!(jobs[&calls[1].job]["state"], "succeeded");
    assert!(jobs.values().all(|job| books::events(job).last() == Some(&"token_answered")));
    println!("an activity's Retry: {} calls, {} jobs, SUCCEEDED", calls.len(), jobs.len());
    assert!(daemon.terminate().success());
}
