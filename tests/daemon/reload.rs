//! A new configuration for a running daemon.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;
use tollgate::demo::fragile_api::{FragileApi, Fragility};

use crate::raw::{Raw, exchange};
use crate::support::{Client, Daemon, erp, free_address, nap};

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_applies_all_of_a_file_or_nothing() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let mut daemon = Daemon::start(&erp(api.address(), "1/90s", ""));
    let client = Client::new();
    let slow = json!({"target": "erp", "path": "/slow"});
    let id = client.submit(daemon.data, &slow).await;

    daemon.configure(&erp(api.address(), "10/fortnight", "bursts = 3\n"));
    let refused = client.post(daemon.admin, "/v1/reload", &json!({})).await;
    assert_eq!(refused.status, 422);
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("fortnight") && detail.contains("bursts"), "{detail}");
    let target = client.get(daemon.admin, "/v1/targets/erp").await.json();
    assert_eq!(target["limit"]["rate"], "1/90s");

    // By its file alone: nobody asks for it.
    let crm = erp(api.address(), "100/s", "").replace("erp", "crm");
    daemon.configure(&(erp(api.address(), "100/s", "") + &crm));
    client.until(daemon.admin, "/v1/targets", |all| all.to_string().contains("crm")).await;
    assert_eq!(client.ended(daemon.data, &id).await["state"], "succeeded");
    let other = client.submit(daemon.data, &json!({"target": "crm", "path": "/new"})).await;
    assert_eq!(client.ended(daemon.data, &other).await["state"], "succeeded");

    // A target that was removed keeps its jobs until it is back.
    client.post(daemon.admin, "/v1/targets/crm/pause", &json!({})).await;
    let kept = client.submit(daemon.data, &json!({"target": "crm", "path": "/kept"})).await;
    daemon.configure(&erp(api.address(), "100/s", ""));
    daemon.signal("-HUP");
    client.until(daemon.data, "/v1/jobs/00000000-0000-7000-8000-000000000000", |_| true).await;
    let gone = json!({"target": "crm", "path": "/gone"});
    while client.post(daemon.data, "/v1/jobs", &gone).await.status != 404 {}
    assert_eq!(client.get(daemon.data, &format!("/v1/jobs/{kept}")).await.status, 200);
    daemon.configure(&(erp(api.address(), "100/s", "") + &crm));
    assert_eq!(client.post(daemon.admin, "/v1/reload", &json!({})).await.status, 200);
    client.post(daemon.admin, "/v1/targets/crm/resume", &json!({})).await;
    assert_eq!(client.ended(daemon.data, &kept).await["state"], "succeeded");
    assert!(daemon.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_next_start_is_said_at_each_reload_and_no_token_comes_in_for_it() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let plain = erp(api.address(), "100/s", "");
    let mut daemon = Daemon::start(&plain);
    let client = Client::new();
    let awaited = json!({"target": "erp", "path": "/", "task_token": "a-token"});
    assert_eq!(client.post(daemon.data, "/v1/jobs", &awaited).await.status, 422);

    daemon.configure(&format!("{plain}[step_functions]\n"));
    for _ in 0..2 {
        let reloaded = client.post(daemon.admin, "/v1/reload", &json!({})).await.json();
        assert_eq!(reloaded, json!({"reloaded": true, "at_next_start": ["[step_functions]"]}));
        let refused = client.post(daemon.data, "/v1/jobs", &awaited).await;
        assert_eq!(refused.status, 422);
        assert!(refused.json()["detail"].as_str().unwrap().contains("restart"));
    }
    daemon.configure(&plain);
    let reloaded = client.post(daemon.admin, "/v1/reload", &json!({})).await.json();
    assert_eq!(reloaded, json!({"reloaded": true}));
    assert!(daemon.terminate().success());
}

/// The address that it is bound to stays, whatever the new file says of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_lets_nobody_in_where_other_machines_reach_it() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "a-token\n").unwrap();
    let plain = erp(api.address(), "100/s", "");
    let listen = "listen = \"0.0.0.0:0\"\nadmin_listen = \"127.0.0.1:0\"\n";
    let auth = format!("[auth]\nsubmit_tokens_file = {:?}\n", tokens.display().to_string());
    let mut daemon = Daemon::start_listening(listen, &format!("{auth}{plain}"));
    let client = Client::new();
    let here = std::net::SocketAddr::from(([127, 0, 0, 1], daemon.data.port()));
    assert_eq!(client.get(here, "/v1/nowhere").await.status, 401);

    // On loopback, and without tokens: for a daemon that starts this is fine.
    daemon.configure(&plain);
    let refused = client.post(daemon.admin, "/v1/reload", &json!({})).await;
    assert_eq!(refused.status, 422);
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("server.listen") && detail.contains("submit_tokens_file"), "{detail}");
    assert_eq!(client.get(here, "/v1/nowhere").await.status, 401);

    // Who says it outright is told so in the log.
    daemon.configure(&format!("[auth]\ninsecure_allow_anonymous = true\n{plain}"));
    assert_eq!(client.post(daemon.admin, "/v1/reload", &json!({})).await.status, 200);
    // Let in, and there is nothing.
    assert_eq!(client.get(here, "/v1/nowhere").await.status, 404);
    assert!(daemon.log().contains("auth.insecure_allow_anonymous is set"), "{}", daemon.log());
    assert!(daemon.terminate().success());
}

/// The target `erp` with a sidecar port.
fn listening(port: SocketAddr, erp: &str) -> String {
    erp.replacen("url =", &format!("listen = \"{port}\"\nurl ="), 1)
}

async fn one_waits(client: &Client, daemon: &Daemon) -> bool {
    let shown = client.get(daemon.admin, "/v1/targets/erp").await.json();
    shown["priorities"]["NORMAL"]["depth"] == 1
}

/// The daemon itself holds the port; what to do about that is not what one does about a stranger.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_goes_to_another_target_in_two_steps() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let port = free_address();
    let erp = erp(api.address(), "100/s", "");
    let crm = erp.replace("targets.erp", "targets.crm");
    let daemon = Daemon::start(&listening(port, &erp));
    let client = Client::new();
    let reload = async |targets: &str| {
        daemon.configure(targets);
        client.post(daemon.admin, "/v1/reload", &json!({})).await
    };
    let refused = reload(&listening(port, &crm)).await;
    assert!(refused.status >= 400, "{}", refused.status);
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("targets.crm.listen") && detail.contains("targets.erp until"),
        "{detail}"
    );
    assert_eq!(reload(&format!("{erp}{crm}")).await.status, 200);
    // Until the socket is gone the address is still taken.
    while tokio::net::TcpStream::connect(port).await.is_ok() {
        nap().await;
    }
    assert_eq!(reload(&listening(port, &crm)).await.status, 200);
}

/// A sidecar port that a reload takes away answers what it was asked before, also where that was not
/// sent yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_goes_finishes_what_is_under_way_there() {
    let answers = Arc::new(Semaphore::new(0));
    let may_answer = answers.clone();
    let target = Raw::start(move |mut peer| {
        let may_answer = may_answer.clone();
        async move {
            while peer.request().await.is_some() {
                may_answer.acquire().await.unwrap().forget();
                peer.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").await;
            }
        }
    })
    .await;
    let port = free_address();
    let erp = erp(target.address, "100/s", "max_concurrent = 1\n").replace("2s", "60s");
    let daemon = Daemon::start(&listening(port, &erp));
    let request = "GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let asking = tokio::spawn(exchange(port, request));
    target.until(|got| got.of("/slow") == 1).await;
    let behind = tokio::spawn(exchange(port, request));
    let client = Client::new();
    while !one_waits(&client, &daemon).await {
        nap().await;
    }

    daemon.configure(&erp);
    assert_eq!(client.post(daemon.admin, "/v1/reload", &json!({})).await.status, 200);
    while tokio::net::TcpStream::connect(port).await.is_ok() {
        nap().await;
    }
    assert!(one_waits(&client, &daemon).await, "who waits there waits on");
    answers.add_permits(2);
    for answer in [asking.await.unwrap(), behind.await.unwrap()] {
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("late"), "{answer}");
    }
}

/// Who still waits at such a port when the daemon goes down is told so, and the job is given up.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_at_a_port_that_went_hears_that_the_daemon_goes_down() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let port = free_address();
    let erp = erp(api.address(), "100/s", "");
    let mut daemon = Daemon::start(&listening(port, &erp));
    let client = Client::new();
    let paused = client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    assert_eq!(paused.status, 200);
    let request = "GET /waits HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let waiting = tokio::spawn(exchange(port, request));
    while !one_waits(&client, &daemon).await {
        nap().await;
    }
    daemon.configure(&erp);
    assert_eq!(client.post(daemon.admin, "/v1/reload", &json!({})).await.status, 200);
    assert!(one_waits(&client, &daemon).await, "who waits there waits on");
    assert!(daemon.terminate().success());
    let answer = waiting.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}
