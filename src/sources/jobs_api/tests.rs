use axum::body::Body;
use http::{Method, Request as HttpRequest};
use serde_json::{Value, json};
use tower_service::Service as _;

use super::*;
use crate::broker::io::Refusal;
use crate::broker::job::{End, Place, Priority};
use crate::broker::payload::Answer;
use crate::broker::time::Wall;
use crate::http_api::budget::Budget;
use crate::sources::fake::{Fake, record};

struct Reply {
    status: u16,
    headers: http::HeaderMap,
    json: Value,
}

async fn call(fake: &Fake, method: &str, uri: &str, body: impl Into<Body>) -> Reply {
    let request = HttpRequest::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(uri)
        // What curl says about anything that it is given with -d.
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body.into())
        .unwrap();
    let mut router = with_records(fake.handle.clone(), fake.shelf.clone(), 2000)
        .fallback(crate::http_api::problem::not_found);
    let (parts, body) = router.call(request).await.unwrap().into_parts();
    let body = body::read(body, usize::MAX).await.unwrap();
    let kind = parts.headers[CONTENT_TYPE].to_str().unwrap();
    let expected =
        if parts.status.is_success() { "application/json" } else { "application/problem+json" };
    assert_eq!(kind, expected, "{method} {uri}");
    Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        json: serde_json::from_slice(&body).unwrap(),
    }
}

#[tokio::test]
async fn a_job_is_accepted_with_its_address() {
    let mut fake = Fake::start();
    let reply = call(&fake, "POST", "/v1/jobs", r#"{"target":"crm","priority":"batch"}"#).await;
    let job = fake.submitted().await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.headers[LOCATION], format!("/v1/jobs/{}", job.id));
    assert_eq!(job.priority, Priority::Batch);
    assert_eq!(
        reply.json,
        json!({
            "id": job.id.to_string(), "target": "crm", "priority": "BATCH", "state": "queued",
            "attempts": 0, "enqueued_at": "1970-01-01T00:00:00.001Z",
            "trace_id": job.id.to_string().replace('-', ""),
        })
    );
}

#[tokio::test]
async fn a_duplicate_is_the_first_job() {
    let fake = Fake::start();
    let first = JobId(5);
    fake.shelf.put(record(first, Place::Queued), None);
    fake.will_say([Submitted::Duplicate { id: first }]);
    let reply = call(&fake, "POST", "/v1/jobs", r#"{"target":"erp","dedup_id":"d"}"#).await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.json["id"], first.to_string());
    assert_eq!(reply.json["duplicate"], true);
    assert_eq!(reply.headers[LOCATION], format!("/v1/jobs/{first}"));
}

/// Whoever brings it again is promised it, so it outlives a caller who waits at the proxy, by
/// whichever address.
#[tokio::test]
async fn a_job_that_is_brought_again_is_not_given_up_with_its_first_caller() {
    let mut fake = Fake::start();
    let id = JobId(5);
    fake.shelf.put(record(id, Place::Queued), None);
    let waits = fake.handle.callers().first(id);
    fake.will_say([Submitted::Duplicate { id }]);
    let reply = call(&fake, "POST", "/v1/jobs", r#"{"target":"erp","dedup_id":"d"}"#).await;
    assert_eq!(reply.status, 202);
    fake.submitted().await;
    drop(waits);
    assert!(fake.has_been_told_nothing());
}

/// What is held is counted by memory, not by what came over the wire.
#[tokio::test]
async fn many_small_jobs_take_more_room_than_their_bytes() {
    let fake = Fake::start();
    let mut router = with_records(fake.handle.clone(), fake.shelf.clone(), 2000);
    let held = Held::none_of(Budget::of_bodies(1));
    let left = 3 * ENTRY;
    assert!(held.grow(Budget::BYTES - left));
    let mut ask = async |jobs: usize| {
        let body = vec![r#"{"target":"crm"}"#; jobs].join("\n");
        let request = HttpRequest::post("/v1/jobs/batch")
            .header(CONTENT_TYPE, "application/x-ndjson")
            .extension(held.clone());
        let answer = router.call(request.body(Body::from(body)).unwrap()).await.unwrap();
        (answer.status(), answer.headers().get("retry-after").is_some())
    };
    assert_eq!(ask(4).await, (StatusCode::SERVICE_UNAVAILABLE, true));
    assert_eq!(ask(3).await, (StatusCode::OK, false));
}

#[tokio::test]
async fn what_the_broker_refuses_has_its_status() {
    let seconds = Duration::from_secs;
    for (refusal, status, retry_after) in [
        (Refusal::UnknownTarget, 404, None),
        (Refusal::QueueFull { retry_after: Duration::from_millis(2500) }, 429, Some("3")),
        (Refusal::QueueFull { retry_after: seconds(0) }, 429, Some("1")),
        (Refusal::Draining, 503, Some("1")),
        (Refusal::DedupMismatch { id: JobId(5) }, 422, None),
        (Refusal::DeadlinePassed, 422, None),
        (Refusal::TooLate { estimated_start: Wall::EPOCH }, 422, None),
    ] {
        let fake = Fake::start();
        fake.will_say([Submitted::Refused(refusal.clone())]);
        let reply = call(&fake, "POST", "/v1/jobs", r#"{"target":"erp"}"#).await;
        assert_eq!(reply.status, status, "{refusal:?}");
        let header = reply.headers.get("retry-after").map(|v| v.to_str().unwrap());
        assert_eq!(header, retry_after, "{refusal:?}");
    }
}

#[tokio::test]
async fn bad_input_never_reaches_the_broker() {
    let mut fake = Fake::start();
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("not json", 400),
        (r#"{"target":1}"#, 422),
        (r#"{"target":"erp","zzz":1}"#, 422),
        (r#"{"target":"erp","path":"/.."}"#, 422),
        (r#"{"target":"nope"}"#, 404),
    ] {
        let reply = call(&fake, "POST", "/v1/jobs", body).await;
        assert_eq!(reply.status, status, "{body}");
        assert_eq!(reply.json["status"], status, "{body}");
    }
    let reply = call(&fake, "POST", "/v1/jobs", "x".repeat(2001)).await;
    assert_eq!(reply.status, 413);
    fake.shelf.fill_up();
    let reply = call(&fake, "POST", "/v1/jobs", r#"{"target":"erp"}"#).await;
    assert_eq!(reply.status, 507);
    let reply = call(&fake, "POST", "/v1/jobs/batch", r#"[{"target":"erp"}]"#).await;
    assert_eq!(reply.status, 507);
    assert!(fake.has_been_told_nothing());
}

#[tokio::test]
async fn one_bad_entry_does_no_harm_to_the_others() {
    let batches = [
        r#"[{"target":"erp"},{"target":"nope"},5,{"target":"crm"},{"target":"erp"}]"#,
        "{\"target\":\"erp\"}\n{\"target\":\"nope\"}\n5\n\n{\"target\":\"crm\"}\n\
         {\"target\":\"erp\"}\n",
    ];
    for batch in batches {
        let mut fake = Fake::start();
        let accepted = |id| Submitted::Accepted {
            header: record(id, Place::Queued).header,
            place: Place::Queued,
        };
        fake.will_say([
            accepted(JobId(1)),
            Submitted::Refused(Refusal::QueueFull { retry_after: Duration::from_secs(7) }),
            accepted(JobId(2)),
        ]);
        let reply = call(&fake, "POST", "/v1/jobs/batch", batch).await;
        assert_eq!(reply.status, 200);
        let what: Vec<_> = reply.json["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry.get("status").unwrap_or(&entry["id"]).clone())
            .collect();
        let (one, two) = (JobId(1).to_string(), JobId(2).to_string());
        assert_eq!(json!(what), json!([one, 404, 422, 429, two]), "{batch}");
        assert_eq!(reply.json["jobs"][3]["retry_after"], 7);
        let crate::broker::io::Input::Submit { jobs, .. } = fake.told().await else {
            panic!("a batch goes in together")
        };
        assert_eq!(jobs.len(), 3);
    }
}

#[tokio::test]
async fn batches_of_nothing_and_of_too_much() {
    let mut fake = Fake::start();
    for nothing in ["", "[]"] {
        let reply = call(&fake, "POST", "/v1/jobs/batch", nothing).await;
        assert_eq!((reply.status, reply.json), (200, json!({"jobs": []})));
    }
    let reply = call(&fake, "POST", "/v1/jobs/batch", "5\n".repeat(1000)).await;
    assert_eq!(reply.status, 200);
    let reply = call(&fake, "POST", "/v1/jobs/batch", format!("[{}5]", "5,".repeat(999))).await;
    assert_eq!(reply.status, 413, "too large goes before too many");
    assert!(fake.has_been_told_nothing());
}

#[tokio::test]
async fn an_ended_job_is_shown_with_its_answer() {
    let fake = Fake::start();
    let answer = Answer { status: 200, body: "fine".into(), ..Answer::default() };
    fake.end(JobId(5), End::Succeeded, Some(answer));
    for query in ["", "?wait=20s", "?wait=1"] {
        let reply = call(&fake, "GET", &format!("/v1/jobs/{}{query}", JobId(5)), "").await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json["state"], "succeeded");
        assert_eq!(reply.json["result"]["ResponseBody"], "fine");
        assert_eq!(reply.json["history"][0]["event"], "enqueued");
    }
}

#[tokio::test]
async fn a_job_that_is_not_there_is_not_found() {
    let fake = Fake::start();
    for (method, uri, status) in [
        ("GET", format!("/v1/jobs/{}", JobId(5)), 404),
        ("GET", format!("/v1/jobs/{}?wait=20s", JobId(5)), 404),
        ("DELETE", format!("/v1/jobs/{}", JobId(5)), 404),
        ("GET", "/v1/jobs/nonsense".to_owned(), 404),
        ("GET", "/v1/jobs/%ff%0a".to_owned(), 404),
        ("GET", format!("/v1/jobs/{}?wait=soon", JobId(5)), 422),
        ("GET", format!("/v1/jobs/{}?wiat=1", JobId(5)), 422),
        ("GET", "/v1/nothing".to_owned(), 404),
        ("PUT", "/v1/jobs".to_owned(), 405),
        ("DELETE", "/v1/jobs/batch".to_owned(), 405),
    ] {
        let reply = call(&fake, method, &uri, "").await;
        assert_eq!(reply.status, status, "{method} {uri}");
        assert_eq!(reply.headers.contains_key("allow"), status == 405, "{method} {uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_job_or_with_patience() {
    let fake = Fake::start();
    let id = JobId(5);
    let uri = format!("/v1/jobs/{id}?wait=20s");
    fake.shelf.put(record(id, Place::Running { started: Wall::from_millis(1) }), None);
    let before = tokio::time::Instant::now();
    let reply = call(&fake, "GET", &uri, "").await;
    assert_eq!(reply.json["state"], "running");
    assert_eq!(before.elapsed().as_secs(), 20);

    let (reply, ()) = tokio::join!(call(&fake, "GET", &uri, ""), async {
        #[expect(clippy::disallowed_methods, reason = "in virtual time")]
        tokio::time::sleep(Duration::from_secs(5)).await;
        fake.end(id, End::Succeeded, None);
    });
    assert_eq!(reply.json["state"], "succeeded");
    assert_eq!(before.elapsed().as_secs(), 25);
}

#[test]
fn patience_has_a_bound() {
    assert_eq!(wait(None).unwrap(), Duration::ZERO);
    assert_eq!(wait(Some("wait=20s")).unwrap(), Duration::from_secs(20));
    assert_eq!(wait(Some("wait=1m%2020s")).unwrap(), LONGEST_WAIT);
    assert_eq!(wait(Some("&wait=4000000000&")).unwrap(), LONGEST_WAIT);
}

#[tokio::test]
async fn only_what_was_not_sent_can_be_cancelled() {
    let fake = Fake::start();
    let id = JobId(5);
    let uri = format!("/v1/jobs/{id}");
    fake.shelf.put(record(id, Place::Running { started: Wall::EPOCH }), None);
    let reply = call(&fake, "DELETE", &uri, "").await;
    assert_eq!((reply.status, &reply.json["state"]), (409, &json!("running")));
    assert!(reply.json["detail"].as_str().unwrap().ends_with("it is being sent"));
    fake.shelf.put(record(id, Place::Waiting { due: Wall::EPOCH }), None);
    let reply = call(&fake, "DELETE", &uri, "").await;
    assert_eq!((reply.status, &reply.json["state"]), (409, &json!("waiting")));
    assert!(reply.json["detail"].as_str().unwrap().contains("has been sent"));
    fake.shelf.put(record(id, Place::Queued), None);
    let reply = call(&fake, "DELETE", &uri, "").await;
    assert_eq!((reply.status, &reply.json["state"]), (200, &json!("cancelled")));
}
