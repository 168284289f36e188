//! From a job to the request that its target receives (CONTRACT §5, "What a target receives").

use bytes::Bytes;
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri};
use http_body_util::Full;

use super::Outgoing;
use super::hop::{Named, is_hop_by_hop};
use super::pool::Origin;
use crate::broker::payload::HeaderLine;
use crate::config::Target;
use crate::trace::{AMAZON, By, Context, Recording, TRACEPARENT};

pub(super) type Body = Full<Bytes>;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const JOB_ID: HeaderName = HeaderName::from_static("tollgate-job-id");
const ATTEMPT: HeaderName = HeaderName::from_static("tollgate-attempt");
const PRIORITY: HeaderName = HeaderName::from_static("tollgate-priority");
const OURSELVES: HeaderValue =
    HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION")));

/// Why no request can be made of a job. The edge validates, so this is for jobs from a store
/// that another version wrote. Names things, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("the job's method is not one that can be sent")]
    Method,
    #[error("the job's path does not fit behind the target's url")]
    Path,
    #[error("the target's url has no scheme or no host")]
    Url,
    #[error("the job's header {0:?} has a name or a value that cannot be sent")]
    Header(String),
    #[error("the job has too many headers")]
    TooManyHeaders,
}

/// A request that can be built again for each connection that is tried.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) origin: Origin,
    pub(super) method: Method,
    path: PathAndQuery,
    /// With `Host` first (RFC 9110 §7.2).
    headers: HeaderMap,
    body: Bytes,
}

impl Prepared {
    pub(super) fn new(target: &Target, job: &Outgoing<'_>) -> Result<Prepared, Unfit> {
        let request = job.request;
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| Unfit::Method)?;
        if method == Method::CONNECT {
            return Err(Unfit::Method);
        }
        let origin = Origin::of(&target.url).ok_or(Unfit::Url)?;
        Ok(Prepared {
            path: path(&target.url, &request.path)?,
            headers: headers(target, job, &method, &origin)?,
            body: request.body.clone(),
            origin,
            method,
        })
    }

    /// A POST of a body in JSON to the whole of `url`, its query included.
    pub(super) fn post(url: &Uri, more: &HeaderMap, body: Bytes) -> Result<Prepared, Unfit> {
        let origin = Origin::of(url).ok_or(Unfit::Url)?;
        let path = url.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut headers = HeaderMap::with_capacity(more.len() + 4);
        let mut add = |name: HeaderName, value: HeaderValue| {
            headers.try_append(name, value).map(|_| ()).map_err(|_| Unfit::TooManyHeaders)
        };
        add(HOST, origin.host_header().ok_or(Unfit::Url)?)?;
        add(CONTENT_TYPE, HeaderValue::from_static("application/json"))?;
        if !more.contains_key(USER_AGENT) {
            add(USER_AGENT, OURSELVES)?;
        }
        for (name, value) in more.iter().filter(|(name, _)| *name != CONTENT_TYPE) {
            add(name.clone(), value.clone())?;
        }
        add(CONTENT_LENGTH, HeaderValue::from(body.len()))?;
        Ok(Prepared { origin, method: Method::POST, path, headers, body })
    }

    /// With its target in origin form (RFC 9112 §3.2.1).
    pub(super) fn http1(&self) -> http::Request<Body> {
        self.build(Uri::from(self.path.clone()), self.headers.clone())
    }

    /// With its target as pseudo-headers, so without `Host` (RFC 9113 §8.3.1).
    pub(super) fn http2(&self) -> http::Request<Body> {
        let mut headers = self.headers.clone();
        // A `Host` that the target's configuration sets names another site on the same server.
        let authority = headers
            .remove(HOST)
            .and_then(|host| Authority::try_from(host.as_bytes()).ok())
            .unwrap_or_else(|| self.origin.authority.clone());
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.origin.scheme.clone());
        parts.authority = Some(authority);
        parts.path_and_query = Some(self.path.clone());
        // All three are there, so it cannot fail; the origin form would be refused by h2 alone.
        let uri = Uri::from_parts(parts).unwrap_or_else(|_| Uri::from(self.path.clone()));
        self.build(uri, headers)
    }

    fn build(&self, uri: Uri, headers: HeaderMap) -> http::Request<Body> {
        let mut request = http::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request
    }
}

fn path(url: &Uri, path: &str) -> Result<PathAndQuery, Unfit> {
    if !path.starts_with('/') {
        return Err(Unfit::Path);
    }
    let whole = format!("{}{path}", url.path().trim_end_matches('/'));
    let parsed = PathAndQuery::try_from(whole.as_str()).map_err(|_| Unfit::Path)?;
    // `http` cuts off a fragment without a word.
    if parsed.as_str() == whole { Ok(parsed) } else { Err(Unfit::Path) }
}

fn headers(
    target: &Target,
    job: &Outgoing<'_>,
    method: &Method,
    origin: &Origin,
) -> Result<HeaderMap, Unfit> {
    let request = job.request;
    let mut headers = HeaderMap::with_capacity(request.headers.len() + target.headers.len() + 8);
    let mut add = |name: HeaderName, value: HeaderValue| {
        headers.try_append(name, value).map(|_| ()).map_err(|_| Unfit::TooManyHeaders)
    };

    if !target.headers.contains_key(HOST) {
        add(HOST, origin.host_header().ok_or(Unfit::Url)?)?;
    }
    for value in target.headers.get_all(HOST) {
        add(HOST, value.clone())?;
    }

    let mut named = Named::default();
    for (_, value) in request.headers.iter().filter(|(name, _)| name == "connection") {
        named.read(value);
    }
    let mut has_agent = false;
    let trace = Trace::of(job);
    for (name, value) in &request.headers {
        if is_ours(name) || named.has(name) || trace.replaces(name) {
            continue;
        }
        let unfit = || Unfit::Header(name.chars().take(64).collect());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
        if target.headers.contains_key(&name) {
            continue;
        }
        has_agent |= name == USER_AGENT;
        add(name, HeaderValue::from_maybe_shared(value.clone()).map_err(|_| unfit())?)?;
    }
    for (name, value) in &target.headers {
        if is_ours(name.as_str()) {
            continue;
        }
        has_agent |= name == USER_AGENT;
        add(name.clone(), value.clone())?;
    }

    if !has_agent {
        add(USER_AGENT, OURSELVES)?;
    }
    let key = match &request.idempotency_key {
        Some(key) => HeaderValue::from_bytes(key.as_bytes())
            .map_err(|_| Unfit::Header(IDEMPOTENCY_KEY.as_str().to_owned()))?,
        None => ascii(job.id.to_string()),
    };
    add(IDEMPOTENCY_KEY, key)?;
    add(JOB_ID, ascii(job.id.to_string()))?;
    add(ATTEMPT, HeaderValue::from(job.attempt))?;
    add(PRIORITY, HeaderValue::from_static(job.priority.as_str()))?;
    for (name, value) in trace.headers {
        add(HeaderName::from_static(name), ascii(value))?;
    }
    // RFC 9110 §8.6: a method that anticipates content says so even of none.
    let anticipates = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    if anticipates || !request.body.is_empty() {
        add(CONTENT_LENGTH, HeaderValue::from(request.body.len()))?;
    }
    Ok(headers)
}

/// Headers that are never taken from a caller or a configuration: they end at this hop, frame the
/// message, or are Tollgate's own. `Expect` goes, because nobody here waits for a 100.
fn is_ours(name: &str) -> bool {
    is_hop_by_hop(name)
        || matches!(name, "host" | "content-length" | "expect" | "idempotency-key")
        || name.starts_with("tollgate-")
}

fn ascii(text: String) -> HeaderValue {
    // Only hex digits and dashes come here.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// What the target is told of the trace, where that is not just what the caller told.
struct Trace {
    headers: Vec<(&'static str, String)>,
}

impl Trace {
    fn of(job: &Outgoing<'_>) -> Trace {
        let context = Context::of(job.id, job.request);
        let recorded = job.trace == Recording::On;
        let parent = || (TRACEPARENT, context.onward(job.id, job.number, job.trace));
        let is_there = |(name, _): &HeaderLine| name == TRACEPARENT;
        let headers = match context.by {
            By::Amazon if recorded => {
                vec![parent(), (AMAZON, context.onward_amazon(job.id, job.number))]
            }
            // What came goes on, also where nobody can read it.
            _ if !recorded && job.request.headers.iter().any(is_there) => Vec::new(),
            By::Traceparent | By::Amazon | By::Ourselves => vec![parent()],
        };
        Trace { headers }
    }

    fn replaces(&self, name: &str) -> bool {
        self.headers.iter().any(|(ours, _)| *ours == name)
    }
}

impl Origin {
    /// `None` where `url` has no scheme or no host. User and password are left out.
    pub(super) fn of(url: &Uri) -> Option<Origin> {
        let scheme = url.scheme()?.clone();
        let host = url.host().filter(|host| !host.is_empty())?;
        let authority = match url.port_u16() {
            Some(port) => Authority::try_from(format!("{host}:{port}")).ok()?,
            None => Authority::try_from(host).ok()?,
        };
        Some(Origin { scheme, authority })
    }

    /// Host and, where it is not the scheme's own, port (RFC 9110 §7.2).
    fn host_header(&self) -> Option<HeaderValue> {
        let host = match self.authority.port_u16() {
            Some(port) if port != self.default_port() => self.authority.as_str(),
            _ => self.authority.host(),
        };
        HeaderValue::from_str(host).ok()
    }

    pub(super) fn default_port(&self) -> u16 {
        if self.scheme == Scheme::HTTPS { 443 } else { 80 }
    }
}

/// `host:port`, for people.
impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let port = self.authority.port_u16().unwrap_or_else(|| self.default_port());
        write!(f, "{}:{port}", self.authority.host())
    }
}
