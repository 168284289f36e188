//! What is said, and to whom.

use std::path::Path;

use serde_json::{Value, json};

use super::message::message;
use crate::broker::callback::{Callback, CallbackName, Telling};
use crate::broker::job::{End, Event, Failure, Happening, JobId, Place};
use crate::broker::payload::Answer;
use crate::broker::time::Wall;
use crate::config::{self, Config};
use crate::sources::fake;
use crate::store::JobRecord;

fn record(end: End, history: Vec<Happening>) -> JobRecord {
    let at = Wall::from_millis(1_900_000_000_000);
    let mut record = fake::record(JobId(7), Place::Ended { end, at });
    let name = CallbackName::new("orders").unwrap();
    record.header.callback =
        Some(Box::new(Callback { name, ends: 2, telling: Telling::Owed { since: at } }));
    record.history = history.into_iter().map(|what| Event { at, what }).collect();
    record
}

fn said(record: &JobRecord, answer: Option<&Answer>, max_body: usize) -> Value {
    let ended = Wall::from_millis(1_900_000_000_000);
    let body = message(record, ended, &fake::directory(), answer, max_body);
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn a_success_is_told_as_the_jobs_api_shows_it() {
    let record = record(End::Succeeded, vec![Happening::Enqueued]);
    let answer = Answer { status: 200, body: "{\"n\":1}".into(), ..Answer::default() };
    let said = said(&record, Some(&answer), 100);
    assert_eq!(said["type"], "job.succeeded");
    assert_eq!(said["timestamp"], "2030-03-17T17:46:40.000Z");
    let data = &said["data"];
    assert_eq!(
        (&data["id"], &data["state"]),
        (&json!(record.header.id.to_string()), &json!("succeeded"))
    );
    assert_eq!(data["result"]["ResponseBody"], json!({"n": 1}));
    for hidden in ["history", "callback"] {
        assert!(data.get(hidden).is_none(), "{hidden}");
    }
}

#[test]
fn a_failure_says_why_and_a_long_answer_is_cut() {
    let rejected = End::Failed(Failure::Rejected { status: 404 });
    let record = record(rejected, Vec::new());
    let answer = Answer { status: 404, body: "{\"n\":12345}".into(), ..Answer::default() };
    let said = said(&record, Some(&answer), 4);
    assert_eq!(said["type"], "job.failed");
    assert_eq!(said["data"]["error"]["code"], "Tollgate.Http.404");
    assert_eq!(said["data"]["result"]["ResponseBody"], "{\"n\"");
    assert_eq!(said["data"]["result"]["ResponseBodyTruncated"], true);
}

#[test]
fn each_end_of_a_job_has_a_message_id_of_its_own_without_a_full_stop() {
    let record = record(End::Succeeded, Vec::new());
    let callback = record.header.callback.as_ref().unwrap();
    let id = callback.message_id(record.header.id);
    assert_eq!(id, format!("job_{}_2", record.header.id));
    assert!(!id.contains('.'));
}

fn configured(folder: &Path, secret: &str, more: &str) -> Result<Config, String> {
    std::fs::write(folder.join("secret"), secret).unwrap();
    let text = format!(
        "[targets.erp]\nurl = \"http://erp\"\nlimit.rate = \"1/s\"\n[callbacks.orders]\n\
         secret_file = \"secret\"\n{more}"
    );
    config::parse(&text, &folder.join("t.toml"), &|_| None).map_err(|errors| errors.to_string())
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn a_callback_is_read_and_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let both = format!("{SECRET}\n \twhsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n");
    let url = "url = \"https://h.example/hook/?code=hush\"\nheaders = { X-Key = \"hush\" }\n";
    let config = configured(folder.path(), &both, url).unwrap();
    let callback = &config.callbacks[&CallbackName::new("orders").unwrap()];
    assert_eq!(callback.secrets.len(), 2);
    assert_eq!(callback.url, "https://h.example/hook/?code=hush");
    assert_eq!(callback.shown_url(), "https://h.example/hook/");
    let shown = format!("{config:?}");
    for hidden in ["hush", "MfKQ", "C2FV"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    for (url, path) in [("http://h", "/"), ("http://h?a=1", "/?a=1"), ("http://h/a", "/a")] {
        let config = configured(folder.path(), SECRET, &format!("url = \"{url}\"")).unwrap();
        let callback = config.callbacks.values().next().unwrap();
        assert_eq!(callback.url.path_and_query().unwrap().to_string(), path, "{url}");
    }
}

#[test]
fn what_is_wrong_with_a_callback_is_told_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let url = "url = \"https://h.example/\"\n";
    for (secret, more, why) in [
        ("", url, "the file is empty"),
        ("hush", url, "begins with whsec_"),
        ("whsec_hush!", url, "is not base64"),
        ("whsec_aHVzaA==", url, "24 to 64 bytes"),
        (SECRET, "", "missing"),
        (SECRET, "url = \"https://u:hush@h/\"", "a user name or password"),
        (SECRET, "url = \"https://h/?hush #\"", "a character that none can"),
        (SECRET, "url = \"ftp://h/?hush\"", "not supported"),
        (SECRET, "url = \"http://127.0.0.1:7070/\"", "where tollgate itself listens"),
        (SECRET, "url = \"http://h\"\nheaders = { Webhook-Id = \"hush\" }", "webhook-id itself"),
        (SECRET, "url = \"http://h\"\nmin_backoff = \"2h\"", "more than max_backoff"),
        (SECRET, "url = \"http://h\"\nsecret = \"hush\"", "unknown key"),
    ] {
        let fault = configured(folder.path(), secret, more).expect_err(why);
        assert!(fault.contains(why) && !fault.contains("hush"), "{why}: {fault}");
    }
    let odd = format!("{url}[callbacks.\"a b\"]\n{url}secret_file = \"secret\"\n");
    let fault = configured(folder.path(), SECRET, &odd).unwrap_err();
    assert!(fault.contains("not a callback's name"), "{fault}");
}
