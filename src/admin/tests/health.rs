use std::sync::atomic::Ordering;
use std::time::Duration;

use super::world::World;
use crate::admin::error::AdminError;
use crate::admin::{Readiness, reload};
use crate::broker::time::Mono;
use crate::http_api::problem::Problem;
use crate::reload::ReloadError;

#[tokio::test]
async fn a_daemon_that_takes_jobs_is_alive_and_ready() {
    let world = World::new();
    let answer = world.get("/healthz").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "ok\n"));
    assert_eq!(answer.kind(), "text/plain; charset=utf-8");
    let ready = world.get("/readyz").await.json();
    assert_eq!(ready, serde_json::json!({"ready": true, "step_functions": null}));
}

#[tokio::test]
async fn draining_is_alive_but_not_ready() {
    let world = World::new();
    world.readiness.set(Readiness::Draining);
    world.get("/readyz").await.problem(503);
    assert_eq!(world.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_failed_store_is_not_ready_and_says_why() {
    let world = World::new();
    world.readiness.set(Readiness::StoreFailed("fdatasync: EIO".into()));
    assert!(world.get("/readyz").await.detail(503).contains("fdatasync: EIO"));
}

#[tokio::test]
async fn a_full_disk_is_not_ready() {
    let world = World::new();
    world.shelf.full.store(true, Ordering::SeqCst);
    assert!(world.get("/readyz").await.detail(503).contains("min_free_disk"));
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_hangs_is_not_ready() {
    let (world, _messages) = World::hanging();
    assert!(world.get("/readyz").await.detail(503).contains("has not answered"));
}

/// The loop's clock so long ago. The daemon that is made up here started an hour ago.
fn ago(world: &World, seconds: u64) -> Mono {
    world.handle.mono_now().before(Duration::from_secs(seconds))
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_does_not_end_is_not_alive() {
    let world = World::new();
    let pulse = world.handle.pulse();
    pulse.turn.begin(ago(&world, 3));
    assert_eq!(world.get("/healthz").await.status, 200, "a slow turn is no stuck one");
    pulse.turn.begin(ago(&world, 11));
    assert!(world.get("/healthz").await.detail(503).contains("the loop is at one turn for 1"));
    pulse.turn.end();
    assert_eq!(world.get("/healthz").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_and_goes_on_is_alive() {
    let world = World::new();
    let pulse = world.handle.pulse().clone();
    pulse.turn.begin(ago(&world, 300));
    let (answer, ()) = tokio::join!(world.get("/healthz"), async {
        // It was about to end, and the next one has begun by the second look.
        tokio::time::advance(Duration::from_millis(500)).await;
        pulse.turn.end();
        pulse.turn.begin(ago(&world, 20));
    });
    assert_eq!(answer.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_does_not_end_takes_no_jobs_and_in_the_end_is_not_alive() {
    let world = World::new();
    let pulse = world.handle.pulse();
    pulse.commit.begin(ago(&world, 6));
    assert!(world.get("/readyz").await.detail(503).contains("one commit for 6 s"));
    assert_eq!(world.get("/healthz").await.status, 200, "a slow disk is not mended by a restart");
    pulse.commit.begin(ago(&world, 61));
    assert!(world.get("/healthz").await.detail(503).contains("the store is at one commit"));
    pulse.commit.end();
    // The broker answers on a thread of its own: virtual time would run past its patience meanwhile.
    tokio::time::resume();
    for path in ["/healthz", "/readyz"] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn what_needs_the_loop_is_503_once_it_has_stopped() {
    let world = World::stopped();
    let job = super::world::id(1);
    for (method, path) in [
        ("GET", "/readyz".to_owned()),
        ("GET", "/metrics".to_owned()),
        ("GET", "/v1/targets".to_owned()),
        ("GET", "/v1/targets/erp".to_owned()),
        ("POST", "/v1/targets/erp/pause".to_owned()),
        ("POST", "/v1/targets/erp/dead/redrive".to_owned()),
        ("DELETE", "/v1/targets/erp/dead".to_owned()),
        ("POST", format!("/v1/jobs/{job}/cancel")),
        ("DELETE", format!("/v1/jobs/{job}")),
    ] {
        let answer = world.send(method, &path, "").await;
        assert!(answer.detail(503).contains("stopped"), "{method} {path}: {answer:?}");
        assert!(answer.headers.contains_key("retry-after"), "{method} {path}");
    }
    assert_eq!(world.get("/healthz").await.status, 200);
    assert_eq!(world.get("/").await.status, 200);
}

#[tokio::test]
async fn metrics_are_in_the_prometheus_text_format() {
    let answer = World::new().get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.kind(), "text/plain; version=0.0.4; charset=utf-8");
}

#[tokio::test]
async fn a_reload_that_worked_says_so() {
    let Ok(reloaded) = reload::answer(Ok(Vec::new())) else { panic!("it worked") };
    assert_eq!(serde_json::to_value(reloaded.0).unwrap(), serde_json::json!({"reloaded": true}));
    let refused = World::new().post("/v1/reload").await.problem(422);
    assert_eq!(refused["errors"][0], "this daemon was started without a configuration file");
}

#[test]
fn a_reload_that_failed_carries_every_error() {
    let faults = "tollgate.toml:3:1: targets.erp.urll: unknown key\ntollgate.toml:9:8: bad rate\n\
                  2 errors in tollgate.toml";
    let Err(error) = reload::answer(Err(ReloadError(faults.into()))) else {
        panic!("an error is no answer");
    };
    let AdminError::Reload(_) = &error else { panic!("{error:?}") };
    let problem = serde_json::to_value(Problem::from(error)).unwrap();
    assert_eq!(problem["status"], 422);
    assert!(problem["detail"].as_str().unwrap().contains(faults));
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2);
    assert_eq!(problem["errors"][1], "tollgate.toml:9:8: bad rate");
}
