//! Headers that a target's requests get. Their values are secrets: no error shows any of one.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::bounds;
use super::table::Table;

/// What Tollgate itself sets (CONTRACT section 5, "What a target receives").
const OURS: [&str; 3] = ["idempotency-key", "traceparent", "tracestate"];

/// What belongs to the connection and the message's framing (RFC 9110, sections 7.2, 7.6.1, 8.6
/// and 10.1.1; RFC 9112, section 6), which the HTTP client sets from the request.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn headers(table: &Table<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut count = 0;
    for (key, value) in table.entries() {
        count += 1;
        let (name, in_file) = match key.strip_suffix("_file") {
            Some(name) => (name, true),
            None => (key, false),
        };
        let name = match header_name(name) {
            Ok(name) => name,
            Err(message) => {
                table.report_name(key, message);
                continue;
            }
        };
        if headers.contains_key(&name) {
            let message = format!(
                "the header {name} is set twice (the case of letters, and _file, make no difference); keep one"
            );
            table.report_name(key, message);
            continue;
        }
        let item = table.item(value);
        let value = if in_file {
            item.secret_file(bounds::HEADER_VALUE)
        } else {
            item.secret("the header's value in quotes")
        };
        // A placeholder for one that is wrong, so that a second one of its name is noticed.
        let value = value.and_then(|value| header_value(&value)).unwrap_or_else(|message| {
            table.report(key, message);
            HeaderValue::from_static("")
        });
        headers.append(name, value);
    }
    if count > bounds::HEADERS {
        table.report_self(format!("{count} headers; at most {} are allowed", bounds::HEADERS));
    }
    headers
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        "not a header's name; one is made of letters, digits and -, like \"X-Api-Key\"".to_owned()
    })?;
    if FRAMING.contains(&name.as_str()) {
        return Err(format!("{name} follows from the request and its connection; remove it"));
    }
    if OURS.contains(&name.as_str()) || name.as_str().starts_with("tollgate-") {
        return Err(format!("tollgate sets {name} itself, for each attempt; remove it"));
    }
    Ok(name)
}

/// A field value (RFC 9110, section 5.5) in ASCII.
fn header_value(text: &str) -> Result<HeaderValue, String> {
    if text.is_empty() {
        return Err("the value is empty".to_owned());
    }
    if text.len() > bounds::HEADER_VALUE {
        return Err(format!("the value is too long; at most {} bytes", bounds::HEADER_VALUE));
    }
    if text.contains(['\r', '\n']) {
        return Err("the value holds a line break; a header has one line".to_owned());
    }
    if text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']) {
        return Err("the value begins or ends with a space, which HTTP would drop".to_owned());
    }
    if !text.is_ascii() {
        return Err("the value holds a character that is not ASCII".to_owned());
    }
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| "the value holds a control character".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}
