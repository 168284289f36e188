//! Stands between the daemon and AWS: looks at each call and its answer, and may answer instead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::Client;

pub(crate) trait Between: Send + Sync + 'static {
    /// What is answered instead; else the request, as it is now, goes on. `action` is such as
    /// `AmazonSQS.ReceiveMessage`.
    fn before(&self, action: &str, request: &mut Value) -> Option<(StatusCode, Value)>;

    /// What AWS answered with 200.
    fn after(&self, _action: &str, _answer: &Value) {}
}

pub(crate) struct Middle {
    pub(crate) address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

struct Way {
    client: Client,
    to: SocketAddr,
    between: Arc<dyn Between>,
}

impl Middle {
    pub(crate) async fn start(to: SocketAddr, between: Arc<dyn Between>) -> Middle {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(Way { client: Client::new(), to, between });
        let app = Router::new().fallback(pass).with_state(way);
        let server = tokio::spawn(async move { crate::api::serve(listener, app).await });
        Middle { address, server }
    }

    /// A queue's URL through here.
    pub(crate) fn through(&self, to: SocketAddr, queue_url: &str) -> String {
        through(self.address, to, queue_url)
    }
}

/// A queue's URL by another address that leads there.
pub(crate) fn through(by: SocketAddr, to: SocketAddr, queue_url: &str) -> String {
    let url = queue_url.replace(&to.to_string(), &by.to_string());
    assert!(url.contains(&by.to_string()), "{url}");
    url
}

impl Drop for Middle {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass(State(way): State<Arc<Way>>, request: axum::extract::Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let header = |name| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let action = header("x-amz-target");
    let mut request: Value = serde_json::from_slice(&body).unwrap();
    let kind = [("content-type", "application/x-amz-json-1.0")];
    if let Some((status, answer)) = way.between.before(&action, &mut request) {
        return (status, kind, answer.to_string()).into_response();
    }
    let headers = [
        ("content-type", header("content-type")),
        ("x-amz-target", action.clone()),
        ("authorization", header("authorization")),
        ("x-amz-date", header("x-amz-date")),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let answer = way.client.send("POST", way.to, "/", &headers, request.to_string()).await;
    // A connection that was kept and is gone: whoever calls tries again.
    let Ok(answer) = answer else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    if answer.status == 200 && !answer.body.is_empty() {
        way.between.after(&action, &answer.json());
    }
    (StatusCode::from_u16(answer.status).unwrap(), kind, answer.body).into_response()
}

/// Makes visibility short, and answers the first calls of DeleteMessageBatch with 200 and a failed
/// entry each, as AWS may.
pub(crate) struct FailingDeletes {
    pub(crate) to_fail: AtomicUsize,
    /// AWS says that trying the same again is of no use.
    pub(crate) sender_fault: bool,
}

impl Between for FailingDeletes {
    fn before(&self, action: &str, request: &mut Value) -> Option<(StatusCode, Value)> {
        if action == "AmazonSQS.ReceiveMessage" {
            request["VisibilityTimeout"] = json!(1);
        }
        if action != "AmazonSQS.DeleteMessageBatch" {
            return None;
        }
        let less = |left: usize| left.checked_sub(1);
        self.to_fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).ok()?;
        let failed: Vec<Value> = request["Entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                json!({"Id": entry["Id"], "Code": "InternalError", "Message": "by the test",
                       "SenderFault": self.sender_fault})
            })
            .collect();
        Some((StatusCode::OK, json!({"Successful": [], "Failed": failed})))
    }
}
