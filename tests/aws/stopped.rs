//! Executions that are stopped while their jobs wait. AWS says `TaskTimedOut` for their tokens then,
//! and neither emulator does: so a stub stands before one, and says it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aws_sdk_sfn::types::ExecutionStatus;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::api::Api;
use crate::books::{self, metric, reaches};
use crate::local_aws::environment_at;
use crate::middle::{Between, Middle};
use crate::ministack::ministack;
use crate::state_machine::{JSON_PATH, Queues, order};
use crate::support::{Client, Daemon, erp};

const STOPPED: usize = 50;
const OTHERS: usize = 10;

/// Knows the token of each order from the messages that pass, and says of those that are over what
/// AWS says and no emulator does: TaskTimedOut.
pub(crate) struct Tokens {
    of_orders: watch::Sender<BTreeMap<String, String>>,
    over: Mutex<BTreeSet<String>>,
    /// Calls for tokens that are over, by action.
    refused: Mutex<BTreeMap<String, usize>>,
}

impl Tokens {
    pub(crate) fn new() -> Arc<Tokens> {
        Arc::new(Tokens {
            of_orders: watch::channel(BTreeMap::new()).0,
            over: Mutex::default(),
            refused: Mutex::default(),
        })
    }

    /// Resolves once the tokens of so many orders are known.
    pub(crate) async fn known(&self, count: usize) {
        self.of_orders.subscribe().wait_for(|tokens| tokens.len() >= count).await.unwrap();
    }

    /// The order's execution has been stopped.
    pub(crate) fn stopped(&self, order: &str) {
        let token = self.of_orders.borrow()[order].clone();
        self.over.lock().unwrap().insert(token);
    }

    pub(crate) fn refused(&self) -> BTreeMap<String, usize> {
        self.refused.lock().unwrap().clone()
    }
}

impl Between for Tokens {
    fn before(&self, action: &str, request: &mut Value) -> Option<(StatusCode, Value)> {
        let called = action.strip_prefix("AWSStepFunctions.")?;
        if !self.over.lock().unwrap().contains(request["taskToken"].as_str()?) {
            return None;
        }
        *self.refused.lock().unwrap().entry(called.to_owned()).or_default() += 1;
        let message = "Task Timed Out: 'Provided task does not exist anymore'";
        Some((StatusCode::BAD_REQUEST, json!({"__type": "TaskTimedOut", "message": message})))
    }

    fn after(&self, action: &str, answer: &Value) {
        if action != "AmazonSQS.ReceiveMessage" {
            return;
        }
        for message in answer["Messages"].as_array().into_iter().flatten() {
            let body: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let (order, token) = (text(&body["RequestBody"]["id"]), text(&body["TaskToken"]));
            self.of_orders.send_modify(|tokens| {
                tokens.insert(order, token);
            });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_learns_that_an_execution_was_stopped() {
    stopped("heartbeat = \"1s\"\ncheck_before_dispatch = false\n", Learns::WhileItWaits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_question_before_a_call_learns_that_an_execution_was_stopped() {
    stopped("heartbeat = \"off\"\n", Learns::BeforeItsCall).await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Learns {
    WhileItWaits,
    BeforeItsCall,
}

/// Sixty orders wait at a target that is paused; the executions of fifty are stopped. The calls of
/// the ten others are made, and no other.
async fn stopped(settings: &str, learns: Learns) {
    let Some(aws) = ministack().await else { return };
    let api = Api::start().await;
    let tokens = Tokens::new();
    let middle = Middle::start(aws.address, tokens.clone()).await;
    let queues = Queues::new(&aws).await;
    let machine = aws.machine("order", &queues.filled(JSON_PATH)).await;
    let config = erp(api.address, "1000/s", "max_concurrent = 4\n")
        + &queues.sources(|url| middle.through(aws.address, url))
        + "[step_functions]\n"
        + settings;
    let mut daemon = Daemon::start_in(&config, environment_at(middle.address));
    let client = Client::new();
    let paused = client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    assert_eq!(paused.status, 200, "{paused:?}");
    let mut executions = Vec::new();
    for number in 0..STOPPED + OTHERS {
        let id = format!("o-{number}");
        let express = number % 2 == 0;
        executions.push((aws.execution(&machine, &order(&id, express, !express)).await, id));
    }
    let all = (STOPPED + OTHERS) as u64;
    tokens.known(STOPPED + OTHERS).await;
    reaches(&client, daemon.admin, "tollgate_queue_depth", &[], all).await;
    // Not the first ones, so that a cancelled job stands before and behind one that is wanted.
    let (stopped, wanted): (Vec<_>, Vec<_>) =
        executions.iter().enumerate().partition(|(number, _)| number % 6 != 3);
    assert_eq!((stopped.len(), wanted.len()), (STOPPED, OTHERS));
    for (_, (execution, id)) in &stopped {
        aws.sfn.stop_execution().execution_arn(execution).send().await.unwrap();
        tokens.stopped(id);
    }
    let finished = "tollgate_jobs_finished_total";
    let cancelled = ["state=\"cancelled\""];
    if learns == Learns::WhileItWaits {
        reaches(&client, daemon.admin, finished, &cancelled, STOPPED as u64).await;
        assert_eq!(api.calls().len(), 0, "the target is paused");
    }
    client.post(daemon.admin, "/v1/targets/erp/resume", &json!({})).await;
    for (_, (execution, _)) in &wanted {
        assert_eq!(aws.ended(execution).await.status, ExecutionStatus::Succeeded);
    }
    reaches(&client, daemon.admin, finished, &cancelled, STOPPED as u64).await;
    books::all_answered(&client, &daemon).await;
    for (_, (execution, _)) in &stopped {
        assert_eq!(aws.ended(execution).await.status, ExecutionStatus::Aborted);
    }
    // What the ERP saw.
    let mut called: Vec<String> = api.calls().into_iter().map(|call| call.path).collect();
    let mut expected: Vec<String> =
        wanted.iter().map(|(_, (_, id))| format!("/orders/{id}")).collect();
    called.sort_unstable();
    expected.sort_unstable();
    assert_eq!(called, expected);
    // What the broker says of each job.
    let jobs = books::jobs(&client, &daemon).await;
    let of = |state: &'static str| jobs.values().filter(move |job| job["state"] == state);
    assert_eq!((jobs.len(), of("succeeded").count()), (STOPPED + OTHERS, OTHERS));
    assert_eq!(of("cancelled").count(), STOPPED);
    for job in of("cancelled") {
        assert_eq!(job["attempts"], 0, "{job}");
        assert_eq!(job["error"]["code"], "Tollgate.Cancelled", "{job}");
        let history = job["history"].as_array().unwrap();
        let last = history.last().unwrap();
        assert_eq!(last["event"], "cancelled", "{job}");
        let reason = last["reason"].as_str().unwrap();
        assert!(reason.starts_with("Step Functions says TaskTimedOut"), "{job}");
        // A start that came to nothing is on record as that.
        let starts = books::events(job).into_iter().filter(|event| *event == "sent").count();
        assert_eq!(starts, usize::from(learns == Learns::BeforeItsCall), "{job}");
    }
    // A token that is gone is not answered any more. (A slow machine may ask twice.)
    let refused = tokens.refused();
    assert_eq!(refused.keys().collect::<Vec<_>>(), ["SendTaskHeartbeat"]);
    assert!(refused["SendTaskHeartbeat"] >= STOPPED, "{refused:?}");
    let accepted =
        metric(&client, daemon.admin, "tollgate_callbacks_total", &["result=\"accepted\""]).await;
    assert_eq!(accepted, OTHERS as u64);
    println!(
        "{learns:?}: {STOPPED} of {} executions stopped: {} calls made, {STOPPED} jobs cancelled, \
         TaskTimedOut said to {refused:?}",
        STOPPED + OTHERS,
        called.len()
    );
    assert!(daemon.terminate().success());
}
