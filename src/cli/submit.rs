//! `tollgate submit`: one job in, and its end where that is waited for.

use std::io::Read;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::args::SubmitArgs;
use super::client::{Answer, Client};
use super::error::CliError;
use super::terminal::complain;
use super::values::{HeaderArg, is_json, written};
use super::wire::{Job, one_line};
use super::{Outside, ages, timeline};

/// Of a body, in bytes; what a daemon takes ([server] max_body) is far less.
const LARGEST_BODY: u64 = 64 * 1024 * 1024;

/// What POST /v1/jobs takes, as far as the command line can say it.
#[derive(Debug, Serialize)]
struct NewJob<'a> {
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<&'static str>,
    method: String,
    path: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    headers: Map<String, Value>,
    #[serde(flatten)]
    body: Body<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedup_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fairness_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
struct Body<'a> {
    /// Verbatim: long numbers and the order of keys stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
}

impl<'a> Body<'a> {
    /// JSON where it is JSON and nobody calls it something else; else the bytes it is.
    /// `content_type` is its own argument's, `header` the one among the headers.
    fn new(bytes: &[u8], content_type: Option<&'a str>, header: Option<&str>) -> Body<'a> {
        let called = content_type.or(header);
        let may_be_json = called.is_none_or(is_json);
        let json = may_be_json.then(|| serde_json::from_slice::<Box<RawValue>>(bytes).ok());
        match json.flatten() {
            // To the daemon a field that is null is one that is not there.
            Some(json) if json.get() == "null" => {
                let content_type = called.map_or(Some("application/json"), |_| content_type);
                Body { body: None, body_base64: Some(STANDARD.encode("null")), content_type }
            }
            Some(json) => Body { body: Some(json), body_base64: None, content_type },
            None => Body { body: None, body_base64: Some(STANDARD.encode(bytes)), content_type },
        }
    }
}

pub(super) async fn submit(args: &SubmitArgs, outside: &mut Outside) -> Result<(), CliError> {
    let data = args.data.as_deref().map(read_data).transpose()?;
    let job = new_job(args, data.as_deref(), jiff::Timestamp::now())?;
    let client = outside.client(&args.at.url.0)?;
    let answer = client.post("/v1/jobs", Some(job)).await?;
    let job: Job = answer.read()?;
    let Some(patience) = args.wait else {
        return print(outside, args.format.json, &answer, timeline::accepted);
    };
    if !args.format.json {
        complain(&format!("{}; waiting for its end", timeline::accepted(&job).trim_end()));
    }
    let answer = wait_for_end(&client, &job.id, patience).await?;
    let now = jiff::Timestamp::now();
    let paint = outside.terminal.paint;
    print(outside, args.format.json, &answer, |job| timeline::show(job, now, paint))?;
    let job: Job = answer.read()?;
    if job.succeeded() {
        return Ok(());
    }
    Err(CliError::Failed(if job.is_final() {
        format!("job {} {}", job.id, job.state)
    } else {
        let waited = ages::short(patience.unwrap_or_default());
        format!("job {} is still {} after {waited}; it goes on without us", job.id, job.state)
    }))
}

fn print(
    outside: &mut Outside,
    json: bool,
    answer: &Answer,
    show: impl FnOnce(&Job) -> String,
) -> Result<(), CliError> {
    if json {
        outside.terminal.print(&one_line(answer.text()))
    } else {
        outside.terminal.print(&show(&answer.read()?))
    }
}

/// The body of the request to the daemon.
fn new_job(
    args: &SubmitArgs,
    data: Option<&[u8]>,
    now: jiff::Timestamp,
) -> Result<String, CliError> {
    let (method, path) = match args.request.as_slice() {
        [path] => ("POST".to_owned(), path),
        [method, path, ..] => (method_of(method)?, path),
        [] => return Err(CliError::Usage("a PATH is needed".into())),
    };
    if !path.starts_with('/') {
        return Err(CliError::Usage(format!(
            "PATH must begin with a /, as in: tollgate submit {} {method} /orders",
            args.target
        )));
    }
    let content_type = args.content_type.as_deref();
    let header =
        args.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-type"));
    let header = header.map(|header| header.value.as_str());
    if content_type.is_some() && data.is_none() {
        return Err(CliError::Usage("--content-type speaks of --data, and there is none".into()));
    }
    if content_type.is_some() && header.is_some() {
        return Err(CliError::Usage("--content-type is also among the --header".into()));
    }
    let deadline = args.deadline.as_ref().map(|deadline| deadline.rfc_3339(now)).transpose();
    let job = NewJob {
        target: args.target.as_str(),
        priority: args.priority.map(crate::broker::job::Priority::as_str),
        method,
        path,
        headers: headers(&args.headers),
        body: data.map(|data| Body::new(data, content_type, header)).unwrap_or_default(),
        dedup_id: args.dedup_id.as_deref(),
        group: args.group.as_deref(),
        fairness_key: args.fairness_key.as_deref(),
        callback: args.callback.as_deref(),
        delay: args.delay.map(written),
        deadline: deadline.map_err(CliError::Usage)?,
        max_attempts: args.max_attempts,
        delivery: args.delivery.map(crate::broker::course::Delivery::as_str),
    };
    serde_json::to_string(&job)
        .map_err(|error| CliError::Failed(format!("the job cannot be written as JSON: {error}")))
}

/// Methods are case-sensitive (RFC 9110, 9.1); a known one in small letters is a slip.
fn method_of(text: &str) -> Result<String, CliError> {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    if let Some(known) = KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(text)) {
        return Ok(known.to_owned());
    }
    match http::Method::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(CliError::Usage(format!(
            "{text:?} is no method; the order is TARGET [METHOD] PATH"
        ))),
    }
}

/// A name that is there several times has its values in an array.
pub(super) fn headers(args: &[HeaderArg]) -> Map<String, Value> {
    let mut headers = Map::new();
    for HeaderArg { name, value } in args {
        let value = Value::from(value.as_str());
        let known = headers.keys().find(|other| other.eq_ignore_ascii_case(name)).cloned();
        match known.and_then(|known| headers.get_mut(&known)) {
            None => drop(headers.insert(name.clone(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
    }
    headers
}

/// The text itself, `@FILE`, or `-` (and `@-`) for standard input.
pub(super) fn read_data(data: &str) -> Result<Vec<u8>, CliError> {
    let (what, source): (String, Box<dyn Read>) = match data {
        "-" | "@-" => ("standard input".into(), Box::new(std::io::stdin())),
        _ => match data.strip_prefix('@') {
            None => return Ok(data.as_bytes().to_vec()),
            Some(file) => match std::fs::File::open(file) {
                Ok(opened) => (file.into(), Box::new(opened)),
                Err(error) => return Err(CliError::Read { what: file.into(), error }),
            },
        },
    };
    let mut bytes = Vec::new();
    match source.take(LARGEST_BODY + 1).read_to_end(&mut bytes) {
        Err(error) => Err(CliError::Read { what, error }),
        Ok(read) if read as u64 > LARGEST_BODY => Err(CliError::Failed(format!(
            "{what} has more than the {} MiB that a body can have here",
            LARGEST_BODY / (1024 * 1024)
        ))),
        Ok(_) => Ok(bytes),
    }
}

/// Asks again and again, each time for as long as a proxy between us is likely to bear. Gives back
/// the job as it is when it has ended or `patience` is over.
///
/// The job is durable, so a daemon that is away for a while is waited for.
#[expect(
    clippy::disallowed_methods,
    reason = "a poll of a daemon that answers too soon or is away"
)]
async fn wait_for_end(
    client: &Client,
    id: &str,
    patience: Option<Duration>,
) -> Result<Answer, CliError> {
    const ONE_TURN: Duration = Duration::from_secs(20);
    /// A daemon that answers at once is not asked in a tight loop.
    const PAUSE: Duration = Duration::from_millis(500);
    const AWAY_AT_MOST: Duration = Duration::from_secs(60);

    let begun = Instant::now();
    let mut away_since = None;
    loop {
        let left = patience.map(|patience| patience.saturating_sub(begun.elapsed()));
        let turn = left.map_or(ONE_TURN, |left| left.min(ONE_TURN));
        let asked = Instant::now();
        let path = format!("/v1/jobs/{}?wait={}", super::values::encode(id), written(turn));
        match client.get_slowly(&path, turn).await {
            Ok(answer) => {
                away_since = None;
                let is_over = patience.is_some_and(|patience| begun.elapsed() >= patience);
                if is_over || answer.read::<Job>()?.is_final() {
                    return Ok(answer);
                }
            }
            Err(error) => {
                let away = *away_since.get_or_insert(asked);
                let is_over = patience.is_some_and(|patience| begun.elapsed() >= patience);
                if !error.may_pass() || is_over || away.elapsed() >= AWAY_AT_MOST {
                    complain(&format!("job {id} was accepted; its end is not known here"));
                    return Err(error);
                }
            }
        }
        let left = patience.map(|patience| patience.saturating_sub(begun.elapsed()));
        let pause = PAUSE.saturating_sub(asked.elapsed());
        tokio::time::sleep(left.map_or(pause, |left| pause.min(left))).await;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::args::{Cli, Command};
    use crate::cli::error::Exit;

    fn made(argv: &[&str], data: Option<&[u8]>) -> Result<Value, CliError> {
        let argv = ["tollgate", "submit"].iter().chain(argv);
        let Command::Submit(args) = Cli::try_parse_from(argv).unwrap().command else {
            panic!("not a submit");
        };
        let now = "2026-01-31T08:00:00Z".parse().unwrap();
        new_job(&args, data, now).map(|job| serde_json::from_str(&job).unwrap())
    }

    #[test]
    fn what_is_not_said_is_left_to_the_daemon() {
        let job = made(&["erp", "/orders"], None).unwrap();
        assert_eq!(job, json!({"target": "erp", "method": "POST", "path": "/orders"}));
    }

    #[test]
    fn everything_can_be_said() {
        let argv = [
            "erp",
            "put",
            "/orders/7?x=1",
            "-p",
            "high",
            "--delay",
            "1m",
            "--deadline",
            "1h",
            "--dedup-id",
            "d",
            "--group",
            "g",
            "--fairness-key",
            "f",
            "--callback",
            "orders",
            "--max-attempts",
            "3",
            "-H",
            "X-A: 1",
            "--header",
            "X-B:2",
            "-H",
            "x-a: 3",
            "-H",
            "x-a:",
        ];
        let expected = json!({
            "target": "erp", "method": "PUT", "path": "/orders/7?x=1", "priority": "HIGH",
            "delay": "60s", "deadline": "2026-01-31T09:00:00.000Z", "dedup_id": "d",
            "group": "g", "fairness_key": "f", "callback": "orders", "max_attempts": 3, "headers": {"X-A": ["1", "3", ""], "X-B": "2"}, "body": {"n": 1},
        });
        assert_eq!(made(&argv, Some(b"{\"n\":1}")).unwrap(), expected);
    }

    #[test]
    fn json_goes_verbatim_and_all_else_as_bytes() {
        let body = |bytes: &[u8], kind, header| {
            serde_json::to_string(&Body::new(bytes, kind, header)).unwrap()
        };
        let plain = |bytes: &[u8]| body(bytes, None, None);
        let long = "{\"b\":1,\"a\":123456789012345678901234567890}";
        assert_eq!(plain(format!(" {long}\n").as_bytes()), format!("{{\"body\":{long}}}"));
        assert_eq!(plain(b"{oops"), r#"{"body_base64":"e29vcHM="}"#);
        assert_eq!(plain(b"\xff"), r#"{"body_base64":"/w=="}"#);
        assert_eq!(plain(b""), r#"{"body_base64":""}"#);
        assert_eq!(
            body(b"12", Some("text/plain"), None),
            r#"{"body_base64":"MTI=","content_type":"text/plain"}"#
        );
        assert_eq!(body(b"12", None, Some("text/plain")), r#"{"body_base64":"MTI="}"#);
        assert_eq!(
            body(b"12", Some("application/x+json"), None),
            r#"{"body":12,"content_type":"application/x+json"}"#
        );
        // To the daemon a field that is null is one that is not there.
        let null = r#"{"body_base64":"bnVsbA==","content_type":"application/json"}"#;
        assert_eq!(plain(b" null "), null);
        assert_eq!(body(b"null", None, Some("a/x+json")), r#"{"body_base64":"bnVsbA=="}"#);
    }

    #[test]
    fn slips_are_usage_errors() {
        for argv in [
            &["erp", "GET"][..],
            &["erp", "orders"],
            &["erp", "GE T", "/"],
            &["erp", "/orders", "GET"],
            &["erp", "/", "--content-type", "a/b", "--data", "", "-H", "Content-Type: a/b"],
            &["erp", "/", "--content-type", "text/plain"],
            &["erp", "/", "--deadline", "9999999999d"],
        ] {
            let error = made(argv, None).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{argv:?}: {error}");
        }
    }

    #[test]
    fn data_comes_from_where_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("body");
        std::fs::write(&file, b"\x00\xff").unwrap();
        let argument = format!("@{}", file.display());
        assert_eq!(read_data(&argument).unwrap(), b"\x00\xff");
        assert_eq!(read_data("text").unwrap(), b"text");
        let error = read_data("@/nowhere/at-all").unwrap_err();
        assert!(error.to_string().starts_with("cannot read /nowhere/at-all: "), "{error}");
        assert_eq!(error.exit(), Exit::Failed);
    }
}
