//! A hundred thousand dead jobs: counted stretch by stretch, a page of them shown, swept by error
//! and at a pace. So many would take minutes to make: in front of the real daemon stands one that
//! has them, and asks it for all else, so that the page's own files and headers are the real ones.

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
use crate::scene::Scene;
use crate::support::Client;

/// What it was asked to change.
type Asked = Arc<Mutex<Vec<String>>>;

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
    assert!(body.is_empty(), "a sweep says in its query which jobs it means");
    if method != "GET" {
        asked.lock().unwrap().push(format!("{method} {path}"));
    }
    let plain = path.split('?').next().unwrap_or_default();
    let told = match (method.as_str(), plain) {
        (_, "/v1/events") => {
            let mut erp = client.get(real, "/v1/targets/erp").await.json();
            erp["dead"] = json!(112_000);
            let at = "2026-03-01T10:00:01.000Z";
            let daemon = json!({ "version": "9.9.9", "state": "ready" });
            let news =
                json!({ "at": at, "daemon": daemon, "full": true, "targets": [erp], "recent": {} });
            let text = format!("event: targets\nid: 1\ndata: {news}\n\n");
            let kind = ("content-type", "text/event-stream");
            let response = Response::builder().header(kind.0, kind.1);
            return Ok(response.body(Full::from(text)).unwrap());
        }
        ("GET", "/v1/targets/erp/dead/errors") => errors(&path),
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

/// 112,000 in stretches of 10,000, as the daemon counts them.
fn errors(path: &str) -> Value {
    let stretch: u64 = path.split_once("after=").map_or(0, |(_, after)| after.parse().unwrap());
    let of = |code: &str, count: u64| {
        json!({
            "code": code, "state": "failed", "count": count, "oldest": "2026-03-01T09:00:00.000Z",
            "newest": "2026-03-01T09:30:00.000Z", "example": "0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11",
        })
    };
    let all = if stretch < 11 { 10_000 } else { 2_000 };
    let rejected = 1_000;
    let next = (stretch < 11).then(|| (stretch + 1).to_string());
    let errors = [of("Tollgate.OutcomeUnknown", all - rejected), of("Tollgate.Http.422", rejected)];
    json!({ "errors": errors, "looked_at": all, "next": next })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_dead_jobs_are_counted_and_swept() {
    let scene = Scene::set("").await;
    let (address, asked) = stand_in(scene.daemon.admin).await;
    let last = || asked.lock().unwrap().last().unwrap().clone();
    let Some(browser) = Browser::open(address).await else { return };

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
    browser.until("location.hash.endsWith('error=Tollgate.Http.422')").await;

    // Those of one error, at a pace.
    browser.click("#redrive-all").await;
    browser.until_said("dialog h2", "Redrive at least 10,000 dead jobs?").await;
    browser.write("dialog input", "10/s").await;
    browser.picture("many-redrive").await;
    browser.click("dialog [type=submit]").await;
    browser.until_said("#said", "12,000 jobs sent again at 10/s").await;
    let path = "POST /v1/targets/erp/dead/redrive?error=Tollgate.Http.422&rate=10%2Fs";
    assert_eq!(last(), path);

    browser.choose("select[name=died]", "older-1d").await;
    browser.until("location.hash.endsWith('died=older-1d')").await;
    browser.click("#purge-all:not(:disabled)").await;
    let number = browser.text("dialog .field").await;
    let number: String = number.chars().filter(char::is_ascii_digit).collect();
    browser.write("dialog input", &number).await;
    browser.click("dialog [type=submit]").await;
    browser.until_said("#said", "12,000 jobs forgotten").await;
    let path = "DELETE /v1/targets/erp/dead?error=Tollgate.Http.422&older_than=1d";
    assert_eq!(last(), path);
    browser.is_clean().await;
}
