//! What the daemon tells of itself: its metrics, its jobs.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use crate::local_aws::nap;
use crate::support::{Client, Daemon};

/// The sum of a metric's series that have all these labels, such as `result="late"`.
pub(crate) async fn metric(client: &Client, admin: SocketAddr, name: &str, labels: &[&str]) -> u64 {
    let text = client.get(admin, "/metrics").await;
    let text = String::from_utf8(text.body.to_vec()).unwrap();
    let series = text.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
}

/// Resolves once the metric has this value.
pub(crate) async fn reaches(
    client: &Client,
    admin: SocketAddr,
    name: &str,
    labels: &[&str],
    value: u64,
) {
    while metric(client, admin, name, labels).await != value {
        nap().await;
    }
}

/// Every task token that is owed an answer has it, and that is on record.
pub(crate) async fn all_answered(client: &Client, daemon: &Daemon) {
    reaches(client, daemon.admin, "tollgate_callbacks_pending", &[], 0).await;
}

/// Every job of the target with its history, by id.
pub(crate) async fn jobs(client: &Client, daemon: &Daemon) -> BTreeMap<String, Value> {
    let mut jobs = BTreeMap::new();
    let mut path = "/v1/jobs?target=erp&limit=500".to_owned();
    loop {
        let page = client.get(daemon.admin, &path).await.json();
        for job in page["jobs"].as_array().unwrap_or_else(|| panic!("{page}")) {
            let id = job["id"].as_str().unwrap().to_owned();
            let whole = client.get(daemon.data, &format!("/v1/jobs/{id}")).await.json();
            assert!(jobs.insert(id, whole).is_none(), "{job} is listed twice");
        }
        let Some(next) = page["next"].as_str() else { return jobs };
        path = format!("/v1/jobs?target=erp&limit=500&after={next}");
    }
}

/// The events of a job's history, by name.
pub(crate) fn events(job: &Value) -> Vec<&str> {
    let history = job["history"].as_array().unwrap_or_else(|| panic!("{job}"));
    history.iter().map(|event| event["event"].as_str().unwrap()).collect()
}
