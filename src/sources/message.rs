//! From a message to the job that it asks for (CONTRACT §7). Pure: no clock, no network.
//!
//! The words are those of Step Functions' own HTTP task, and a few of ours. A message that makes
//! no sense becomes a job too: a dead one, with its bytes and the reason, so that nothing is lost
//! and whoever waits with a task token hears of it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::broker::fair::FlowKey;
use crate::broker::io::{Dedup, Submission};
use crate::broker::job::{JobId, Priority, Source, TargetId};
use crate::broker::payload::{Request, TaskToken};
use crate::broker::time::Wall;
use crate::handle::Directory;
use crate::http_api::fields::{nearest, shown};
use crate::http_api::new_job::{NewJob, Pairs};
use crate::http_api::problem::{Kind, Problem};
use crate::http_api::submission::{check_key, digest, validate};

/// As long as SQS keeps a message at most: for so long it can come again.
pub(super) const KEEP: Duration = Duration::from_secs(14 * 86_400);

const WORDS: [&str; 13] = [
    TOKEN,
    "Method",
    "Path",
    "Headers",
    "QueryParameters",
    BODY,
    "Priority",
    "DedupId",
    "Group",
    "FairnessKey",
    "Deadline",
    "Delay",
    "Callback",
];
const TOKEN: &str = "TaskToken";
const BODY: &str = "RequestBody";

/// What the problems of the jobs API call a field, and what it is called here.
const FIELDS: [(&str, &str); 11] = [
    ("priority", "Priority"),
    ("method", "Method"),
    ("path", "Path"),
    ("headers", "Headers"),
    ("query", "QueryParameters"),
    ("dedup_id", "DedupId"),
    ("group", "Group"),
    ("fairness_key", "FairnessKey"),
    ("deadline", "Deadline"),
    ("delay", "Delay"),
    ("callback", "Callback"),
];

/// One message as it came, and what its source says of it.
pub(super) struct Message<'a> {
    pub(super) body: &'a [u8],
    pub(super) target: (&'a str, TargetId),
    /// Unless the message names one.
    pub(super) priority: Priority,
    pub(super) origin: Origin<'a>,
}

pub(super) enum Origin<'a> {
    Sqs {
        message_id: &'a str,
        /// A FIFO queue's `MessageDeduplicationId`.
        dedup_id: Option<&'a str>,
        /// `MessageGroupId`: in a FIFO queue what goes one after the other, in another one on
        /// whose account it goes (SQS, "fair queues").
        group: Option<&'a str>,
    },
    /// The token comes from the API, not from the input.
    Activity { token: TaskToken },
}

impl Message<'_> {
    /// The job that this message asks for; a dead one where it cannot be understood.
    pub(super) fn understand(&self, directory: &Directory, now: Wall, id: JobId) -> Submission {
        let pairs = serde_json::from_slice::<Pairs>(self.body);
        let (token, pairs) = match pairs {
            Ok(Pairs(pairs)) => match self.token(&pairs) {
                Ok(token) => (token, Ok(pairs)),
                Err(problem) => (None, Err(problem)),
            },
            Err(error) => {
                let detail = format!("the message is not a JSON object: {error}");
                (self.salvaged(), Err(Problem::new(Kind::Malformed, detail)))
            }
        };
        let made = pairs.and_then(|pairs| self.job(&pairs, token.as_ref(), directory, now, id));
        match made {
            Ok(job) => Submission { source: self.source(), ..job },
            Err(problem) => self.unfit(id, token, reason(&problem)),
        }
    }

    fn source(&self) -> Source {
        match self.origin {
            Origin::Activity { .. } => Source::Activity,
            _ => Source::Sqs,
        }
    }

    /// The dead job that stands for this message.
    pub(super) fn unfit(&self, id: JobId, token: Option<TaskToken>, reason: String) -> Submission {
        let dedup = self.delivery(token.as_ref());
        let body = Bytes::copy_from_slice(self.body);
        let request = Request {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            body,
            task_token: token,
            ..Request::default()
        };
        Submission {
            source: self.source(),
            id,
            target: self.target.1,
            priority: self.priority,
            request: Arc::new(request),
            not_before: None,
            deadline: None,
            max_attempts: None,
            delivery: None,
            dedup,
            group: None,
            flow: None,
            callback: None,
            unfit: Some(reason),
        }
    }

    /// # Errors
    /// Where there is one that cannot be one.
    fn token(&self, pairs: &[(String, Box<RawValue>)]) -> Result<Option<TaskToken>, Problem> {
        if let Origin::Activity { token } = &self.origin {
            return Ok(Some(token.clone()));
        }
        let Some((_, raw)) = pairs.iter().rfind(|(name, _)| name == TOKEN) else {
            return Ok(None);
        };
        let text = serde_json::from_str::<Option<String>>(raw.get())
            .map_err(|_| Problem::invalid(TOKEN, "must be a string"))?;
        let token = |text| {
            TaskToken::new(text)
                .ok_or_else(|| Problem::invalid(TOKEN, "must have 1 to 2048 characters"))
        };
        text.map(token).transpose()
    }

    /// A token that can be read out of what is no JSON, such as a message that was cut short.
    fn salvaged(&self) -> Option<TaskToken> {
        if let Origin::Activity { token } = &self.origin {
            return Some(token.clone());
        }
        let text = std::str::from_utf8(self.body).ok()?;
        let (_, rest) = text.rsplit_once("\"TaskToken\"")?;
        let value = rest.trim_start().strip_prefix(':')?;
        let mut values = serde_json::Deserializer::from_str(value).into_iter::<String>();
        values.next()?.ok().and_then(TaskToken::new)
    }

    fn job(
        &self,
        pairs: &[(String, Box<RawValue>)],
        token: Option<&TaskToken>,
        directory: &Directory,
        now: Wall,
        id: JobId,
    ) -> Result<Submission, Problem> {
        let words = Words::read(pairs)?;
        let mut job = NewJob { target: Some(self.target.0.to_owned()), ..NewJob::default() };
        job.priority = words.text("Priority")?.or_else(|| Some(self.priority.as_str().to_owned()));
        job.method = words.text("Method")?;
        job.path = words.text("Path")?;
        job.headers = words.pairs("Headers")?;
        job.query = words.pairs("QueryParameters")?;
        job.delay = words.text("Delay")?;
        job.deadline = words.text("Deadline")?;
        job.callback = words.text("Callback")?;
        // What SQS says of the message holds here too, unless the message says something else.
        let (group, flow) = match &self.origin {
            Origin::Sqs { dedup_id: Some(_), group, .. } => (*group, None),
            Origin::Sqs { group, .. } => (None, *group),
            Origin::Activity { .. } => (None, None),
        };
        let flow = flow.filter(|key| FlowKey::new(key).is_ok());
        job.group = words.text("Group")?.or_else(|| group.map(str::to_owned));
        job.fairness_key = words.text("FairnessKey")?.or_else(|| flow.map(str::to_owned));
        let dedup_id = words.text("DedupId")?;
        if let Some(dedup_id) = &dedup_id {
            check_key("DedupId", dedup_id)?;
        }
        let mut plain = None;
        match words.body {
            Body::Whole(text) => job.body = Some(text),
            Body::None => {}
            Body::Given(raw) => match as_text(raw, job.headers.as_ref()) {
                Some(text) => plain = Some(text),
                None => job.body = Some(raw.to_owned()),
            },
        }
        let deadline = job.deadline.take();
        let mut submission = match deadline {
            None => validate(job, directory, now, id)?,
            Some(deadline) => {
                let timely = NewJob { deadline: Some(deadline), ..job.clone() };
                match validate(timely, directory, now, id) {
                    Ok(submission) => submission,
                    // It came too late, which is no fault of the message: the job expires.
                    Err(problem) if is_late(&problem) => {
                        job.delay = None;
                        expiring(validate(job, directory, now, id)?, now)
                    }
                    Err(problem) => return Err(problem),
                }
            }
        };
        let request = Arc::make_mut(&mut submission.request);
        if let Some(text) = plain {
            request.body = text;
        }
        request.task_token = token.cloned();
        let fifo = match &self.origin {
            Origin::Sqs { dedup_id, .. } => dedup_id.filter(|id| check_key("DedupId", id).is_ok()),
            Origin::Activity { .. } => None,
        };
        if request.idempotency_key.is_none() {
            request.idempotency_key = dedup_id.clone().or_else(|| fifo.map(str::to_owned));
        }
        submission.dedup = match (dedup_id, token) {
            (Some(name), None) => {
                Some(Dedup { name, digest: digest(request, |_| true), keep: Dedup::KEEP })
            }
            // Each token is owed its answer, so a second one is a job of its own. (Its requests
            // carry the same Idempotency-Key.)
            (Some(name), Some(token)) => Some(Dedup {
                name: format!("token {} {name}", hash(&[token.reveal().as_bytes()])),
                digest: digest(request, |_| true),
                keep: KEEP,
            }),
            (None, _) => self.delivery(token),
        };
        Ok(submission)
    }

    /// What tells a delivery of this message from every other message: its id together with its
    /// token. Never the token alone, because not every Step Functions gives each try its own.
    fn delivery(&self, token: Option<&TaskToken>) -> Option<Dedup> {
        let Origin::Sqs { message_id, .. } = &self.origin else { return None };
        let token = token.map_or("", TaskToken::reveal);
        // With spaces, which no caller's own key can have. Of the bytes, not of what they mean
        // today: a deadline passes, a delivery stays the same.
        Some(Dedup {
            name: format!("sqs {message_id} {}", hash(&[token.as_bytes()])),
            digest: sha256(&[self.body]),
            keep: KEEP,
        })
    }
}

/// So that the job goes through the same door as others whose time is over: it is put off past
/// its deadline, which comes at once, and is never sent.
fn expiring(mut job: Submission, now: Wall) -> Submission {
    job.deadline = Some(now + Duration::from_millis(500));
    job.not_before = Some(now + Duration::from_secs(3_600));
    job
}

fn is_late(problem: &Problem) -> bool {
    problem.detail().starts_with("`deadline` has passed")
}

/// For people, in the words of the message.
fn reason(problem: &Problem) -> String {
    let detail = problem.detail();
    let rest = detail.strip_prefix('`');
    let renamed = rest.and_then(|rest| {
        let (field, word) = FIELDS.iter().find(|(field, _)| {
            rest.strip_prefix(field).is_some_and(|after| after.starts_with(['`', '.']))
        })?;
        Some(format!("`{word}{}", &rest[field.len()..]))
    });
    renamed.unwrap_or_else(|| detail.to_owned())
}

enum Body<'a> {
    None,
    Given(&'a RawValue),
    /// The message less its token.
    Whole(Box<RawValue>),
}

struct Words<'a> {
    pairs: &'a [(String, Box<RawValue>)],
    body: Body<'a>,
}

impl<'a> Words<'a> {
    fn read(pairs: &'a [(String, Box<RawValue>)]) -> Result<Words<'a>, Problem> {
        for (index, (name, _)) in pairs.iter().enumerate() {
            if WORDS.contains(&name.as_str()) && pairs[..index].iter().any(|(one, _)| one == name) {
                return Err(Problem::invalid(name, "is there twice"));
            }
        }
        let has = |word: &str| pairs.iter().any(|(name, _)| name == word);
        let known = |name: &str| WORDS.contains(&name);
        let body = match pairs.iter().find(|(name, _)| name == BODY) {
            Some((_, raw)) => {
                if let Some((unknown, _)) = pairs.iter().find(|(name, _)| !known(name)) {
                    return Err(unknown_word(unknown));
                }
                if raw.get() == "null" { Body::None } else { Body::Given(raw) }
            }
            // A request such as `GET /orders/7`: there is nothing to forward.
            None if (has("Method") || has("Path")) && pairs.iter().all(|(n, _)| known(n)) => {
                Body::None
            }
            None => Body::Whole(without_token(pairs)?),
        };
        Ok(Words { pairs, body })
    }

    /// `null` is as good as leaving a word out.
    fn raw(&self, word: &str) -> Option<&'a RawValue> {
        let (_, raw) = self.pairs.iter().find(|(name, _)| name == word)?;
        (raw.get() != "null").then_some(&**raw)
    }

    fn text(&self, word: &str) -> Result<Option<String>, Problem> {
        let read = |raw: &RawValue| {
            serde_json::from_str(raw.get()).map_err(|_| Problem::invalid(word, "must be a string"))
        };
        self.raw(word).map(read).transpose()
    }

    fn pairs(&self, word: &str) -> Result<Option<Pairs>, Problem> {
        let read = |raw: &RawValue| {
            serde_json::from_str(raw.get()).map_err(|_| Problem::invalid(word, "must be an object"))
        };
        self.raw(word).map(read).transpose()
    }
}

fn unknown_word(name: &str) -> Problem {
    let hint = nearest(name, WORDS).map_or_else(
        || format!("the words are {}", WORDS.join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    let detail = format!("a message with `{BODY}` has no `{}`; {hint}", shown(name));
    Problem::new(Kind::UnknownField, detail)
}

/// Everything else as it is written, numbers and order included.
fn without_token(pairs: &[(String, Box<RawValue>)]) -> Result<Box<RawValue>, Problem> {
    let mut text = String::from("{");
    for (name, raw) in pairs.iter().filter(|(name, _)| name != TOKEN) {
        if text.len() > 1 {
            text.push(',');
        }
        let _ = write!(text, "{}:{}", serde_json::Value::from(name.as_str()), raw.get());
    }
    text.push('}');
    RawValue::from_string(text)
        .map_err(|error| Problem::new(Kind::Malformed, format!("cannot be forwarded: {error}")))
}

/// A string under a content type that is not JSON is meant as it is: XML, a form.
fn as_text(raw: &RawValue, headers: Option<&Pairs>) -> Option<Bytes> {
    let kind = headers?.0.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"))?;
    let kind: String = serde_json::from_str(kind.1.get()).ok()?;
    if kind.to_ascii_lowercase().contains("json") {
        return None;
    }
    serde_json::from_str::<String>(raw.get()).ok().map(Bytes::from)
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// The first half of the hash, in hexadecimal digits: enough to tell tokens apart.
fn hash(parts: &[&[u8]]) -> String {
    sha256(parts)[..16].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
