//! Sending dead jobs again: changed, chosen, paced.

use bytes::Bytes;
use serde_json::json;

use super::world::{World, failed, id, record};
use crate::broker::io::{Input, JobCommand, Sweep};
use crate::broker::job::Priority;
use crate::broker::payload::Request;

fn edits(world: &World) -> Vec<crate::broker::io::Edit> {
    let asked = world.asked.lock().unwrap();
    let edits = asked.iter().filter_map(|input| match input {
        Input::Command { command: JobCommand::Redrive { edit, .. }, .. } => edit.as_deref(),
        other => panic!("{other:?}"),
    });
    edits.cloned().collect()
}

#[tokio::test]
async fn a_dead_job_is_changed_before_it_is_sent_again() {
    let world = World::new();
    world.shelf.put(record(1, failed()));
    let request = Request {
        method: "POST".into(),
        path: "/orders".into(),
        body: Bytes::from_static(b"{}"),
        ..Request::default()
    };
    world.shelf.requests.lock().unwrap().insert(id(1), request.clone());
    let path = format!("/v1/jobs/{}/redrive", id(1));
    let body = r#"{"priority":"high","path":"/v2/orders","body":{"sku":7}}"#;
    assert_eq!(world.send("POST", &path, body).await.json()["id"], json!(id(1).to_string()));
    assert_eq!(world.send("POST", &path, "").await.json()["id"], json!(id(1).to_string()));
    assert_eq!(world.send("POST", &path, "{}").await.json()["id"], json!(id(1).to_string()));
    let edits = edits(&world);
    assert_eq!(edits.len(), 1, "an empty one changes nothing");
    let edited = edits[0].request.as_ref().unwrap();
    assert_eq!(
        (edits[0].priority, edits[0].parts.as_str()),
        (Some(Priority::High), "priority, path, body")
    );
    assert_eq!((edited.path.as_str(), &edited.body[..]), ("/v2/orders", &b"{\"sku\":7}"[..]));
    assert_eq!(edited.method, request.method);
}

#[tokio::test]
async fn an_edit_that_makes_no_sense_changes_nothing() {
    let world = World::new();
    world.shelf.put(record(1, failed()));
    world.shelf.requests.lock().unwrap().insert(id(1), Request::default());
    let path = format!("/v1/jobs/{}/redrive", id(1));
    for (body, status) in [
        ("{", 400),
        ("[]", 422),
        (r#"{"state":"queued"}"#, 422),
        (r#"{"path":"/../admin"}"#, 422),
        (r#"{"priority":"URGENT"}"#, 422),
        (r#"{"headers":{"host":"elsewhere"}}"#, 422),
    ] {
        world.send("POST", &path, body).await.problem(status);
    }
    let nowhere = format!("/v1/jobs/{}/redrive", id(9));
    world.send("POST", &nowhere, r#"{"path":"/x"}"#).await.problem(404);
    assert!(world.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn many_are_chosen_and_paced() {
    let world = World::new();
    let dead = "/v1/targets/erp/dead";
    let query = "error=Tollgate.Http.503&priority=batch&older_than=1d&newer_than=30d";
    let redrive = format!("{dead}/redrive?{query}&rate=5/s");
    assert_eq!(world.post(&redrive).await.json(), json!({"redriven": 3}));
    let purged = world.send("DELETE", &format!("{dead}?{query}"), "").await.json();
    assert_eq!(purged, json!({"purged": 3}));
    for (query, name) in [
        ("older_than=soon", "older_than"),
        ("newer_than=5M", "newer_than"),
        ("rate=fast", "rate"),
        ("priority=URGENT", "priority"),
    ] {
        let detail = world.post(&format!("{dead}/redrive?{query}")).await.detail(400);
        assert!(detail.contains(name), "{detail}");
    }
    world.send("DELETE", &format!("{dead}?rate=5/s"), "").await.problem(400);
    let asked = world.asked.lock().unwrap();
    let [Input::Sweep { sweep, which, .. }, Input::Sweep { sweep: Sweep::Purge, which: same, .. }] =
        &asked[..]
    else {
        panic!("{asked:?}")
    };
    let pace = std::time::Duration::from_millis(200);
    assert_eq!(*sweep, Sweep::Redrive { pace: Some(pace), by: None });
    for which in [which, same] {
        assert_eq!(which.code.as_deref(), Some("Tollgate.Http.503"));
        assert_eq!(which.priority, Some(Priority::Batch));
        let (before, after) = (which.died_before.unwrap(), which.died_after.unwrap());
        assert_eq!(before.since(after).as_secs() / 86_400, 29);
    }
}
