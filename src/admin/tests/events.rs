use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use http::Response;
use http_body_util::BodyExt;
use serde_json::Value;

use super::world::World;
use crate::admin::Readiness;
use crate::broker::job::{JobState, Priority};
use crate::handle::{Message, View};

/// What comes next; `None` at the end. Time goes on only here: the made-up loop is always at work,
/// so the clock does not jump while an answer is under way.
async fn frame(stream: &mut Response<Body>) -> Option<String> {
    loop {
        for _ in 0..20 {
            let mut next = std::pin::pin!(stream.body_mut().frame());
            if let Poll::Ready(frame) = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
                let data = frame?.unwrap().into_data().unwrap();
                return Some(String::from_utf8(data.to_vec()).unwrap());
            }
            tokio::task::yield_now().await;
        }
        tokio::time::advance(Duration::from_millis(50)).await;
    }
}

/// The data of the next event, and its id.
async fn next(stream: &mut Response<Body>) -> (u64, Value) {
    let text = frame(stream).await.expect("there is more");
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!((lines[0], lines.len()), ("event: targets", 5), "{text}");
    assert!(text.ends_with("\n\n"), "{text}");
    let id = lines[1].strip_prefix("id: ").unwrap().parse().unwrap();
    (id, serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap())
}

/// The next one that tells of a change of targets.
async fn changed(stream: &mut Response<Body>) -> (u64, Value) {
    loop {
        let (id, event) = next(stream).await;
        if !names(&event).is_empty() || event.get("gone").is_some() {
            return (id, event);
        }
    }
}

fn names(event: &Value) -> Vec<&str> {
    let targets = event["targets"].as_array().unwrap();
    targets.iter().map(|target| target["name"].as_str().unwrap()).collect()
}

/// A loop whose `n`th view is what `view` makes of the usual one; how often it was asked.
fn views(view: impl Fn(u64, View) -> Option<View> + Send + 'static) -> (World, Arc<AtomicU64>) {
    let (world, messages): (World, mpsc::Receiver<Message>) = World::hanging();
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        loop {
            match messages.try_recv() {
                Ok(Message::View(answer)) => {
                    let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                    let Some(view) = view(number, super::world::view()) else { return };
                    let _ = answer.send(view);
                }
                Ok(_) => panic!("only views are asked for"),
                Err(mpsc::TryRecvError::Empty) => tokio::task::yield_now().await,
                Err(mpsc::TryRecvError::Disconnected) => return,
            }
        }
    });
    (world, asked)
}

#[tokio::test(start_paused = true)]
async fn the_first_event_tells_all_and_the_next_ones_what_changed() {
    let stage = Arc::new(AtomicU64::new(0));
    let now = stage.clone();
    let (world, _) = views(move |_, mut view| {
        let erp = view.targets.iter_mut().find(|target| target.name == "erp").unwrap();
        let now = now.load(Ordering::SeqCst);
        if now >= 1 {
            erp.counts.set(Priority::High, JobState::Queued, 6);
        }
        if now >= 2 {
            view.targets.retain(|target| target.name != "shop");
        }
        Some(view)
    });
    world.handle.pulse().totals(super::world::ERP).sent(crate::broker::time::Mono::ZERO);
    let mut stream = world.open("/v1/events").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let (id, event) = next(&mut stream).await;
    assert_eq!(event["full"], Value::Bool(true));
    assert_eq!(names(&event), ["erp", "gone", "shop"]);
    assert_eq!(event["daemon"]["state"], "ready");
    let listed = world.get("/v1/targets").await.json();
    assert_eq!(event["targets"][0]["limit"], listed["targets"][0]["limit"]);
    assert_eq!(event["targets"][0]["totals"]["sent"], 1);

    // Events before it tell of no change: how many there are hangs on how long the store takes.
    stage.store(1, Ordering::SeqCst);
    let (number, event) = changed(&mut stream).await;
    assert!(number > id && event["full"] == Value::Bool(false));
    assert_eq!(names(&event), ["erp"]);
    assert_eq!(event["targets"][0]["priorities"]["HIGH"]["depth"], 6);
    assert!(event.get("gone").is_none());
    world.readiness.set(Readiness::Draining);
    stage.store(2, Ordering::SeqCst);
    let (_, event) = changed(&mut stream).await;
    assert_eq!((names(&event), event["gone"][0].as_str()), (vec![], Some("shop")));
    assert_eq!(event["daemon"]["state"], "draining");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_streams_ask_once_an_interval_and_none_asks_nothing() {
    let (world, asked) = views(|_, view| Some(view));
    assert!(!world.events.is_asking());
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(world.open("/v1/events").await);
    }
    let mut newest = 0;
    for _ in 0..5 {
        for stream in &mut streams {
            newest = newest.max(next(stream).await.0);
        }
        // The paused clock goes on while the store, a thread of its own, is waited for: the next one
        // may be asked for by now, however many streams there are.
        let asked = asked.load(Ordering::SeqCst);
        assert!((newest..=newest + 1).contains(&asked), "{asked} for {newest}");
    }
    drop(streams);
    while world.events.is_asking() {
        tokio::time::advance(Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
    }
    let before = asked.load(Ordering::SeqCst);
    assert!(before <= newest + 2, "{before} for {newest}");
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert_eq!(asked.load(Ordering::SeqCst), before);
    // Whoever comes then is told at once, and everything.
    let mut late = world.open("/v1/events").await;
    assert_eq!(names(&next(&mut late).await.1).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_misses_events_and_is_told_all_again() {
    let (world, _) = views(|_, view| Some(view));
    let (mut slow, mut quick) = (world.open("/v1/events").await, world.open("/v1/events").await);
    // Which numbers these are hangs on how long the store takes meanwhile.
    let first = next(&mut slow).await.0;
    let mut last = 0;
    for _ in 1..=4 {
        last = next(&mut quick).await.0;
    }
    assert!(last >= first + 3, "{first}, {last}");
    let (id, event) = next(&mut slow).await;
    assert_eq!((id, &event["full"]), (last, &Value::Bool(true)));
    assert_eq!(names(&event).len(), 3);
    let (id, event) = next(&mut slow).await;
    assert_eq!((id, &event["full"], names(&event).len()), (last + 1, &Value::Bool(false), 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_loop_and_after_a_while() {
    let (world, _) = views(|number, view| (number < 3).then_some(view));
    let mut stream = world.open("/v1/events").await;
    assert_eq!(next(&mut stream).await.0, 1);
    assert_eq!(next(&mut stream).await.0, 2);
    assert!(frame(&mut stream).await.is_none());
    assert!(!world.events.is_asking());

    let (world, _) = views(|_, view| Some(view));
    let mut stream = world.open("/v1/events").await;
    let (began, mut events) = (tokio::time::Instant::now(), 0);
    while frame(&mut stream).await.is_some() {
        events += 1;
    }
    // Whoever's token was taken away meanwhile does not come back. Some intervals may have none: the
    // store is asked in real time, while this clock goes on.
    assert!((1..=600).contains(&events), "{events}");
    let lasted = began.elapsed();
    assert!((595..=605).contains(&lasted.as_secs()), "{lasted:?}");
}
