//! `tollgate store export`: all of it, and no secret unless it is asked for.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::raw::Raw;
use crate::support::{Client, Daemon};

fn export(file: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output = command.args(["store", "export"]).arg(file).args(more).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_daemons_jobs_are_told_without_their_secrets() {
    let target = Raw::start(|mut peer| async move {
        while peer.request().await.is_some() {
            let answer = "HTTP/1.1 200 OK\r\nX-Answer: hush\r\nContent-Type: application/json\r\n\
                          Content-Length: 37\r\n\r\n{\"a\":\"hush\",\"n\":12345678901234567890}";
            peer.say(answer).await;
        }
    })
    .await;
    let secret = |name: &str| (name.to_owned(), "x".to_owned());
    let aws = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"].map(secret).to_vec();
    let targets = format!(
        "[step_functions]\nendpoint_url = \"http://127.0.0.1:1\"\nheartbeat = \"off\"\n\
         check_before_dispatch = false\n[targets.erp]\nurl = \"http://{}\"\n\
         [targets.erp.limit]\nrate = \"1000/s\"\nburst = 100\n",
        target.address
    );
    let mut daemon = Daemon::start_in(&targets, aws);
    let client = Client::new();
    let job = json!({
        "target": "erp",
        "path": "/orders?token=hush",
        "headers": {"authorization": "hush"},
        "body": {"card": "hush"},
        "task_token": "hush-token",
        "dedup_id": "order-7",
    });
    let id = client.submit(daemon.data, &job).await;
    client.ended(daemon.data, &id).await;
    client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    // More than a page of them.
    let many: Vec<Value> =
        (0..700).map(|n| json!({"target": "erp", "path": format!("/{n}")})).collect();
    client.post(daemon.data, "/v1/jobs/batch", &Value::from(many)).await;

    let (code, out, err) = export(&daemon.store(), &[]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("in use by another process"), "{err}");
    assert!(daemon.terminate().success());

    let (code, out, err) = export(&daemon.store(), &[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(!out.contains("hush"), "{}", out.lines().find(|line| line.contains("hush")).unwrap());
    let jobs: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(jobs.len(), 701);
    let ended = jobs.iter().find(|line| line["job"]["id"] == id.as_str()).unwrap();
    assert_eq!(ended["job"]["state"], "succeeded");
    assert_eq!(ended["request"]["path"], "/orders?[redacted]");
    assert_eq!(ended["request"]["body_bytes"], 15);
    assert_eq!(ended["request"]["task_token"], "[redacted]");
    assert_eq!(jobs.iter().filter(|line| line["job"]["state"] == "queued").count(), 700);

    let (code, out, err) = export(&daemon.store(), &["--with-secrets"]);
    assert_eq!(code, Some(0), "{err}");
    let line = out.lines().find(|line| line.contains(&id)).unwrap();
    assert!(line.contains("\"n\":12345678901234567890"), "{line}");
    let whole: Value = serde_json::from_str(line).unwrap();
    assert_eq!(whole["request"]["body"], "{\"card\":\"hush\"}");
    assert_eq!(whole["request"]["task_token"], "hush-token");
    assert_eq!(whole["request"]["path"], "/orders?token=hush");
    assert_eq!(whole["job"]["result"]["Headers"]["x-answer"], json!(["hush"]));
    // Nothing was changed by looking.
    daemon.restart();
    assert_eq!(client.ended(daemon.data, &id).await["state"], "succeeded");
}

#[test]
fn what_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.redb");
    let (code, out, err) = export(&file, &[]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("there is no store at"), "{err}");
    assert!(!file.exists());
    std::fs::write(&file, "no store").unwrap();
    let (code, _, err) = export(&file, &[]);
    assert_eq!(code, Some(1));
    assert!(err.contains("is not a Tollgate store"), "{err}");
    assert_eq!(std::fs::read(&file).unwrap(), b"no store");
}
