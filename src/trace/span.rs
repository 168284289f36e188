//! The spans of one request of a job, by OpenTelemetry's semantic conventions for HTTP clients
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>) and messaging
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::{Context, SpanId};
use crate::broker::course::Aim;
use crate::broker::job::{JobId, Priority};
use crate::broker::payload::{Outcome, Report};
use crate::broker::time::Wall;

/// What a request of a job was, once it is over.
pub(crate) struct Attempt<'a> {
    pub(crate) context: Context,
    pub(crate) job: JobId,
    /// Among all requests of the job, from 1.
    pub(crate) number: u32,
    /// At its work, from 1.
    pub(crate) attempt: u32,
    pub(crate) target: &'a str,
    pub(crate) url: &'a http::Uri,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) priority: Priority,
    pub(crate) aim: &'a Aim,
    /// Since when it waited to be sent.
    pub(crate) waited_since: Wall,
    pub(crate) began: SystemTime,
    pub(crate) report: &'a Report,
}

impl Attempt<'_> {
    /// The waiting before it, and the request itself.
    pub(super) fn spans(&self) -> [Span; 2] {
        let began = nanos(self.began);
        let waited = self.waited_since.as_millis().saturating_mul(1_000_000).min(began);
        [self.waiting(waited, began), self.request(began)]
    }

    fn waiting(&self, from: u64, to: u64) -> Span {
        let id = self.context.wait_span(self.job, self.number);
        let mut attributes = self.common();
        attributes.push(text("messaging.operation.name", "wait"));
        let root = self.context.root(self.job);
        Span {
            name: format!("wait {}", self.target),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: from,
            end_time_unix_nano: to,
            attributes,
            // The first waiting of a trace that begins here is its root.
            ..self.child(id, (root != id).then_some(root))
        }
    }

    fn request(&self, began: u64) -> Span {
        let took = u64::try_from(self.report.took.as_nanos()).unwrap_or(u64::MAX);
        let mut attributes = self.common();
        attributes.push(text("http.request.method", self.method));
        attributes.extend(self.url.host().map(|host| text("server.address", host)));
        attributes.push(number("server.port", i64::from(port(self.url))));
        attributes.push(text("url.full", &self.plain_url()));
        attributes.push(text("tollgate.outcome", self.report.outcome.as_str()));
        if self.number > 1 {
            attributes.push(number("http.request.resend_count", i64::from(self.number - 1)));
        }
        let status = self.report.answer.as_ref().map(|answer| answer.status);
        if let Some(status) = status {
            attributes.push(number("http.response.status_code", i64::from(status)));
        }
        let failed = self.report.outcome != Outcome::Done;
        if failed {
            let kind = status.map_or_else(|| "_OTHER".to_owned(), |status| status.to_string());
            attributes.push(text("error.type", &kind));
        }
        let verb = match self.aim {
            Aim::Work => self.method.to_owned(),
            Aim::Verify => "verify".to_owned(),
            Aim::Poll { .. } => "poll".to_owned(),
        };
        let id = self.context.attempt_span(self.job, self.number);
        Span {
            name: format!("{verb} {}", self.target),
            kind: SpanKind::Client.into(),
            start_time_unix_nano: began,
            end_time_unix_nano: began.saturating_add(took),
            attributes,
            status: failed.then(|| Status {
                code: StatusCode::Error.into(),
                message: self.report.reason.clone().unwrap_or_default(),
            }),
            ..self.child(id, Some(self.context.root(self.job)))
        }
    }

    fn child(&self, id: SpanId, parent: Option<SpanId>) -> Span {
        /// Of the span flags: the sampled flag of W3C, and that it is known whether the parent is
        /// elsewhere (`SpanFlags` of trace.proto).
        const SAMPLED: u32 = 1;
        const KNOWN: u32 = 1 << 8;
        const REMOTE: u32 = 1 << 9;
        let remote = if self.context.parent.is_some() { REMOTE } else { 0 };
        Span {
            trace_id: self.context.trace.0.to_be_bytes().to_vec(),
            span_id: id.0.to_be_bytes().to_vec(),
            parent_span_id: parent.map_or_else(Vec::new, |id| id.0.to_be_bytes().to_vec()),
            flags: SAMPLED | KNOWN | remote,
            ..Span::default()
        }
    }

    fn common(&self) -> Vec<KeyValue> {
        vec![
            text("messaging.system", "tollgate"),
            text("messaging.destination.name", self.target),
            text("messaging.message.id", &self.job.to_string()),
            text("tollgate.priority", self.priority.as_str()),
            number("tollgate.attempt", i64::from(self.attempt)),
        ]
    }

    /// Without the query and without user and password, which can hold secrets.
    fn plain_url(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or("http");
        let authority = self.url.authority().map_or("", http::uri::Authority::as_str);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let path = self.path.split(['?', '#']).next().unwrap_or_default();
        format!("{scheme}://{host}{}{path}", self.url.path().trim_end_matches('/'))
    }
}

fn port(url: &http::Uri) -> u16 {
    let default = if url.scheme_str() == Some("https") { 443 } else { 80 };
    url.port_u16().unwrap_or(default)
}

/// Since the Unix epoch.
fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
