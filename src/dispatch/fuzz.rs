//! Requests that are made of jobs, and answers of targets: see [`crate::fuzz`].

use std::time::{Duration, UNIX_EPOCH};

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::request::Prepared;
use super::{Outgoing, question, rate_headers, retry_after, status_address};
use crate::broker::course::Aim;
use crate::broker::job::{JobId, Priority};
use crate::broker::payload::Request;
use crate::config::Target;
use crate::http_api::path;
use crate::trace::Recording;

const ID: JobId = JobId(0x0197_a3b0_6d1e_7c55_b1b2_6f5a_4f0c_9e11);

/// What the edge takes in can be sent, below the target's URL, as one head; and so can what asks
/// for its outcome.
pub(crate) fn sendable(target: &Target, request: &Request) {
    let outgoing = |request| Outgoing {
        id: ID,
        attempt: 1,
        priority: Priority::High,
        request,
        aim: &Aim::Work,
        number: 1,
        trace: Recording::Off,
    };
    let asked = question::verify(target, ID, request);
    let asked = asked.unwrap_or_else(|why| panic!("{request:?} cannot be asked for: {why}"));
    for request in [request, &asked] {
        let prepared = Prepared::new(target, &outgoing(request));
        let prepared = prepared.unwrap_or_else(|why| panic!("{request:?} cannot be sent: {why}"));
        for built in [prepared.http1(), prepared.http2()] {
            let path = built.uri().path_and_query().map_or("", |path| path.as_str());
            assert!(path.starts_with("/base/"), "{path:?} left the base");
            assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?}");
            for (name, value) in built.headers() {
                let lone = value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
                assert!(!lone, "{name}: {value:?}");
            }
            for once in ["content-length", "idempotency-key", "tollgate-job-id"] {
                assert!(built.headers().get_all(once).iter().count() <= 1, "{once} twice");
            }
            assert!(!built.headers().contains_key("transfer-encoding"));
        }
    }
}

/// Paths, and where an answer says that its work is told of: nothing leaves the base.
pub fn paths(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // A line of what was asked, and one of what was answered.
    let (requested, given) = text.split_once('\n').unwrap_or(("/orders?x=1", text));
    let base = Uri::from_static("http://erp.example/base");
    for path in [requested, given] {
        if path::check(path).is_ok() {
            stays(path);
        }
    }
    if path::check(requested).is_ok()
        && let Ok(below) = status_address::resolve(&base, requested, given)
    {
        assert_eq!(path::check(&below), Ok(()), "{below:?}");
        stays(&below);
    }
}

/// However often it is decoded, and whatever parts its segments: it stays where it is.
fn stays(path: &str) {
    assert!(path.starts_with('/') && !path.starts_with("//"), "{path:?}");
    let path = path.split('?').next().unwrap_or_default();
    let once: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    // Encoded twice it may be there: it is for who decodes twice to know why.
    assert!(!once.iter().any(u8::is_ascii_control), "{path:?}");
    stays_decoded(path, &once);
    let twice: Vec<u8> = percent_encoding::percent_decode(&once).collect();
    stays_decoded(path, &twice);
}

fn stays_decoded(path: &str, decoded: &[u8]) {
    let mut depth = 0_i64;
    for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        match segment {
            b".." => depth -= 1,
            b"" | b"." => {}
            _ => depth += 1,
        }
        assert!(depth >= 0, "{path:?} leads up");
    }
}

/// `Retry-After`, one value a line, the first one being the answer's `Date`.
pub fn retry_after(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').take(8).enumerate() {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(if index == 0 { DATE } else { RETRY_AFTER }, value);
        }
    }
    for now in [UNIX_EPOCH, UNIX_EPOCH + Duration::from_secs(1_769_846_400)] {
        if let Some(wait) = retry_after::retry_after(&headers, now) {
            assert!(wait <= retry_after::LONGEST, "{wait:?}");
            assert!(headers.contains_key(RETRY_AFTER));
        }
    }
}

/// The head of an answer, `Name: value` a line. What it says of a limit holds nobody up for longer
/// than a year, and lines that say nothing change nothing.
pub fn rate_limit(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    for now in [UNIX_EPOCH, UNIX_EPOCH + Duration::from_secs(1_769_846_400)] {
        let (hint, pause) = (rate_headers::hint(&headers, now), rate_headers::pause(&headers, now));
        if let Some(hint) = &hint {
            assert!(hint.reset_in <= retry_after::LONGEST, "{hint:?}");
        }
        assert!(pause.is_none_or(|pause| pause <= retry_after::LONGEST), "{pause:?}");
        let says = |name: &HeaderName| {
            ["limit", "quota", "retry", "remaining", "reset"]
                .iter()
                .any(|w| name.as_str().contains(w))
        };
        if !headers.keys().any(says) {
            assert_eq!((hint, pause), (None, None), "out of nothing: {headers:?}");
        }
        let mut more = headers.clone();
        more.insert("x-nothing", HeaderValue::from_static("100;r=0;t=9"));
        assert_eq!(rate_headers::hint(&more, now), hint);
        assert_eq!(rate_headers::pause(&more, now), pause);
    }
}
