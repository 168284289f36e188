//! No configured secret and no task token is in anything that comes out: logs at their loudest,
//! metrics, every page of both addresses, the console, events, commands, exports, errors.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tollgate::demo::fragile_api::{Failures, FragileApi, Fragility, NOWHERE};

use crate::raw::Raw;
use crate::support::{Daemon, nap};

/// As loud as it goes, and by name for those who write requests out.
const LOUD: &str = "trace,aws_sigv4::http_request=trace,aws_smithy_runtime::client=trace,\
                    aws_sdk_sfn=trace,aws_runtime=trace";

/// In each secret.
const MARK: &str = "5ecret";
const SUBMIT: &str = "submit-5ecret-token-1";
const ADMIN: &str = "admin-5ecret-token-2";
const TASK: &str = "task-5ecret-token-3";

struct Stage {
    folder: tempfile::TempDir,
    /// What must not come out, beside everything with [`MARK`] in it.
    others: Vec<String>,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=tollgate", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
            .arg(folder.path().join("key.pem"))
            .arg("-out")
            .arg(folder.path().join("cert.pem"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let stage =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        stage("submit", &format!("shop:{SUBMIT}\n"));
        stage("admin", &format!("ops:{ADMIN}\n"));
        stage("header", "header-5ecret-from-a-file\n");
        let encoded = "aG9vay01ZWNyZXQtaG9vay01ZWNyZXQtaG9vay01ZWNyZXQ=";
        stage("hook", &format!("whsec_{encoded}\n"));
        let key = std::fs::read_to_string(folder.path().join("key.pem")).unwrap();
        let mut others: Vec<String> =
            key.lines().filter(|line| !line.contains('-')).map(str::to_owned).collect();
        others.retain(|line| line.len() > 40);
        assert!(others.len() > 10);
        others.push(encoded.trim_end_matches('=').to_owned());
        Stage { folder, others }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn config(&self, format: &str, api: &FragileApi, hook: &Raw, aws: &Raw) -> String {
        format!(
            "[server.tls]\ncert_file = {:?}\nkey_file = {:?}\n\
             [auth]\nsubmit_tokens_file = {:?}\nadmin_tokens_file = {:?}\n\
             [telemetry]\nlog = \"{LOUD}\"\nlog_format = \"{format}\"\n\
             [step_functions]\nendpoint_url = \"http://{}\"\n\
             [callbacks.orders]\nurl = \"http://{}/hook?code=query-5ecret-4\"\nsecret_file = {:?}\n\
             headers = {{ X-Key = \"callback-header-5ecret-5\" }}\nmin_backoff = \"50ms\"\n\
             max_retry_duration = \"1s\"\n\
             [targets.erp]\nurl = \"http://{}\"\n\
             headers = {{ Authorization = \"Bearer ${{ERP_TOKEN}}\", X-Filed_file = {:?} }}\n\
             [targets.erp.limit]\nrate = \"100/s\"\n\
             [targets.erp.retry]\nmin_backoff = \"20ms\"\nmax_attempts = 3\n",
            self.path("cert.pem"),
            self.path("key.pem"),
            self.path("submit"),
            self.path("admin"),
            aws.address,
            hook.address,
            self.path("hook"),
            api.address(),
            self.path("header"),
        )
    }

    #[track_caller]
    fn is_clean(&self, what: &str, text: &str) {
        let others = self.others.iter().map(String::as_str);
        for secret in others.chain([MARK]) {
            if let Some(at) = text.find(secret) {
                let (from, to) = (at.saturating_sub(200), (at + 200).min(text.len()));
                let around = String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned();
                panic!("{what} shows a secret: …{around}…");
            }
        }
    }
}

/// What curl got, head and all; whatever status it had.
fn curl(url: &str, options: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["-sSik", "--max-time", "20"]).args(options).arg(url);
    let output = command.output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn tollgate(arguments: &[&str], token: &str, trusted: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(arguments)
        .env("TOLLGATE_TOKEN", token)
        .env("TOLLGATE_CA_FILE", trusted)
        .env("ERP_TOKEN", "env-5ecret-6")
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Answers whatever it is asked, and closes.
async fn saying(status: &'static str, text: &'static str) -> Raw {
    Raw::start(move |mut peer| async move {
        if peer.request().await.is_some() {
            let length = text.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n");
            peer.say(format!("{head}Connection: close\r\n\r\n{text}")).await;
        }
    })
    .await
}

async fn nothing_comes_out(format: &str) {
    let stage = Stage::new();
    let failures = Failures { error: 200, unavailable: 100, ..Failures::NONE };
    let api = FragileApi::start(Fragility { failures, ..Fragility::SOUND }).await.unwrap();
    let hook = saying("500 No", "").await;
    let refusal = r#"{"__type":"AccessDeniedException","message":"no"}"#;
    let aws = saying("400 Bad Request", refusal).await;
    let good = stage.config(format, &api, &hook, &aws);
    let environment = [
        ("ERP_TOKEN", "env-5ecret-6"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "aws-5ecret-key-7"),
        ("AWS_SESSION_TOKEN", "aws-5ecret-session-8"),
        ("AWS_REGION", "eu-central-1"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut daemon = Daemon::start_in(&good, environment.to_vec());
    let (data, admin) = (format!("https://{}", daemon.data), format!("https://{}", daemon.admin));
    let (submits, admits) =
        (format!("Authorization: Bearer {SUBMIT}"), format!("Authorization: Bearer {ADMIN}"));
    let mut looked_at = 0;
    let mut look = |what: &str, text: &str| {
        looked_at += 1;
        stage.is_clean(what, text);
    };

    // Jobs of every kind, and what is wrong in every way.
    let job = |path: &str| {
        json!({
            "target": "erp", "path": path, "callback": "orders", "task_token": TASK,
            "headers": {"authorization": "caller-5ecret-9", "cookie": "caller-5ecret-10"},
        })
    };
    let mut ids = Vec::new();
    for path in ["/a", "/b", "/c", NOWHERE] {
        let text = job(path).to_string();
        let answer = curl(&format!("{data}/v1/jobs"), &["-H", &submits, "-d", &text]);
        look("a submission", &answer);
        ids.push(body(&answer)["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned());
    }
    let long = "5ecret".repeat(600);
    for wrong in [
        format!("{{\"target\":\"erp\",\"task_token\":\"{TASK}\",}}"),
        format!("{{\"target\":\"erp\",\"task_token\":[\"{TASK}\"]}}"),
        format!("{{\"target\":\"erp\",\"task_token\":\"{long}\"}}"),
        format!("{{\"target\":\"pre\",\"task_token\":\"{TASK}\"}}"),
        format!("{{\"target\":\"erp\",\"task_token\":\"{TASK}\",\"path\":\"no\"}}"),
        format!("{{\"target\":\"erp\",\"task_token\":\"{TASK}\",\"callback\":\"no\"}}"),
    ] {
        let answer = curl(&format!("{data}/v1/jobs"), &["-H", &submits, "-d", &wrong]);
        look("a refusal", &answer);
    }
    let token = format!("Tollgate-Task-Token: {TASK}");
    let proxied = format!("{data}/proxy/erp/x");
    for more in [&["-H", "Prefer: respond-async"][..], &["-H", "Tollgate-Priority: none"]] {
        let options = [&["-H", &submits, "-H", &token][..], more].concat();
        look("the proxy", &curl(&proxied, &options));
    }
    for guess in ["Bearer guess-5ecret-11", "Basic Z3Vlc3MtNWVjcmV0", "5ecret"] {
        let header = format!("Authorization: {guess}");
        for url in [format!("{data}/v1/jobs"), format!("{admin}/v1/targets")] {
            look("a wrong token", &curl(&url, &["-H", &header, "-d", "{}"]));
        }
    }
    // Until each job has ended, and its callback was given up.
    for id in &ids {
        loop {
            let answer = curl(&format!("{admin}/v1/jobs/{id}"), &["-H", &admits]);
            look("a job", &answer);
            if body(&answer)["callback"]["state"] == "undelivered" {
                break;
            }
            nap().await;
        }
    }

    // Configurations that are wrong in their secrets.
    let hooks = stage.path("hook");
    let known = std::fs::read_to_string(&hooks).unwrap();
    for wrong in ["whsec_5ecret!", "5ecret", "whsec_NWVjcmV0", ""] {
        std::fs::write(&hooks, wrong).unwrap();
        look("a reload", &curl(&format!("{admin}/v1/reload"), &["-H", &admits, "-X", "POST"]));
    }
    std::fs::write(&hooks, known).unwrap();
    for (from, to) in [
        ("Bearer ${ERP_TOKEN}", "Bearer \\n5ecret"),
        ("X-Key = \"", "webhook-id = \""),
        ("/hook?code=", "/hook?code= #"),
        ("http://", "ftp://u:5ecret@"),
        ("max_attempts = 3", "max_attempt = \"${ERP_TOKEN}\""),
    ] {
        daemon.configure(&good.replace(from, to));
        look("a reload", &curl(&format!("{admin}/v1/reload"), &["-H", &admits, "-X", "POST"]));
        let file = daemon.config().display().to_string();
        look("check", &tollgate(&["check", "--config", &file], ADMIN, ""));
    }
    daemon.configure(&good);
    let answer = curl(&format!("{admin}/v1/reload"), &["-H", &admits, "-X", "POST"]);
    assert!(answer.starts_with("HTTP/") && answer.contains(" 200"), "{answer}");

    // Everything that can be asked for.
    let document = body(&curl(&format!("{admin}/openapi.json"), &["-H", &admits]));
    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods.get("get").is_none() {
            continue;
        }
        let path = path.replace("{id}", &ids[3]).replace("{callback}", "orders");
        let path = path.replace("{target}", "erp").replace("{t}", "erp").replace("{path}", "x");
        for query in ["", "?request=true", "?jobs=5"] {
            for (address, token) in [(&data, &submits), (&admin, &admits)] {
                // Events have no end.
                let options = ["-H", token, "--max-time", "2"];
                let options = if path == "/v1/events" { &options[..] } else { &options[..2] };
                look(&path, &curl(&format!("{address}{path}{query}"), options));
            }
        }
    }
    let console = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/console");
    for file in std::fs::read_dir(console).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        look("the console", &curl(&format!("{admin}/console/{name}"), &["-H", &admits]));
    }
    let trusted = stage.path("cert.pem");
    for command in [
        &["targets"][..],
        &["targets", "--json"],
        &["jobs", "list"],
        &["jobs", "list", "--json"],
        &["dead", "list", "erp"],
        &["dead", "show", &ids[3]],
        &["callbacks", "list"],
        &["callbacks", "list", "--json"],
        &["callbacks", "undelivered", "orders"],
        &["callbacks", "redrive", "orders"],
        &["plan", "erp", "--jobs", "5"],
    ] {
        let said = tollgate(&[command, &["--admin-url", &admin]].concat(), ADMIN, &trusted);
        look(&command.join(" "), &said);
        let said = tollgate(&[command, &["--admin-url", &admin]].concat(), SUBMIT, &trusted);
        look("a command with another's token", &said);
    }
    assert!(daemon.terminate().success());
    let store = daemon.store().display().to_string();
    let exported = tollgate(&["store", "export", &store], ADMIN, "");
    assert!(exported.contains(&ids[0]), "{exported}");
    look("an export", &exported);
    let log = daemon.log();
    assert!(log.contains("TRACE"), "the log is not at its loudest");
    look("the log", &log);
    println!("{looked_at} outputs, a log of {} bytes: no secret", log.len());
    let checked: PathBuf = daemon.config();
    assert!(std::fs::read_to_string(checked).unwrap().contains("query-5ecret-4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_output_with_a_log_in_text() {
    nothing_comes_out("text").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_output_with_a_log_in_json() {
    nothing_comes_out("json").await;
}
