//! What is said of answers of every kind.

use super::*;
use crate::config::parse;

const ERP: &str = r#"
[targets.erp]
url = "https://erp.example/api"
limit.rate = "10/s"
delivery = "verify"
[targets.erp.response]
rules = [
  { status = "200", body_contains = "<faultcode>", outcome = "rejected" },
  { status = "2xx", body_pointer = "/status", body_equals = ["error", 7], outcome = "unknown" },
  { status = "200", header = "content-type: text/html*", outcome = "refused" },
]
[targets.erp.verify]
path = "/orders/{idempotency_key}"
done = ["200", "3xx"]
not_done = { status = "404", body_contains = "no such order" }
[targets.erp.completion]
poll = "/links/status"
done = { status = "200", body_pointer = "/state", body_equals = "finished" }
failed = [{ body_pointer = "/state", body_equals = "failed" }, "410"]
"#;

/// Outcome, rule, state and code.
fn said(
    question: Option<Question>,
    status: u16,
    header: Option<&str>,
    body: &str,
) -> (&'static str, Option<usize>, &'static str, Option<String>) {
    let config = parse(ERP, std::path::Path::new("t.toml"), &|_| None).unwrap();
    let target = &config.targets["erp"];
    let mut headers = HeaderMap::new();
    if let Some(value) = header {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
    }
    let aim = match question {
        None => Aim::Work,
        Some(Question::Verify) => Aim::Verify,
        Some(Question::Poll) => Aim::Poll { path: String::new() },
    };
    let status = StatusCode::from_u16(status).unwrap();
    let body = body.as_bytes();
    let answer = Imagined { status, headers: &headers, body, path: "/orders" };
    let meaning = means(target, &aim, &answer).unwrap();
    let follows = match aim {
        Aim::Work => after_work(target, Delivery::Verify, status, &meaning),
        Aim::Verify => after_verify(target, &meaning),
        Aim::Poll { .. } => after_poll(target, Delivery::AtMostOnce, status, &meaning),
    };
    (word(&meaning), meaning.rule, follows.state, follows.code)
}

#[test]
fn an_attempt_s_answer() {
    let of = |status, body: &str| said(None, status, None, body);
    let code = |code: &str| Some(code.to_owned());
    assert_eq!(of(200, "fine"), ("done", None, "succeeded", None));
    let fault = "<faultcode>x</faultcode>";
    assert_eq!(of(200, fault), ("rejected", Some(1), "failed", code("Tollgate.Http.200")));
    assert_eq!(of(201, r#"{"status":"error"}"#), ("unknown", Some(2), "verifying", None));
    assert_eq!(of(302, ""), ("rejected", None, "failed", code("Tollgate.Http.302")));
    assert_eq!(of(429, ""), ("refused", None, "waiting", None));
    assert_eq!(of(500, ""), ("unknown", None, "verifying", None));
    let page = said(None, 200, Some("text/html; charset=utf-8"), "<h1>Log in</h1>");
    assert_eq!(page, ("refused", Some(3), "waiting", None));
    let accepted = r#"{"links":{"status":"status/7"}}"#;
    assert_eq!(of(202, accepted), ("accepted", None, "verifying", None));
    assert_eq!(of(202, "{}"), ("accepted", None, "verifying", None), "astray, and it can be asked");
    let long = format!(r#"{{"pad":"{}"}}"#, "x".repeat(300 * 1024));
    assert_eq!(of(200, &long), ("unknown", Some(2), "verifying", None), "the end is not seen");
}

#[test]
fn a_question_s_answer() {
    let code = |code: &str| Some(code.to_owned());
    let verify = |status, body: &str| said(Some(Question::Verify), status, None, body);
    assert_eq!(verify(303, ""), ("done", None, "succeeded", None));
    assert_eq!(verify(404, "no such order"), ("not_done", None, "waiting", None));
    assert_eq!(verify(404, "not found"), ("unknown", None, "verifying", None));
    assert_eq!(verify(503, ""), ("refused", None, "verifying", None));
    let poll = |status, body: &str| said(Some(Question::Poll), status, None, body);
    assert_eq!(poll(200, r#"{"state":"finished"}"#), ("done", None, "succeeded", None));
    let failed = ("rejected", None, "failed", code("Tollgate.Http.200"));
    assert_eq!(poll(200, r#"{"state":"failed"}"#), failed);
    assert_eq!(poll(200, r#"{"state":"busy"}"#), ("pending", None, "verifying", None));
    assert_eq!(poll(410, ""), ("rejected", None, "failed", code("Tollgate.Http.410")));
    assert_eq!(poll(404, ""), ("unknown", None, "verifying", None));
}
