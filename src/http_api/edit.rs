//! What somebody wants changed of a dead job before it is sent again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::fields::shown;
use super::headers::{is_framing, is_ours};
use super::new_job::Pairs;
use super::path;
use super::problem::Problem;
use super::submission::{Scalars, check_key, check_size, header_value, method, values};
use crate::broker::job::Priority;
use crate::broker::payload::Request;

/// Changes to a dead job. What is left out stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobEdit {
    /// `HIGH`, `NORMAL` or `BATCH`, in any case.
    pub(crate) priority: Option<String>,
    method: Option<String>,
    /// Below the target's base URL, with its query.
    path: Option<String>,
    /// Name to value, or to an array of values, each in place of the headers of that name; `null`
    /// takes them away.
    #[schema(value_type = Option<Object>)]
    headers: Option<Pairs>,
    /// Sent as it is written here, as JSON.
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
    /// Instead of `body`: base64 of the bytes to send.
    body_base64: Option<String>,
    /// Of the new body; `application/json` by default where `body` is given.
    content_type: Option<String>,
    /// By default the job's own stays: to the target it is the same request, mended. One that keeps
    /// answers by their keys may need another.
    idempotency_key: Option<String>,
}

/// An edit that makes sense.
#[derive(Debug, Default)]
pub(crate) struct Edited {
    pub(crate) priority: Option<Priority>,
    /// Where it is another.
    pub(crate) request: Option<Request>,
    /// What was changed, for the job's history.
    pub(crate) parts: String,
}

impl JobEdit {
    /// Whether the request itself is to be changed.
    pub(crate) fn rewrites(&self) -> bool {
        let JobEdit { priority: _, method, path, headers, .. } = self;
        method.is_some()
            || path.is_some()
            || headers.is_some()
            || self.body.is_some()
            || self.body_base64.is_some()
            || self.content_type.is_some()
            || self.idempotency_key.is_some()
    }

    /// `request`: as it is now; only needed where it is to be changed.
    pub(crate) fn apply(self, request: Option<Request>) -> Result<Edited, Problem> {
        let rewrites = self.rewrites();
        let mut parts = Vec::new();
        let priority = self.priority.as_deref().map(|text| {
            text.parse::<Priority>().map_err(|error| {
                Problem::invalid("priority", format_args!("is `{}`: {error}", shown(text)))
            })
        });
        let priority = priority.transpose()?;
        if priority.is_some() {
            parts.push("priority");
        }
        let Some(mut request) = request.filter(|_| rewrites) else {
            return Ok(Edited { priority, request: None, parts: parts.join(", ") });
        };
        if let Some(text) = self.method {
            request.method = method(text)?;
            parts.push("method");
        }
        if let Some(path) = self.path {
            path::check(&path).map_err(|error| Problem::invalid("path", error))?;
            request.path = path;
            parts.push("path");
        }
        if let Some(Pairs(pairs)) = self.headers {
            for (name, value) in pairs {
                set_header(&mut request, &name, &value)?;
            }
            parts.push("headers");
        }
        let given = self.body.is_some() || self.body_base64.is_some();
        if self.content_type.is_some() && !given {
            return Err(Problem::invalid("content_type", "speaks of a body, and there is none"));
        }
        if given {
            let json = self.body.is_some().then(|| "application/json".to_owned());
            request.body = body(self.body.as_deref(), self.body_base64.as_deref())?;
            if let Some(text) = self.content_type.or(json) {
                let name = header::CONTENT_TYPE.as_str();
                request.headers.retain(|(other, _)| other != name);
                request.headers.push((name.to_owned(), header_value("content_type", &text)?));
            }
            parts.push("body");
        }
        if let Some(key) = self.idempotency_key {
            check_key("idempotency_key", &key)?;
            request.idempotency_key = Some(key);
            parts.push("idempotency key");
        }
        check_size("headers", &request.headers)?;
        Ok(Edited { priority, request: Some(request), parts: parts.join(", ") })
    }
}

fn body(json: Option<&RawValue>, base64: Option<&str>) -> Result<Bytes, Problem> {
    match (json, base64) {
        (Some(_), Some(_)) => Err(Problem::invalid("body", "and `body_base64` exclude each other")),
        (Some(json), None) => Ok(Bytes::from(json.get().as_bytes().to_vec())),
        (None, text) => {
            let bytes = STANDARD.decode(text.unwrap_or_default().trim()).map_err(|error| {
                Problem::invalid("body_base64", format_args!("is not base64: {error}"))
            })?;
            Ok(Bytes::from(bytes))
        }
    }
}

fn set_header(request: &mut Request, name: &str, value: &RawValue) -> Result<(), Problem> {
    let field = format!("headers.{}", shown(name));
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Problem::invalid(&field, "is no header name (RFC 9110, section 5.1)"))?;
    if is_framing(&parsed) {
        return Err(Problem::invalid(&field, "is set by Tollgate for each request it sends"));
    }
    if is_ours(&parsed) || parsed.as_str() == "idempotency-key" {
        let why = "is Tollgate's own: use the fields of this object";
        return Err(Problem::invalid(&field, why));
    }
    request.headers.retain(|(other, _)| other != parsed.as_str());
    if value.get() == "null" {
        return Ok(());
    }
    for value in values(value, "headers", name, Scalars::Strings)? {
        let line = (parsed.as_str().to_owned(), header_value(&field, &value)?);
        request.headers.push(line);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(json: &str) -> Result<Edited, Problem> {
        let line = |name: &str, value: &'static str| (name.to_owned(), Bytes::from(value));
        let request = Request {
            method: "POST".into(),
            path: "/orders".into(),
            headers: vec![line("x-a", "1"), line("x-b", "2"), line("content-type", "text/plain")],
            body: Bytes::from_static(b"old"),
            idempotency_key: Some("k".into()),
            ..Request::default()
        };
        serde_json::from_str::<JobEdit>(json).unwrap().apply(Some(request))
    }

    #[test]
    fn what_is_named_changes_and_nothing_else() {
        let edited = edit(r#"{"priority":"high","path":"/v2/orders?x=1","body":{"n": 1.10}}"#);
        let Edited { priority, request, parts } = edited.unwrap();
        let request = request.unwrap();
        assert_eq!((priority, parts.as_str()), (Some(Priority::High), "priority, path, body"));
        assert_eq!(
            (request.path.as_str(), &request.body[..]),
            ("/v2/orders?x=1", &b"{\"n\": 1.10}"[..])
        );
        assert_eq!(request.idempotency_key.as_deref(), Some("k"));
        let content_type = request.headers.iter().filter(|(name, _)| name == "content-type");
        assert_eq!(content_type.map(|(_, v)| &v[..]).collect::<Vec<_>>(), [b"application/json"]);

        let edited = edit(r#"{"headers":{"X-A":["3","4"],"x-b":null},"idempotency_key":"k2"}"#);
        let request = edited.unwrap().request.unwrap();
        let named = |name: &str| {
            let lines = request.headers.iter().filter(|(other, _)| other == name);
            lines.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(named("x-a"), ["3", "4"]);
        assert!(named("x-b").is_empty() && named("content-type") == ["text/plain"]);
        assert_eq!(request.idempotency_key.as_deref(), Some("k2"));

        let only = edit(r#"{"priority":"BATCH"}"#).unwrap();
        assert!(only.request.is_none(), "the request stays");
    }

    #[test]
    fn what_makes_no_sense_is_refused_as_in_a_submission() {
        for (json, field) in [
            (r#"{"priority":"URGENT"}"#, "priority"),
            (r#"{"path":"/../x"}"#, "path"),
            (r#"{"method":"connect"}"#, "method"),
            (r#"{"headers":{"host":"x"}}"#, "headers.host"),
            (r#"{"headers":{"tollgate-attempt":"1"}}"#, "headers.tollgate-attempt"),
            (r#"{"headers":{"x":"a\r\nb"}}"#, "headers.x"),
            (r#"{"body":1,"body_base64":"AA=="}"#, "body"),
            (r#"{"body_base64":"?"}"#, "body_base64"),
            (r#"{"content_type":"text/xml"}"#, "content_type"),
            (r#"{"idempotency_key":"a b"}"#, "idempotency_key"),
        ] {
            let problem = serde_json::to_value(edit(json).unwrap_err()).unwrap();
            assert_eq!(problem["field"], field, "{json}: {problem}");
        }
        assert!(serde_json::from_str::<JobEdit>(r#"{"state":"queued"}"#).is_err());
    }
}
