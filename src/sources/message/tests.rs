use super::*;
use crate::sources::fake::directory;

const NOW: Wall = Wall::EPOCH;

fn understand_as(body: &[u8], origin: Origin<'_>) -> Submission {
    let message = Message { body, target: ("erp", TargetId(1)), priority: Priority::Batch, origin };
    message.understand(&directory(), NOW, JobId(7))
}

fn understand(body: &str) -> Submission {
    let origin = Origin::Sqs { message_id: "m-1", dedup_id: None, group: None };
    understand_as(body.as_bytes(), origin)
}

fn token(job: &Submission) -> Option<&str> {
    job.request.task_token.as_ref().map(TaskToken::reveal)
}

#[track_caller]
fn good(body: &str) -> Submission {
    let job = understand(body);
    assert_eq!(job.unfit, None, "{body}");
    job
}

fn fault(body: &str) -> String {
    let job = understand(body);
    assert_eq!(job.request.body, body.as_bytes(), "a dead job keeps the bytes");
    job.unfit.expect(body)
}

#[test]
fn every_word_has_its_place() {
    let job = good(
        r#"{"TaskToken":"T1","Method":"PUT","Path":"/orders/7","Headers":{"X-A":"1","X-B":["2","3"]},
            "QueryParameters":{"q":"a b","n":[1,true]},"RequestBody":{"n": 1.10},
            "Priority":"high","DedupId":"d-1","Delay":"30s","Deadline":"1970-01-02T00:00:00Z"}"#,
    );
    assert_eq!((job.id, job.target, job.priority), (JobId(7), TargetId(1), Priority::High));
    assert_eq!(job.request.method, "PUT");
    assert_eq!(job.request.path, "/orders/7?q=a%20b&n=1&n=true");
    assert_eq!(&job.request.body[..], br#"{"n": 1.10}"#);
    let headers: Vec<_> = job.request.headers.iter().map(|(n, v)| (n.as_str(), &v[..])).collect();
    assert_eq!(
        headers,
        [("x-a", &b"1"[..]), ("x-b", b"2"), ("x-b", b"3"), ("content-type", b"application/json"),]
    );
    assert_eq!(job.request.idempotency_key.as_deref(), Some("d-1"));
    assert_eq!(token(&job), Some("T1"));
    assert_eq!(job.not_before, Some(Wall::from_millis(30_000)));
    assert_eq!(job.deadline, Some(Wall::from_millis(86_400_000)));
}

#[test]
fn without_a_request_body_the_message_is_forwarded_less_its_token() {
    let job = good(r#"{ "b": 1.50, "TaskToken": "T1", "a\n": [ 1 ,2] }"#);
    assert_eq!(&job.request.body[..], br#"{"b":1.50,"a\n":[ 1 ,2]}"#);
    assert_eq!((job.request.method.as_str(), job.request.path.as_str()), ("POST", "/"));
    assert_eq!((token(&job), job.priority), (Some("T1"), Priority::Batch));
    assert_eq!(&good("{}").request.body[..], b"{}");
    assert_eq!(&good(r#"{"TaskToken":null}"#).request.body[..], b"{}");
    let job = good(r#"{"Path":"/orders","Priority":"HIGH","order":7}"#);
    assert_eq!(&job.request.body[..], br#"{"Path":"/orders","Priority":"HIGH","order":7}"#);
    assert_eq!((job.request.path.as_str(), job.priority), ("/orders", Priority::High));
}

#[test]
fn a_request_of_words_alone_has_no_body() {
    for body in [
        r#"{"TaskToken":"T","Method":"GET","Path":"/orders/7"}"#,
        r#"{"Method":"GET","Path":"/orders/7","RequestBody":null}"#,
    ] {
        let job = good(body);
        assert!(job.request.body.is_empty() && job.request.headers.is_empty(), "{body}");
    }
}

#[test]
fn a_string_is_json_unless_its_content_type_says_otherwise() {
    let body = |kind: &str| {
        let text =
            format!(r#"{{"Headers":{{"Content-Type":"{kind}"}},"RequestBody":"<a b=\"1\"/>"}}"#);
        String::from_utf8(good(&text).request.body.to_vec()).unwrap()
    };
    assert_eq!(body("text/xml; charset=utf-8"), r#"<a b="1"/>"#);
    assert_eq!(body("application/json"), r#""<a b=\"1\"/>""#);
    assert_eq!(body("application/problem+json"), r#""<a b=\"1\"/>""#);
}

#[test]
fn what_cannot_be_understood_says_why_in_the_words_of_the_message() {
    for (body, why) in [
        ("", "the message is not a JSON object"),
        ("nonsense", "the message is not a JSON object"),
        ("[1]", "expected an object"),
        ("\"x\"", "expected an object"),
        (r#"{"RequestBody":1,"Prioriy":"HIGH"}"#, "did you mean `Priority`?"),
        (r#"{"RequestBody":1,"ApiEndpoint":"https://x"}"#, "has no `ApiEndpoint`"),
        (r#"{"Path":"orders"}"#, "`Path` must begin with `/`"),
        (r#"{"Path":"/a/../b"}"#, "`Path` must not have a segment"),
        (r#"{"Path":5}"#, "`Path` must be a string"),
        (r#"{"Path":"/a","Path":"/b"}"#, "`Path` is there twice"),
        (r#"{"Method":"post"}"#, "`Method` is `post`"),
        (r#"{"Headers":[]}"#, "`Headers` must be an object"),
        (r#"{"Headers":{"Host":"x"}}"#, "`Headers.Host` is set by Tollgate"),
        (r#"{"Headers":{"X":{}}}"#, "`Headers.X` must be a string"),
        (r#"{"QueryParameters":{"x":{}}}"#, "`QueryParameters.x` must be"),
        (r#"{"Priority":"urgent"}"#, "`Priority` is `urgent`"),
        (r#"{"DedupId":"a b"}"#, "`DedupId` must have"),
        (r#"{"Group":""}"#, "`Group` must have 1 to 128 bytes"),
        (r#"{"FairnessKey":7}"#, "`FairnessKey` must be a string"),
        (r#"{"Delay":"soon"}"#, "`Delay` is `soon`"),
        (r#"{"Deadline":"tomorrow"}"#, "`Deadline` is `tomorrow`"),
        (r#"{"Delay":"2h","Deadline":"1970-01-01T01:00:00Z"}"#, "`Deadline` is 1970"),
        (r#"{"TaskToken":5}"#, "`TaskToken` must be a string"),
        (r#"{"TaskToken":""}"#, "`TaskToken` must have 1 to 2048"),
    ] {
        let fault = fault(body);
        assert!(fault.contains(why), "{body}: {fault}");
    }
}

#[test]
fn a_bad_message_still_has_its_token_if_it_can_be_read() {
    for body in [
        r#"{"TaskToken":"T1","Path":"orders"}"#,
        r#"{"TaskToken":"T0","TaskToken":"T1"}"#,
        r#"{"TaskToken" : "T1","Path":"/ord"#,
        r#"{"Path":"/x" "TaskToken":"T1"}"#,
        r#"{"TaskToken":"\u00541"}}"#,
    ] {
        let job = understand(body);
        assert!(job.unfit.is_some(), "{body}");
        assert_eq!(token(&job), Some("T1"), "{body}");
    }
    for body in [r#"{"TaskToken":"T1"#, r#"{"TaskToken":T1}"#, r#"{"TaskToken""#, "TaskToken"] {
        assert_eq!(token(&understand(body)), None, "{body}");
    }
}

#[test]
fn a_delivery_is_told_by_its_message_and_its_token_together() {
    let name = |id, body: &str| {
        let origin = Origin::Sqs { message_id: id, dedup_id: None, group: None };
        let dedup = understand_as(body.as_bytes(), origin).dedup.unwrap();
        assert!(dedup.name.contains(' '), "no caller's own key is like it");
        assert_eq!(dedup.keep, KEEP);
        assert!(!dedup.name.contains("T1"));
        (dedup.name, dedup.digest)
    };
    let one = r#"{"TaskToken":"T1"}"#;
    assert_eq!(name("m-1", one), name("m-1", one));
    assert_ne!(name("m-1", one).0, name("m-2", one).0);
    assert_ne!(name("m-1", one).0, name("m-1", r#"{"TaskToken":"T2"}"#).0);
    assert_eq!(name("m-1", "{").0, name("m-1", "{").0, "bad messages too");
}

#[test]
fn a_delivery_stays_the_same_when_its_deadline_has_passed() {
    let body = br#"{"TaskToken":"T1","Deadline":"2030-01-01T00:00:00Z"}"#;
    let at = |now| {
        let origin = Origin::Sqs { message_id: "m-1", dedup_id: None, group: None };
        let message =
            Message { body, target: ("erp", TargetId(1)), priority: Priority::High, origin };
        message.understand(&directory(), now, JobId(1))
    };
    let deadline = Wall::from_millis(1_893_456_000_000);
    let (early, late) = (at(Wall::from_millis(1_893_000_000_000)), at(deadline));
    assert_eq!(early.deadline, Some(deadline));
    assert_eq!(early.dedup, late.dedup);
    // Late is not bad: it expires, and is never sent before it does.
    assert_eq!(late.unfit, None);
    assert!(late.deadline.unwrap() > deadline && late.not_before.unwrap() > late.deadline.unwrap());
}

#[test]
fn a_dedup_id_is_the_callers_own_key_and_never_swallows_a_token() {
    let dedup = |body| good(body).dedup.unwrap();
    let plain = dedup(r#"{"DedupId":"d","RequestBody":1}"#);
    assert_eq!((plain.name.as_str(), plain.keep), ("d", Dedup::KEEP));
    let one = dedup(r#"{"DedupId":"d","RequestBody":1,"TaskToken":"T1"}"#);
    let two = dedup(r#"{"DedupId":"d","RequestBody":1,"TaskToken":"T2"}"#);
    assert_ne!(one.name, two.name);
    assert_eq!(one.digest, two.digest);
}

#[test]
fn a_fifo_queues_dedup_id_is_the_idempotency_key() {
    let origin = Origin::Sqs { message_id: "m-1", dedup_id: Some("f-1"), group: None };
    let job = understand_as(b"{}", origin);
    assert_eq!(job.request.idempotency_key.as_deref(), Some("f-1"));
    let origin = Origin::Sqs { message_id: "m-1", dedup_id: Some("f-1"), group: None };
    let job = understand_as(br#"{"DedupId":"d-1"}"#, origin);
    assert_eq!(job.request.idempotency_key.as_deref(), Some("d-1"));
}

#[test]
fn an_activitys_token_comes_from_the_api() {
    let origin = || Origin::Activity { token: TaskToken::new("A").unwrap() };
    let job = understand_as(br#"{"TaskToken":"other","x":1}"#, origin());
    assert_eq!((token(&job), job.dedup.as_ref()), (Some("A"), None));
    assert_eq!(&job.request.body[..], br#"{"x":1}"#);
    let job = understand_as(b"nonsense", origin());
    assert_eq!(token(&job), Some("A"));
    assert!(job.unfit.is_some());
}

/// Pieces of messages put together at random, always the same way: nothing panics, and a job is
/// either good or keeps the bytes.
#[test]
fn random_damage_is_survived() {
    const PIECES: [&str; 30] = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\\u0000",
        "\u{0}",
        "ü",
        "null",
        "1e999",
        "-",
        "true",
        "\"TaskToken\"",
        "\"TaskToken\":\"T\"",
        "\"Method\":\"GET\"",
        "\"Path\":\"/\"",
        "\"Path\":\"/%zz\"",
        "\"Headers\":{\"a\":\"b\"}",
        "\"QueryParameters\":{\"\":\"\"}",
        "\"RequestBody\":{}",
        "\"Priority\":\"HIGH\"",
        "\"DedupId\":\"d\"",
        "\"Group\":\"g\"",
        "\"Deadline\":\"9999-12-31T23:59:59Z\"",
        "\"Delay\":\"99999999999999999999s\"",
        " ",
        "\n",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    let mut fit = 0;
    for round in 0..20_000 {
        let mut text: String = (0..below(12)).map(|_| PIECES[below(PIECES.len())]).collect();
        if round % 2 == 0 {
            let pairs: Vec<&str> =
                (0..below(6)).map(|_| PIECES[16 + below(PIECES.len() - 18)]).collect();
            text = format!("{{{}}}", pairs.join(","));
        }
        let mut bytes = text.into_bytes();
        if round % 7 == 0 && !bytes.is_empty() {
            let at = below(bytes.len());
            bytes[at] ^= 0x80;
        }
        let origin = Origin::Sqs { message_id: "m", dedup_id: None, group: None };
        let job = understand_as(&bytes, origin);
        match job.unfit {
            Some(reason) => assert!(!reason.is_empty() && job.request.body == bytes),
            None => fit += 1,
        }
    }
    assert!(fit > 100, "only {fit} were good: the pieces test nothing");
    let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let _ = understand(&deep);
}
