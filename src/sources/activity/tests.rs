use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use super::*;
use crate::aws::stub::{Stub, fine, pass};
use crate::broker::job::Priority;
use crate::sources::fake::Fake;

const ARN: &str = "arn:aws:states:eu-central-1:1:activity:erp";

fn start(stub: &Stub, fake: &Fake) -> (watch::Sender<bool>, tokio::task::JoinHandle<()>) {
    let source = ActivitySource { arn: ARN.into(), target: "erp".into(), priority: Priority::High };
    let service = stub.aws().step_functions(None);
    let (stop, stopped) = watch::channel(false);
    let handle = fake.handle.clone();
    let running = tokio::spawn(async move { run(&[source], &service, handle, stopped).await });
    (stop, running)
}

/// Tasks as long as there are some, then polls that wait.
fn tasks(count: u64) -> Stub {
    let left = Arc::new(std::sync::Mutex::new(count));
    Stub::new(move |call| {
        let number = {
            let mut left = left.lock().unwrap();
            let number = (call.operation == "GetActivityTask" && *left > 0).then_some(*left);
            *left -= u64::from(number.is_some());
            number
        };
        async move {
            match (call.operation.as_str(), number) {
                ("GetActivityTask", Some(number)) => {
                    let input = r#"{"Path":"/orders"}"#;
                    let task = json!({"taskToken": format!("token-{number}"), "input": input});
                    (200, task.to_string())
                }
                ("GetActivityTask", None) => {
                    pass(Duration::from_secs(60)).await;
                    (200, json!({"taskToken": null}).to_string())
                }
                _ => fine(),
            }
        }
    })
}

/// Until the fake broker and the stub have nothing to do but wait.
async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn as_many_polls_as_there_is_room() {
    let fake = Fake::start();
    fake.has(7);
    let stub = tasks(0);
    let (stop, running) = start(&stub, &fake);
    until(|| stub.calls().len() >= 3).await;
    // Ten pollers look for room, and there is room for three jobs.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    let calls = stub.calls();
    assert_eq!(calls.len(), 3, "{calls:?}");
    assert_eq!(calls[0].input["activityArn"], ARN);
    let worker = calls[0].input["workerName"].as_str().unwrap();
    assert!(worker.starts_with("tollgate-"), "{worker}");
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn a_full_target_is_not_polled_for() {
    let fake = Fake::start();
    fake.has(10);
    let stub = tasks(5);
    let (stop, running) = start(&stub, &fake);
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert!(stub.calls().is_empty());
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn every_task_becomes_a_job_with_its_token() {
    let mut fake = Fake::start();
    let stub = tasks(40);
    let (stop, running) = start(&stub, &fake);
    let mut tokens = BTreeSet::new();
    for _ in 0..40 {
        let job = fake.submitted().await;
        assert_eq!((job.priority, &*job.request.path), (Priority::High, "/orders"));
        tokens.insert(job.request.task_token.clone().unwrap());
    }
    assert_eq!(tokens.len(), 40);
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_the_broker_will_not_take_any_more_is_handed_back() {
    let mut fake = Fake::start();
    let full = Refusal::QueueFull { retry_after: Duration::from_secs(2) };
    fake.will_say([Submitted::Refused(full), Submitted::Refused(Refusal::Draining)]);
    let stub = tasks(1);
    let (stop, running) = start(&stub, &fake);
    // Full: it is held and tried again, because nobody else would get this task.
    fake.submitted().await;
    fake.submitted().await;
    let failed = Notify::new();
    tokio::join!(failed.notified(), async {
        until(|| !stub.calls_of("SendTaskFailure").is_empty()).await;
        failed.notify_one();
    });
    let back = &stub.calls_of("SendTaskFailure")[0].input;
    assert_eq!(
        (&back["taskToken"], &back["error"]),
        (&json!("token-1"), &json!("Tollgate.Cancelled"))
    );
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn busy_pollers_become_more_and_idle_ones_fewer() {
    let wanted = watch::channel(FEWEST).0;
    let brings = Arc::new(std::sync::Mutex::new(true));
    let told = brings.clone();
    let stub = Stub::new(move |_| {
        let task = told.lock().unwrap().then_some("t");
        async move { (200, json!({"taskToken": task, "input": "{}"}).to_string()) }
    });
    let mut activity = Activity {
        service: stub.aws().step_functions(None),
        source: ActivitySource { arn: ARN.into(), target: "erp".into(), priority: Priority::High },
        number: FEWEST + 4,
        wanted: wanted.clone(),
        worker: worker_name(),
    };
    for _ in 0..4 {
        assert!(activity.fetch(9).await.unwrap().is_some());
    }
    assert!(futures_pending(activity.turn()).await, "its number is above what is wanted");
    assert!(activity.fetch(9).await.unwrap().is_some());
    activity.turn().await;
    *brings.lock().unwrap() = false;
    for _ in 0..20 {
        assert_eq!(activity.fetch(9).await.unwrap(), None);
    }
    assert_eq!(*wanted.borrow(), FEWEST);
}

async fn futures_pending(turn: impl Future<Output = ()>) -> bool {
    tokio::select! {
        biased;
        () = turn => false,
        () = std::future::ready(()) => true,
    }
}

#[test]
fn a_worker_has_a_name_that_step_functions_takes() {
    let name = worker_name();
    assert!((10..=80).contains(&name.len()), "{name}");
    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{name}");
}
