//! An API that writes down what it is sent and what it says to it, in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::sync::watch;

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) job: String,
    pub(crate) key: String,
    pub(crate) priority: String,
    pub(crate) body: String,
    /// What it is answered.
    pub(crate) reply: Reply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Status(u16),
    /// Nothing for ever: until whoever called is gone.
    Never,
}

/// What is said to a call: told its number and how often its path was called, both from 0.
pub(crate) type Rule = fn(path: &str, nth: usize, number: usize) -> Reply;

struct Book {
    rule: Rule,
    calls: Mutex<Vec<Call>>,
    count: watch::Sender<usize>,
}

pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    book: Arc<Book>,
    server: tokio::task::JoinHandle<()>,
}

impl Api {
    /// Always 200.
    pub(crate) async fn start() -> Api {
        Api::answering(|_, _, _| Reply::Status(200)).await
    }

    pub(crate) async fn answering(rule: Rule) -> Api {
        let count = watch::channel(0).0;
        let book = Arc::new(Book { rule, calls: Mutex::default(), count });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(book.clone());
        let server = tokio::spawn(async move { serve(listener, app).await });
        Api { address, book, server }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.book.calls.lock().unwrap().clone()
    }

    /// Resolves once it was called so often.
    pub(crate) async fn called(&self, times: usize) -> Vec<Call> {
        self.book.count.subscribe().wait_for(|count| *count >= times).await.unwrap();
        self.calls()
    }

    /// How often it was called with each `Idempotency-Key`.
    pub(crate) fn by_key(&self) -> BTreeMap<String, usize> {
        let mut keys = BTreeMap::new();
        for call in self.calls() {
            *keys.entry(call.key).or_default() += 1;
        }
        keys
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(book): State<Arc<Book>>, request: axum::extract::Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let header = |name| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let path = head.uri.to_string();
    let (reply, number) = {
        let mut calls = book.calls.lock().unwrap();
        let nth = calls.iter().filter(|call| call.path == path).count();
        let reply = (book.rule)(&path, nth, calls.len());
        calls.push(Call {
            method: head.method.to_string(),
            path,
            job: header("tollgate-job-id"),
            key: header("idempotency-key"),
            priority: header("tollgate-priority"),
            body: String::from_utf8_lossy(&body).into_owned(),
            reply,
        });
        book.count.send_replace(calls.len());
        (reply, calls.len())
    };
    let Reply::Status(status) = reply else { return std::future::pending().await };
    let status = StatusCode::from_u16(status).unwrap();
    let mut response = (
        status,
        [("content-type", "application/json")],
        format!("{{\"number\":{number},\"status\":{}}}", status.as_u16()),
    )
        .into_response();
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert("retry-after", http::HeaderValue::from_static("1"));
    }
    response
}

/// HTTP/1.1 on every connection, until the task is aborted.
pub(crate) async fn serve(listener: tokio::net::TcpListener, app: Router) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let io = hyper_util::rt::TokioIo::new(stream);
            // A client that went away is no fault of the test.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        });
    }
}
