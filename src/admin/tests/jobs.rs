use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use serde_json::json;

use super::world::{World, expired, failed, id, now, record};
use crate::broker::io::{CommandError, Input, JobCommand};
use crate::broker::job::{JobState, Place, Priority};
use crate::broker::payload::{Answer, Request};

fn commands(world: &World) -> Vec<JobCommand> {
    let asked = world.asked.lock().unwrap();
    let commands = asked.iter().map(|input| match input {
        Input::Command { command, .. } => command.clone(),
        other => panic!("{other:?}"),
    });
    commands.collect()
}

#[tokio::test]
async fn a_job_is_shown_with_its_request_if_that_is_asked_for() {
    let world = World::new();
    world.shelf.put(record(1, failed()));
    let answer = Answer { status: 404, body: Bytes::from_static(b"none"), ..Answer::default() };
    world.shelf.answers.lock().unwrap().insert(id(1), answer);
    let request = Request {
        method: "POST".into(),
        path: "/orders".into(),
        headers: vec![("authorization".into(), Bytes::from_static(b"Bearer hush"))],
        body: Bytes::from_static(b"text"),
        ..Request::default()
    };
    world.shelf.requests.lock().unwrap().insert(id(1), request);

    let path = format!("/v1/jobs/{}", id(1));
    let job = world.get(&path).await.json();
    assert_eq!((&job["id"], &job["state"]), (&json!(id(1).to_string()), &json!("failed")));
    assert_eq!(job["target"], "erp");
    assert_eq!(job.get("request"), None);
    assert_eq!(world.get(&format!("{path}?request=false")).await.json(), job);

    let full = world.get(&format!("{path}?request=true")).await;
    assert!(!full.text().contains("hush"), "{full:?}");
    let full = full.json();
    assert_eq!(full["request"]["path"], "/orders");
    assert_eq!(full["request"]["body"], "text");
    assert_eq!(full["id"], job["id"]);

    world.get(&format!("{path}?request=perhaps")).await.problem(400);
}

#[tokio::test]
async fn jobs_that_do_not_exist_are_404_on_every_route() {
    let world = World::refusing(CommandError::NoSuchJob);
    for (method, action) in
        [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/redrive"), ("POST", "/cancel")]
    {
        let body = r#"{"priority":"HIGH"}"#;
        let path = format!("/v1/jobs/{}{action}", id(9));
        let detail = world.send(method, &path, body).await.detail(404);
        assert!(detail.contains(&id(9).to_string()), "{method} {path}: {detail}");
        let nonsense = format!("/v1/jobs/nonsense{action}");
        let detail = world.send(method, &nonsense, body).await.detail(404);
        assert!(detail.contains("a job id is a UUID"), "{method} {nonsense}: {detail}");
    }
}

#[tokio::test]
async fn a_conflict_carries_the_job_s_state() {
    let world = World::refusing(CommandError::Conflict { state: JobState::Running });
    for (method, action, rule) in [
        ("PATCH", "", "priority"),
        ("DELETE", "", "purged"),
        ("POST", "/redrive", "redriven"),
        ("POST", "/cancel", "cancelled"),
    ] {
        let path = format!("/v1/jobs/{}{action}", id(1));
        let problem = world.send(method, &path, r#"{"priority":"HIGH"}"#).await.problem(409);
        assert_eq!(problem["state"], "running");
        assert!(problem["detail"].as_str().unwrap().contains(rule), "{problem}");
    }
}

#[tokio::test]
async fn a_draining_daemon_changes_no_job() {
    let world = World::refusing(CommandError::Draining);
    let answer = world.post(&format!("/v1/jobs/{}/cancel", id(1))).await;
    answer.problem(503);
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn commands_reach_the_loop_and_answer_with_the_job() {
    let world = World::new();
    let path = format!("/v1/jobs/{}", id(1));
    // The store knows it; the loop's answer is enough where it does not.
    world.shelf.put(record(1, Place::Queued));
    let changed = world.send("PATCH", &path, r#"{"priority":"high"}"#).await.json();
    assert_eq!(changed["id"], id(1).to_string());
    assert_eq!(world.post(&format!("{path}/redrive")).await.json()["state"], "queued");
    let unread = world.post(&format!("/v1/jobs/{}/cancel", id(2))).await.json();
    assert_eq!((&unread["id"], &unread["state"]), (&json!(id(2).to_string()), &json!("cancelled")));
    let purged = world.send("DELETE", &path, "").await.json();
    assert_eq!(purged, json!({"purged": 1}));
    assert_eq!(
        commands(&world),
        [
            JobCommand::Reprioritize { job: id(1), priority: Priority::High, by: None },
            JobCommand::Redrive { job: id(1), edit: None, by: None },
            JobCommand::Cancel {
                job: id(2),
                even_if_tried: true,
                reason: Some("cancelled over the admin address".into())
            },
            JobCommand::Purge { job: id(1) },
        ]
    );
}

#[tokio::test]
async fn a_change_that_happened_is_no_failure_if_the_store_cannot_be_read() {
    let world = World::new();
    world.shelf.broken.store(true, Ordering::SeqCst);
    let job = world.post(&format!("/v1/jobs/{}/redrive", id(1))).await.json();
    assert_eq!(job["state"], "queued");
    world.get(&format!("/v1/jobs/{}", id(1))).await.problem(500);
    world.get("/v1/jobs").await.problem(500);
}

#[tokio::test]
async fn a_bad_patch_changes_nothing() {
    let world = World::new();
    let path = format!("/v1/jobs/{}", id(1));
    for (body, status, word) in [
        ("", 400, "EOF"),
        ("{", 400, "EOF"),
        ("priority=HIGH", 400, "expected"),
        ("{}", 422, "priority"),
        (r#"["HIGH"]"#, 422, "expected a map"),
        (r#"{"priority":"HIGH","priority":"BATCH"}"#, 422, "duplicate"),
        (r#"{"priority":"HIGH"} {"#, 400, "trailing"),
        (r#"{"priority":1}"#, 422, "string"),
        (r#"{"priority":"URGENT"}"#, 422, "HIGH, NORMAL or BATCH"),
        (r#"{"priority":"HIGH","target":"x"}"#, 422, "target"),
    ] {
        let detail = world.send("PATCH", &path, body).await.detail(status);
        assert!(detail.contains(word), "{body}: {detail}");
    }
    let long: &'static str = String::leak(" ".repeat(5_000));
    world.send("PATCH", &path, long).await.problem(413);
    // One of no announced length is cut off too.
    let request = http::Request::patch(&path).header("host", "localhost");
    let request = request.body(axum::body::Body::new(Endless)).unwrap();
    world.call(request).await.problem(413);
    assert!(commands(&world).is_empty());
}

/// A body without an end.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(b"          ")))))
    }
}

#[tokio::test]
async fn jobs_are_listed_in_pages_and_by_every_filter() {
    let world = World::new();
    for n in 1..=120 {
        let mut job = record(n, if n % 2 == 0 { failed() } else { Place::Queued });
        if n % 3 == 0 {
            job.header.priority = Priority::High;
        }
        if n % 5 == 0 {
            job.header.target.0 = 2;
        }
        world.shelf.put(job);
    }
    let count = async |query: &str| {
        let page = world.get(&format!("/v1/jobs{query}")).await.json();
        // A `+` in a query is a space.
        let next = page["next"].as_str().map(|next| next.replace('+', "%2B"));
        (page["jobs"].as_array().unwrap().len(), next)
    };
    let next = |n| format!("%2B{}", id(n));
    assert_eq!(count("").await, (50, Some(next(50))));
    assert_eq!(count(&format!("?after={}", next(50))).await, (50, Some(next(100))));
    assert_eq!(count(&format!("?after={}", next(100))).await, (20, None));
    assert_eq!(count("?limit=500").await, (120, None));
    assert_eq!(count("?limit=500&state=failed").await, (60, None));
    assert_eq!(count("?limit=500&state=QUEUED&priority=high").await, (20, None));
    assert_eq!(count("?limit=500&target=shop").await, (24, None));
    assert_eq!(count("?limit=500&target=shop&priority=HIGH&state=failed").await, (4, None));
    assert_eq!(count("?target=gone").await, (0, None));
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let world = World::new();
    for (query, status, word) in [
        ("limit=0", 400, "from 1 to 500"),
        ("limit=501", 400, "from 1 to 500"),
        ("limit=many", 400, "`many`"),
        ("limit=-1", 400, "`limit`"),
        ("state=dead", 400, "scheduled, queued"),
        ("state=", 400, "`state`"),
        ("priority=URGENT", 400, "HIGH, NORMAL or BATCH"),
        ("after=x", 400, "`after`"),
        ("after=-0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11", 400, "of this list"),
        ("limit=1&limit=2", 400, "more than once"),
        ("sate=queued", 400, "`sate`"),
        ("sate=queued&colour=red", 400, "parameters `sate`, `colour`"),
        ("target=nowhere", 404, "`nowhere`"),
        ("group=", 400, "`group`"),
    ] {
        let detail = world.get(&format!("/v1/jobs?{query}")).await.detail(status);
        assert!(detail.contains(word), "{query}: {detail}");
    }
}

#[tokio::test]
async fn dead_jobs_are_listed_newest_first() {
    let world = World::new();
    for n in 1..=9 {
        let place = match n % 3 {
            0 => failed(),
            1 => expired(),
            _ => Place::Running { started: now().wall },
        };
        world.shelf.put(record(n, place));
    }
    let page = world.get("/v1/targets/erp/dead?limit=4").await.json();
    let ids = |page: &serde_json::Value| -> Vec<String> {
        let jobs = page["jobs"].as_array().unwrap();
        jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&page), [9, 7, 6, 4].map(|n| id(n).to_string()));
    let next = page["next"].as_str().unwrap();
    let rest = world.get(&format!("/v1/targets/erp/dead?after={next}")).await.json();
    assert_eq!(ids(&rest), [3, 1].map(|n| id(n).to_string()));
    assert_eq!(rest["next"], json!(null));
    world.get("/v1/targets/erp/dead?state=failed").await.problem(400);
}
