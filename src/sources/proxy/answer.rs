//! A job's end as an HTTP answer: the target's own, or the problem in its place.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};

use crate::broker::job::{End, Header, JobId};
use crate::broker::payload::Answer;
use crate::http_api::headers::{is_hop_by_hop, nominated};
use crate::http_api::problem::{Kind, Problem};

/// `is_head`: the request was a HEAD. `draining`: the daemon is going down, and gave up what had
/// not begun.
pub(super) fn ended(
    header: &Header,
    end: End,
    answer: Option<&Answer>,
    is_head: bool,
    draining: bool,
) -> Response {
    let id = header.id;
    let problem = match (end, answer) {
        (End::Succeeded | End::Failed(_), Some(answer)) => match pass_on(answer, id, is_head) {
            Ok(response) => return about(response, id, header.attempts),
            Err(problem) => problem,
        },
        (End::Succeeded, None) => {
            let detail = format!("job {id} succeeded, but its answer was not kept");
            Problem::new(Kind::BadAnswer, detail)
        }
        (End::Failed(_), None) => {
            let detail = format!(
                "job {id} was given up after {} attempts, none of which was answered",
                header.attempts
            );
            Problem::new(Kind::NoAnswer, detail)
        }
        (End::Expired, _) => {
            let detail = format!("the deadline of job {id} passed before it was done");
            Problem::new(Kind::DeadlineExceeded, detail)
        }
        (End::Cancelled, _) if draining => Problem::draining(),
        (End::Cancelled, _) => {
            let detail = format!("job {id} was cancelled before it was sent");
            Problem::new(Kind::JobCancelled, detail)
        }
    };
    about(problem.with_job(id).into_response(), id, header.attempts)
}

/// Adds which job an answer is about.
pub(super) fn about(mut response: Response, id: JobId, attempts: u32) -> Response {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert("tollgate-job-id", id);
    }
    headers.insert("tollgate-attempts", attempts.into());
    response
}

fn pass_on(answer: &Answer, id: JobId, is_head: bool) -> Result<Response, Problem> {
    if answer.truncated {
        let detail = format!(
            "only the first {} bytes of the target's answer {} were kept, and a part must not \
             pass for the whole; they are at /v1/jobs/{id}",
            answer.body.len(),
            answer.status
        );
        return Err(Problem::new(Kind::BadAnswer, detail));
    }
    let status = StatusCode::from_u16(answer.status)
        .ok()
        .filter(|status| !status.is_informational())
        .ok_or_else(|| {
            let detail = format!("the target answered with the status {}", answer.status);
            Problem::new(Kind::BadAnswer, detail)
        })?;
    let bodiless = is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if bodiless { Body::new(NoBody) } else { Body::from(answer.body.clone()) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers(answer, is_head)?;
    Ok(response)
}

/// End-to-end headers. The length is that of the body, which is whole; only the answer to a HEAD
/// names the length of a body that is not there.
fn headers(answer: &Answer, is_head: bool) -> Result<HeaderMap, Problem> {
    let connection = answer.headers.iter().filter(|(name, _)| name == CONNECTION.as_str());
    let nominated = nominated(connection.map(|(_, value)| &value[..]));
    let mut headers = HeaderMap::with_capacity(answer.headers.len() + 2);
    for (name, value) in &answer.headers {
        let (Ok(parsed), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value))
        else {
            let detail = format!("the target's answer has a bad header `{}`", name.escape_debug());
            return Err(Problem::new(Kind::BadAnswer, detail));
        };
        let skipped = is_hop_by_hop(&parsed)
            || nominated.contains(name)
            || (parsed == CONTENT_LENGTH && (!is_head || headers.contains_key(CONTENT_LENGTH)));
        if !skipped {
            headers.append(parsed, value);
        }
    }
    Ok(headers)
}

/// Nothing, and no word about its length, so that nobody adds `Content-Length: 0` to an answer
/// whose body would have had another.
struct NoBody;

impl http_body::Body for NoBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}
