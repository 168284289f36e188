//! What a proxied request asks of the broker, and what of it goes on to the target.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::prefer::Prefer;
use crate::broker::fair::FlowKey;
use crate::broker::group::GroupName;
use crate::broker::job::Priority;
use crate::broker::payload::{HeaderLine, TaskToken};
use crate::broker::time::Wall;
use crate::http_api::fields::{nearest, shown};
use crate::http_api::headers::{is_framing, is_ours, nominated, single};
use crate::http_api::problem::{Kind, Problem};
use crate::http_api::submission::{check_key, flow, group, task_token};
use crate::http_api::when::{Schedule, Times};

#[derive(Clone, Debug)]
pub(super) struct Wishes {
    pub(super) priority: Priority,
    pub(super) key: Option<String>,
    pub(super) schedule: Schedule,
    pub(super) prefer: Prefer,
    pub(super) task_token: Option<TaskToken>,
    pub(super) group: Option<GroupName>,
    pub(super) flow: Option<FlowKey>,
    /// As it was written.
    pub(super) callback: Option<String>,
}

const PRIORITY: &str = "Tollgate-Priority";
const DELAY: &str = "Tollgate-Delay";
const DEADLINE: &str = "Tollgate-Deadline";
const KEY: &str = "Idempotency-Key";
pub(super) const TASK_TOKEN: &str = "Tollgate-Task-Token";
const GROUP: &str = "Tollgate-Group";
const FLOW: &str = "Tollgate-Fairness-Key";
pub(super) const CALLBACK: &str = "Tollgate-Callback";
/// What another Tollgate adds, whose target this one is.
const FROM_ANOTHER: [&str; 3] = ["Tollgate-Job-Id", "Tollgate-Attempt", "Tollgate-Attempts"];

impl Wishes {
    pub(super) fn read(headers: &HeaderMap, now: Wall) -> Result<Wishes, Problem> {
        for name in headers.keys().filter(|name| is_ours(name)) {
            check_known(name)?;
        }
        let priority = value(headers, PRIORITY)?.map_or(Ok(Priority::default()), |text| {
            text.parse().map_err(|error| {
                Problem::invalid(PRIORITY, format_args!("is `{}`: {error}", shown(text)))
            })
        })?;
        let key = value(headers, KEY)?;
        if let Some(key) = key {
            check_key(KEY, key)?;
        }
        let schedule = Times {
            delay: (DELAY, value(headers, DELAY)?),
            not_before: (DELAY, None),
            deadline: (DEADLINE, value(headers, DEADLINE)?),
        }
        .schedule(now)?;
        Ok(Wishes {
            priority,
            key: key.map(str::to_owned),
            schedule,
            prefer: Prefer::read(headers),
            task_token: value(headers, TASK_TOKEN)?
                .map(|text| task_token(TASK_TOKEN, text))
                .transpose()?,
            group: value(headers, GROUP)?.map(|name| group(GROUP, name)).transpose()?,
            flow: value(headers, FLOW)?.map(|key| flow(FLOW, key)).transpose()?,
            callback: value(headers, CALLBACK)?.map(str::to_owned),
        })
    }
}

/// A slip in a name must not quietly mean the default.
fn check_known(name: &HeaderName) -> Result<(), Problem> {
    let is = |known: &&str| name.as_str().eq_ignore_ascii_case(known);
    let known = [PRIORITY, DELAY, DEADLINE, TASK_TOKEN, GROUP, FLOW, CALLBACK];
    if known.iter().chain(&FROM_ANOTHER).any(is) {
        return Ok(());
    }
    let hint = nearest(name.as_str(), known)
        .map_or_else(|| known.join(", "), |near| format!("did you mean `{near}`?"));
    let detail = format!("there is no header `{name}`; {hint}");
    Err(Problem::new(Kind::UnknownField, detail).with("field", name.as_str()))
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else { return Ok(None) };
    let value = single(headers, &parsed)
        .map_err(|_| Problem::invalid(name, "is there twice; which one counts?"))?;
    value
        .map(|value| value.to_str().map(str::trim))
        .transpose()
        .map_err(|_| Problem::invalid(name, "must be visible ASCII"))
}

/// The caller's end-to-end headers, less those that were for the broker.
pub(super) fn to_pass_on(parts: &Parts, prefer: &Prefer) -> Vec<HeaderLine> {
    let connection = parts.headers.get_all(http::header::CONNECTION).iter();
    let nominated = nominated(connection.map(http::HeaderValue::as_bytes));
    let mut lines: Vec<HeaderLine> = parts
        .headers
        .iter()
        .filter(|(name, _)| !is_framing(name) && !is_ours(name))
        .filter(|(name, _)| !matches!(name.as_str(), "idempotency-key" | "prefer"))
        .filter(|(name, _)| !nominated.iter().any(|other| other == name.as_str()))
        // A copy, because a piece would keep the connection's whole buffer.
        .map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes())))
        .collect();
    if !prefer.others.is_empty() {
        lines.push(("prefer".to_owned(), Bytes::from(prefer.others.join(", "))));
    }
    lines
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn read(headers: &[(&str, &str)]) -> Result<Wishes, Problem> {
        Wishes::read(&parts(headers).headers, Wall::from_millis(1_900_000_000_000))
    }

    #[test]
    fn wishes_are_read() {
        let wishes = read(&[
            ("tollgate-priority", "high"),
            ("idempotency-key", "\"k-1\""),
            ("tollgate-delay", "1m"),
            ("tollgate-deadline", "2030-03-17T18:00:00Z"),
            ("tollgate-job-id", "of another"),
            ("tollgate-task-token", "secret"),
            ("prefer", "respond-async"),
        ])
        .unwrap();
        assert_eq!(wishes.priority, Priority::High);
        assert_eq!(wishes.key.as_deref(), Some("\"k-1\""));
        assert_eq!(wishes.schedule.not_before, Some(Wall::from_millis(1_900_000_060_000)));
        assert_eq!(wishes.task_token, TaskToken::new("secret"));
        assert!(!format!("{wishes:?}").contains("secret"));
        assert!(wishes.schedule.deadline.is_some() && wishes.prefer.respond_async);
    }

    #[test]
    fn wishes_that_make_no_sense_are_named() {
        for (name, value, shown) in [
            ("tollgate-priority", "urgent", "`Tollgate-Priority`"),
            ("tollgate-priority", "h\u{f6}ch", "`Tollgate-Priority`"),
            ("tollgate-priorty", "HIGH", "did you mean `Tollgate-Priority`?"),
            ("tollgate-x", "1", "`tollgate-x`"),
            ("tollgate-task-token", "t\u{f6}", "`Tollgate-Task-Token`"),
            ("tollgate-group", "", "`Tollgate-Group` must have"),
            ("tollgate-delay", "soon", "`Tollgate-Delay`"),
            ("tollgate-deadline", "1999-01-01T00:00:00Z", "`Tollgate-Deadline`"),
            ("idempotency-key", "", "`Idempotency-Key`"),
            ("idempotency-key", "a b", "`Idempotency-Key`"),
        ] {
            let problem = read(&[(name, value)]).expect_err(name);
            assert_eq!(problem.kind().status(), 422, "{name}");
            assert!(problem.detail().contains(shown), "{name}: {}", problem.detail());
        }
        let twice = read(&[("tollgate-priority", "HIGH"), ("tollgate-priority", "BATCH")]);
        assert!(twice.unwrap_err().detail().contains("twice"));
    }

    #[test]
    fn only_end_to_end_headers_go_on() {
        let parts = parts(&[
            ("host", "localhost"),
            ("connection", "keep-alive, x-hop"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("x-hop", "1"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("tollgate-priority", "HIGH"),
            ("idempotency-key", "k"),
            ("x-odd", "a"),
            ("prefer", "return=minimal, wait=1"),
            ("authorization", "Bearer mine"),
            ("x-odd", "b"),
        ]);
        let lines = to_pass_on(&parts, &Prefer::read(&parts.headers));
        let names: Vec<_> = lines
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
            .collect();
        assert_eq!(
            names,
            ["x-odd: a", "x-odd: b", "authorization: Bearer mine", "prefer: return=minimal"]
        );
    }
}
