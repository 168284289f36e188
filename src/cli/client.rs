//! A small HTTP client for the daemon's own addresses.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

use super::connect::Connector;
use super::error::CliError;
use super::problem::Problem;
use super::values::Address;

/// How long an answer may take beyond what it was asked to wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// No answer of the daemon comes near this, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// What TOLLGATE_TOKEN holds. Shown nowhere.
#[derive(Clone)]
pub(super) struct Token(HeaderValue);

impl Token {
    /// `None` where it is unset or blank.
    pub(super) fn from_outside() -> Result<Option<Token>, CliError> {
        match std::env::var_os("TOLLGATE_TOKEN") {
            None => Ok(None),
            Some(text) => Token::parse(&text.to_string_lossy()),
        }
    }

    fn parse(text: &str) -> Result<Option<Token>, CliError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        // RFC 6750, 2.1: what a bearer token is made of, and nothing that could end the header.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CliError::Usage(
                "TOLLGATE_TOKEN holds a character that no bearer token has".into(),
            ));
        }
        let mut value = HeaderValue::try_from(format!("Bearer {text}"))
            .map_err(|_| CliError::Usage("TOLLGATE_TOKEN is not a bearer token".into()))?;
        value.set_sensitive(true);
        Ok(Some(Token(value)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Speaks to one address.
pub(super) struct Client {
    pool: Pool<Connector, Full<Bytes>>,
    address: Address,
    token: Option<Token>,
    patience: Duration,
}

/// A 2xx answer. Its body is JSON, or empty.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: String,
    address: Address,
}

impl Client {
    pub(super) fn new(
        address: &Address,
        token: Option<Token>,
        ca_file: Option<&Path>,
    ) -> Result<Client, CliError> {
        let pool = Pool::builder(TokioExecutor::new())
            // A job could be handed in twice behind our back.
            .retry_canceled_requests(false)
            .build(Connector::new(address, ca_file)?);
        Ok(Client { pool, address: address.clone(), token, patience: PATIENCE })
    }

    #[cfg(test)]
    fn with_patience(mut self, patience: Duration) -> Client {
        self.patience = patience;
        self
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, CliError> {
        self.call(Method::GET, path, None, Duration::ZERO).await
    }

    /// For an answer that the daemon is asked to hold back for up to `wait`.
    pub(super) async fn get_slowly(&self, path: &str, wait: Duration) -> Result<Answer, CliError> {
        self.call(Method::GET, path, None, wait).await
    }

    pub(super) async fn post(&self, path: &str, json: Option<String>) -> Result<Answer, CliError> {
        self.call(Method::POST, path, json, Duration::ZERO).await
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        json: Option<String>,
        wait: Duration,
    ) -> Result<Answer, CliError> {
        let request = self.request(method, path, json)?;
        let patience = self.patience + wait;
        match tokio::time::timeout(patience, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(CliError::timed_out(&self.address, patience)),
        }
    }

    /// An answer that goes on and on. Only its beginning is waited for here.
    pub(super) async fn stream(&self, path: &str) -> Result<Endless, CliError> {
        let request = self.request(Method::GET, path, None)?;
        let begun = tokio::time::timeout(self.patience, self.begin(request)).await;
        let (head, body) =
            begun.map_err(|_| CliError::timed_out(&self.address, self.patience))??;
        if head.status.is_success() {
            return Ok(Endless { body, address: self.address.clone() });
        }
        let body = self.whole(body).await?;
        Err(self.refusal(head.status, &head.headers, &body))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        json: Option<String>,
    ) -> Result<Request<Full<Bytes>>, CliError> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.address.join(path))
            .header(ACCEPT, "application/json, application/problem+json")
            .header(USER_AGENT, concat!("tollgate/", env!("CARGO_PKG_VERSION")));
        if let Some(Token(token)) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if json.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::new(json.unwrap_or_default().into()))
            .map_err(|error| CliError::Usage(format!("no request can be made of this: {error}")))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, CliError> {
        let (head, body) = self.begin(request).await?;
        let body = self.whole(body).await?;
        if head.status.is_success() {
            self.answer(head.status, &body)
        } else {
            Err(self.refusal(head.status, &head.headers, &body))
        }
    }

    async fn begin(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(response::Parts, Incoming), CliError> {
        let response = self.pool.request(request).await.map_err(|error| {
            let address = Box::new(self.address.clone());
            let why = root_cause(&error);
            if error.is_connect() {
                CliError::Unreachable { address, why }
            } else {
                CliError::NoAnswer { address, why }
            }
        })?;
        Ok(response.into_parts())
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes, CliError> {
        let body = Limited::new(body, LARGEST_ANSWER)
            .collect()
            .await
            .map_err(|error| broke_off(&self.address, error.as_ref()))?;
        Ok(body.to_bytes())
    }

    fn answer(&self, status: StatusCode, body: &[u8]) -> Result<Answer, CliError> {
        let body = std::str::from_utf8(body)
            .map_err(|_| self.stranger(status, "bytes that are not UTF-8".into()))?
            .trim();
        let valid = body.is_empty() || serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok();
        if !valid {
            return Err(self.stranger(status, excerpt(body)));
        }
        Ok(Answer { status, body: body.to_owned(), address: self.address.clone() })
    }

    /// A problem where the body is one, else the best that can be said.
    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> CliError {
        let is_json = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(super::values::is_json);
        let parsed = is_json.then(|| serde_json::from_slice::<Problem>(body).ok()).flatten();
        let Some(mut problem) = parsed.filter(|problem| !problem.title.is_empty()) else {
            let mut what = excerpt(&String::from_utf8_lossy(body));
            if let Some(place) = headers.get(LOCATION).and_then(|place| place.to_str().ok()) {
                what = format!("a redirect to {}", super::terminal::clean(place));
            }
            return self.stranger(status, what);
        };
        problem.status = status.as_u16();
        problem.retry_after = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        problem.advice = match (status, &self.token) {
            (StatusCode::UNAUTHORIZED, None) => Some("TOLLGATE_TOKEN is not set"),
            (StatusCode::UNAUTHORIZED, Some(_)) => Some("TOLLGATE_TOKEN was not accepted"),
            _ => None,
        };
        CliError::Problem(Box::new(problem))
    }

    fn stranger(&self, status: StatusCode, what: String) -> CliError {
        CliError::NotTollgate {
            address: Box::new(self.address.clone()),
            status: status.as_u16(),
            what,
        }
    }
}

/// What comes of an answer that goes on and on.
pub(super) struct Endless {
    body: Incoming,
    address: Address,
}

impl Endless {
    /// `None` where it has ended in good order.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, CliError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| broke_off(&self.address, &error))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

fn broke_off(address: &Address, error: &(dyn std::error::Error + 'static)) -> CliError {
    let why = format!("the answer broke off: {}", root_cause(error));
    CliError::NoAnswer { address: Box::new(address.clone()), why }
}

impl Answer {
    /// The JSON as it came.
    pub(super) fn text(&self) -> &str {
        &self.body
    }

    /// Reads what this command needs of it.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, CliError> {
        serde_json::from_str(&self.body).map_err(|error| CliError::NotTollgate {
            address: Box::new(self.address.clone()),
            status: self.status.as_u16(),
            what: format!("{} ({error})", excerpt(&self.body)),
        })
    }
}

/// The innermost error has the words that help: "connection refused", not "client error".
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(std::io::ErrorKind::ConnectionRefused) => "connection refused".into(),
        Some(std::io::ErrorKind::ConnectionReset) => "the connection was reset".into(),
        Some(std::io::ErrorKind::TimedOut) => "the connection timed out".into(),
        _ => super::terminal::clean(&cause.to_string()),
    }
}

/// The beginning of what came instead, for people.
fn excerpt(body: &str) -> String {
    let body = body.trim();
    if body.is_empty() {
        return "an empty body".into();
    }
    let start: String = body.chars().take(80).collect();
    let more = if start.len() < body.len() { "…" } else { "" };
    format!("{}{more}", super::terminal::clean(&start))
}

#[cfg(test)]
mod tests;
