//! A template filled in with what a job brings. No value can leave the place it was given: each is
//! percent-encoded, and what comes out is read again and compared with what was meant.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::pointer;
use crate::broker::job::JobId;
use crate::broker::payload::Request;
use crate::config::{Part, Pointer, Template};
use crate::http_api::path;

/// What RFC 3986 leaves unreserved stays as it is.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Of one value, in bytes; the whole path has a limit of its own.
const LONGEST: usize = 1_024;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfilled {
    #[error("the body has no text, number or boolean at {0}")]
    Missing(Pointer),
    #[error("the value for {{{0}}} is empty")]
    Empty(String),
    #[error("the value for {{{0}}} is longer than {LONGEST} bytes")]
    TooLong(String),
    #[error("the values lead to no path below the target's url: it {0}")]
    Path(String),
}

/// The path that `template` means for this job.
pub(crate) fn fill(template: &Template, id: JobId, request: &Request) -> Result<String, Unfilled> {
    let mut filled = String::new();
    // Where every value is this one, the path has the same shape.
    let mut shape = String::new();
    for part in template.parts() {
        let (name, value) = match part {
            Part::Literal(text) => {
                filled.push_str(text);
                shape.push_str(text);
                continue;
            }
            Part::IdempotencyKey => {
                let key = request.idempotency_key.clone().unwrap_or_else(|| id.to_string());
                ("idempotency_key".to_owned(), key)
            }
            Part::JobId => ("job_id".to_owned(), id.to_string()),
            Part::Body(pointer) => {
                let found = pointer::find(&request.body, pointer).and_then(pointer::scalar);
                let value = found.ok_or_else(|| Unfilled::Missing(pointer.clone()))?;
                (format!("body:{pointer}"), value)
            }
        };
        if value.is_empty() {
            return Err(Unfilled::Empty(name));
        }
        if value.len() > LONGEST {
            return Err(Unfilled::TooLong(name));
        }
        filled.extend(utf8_percent_encode(&value, VALUE));
        shape.push('x');
    }
    path::check(&filled).map_err(|error| Unfilled::Path(error.to_string()))?;
    let parsed = http::uri::PathAndQuery::try_from(filled.as_str());
    let same = parsed.is_ok_and(|parsed| parsed.as_str() == filled);
    if !same || outline(&filled) != outline(&shape) {
        return Err(Unfilled::Path("is read in another way than it was meant".to_owned()));
    }
    Ok(filled)
}

/// How many segments, whether there is a query, how many pairs it has.
fn outline(path: &str) -> (usize, Option<usize>) {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    (path.split('/').count(), query.map(|query| query.split(['&', ';', '=', '?']).count()))
}

/// Whether any job could fill it in.
///
/// # Errors
/// Ends a sentence that begins with the template.
pub(crate) fn check(template: &Template) -> Result<(), String> {
    let mut shape = String::new();
    for part in template.parts() {
        match part {
            Part::Literal(text) => shape.push_str(text),
            _ => shape.push('x'),
        }
    }
    path::check(&shape).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn fill_in(template: &str, body: &str, key: Option<&str>) -> Result<String, Unfilled> {
        let request = Request {
            body: Bytes::copy_from_slice(body.as_bytes()),
            idempotency_key: key.map(str::to_owned),
            ..Request::default()
        };
        fill(&Template::parse(template).unwrap(), JobId(7), &request)
    }

    #[test]
    fn values_go_where_they_belong() {
        let body = r#"{"order":{"id":"A 1/ä?&#%","n":12345678901234567890123,"ok":true}}"#;
        let job = "00000000-0000-0000-0000-000000000007";
        assert_eq!(fill_in("/o/{job_id}", "", None).unwrap(), format!("/o/{job}"));
        assert_eq!(fill_in("/o/{idempotency_key}", "", None).unwrap(), format!("/o/{job}"));
        assert_eq!(fill_in("/o/{idempotency_key}", "", Some("k:1")).unwrap(), "/o/k%3A1");
        assert_eq!(
            fill_in("/o/{body:/order/id}/x?n={body:/order/n}&ok={body:/order/ok}", body, None)
                .unwrap(),
            "/o/A%201%2F%C3%A4%3F%26%23%25/x?n=12345678901234567890123&ok=true"
        );
    }

    #[test]
    fn no_value_leaves_its_place() {
        for value in ["..", ".", "../admin", "a/../../b", "..\\\\x", "%2e%2e/..", "a/./b", "..;x"] {
            let body = format!(r#"{{"id":"{value}"}}"#);
            let filled = fill_in("/orders/{body:/id}", &body, None);
            // An encoded % is data, and stays so.
            let harmless = value.starts_with('%');
            assert!(matches!(filled, Err(Unfilled::Path(_))) || harmless, "{value}: {filled:?}");
        }
        for value in ["a/b", "?x=1", "#x", "a&b=c", "x\\r\\ny", "①②", "//evil.example", "@evil"]
        {
            let body = format!(r#"{{"id":"{value}"}}"#);
            match fill_in("/orders/{body:/id}?v={body:/id}", &body, None) {
                Ok(path) => {
                    assert_eq!(path.matches('/').count(), 2, "{path}");
                    assert_eq!(path.matches(['?', '&', '=', '#']).count(), 2, "{path}");
                }
                Err(Unfilled::Path(_)) => {}
                Err(other) => panic!("{value}: {other}"),
            }
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let says = |body: &str| fill_in("/o/{body:/id}", body, None).unwrap_err().to_string();
        for body in ["", "[]", "{}", r#"{"id":null}"#, r#"{"id":{}}"#, "{\"id\":"] {
            assert_eq!(says(body), "the body has no text, number or boolean at /id", "{body}");
        }
        assert_eq!(says(r#"{"id":""}"#), "the value for {body:/id} is empty");
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(2_000));
        assert!(says(&long).contains("longer than 1024 bytes"));
    }

    #[test]
    fn a_template_that_leads_nowhere_is_no_template() {
        let checked = |text: &str| check(&Template::parse(text).unwrap());
        assert_eq!(checked("/orders/{job_id}"), Ok(()));
        for text in ["orders/{job_id}", "/a/../{job_id}", "/a b", "//x", "/a#{job_id}"] {
            assert!(checked(text).is_err(), "{text}");
        }
    }
}
