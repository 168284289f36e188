use serde_json::json;

use super::world::World;
use crate::broker::io::{CommandError, Input, Sweep};

#[tokio::test]
async fn targets_are_listed_by_name() {
    let targets = World::new().get("/v1/targets").await.json();
    let names: Vec<_> = targets["targets"].as_array().unwrap().iter().map(|t| &t["name"]).collect();
    assert_eq!(names, ["erp", "gone", "shop"]);
}

#[tokio::test]
async fn a_busy_target_says_how_it_stands() {
    let erp = World::new().get("/v1/targets/erp").await.json();
    // Now and then a BATCH job goes between.
    assert_eq!(
        erp["priorities"],
        json!({
            "HIGH": {"depth": 5, "oldest_age_seconds": 1.0, "estimated_drain_seconds": 0.552},
            "NORMAL": {"depth": 10, "oldest_age_seconds": 30.0, "estimated_drain_seconds": 1.575},
            "BATCH": {"depth": 100, "oldest_age_seconds": 3600.0, "estimated_drain_seconds": 11.5},
        })
    );
    for (field, value) in [
        ("configured", json!(true)),
        ("url", json!("https://erp.example/api")),
        ("scheduled", json!(7)),
        ("waiting", json!(2)),
        ("running", json!(4)),
        ("in_flight", json!(4)),
        ("dead", json!(3)),
        ("paused", json!(false)),
        ("blocked", json!({"on": "rate", "until": "2023-11-14T22:13:20.100Z"})),
        (
            "limit",
            json!({"rate": "10/s", "rate_per_second": 10.0, "burst": 2, "max_concurrent": 4}),
        ),
    ] {
        assert_eq!(erp[field], value, "{field}");
    }
}

#[tokio::test]
async fn it_says_when_concurrency_and_not_rate_holds_a_target_back() {
    // Blocked on rate just now, but on concurrency for 450 of 600 seconds.
    let held = &World::new().get("/v1/targets/erp").await.json()["held_back_by"];
    assert_eq!(
        (&held["on"], &held["share"], &held["over_seconds"]),
        (&json!("concurrency"), &json!(0.75), &json!(600.0))
    );
    let hint = held["hint"].as_str().unwrap();
    assert!(hint.contains("4 under way") && hint.contains("raise max_concurrent"), "{hint}");
}

#[tokio::test]
async fn nobody_says_when_a_paused_or_forgotten_target_will_be_drained() {
    let world = World::new();
    let shop = world.get("/v1/targets/shop").await.json();
    assert_eq!(shop["paused"], true);
    assert_eq!(shop["blocked"], json!({"on": "paused", "until": null}));
    assert_eq!(shop["priorities"]["HIGH"]["estimated_drain_seconds"], 0.0);
    assert_eq!(shop["priorities"]["NORMAL"]["estimated_drain_seconds"], json!(null));
    assert_eq!(shop["priorities"]["HIGH"]["oldest_age_seconds"], json!(null));
    assert_eq!(shop["held_back_by"], json!(null));

    let gone = world.get("/v1/targets/gone").await.json();
    assert_eq!(
        (&gone["configured"], &gone["url"], &gone["limit"], &gone["blocked"]),
        (&json!(false), &json!(null), &json!(null), &json!(null))
    );
    assert_eq!(gone["priorities"]["NORMAL"]["estimated_drain_seconds"], json!(null));
}

#[tokio::test]
async fn a_target_is_paused_and_resumed() {
    let world = World::new();
    let paused = world.post("/v1/targets/erp/pause").await.json();
    assert_eq!(paused, json!({"target": "erp", "paused": true}));
    let resumed = world.post("/v1/targets/gone/resume").await.json();
    assert_eq!(resumed, json!({"target": "gone", "paused": false}));
    let asked: Vec<_> = world
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|input| match input {
            Input::Pause { target, paused, .. } => (target.0, *paused),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, [(1, true), (3, false)]);
}

#[tokio::test]
async fn every_route_of_a_target_names_the_nearest_to_an_unknown_one() {
    let world = World::new();
    for (method, path) in [
        ("GET", "/v1/targets/shpo"),
        ("POST", "/v1/targets/shpo/pause"),
        ("POST", "/v1/targets/shpo/resume"),
        ("GET", "/v1/targets/shpo/dead"),
        ("DELETE", "/v1/targets/shpo/dead"),
        ("POST", "/v1/targets/shpo/dead/redrive"),
        ("GET", "/v1/jobs?target=shpo"),
    ] {
        let detail = world.send(method, path, "").await.detail(404);
        assert!(detail.contains("`shop`"), "{method} {path}: {detail}");
    }
    assert!(world.asked.lock().unwrap().is_empty());
    // The loop may have forgotten a target that the directory still names.
    let forgetful = World::refusing(CommandError::NoSuchJob);
    forgetful.post("/v1/targets/gone/pause").await.problem(404);
    // A name is data wherever it is shown.
    let odd = world.get("/v1/targets/%3Cimg%20src=x%3E%0a").await;
    assert!(odd.detail(404).contains("<img src=x>\\n"), "{odd:?}");
    world.get("/v1/targets/%ff").await.problem(400);
}

#[tokio::test]
async fn all_dead_jobs_of_a_target_are_redriven_or_purged() {
    let world = World::new();
    let redriven = world.post("/v1/targets/erp/dead/redrive").await.json();
    assert_eq!(redriven, json!({"redriven": 3}));
    let purged = world.send("DELETE", "/v1/targets/erp/dead", "").await.json();
    assert_eq!(purged, json!({"purged": 3}));
    let asked = world.asked.lock().unwrap();
    let sweeps: Vec<_> = asked
        .iter()
        .map(|input| match input {
            Input::Sweep { target, sweep, .. } => (target.0, sweep.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sweeps, [(1, Sweep::Redrive { pace: None, by: None }), (1, Sweep::Purge)]);
}
