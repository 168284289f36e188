//! A real Prometheus scrapes the real daemon under load, and answers every question that the
//! dashboards and rules ask.

mod server;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tollgate::demo::fragile_api::{Failures, FragileApi, Fragility};

use crate::support::{Client, Daemon, erp};
use server::Prometheus;

/// CONTRACT §8, each with its labels.
const NAMES: [&str; 23] = [
    "tollgate_jobs_enqueued_total{target,priority,source}",
    "tollgate_queue_depth{target,priority}",
    "tollgate_queue_oldest_age_seconds{target,priority}",
    "tollgate_jobs_scheduled{target}",
    "tollgate_in_flight{target}",
    "tollgate_attempts_total{target,priority,outcome}",
    "tollgate_jobs_finished_total{target,priority,state}",
    "tollgate_queue_wait_seconds_bucket{target,priority}",
    "tollgate_attempt_duration_seconds_bucket{target,outcome}",
    "tollgate_deferrals_total{target,priority}",
    "tollgate_blocked_seconds_total{target,reason}",
    "tollgate_rate_per_second{target}",
    "tollgate_limit_remaining{limit,window}",
    "tollgate_dead_jobs{target}",
    "tollgate_breaker_open{target}",
    "tollgate_callbacks_total{result}",
    "tollgate_callbacks_pending",
    "tollgate_store_commit_seconds_bucket",
    "tollgate_store_commit_jobs_bucket",
    "tollgate_store_bytes",
    "tollgate_config_last_reload_successful",
    "tollgate_config_last_reload_success_timestamp_seconds",
    "tollgate_build_info{version}",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).current_dir(folder()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
}

/// A daemon with everything to be seen: jobs of each priority, refusals, dead jobs, a paused
/// target, a Step Functions that does not answer.
async fn busy() -> (FragileApi, Daemon) {
    let failures = Failures { error: 50, unavailable: 50, ..Failures::NONE };
    let api = FragileApi::start(Fragility { failures, ..Fragility::SOUND }).await.unwrap();
    let mut targets = erp(api.address(), "50/s", "windows = [\"10000/h\"]\n");
    targets += "[targets.erp.retry]\nmin_backoff = \"50ms\"\nmax_attempts = 2\n";
    targets +=
        &format!("[targets.paused]\nurl = \"http://{}\"\nlimit.rate = \"1/s\"\n", api.address());
    targets += &format!(
        "[callbacks.orders]\nurl = \"http://127.0.0.1:9\"\nsecret_file = {:?}\n",
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/callback.secret")
    );
    targets += "[step_functions]\nendpoint_url = \"http://127.0.0.1:9\"\n\
                heartbeat = \"off\"\ncheck_before_dispatch = false\n";
    let environment = [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "another-secret"),
        ("AWS_REGION", "eu-central-1"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let daemon = Daemon::start_in(&targets, environment.to_vec());
    let client = Client::new();
    client.post(daemon.admin, "/v1/targets/paused/pause", &json!({})).await;
    client.submit(daemon.data, &json!({"target": "paused"})).await;
    client.submit(daemon.data, &json!({"target": "erp", "path": "/nowhere"})).await;
    client.submit(daemon.data, &json!({"target": "erp", "task_token": "a-secret"})).await;
    client.submit(daemon.data, &json!({"target": "erp", "delay": "1h"})).await;
    client.submit(daemon.data, &json!({"target": "erp", "callback": "orders"})).await;
    (api, daemon)
}

/// More jobs, so that there is something to count between two scrapes.
async fn load(client: &Client, daemon: &Daemon) {
    let mut jobs = Vec::new();
    for priority in ["HIGH", "NORMAL", "BATCH"] {
        jobs.extend(vec![json!({"target": "erp", "priority": priority, "path": "/x"}); 20]);
    }
    let answer = client.post(daemon.data, "/v1/jobs/batch", &Value::from(jobs)).await;
    assert_eq!(answer.status, 200);
}

/// Every expression of every panel, with the panel's name.
fn panels() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in ["overview.json", "target.json", "daemon.json"] {
        let text = std::fs::read_to_string(folder().join(file)).unwrap();
        let board: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(board["__inputs"][0]["pluginId"], "prometheus", "{file} imports anywhere");
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                assert_eq!(target["datasource"]["uid"], "${DS_PROMETHEUS}");
                let title = format!("{file}: {}", panel["title"].as_str().unwrap());
                found.push((title, target["expr"].as_str().unwrap().to_owned()));
            }
        }
        for annotation in board["annotations"]["list"].as_array().unwrap() {
            if let Some(expr) = annotation["expr"].as_str() {
                // It has data in the minute after a reload only: valid is enough.
                found.push((format!("{file}: annotation"), format!("({expr}) or vector(1)")));
            }
        }
    }
    assert!(found.len() > 40, "{}", found.len());
    found
}

fn filled_in(expression: &str) -> String {
    let mut filled = expression.to_owned();
    for (variable, value) in [
        ("$__rate_interval", "10s"),
        ("$job", "tollgate"),
        ("$instance", ".*"),
        ("$target", "erp|paused"),
    ] {
        filled = filled.replace(variable, value);
    }
    assert!(!filled.contains('$'), "{filled}");
    filled
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| word.starts_with("tollgate_") || word.contains(":tollgate_"))
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn the_alerts_fire_when_they_should_and_each_has_its_page_in_the_runbook() {
    if !server::is_there() {
        return;
    }
    promtool(&["check", "rules", "rules.yml"]);
    promtool(&["test", "rules", "rules.test.yml"]);
    let rules = std::fs::read_to_string(folder().join("rules.yml")).unwrap();
    let tests = std::fs::read_to_string(folder().join("rules.test.yml")).unwrap();
    let runbook = std::fs::read_to_string(folder().join("../docs/runbook.md")).unwrap();
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 10);
    for alert in alerts {
        assert!(runbook.contains(&format!("\n## {alert}\n")), "{alert} is not in the runbook");
        let page = format!("docs/runbook.md#{}", alert.to_lowercase());
        assert!(rules.contains(&page), "{alert} does not point to its page");
        let fires = format!("alertname: {alert}\n        exp_alerts:");
        assert!(tests.contains(&fires), "no test sees {alert} fire");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_and_rule_has_an_answer() {
    if !server::is_there() {
        return;
    }
    let (_api, daemon) = busy().await;
    let client = Client::new();
    let prometheus = Prometheus::start(daemon.admin, &folder().join("rules.yml"));
    prometheus.ready(&client).await;
    // Enough scrapes for a rate, with work done between them.
    loop {
        load(&client, &daemon).await;
        let scrapes = prometheus.query(&client, "count_over_time(up[1m])").await;
        if scrapes.first().is_some_and(|value| *value >= 5.0) {
            break;
        }
        server::nap().await;
    }
    let mut silent = Vec::new();
    for (panel, expression) in panels() {
        let answer = prometheus.query(&client, &filled_in(&expression)).await;
        if answer.is_empty() {
            silent.push(format!("{panel}\n    {expression}"));
        }
    }
    assert!(silent.is_empty(), "no data:\n{}", silent.join("\n"));

    let rules = prometheus.get(&client, "/api/v1/rules").await;
    let groups = rules["data"]["groups"].as_array().unwrap().clone();
    let rules: Vec<&Value> =
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(rules.len() > 10);
    for rule in rules {
        let name = rule["name"].as_str().unwrap();
        let expression = rule["query"].as_str().unwrap();
        prometheus.query(&client, expression).await;
        for metric in words(expression) {
            let there = prometheus.query(&client, &format!("count({metric})")).await;
            assert!(!there.is_empty(), "{name} asks for {metric}, which nobody has");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_contract_is_there_and_no_secret_is() {
    let (_api, daemon) = busy().await;
    let client = Client::new();
    load(&client, &daemon).await;
    let ended = |page: &Value| page["jobs"].as_array().is_some_and(|jobs| jobs.len() >= 60);
    client.until(daemon.admin, "/v1/jobs?target=erp&state=succeeded&limit=100", ended).await;
    let answer = client.get(daemon.admin, "/metrics").await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for wanted in NAMES {
        let (name, labels) = wanted.split_once('{').unwrap_or((wanted, ""));
        let line = text
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let line = line.unwrap_or_else(|| panic!("{name} is missing in\n{text}"));
        for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
            assert!(line.contains(&format!("{label}=\"")), "{label} is missing in {line}");
        }
    }
    for secret in ["a-secret", "another-secret"] {
        assert!(!text.contains(secret), "{secret} is in the metrics");
    }
}
