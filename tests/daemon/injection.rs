//! Values that would write lines of their own into a request's head, in each field that comes near
//! one: refused, or sent as the one value that they are.

use serde_json::{Value, json};

use crate::raw::Raw;
use crate::support::{Client, Daemon};

/// What ends a line, or a string, for one reader or another.
const BREAKS: &[&str] = &[
    "a\r\nX-Injected: 1",
    "a\nX-Injected: 1",
    "a\rX-Injected: 1",
    "a\0b",
    "\r\n\r\nGET /injected HTTP/1.1\r\n",
    "a\u{b}b",
    "a\u{7f}b",
];

async fn target() -> Raw {
    Raw::start(|mut peer| async move {
        while peer.request().await.is_some() {
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await
}

fn daemon(target: &Raw, more: &str) -> Daemon {
    Daemon::start(&format!(
        "[targets.erp]\nurl = \"http://{}\"\n{more}\n\
         [targets.erp.limit]\nrate = \"1000/s\"\nburst = 100\n",
        target.address
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_a_job() {
    let target = target().await;
    let daemon = daemon(&target, "");
    let client = Client::new();
    let mut tried = 0;
    for text in BREAKS {
        let path = format!("/{text}");
        for (field, job) in [
            ("target", json!({"target": text})),
            ("method", json!({"method": text})),
            ("method", json!({"method": format!("POST {text}")})),
            ("path", json!({"path": path})),
            ("path", json!({"path": format!("/x?{text}")})),
            ("headers", json!({"headers": {*text: "y"}})),
            ("headers.x", json!({"headers": {"x": text}})),
            ("headers.x", json!({"headers": {"x": ["y", text]}})),
            ("headers.idempotency-key", json!({"headers": {"idempotency-key": text}})),
            ("content_type", json!({"content_type": text, "body": 1})),
            ("dedup_id", json!({"dedup_id": text})),
            ("group", json!({"group": text})),
            ("fairness_key", json!({"fairness_key": text})),
            ("priority", json!({"priority": text})),
            ("delivery", json!({"delivery": text})),
        ] {
            let mut whole = json!({"target": "erp"});
            whole.as_object_mut().unwrap().extend(job.as_object().unwrap().clone());
            let answer = client.post(daemon.data, "/v1/jobs", &whole).await;
            assert!([404, 422].contains(&answer.status), "{field} {text:?}: {answer:?}");
            tried += 1;
        }
    }
    assert_eq!(target.got().connections, 0, "{:?}", target.got());
    println!("{tried} jobs refused");
}

/// Percent-encoded is still a line's end, for whoever decodes a path before he looks at it.
#[tokio::test(flavor = "multi_thread")]
async fn encoded_in_a_path() {
    let target = target().await;
    let daemon = daemon(&target, "");
    let client = Client::new();
    for path in ["/a%0d%0aX-Injected:%201", "/a%0AX", "/a%00b", "/%7f", "/a%0d"] {
        let job = json!({"target": "erp", "path": path});
        let answer = client.post(daemon.data, "/v1/jobs", &job).await;
        assert_eq!(answer.status, 422, "{path}");
        let proxied = format!("/proxy/erp{path}");
        let answer = client.get(daemon.data, &proxied).await;
        assert!([400, 422].contains(&answer.status), "{path}: {answer:?}");
    }
    for path in ["/..", "/../admin", "/%2e%2e/admin", "//evil.example/", "/a/..%2fadmin"] {
        let job = json!({"target": "erp", "path": path});
        let answer = client.post(daemon.data, "/v1/jobs", &job).await;
        assert_eq!(answer.status, 422, "{path}");
    }
    assert_eq!(target.got().connections, 0, "{:?}", target.got());
}

/// What is a value's right arrives as it was, on one line.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_odd_and_legal_arrive_as_one_line() {
    let target = target().await;
    let daemon = daemon(&target, "");
    let client = Client::new();
    let job = json!({
        "target": "erp",
        "path": "/x",
        "query": {"a\r\nX-Injected: 1": "b\r\nX-Injected: 2", "n": "\u{0}"},
        "headers": {"x-odd": "tab\there, colon: here; ü", "x-many": ["1", "2"]},
        "group": "ünïcode group",
        "body": "\r\n\r\nGET /injected HTTP/1.1\r\n\r\n",
    });
    let id = client.submit(daemon.data, &job).await;
    assert_eq!(client.ended(daemon.data, &id).await["state"], "succeeded");
    let got = target.got();
    let mut lines: Vec<&str> = got.head.trim_end().split("\r\n").collect();
    assert_eq!(
        lines.remove(0),
        "POST /x?a%0D%0AX-Injected%3A%201=b%0D%0AX-Injected%3A%202&n=%00 HTTP/1.1"
    );
    lines.sort_unstable();
    let names: Vec<&str> = lines.iter().map(|line| line.split_once(':').unwrap().0).collect();
    assert_eq!(
        names,
        [
            "content-length",
            "content-type",
            "host",
            "idempotency-key",
            "tollgate-attempt",
            "tollgate-job-id",
            "tollgate-priority",
            "traceparent",
            "user-agent",
            "x-many",
            "x-many",
            "x-odd"
        ]
    );
    assert!(lines.contains(&"x-odd: tab\there, colon: here; ü"), "{lines:?}");
    assert_eq!(got.requests.len(), 1, "{got:?}");
}

/// A verify's path is made of what the job brings. It stays one segment, whatever that is.
#[tokio::test(flavor = "multi_thread")]
async fn templates() {
    let target = Raw::start(|mut peer| async move {
        while let Some(path) = peer.request().await {
            // The work is left in the dark, so that it is asked for.
            let status = if path == "/work" { "500 Oops" } else { "200 OK" };
            peer.say(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok")).await;
        }
    })
    .await;
    let more = "delivery = \"verify\"\n\
                [targets.erp.verify]\npath = \"/orders/{body:/id}/state\"\ndone = \"200\"\n\
                not_done = \"404\"\n[targets.erp.retry]\nmin_backoff = \"10ms\"\n";
    let daemon = daemon(&target, more);
    let client = Client::new();
    let asked = |value: &str| json!({"target": "erp", "path": "/work", "body": {"id": value}});
    for (value, path) in [
        ("a/b", "/orders/a%2Fb/state"),
        ("a?b#c", "/orders/a%3Fb%23c/state"),
        ("ü&=;", "/orders/%C3%BC%26%3D%3B/state"),
        ("%2e%2e", "/orders/%252e%252e/state"),
    ] {
        let answer = client.post(daemon.data, "/v1/jobs", &asked(value)).await;
        let id = answer.json()["id"].as_str().map(str::to_owned);
        let Some(id) = id else {
            assert_eq!(answer.status, 422, "{value}: {answer:?}");
            continue;
        };
        assert_eq!(client.ended(daemon.data, &id).await["state"], "succeeded", "{value}");
        assert_eq!(target.got().of(path), 1, "{value}: {:?}", target.got());
    }
    let before: Value = json!(target.got().requests.len());
    for value in ["..", ".", "../admin", "a\r\nX-Injected: 1", "a\0", "\\..\\admin", ""] {
        let answer = client.post(daemon.data, "/v1/jobs", &asked(value)).await;
        assert_eq!(answer.status, 422, "{value:?}: {answer:?}");
    }
    assert_eq!(json!(target.got().requests.len()), before);
}
