use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::aws::stub::{Answer, Call, Stub, fine, pass};
use crate::broker::io::Input;
use crate::broker::job::{JobId, Priority};
use crate::sources::fake::Fake;

const URL: &str = "https://sqs.eu-central-1.amazonaws.com/1/high";

/// A queue: receives what was put into it, and fails deletes as it is told.
#[derive(Clone, Default)]
struct FakeQueue(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Each is one answer to ReceiveMessage: message ids and receipt handles.
    batches: VecDeque<Vec<(u32, &'static str)>>,
    /// Message ids of which so many deletes fail, and whether that is the sender's fault.
    failing: BTreeMap<String, (u32, bool)>,
}

impl FakeQueue {
    fn stub(&self) -> Stub {
        let queue = self.clone();
        Stub::new(move |call| {
            let answer = queue.answer(&call);
            async move {
                match answer {
                    Some(answer) => answer,
                    // A long poll that brings nothing.
                    None => {
                        pass(WAIT).await;
                        fine()
                    }
                }
            }
        })
    }

    fn answer(&self, call: &Call) -> Option<Answer> {
        let mut inner = self.0.lock().unwrap();
        match call.operation.as_str() {
            "ReceiveMessage" => {
                let batch = inner.batches.pop_front()?;
                let messages = batch.iter().map(|(id, receipt)| {
                    json!({"MessageId": format!("m-{id}"), "ReceiptHandle": receipt,
                           "Body": json!({"RequestBody": id}).to_string()})
                });
                let messages: Vec<Value> = messages.collect();
                Some((200, json!({"Messages": messages}).to_string()))
            }
            "DeleteMessageBatch" => {
                let (mut done, mut failed) = (Vec::new(), Vec::new());
                for entry in call.input["Entries"].as_array().unwrap() {
                    let id = &entry["Id"];
                    match inner.failing.get_mut(entry["ReceiptHandle"].as_str().unwrap()) {
                        Some((left, fault)) if *left > 0 => {
                            *left -= 1;
                            failed.push(json!({"Id": id, "Code": "InternalError",
                                               "SenderFault": fault}));
                        }
                        _ => done.push(json!({"Id": id})),
                    }
                }
                Some((200, json!({"Successful": done, "Failed": failed}).to_string()))
            }
            _ => Some((200, json!({"Successful": [], "Failed": []}).to_string())),
        }
    }

    fn holds(&self, batches: impl IntoIterator<Item = Vec<(u32, &'static str)>>) {
        self.0.lock().unwrap().batches.extend(batches);
    }
}

fn start(stub: &Stub, fake: &Fake) -> (watch::Sender<bool>, tokio::task::JoinHandle<()>) {
    let source =
        SqsSource { queue_url: URL.into(), target: "erp".into(), priority: Priority::High };
    let aws = stub.aws();
    let (stop, stopped) = watch::channel(false);
    let handle = fake.handle.clone();
    let running = tokio::spawn(async move { run(&[source], &aws, handle, stopped).await });
    (stop, running)
}

async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

/// Lets virtual time go by. It leaps while a thread works, so it never says that enough went by.
async fn until_later(mut done: impl FnMut() -> bool) {
    while !done() {
        pass(Duration::from_secs(1)).await;
    }
}

/// The receipt handles of each call.
fn receipts(stub: &Stub, operation: &str) -> Vec<Vec<String>> {
    let handles = |call: Call| {
        let entries = call.input["Entries"].as_array().unwrap().clone();
        entries.iter().map(|entry| entry["ReceiptHandle"].as_str().unwrap().to_owned()).collect()
    };
    stub.calls_of(operation).into_iter().map(handles).collect()
}

#[tokio::test]
async fn a_batch_is_deleted_once_it_is_durable_and_not_before() {
    let (queue, mut fake) = (FakeQueue::default(), Fake::start());
    queue.holds([vec![(1, "a"), (2, "b")]]);
    let stub = queue.stub();
    fake.hold_answers();
    let (stop, running) = start(&stub, &fake);
    let Input::Submit { jobs, .. } = fake.told().await else { panic!("no submission") };
    assert_eq!(jobs.len(), 2);
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(receipts(&stub, "DeleteMessageBatch").is_empty(), "nothing is durable");
    fake.let_go();
    until(|| !receipts(&stub, "DeleteMessageBatch").is_empty()).await;
    assert_eq!(receipts(&stub, "DeleteMessageBatch"), [["a", "b"]]);
    let receive = &stub.calls_of("ReceiveMessage")[0].input;
    assert_eq!(
        (&receive["MaxNumberOfMessages"], &receive["WaitTimeSeconds"]),
        (&json!(10), &json!(20))
    );
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_late_commit_keeps_its_messages_invisible() {
    let (queue, mut fake) = (FakeQueue::default(), Fake::start());
    queue.holds([vec![(1, "a"), (2, "b")]]);
    let stub = queue.stub();
    fake.hold_answers();
    let (stop, running) = start(&stub, &fake);
    fake.told().await;
    pass(Duration::from_secs(70)).await;
    let extended = stub.calls_of("ChangeMessageVisibilityBatch");
    assert!(extended.len() >= 4, "{extended:?}");
    let mut last = stub.calls_of("ReceiveMessage")[0].at;
    for call in &extended {
        assert!(call.at - last < VISIBILITY, "they would have been visible");
        last = call.at;
        let entries = call.input["Entries"].as_array().unwrap();
        assert!(entries.iter().all(|entry| entry["VisibilityTimeout"] == 30), "{entries:?}");
        assert_eq!(entries.len(), 2);
    }
    assert!(last.elapsed() < VISIBILITY, "they are visible");
    fake.let_go();
    stop.send(true).unwrap();
    running.await.unwrap();
    assert_eq!(receipts(&stub, "DeleteMessageBatch"), [["a", "b"]]);
}

#[tokio::test(start_paused = true)]
async fn entries_that_failed_on_a_200_are_deleted_again_and_no_others() {
    let (queue, mut fake) = (FakeQueue::default(), Fake::start());
    queue.holds([vec![(1, "a"), (2, "b"), (3, "c"), (4, "d")]]);
    queue.0.lock().unwrap().failing = BTreeMap::from([
        ("b".into(), (2, false)),
        ("c".into(), (1, false)),
        ("d".into(), (1, true)),
    ]);
    let stub = queue.stub();
    let (stop, running) = start(&stub, &fake);
    fake.told().await;
    until_later(|| receipts(&stub, "DeleteMessageBatch").len() >= 3).await;
    until_later(|| stub.calls_of("ReceiveMessage").len() >= 3).await;
    let deletes = receipts(&stub, "DeleteMessageBatch");
    assert_eq!(deletes, [vec!["a", "b", "c", "d"], vec!["b", "c"], vec!["b"]]);
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_came_again_is_deleted_by_its_newest_handle() {
    let (queue, mut fake) = (FakeQueue::default(), Fake::start());
    queue.holds([vec![(1, "old")], vec![(1, "new")]]);
    queue.0.lock().unwrap().failing = BTreeMap::from([("old".into(), (1, true))]);
    fake.will_say([accepted(), Submitted::Duplicate { id: JobId(1) }]);
    let stub = queue.stub();
    let (stop, running) = start(&stub, &fake);
    let (first, again) = (fake.submitted().await, fake.submitted().await);
    assert_eq!(first.dedup, again.dedup, "it is the same message");
    until_later(|| receipts(&stub, "DeleteMessageBatch").len() >= 2).await;
    assert_eq!(receipts(&stub, "DeleteMessageBatch"), [["old"], ["new"]]);
    stop.send(true).unwrap();
    running.await.unwrap();
}

fn accepted() -> Submitted {
    let place = crate::broker::job::Place::Queued;
    Submitted::Accepted { header: crate::sources::fake::record(JobId(1), place).header, place }
}

#[tokio::test(start_paused = true)]
async fn a_full_target_is_not_received_for_and_what_it_refuses_is_visible_at_once() {
    let (queue, mut fake) = (FakeQueue::default(), Fake::start());
    queue.holds([vec![(1, "a"), (2, "b"), (3, "c")]]);
    fake.has(7);
    let full = Refusal::QueueFull { retry_after: Duration::from_secs(5) };
    fake.will_say([accepted(), Submitted::Refused(full.clone()), Submitted::Refused(full)]);
    let stub = queue.stub();
    let (stop, running) = start(&stub, &fake);
    fake.told().await;
    // It is full from here on.
    fake.has(10);
    for _ in 0..300 {
        pass(Duration::from_secs(1)).await;
    }
    assert_eq!(stub.calls_of("ReceiveMessage").len(), 1);
    assert_eq!(stub.calls_of("ReceiveMessage")[0].input["MaxNumberOfMessages"], 3);
    assert_eq!(receipts(&stub, "DeleteMessageBatch"), [["a"]]);
    // Time leaps while nothing happens here, so that they may have been kept a little longer.
    let released = stub.calls_of("ChangeMessageVisibilityBatch").pop().unwrap().input;
    let entry =
        |id: &str, handle: &str| json!({"Id": id, "ReceiptHandle": handle, "VisibilityTimeout": 0});
    assert_eq!(released["Entries"], json!([entry("0", "b"), entry("1", "c")]));
    fake.has(9);
    until_later(|| stub.calls_of("ReceiveMessage").len() >= 2).await;
    assert_eq!(stub.calls_of("ReceiveMessage")[1].input["MaxNumberOfMessages"], 1);
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_goes_down_receives_nothing_more_and_ends_a_long_poll() {
    let (queue, fake) = (FakeQueue::default(), Fake::start());
    let stub = queue.stub();
    let (stop, running) = start(&stub, &fake);
    until(|| !stub.calls().is_empty()).await;
    queue.holds([vec![(1, "a")]]);
    let begin = Instant::now();
    stop.send(true).unwrap();
    running.await.unwrap();
    assert_eq!((stub.calls().len(), begin.elapsed()), (1, Duration::ZERO));
}

#[test]
fn only_the_entries_that_failed_are_tried_again() {
    let message = SqsMessage::builder().build();
    let all: Vec<Received> =
        (0..12).map(|n| Received { message: message.clone(), receipt: format!("r{n}") }).collect();
    let left = keep(all.iter().collect(), &["1", "11", "99", "x"]);
    let left: Vec<&str> = left.iter().map(|one| one.receipt.as_str()).collect();
    assert_eq!(left, ["r1", "r11"]);
    assert!(keep(all.iter().collect(), &[]).is_empty());
}
