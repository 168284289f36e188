use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::broker::job::{Header, JobId, Priority, Seat, TargetId};
use crate::broker::time::Wall;

fn record(place: Place, what: Vec<Happening>) -> JobRecord {
    let at = Wall::from_millis(1_900_000_000_000);
    JobRecord {
        header: Header {
            id: JobId(0x0197_a3b0_6d1e_7c55_b1b2_6f5a_4f0c_9e11),
            target: TargetId(1),
            priority: Priority::High,
            seat: Seat(1),
            enqueued_at: at,
            ready_at: at,
            deadline: None,
            attempts: 2,
            spent: 2,
            refusals: 0,
            first_sent_at: None,
            max_attempts: None,
            owed: crate::broker::job::Owed::Nothing,
            course: Default::default(),
            group: None,
            flow: None,
            tag: Default::default(),
            callback: None,
        },
        place,
        history: what.into_iter().map(|what| Event { at, what }).collect(),
    }
}

fn rendered(record: &JobRecord, answer: Option<&Answer>) -> Value {
    let directory = Directory::new([(TargetId(1), "erp".to_owned(), None)]);
    serde_json::to_value(JobJson::new(record, &directory, answer)).unwrap()
}

fn answer(content_type: Option<&str>, body: &'static [u8]) -> Answer {
    Answer {
        status: 200,
        headers: content_type
            .map(|t| ("content-type".to_owned(), Bytes::from(t.to_owned())))
            .into_iter()
            .collect(),
        body: Bytes::from_static(body),
        truncated: false,
        ..Answer::default()
    }
}

fn text_of(answer: &Answer) -> String {
    serde_json::to_string(&ResultJson::new(answer)).unwrap()
}

#[test]
fn an_ended_job_has_the_shape_of_the_contract() {
    let at = Wall::from_millis(1_900_000_001_500);
    let place = Place::Ended { end: End::Succeeded, at };
    let record = record(
        place,
        vec![
            Happening::Enqueued,
            Happening::Sent { attempt: 1, passed_over: 0 },
            Happening::Done { attempt: 1, status: 200 },
        ],
    );
    let mut answer = answer(Some("application/json"), br#"{"ok":true}"#);
    answer.headers.push(("set-cookie".to_owned(), Bytes::from_static(b"a=1")));
    answer.headers.push(("set-cookie".to_owned(), Bytes::from_static(b"b=\xe9")));
    assert_eq!(
        rendered(&record, Some(&answer)),
        json!({
            "id": "0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11",
            "target": "erp",
            "priority": "HIGH",
            "state": "succeeded",
            "attempts": 2,
            "enqueued_at": "2030-03-17T17:46:40.000Z",
            "finished_at": "2030-03-17T17:46:41.500Z",
            "result": {
                "StatusCode": 200,
                "StatusText": "OK",
                "Headers": {
                    "content-type": ["application/json"],
                    "set-cookie": ["a=1", "b=é"],
                },
                "ResponseBody": {"ok": true},
            },
            "history": [
                {"at": "2030-03-17T17:46:40.000Z", "event": "enqueued"},
                {"at": "2030-03-17T17:46:40.000Z", "event": "sent", "attempt": 1},
                {"at": "2030-03-17T17:46:40.000Z", "event": "done", "attempt": 1, "status": 200},
            ],
        })
    );
}

#[test]
fn numbers_of_an_answer_are_not_touched() {
    let exact = br#"{"n":12345678901234567890123, "x":1.10}"#;
    let shown = text_of(&answer(Some("application/problem+json; charset=utf-8"), exact));
    assert!(shown.contains(r#""ResponseBody":{"n":12345678901234567890123, "x":1.10}"#), "{shown}");
}

#[test]
fn a_body_is_json_only_where_it_says_so() {
    let shown = |content_type, body| {
        serde_json::to_value(ResultJson::new(&answer(content_type, body))).unwrap()["ResponseBody"]
            .clone()
    };
    assert_eq!(shown(Some("text/plain"), b"123"), json!("123"));
    assert_eq!(shown(Some("application/json"), b"123"), json!(123));
    assert_eq!(shown(Some("application/json"), b"{oops"), json!("{oops"));
    assert_eq!(shown(Some("application/json"), b""), json!(""));
    assert_eq!(shown(None, b" [1]"), json!([1]));
    assert_eq!(shown(None, b"1"), json!("1"));
}

#[test]
fn what_is_not_text_is_base64_and_a_cut_text_is_text() {
    let binary = text_of(&answer(Some("image/png"), b"\x89PNG\xff"));
    assert!(binary.contains(r#""ResponseBody":"iVBOR/8=","ResponseBodyBase64":true"#), "{binary}");
    let mut cut = answer(Some("text/plain"), "caf\u{e9}".as_bytes());
    cut.body.truncate(4);
    cut.truncated = true;
    let cut = text_of(&cut);
    assert!(cut.ends_with(r#""ResponseBody":"caf","ResponseBodyTruncated":true}"#), "{cut}");
}

#[test]
fn every_end_but_success_has_an_error() {
    let at = Wall::EPOCH;
    let ended = |end| Place::Ended { end, at };
    let rejected = record(ended(End::Failed(Failure::Rejected { status: 404 })), vec![]);
    assert_eq!(
        rendered(&rejected, None)["error"],
        json!({
            "code": "Tollgate.Http.404",
            "message": "the target answered 404 Not Found, which no retry would change",
        })
    );
    let unknown = Happening::Unknown { attempt: 2, status: None, reason: Some("no answer".into()) };
    let exhausted = record(ended(End::Failed(Failure::RetriesExhausted)), vec![unknown]);
    assert_eq!(
        rendered(&exhausted, None)["error"]["message"],
        "given up after 2 attempts; the last: no answer"
    );
    let why = Happening::Cancelled { reason: Some("its caller hung up".into()) };
    let cancelled = record(ended(End::Cancelled), vec![why]);
    assert_eq!(
        rendered(&cancelled, None)["error"],
        json!({"code": "Tollgate.Cancelled", "message": "its caller hung up"})
    );
    let expired = rendered(&record(ended(End::Expired), vec![]), None);
    assert_eq!(expired["error"]["code"], "Tollgate.DeadlineExceeded");
}

#[test]
fn a_job_that_lives_says_when_it_goes_on_and_shows_no_result() {
    let due = Wall::from_millis(1_900_000_060_000);
    let waiting = record(Place::Waiting { due }, vec![]);
    let shown = rendered(&waiting, Some(&answer(None, b"half")));
    assert_eq!(shown["next_attempt_at"], "2030-03-17T17:47:40.000Z");
    assert_eq!(shown["state"], "waiting");
    assert!(shown.get("result").is_none() && shown.get("history").is_none());
    let scheduled = rendered(&record(Place::Scheduled { due }, vec![]), None);
    assert_eq!(scheduled["not_before"], "2030-03-17T17:47:40.000Z");
}

#[test]
fn every_happening_has_its_name() {
    let until = Wall::EPOCH;
    let names: Vec<&str> = [
        Happening::Enqueued,
        Happening::Scheduled { until },
        Happening::Due,
        Happening::Sent { attempt: 1, passed_over: 1 },
        Happening::NotSent { attempt: 1 },
        Happening::Done { attempt: 1, status: 200 },
        Happening::Refused { attempt: 1, status: Some(429), reason: None, until },
        Happening::Rejected { attempt: 1, status: 404 },
        Happening::Unknown { attempt: 1, status: None, reason: None },
        Happening::Waiting { until },
        Happening::PriorityChanged { from: Priority::Batch, to: Priority::High, by: None },
        Happening::Cancelled { reason: None },
        Happening::Expired,
        Happening::Failed { code: String::new() },
        Happening::Redriven { by: None },
    ]
    .into_iter()
    .map(|what| EventJson::new(&Event { at: Wall::EPOCH, what }).event)
    .collect();
    assert_eq!(
        names.join(" "),
        "enqueued scheduled due sent not_sent done refused rejected unknown waiting \
         priority_changed cancelled expired failed redriven"
    );
}
