//! Stands between the daemon and SQS: makes visibility short, and answers the first deletes with
//! 200 and a failed entry each, as AWS may.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::support::Client;

#[derive(Clone)]
struct Middle {
    client: Client,
    to: SocketAddr,
    to_fail: Arc<AtomicUsize>,
    sender_fault: bool,
}

/// Fails so many calls of DeleteMessageBatch, then none. `sender_fault`: AWS says that trying the
/// same again is of no use. Returns where it listens.
pub(crate) async fn failing_deletes(
    to: SocketAddr,
    count: usize,
    sender_fault: bool,
) -> (SocketAddr, tokio::task::JoinHandle<()>, Arc<AtomicUsize>) {
    let to_fail = Arc::new(AtomicUsize::new(count));
    let middle = Middle { client: Client::new(), to, to_fail: to_fail.clone(), sender_fault };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(pass).with_state(middle);
    let server = tokio::spawn(async move { crate::api::serve(listener, app).await });
    (address, server, to_fail)
}

async fn pass(State(middle): State<Middle>, request: axum::extract::Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let header = |name| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let action = header("x-amz-target");
    let mut json: Value = serde_json::from_slice(&body).unwrap();
    let kind = [("content-type", "application/x-amz-json-1.0")];
    if action == "AmazonSQS.DeleteMessageBatch" {
        let less = |left: usize| left.checked_sub(1);
        if middle.to_fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            let failed: Vec<Value> = json["Entries"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| {
                    json!({"Id": entry["Id"], "Code": "InternalError", "Message": "by the test",
                           "SenderFault": middle.sender_fault})
                })
                .collect();
            return (kind, json!({"Successful": [], "Failed": failed}).to_string()).into_response();
        }
    }
    if action == "AmazonSQS.ReceiveMessage" {
        json["VisibilityTimeout"] = json!(1);
    }
    let headers = [
        ("content-type", header("content-type")),
        ("x-amz-target", action),
        ("authorization", header("authorization")),
        ("x-amz-date", header("x-amz-date")),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let answer =
        middle.client.send("POST", middle.to, "/", &headers, json.to_string()).await.unwrap();
    let status = http::StatusCode::from_u16(answer.status).unwrap();
    (status, kind, answer.body).into_response()
}
