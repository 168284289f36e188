//! Answers that lie, and what they mean.

use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;

use super::*;
use crate::config::Pointer;

fn seen<'a>(status: u16, headers: &'a HeaderMap, body: &'a str, end: &'a BodyEnd) -> Seen<'a> {
    Seen {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: body.as_bytes(),
        end,
        cut: *end == BodyEnd::Capped,
    }
}

fn rule(when: When, outcome: Outcome) -> Rule {
    Rule { when, outcome }
}

fn pointer(pointer: &str, equals: Option<Vec<serde_json::Value>>) -> When {
    let pointer = Pointer::parse(pointer).unwrap();
    When { body_pointer: Some(PointerTest { pointer, equals }), ..When::default() }
}

fn text(text: &str) -> When {
    When { body_contains: Some(text.into()), ..When::default() }
}

fn header_test(name: &'static str, pattern: Option<&str>) -> When {
    let name = http::HeaderName::from_static(name);
    let header = Some(HeaderTest { name, pattern: pattern.map(str::to_owned) });
    When { header, ..When::default() }
}

#[test]
fn the_first_rule_that_holds_decides_and_then_the_defaults() {
    let rules = [
        rule(When { statuses: vec![200..=200], ..text("<faultcode>") }, Outcome::Rejected),
        rule(pointer("/status", Some(vec![json!("error"), json!(7)])), Outcome::Unknown),
        rule(header_test("content-type", Some("text/html*")), Outcome::Refused),
        rule(When { statuses: vec![409..=409, 500..=599], ..When::default() }, Outcome::Done),
    ];
    let mut html = HeaderMap::new();
    html.insert(CONTENT_TYPE, HeaderValue::from_static("Text/HTML; charset=utf-8"));
    let none = HeaderMap::new();
    let whole = BodyEnd::Whole;
    for (status, headers, body, expected) in [
        (200, &none, "<faultcode>1</faultcode>", (Outcome::Rejected, Because::Rule(0))),
        (201, &none, "<faultcode>", (Outcome::Done, Because::Default)),
        (200, &none, r#"{"status":"error"}"#, (Outcome::Unknown, Because::Rule(1))),
        (200, &none, r#"{"status":7.0}"#, (Outcome::Unknown, Because::Rule(1))),
        (200, &none, r#"{"status":"ok"}"#, (Outcome::Done, Because::Default)),
        (200, &html, "<h1>Log in", (Outcome::Refused, Because::Rule(2))),
        (409, &none, "", (Outcome::Done, Because::Rule(3))),
        (503, &none, "", (Outcome::Done, Because::Rule(3))),
        (302, &none, "", (Outcome::Rejected, Because::Default)),
        (429, &none, "", (Outcome::Refused, Because::Default)),
    ] {
        let found = outcome(&rules, &seen(status, headers, body, &whole));
        assert_eq!(found, expected, "{status} {body}");
    }
}

#[test]
fn what_lies_behind_a_rule_that_cannot_be_told_is_not_guessed() {
    let rules = [rule(pointer("/status", Some(vec![json!("error")])), Outcome::Rejected)];
    let none = HeaderMap::new();
    for end in [BodyEnd::Capped, BodyEnd::Broken("reset".into())] {
        let found = outcome(&rules, &seen(200, &none, r#"{"status":"er"#, &end));
        assert_eq!(found, (Outcome::Unknown, Because::Undecided(0)));
    }
    // What the rest of a text says is not looked for; what was seen is enough.
    let rules = [rule(text("fault"), Outcome::Rejected)];
    let capped = BodyEnd::Capped;
    let found = outcome(&rules, &seen(200, &none, "fault and more", &capped));
    assert_eq!(found, (Outcome::Rejected, Because::Rule(0)));
    assert_eq!(outcome(&rules, &seen(200, &none, "much", &capped)).0, Outcome::Done);
}

#[test]
fn a_success_needs_its_whole_body_by_rule_too() {
    let rules = [rule(When { statuses: vec![500..=500], ..When::default() }, Outcome::Done)];
    let none = HeaderMap::new();
    let broken = BodyEnd::Broken("reset".into());
    let found = outcome(&rules, &seen(500, &none, "x", &broken));
    assert_eq!(found, (Outcome::Unknown, Because::Rule(0)));
}

#[test]
fn values_and_headers_are_compared_as_people_mean_them() {
    let json_holds = |when: &When, body: &str| {
        holds(when, &seen(200, &HeaderMap::new(), body, &BodyEnd::Whole)) == Holds::Yes
    };
    assert!(json_holds(&pointer("/a/0", None), r#"{"a":[false]}"#));
    assert!(!json_holds(&pointer("/a/0", None), r#"{"a":[null]}"#));
    assert!(!json_holds(&pointer("/a", None), "<a>1</a>"));
    assert!(json_holds(&pointer("", Some(vec![json!(true)])), "true"));
    assert!(!json_holds(&pointer("", Some(vec![json!("1")])), "1"));
    for (pattern, text, fits) in [
        ("text/html*", "text/html; charset=utf-8", true),
        ("*html", "text/html", true),
        ("text/html", "text/html; x", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c-b", false),
        ("*", "", true),
        ("a*a", "a", false),
    ] {
        assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
    }
    let mut twice = HeaderMap::new();
    twice.append("x-state", HeaderValue::from_static("ok"));
    twice.append("x-state", HeaderValue::from_static("FAILED"));
    let whole = BodyEnd::Whole;
    let seen = seen(200, &twice, "", &whole);
    assert_eq!(holds(&header_test("x-state", Some("failed")), &seen), Holds::Yes);
    assert_eq!(holds(&header_test("x-state", None), &seen), Holds::Yes);
    assert_eq!(holds(&header_test("x-other", None), &seen), Holds::No);
}
