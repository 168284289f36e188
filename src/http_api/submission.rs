//! From what was sent to a job that makes sense, or to the problem with it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;

use crate::broker::course::Delivery;
use crate::broker::fair::FlowKey;
use crate::broker::group::GroupName;
use crate::broker::io::{Dedup, Submission};
use crate::broker::job::{JobId, Priority, Source};
use crate::broker::payload::{HeaderLine, Request, TaskToken};
use crate::broker::time::Wall;
use crate::handle::Directory;

use super::callback_json;
use super::fields::shown;
use super::fit;
use super::headers::{LARGEST, MOST, is_framing, is_ours};
use super::new_job::{NewJob, Pairs};
use super::path;
use super::problem::{Kind, Problem};
use super::when::{Schedule, Times};

const MOST_ATTEMPTS: u32 = 1000;
const LONGEST_KEY: usize = 256;
const LONGEST_METHOD: usize = 32;

/// What RFC 3986 leaves unreserved stays as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The job that `job` asks for, under the name `id`.
pub(crate) fn validate(
    job: NewJob,
    directory: &Directory,
    now: Wall,
    id: JobId,
) -> Result<Submission, Problem> {
    let name = job.target.as_deref().ok_or_else(|| Problem::invalid("target", "is missing"))?;
    let (target, config) = directory
        .configured(name)
        .ok_or_else(|| Problem::unknown_target(name, directory.configured_names()))?;
    let priority = job.priority.as_deref().map_or(Ok(Priority::default()), |text| {
        text.parse().map_err(|error| {
            Problem::invalid("priority", format_args!("is `{}`: {error}", shown(text)))
        })
    })?;
    let Schedule { not_before, deadline } = Times {
        delay: ("delay", job.delay.as_deref()),
        not_before: ("not_before", job.not_before.as_deref()),
        deadline: ("deadline", job.deadline.as_deref()),
    }
    .schedule(now)?;
    let max_attempts = job.max_attempts.map(attempts).transpose()?;
    if let Some(dedup_id) = &job.dedup_id {
        check_key("dedup_id", dedup_id)?;
    }
    let dedup_id = job.dedup_id.clone();
    let group = job.group.as_deref().map(|name| group("group", name)).transpose()?;
    let flow = job.fairness_key.as_deref().map(|key| flow("fairness_key", key)).transpose()?;
    let callback = job.callback.as_deref();
    let callback = callback.map(|name| callback_json::callback("callback", name, directory));
    let callback = callback.transpose()?;
    let token = job.task_token.as_deref().map(|text| task_token("task_token", text)).transpose()?;
    if token.is_some() {
        check_answerable("task_token", directory)?;
    }
    let delivery = job.delivery.as_deref().map(delivery).transpose()?;
    let mut request = request(job)?;
    request.task_token = token;
    fit::check(config, id, &request, delivery)?;
    let dedup = dedup_id.map(|name| {
        let digest = digest(&request, |_| true);
        Dedup { name, digest, keep: Dedup::KEEP }
    });
    Ok(Submission {
        source: Source::Api,
        id,
        target,
        priority,
        request: Arc::new(request),
        not_before,
        deadline,
        max_attempts,
        delivery,
        dedup,
        group,
        flow,
        callback,
        unfit: None,
    })
}

fn delivery(text: &str) -> Result<Delivery, Problem> {
    text.parse().map_err(|error| {
        Problem::invalid("delivery", format_args!("is `{}`: {error}", shown(text)))
    })
}

fn attempts(given: i64) -> Result<u32, Problem> {
    u32::try_from(given).ok().filter(|n| (1..=MOST_ATTEMPTS).contains(n)).ok_or_else(|| {
        Problem::invalid("max_attempts", format_args!("is {given}, not 1 to {MOST_ATTEMPTS}"))
    })
}

/// A key travels as a header and is compared byte for byte.
pub(crate) fn check_key(field: &str, key: &str) -> Result<(), Problem> {
    if (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    let why = format!("must have 1 to {LONGEST_KEY} visible ASCII characters and no space");
    Err(Problem::invalid(field, why))
}

pub(crate) fn group(field: &str, name: &str) -> Result<GroupName, Problem> {
    GroupName::new(name).map_err(|error| Problem::invalid(field, error))
}

pub(crate) fn flow(field: &str, key: &str) -> Result<FlowKey, Problem> {
    FlowKey::new(key).map_err(|error| Problem::invalid(field, error))
}

/// No error shows any of it.
pub(crate) fn task_token(field: &str, text: &str) -> Result<TaskToken, Problem> {
    TaskToken::new(text).ok_or_else(|| Problem::invalid(field, "must have 1 to 2048 characters"))
}

/// A job whose token nobody would answer must not come in: its workflow would wait for ever.
pub(crate) fn check_answerable(field: &str, directory: &Directory) -> Result<(), Problem> {
    if directory.answers_tokens() {
        return Ok(());
    }
    let why = "could never be answered: add a table [step_functions] to the configuration (it may \
               be empty) and restart the daemon, or leave the token out";
    Err(Problem::invalid(field, why))
}

fn request(job: NewJob) -> Result<Request, Problem> {
    let method = method(job.method.unwrap_or_else(|| "POST".to_owned()))?;
    let path = whole_path(job.path.unwrap_or_else(|| "/".to_owned()), job.query)?;
    let mut headers = header_lines(job.headers.unwrap_or_default())?;
    let default_type = job.body.is_some().then_some("application/json");
    let body = match (job.body, job.body_base64) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid("body", "and `body_base64` exclude each other"));
        }
        (Some(json), None) => Bytes::from(json.get().as_bytes().to_vec()),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text.trim()).map_err(|error| {
                Problem::invalid("body_base64", format_args!("is not base64: {error}"))
            })?;
            Bytes::from(bytes)
        }
        (None, None) => Bytes::new(),
    };
    let has_type = headers.iter().any(|(name, _)| name == header::CONTENT_TYPE.as_str());
    match job.content_type {
        Some(_) if has_type => {
            return Err(Problem::invalid("content_type", "is also among `headers`"));
        }
        Some(text) if text.trim().is_empty() => {
            return Err(Problem::invalid("content_type", "is empty; leave it out for none"));
        }
        Some(text) => {
            let value = header_value("content_type", &text)?;
            headers.push((header::CONTENT_TYPE.as_str().to_owned(), value));
        }
        None => {
            if let Some(text) = default_type.filter(|_| !has_type) {
                let value = Bytes::from_static(text.as_bytes());
                headers.push((header::CONTENT_TYPE.as_str().to_owned(), value));
            }
        }
    }
    let idempotency_key = take_key(&mut headers)?.or(job.dedup_id);
    check_size("headers", &headers)?;
    Ok(Request { method, path, headers, body, idempotency_key, live: false, task_token: None })
}

pub(super) fn method(text: String) -> Result<String, Problem> {
    if text.len() > LONGEST_METHOD || Method::from_bytes(text.as_bytes()).is_err() {
        let why = format!("is `{}`, which is no HTTP method", shown(&text));
        return Err(Problem::invalid("method", why));
    }
    let capitals = text.to_ascii_uppercase();
    match capitals.as_str() {
        "CONNECT" | "TRACE" => {
            Err(Problem::invalid("method", format_args!("{capitals} cannot be queued")))
        }
        // RFC 9110, section 9.1: case matters. No server means anything by `post`.
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" if capitals != text => {
            let why = format!("is `{text}`; methods are case-sensitive: write {capitals}");
            Err(Problem::invalid("method", why))
        }
        _ => Ok(text),
    }
}

fn whole_path(mut path: String, query: Option<Pairs>) -> Result<String, Problem> {
    path::check(&path).map_err(|error| Problem::invalid("path", error))?;
    let mut glue = if path.contains('?') { '&' } else { '?' };
    if path.ends_with(['?', '&']) && glue == '&' {
        path.pop();
        glue = if path.contains('?') { '&' } else { '?' };
    }
    for (name, value) in query.unwrap_or_default().0 {
        for value in values(&value, "query", &name, Scalars::All)? {
            path.push(glue);
            path.extend(utf8_percent_encode(&name, QUERY));
            path.push('=');
            path.extend(utf8_percent_encode(&value, QUERY));
            glue = '&';
        }
    }
    path::check(&path).map_err(|error| Problem::invalid("query", error))?;
    Ok(path)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalars {
    Strings,
    /// Numbers and booleans too, as they are written.
    All,
}

/// A value, or each one of an array.
pub(super) fn values(
    raw: &RawValue,
    field: &str,
    name: &str,
    kind: Scalars,
) -> Result<Vec<String>, Problem> {
    let text = raw.get();
    if text.starts_with('[')
        && let Ok(all) = serde_json::from_str::<Vec<&RawValue>>(text)
    {
        return all.into_iter().map(|one| scalar(one, field, name, kind)).collect();
    }
    Ok(vec![scalar(raw, field, name, kind)?])
}

fn scalar(raw: &RawValue, field: &str, name: &str, kind: Scalars) -> Result<String, Problem> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            if let Ok(string) = serde_json::from_str(text) {
                return Ok(string);
            }
        }
        Some(b'-' | b'0'..=b'9' | b't' | b'f') if kind == Scalars::All => {
            return Ok(text.to_owned());
        }
        _ => {}
    }
    let what = match kind {
        Scalars::Strings => "a string",
        Scalars::All => "a string, a number or a boolean",
    };
    let field = format!("{field}.{}", shown(name));
    let detail = format!("`{field}` must be {what}, or an array of those");
    Err(Problem::new(Kind::Invalid, detail).with("field", field))
}

fn header_lines(pairs: Pairs) -> Result<Vec<HeaderLine>, Problem> {
    let mut lines = Vec::new();
    for (name, value) in pairs.0 {
        let field = format!("headers.{}", shown(&name));
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Problem::invalid(&field, "is no header name (RFC 9110, section 5.1)"))?;
        if is_framing(&parsed) {
            return Err(Problem::invalid(&field, "is set by Tollgate for each request it sends"));
        }
        if is_ours(&parsed) {
            return Err(Problem::invalid(&field, "is Tollgate's own: use the job's fields"));
        }
        for value in values(&value, "headers", &name, Scalars::Strings)? {
            lines.push((parsed.as_str().to_owned(), header_value(&field, &value)?));
        }
    }
    Ok(lines)
}

pub(super) fn header_value(field: &str, text: &str) -> Result<Bytes, Problem> {
    match HeaderValue::from_str(text).or_else(|_| HeaderValue::from_bytes(text.as_bytes())) {
        Ok(_) => Ok(Bytes::from(text.to_owned())),
        Err(_) => Err(Problem::invalid(field, "must not have a control character in its value")),
    }
}

/// The header goes with the job's own field of that meaning, so that it is sent once.
fn take_key(headers: &mut Vec<HeaderLine>) -> Result<Option<String>, Problem> {
    const NAME: &str = "idempotency-key";
    let mut found = headers.extract_if(.., |(name, _)| name == NAME);
    let (Some((_, value)), second) = (found.next(), found.next()) else { return Ok(None) };
    drop(found);
    let key = String::from_utf8_lossy(&value).into_owned();
    if second.is_some() {
        return Err(Problem::invalid("headers.idempotency-key", "is there twice"));
    }
    check_key("headers.idempotency-key", &key)?;
    Ok(Some(key))
}

pub(crate) fn check_size(field: &str, headers: &[HeaderLine]) -> Result<(), Problem> {
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    if headers.len() > MOST || bytes > LARGEST {
        let why = format!("are too many: {MOST} lines and {LARGEST} bytes in all are allowed");
        return Err(Problem::invalid(field, why));
    }
    Ok(())
}

/// SHA-256 of what tells one request from another. Each part goes in with its length, so that no
/// two requests run together to the same bytes. `counts` says which headers matter.
pub(crate) fn digest(request: &Request, counts: impl Fn(&str) -> bool) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut part = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_le_bytes());
        context.update(bytes);
    };
    part(request.method.as_bytes());
    part(request.path.as_bytes());
    let mut headers: Vec<_> = request.headers.iter().filter(|(name, _)| counts(name)).collect();
    // Stable, so that the values of one name keep their order.
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, value) in headers {
        part(name.as_bytes());
        part(value);
    }
    // Apart from the headers, of which there are any number.
    part(b"");
    part(&request.body);
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests;
