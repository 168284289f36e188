//! HTTP for tests, on hyper's client.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Keeps its connections; clones share them.
#[derive(Clone)]
pub(crate) struct Client(Pool<HttpConnector, Full<bytes::Bytes>>);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: bytes::Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }
}

impl Client {
    pub(crate) fn new() -> Client {
        Client(Pool::builder(TokioExecutor::new()).build_http())
    }

    /// `Err` where the daemon went away before it answered: then nothing is known.
    pub(crate) async fn send(
        &self,
        method: &str,
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Result<Answer, String> {
        let mut request = http::Request::builder().method(method);
        request = request.uri(format!("http://{address}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let answer = self.0.request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    pub(crate) async fn get(&self, address: SocketAddr, path: &str) -> Answer {
        self.send("GET", address, path, &[], "").await.unwrap()
    }

    pub(crate) async fn post(&self, address: SocketAddr, path: &str, body: &Value) -> Answer {
        self.send("POST", address, path, &[], body.to_string()).await.unwrap()
    }

    /// One job, acknowledged; its id.
    pub(crate) async fn submit(&self, address: SocketAddr, job: &Value) -> String {
        let answer = self.post(address, "/v1/jobs", job).await;
        assert_eq!(answer.status, 202, "{:?}", answer.json());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// The job once it has ended.
    pub(crate) async fn ended(&self, address: SocketAddr, id: &str) -> Value {
        loop {
            let job = self.get(address, &format!("/v1/jobs/{id}?wait=30s")).await.json();
            if ["succeeded", "failed", "expired", "cancelled"]
                .contains(&job["state"].as_str().unwrap())
            {
                return job;
            }
        }
    }

    /// Asks again until `enough` says so. For what has no event to wait for.
    pub(crate) async fn until(
        &self,
        address: SocketAddr,
        path: &str,
        enough: impl Fn(&Value) -> bool,
    ) -> Value {
        loop {
            let now = self.get(address, path).await.json();
            if enough(&now) {
                return now;
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "between two questions, not instead of one"
            )]
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
