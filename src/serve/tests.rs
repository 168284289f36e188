use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::unbounded_channel;

use super::*;

type Http = Client<HttpConnector, Empty<Bytes>>;

/// Every thread that serves callers is at work, as with more of them than it can serve.
#[tokio::test]
async fn admin_does_not_wait_for_callers() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(config(dir.path()), None).await.unwrap();
    let (data, admin) = (port(&running.data), port(&running.admin));
    let http: Http = Client::builder(TokioExecutor::new()).build_http();

    let at_work = occupy(&running.listeners._callers.threads().service).await;
    let asked = tokio::spawn(get(http.clone(), data, "/v1/jobs/none"));
    for _ in 0..20 {
        assert_eq!(get(http.clone(), admin, "/healthz").await, StatusCode::OK);
    }
    assert!(!asked.is_finished(), "callers have other threads than these");
    drop(at_work);
    assert_eq!(asked.await.unwrap(), StatusCode::NOT_FOUND);
    running.drain().await.unwrap();
}

/// Connections are accepted, or turned away, though none is served.
#[tokio::test]
async fn who_would_be_heard_too_late_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(config(dir.path()), None).await.unwrap();
    let data = port(&running.data);
    let at_work = occupy(&running.listeners._callers.threads().service).await;
    let mut let_in = Vec::new();
    let refused = loop {
        let mut stream = TcpStream::connect(data).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        match tokio::time::timeout(Duration::from_millis(200), read).await {
            Ok(read) => break read.map(|_| answer).unwrap(),
            Err(_) => let_in.push(stream),
        }
        assert!(let_in.len() < 200, "nobody is turned away");
    };
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("to be heard at all; try again"), "{refused}");
    drop(at_work);
    let http: Http = Client::builder(TokioExecutor::new()).build_http();
    // Those who come too early are turned away yet.
    while get(http.clone(), data, "/v1/jobs/none").await != StatusCode::NOT_FOUND {}
    running.drain().await.unwrap();
}

/// Every thread there is at work until what is returned is dropped.
async fn occupy(threads: &tokio::runtime::Handle) -> Vec<Sender<()>> {
    let (begun, mut all) = unbounded_channel();
    let mut at_work: Vec<Sender<()>> = Vec::new();
    for _ in 0..threads.metrics().num_workers() {
        let (release, released): (_, Receiver<()>) = channel();
        at_work.push(release);
        let begun = begun.clone();
        threads.spawn(async move {
            begun.send(()).unwrap();
            // Until its sender is gone.
            let _ = released.recv();
        });
        all.recv().await.unwrap();
    }
    at_work
}

fn config(dir: &Path) -> Config {
    let store = dir.join("store.redb");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
         [store]\npath = {store:?}\n\
         [targets.erp]\nurl = \"http://127.0.0.1:9\"\nlimit.rate = \"1/s\"\n",
    );
    crate::config::parse(&text, &dir.join("t.toml"), &|_| None).unwrap()
}

fn port(listen: &Listen) -> SocketAddr {
    listen.port().unwrap()
}

async fn get(http: Http, address: SocketAddr, path: &str) -> StatusCode {
    http.get(format!("http://{address}{path}").parse().unwrap()).await.unwrap().status()
}
