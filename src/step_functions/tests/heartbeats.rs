//! Heartbeats by virtual time, over a real store.

use std::collections::BTreeMap;

use super::*;
use crate::aws::stub::pass;

const SECOND: Duration = Duration::from_secs(1);

/// Heartbeats in each second from `begin` on.
fn each_second(calls: &[Call], begin: Instant) -> Vec<u64> {
    let mut each = Vec::new();
    for call in calls.iter().filter(|call| call.operation == "SendTaskHeartbeat") {
        let second = (call.at - begin).as_secs() as usize;
        each.resize(each.len().max(second + 1), 0);
        each[second] += 1;
    }
    each
}

fn per_token(calls: &[Call]) -> BTreeMap<String, u64> {
    let mut each = BTreeMap::new();
    for call in calls.iter().filter(|call| call.operation == "SendTaskHeartbeat") {
        *each.entry(call.token().to_owned()).or_default() += 1;
    }
    each
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_tasks_at_a_minute_are_a_smooth_167_a_second() {
    let world = World::new().await;
    world.waiting(0..10_000);
    let begin = Instant::now();
    let (_sfn, _stop) = world.start_at(Some(Duration::from_secs(60)), 250);
    pass(SECOND * 12).await;
    let calls = world.stub.calls();
    let each = each_second(&calls, begin);
    // The first second is the first slice, of which nothing is due yet.
    assert!(each[1..11].iter().all(|count| (165..=168).contains(count)), "{each:?}");
    let gaps = calls.windows(2).map(|two| two[1].at - two[0].at);
    let longest = gaps.max().unwrap();
    assert!(longest <= Duration::from_millis(20), "a gap of {longest:?}");
    assert!(per_token(&calls).values().all(|count| *count == 1), "one twice within a minute");
}

#[tokio::test(start_paused = true)]
async fn each_task_gets_one_a_round_wherever_its_job_waits() {
    let world = World::new().await;
    world.waiting(1..4);
    let running = Place::Running { started: Wall::EPOCH };
    let waiting = Place::Waiting { due: Wall::NEVER };
    {
        let mut shelf = world.store.lock().unwrap();
        let sent = || Happening::Sent { attempt: 1, passed_over: 0 };
        for number in [2, 3] {
            shelf.shift(header(number), Owed::TaskToken, Place::Queued, running, sent());
        }
        let until = Happening::Waiting { until: Wall::NEVER };
        shelf.shift(header(3), Owed::TaskToken, running, waiting, until);
        shelf.commit(&[insert(4, Place::Scheduled { due: Wall::NEVER })]);
    }
    world.ended(5..6);
    let (_sfn, _stop) = world.start(Some(SECOND * 10));
    pass(SECOND * 41).await;
    let calls = world.stub.calls();
    let expected: BTreeMap<String, u64> = (1..5).map(|number| (token_of(number), 4)).collect();
    assert_eq!(per_token(&calls), expected);
    // Whose job has ended gets its answer, and no heartbeat.
    let answered: Vec<_> =
        calls.iter().filter(|call| call.operation == "SendTaskSuccess").map(Call::token).collect();
    assert_eq!(answered, [token_of(5)]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_probed_and_followed_by_no_burst() {
    let world = World::new().await;
    world.waiting(0..500);
    let begin = Instant::now();
    let outage = SECOND * 100;
    world
        .stub
        .always(move |call| (call.at - begin < outage).then_some((400, "ThrottlingException")));
    let (sfn, _stop) = world.start_at(Some(SECOND * 10), 60);
    pass(outage).await;
    let probes = world.stub.calls().len();
    assert!((7..30).contains(&probes), "{probes} probes in {outage:?}");
    assert_eq!(sfn.health().state().as_str(), "retrying");
    pass(SECOND * 40).await;
    assert_eq!(sfn.health().state(), State::Ok);
    let calls = world.stub.calls();
    let each = each_second(&calls, begin);
    assert!(each.iter().all(|count| *count <= 61), "callback_rate is 60/s: {each:?}");
    let after: Vec<Call> = calls.into_iter().filter(|call| call.at - begin > outage).collect();
    assert_eq!(per_token(&after).len(), 500, "each task is reached again");
}

#[tokio::test(start_paused = true)]
async fn trouble_is_over_when_nobody_waits_any_more() {
    let world = World::new().await;
    world.waiting(1..2);
    world.stub.always(|call| {
        (call.operation == "SendTaskHeartbeat").then_some((400, "AccessDeniedException"))
    });
    let (sfn, _stop) = world.start(Some(SECOND));
    pass(SECOND * 5).await;
    assert_eq!(sfn.health().state().as_str(), "held");
    let over = Place::Ended { end: End::Cancelled, at: Wall::EPOCH };
    let cancelled = Happening::Cancelled { reason: None };
    world.store.lock().unwrap().shift(header(1), Owed::Nothing, Place::Queued, over, cancelled);
    pass(SECOND * 60).await;
    assert_eq!(sfn.health().state(), State::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_reach_every_task_and_cancel_those_that_are_gone() {
    let mut world = World::new().await;
    world.waiting(0..40);
    world.stub.always(|call| match call.token() {
        "token-00007" => Some((400, "TaskTimedOut")),
        "token-00008" => Some((400, "TaskDoesNotExist")),
        // LocalStack, for a task without HeartbeatSeconds.
        _ => Some((400, "InvalidToken")),
    });
    let (_sfn, _stop) = world.start(Some(Duration::from_secs(1)));
    let mut gone = BTreeSet::new();
    while gone.len() < 2 || tokens(&world.stub.calls()).iter().collect::<BTreeSet<_>>().len() < 40 {
        tokio::select! {
            told = world.told.recv() => match told.unwrap() {
                Input::TaskGone { job, reason } => {
                    assert!(reason.contains("its task is over"), "{reason}");
                    gone.insert(job);
                }
                other => panic!("{other:?}"),
            },
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(gone, BTreeSet::from([JobId(7), JobId(8)]));
    assert!(world.stub.calls().iter().all(|call| call.operation == "SendTaskHeartbeat"));
}
