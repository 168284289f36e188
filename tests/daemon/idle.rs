//! A measurement: what the daemon costs while nothing can be done.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::demo::auditor::Books;
use tollgate::demo::fragile_api::{FragileApi, Fragility};

use crate::support::{Client, Daemon, erp};

/// User and system time of a process so far, in clock ticks of 10 ms (proc(5)).
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Resident memory in KiB.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of half a minute"]
async fn idle_with_a_hundred_thousand_jobs_on_a_paused_target() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let daemon = Daemon::start(&erp(api.address(), "50/s", ""));
    let client = Client::new();
    client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    let job = json!({"target": "erp", "path": "/x", "body": {"text": "x".repeat(1_000)}});
    // As many as fit into the largest body that is taken by default.
    let batch = Value::from(vec![job; 200]).to_string();
    for _ in 0..500 {
        let body = batch.clone();
        let answer = client.send("POST", daemon.data, "/v1/jobs/batch", &[], body).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let seconds = 30;
    let before = ticks(daemon.id());
    tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_secs(seconds)).await;
    let spent = ticks(daemon.id()) - before;
    println!(
        "idle with 100,000 jobs of 1 KiB on a paused target: {} ms of CPU in {seconds} s = {:.2} % \
         of a core; {} MiB resident",
        spent * 10,
        spent as f64 / seconds as f64,
        resident(daemon.id()) / 1_024,
    );
    assert_eq!(api.auditor().read(Books::total), 0, "a paused target sees nothing");
}
