//! The real program from outside: what it prints, and with which code it exits.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

const ID: &str = "0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11";

const COMMANDS: [&str; 25] = [
    "serve",
    "demo",
    "check",
    "submit",
    "jobs",
    "jobs list",
    "jobs show",
    "jobs cancel",
    "jobs redrive",
    "jobs priority",
    "dead",
    "dead list",
    "dead show",
    "dead redrive",
    "dead purge",
    "targets",
    "top",
    "plan",
    "pause",
    "resume",
    "reload",
    "store",
    "store export",
    "store check",
    "store compact",
];

fn tollgate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    for name in ["TOLLGATE_URL", "TOLLGATE_ADMIN_URL", "TOLLGATE_TOKEN", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Said {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// A daemon that says its lines: one answer for each request, each on a connection of its own.
struct Script {
    url: String,
    thread: JoinHandle<Vec<String>>,
}

impl Script {
    fn new(answers: &[(&str, &str)]) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: Vec<(String, String)> =
            answers.iter().map(|(status, body)| ((*status).into(), (*body).into())).collect();
        let thread = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let Some(request) = read_request(&mut stream) else { break };
                requests.push(request);
                let kind = if status.starts_with('2') { "json" } else { "problem+json" };
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/{kind}\r\n\
                     content-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
            requests
        });
        Script { url, thread }
    }

    /// What the program said, and each request as `METHOD /path body`.
    fn run(self, args: &[&str]) -> (Said, Vec<String>) {
        let mut command = tollgate(args);
        command.env("TOLLGATE_URL", &self.url).env("TOLLGATE_ADMIN_URL", &self.url);
        let said = said(&mut command);
        // Where answers are left over, the script waits for one more connection.
        drop(TcpStream::connect(self.url.trim_start_matches("http://")));
        (said, self.thread.join().unwrap())
    }
}

/// `None` where the other side closes without a request.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            let line = head.lines().next()?.trim_end_matches(" HTTP/1.1");
            return Some(format!("{line} {body}").trim_end().to_owned());
        }
    }
}

fn refused_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in COMMANDS {
        let said = said(tollgate(&words(command)).arg("--help"));
        assert_eq!(said.code, Some(0), "{command}: {}", said.err);
        assert!(said.out.contains("Usage: tollgate "), "{command}: {}", said.out);
    }
    let said = said(&mut tollgate(&["--help"]));
    assert_eq!(said.code, Some(0));
    assert!(said.out.contains("3 the daemon is not reachable"), "{}", said.out);
}

#[test]
fn usage_errors_exit_with_2() {
    for line in [
        "",
        "sevre",
        "jobs",
        "submit erp",
        "submit erp GET",
        "submit erp /a --wait=soon",
        "jobs show 17",
        "dead redrive erp",
        "dead redrive erp crm",
        "targets --url http://x",
        "reload --admin-url nonsense",
        "completions ksh",
    ] {
        let said = said(&mut tollgate(&words(line)));
        assert_eq!(said.code, Some(2), "{line}: {}{}", said.out, said.err);
        assert!(!said.err.is_empty() && said.out.is_empty(), "{line}");
    }
}

#[test]
fn a_daemon_that_is_not_there_exits_with_3_and_is_named() {
    let url = refused_url();
    for line in [
        "submit erp /a --wait",
        "jobs list",
        &format!("jobs show {ID}"),
        &format!("jobs cancel {ID} --json"),
        "dead list erp --json",
        "dead redrive erp --all",
        "dead purge erp --yes",
        "targets",
        "plan erp --jobs 5",
        "pause erp",
        "resume erp",
        "reload",
    ] {
        let mut command = tollgate(&words(line));
        command.env("TOLLGATE_URL", &url).env("TOLLGATE_ADMIN_URL", &url);
        command.env("TOLLGATE_TOKEN", "hush-hush");
        let said = said(&mut command);
        assert_eq!(said.code, Some(3), "{line}: {}", said.err);
        assert!(said.err.contains(&format!("{url}: connection refused")), "{line}: {}", said.err);
        assert!(said.err.contains("tollgate serve"), "{line}: {}", said.err);
        assert!(!said.err.contains("hush"), "{line}: {}", said.err);
        assert_eq!(said.out, "", "{line}");
    }
}

#[test]
fn top_without_a_terminal_names_what_does_without_one() {
    let said = said(&mut tollgate(&["top"]));
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
    assert!(said.err.contains("top needs a terminal"), "{}", said.err);
    assert!(said.err.contains("`tollgate targets`"), "{}", said.err);
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let said = said(&mut tollgate(&["completions", shell]));
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(said.out.contains("redrive") && said.out.contains("deadline"), "{shell}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = tollgate(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = tollgate(&["completions", "bash"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("cannot write to standard output"), "{err}");
}

#[test]
fn check_tells_every_error_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tollgate.toml");
    let path = file.to_str().unwrap();
    let text = "[targets.erp]\nurl = \"http://127.0.0.1:1\"\nlimit.rate = \"10/s\"\n";
    std::fs::write(&file, text).unwrap();
    let good = said(&mut tollgate(&["check", "--config", path]));
    assert_eq!(good.code, Some(0), "{}", good.err);
    assert_eq!(good.out, format!("{path} is valid: 1 target\n"));

    std::fs::write(&file, text.replace("10/s", "ten") + "timout = \"1s\"\n").unwrap();
    let bad = said(&mut tollgate(&["check", "--config", path]));
    assert_eq!((bad.code, bad.out.as_str()), (Some(1), ""), "{}", bad.err);
    for place in [format!("{path}:3:"), format!("{path}:4:"), "2 errors".to_owned()] {
        assert!(bad.err.contains(&place), "{place} is missing: {}", bad.err);
    }

    let json = said(&mut tollgate(&["check", "--json", "--config", path]));
    assert_eq!((json.code, json.err.as_str()), (Some(1), ""));
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["valid"], false);
    assert_eq!(json["errors"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["errors"][0]["line"], 3);

    let started = said(&mut tollgate(&["serve", "--config", path]));
    assert_eq!((started.code, started.out.as_str()), (Some(1), ""));
    assert!(started.err.contains(&format!("{path}:4:")), "{}", started.err);

    let missing = said(&mut tollgate(&["serve", "--config", "/nowhere/at-all.toml"]));
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.contains("/nowhere/at-all.toml"), "{}", missing.err);
}

#[test]
fn submit_prints_the_answer_and_exits_by_the_end() {
    let queued = format!("{{\"id\":\"{ID}\",\"target\":\"erp\",\"state\":\"queued\"}}");
    let ended = |state: &str| queued.replace("queued", state);

    let script = Script::new(&[("202 Accepted", &queued)]);
    let (said, requests) =
        script.run(&["submit", "erp", "/a", "--data", "{\"b\":1, \"a\":2}", "--json"]);
    assert_eq!((said.code, said.out), (Some(0), format!("{queued}\n")), "{}", said.err);
    let body = r#"{"target":"erp","method":"POST","path":"/a","body":{"b":1, "a":2}}"#;
    assert_eq!(requests, [format!("POST /v1/jobs {body}")]);

    for (state, code) in [("succeeded", 0), ("failed", 1), ("expired", 1), ("cancelled", 1)] {
        let end = ended(state);
        let script =
            Script::new(&[("202 Accepted", &queued), ("200 OK", &queued), ("200 OK", &end)]);
        let (said, requests) = script.run(&["submit", "erp", "GET", "/a", "--wait", "--json"]);
        assert_eq!((said.code, said.out), (Some(code), format!("{end}\n")), "{}", said.err);
        let poll = format!("GET /v1/jobs/{ID}?wait=20s");
        assert_eq!(requests[1..], [poll.clone(), poll]);
    }

    let script = Script::new(&[("202 Accepted", &queued), ("200 OK", &queued)]);
    let (said, requests) = script.run(&["submit", "erp", "/a", "--wait=0s"]);
    assert_eq!((said.code, requests.len()), (Some(1), 2), "{}", said.err);
    assert!(said.err.contains("still queued"), "{}", said.err);
}

#[test]
fn a_daemon_that_says_no_is_quoted() {
    let problem = r#"{"title":"no such target","status":404,"detail":"did you mean \"erp\"?"}"#;
    for args in [&["submit", "epr", "/a"][..], &["targets", "epr", "--json"], &["pause", "epr"]] {
        let (said, _) = Script::new(&[("404 Not Found", problem)]).run(args);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{args:?}");
        let expected = "tollgate: no such target (404): did you mean \"erp\"?\n";
        assert_eq!(said.err, expected, "{args:?}");
    }
    let problem = r#"{"title":"configuration not valid","detail":"t.toml:1:1: a\nt.toml:2:1: b"}"#;
    let (said, requests) = Script::new(&[("422 Unprocessable Content", problem)]).run(&["reload"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.ends_with("(422):\nt.toml:1:1: a\nt.toml:2:1: b\n"), "{}", said.err);
    assert_eq!(requests, ["POST /v1/reload"]);
}

#[test]
fn targets_are_a_table_or_the_daemons_json() {
    let json = r#"{"targets":[{"name":"erp","in_flight":1,"new":{"a":1e2}}]}"#;
    let (said, requests) = Script::new(&[("200 OK", json)]).run(&["targets", "--json"]);
    assert_eq!((said.code, said.out), (Some(0), format!("{json}\n")), "{}", said.err);
    assert_eq!(requests, ["GET /v1/targets"]);
    let one = ("200 OK", r#"{"name":"erp","paused":true}"#);
    let (said, requests) = Script::new(&[one]).run(&["targets", "erp"]);
    assert_eq!((said.code, said.out.lines().count()), (Some(0), 2), "{}", said.err);
    assert!(said.out.lines().nth(1).unwrap().starts_with("erp     paused "), "{}", said.out);
    assert_eq!(requests, ["GET /v1/targets/erp"]);
}

#[test]
fn a_plan_is_told_and_one_that_comes_to_nothing_exits_with_1() {
    let json = r#"{"target":"erp","jobs":20,"priority":"BATCH","at":"2026-11-27T17:00:00Z",
"first_start":"2026-11-27T17:00:00Z","last_start":"2026-11-27T17:00:02Z"}"#;
    let args = ["plan", "erp", "--jobs", "20", "--priority", "batch"];
    let (said, requests) = Script::new(&[("200 OK", json)]).run(&args);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("last start"), "{}", said.out);
    assert_eq!(requests, ["GET /v1/targets/erp/plan?jobs=20&priority=BATCH"]);

    let args = ["plan", "erp", "--at", "2026-11-27T18:00:00+01:00", "--json"];
    let never = r#"{"target":"erp","last_start":null,"never":"the target is paused"}"#;
    let (said, requests) = Script::new(&[("200 OK", never)]).run(&args);
    assert_eq!((said.code, said.out), (Some(1), format!("{never}\n")), "{}", said.err);
    assert_eq!(requests, ["GET /v1/targets/erp/plan?jobs=1&at=2026-11-27T17%3A00%3A00Z"]);
    let (said, _) = Script::new(&[("200 OK", never)]).run(&["plan", "erp"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.out.contains("never: the target is paused"), "{}", said.out);
}

#[test]
fn lists_follow_their_pages() {
    let pages = [
        ("200 OK", r#"{"jobs":[{"id":"a","state":"queued"}],"next":"a"}"#),
        ("200 OK", r#"{"jobs":[],"next":"b"}"#),
        ("200 OK", "{\"jobs\":[{\"id\":\"c\",\n\"state\":\"queued\"}],\"next\":null}"),
    ];
    let (said, requests) = Script::new(&pages).run(&["jobs", "list", "--all", "--json"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let lines = "{\"id\":\"a\",\"state\":\"queued\"}\n{\"id\":\"c\", \"state\":\"queued\"}\n";
    assert_eq!(said.out, lines);
    let path = "GET /v1/jobs?limit=500";
    assert_eq!(requests, [path.into(), format!("{path}&after=a"), format!("{path}&after=b")]);

    let args = ["dead", "list", "erp", "--limit", "1"];
    let (said, requests) = Script::new(&pages).run(&args);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.out.lines().count(), 2, "{}", said.out);
    assert!(said.err.contains("--all"), "{}", said.err);
    assert_eq!(requests, ["GET /v1/targets/erp/dead?limit=1"]);

    // A daemon whose cursor stands still does not keep us for ever.
    let still = ("200 OK", r#"{"jobs":[],"next":"x"}"#);
    let (said, requests) = Script::new(&[still, still, still]).run(&["jobs", "list", "--all"]);
    assert_eq!((said.code, requests.len()), (Some(1), 2), "{}", said.err);
}

#[test]
fn purging_asks_or_refuses() {
    let target = ("200 OK", r#"{"name":"erp","dead":12}"#);
    let (said, requests) = Script::new(&[target]).run(&["dead", "purge", "erp"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("12 dead jobs of erp") && said.err.contains("--yes"), "{}", said.err);
    assert_eq!(requests, ["GET /v1/targets/erp"]);

    let purged = ("200 OK", r#"{"purged":12}"#);
    let (said, requests) = Script::new(&[purged]).run(&["dead", "purge", "erp", "--yes"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "12 dead jobs of erp forgotten\n"));
    assert_eq!(requests, ["DELETE /v1/targets/erp/dead"]);
}

#[test]
fn of_several_jobs_each_gets_its_chance() {
    let other = ID.replace("0197", "0198");
    let conflict = ("409 Conflict", r#"{"title":"not dead"}"#);
    let redriven = ("200 OK", r#"{"id":"x","state":"queued","target":"erp","priority":"HIGH"}"#);
    let args = ["dead", "redrive", ID, &other];
    let (said, requests) = Script::new(&[conflict, redriven]).run(&args);
    assert_eq!((said.code, said.out.as_str()), (Some(1), "job x is queued at erp, HIGH\n"));
    assert!(said.err.contains(&format!("job {ID}: not dead (409)")), "{}", said.err);
    assert_eq!(requests.len(), 2);
}
