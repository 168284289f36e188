//! Targets that misbehave, each byte of it by hand: for each what the job's history says, exactly.
//!
//! Jobs are at-most-once here, so that an unknown outcome ends them, and a request that the target
//! saw twice is a broken promise.

mod answers;
mod cuts;
mod names;
mod pool;
mod silence;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::raw::Raw;
use crate::support::{Client, Daemon};

/// What the history of a job says, in one line: `enqueued sent(1) done(200)`.
pub(crate) fn told(job: &Value) -> String {
    let line = |event: &Value| {
        let name = event["event"].as_str().unwrap();
        match (name, event["status"].as_u64(), event["attempt"].as_u64()) {
            (_, Some(status), _) => format!("{name}({status})"),
            ("sent", None, Some(attempt)) => format!("sent({attempt})"),
            _ => name.to_owned(),
        }
    };
    job["history"].as_array().unwrap().iter().map(line).collect::<Vec<_>>().join(" ")
}

/// The reasons that the history gives, all in one.
pub(crate) fn reasons(job: &Value) -> String {
    let reason = |event: &Value| event["reason"].as_str().map(str::to_owned);
    job["history"].as_array().unwrap().iter().filter_map(reason).collect::<Vec<_>>().join("; ")
}

const DONE: &str = "enqueued sent(1) done(200)";
const REJECTED: &str = "enqueued sent(1) rejected(404)";
/// No answer, or none whose head was whole.
const UNKNOWN: &str = "enqueued sent(1) unknown failed";
/// A success that broke off.
const BROKEN_OFF: &str = "enqueued sent(1) unknown(200) failed";

/// One daemon before one target, which is there under several names: so that a target's own
/// brakes do not come into it, each name gets a few requests only.
struct Bench {
    daemon: Daemon,
    client: Client,
    target: Raw,
    /// Jobs so far.
    sent: std::sync::atomic::AtomicUsize,
}

const NAMES: usize = 64;

impl Bench {
    fn new(target: Raw, more: &str) -> Bench {
        let at = target.address;
        Bench {
            daemon: Daemon::start(&names(at, more)),
            client: Client::new(),
            target,
            sent: Default::default(),
        }
    }

    async fn with_timeout(self, timeout: &str) -> Bench {
        let targets = names(self.target.address, "").replace("\"20s\"", &format!("\"{timeout}\""));
        self.daemon.configure(&targets);
        self.reload().await;
        self
    }

    async fn reload(&self) {
        let answer = self.client.post(self.daemon.admin, "/v1/reload", &json!({})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn next_name(&self) -> String {
        let number = self.sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("t{}", number % NAMES)
    }

    /// The job as it ended.
    async fn job(&self, path: &str) -> Value {
        self.job_of(json!({"method": "GET", "path": path})).await
    }

    async fn job_of(&self, mut job: Value) -> Value {
        job["target"] = json!(self.next_name());
        let id = self.client.submit(self.daemon.data, &job).await;
        self.client.ended(self.daemon.data, &id).await
    }

    /// A job for each path, all under way at once; as they ended, in order.
    async fn jobs(&self, paths: &[String]) -> Vec<Value> {
        let mut ids = Vec::new();
        for some in paths.chunks(500) {
            let jobs: Vec<Value> = some
                .iter()
                .map(|path| json!({"target": self.next_name(), "method": "GET", "path": path}))
                .collect();
            let at = self.daemon.data;
            let answer = self.client.post(at, "/v1/jobs/batch", &Value::from(jobs)).await.json();
            let taken = answer["jobs"].as_array().unwrap().iter();
            ids.extend(taken.map(|job| job["id"].as_str().unwrap().to_owned()));
        }
        let mut ended = Vec::new();
        for id in &ids {
            ended.push(self.client.ended(self.daemon.data, id).await);
        }
        ended
    }

    /// It still serves: a job to a target that is well.
    async fn is_well(&self) {
        let answer = self.client.get(self.daemon.admin, "/readyz").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// Sixty-four targets, all of them at `address`.
fn names(address: SocketAddr, more: &str) -> String {
    let target = |n: usize| {
        format!(
            "[targets.t{n}]\nurl = \"http://{address}\"\ndelivery = \"at-most-once\"\n\
             timeout = \"20s\"\n{more}\n\
             [targets.t{n}.limit]\nrate = \"200/s\"\nburst = 20\nmax_concurrent = 20\n\
             [targets.t{n}.retry]\nmin_backoff = \"20ms\"\nmax_backoff = \"50ms\"\n"
        )
    };
    (0..NAMES).map(target).collect()
}
