//! An API that writes down what it is sent, in order.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use tokio::sync::watch;

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) job: String,
    pub(crate) priority: String,
    pub(crate) body: String,
}

#[derive(Clone)]
struct Book {
    calls: Arc<Mutex<Vec<Call>>>,
    count: Arc<watch::Sender<usize>>,
}

pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    book: Book,
    server: tokio::task::JoinHandle<()>,
}

impl Api {
    pub(crate) async fn start() -> Api {
        let book = Book { calls: Arc::default(), count: Arc::new(watch::channel(0).0) };
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
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    State(book): State<Book>,
    request: axum::extract::Request,
) -> ([(&'static str, &'static str); 1], String) {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let header = |name| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let call = Call {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        job: header("tollgate-job-id"),
        priority: header("tollgate-priority"),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let mut calls = book.calls.lock().unwrap();
    calls.push(call);
    book.count.send_replace(calls.len());
    ([("content-type", "application/json")], format!("{{\"number\":{}}}", calls.len()))
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
