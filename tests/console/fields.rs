//! What a daemon may tell beyond what this one does: windows, quotas, shared limits, schedules,
//! breakers, questions about a job's work, edits. In front of the real daemon stands one that
//! answers for it where that matters here, so that the page's own files and headers are the real
//! ones.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Browser;
use crate::browser::{DESKTOP, PHONE};
use crate::scene::Scene;
use crate::support::Client;

const ID: &str = "0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11";

/// What it was asked to change: path, and body or null.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

async fn stand_in(real: SocketAddr) -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Asked::default();
    let (seen, client) = (asked.clone(), Client::new());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (seen, client) = (seen.clone(), client.clone());
            let service =
                service_fn(move |request| answer(request, real, seen.clone(), client.clone()));
            let serving = hyper::server::conn::http1::Builder::new();
            tokio::spawn(serving.serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, asked)
}

async fn answer(
    request: Request<Incoming>,
    real: SocketAddr,
    asked: Asked,
    client: Client,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path_and_query().unwrap().as_str().to_owned();
    let method = request.method().clone();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    if method != "GET" {
        let body = serde_json::from_slice(&body).unwrap_or_default();
        asked.lock().unwrap().push((format!("{method} {path}"), body));
    }
    let plain = path.split('?').next().unwrap_or_default();
    let told = match (method.as_str(), plain) {
        (_, "/v1/events") => {
            let text = format!("event: targets\nid: 1\ndata: {}\n\n", news());
            let kind = ("content-type", "text/event-stream");
            let response = Response::builder().header(kind.0, kind.1);
            return Ok(response.body(Full::from(text)).unwrap());
        }
        (_, "/openapi.json") => description(),
        ("GET", "/v1/targets/erp/dead") => json!({ "jobs": [dead_job()], "next": null }),
        ("GET", "/v1/targets/erp/dead/errors") => errors(&path),
        ("GET", _) if plain == format!("/v1/jobs/{ID}") => dead_job(),
        ("POST", _) if plain == format!("/v1/jobs/{ID}/redrive") => dead_job(),
        ("POST", "/v1/targets/erp/dead/redrive") => json!({ "redriven": 12_000 }),
        ("DELETE", "/v1/targets/erp/dead") => json!({ "purged": 12_000 }),
        _ => {
            let real = client.get(real, &path).await;
            let mut response = Response::new(Full::from(real.body));
            *response.status_mut() = http::StatusCode::from_u16(real.status).unwrap();
            *response.headers_mut() = real.headers;
            return Ok(response);
        }
    };
    let response = Response::builder().header("content-type", "application/json");
    Ok(response.body(Full::from(told.to_string())).unwrap())
}

fn news() -> Value {
    let queue = |depth: u64, oldest: Option<f64>| json!({ "depth": depth, "oldest_age_seconds": oldest, "estimated_drain_seconds": 3_600.0 });
    let erp = json!({
        "name": "erp", "configured": true, "url": "https://erp.example/api",
        "priorities": { "HIGH": queue(3, Some(12.0)), "NORMAL": queue(40, Some(600.0)), "BATCH": queue(1_000_000, Some(90_000.0)) },
        "scheduled": 5, "waiting": 2, "verifying": 4, "running": 1, "in_flight": 1, "dead": 112_000,
        "paused": false,
        "blocked": { "on": "quota", "limit": "mainframe", "since": "2026-03-01T10:00:00.000Z", "until": "2099-03-02T00:00:00.000Z" },
        "held_back_by": null,
        "limit": {
            "rate": "10/s", "rate_per_second": 10.0, "rate_in_force_per_second": 4.0, "burst": 2, "max_concurrent": 4,
            "windows": [{ "limit": "100/min", "left": 37, "resets_at": "2099-03-01T10:00:00.000Z" }, { "limit": "5000/d", "left": 120 }],
            "quota": { "count": 20_000, "per": "day", "timezone": "Europe/Berlin", "left": 0, "resets_at": "2099-03-02T00:00:00.000Z" },
        },
        "limits": [{ "name": "mainframe", "rate": "1000/min", "rate_per_second": 16.7, "burst": 1, "max_concurrent": 8, "in_flight": 7 }],
        "breaker": { "state": "half_open", "failures": 10, "probe_at": "2099-03-01T10:00:00.000Z" },
        "schedule": { "timezone": "Europe/Berlin", "today": [
            { "from": "00:00", "to": "02:00", "closed": true }, { "from": "02:00", "to": "08:00", "rate": "10/s" },
            { "from": "08:00", "to": "18:00", "rate": "5/s" }, { "from": "18:00", "to": "24:00", "rate": "10/s" },
        ] },
        "totals": { "enqueued": 9, "sent": 9, "done": 6, "refused": 1, "rejected": 1, "unknown": 1, "succeeded": 6, "died": 1 },
    });
    json!({ "at": "2026-03-01T10:00:01.000Z", "daemon": { "version": "9.9.9", "state": "ready" }, "full": true, "targets": [erp], "recent": { "erp": vec![4; 119] } })
}

fn description() -> Value {
    let object = |properties: Value| json!({ "content": { "application/json": { "schema": { "properties": properties } } } });
    json!({ "paths": {
        "/v1/jobs/{id}/redrive": { "post": { "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/JobEdit" } } } } } },
        "/v1/targets/{target}/dead/redrive": { "post": { "requestBody": object(json!({ "code": {}, "priority": {}, "rate": {} })) } },
        "/v1/targets/{target}/dead": { "delete": { "parameters": [{ "in": "query", "name": "code" }, { "in": "query", "name": "priority" }] } },
    }, "components": { "schemas": { "JobEdit": { "properties": { "path": {}, "body": {}, "priority": {}, "method": {} } } } } })
}

/// 112,000 in stretches of 10,000, as the daemon counts them.
fn errors(path: &str) -> Value {
    let stretch: u64 = path.split_once("after=").map_or(0, |(_, after)| after.parse().unwrap());
    let of = |code: &str, count: u64| json!({ "code": code, "state": "failed", "count": count, "oldest": "2026-03-01T09:00:00.000Z", "newest": "2026-03-01T09:30:00.000Z", "example": ID });
    let all = if stretch < 11 { 10_000 } else { 2_000 };
    let rejected = 1_000;
    let next = (stretch < 11).then(|| (stretch + 1).to_string());
    json!({ "errors": [of("Tollgate.OutcomeUnknown", all - rejected), of("Tollgate.Http.422", rejected)], "looked_at": all, "next": next })
}

fn dead_job() -> Value {
    let at = |second: &str| format!("2026-03-01T10:{second}.000Z");
    json!({
        "id": ID, "target": "erp", "priority": "NORMAL", "state": "failed", "attempts": 2, "questions": 1,
        "delivery": "verify", "group": "customer-42", "position": null,
        "enqueued_at": at("00:00"), "finished_at": at("01:40"),
        "error": { "code": "Tollgate.OutcomeUnknown", "message": "nobody knows whether the work was done" },
        "history": [
            { "at": at("00:00"), "event": "enqueued" },
            { "at": at("00:20"), "event": "sent", "attempt": 1, "passed_over": 3 },
            { "at": at("00:24"), "event": "refused", "attempt": 1, "status": 503, "until": at("00:30") },
            { "at": at("00:24"), "event": "waiting", "until": at("00:40") },
            { "at": at("00:40"), "event": "due" },
            { "at": at("00:45"), "event": "sent", "attempt": 2 },
            { "at": at("00:55"), "event": "unknown", "attempt": 2, "reason": "no answer within 10 s" },
            { "at": at("00:55"), "event": "verifying", "until": at("01:10") },
            { "at": at("01:10"), "event": "asked", "question": 1 },
            { "at": at("01:12"), "event": "answered", "question": 1, "says": "unknown", "status": 500 },
            { "at": at("01:12"), "event": "priority_changed", "from": "BATCH", "to": "NORMAL", "by": "ops" },
            { "at": at("01:30"), "event": "failed", "code": "Tollgate.OutcomeUnknown" },
            { "at": at("01:40"), "event": "token_answered" },
            { "at": at("01:40"), "event": "something_new" },
        ],
        "request": {
            "method": "POST", "path": "/orders", "headers": [{ "name": "content-type", "value": "application/json" }],
            "body": { "sku": "A-1", "qty": 2 }, "idempotency_key": ID,
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_daemon_tells_and_takes_is_there_to_be_used() {
    let scene = Scene::set("").await;
    let (address, asked) = stand_in(scene.daemon.admin).await;
    let Some(browser) = Browser::open(address).await else { return };

    browser.until_said(".attention", "Quota used up, by mainframe").await;
    browser.until_said(".facts", "Breaker").await;
    browser.until_said(".depth", "1M").await;
    browser.picture("later-overview").await;

    browser.go("#/targets/erp").await;
    for text in [
        "37 of 100 left",
        "120 of 5,000 left",
        "0 of 20,000 left",
        "Quota 20,000 a day, Europe/Berlin",
        "4/s in force now",
        "Shared mainframe",
        "7 of 8 places",
        "half open",
        "10 failures in a row",
    ] {
        browser.until_said(".limits li", text).await;
    }
    browser.until("document.querySelectorAll('.strip .closed').length === 1").await;
    browser.until("document.querySelectorAll('.strip .open').length === 3").await;
    browser.until_said("#schedule-title", "Europe/Berlin").await;
    browser.picture("later-target").await;

    // A hundred thousand dead jobs: counted stretch by stretch, a page of them shown.
    browser.go("#/targets/erp/dead").await;
    browser.until_said("#errors-title", "of the newest 100,000").await;
    browser.until_said(".errors li", "90,000").await;
    let count_on =
        "[...document.querySelectorAll('button')].find((one) => one.textContent === 'Count on')";
    browser.run(&format!("{count_on}.click()"), &[]).await;
    browser.until_said(".errors li", "100,000").await;
    browser.until(&format!("!{count_on}")).await;
    browser.click(".errors li:last-child button").await;
    browser.until_said(".errors li:last-child", "10,000").await;
    browser.until("location.hash.endsWith('code=Tollgate.Http.422')").await;

    // Those of one error, at a pace.
    browser.click("#redrive-all").await;
    browser.until_said("dialog h2", "Redrive at least 10,000 dead jobs?").await;
    browser.write("dialog input", "10/s").await;
    browser.picture("later-redrive").await;
    browser.click("dialog [type=submit]").await;
    browser.until_said("#said", "12,000 jobs queued again").await;
    let body = json!({ "code": "Tollgate.Http.422", "rate": "10/s" });
    assert_eq!(last(&asked), ("POST /v1/targets/erp/dead/redrive".into(), body));
    browser.click("#purge-all").await;
    let number = browser.text("dialog .field").await;
    let number: String = number.chars().filter(char::is_ascii_digit).collect();
    browser.write("dialog input", &number).await;
    browser.click("dialog [type=submit]").await;
    browser.until_said("#said", "12,000 jobs forgotten").await;
    let path = "DELETE /v1/targets/erp/dead?code=Tollgate.Http.422";
    assert_eq!(last(&asked), (path.into(), Value::Null));

    // A job whose work was asked after, with a token.
    browser.go(&format!("#/jobs/{ID}")).await;
    for text in [
        "Passed over ×3",
        "Question 1 sent",
        "the work is unknown",
        "Priority changed from BATCH to NORMAL by ops",
        "Step Functions was told",
        "something new",
    ] {
        browser.until_said(".history", text).await;
    }
    for look in ["queued", "sending", "waiting", "verifying", "asking", "token"] {
        browser.until(&format!("document.querySelector('.stretch.{look}')")).await;
    }
    browser.until_said(".inline", "customer-42").await;
    browser.picture("later-job").await;

    // Changed and sent again: what is no JSON any more is not sent.
    browser.click("#edit").await;
    browser.write("dialog [name=body]", "{ oops").await;
    browser.click("dialog [type=submit]").await;
    browser.until_said("dialog [role=alert]", "not JSON any more").await;
    browser.write("dialog [name=body]", r#"{ "sku": "B-2", "qty": 2 }"#).await;
    browser.write("dialog [name=path]", "https://elsewhere.example/").await;
    browser.click("dialog [type=submit]").await;
    browser.until_said("dialog [role=alert]", "begins with a slash").await;
    browser.write("dialog [name=path]", "/orders/again").await;
    browser.choose("dialog [name=priority]", "HIGH").await;
    browser.picture("later-edit").await;
    browser.dress(PHONE, true).await;
    browser.picture("later-edit-phone-dark").await;
    browser.dress(DESKTOP, false).await;
    browser.click("dialog [type=submit]").await;
    browser.until_said("#said", "Queued again with a changed path, priority, body").await;
    let body =
        json!({ "path": "/orders/again", "priority": "HIGH", "body": { "sku": "B-2", "qty": 2 } });
    assert_eq!(last(&asked), (format!("POST /v1/jobs/{ID}/redrive"), body));
    browser.is_clean().await;
}

fn last(asked: &Asked) -> (String, Value) {
    asked.lock().unwrap().last().unwrap().clone()
}
