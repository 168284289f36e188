//! Questions: how a target is asked what became of a job's work, and what its answers say.

use http::StatusCode;

use super::answer::BodyEnd;
use super::meaning::{self, Holds, Seen};
use super::pointer;
use super::status_address::{self, Astray};
use super::template;
use crate::broker::job::JobId;
use crate::broker::payload::{Follow, HeaderLine, Outcome, Request};
use crate::config::{Address, Polling, Target, Verify};

/// What an answer to a question comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) outcome: Outcome,
    pub(super) follow: Follow,
    pub(super) reason: Option<String>,
}

impl Judged {
    fn new(outcome: Outcome, follow: Follow) -> Judged {
        Judged { outcome, follow, reason: None }
    }

    fn unknown(reason: String) -> Judged {
        Judged { outcome: Outcome::Unknown, follow: Follow::Nothing, reason: Some(reason) }
    }
}

/// The request that asks after an unknown outcome.
///
/// # Errors
/// Why it cannot be asked; for people.
pub(super) fn verify(target: &Target, id: JobId, work: &Request) -> Result<Request, String> {
    let verify = target.asking.verify.as_ref().ok_or_else(|| {
        let name = &target.name;
        format!("there is no [targets.{name}.verify] any more that says how to ask")
    })?;
    let path = template::fill(&verify.path, id, work).map_err(|error| error.to_string())?;
    Ok(ask(work, verify.method.as_str(), path, id))
}

/// The request that asks how work goes.
pub(super) fn poll(id: JobId, work: &Request, path: &str) -> Request {
    ask(work, "GET", path.to_owned(), id)
}

/// With the caller's headers, less what belongs to the body, and what would make the answer depend
/// on something else than the work (RFC 9110, sections 13 and 14).
fn ask(work: &Request, method: &str, path: String, id: JobId) -> Request {
    let of_the_question = |(name, _): &&HeaderLine| {
        !(name.starts_with("content-") || name.starts_with("if-") || name == "range")
    };
    Request {
        method: method.to_owned(),
        path,
        headers: work.headers.iter().filter(of_the_question).cloned().collect(),
        idempotency_key: Some(work.idempotency_key.clone().unwrap_or_else(|| id.to_string())),
        live: work.live,
        ..Request::default()
    }
}

pub(super) fn verified(verify: &Verify, seen: &Seen<'_>) -> Judged {
    // Half an answer is none: what follows from it cannot be taken back.
    if let BodyEnd::Broken(why) = seen.end {
        return Judged::unknown(format!("in the middle of the answer: {why}"));
    }
    match meaning::any(&verify.done, seen) {
        Holds::Yes => return Judged::new(Outcome::Done, Follow::Nothing),
        Holds::CannotTell => return cut(),
        Holds::No => {}
    }
    match meaning::any(&verify.not_done, seen) {
        Holds::Yes => return Judged::new(Outcome::Done, Follow::NotDone),
        Holds::CannotTell => return cut(),
        Holds::No => {}
    }
    if refuses(seen.status) {
        return Judged::new(Outcome::Refused, Follow::Nothing);
    }
    let status = seen.status.as_u16();
    Judged::unknown(format!("its answer {status} is neither verify.done nor verify.not_done"))
}

pub(super) fn polled(polling: Option<&Polling>, seen: &Seen<'_>) -> Judged {
    let Some(polling) = polling else {
        return Judged::unknown("its target has no `completion` any more".to_owned());
    };
    if let BodyEnd::Broken(why) = seen.end {
        return Judged::unknown(format!("in the middle of the answer: {why}"));
    }
    match meaning::any(&polling.done, seen) {
        Holds::Yes => return Judged::new(Outcome::Done, Follow::Nothing),
        Holds::CannotTell => return cut(),
        Holds::No => {}
    }
    match meaning::any(&polling.failed, seen) {
        Holds::Yes => return Judged::new(Outcome::Rejected, Follow::Nothing),
        Holds::CannotTell => return cut(),
        Holds::No => {}
    }
    if refuses(seen.status) {
        return Judged::new(Outcome::Refused, Follow::Nothing);
    }
    if seen.status.is_success() {
        return Judged::new(Outcome::Done, Follow::Pending);
    }
    let status = seen.status.as_u16();
    Judged::unknown(format!("its answer {status} is neither completion.done nor completion.failed"))
}

fn cut() -> Judged {
    Judged::unknown(
        "its answer is longer than response.max_body, and no JSON without its end".into(),
    )
}

fn refuses(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 503)
}

/// Whether an answer that is `done` only began the work, and where to ask how it goes.
pub(super) fn accepted(target: &Target, requested: &str, seen: &Seen<'_>) -> Follow {
    let Some(polling) = &target.asking.completion else { return Follow::Nothing };
    if seen.status != StatusCode::ACCEPTED {
        return Follow::Nothing;
    }
    let given = match &polling.address {
        Address::Header(name) => {
            let value = seen.headers.get(name);
            value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        }
        Address::Body(pointer) => pointer::find(seen.body, pointer).and_then(pointer::scalar),
    };
    let address = given.ok_or(Astray::Missing);
    match address.and_then(|given| status_address::resolve(&target.url, requested, &given)) {
        Ok(path) => Follow::Accepted { path },
        Err(astray) => {
            let at = match &polling.address {
                Address::Header(name) => format!("header {name}"),
                Address::Body(pointer) => format!("body at {pointer}"),
            };
            let reason = format!("the target took the work on with 202, but {astray} ({at})");
            Follow::Astray { reason }
        }
    }
}
