//! Result callbacks: every end is told, whatever fails and dies in between. The receiver is Python,
//! with the specification's own library.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tollgate::demo::fragile_api::{FragileApi, Fragility, NOWHERE};

use crate::support::{Client, Daemon, erp, nap};

/// The receiver knows the first one only.
const OLD: &str = "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkLW9sZC0=";
const NEW: &str = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldy0=";

/// With the library where it can be had; where `CI=true` it must be.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("webhooks");
    let needed =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daemon/callbacks/requirements.txt");
    let python = folder.join("bin/python");
    let has = |python: &Path| {
        let found = Command::new(python).args(["-c", "import standardwebhooks"]).output();
        found.is_ok_and(|done| done.status.success())
    };
    if has(&python) {
        return python;
    }
    let _ = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).output();
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    let _ = Command::new(&python).args(pip).arg(needed).output();
    if has(&python) {
        return python;
    }
    let in_ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(!in_ci, "standardwebhooks is needed in CI, and cannot be installed");
    println!("LEFT OUT: standardwebhooks cannot be installed; Python's hmac checks alone");
    "python3".into()
}

struct Receiver {
    process: Child,
    port: u16,
    lines: Arc<Mutex<Vec<Value>>>,
    folder: tempfile::TempDir,
}

impl Receiver {
    fn start() -> Receiver {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), format!("{NEW}\n{OLD}\n")).unwrap();
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daemon/callbacks/receiver.py");
        let mut process = Command::new(python())
            .arg(script)
            .arg(OLD)
            .arg(folder.path().join("door"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = said.next().unwrap().unwrap().parse().unwrap();
        let lines = Arc::<Mutex<Vec<Value>>>::default();
        let heard = lines.clone();
        std::thread::spawn(move || {
            for line in said.map_while(Result::ok) {
                heard.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Receiver { process, port, lines, folder }
    }

    fn table(&self, name: &str, more: &str) -> String {
        let secret = self.folder.path().join("secret").display().to_string();
        format!(
            "[callbacks.{name}]\nurl = \"http://127.0.0.1:{}/{name}?key=1\"\n\
             secret_file = {secret:?}\nmin_backoff = \"20ms\"\nmax_backoff = \"200ms\"\n\
             rate = \"1000/s\"\n{more}",
            self.port
        )
    }

    fn open_door(&self) {
        std::fs::write(self.folder.path().join("door"), "").unwrap();
    }

    fn shut_door(&self) {
        std::fs::remove_file(self.folder.path().join("door")).unwrap();
    }

    fn heard(&self) -> Vec<Value> {
        self.lines.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn standing<'a>(list: &'a Value, name: &str) -> &'a Value {
    let all = list["callbacks"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap_or(&Value::Null)
}

const JOBS: usize = 240;

#[tokio::test(flavor = "multi_thread")]
async fn every_end_is_told_over_kills_and_failures_with_the_same_id_on_repeats() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let receiver = Receiver::start();
    let mut targets = receiver.table("flaky", "");
    targets += &erp(api.address(), "400/s", "max_concurrent = 50\n");
    targets +=
        &format!("[targets.shut]\nurl = \"http://{}\"\nlimit.rate = \"1/s\"\n", api.address());
    let mut daemon = Daemon::start(&targets);
    let client = Client::new();
    client.post(daemon.admin, "/v1/targets/shut/pause", &json!({})).await;
    let jobs: Vec<Value> = (0..JOBS)
        .map(|number| {
            let mut job = json!({"target": "erp", "callback": "flaky", "body": {"n": number}});
            match number % 8 {
                0 => job["path"] = json!(NOWHERE),
                1 => job["delay"] = json!("1h"),
                // To a target that sends nothing.
                2 => {
                    job["target"] = json!("shut");
                    let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(5);
                    job["deadline"] = json!(soon.to_string());
                }
                _ => {}
            }
            job
        })
        .collect();
    let batch = client.post(daemon.data, "/v1/jobs/batch", &Value::from(jobs)).await.json();
    let mut expected = BTreeMap::new();
    for (number, job) in batch["jobs"].as_array().unwrap().iter().enumerate() {
        let id = job["id"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned();
        let end = ["failed", "cancelled", "expired"].get(number % 8).unwrap_or(&"succeeded");
        if *end == "cancelled" {
            let path = format!("/v1/jobs/{id}");
            client.send("DELETE", daemon.data, &path, &[], "").await.unwrap();
        }
        expected.insert(id, *end);
    }
    // Twice in the middle of telling, by what was told.
    for share in [4, 2] {
        while receiver.heard().len() < JOBS / share {
            nap().await;
        }
        daemon.kill();
        daemon.restart();
    }
    for id in expected.keys() {
        let path = format!("/v1/jobs/{id}");
        let told = |job: &Value| job["callback"]["state"] == "delivered";
        let job = client.until(daemon.data, &path, told).await;
        assert_eq!(job["callback"]["message_id"], format!("job_{id}_1"));
        let history = job["history"].as_array().unwrap();
        let told = history.iter().filter(|line| line["event"] == "callback_delivered").count();
        assert_eq!(told, 1, "{job}");
    }
    let mut taken = BTreeSet::new();
    let (mut messages, mut repeats) = (0, 0);
    for message in receiver.heard() {
        assert_eq!(message["fault"], Value::Null, "{message}");
        assert_eq!(message["signatures"], 2);
        assert_eq!(message["path"], "/flaky?key=1");
        let (id, data) = (message["data"]["id"].as_str().unwrap(), &message["data"]);
        assert_eq!(message["id"], format!("job_{id}_1"));
        assert_eq!(data["state"], expected[id], "{message}");
        assert_eq!(message["type"], format!("job.{}", expected[id]));
        match expected[id] {
            "succeeded" => assert_eq!(data["result"]["StatusCode"], 200),
            "failed" => assert_eq!(data["error"]["code"], "Tollgate.Http.404"),
            "expired" => assert_eq!(data["error"]["code"], "Tollgate.DeadlineExceeded"),
            _ => assert_eq!(data["error"]["code"], "Tollgate.Cancelled"),
        }
        messages += 1;
        repeats += usize::from(!taken.insert(id.to_owned()));
    }
    println!(
        "{} ends told over 2 kills, {messages} messages, {repeats} of them repeats; checked by {}",
        taken.len(),
        receiver.heard()[0]["kind"]
    );
    assert_eq!(taken.len(), JOBS);
    assert!(repeats > 0, "a receiver that fails three in ten");
    let list = client.get(daemon.admin, "/v1/callbacks").await.json();
    let known = standing(&list, "flaky");
    assert_eq!((&known["pending"], &known["undelivered"]), (&json!(0), &json!(0)), "{known}");
    assert!(!list.to_string().contains("key=1"), "{list}");
}

fn tollgate(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(args).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8(said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_seen_kept_and_told_again() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let receiver = Receiver::start();
    let base = erp(api.address(), "400/s", "");
    let short = "max_retry_duration = \"1s\"\n";
    let all = receiver.table("door", short)
        + &receiver.table("gone", short)
        + &receiver.table("away", short);
    let daemon = Daemon::start(&(all + &base));
    let admin = format!("http://{}", daemon.admin);
    let client = Client::new();
    let ended = async |callback: &str| {
        client.submit(daemon.data, &json!({"target": "erp", "callback": callback})).await
    };
    let until = async |id: &str, state: &str| {
        let path = format!("/v1/jobs/{id}");
        client.until(daemon.data, &path, |job| job["callback"]["state"] == state).await
    };
    let wrong = json!({"target": "erp", "callback": "dor"});
    let refused = client.post(daemon.data, "/v1/jobs", &wrong).await;
    let detail = refused.json()["detail"].to_string();
    assert_eq!((refused.status, detail.contains("did you mean `door`?")), (422, true), "{detail}");

    for (name, why) in
        [("door", "503"), ("gone", "410 Gone"), ("away", "302, which is not followed")]
    {
        let id = ended(name).await;
        let job = until(&id, "undelivered").await;
        let reason = job["callback"]["reason"].as_str().unwrap();
        assert!(reason.contains(why), "{job}");
        let list = client.get(daemon.admin, &format!("/v1/callbacks/{name}/undelivered")).await;
        assert_eq!(list.json()["jobs"][0]["id"], id.as_str());
    }
    let metrics = client.get(daemon.admin, "/metrics").await.body;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    for line in [
        "tollgate_callbacks_undelivered{callback=\"door\"} 1",
        "tollgate_callbacks_pending{callback=\"door\"} 0",
        "tollgate_callbacks_total{callback=\"gone\",result=\"given_up\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    for command in [&["targets"][..], &["callbacks", "list"]] {
        let shown = tollgate(&[command, &["--admin-url", &admin]].concat());
        assert!(shown.contains("`tollgate callbacks redrive door`"), "{shown}");
    }
    let ready = client.get(daemon.admin, "/readyz").await.json();
    assert_eq!(standing(&ready, "gone")["undelivered"], 1, "{ready}");

    receiver.open_door();
    let said = tollgate(&["callbacks", "redrive", "door", "--admin-url", &admin]);
    assert_eq!(said.trim(), "1 result is told to door again");
    let told = receiver.heard();
    let id = told[0]["data"]["id"].as_str().unwrap().to_owned();
    let job = until(&id, "delivered").await;
    let events: Vec<_> = job["history"].as_array().unwrap().iter().map(|e| &e["event"]).collect();
    let last = ["callback_undelivered", "callback_redriven", "callback_delivered"];
    assert_eq!(events[events.len() - 3..], last);
    // Once more, because somebody asks.
    let before = receiver.heard().len();
    let said = tollgate(&["callbacks", "redrive", &id, "--admin-url", &admin]);
    assert!(said.contains(&id), "{said}");
    until(&id, "delivered").await;
    while receiver.heard().len() == before {
        nap().await;
    }
    let ids: BTreeSet<String> = receiver
        .heard()
        .iter()
        .filter(|message| message["data"]["id"] == id.as_str())
        .map(|message| message["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");

    // One that is taken out of the configuration waits until it is back.
    receiver.shut_door();
    daemon.configure(&(receiver.table("door", "") + &base));
    client.post(daemon.admin, "/v1/reload", &json!({})).await;
    let waits = ended("door").await;
    until(&waits, "pending").await;
    daemon.configure(&base);
    client.post(daemon.admin, "/v1/reload", &json!({})).await;
    let list = client.get(daemon.admin, "/v1/callbacks").await.json();
    let off = standing(&list, "door");
    assert_eq!((&off["state"], &off["pending"]), (&json!("off"), &json!(1)), "{list}");
    assert!(daemon.log().contains("they wait until it is back"), "{}", daemon.log());
    let job = json!({"target": "erp", "callback": "door"});
    assert_eq!(client.post(daemon.data, "/v1/jobs", &job).await.status, 422);
    receiver.open_door();
    daemon.configure(&(receiver.table("door", "") + &base));
    client.post(daemon.admin, "/v1/reload", &json!({})).await;
    until(&waits, "delivered").await;
    assert!(receiver.heard().iter().all(|message| message["fault"].is_null()));
}
