//! What an outsider could count on, and must not be able to.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use crate::raw::Raw;
use crate::support::{Client, Daemon, erp};

async fn target(answer: &'static str) -> Raw {
    Raw::start(move |mut peer| async move {
        while peer.request().await.is_some() {
            peer.say(answer).await;
        }
    })
    .await
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn who_lets_everybody_in_is_told_so_at_every_start() {
    let api = target(OK).await;
    let open = erp(api.address, "1/s", "") + "[auth]\ninsecure_allow_anonymous = true\n";
    let mut daemon = Daemon::start(&open);
    for _start in 0..2 {
        let log = daemon.log();
        assert_eq!(log.matches("auth.insecure_allow_anonymous is set").count(), 1, "{log}");
        assert!(log.contains("WARN"), "{log}");
        assert!(daemon.terminate().success());
        daemon.restart();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_open_only_where_they_are_said_to_be() {
    let api = target(OK).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("admin"), "a-333\n").unwrap();
    let file = folder.path().join("admin").display().to_string();
    for (metrics, status) in
        [("", 401), ("metrics = \"admin\"\n", 401), ("metrics = \"open\"\n", 200)]
    {
        let auth = format!("[auth]\nadmin_tokens_file = {file:?}\n{metrics}");
        let daemon = Daemon::start(&(auth + &erp(api.address, "1/s", "")));
        let client = Client::new();
        assert_eq!(client.get(daemon.admin, "/metrics").await.status, status, "{metrics}");
        assert_eq!(client.get(daemon.admin, "/v1/targets").await.status, 401, "{metrics}");
        // Open or not, not to a page of a name that leads here.
        let host = [("host", "rebound.example")];
        let rebound = client.send("GET", daemon.admin, "/metrics", &host, "").await.unwrap();
        assert!([401, 403, 421].contains(&rebound.status), "{}", rebound.status);
    }
}

/// The job says which path; where it goes nobody else says: not the answer, not the environment.
#[tokio::test(flavor = "multi_thread")]
async fn neither_a_redirect_nor_the_environment_leads_elsewhere() {
    let elsewhere = target(OK).await;
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/stolen\r\nContent-Length: 0\r\n\r\n",
        elsewhere.address
    );
    let api = target(answer.leak()).await;
    let workflows = target(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 2\r\n\r\n{}",
    )
    .await;
    let mut environment: Vec<(String, String)> = Vec::new();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        for name in [name.to_owned(), name.to_lowercase()] {
            environment.push((name, format!("http://{}", elsewhere.address)));
        }
    }
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
        environment.push((name.to_owned(), "x".to_owned()));
    }
    let text = format!(
        "[step_functions]\nendpoint_url = \"http://{}\"\nheartbeat = \"off\"\n\
         check_before_dispatch = false\n",
        workflows.address
    ) + &erp(api.address, "100/s", "");
    let daemon = Daemon::start_in(&text, environment);
    let client = Client::new();
    let job = json!({"target": "erp", "path": "/a", "task_token": "t"});
    let id = client.submit(daemon.data, &job).await;
    let ended = client.ended(daemon.data, &id).await;
    assert_eq!(ended["state"], "failed", "{ended}");
    assert_eq!(ended["error"]["code"], "Tollgate.Http.307", "{ended}");
    assert_eq!(api.got().of("/a"), 1);
    workflows.until(|got| got.of("/") == 1).await;
    assert_eq!(elsewhere.got().connections, 0, "{:?}", elsewhere.got());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_its_owners_own() {
    let api = target(OK).await;
    let daemon = Daemon::start(&erp(api.address, "1/s", ""));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&daemon.store()), 0o600);
    let journal = daemon.store().with_extension("redb.journal");
    assert_eq!(mode(&journal), 0o700);
    let segments: Vec<_> =
        std::fs::read_dir(&journal).unwrap().map(|s| s.unwrap().path()).collect();
    assert!(!segments.is_empty());
    for segment in segments {
        assert_eq!(mode(&segment), 0o600, "{}", segment.display());
    }
}
