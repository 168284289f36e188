//! A hundred executions of the example against an ERP that fails three times in ten.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::Value;
use tokio::time::timeout;

use crate::api::{Api, Call, Reply};
use crate::books::{self, metric};
use crate::daemon;
use crate::local_aws::LocalAws;
use crate::ministack::ministack;
use crate::state_machine::{Queues, VARIANTS, order};
use crate::support::{Client, erp};

const EACH: usize = 50;
const MAX_ATTEMPTS: usize = 2;

/// What the ERP says to the `nth` call for a path: a matter of these two alone, so that every end
/// is known before anything runs. Of ten thousand 3,000 fail.
fn reply(path: &str, nth: usize, _number: usize) -> Reply {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in path.bytes().chain(nth.to_le_bytes()) {
        // FNV-1a.
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    Reply::Status(match (hash ^ (hash >> 32)) % 10_000 {
        0..1_500 => 500,
        1_500..2_100 => 503,
        2_100..2_600 => 429,
        2_600..3_000 => 400,
        _ => 200,
    })
}

/// How an order ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Done,
    InReview,
    Refused,
}

/// All that the ERP is going to say to an order, and what follows: worked out here from CONTRACT
/// §1 and §7, without the broker.
fn foretold(path: &str) -> (Vec<u16>, End) {
    let mut said = Vec::new();
    loop {
        let Reply::Status(status) = reply(path, said.len(), 0) else { unreachable!() };
        said.push(status);
        let unknown = said.iter().filter(|status| **status == 500).count();
        match status {
            200 => return (said, End::Done),
            400 => return (said, End::Refused),
            500 if unknown == MAX_ATTEMPTS => return (said, End::InReview),
            _ => {}
        }
    }
}

struct Order {
    path: String,
    execution: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_executions_end_although_three_calls_in_ten_fail() {
    let Some(aws) = ministack().await else { return };
    let started = Instant::now();
    let api = Api::answering(reply).await;
    let queues = Queues::new(&aws).await;
    let more = format!(
        "max_concurrent = 4\n[targets.erp.retry]\nmax_attempts = {MAX_ATTEMPTS}\n\
         min_backoff = \"20ms\"\nmax_backoff = \"200ms\"\n"
    );
    let config = erp(api.address, "50/s", &more) + &queues.sources(str::to_owned);
    let mut daemon = daemon(&aws, &(config + "[step_functions]\nheartbeat = \"1s\"\n"));
    let mut orders = Vec::new();
    for (name, definition) in VARIANTS {
        let machine = aws.machine(name, &queues.filled(definition)).await;
        for number in 0..EACH {
            let id = format!("{name}-{number}");
            let express = number % 2 == 0;
            let execution = aws.execution(&machine, &order(&id, express, !express)).await;
            orders.push(Order { path: format!("/orders/{id}"), execution });
        }
    }
    let client = Client::new();
    let mut ends: BTreeMap<End, usize> = BTreeMap::new();
    let mut in_review = Vec::new();
    for order in &orders {
        let (said, end) = foretold(&order.path);
        *ends.entry(end).or_default() += 1;
        // A hang is a failure that says where.
        let ended = timeout(Duration::from_secs(120), aws.ended(&order.execution)).await;
        let ended = ended.unwrap_or_else(|_| panic!("{} does not end: {said:?}", order.path));
        let calls: Vec<Call> =
            api.calls().into_iter().filter(|call| call.path == order.path).collect();
        let heard: Vec<Reply> = calls.iter().map(|call| call.reply).collect();
        let said: Vec<Reply> = said.into_iter().map(Reply::Status).collect();
        assert_eq!(heard, said, "{}", order.path);
        assert!(calls.iter().all(|call| call.job == calls[0].job), "{calls:?}");
        assert!(calls.iter().all(|call| call.key == calls[0].key), "{calls:?}");
        let job = client.ended(daemon.data, &calls[0].job).await;
        assert_eq!(job["attempts"], said.len(), "{job}");
        let code = job["error"]["code"].as_str();
        let entered = aws.entered(&order.execution).await;
        let last = entered.last().unwrap().as_str();
        match end {
            End::Done => {
                assert_eq!((&ended.status, last), (&ExecutionStatus::Succeeded, "Done"));
                let output: Value = serde_json::from_str(ended.output().unwrap()).unwrap();
                assert_eq!((&output["erp"]["status"], code), (&200.into(), None), "{output}");
                assert_eq!(output["erp"]["body"], job["result"]["ResponseBody"], "{output}");
            }
            End::InReview => {
                assert_eq!((&ended.status, last), (&ExecutionStatus::Succeeded, "InReview"));
                assert_eq!(code, Some("Tollgate.RetriesExhausted"), "{job}");
                in_review.push(job.clone());
            }
            End::Refused => {
                assert_eq!((&ended.status, last), (&ExecutionStatus::Failed, "Refused"));
                assert_eq!((ended.error(), code), (Some("Tollgate.Http.400"), ended.error()));
                tells(&job, ended.cause().unwrap());
            }
        }
    }
    reviewed(&aws, &queues, in_review).await;
    queues.all_emptied(&aws).await;
    books::all_answered(&client, &daemon).await;
    let callbacks = "tollgate_callbacks_total";
    let accepted = metric(&client, daemon.admin, callbacks, &["result=\"accepted\""]).await;
    let late = metric(&client, daemon.admin, callbacks, &["result=\"late\""]).await;
    assert_eq!((accepted, late), (100, 0));
    let jobs = books::jobs(&client, &daemon).await;
    assert_eq!(jobs.len(), 100);
    assert!(jobs.values().all(|job| books::events(job).last() == Some(&"token_answered")));
    assert_eq!(ends.values().filter(|count| **count > 1).count(), 3, "too tame: {ends:?}");
    let calls = api.calls();
    let failed = calls.iter().filter(|call| call.reply != Reply::Status(200)).count();
    println!(
        "100 executions: {ends:?}; {} calls, {failed} failed ({:.0} %); {:.1} s",
        calls.len(),
        100.0 * failed as f64 / calls.len() as f64,
        started.elapsed().as_secs_f64()
    );
    assert!(daemon.terminate().success());
}

/// A cause names the job and what it met.
fn tells(job: &Value, cause: &str) {
    let cause: Value = serde_json::from_str(cause).unwrap();
    assert_eq!((&cause["id"], &cause["attempts"]), (&job["id"], &job["attempts"]), "{cause}");
}

/// The review queue has a message of each of these jobs, and no other.
async fn reviewed(aws: &LocalAws, queues: &Queues, jobs: Vec<Value>) {
    let mut left: BTreeMap<String, Value> =
        jobs.into_iter().map(|job| (job["id"].as_str().unwrap().to_owned(), job)).collect();
    while !left.is_empty() {
        let message = aws.take(queues.url("review")).await;
        let error = &message["error"];
        assert_eq!(error["Error"], "Tollgate.RetriesExhausted", "{message}");
        let cause: Value = serde_json::from_str(error["Cause"].as_str().unwrap()).unwrap();
        let job = left.remove(cause["id"].as_str().unwrap());
        tells(&job.unwrap_or_else(|| panic!("{message}")), error["Cause"].as_str().unwrap());
    }
}
