//! The files in `config/` load, and the long one says what holds without it.

use std::path::{Path, PathBuf};

use super::*;
use crate::config::{defaults, load, vocabulary};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn shipped(name: &str) -> Config {
    load(&folder().join(name), &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn every_shipped_file_loads_with_nothing_in_the_environment() {
    let mut loaded = 0;
    for folder in [folder(), folder().join("step-functions")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                shipped(path.to_str().unwrap());
                loaded += 1;
            }
        }
    }
    assert!(loaded >= 4, "tollgate.toml, minimal.toml, demo.toml and the order workflow's");
}

#[test]
fn the_shipped_configuration_is_the_defaults() {
    assert_eq!(shipped("tollgate.toml"), good(ERP));
}

#[test]
fn the_defaults_are_those_of_the_module() {
    let config = good(ERP);
    assert_eq!(config.server, defaults::server());
    assert_eq!(config.store, defaults::store());
    assert_eq!(config.telemetry, defaults::telemetry());
    let erp = &config.targets["erp"];
    assert_eq!(erp.name, "erp");
    assert_eq!(erp.timeout, defaults::TIMEOUT);
    assert!(erp.headers.is_empty());
    assert_eq!(erp.listen, None);
    assert_eq!(erp.policy.limit.burst, defaults::BURST);
    assert_eq!(erp.policy.limit.max_concurrent, defaults::MAX_CONCURRENT);
    assert_eq!(erp.policy.retry, defaults::RETRY);
    assert_eq!(erp.policy.max_deferrals, defaults::MAX_DEFERRALS);
    assert_eq!(erp.policy.max_queued, defaults::MAX_QUEUED);
}

#[test]
fn the_defaults_are_those_that_users_were_promised() {
    let config = good(ERP);
    let erp = &config.targets["erp"];
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        config.server, config.store, config.telemetry, erp.timeout, erp.policy
    );
    assert_eq!(
        shown,
        "Server { listen: Tcp(127.0.0.1:7070), admin_listen: Tcp(127.0.0.1:7071), \
         max_body: 262144, drain_timeout: 30s, tls: None } Store { path: \"data/tollgate.redb\", cache: 67108864, \
         retention: 86400s, min_free_disk: 268435456, keys: None } Telemetry { log: \"info\", \
         log_format: Text, otlp_endpoint: None, otlp_sample_ratio: Ratio(1.0) } 30s Policy { limit: Limit { rate: Rate { count: 10, per: 1s }, \
         burst: 1, max_concurrent: 10, hold_after_timeout: 30s, \
         ceilings: Ceilings { windows: [], quota: None, reserve_high: Reserve(0) } }, share: [], \
         tempo: Tempo { schedule: Schedule { entries: [] }, lasting: 30s, \
         breaker: Settings { failures: 10, probe_every: 10s }, adaptive: None }, \
         retry: Retry { max_attempts: 5, min_backoff: 1s, \
         max_backoff: 300s, max_retry_duration: 86400s }, max_deferrals: 20, \
         max_queued: 1000000, on_group_failure: Continue, weights: Weights({}), \
         outcomes: Outcomes { delivery: AtLeastOnce, \
         completion: Completion { every: 10s, timeout: 3600s }, \
         dead_retention: DeadRetention { age: None, count: None, size: None }, \
         reject_if_late: false } }"
    );
}

/// Keys that the file only shows in a comment, because their default is that they are not set.
#[test]
fn the_shipped_configuration_shows_every_key() {
    let text = std::fs::read_to_string(folder().join("tollgate.toml")).unwrap();
    let mut in_table = String::new();
    let mut shown: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(header) = line.trim_start_matches(['#', ' ', '[']).strip_suffix(']')
            && !header.contains('=')
            && !header.is_empty()
        {
            in_table =
                header.trim_end_matches(']').replace("erp", "NAME").replace("mainframe", "NAME");
        }
        if let Some((key, _)) = line.trim_start_matches(['#', ' ']).split_once(" = ") {
            shown.push((in_table.clone(), key.to_owned()));
        }
    }
    let tables = [
        "auth",
        "callbacks",
        "tls",
        "targets",
        "limits",
        "limit",
        "priority",
        "retry",
        "verify",
        "response",
        "completion",
        "fairness",
        "server",
        "step_functions",
        "store",
        "telemetry",
        "sources",
        "sqs",
        "activity",
        "quota",
        "adaptive",
        "breaker",
        "schedule",
    ];
    for words in vocabulary::ALL {
        for key in words.known.iter().filter(|key| !tables.contains(key)) {
            let key = (words.table.to_owned(), (*key).to_owned());
            assert!(shown.contains(&key), "{key:?} is not in config/tollgate.toml");
        }
    }
}

#[test]
fn the_demo_has_a_store_and_ports_of_its_own() {
    let demo = shipped("demo.toml");
    assert_eq!(demo.server.listen.port().unwrap().port(), 0);
    assert_eq!(demo.server.admin_listen.port().unwrap().port(), 0);
    assert_ne!(demo.store.path, defaults::store().path);
    assert_eq!(demo.targets.keys().collect::<Vec<_>>(), ["erp"]);
}
