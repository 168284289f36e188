//! Prometheus as a process of its own (Debian's package `prometheus`).

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::support::{Client, free_address};

/// Says a word where it is not installed.
///
/// # Panics
/// Where `CI=true` and it is not installed: there the tests have to run.
pub(crate) fn is_there() -> bool {
    let there = ["prometheus", "promtool"].iter().all(|program| {
        let version = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    });
    if !there {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "Prometheus is needed in CI");
        eprintln!("SKIPPED: prometheus and promtool are not installed (apt install prometheus)");
    }
    there
}

pub(crate) struct Prometheus {
    process: Child,
    address: SocketAddr,
    data: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes `target` every second.
    pub(crate) fn start(target: SocketAddr, rules: &Path) -> Prometheus {
        let address = free_address();
        let data = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{:?}]\n\
             scrape_configs:\n- job_name: tollgate\n  static_configs: [{{targets: ['{target}']}}]\n",
            rules.display().to_string()
        );
        let file = data.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(data.path().join("log")).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Prometheus { process, address, data }
    }

    pub(crate) async fn ready(&self, client: &Client) {
        let is_up = || async {
            let answer = client.send("GET", self.address, "/-/ready", &[], "").await;
            answer.is_ok_and(|answer| answer.status == 200)
        };
        while !is_up().await {
            nap().await;
        }
    }

    pub(crate) async fn get(&self, client: &Client, path: &str) -> Value {
        let answer = client.get(self.address, path).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.json());
        answer.json()
    }

    /// The values of an instant query, without those that are not numbers.
    pub(crate) async fn query(&self, client: &Client, expression: &str) -> Vec<f64> {
        let path = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let answer = self.get(client, &format!("/api/v1/query?query={path}")).await;
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let values = answer["data"]["result"].as_array().unwrap().iter();
        let values = values.map(|sample| sample["value"][1].as_str().unwrap().parse().unwrap());
        values.filter(|value: &f64| !value.is_nan()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default();
            eprintln!("--- Prometheus's log\n{log}");
        }
    }
}

/// Between two questions to who tells nothing unasked.
pub(crate) async fn nap() {
    #[expect(clippy::disallowed_methods, reason = "between two questions, not instead of one")]
    tokio::time::sleep(Duration::from_millis(100)).await;
}
