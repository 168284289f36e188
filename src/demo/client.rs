//! The producers' side of the data address (CONTRACT §5), over real HTTP like anybody else's.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::plan::Order;
use crate::broker::job::{JobId, JobState, Priority};

/// The largest answer that is read, in bytes (4 MiB): a batch of jobs, not more.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

#[derive(Clone)]
pub(super) struct DataClient {
    http: Client<HttpConnector, Full<Bytes>>,
    base: String,
    target: String,
}

/// What came of an attempt to bring jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    Acknowledged {
        job: JobId,
        duplicate: bool,
    },
    /// Said no, clearly: there is no such job now.
    TurnedAway,
}

/// The answer to a call through the sidecar proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Called {
    /// `None`: turned away before there was a job.
    pub(super) job: Option<JobId>,
    pub(super) status: StatusCode,
    /// Whether a 200 is the fake API's own answer.
    pub(super) genuine: bool,
}

/// Nobody knows whether the job is there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unclear {
    #[error("no answer from the data address: {0}")]
    NoAnswer(#[from] hyper_util::client::legacy::Error),
    #[error("the answer broke off: {0}")]
    BrokeOff(Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer cannot be understood: status {status}")]
    Nonsense { status: StatusCode },
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Result<Value, Unclear> {
        serde_json::from_slice(&self.body).map_err(|_| self.nonsense())
    }

    fn nonsense(&self) -> Unclear {
        Unclear::Nonsense { status: self.status }
    }

    /// The statuses of CONTRACT §5 that mean: not taken.
    fn turned_away(&self) -> bool {
        let status = self.status;
        status.is_client_error()
            || status == StatusCode::SERVICE_UNAVAILABLE
            || status == StatusCode::INSUFFICIENT_STORAGE
    }
}

impl DataClient {
    pub(super) fn new(address: SocketAddr, target: &str) -> DataClient {
        let http = Client::builder(TokioExecutor::new())
            // A producer that is sent twice behind its back would spoil the books.
            .retry_canceled_requests(false)
            .pool_idle_timeout(Duration::from_secs(2))
            .build_http();
        DataClient { http, base: format!("http://{address}"), target: target.to_owned() }
    }

    pub(super) async fn submit(
        &self,
        priority: Priority,
        order: &Order,
        dedup_id: Option<&str>,
    ) -> Result<Brought, Unclear> {
        let mut job = self.job(priority, order);
        if let Some(dedup_id) = dedup_id {
            job["dedup_id"] = json!(dedup_id);
        }
        let answer = self.post("/v1/jobs", "application/json", job.to_string()).await?;
        if answer.turned_away() {
            return Ok(Brought::TurnedAway);
        }
        brought(&answer.json()?).ok_or_else(|| answer.nonsense())
    }

    /// One result for each order, in their order.
    pub(super) async fn submit_batch(
        &self,
        priority: Priority,
        orders: &[Order],
        lines: bool,
    ) -> Result<Vec<Brought>, Unclear> {
        let jobs = orders.iter().map(|order| self.job(priority, order));
        let (content_type, body) = if lines {
            ("application/x-ndjson", jobs.map(|job| format!("{job}\n")).collect())
        } else {
            ("application/json", Value::from_iter(jobs).to_string())
        };
        let answer = self.post("/v1/jobs/batch", content_type, body).await?;
        if answer.turned_away() {
            return Ok(vec![Brought::TurnedAway; orders.len()]);
        }
        let body = answer.json()?;
        let results = body["jobs"].as_array().filter(|results| results.len() == orders.len());
        let results = results.ok_or_else(|| answer.nonsense())?;
        Ok(results.iter().map(|job| brought(job).unwrap_or(Brought::TurnedAway)).collect())
    }

    /// Waits for the target's answer, however long that takes.
    pub(super) async fn call(&self, priority: Priority, order: &Order) -> Result<Called, Unclear> {
        let request = Request::post(format!("{}/proxy/{}{}", self.base, self.target, order.path))
            .header(CONTENT_TYPE, "application/json")
            .header("Tollgate-Priority", priority.as_str())
            .body(Full::from(json!({ "order": order.number }).to_string()));
        let answer = self.send(request.expect("a path of digits and a fixed name")).await?;
        let id = answer.headers.get("tollgate-job-id").and_then(|id| id.to_str().ok());
        let job = id.and_then(|id| id.parse().ok());
        if job.is_none() && !answer.turned_away() {
            return Err(answer.nonsense());
        }
        let genuine = answer.json().is_ok_and(|body| body["accepted"] == json!(true));
        Ok(Called { job, status: answer.status, genuine })
    }

    /// `None`: there is no such job.
    pub(super) async fn state(&self, job: JobId) -> Result<Option<JobState>, Unclear> {
        let request = Request::get(format!("{}/v1/jobs/{job}", self.base)).body(Full::default());
        let answer = self.send(request.expect("an id is hexadecimal")).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => {
                let body = answer.json()?;
                let state = body["state"].as_str().and_then(|name| {
                    JobState::ALL.into_iter().find(|state| state.as_str() == name)
                });
                state.map(Some).ok_or_else(|| answer.nonsense())
            }
            _ => Err(answer.nonsense()),
        }
    }

    fn job(&self, priority: Priority, order: &Order) -> Value {
        json!({
            "target": self.target,
            "priority": priority.as_str(),
            "method": "POST",
            "path": order.path,
            "body": { "order": order.number, "pieces": 1 + order.number % 9 },
        })
    }

    async fn post(&self, path: &str, content_type: &str, body: String) -> Result<Answer, Unclear> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.base))
            .header(CONTENT_TYPE, content_type)
            .body(Full::from(body));
        self.send(request.expect("the paths and the types are fixed")).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Unclear> {
        let (head, body) = self.http.request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(Unclear::BrokeOff)?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

/// `None` for a problem.
fn brought(job: &Value) -> Option<Brought> {
    let id = job["id"].as_str()?.parse().ok()?;
    Some(Brought::Acknowledged { job: id, duplicate: job["duplicate"] == json!(true) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_is_told_from_a_problem() {
        let id = JobId(0x0197_a3b0_6d1e_7c55_b1b2_6f5a_4f0c_9e11);
        let new = json!({ "id": id.to_string(), "state": "queued" });
        assert_eq!(brought(&new), Some(Brought::Acknowledged { job: id, duplicate: false }));
        let twice = json!({ "id": id.to_string(), "duplicate": true });
        assert_eq!(brought(&twice), Some(Brought::Acknowledged { job: id, duplicate: true }));
        assert_eq!(brought(&json!({ "status": 422, "title": "no" })), None);
        assert_eq!(brought(&json!({ "id": 17 })), None);
    }
}
