//! What an outsider could count on, and must not be able to.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

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
    let to = format!("http://{}/stolen", elsewhere.address);
    let api = Raw::start(move |mut peer| {
        let to = to.clone();
        async move {
            while let Some(path) = peer.request().await {
                let status = path.trim_start_matches('/').to_owned();
                let head = format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {to}\r\n");
                peer.say(format!("{head}Content-Length: 0\r\n\r\n")).await;
            }
        }
    })
    .await;
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
    for status in [301, 302, 303, 307, 308] {
        let path = format!("/{status}");
        let job = json!({"target": "erp", "path": path, "task_token": path});
        let id = client.submit(daemon.data, &job).await;
        let ended = client.ended(daemon.data, &id).await;
        assert_eq!(ended["state"], "failed", "{ended}");
        assert_eq!(ended["error"]["code"], format!("Tollgate.Http.{status}"), "{ended}");
        assert_eq!(api.got().of(&path), 1);
    }
    workflows.until(|got| got.of("/") == 5).await;
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

/// Reading at a target is a job, with the credentials that are configured for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_from_elsewhere_reaches_no_target_and_a_target_s_page_is_none_of_ours() {
    let api = target(OK).await;
    let daemon = Daemon::start(&erp(api.address, "100/s", ""));
    let client = Client::new();
    for method in ["GET", "HEAD", "OPTIONS"] {
        for elsewhere in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
            let path = "/proxy/erp/stolen";
            let answer = client.send(method, daemon.data, path, &[elsewhere], "").await.unwrap();
            assert_eq!(answer.status, 403, "{method} {elsewhere:?}");
        }
    }
    assert_eq!(api.got().of("/stolen"), 0);
    let by_hand = [("sec-fetch-site", "none"), ("sec-fetch-dest", "document")];
    let page = client.send("GET", daemon.data, "/proxy/erp/page", &by_hand, "").await.unwrap();
    let header = |name: &str| page.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!((page.status, header("content-security-policy")), (200, Some("sandbox")));
    assert_eq!(header("x-content-type-options"), Some("nosniff"));
    let plain = client.get(daemon.data, "/proxy/erp/page").await;
    assert_eq!(plain.headers.get("content-security-policy"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_reader_s_token_does() {
    let api = target(OK).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin");
    std::fs::write(&file, "old-1\n").unwrap();
    let auth = format!("[auth]\nadmin_tokens_file = {:?}\n", file.display().to_string());
    let daemon = Daemon::start(&(auth + &erp(api.address, "1/s", "")));
    let url = format!("http://{}/v1/events", daemon.admin);
    let mut reader = Command::new("curl")
        .args(["-sSN", "--max-time", "120", "-H", "Authorization: Bearer old-1", &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "event: targets");
    std::fs::write(&file, "new-2\n").unwrap();
    let old = [("authorization", "Bearer old-1")];
    let client = Client::new();
    let reload = client.send("POST", daemon.admin, "/v1/reload", &old, "").await.unwrap();
    assert_eq!(reload.status, 200);
    while lines.next().is_some() {}
    assert!(reader.wait().unwrap().success(), "the stream went on");
}
