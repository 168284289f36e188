use super::*;
use crate::broker::job::TargetId;
use crate::sources::fake;

const NOW: u64 = 1_900_000_000_000;

fn submit(json: &str) -> Result<Submission, Problem> {
    validate(NewJob::parse(json.as_bytes())?, &fake::directory(), Wall::from_millis(NOW), JobId(7))
}

fn accepted(json: &str) -> Submission {
    submit(json).unwrap_or_else(|problem| panic!("{json}: {}", problem.detail()))
}

fn lines(request: &Request) -> Vec<String> {
    let text = |(name, value): &HeaderLine| format!("{name}: {}", String::from_utf8_lossy(value));
    request.headers.iter().map(text).collect()
}

#[test]
fn a_target_is_enough() {
    let job = accepted(r#"{"target":"erp"}"#);
    assert_eq!((job.id, job.target, job.priority), (JobId(7), TargetId(1), Priority::Normal));
    assert_eq!((job.not_before, job.deadline, job.max_attempts), (None, None, None));
    assert_eq!(job.dedup, None);
    let expected = Request { method: "POST".into(), path: "/".into(), ..Request::default() };
    assert_eq!(*job.request, expected);
}

#[test]
fn everything_at_once() {
    let job = accepted(
        r#"{"target":"erp","priority":"high","method":"PUT","path":"/orders?x=1",
            "headers":{"X-Trace":["a","b"],"Accept":"*/*"},
            "query":{"q":"a b&c","n":1.50,"f":[true,"ü"]},
            "body":{"n": 1.10 },"dedup_id":"order-1","delay":"30s",
            "deadline":"2030-03-17T18:00:00Z","max_attempts":3,"delivery":"at-least-once"}"#,
    );
    assert_eq!(job.priority, Priority::High);
    assert_eq!(job.request.method, "PUT");
    assert_eq!(job.request.path, "/orders?x=1&q=a%20b%26c&n=1.50&f=true&f=%C3%BC");
    assert_eq!(
        lines(&job.request),
        ["x-trace: a", "x-trace: b", "accept: */*", "content-type: application/json"]
    );
    assert_eq!(job.request.body, r#"{"n": 1.10 }"#);
    assert_eq!(job.request.idempotency_key.as_deref(), Some("order-1"));
    assert_eq!(job.dedup.map(|dedup| dedup.name).as_deref(), Some("order-1"));
    assert_eq!(job.not_before, Some(Wall::from_millis(NOW + 30_000)));
    assert_eq!(job.max_attempts, Some(3));
    assert!(job.deadline.is_some() && !job.request.live);
}

#[test]
fn bytes_and_content_types() {
    let job = accepted(r#"{"target":"erp","body_base64":"AP8="}"#);
    assert_eq!(job.request.body.as_ref(), b"\x00\xff");
    assert_eq!(lines(&job.request), [""; 0]);
    let job = accepted(r#"{"target":"erp","body_base64":"AP8=","content_type":"image/png"}"#);
    assert_eq!(lines(&job.request), ["content-type: image/png"]);
    let job = accepted(r#"{"target":"erp","body":"x","headers":{"Content-Type":"text/json"}}"#);
    assert_eq!(lines(&job.request), ["content-type: text/json"]);
    assert_eq!(job.request.body, r#""x""#);
}

#[test]
fn query_joins_what_the_path_has() {
    for (path, joined) in
        [("/a", "/a?k=v"), ("/a?", "/a?k=v"), ("/a?b", "/a?b&k=v"), ("/a?b&", "/a?b&k=v")]
    {
        let job = accepted(&format!(r#"{{"target":"erp","path":"{path}","query":{{"k":"v"}}}}"#));
        assert_eq!(job.request.path, joined);
    }
}

#[test]
fn the_callers_own_key_goes_before_the_dedup_id() {
    let job = accepted(r#"{"target":"erp","dedup_id":"d","headers":{"Idempotency-Key":"mine"}}"#);
    assert_eq!(job.request.idempotency_key.as_deref(), Some("mine"));
    assert_eq!(lines(&job.request), [""; 0]);
}

#[test]
fn each_bad_input_is_named() {
    let long = "x".repeat(257);
    let table = [
        (r#"{}"#.to_owned(), 422, "target"),
        (r#"{"target":"epr"}"#.into(), 404, "target"),
        (r#"{"target":5}"#.into(), 422, "target"),
        (r#"{"target":"erp","priority":"urgent"}"#.into(), 422, "priority"),
        (r#"{"target":"erp","content_type":" "}"#.into(), 422, "content_type"),
        (r#"{"target":"erp","method":"GE T"}"#.into(), 422, "method"),
        (r#"{"target":"erp","method":""}"#.into(), 422, "method"),
        (r#"{"target":"erp","method":"post"}"#.into(), 422, "method"),
        (r#"{"target":"erp","method":"CONNECT"}"#.into(), 422, "method"),
        (r#"{"target":"erp","method":"trace"}"#.into(), 422, "method"),
        (format!(r#"{{"target":"erp","method":"{long}"}}"#), 422, "method"),
        (r#"{"target":"erp","path":"http://evil/"}"#.into(), 422, "path"),
        (r#"{"target":"erp","path":"/a/../b"}"#.into(), 422, "path"),
        (r#"{"target":"erp","path":"/a\r\nX: y"}"#.into(), 422, "path"),
        (r#"{"target":"erp","headers":{"X":"a\r\nY: b"}}"#.into(), 422, "headers.X"),
        (r#"{"target":"erp","headers":{"X":"a\u0000"}}"#.into(), 422, "headers.X"),
        (r#"{"target":"erp","headers":{"X Y":"a"}}"#.into(), 422, "headers.X Y"),
        (r#"{"target":"erp","headers":{"X\r\nY":"a"}}"#.into(), 422, "headers.X\\r\\nY"),
        (r#"{"target":"erp","headers":{"":"a"}}"#.into(), 422, "headers."),
        (r#"{"target":"erp","headers":{"Host":"a"}}"#.into(), 422, "headers.Host"),
        (r#"{"target":"erp","headers":{"content-length":"1"}}"#.into(), 422, "headers.content-"),
        (r#"{"target":"erp","headers":{"Tollgate-Attempt":"1"}}"#.into(), 422, "headers.Tollgate"),
        (r#"{"target":"erp","headers":{"X":1}}"#.into(), 422, "headers.X"),
        (r#"{"target":"erp","headers":{"X":["a",null]}}"#.into(), 422, "headers.X"),
        (r#"{"target":"erp","headers":{"idempotency-key":["a","b"]}}"#.into(), 422, "headers.id"),
        (r#"{"target":"erp","query":{"a":{}}}"#.into(), 422, "query.a"),
        (r#"{"target":"erp","query":{"a":null}}"#.into(), 422, "query.a"),
        (format!(r#"{{"target":"erp","query":{{"a":"{}"}}}}"#, "x".repeat(9000)), 422, "query"),
        (
            format!(r#"{{"target":"erp","headers":{{"a":"{}"}}}}"#, "x".repeat(40_000)),
            422,
            "headers",
        ),
        (r#"{"target":"erp","body":1,"body_base64":""}"#.into(), 422, "body"),
        (r#"{"target":"erp","body_base64":"*"}"#.into(), 422, "body_base64"),
        (r#"{"target":"erp","content_type":"a\nb"}"#.into(), 422, "content_type"),
        (
            r#"{"target":"erp","content_type":"a","headers":{"content-type":"b"}}"#.into(),
            422,
            "content_type",
        ),
        (r#"{"target":"erp","max_attempts":0}"#.into(), 422, "max_attempts"),
        (r#"{"target":"erp","max_attempts":-1}"#.into(), 422, "max_attempts"),
        (r#"{"target":"erp","max_attempts":1001}"#.into(), 422, "max_attempts"),
        (r#"{"target":"erp","max_attempts":4294967297}"#.into(), 422, "max_attempts"),
        (r#"{"target":"erp","dedup_id":""}"#.into(), 422, "dedup_id"),
        (r#"{"target":"erp","dedup_id":"a b"}"#.into(), 422, "dedup_id"),
        (r#"{"target":"erp","dedup_id":"ü"}"#.into(), 422, "dedup_id"),
        (format!(r#"{{"target":"erp","dedup_id":"{long}"}}"#), 422, "dedup_id"),
        (r#"{"target":"erp","delay":"1s","not_before":"x"}"#.into(), 422, "delay"),
        (r#"{"target":"erp","deadline":"2001-01-01T00:00:00Z"}"#.into(), 422, "deadline"),
        (r#"{"target":"erp","delivery":"verify"}"#.into(), 422, "delivery"),
        (r#"{"target":"erp","delivery":"twice"}"#.into(), 422, "delivery"),
        (r#"{"target":"erp","task_token":"t"}"#.into(), 422, "task_token"),
        (r#"{"target":"erp","task_token":7}"#.into(), 422, "task_token"),
        (r#"{"target":"erp","group":""}"#.into(), 422, "group"),
        (r#"{"target":"erp","fairness_key":"a\u0000"}"#.into(), 422, "fairness_key"),
        (r#"{"target":"erp","callback":{"u":1}}"#.into(), 422, "callback"),
        (r#"{"target":"erp","callback":"ordres"}"#.into(), 422, "callback"),
        (r#"{"target":"erp","taget":"x"}"#.into(), 422, "taget"),
    ];
    for (json, status, field) in table {
        let problem = submit(&json).expect_err(&json);
        assert_eq!(problem.kind().status(), status, "{json}");
        let named = problem.detail().contains(&format!("`{field}"))
            || (status == 404 && problem.detail().contains("`erp`"));
        assert!(named, "{json}: {}", problem.detail());
    }
}

#[test]
fn a_task_token_needs_step_functions_and_is_never_shown() {
    let with_token = |token: &str, configured| {
        let json = format!(r#"{{"target":"erp","task_token":"{token}"}}"#);
        let directory = fake::directory().with_step_functions(configured);
        let job = NewJob::parse(json.as_bytes()).unwrap();
        validate(job, &directory, Wall::from_millis(NOW), JobId(7))
    };
    let job = with_token("secret", true).unwrap();
    assert_eq!(job.request.task_token, TaskToken::new("secret"));
    let unanswerable = with_token("secret", false).unwrap_err();
    assert_eq!(unanswerable.kind().status(), 422);
    assert!(unanswerable.detail().contains("[step_functions]"), "{}", unanswerable.detail());
    let long = "secret".repeat(342);
    for (token, configured) in [("", true), (long.as_str(), true), (long.as_str(), false)] {
        let problem = with_token(token, configured).unwrap_err();
        assert_eq!(problem.kind().status(), 422);
        assert!(problem.detail().contains("`task_token`"), "{}", problem.detail());
        assert!(!problem.detail().contains("secret"), "{}", problem.detail());
    }
    // The longest that there is.
    assert!(with_token(&long[..2048], true).is_ok());
}

#[test]
fn another_payload_has_another_digest() {
    let of = |json: &str| accepted(json).dedup.unwrap().digest;
    let first = of(r#"{"target":"erp","dedup_id":"d","path":"/a","headers":{"x":"1","y":"2"}}"#);
    let same = of(r#"{"target":"erp","dedup_id":"d","path":"/a","headers":{"Y":"2","X":"1"}}"#);
    assert_eq!(first, same, "the order of headers tells nothing");
    for other in [
        r#"{"target":"erp","dedup_id":"d","path":"/b","headers":{"x":"1","y":"2"}}"#,
        r#"{"target":"erp","dedup_id":"d","path":"/a","headers":{"x":"2","y":"1"}}"#,
        r#"{"target":"erp","dedup_id":"d","path":"/a","headers":{"x":"1"}}"#,
        r#"{"target":"erp","dedup_id":"d","path":"/a","method":"PUT","headers":{"x":"1","y":"2"}}"#,
        r#"{"target":"erp","dedup_id":"d","path":"/a","body_base64":"AA==","headers":{"x":"1","y":"2"}}"#,
    ] {
        assert_ne!(first, of(other), "{other}");
    }
}
