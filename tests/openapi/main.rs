//! The real binary against its own description, by schemathesis (from PyPI).
//!
//! `cargo test --test openapi -- --ignored --nocapture`. It skips with a word where schemathesis
//! cannot be installed, but not where `CI=true`.

#[path = "../daemon/raw.rs"]
#[allow(dead_code, reason = "shared with another test crate, which needs all of it")]
mod raw;
#[path = "../daemon/support/mod.rs"]
#[allow(dead_code, reason = "shared with another test crate, which needs all of it")]
mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use raw::Raw;
use serde_json::{Value, json};
use support::{Client, Daemon};

const LOCK: &str = "requirements-schemathesis-4.32.5.txt";

/// The program, installed once under `target/`.
fn schemathesis() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("schemathesis");
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi").join(LOCK);
    let (done, wanted) = (folder.join("installed.txt"), std::fs::read_to_string(&lock).unwrap());
    if !std::fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        let made = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        let installed = made.and_then(|_| {
            run(Command::new(folder.join("bin/pip"))
                .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(&lock))
        });
        if let Err(why) = installed {
            let needed = std::env::var("CI").as_deref() == Ok("true");
            assert!(!needed, "schemathesis is needed in CI: {why}");
            eprintln!("SKIPPED: schemathesis cannot be installed: {why}");
            return None;
        }
        std::fs::write(done, wanted).unwrap();
    }
    Some(folder.join("bin/schemathesis"))
}

fn run(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    match command.output() {
        Ok(Output { status, stdout, .. }) if status.success() => {
            Ok(String::from_utf8_lossy(&stdout).into_owned())
        }
        Ok(Output { stdout, stderr, .. }) => {
            let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
            Err(format!("{shown}: {out}{err}"))
        }
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

/// The description of one of the two addresses.
fn of(document: &Value, data: bool) -> Value {
    let is_data = |operation: &Value| {
        operation["tags"].as_array().is_some_and(|tags| tags.contains(&json!("data address")))
    };
    let mut document = document.clone();
    let paths = document["paths"].as_object_mut().unwrap();
    for item in paths.values_mut() {
        let operations = item.as_object_mut().unwrap();
        operations.retain(|_, operation| is_data(operation) == data);
    }
    paths.retain(|_, item| !item.as_object().unwrap().is_empty());
    know_the_target(&mut document);
    document
}

/// Else nearly everything would be about targets that there are none of.
fn know_the_target(document: &mut Value) {
    match document {
        Value::Object(members) => {
            if ["target", "t"].iter().any(|name| members.get("name") == Some(&json!(name))) {
                members.insert("schema".into(), json!({"type": "string", "enum": ["erp"]}));
            }
            members.values_mut().for_each(know_the_target);
        }
        Value::Array(items) => items.iter_mut().for_each(know_the_target),
        _ => {}
    }
    if let Some(target) = document.pointer_mut("/components/schemas/NewJob/properties/target") {
        *target = json!({"type": "string", "enum": ["erp"]});
    }
}

/// What is described must hold, and nothing may make the daemon fail.
fn check(program: &Path, document: &Value, at: SocketAddr) {
    let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    std::fs::write(file.path(), document.to_string()).unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/schemathesis.toml");
    let said = run(Command::new(program)
        .arg("--config-file")
        .arg(config)
        .arg("run")
        .arg(file.path())
        .args(["--url", &format!("http://{at}")])
        .args(["--seed", "1", "--max-examples", "100", "--workers", "2", "--no-color"])
        .args(["--request-timeout", "30", "--continue-on-failure"])
        .env("SCHEMATHESIS_HOOKS", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi/hooks.py"))
        .current_dir(env!("CARGO_TARGET_TMPDIR")));
    match said {
        Ok(said) => println!("{said}"),
        Err(said) => panic!("{said}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes"]
async fn the_daemon_is_as_it_is_described() {
    let Some(program) = schemathesis() else { return };
    let target = Raw::start(|mut peer| async move {
        while peer.request().await.is_some() {
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let secret = |name: &str| (name.to_owned(), "x".to_owned());
    let aws = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"].map(secret).to_vec();
    let targets = format!(
        "[step_functions]\nendpoint_url = \"http://127.0.0.1:1\"\nheartbeat = \"off\"\n\
         check_before_dispatch = false\n\
         [targets.erp]\nurl = \"http://{}\"\nmax_queued = 100000000\n\
         [targets.erp.limit]\nrate = \"10000/s\"\nburst = 1000\nmax_concurrent = 100\n",
        target.address
    );
    let daemon = Daemon::start_in(&targets, aws);
    let client = Client::new();
    let document = client.get(daemon.admin, "/openapi.json").await.json();
    for (at, is_data) in [(daemon.data, true), (daemon.admin, false)] {
        let (program, document) = (program.clone(), of(&document, is_data));
        tokio::task::spawn_blocking(move || check(&program, &document, at)).await.unwrap();
    }
    let log = daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    // It has been paused, perhaps.
    client.post(daemon.admin, "/v1/targets/erp/resume", &json!({})).await;
    let id = client.submit(daemon.data, &json!({"target": "erp"})).await;
    assert_eq!(client.ended(daemon.data, &id).await["state"], "succeeded");
}
