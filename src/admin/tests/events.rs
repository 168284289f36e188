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

/// A daemon with a made-up loop that is always at work, so the clock does not jump.
struct Watched {
    world: World,
    /// How often the loop was asked for how things stand, beyond what `get` asked for.
    asked: Arc<AtomicU64>,
}

impl Watched {
    async fn open(&self) -> Response<Body> {
        self.world.open("/v1/events").await
    }

    async fn targets(&self) -> Value {
        let targets = self.world.get("/v1/targets").await.json();
        self.asked.fetch_sub(1, Ordering::SeqCst);
        targets
    }

    /// What comes next; `None` at the end. Time goes on only here, and stands still while an event
    /// is being made: the store is asked by a thread of its own, in real time.
    async fn frame(&self, stream: &mut Response<Body>) -> Option<String> {
        loop {
            for _ in 0..20 {
                let mut next = std::pin::pin!(stream.body_mut().frame());
                if let Poll::Ready(frame) = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await
                {
                    let data = frame?.unwrap().into_data().unwrap();
                    return Some(String::from_utf8(data.to_vec()).unwrap());
                }
                tokio::task::yield_now().await;
            }
            if self.asked() == self.world.events.told() {
                tokio::time::advance(Duration::from_millis(50)).await;
            }
        }
    }

    /// The data of the next event, and its id.
    async fn next(&self, stream: &mut Response<Body>) -> (u64, Value) {
        let text = self.frame(stream).await.expect("there is more");
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!((lines[0], lines.len()), ("event: targets", 5), "{text}");
        assert!(text.ends_with("\n\n"), "{text}");
        let id = lines[1].strip_prefix("id: ").unwrap().parse().unwrap();
        (id, serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap())
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn names(event: &Value) -> Vec<&str> {
    let targets = event["targets"].as_array().unwrap();
    targets.iter().map(|target| target["name"].as_str().unwrap()).collect()
}

/// A loop whose `n`th view is what `view` makes of the usual one.
fn views(view: impl Fn(u64, View) -> Option<View> + Send + 'static) -> Watched {
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
    Watched { world, asked }
}

#[tokio::test(start_paused = true)]
async fn the_first_event_tells_all_and_the_next_ones_what_changed() {
    let stage = Arc::new(AtomicU64::new(0));
    let now = stage.clone();
    let watched = views(move |_, mut view| {
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
    let pulse = watched.world.handle.pulse();
    pulse.totals(super::world::ERP).sent(crate::broker::time::Mono::ZERO);
    let mut stream = watched.open().await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let (id, event) = watched.next(&mut stream).await;
    assert_eq!((id, &event["full"]), (1, &Value::Bool(true)));
    assert_eq!(names(&event), ["erp", "gone", "shop"]);
    assert_eq!(event["daemon"]["state"], "ready");
    let listed = watched.targets().await;
    assert_eq!(event["targets"][0]["limit"], listed["targets"][0]["limit"]);
    assert_eq!(event["targets"][0]["totals"]["sent"], 1);

    stage.store(1, Ordering::SeqCst);
    let (id, event) = watched.next(&mut stream).await;
    assert_eq!((id, &event["full"]), (2, &Value::Bool(false)));
    assert_eq!(names(&event), ["erp"]);
    assert_eq!(event["targets"][0]["priorities"]["HIGH"]["depth"], 6);
    assert!(event.get("gone").is_none());
    watched.world.readiness.set(Readiness::Draining);
    stage.store(2, Ordering::SeqCst);
    let (id, event) = watched.next(&mut stream).await;
    assert_eq!((id, &event["full"]), (3, &Value::Bool(false)));
    assert_eq!((names(&event), event["gone"][0].as_str()), (vec![], Some("shop")));
    assert_eq!(event["daemon"]["state"], "draining");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_streams_ask_once_an_interval_and_none_asks_nothing() {
    let watched = views(|_, view| Some(view));
    let events = &watched.world.events;
    assert!(!events.is_asking());
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(watched.open().await);
    }
    for number in 1..=5 {
        for stream in &mut streams {
            assert_eq!(watched.next(stream).await.0, number);
        }
        assert_eq!(watched.asked(), number);
    }
    drop(streams);
    while events.is_asking() {
        tokio::time::advance(Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(watched.asked(), 5);
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert_eq!(watched.asked(), 5);
    // Whoever comes then is told at once, and everything.
    watched.asked.store(0, Ordering::SeqCst);
    let mut late = watched.open().await;
    assert_eq!(names(&watched.next(&mut late).await.1).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_misses_events_and_is_told_all_again() {
    let watched = views(|_, view| Some(view));
    let (mut slow, mut quick) = (watched.open().await, watched.open().await);
    assert_eq!(watched.next(&mut slow).await.0, 1);
    for number in 1..=4 {
        assert_eq!(watched.next(&mut quick).await.0, number);
    }
    let (id, event) = watched.next(&mut slow).await;
    assert_eq!((id, &event["full"]), (4, &Value::Bool(true)));
    assert_eq!(names(&event).len(), 3);
    let (id, event) = watched.next(&mut slow).await;
    assert_eq!((id, &event["full"], names(&event).len()), (5, &Value::Bool(false), 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_loop_and_after_a_while() {
    let watched = views(|number, view| (number < 3).then_some(view));
    let mut stream = watched.open().await;
    assert_eq!(watched.next(&mut stream).await.0, 1);
    assert_eq!(watched.next(&mut stream).await.0, 2);
    assert!(watched.frame(&mut stream).await.is_none());
    assert!(!watched.world.events.is_asking());

    let watched = views(|_, view| Some(view));
    let mut stream = watched.open().await;
    let (began, mut events) = (tokio::time::Instant::now(), 0);
    while watched.frame(&mut stream).await.is_some() {
        events += 1;
    }
    // Whoever's token was taken away meanwhile does not come back.
    assert!((595..=605).contains(&events), "{events}");
    let lasted = began.elapsed();
    assert!((595..=605).contains(&lasted.as_secs()), "{lasted:?}");
}
