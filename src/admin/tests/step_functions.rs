use serde_json::json;

use super::world::World;
use crate::admin::records::OwedTokens;
use crate::step_functions::{Health, Part};

fn owed(world: &World, answers: u64, tasks: u64) {
    *world.shelf.owed.lock().unwrap() = OwedTokens { answers, tasks };
}

#[tokio::test]
async fn who_has_no_step_functions_sees_nothing_of_them_unless_answers_are_owed() {
    let world = World::new();
    assert_eq!(world.get("/v1/targets").await.json()["step_functions"], json!(null));
    // They were there once: the configuration lost them, and workflows wait.
    owed(&world, 3, 4);
    let off = json!({"state": "off", "pending_answers": 3, "waiting_tasks": 4, "trouble": null});
    assert_eq!(world.get("/v1/targets").await.json()["step_functions"], off);
    assert_eq!(world.get("/readyz").await.json(), json!({"ready": true, "step_functions": off}));
}

#[tokio::test]
async fn trouble_with_answers_is_told_and_jobs_are_taken_all_the_same() {
    let health = Health::default();
    let world = World::with_step_functions(&health);
    let fine = json!({"state": "ok", "pending_answers": 0, "waiting_tasks": 0, "trouble": null});
    assert_eq!(world.get("/v1/targets").await.json()["step_functions"], fine);
    health.trouble(Part::Answers, false, "ThrottlingException: Rate exceeded");
    owed(&world, 12, 340);
    let retrying = world.get("/v1/targets").await.json()["step_functions"].clone();
    assert_eq!(
        (&retrying["state"], &retrying["pending_answers"], &retrying["waiting_tasks"]),
        (&json!("retrying"), &json!(12), &json!(340))
    );
    let trouble = &retrying["trouble"];
    assert_eq!(
        (&trouble["with"], &trouble["error"]),
        (&json!("answers"), &json!("ThrottlingException: Rate exceeded"))
    );
    let since = trouble["since"].as_str().unwrap();
    assert!(since.parse::<jiff::Timestamp>().is_ok(), "{since}");
    health.trouble(Part::SomeAnswers, true, "KmsAccessDeniedException");
    let ready = world.get("/readyz").await.json();
    assert_eq!(
        (&ready["ready"], &ready["step_functions"]["state"]),
        (&json!(true), &json!("held"))
    );
    assert_eq!(ready["step_functions"]["trouble"]["with"], "some_answers");
    health.fine(Part::Answers);
    health.fine(Part::SomeAnswers);
    assert_eq!(world.get("/readyz").await.json()["step_functions"]["state"], "ok");
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_not_ready() {
    let world = World::with_step_functions(&Health::default());
    world.shelf.broken.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(world.get("/readyz").await.status.is_server_error());
}
