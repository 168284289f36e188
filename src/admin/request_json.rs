//! The request of a job as people may see it: whole, but for what looks like a secret.

use base64::Engine;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::broker::payload::{HeaderLine, Request};

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RequestJson {
    #[schema(example = "POST")]
    method: String,
    /// Values of query parameters that look like secrets are `[redacted]`.
    #[schema(example = "/orders?dry_run=1")]
    path: String,
    /// In the order in which they are sent, without those that the target's configuration adds.
    headers: Vec<HeaderJson>,
    /// JSON where the body is JSON, else its text; neither this nor `body_base64` where it is
    /// empty.
    #[schema(value_type = Option<serde_json::Value>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
    /// The body where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    idempotency_key: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct HeaderJson {
    #[schema(example = "content-type")]
    name: String,
    /// `[redacted]` for credentials and what looks like them.
    value: String,
}

const REDACTED: &str = "[redacted]";

impl RequestJson {
    pub(super) fn new(request: Request) -> RequestJson {
        let is_json = request.headers.iter().any(|(name, value)| {
            name == "content-type" && std::str::from_utf8(value).is_ok_and(is_json_type)
        });
        let (body, body_base64) = body(&request.body, is_json);
        RequestJson {
            method: request.method,
            path: path(&request.path),
            headers: request.headers.iter().map(header).collect(),
            body,
            body_base64,
            idempotency_key: request.idempotency_key,
        }
    }
}

/// `application/json`, `text/json` and whatever ends in `+json` (RFC 6839).
fn is_json_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

fn body(bytes: &[u8], is_json: bool) -> (Option<Box<RawValue>>, Option<String>) {
    if bytes.is_empty() {
        return (None, None);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return (None, Some(base64::engine::general_purpose::STANDARD.encode(bytes)));
    };
    // As it came, so that long numbers and the order of keys stay as they are.
    let json = is_json.then(|| RawValue::from_string(text.trim().to_owned()).ok()).flatten();
    (json.or_else(|| serde_json::value::to_raw_value(text).ok()), None)
}

fn header((name, value): &HeaderLine) -> HeaderJson {
    let value = if is_secret(name) {
        REDACTED.to_owned()
    } else {
        String::from_utf8_lossy(value).into_owned()
    };
    HeaderJson { name: name.clone(), value }
}

fn path(path: &str) -> String {
    let Some((before, query)) = path.split_once('?') else { return path.to_owned() };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(&decoded(name)) => format!("{name}={REDACTED}"),
        _ => pair.to_owned(),
    });
    format!("{before}?{}", pairs.collect::<Vec<_>>().join("&"))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Better one too many: who looks at a job seldom needs these, and never needs to leak them.
fn is_secret(name: &str) -> bool {
    const TELLING: [&str; 12] = [
        "auth",
        "cookie",
        "token",
        "secret",
        "password",
        "passwd",
        "credential",
        "signature",
        "session",
        "apikey",
        "accesskey",
        "privatekey",
    ];
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    TELLING.iter().any(|telling| plain.contains(telling)) || plain == "sig"
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;

    fn shown(content_type: &str, body: &'static [u8]) -> Value {
        let request = Request {
            method: "POST".into(),
            path: "/orders?x=1&api%5Fkey=hush&sig=hush&y".into(),
            headers: vec![
                ("content-type".into(), Bytes::copy_from_slice(content_type.as_bytes())),
                ("authorization".into(), Bytes::from_static(b"Bearer hush")),
                ("cookie".into(), Bytes::from_static(b"hush=1")),
                ("x-api-key".into(), Bytes::from_static(b"hush")),
                ("x-amz-security-token".into(), Bytes::from_static(b"hush")),
                ("x-odd".into(), Bytes::from_static(b"caf\xe9")),
            ],
            body: Bytes::from_static(body),
            idempotency_key: Some("k".into()),
            live: false,
            task_token: None,
        };
        serde_json::to_value(RequestJson::new(request)).unwrap()
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = shown("text/plain", b"hello");
        assert!(!shown.to_string().contains("hush"), "{shown}");
        assert_eq!(shown["path"], "/orders?x=1&api%5Fkey=[redacted]&sig=[redacted]&y");
        assert_eq!(shown["headers"][1], json!({"name": "authorization", "value": "[redacted]"}));
        assert_eq!(shown["headers"][5]["value"], "caf\u{fffd}");
    }

    #[test]
    fn a_body_is_json_text_or_base64() {
        let read = shown("application/problem+json; charset=utf-8", br#" {"n": 1} "#);
        assert_eq!(read["body"], json!({"n": 1}));
        assert!(read.get("body_base64").is_none());
        let raw = RequestJson::new(Request {
            headers: vec![("content-type".into(), Bytes::from_static(b"application/json"))],
            body: Bytes::from_static(br#"{"n": 123456789012345678901234567890}"#),
            ..Request::default()
        });
        let text = serde_json::to_string(&raw).unwrap();
        assert!(text.contains(r#""body":{"n": 123456789012345678901234567890}"#), "{text}");

        assert_eq!(shown("application/json", b"{oops")["body"], "{oops");
        assert_eq!(shown("text/plain", b"{}")["body"], "{}");
        let binary = shown("application/json", b"\xff\x00");
        assert_eq!((&binary["body_base64"], binary.get("body")), (&json!("/wA="), None));
        let empty = shown("application/json", b"");
        assert_eq!((empty.get("body"), empty.get("body_base64")), (None, None));
    }
}
