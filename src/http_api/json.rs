//! A job as its callers see it (CONTRACT §5).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::callback_json::CallbackJson;
use crate::broker::counts::holds;
use crate::broker::course::Delivery;
use crate::broker::forecast::Position;
use crate::broker::job::{End, Event, Failure, Happening, Place, Says};
use crate::broker::payload::Answer;
use crate::broker::time::Wall;
use crate::handle::Directory;
use crate::store::JobRecord;
use crate::trace::TraceId;

/// A job. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub struct JobJson {
    #[schema(example = "0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11")]
    pub id: String,
    pub target: String,
    /// `HIGH`, `NORMAL` or `BATCH`.
    pub priority: &'static str,
    /// `scheduled`, `queued`, `running`, `waiting`, `verifying`; then for ever `succeeded`,
    /// `failed`, `expired` or `cancelled`. `verifying`: the work may be done or under way, and the
    /// target is being asked.
    pub state: &'static str,
    /// Requests sent so far for its work.
    pub attempts: u32,
    /// Requests sent so far to ask what became of its work.
    #[serde(skip_serializing_if = "is_zero")]
    pub questions: u32,
    /// The job's own; the target's holds where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<&'static str>,
    pub enqueued_at: String,
    /// Of a `scheduled` job: when it may be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// Of a `waiting` job: when it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<String>,
    /// Of a `verifying` job: when its target is asked next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_question_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Of a `queued` job: its place among those of its target, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// The same: when it would be sent, by the limits in force, if nothing comes between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Of a `queued` job that waits for those before it in its group: whose turn it is there. Told
    /// where one job is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<String>,
    /// It died, and nobody of its group is sent until it is redriven or purged.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub holds_group: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_key: Option<String>,
    /// Whom its end is told to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback: Option<CallbackJson>,
    /// The trace that its requests belong to: its caller's, or one that has the job's own id. Told
    /// where one job is asked for, and in the answer to a submission.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0af7651916cd43dd8448eb211c80319c")]
    pub trace_id: Option<String>,
    /// The submission named a job that is there already; this is that job.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// Of an ended job: the last answer of its target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultJson>,
    /// Of a job that ended without success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorJson>,
    /// Not in the answer to a submission.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<EventJson>,
}

/// An answer in the shape that Step Functions' own HTTP task gives it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = JobResult)]
pub struct ResultJson {
    pub status_code: u16,
    pub status_text: &'static str,
    pub headers: BTreeMap<String, Vec<String>>,
    /// JSON where the answer was JSON, with its numbers as they were; else a string.
    #[schema(value_type = serde_json::Value)]
    pub response_body: Box<RawValue>,
    /// The body is not UTF-8, and `ResponseBody` is its base64.
    #[serde(rename = "ResponseBodyBase64", skip_serializing_if = "std::ops::Not::not")]
    pub response_body_base64: bool,
    /// The body was longer than what is kept of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub response_body_truncated: bool,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = JobError)]
pub struct ErrorJson {
    /// As workflows see it, e.g. `Tollgate.RetriesExhausted` or `Tollgate.Http.404`.
    pub code: String,
    pub message: String,
}

/// One line of a job's history.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = JobEvent)]
pub struct EventJson {
    pub at: String,
    /// `enqueued`, `bad_message`, `too_late`, `scheduled`, `due`, `behind`, `its_turn`, `sent`,
    /// `not_sent`, `done`, `refused`, `rejected`, `unknown`, `accepted`, `waiting`, `verifying`,
    /// `asked`, `not_asked`, `answered`, `priority_changed`, `cancelled`, `expired`, `failed`,
    /// `edited`, `redriven`, `token_answered`, `token_late`, `callback_delivered`,
    /// `callback_undelivered` or `callback_redriven`.
    pub event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The number of a question about its work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<u32>,
    /// What an answer to a question says of the work: `done`, `not_done`, `failed`, `pending`;
    /// `refused` and `unknown` say nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<&'static str>,
    /// Of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it can go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How often higher jobs were sent while this one was next in its queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed_over: Option<u32>,
    /// Who asked for it: the name of the token, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where the target is asked how the work goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Which parts of the request were changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<String>,
}

impl JobJson {
    /// The same, with where it stands in its queue.
    #[must_use]
    pub fn standing(mut self, position: Option<Position>) -> JobJson {
        self.position = position.map(|position| position.position);
        let start = position.and_then(|position| position.estimated_start);
        self.estimated_start = start.map(|start| start.to_string());
        self
    }

    /// The same, with the trace that it belongs to.
    #[must_use]
    pub fn traced(mut self, trace: Option<TraceId>) -> JobJson {
        self.trace_id = trace.map(|trace| trace.to_string());
        self
    }

    /// `answer`: what the store kept of the last one; shown once the job has ended.
    pub fn new(record: &JobRecord, directory: &Directory, answer: Option<&Answer>) -> JobJson {
        let header = &record.header;
        let mut job = JobJson {
            id: header.id.to_string(),
            target: directory.name(header.target).to_owned(),
            priority: header.priority.as_str(),
            state: header.state_in(&record.place).as_str(),
            attempts: header.attempts,
            questions: header.course.questions,
            delivery: header.course.wanted.map(Delivery::as_str),
            enqueued_at: header.enqueued_at.to_string(),
            not_before: None,
            next_attempt_at: None,
            next_question_at: None,
            deadline: header.deadline.map(|at| at.to_string()),
            finished_at: None,
            position: None,
            estimated_start: None,
            group: header.group.as_ref().map(|group| group.name.to_string()),
            behind: None,
            holds_group: holds(&record.place, header.stand()),
            fairness_key: header.flow.as_ref().map(ToString::to_string),
            callback: CallbackJson::of(record),
            trace_id: None,
            duplicate: false,
            result: None,
            error: None,
            history: record.history.iter().map(EventJson::new).collect(),
        };
        match record.place {
            Place::Scheduled { due } => job.not_before = Some(due.to_string()),
            Place::Waiting { due } => job.next_attempt_at = Some(due.to_string()),
            Place::Verifying { due } => job.next_question_at = Some(due.to_string()),
            Place::Behind { due } => job.not_before = due.map(|due| due.to_string()),
            Place::Queued | Place::Running { .. } => {}
            Place::Ended { end, at } => {
                job.finished_at = Some(at.to_string());
                job.result = answer.map(ResultJson::new);
                job.error =
                    end.code().map(|code| ErrorJson { code, message: message(end, record) });
            }
        }
        job
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What went wrong, for people.
pub(crate) fn message(end: End, record: &JobRecord) -> String {
    let attempts = match record.header.attempts {
        0 => "it was never sent".to_owned(),
        1 => "after 1 attempt".to_owned(),
        n => format!("after {n} attempts"),
    };
    match end {
        End::Succeeded => String::new(),
        End::Failed(Failure::Rejected { status }) => {
            let text = status_text(status);
            format!("the target answered {status} {text}").trim_end().to_owned()
                + ", which no retry would change"
        }
        End::Failed(Failure::RetriesExhausted) => match last_setback(record) {
            Some(last) => format!("given up {attempts}; the last: {last}"),
            None => format!("given up {attempts}"),
        },
        End::Failed(Failure::OutcomeUnknown) => {
            let last = last_setback(record).map_or_else(String::new, |last| format!("; {last}"));
            let questions = match record.header.course.questions {
                0 => String::new(),
                1 => " and 1 question".to_owned(),
                n => format!(" and {n} questions"),
            };
            format!("nobody knows whether the work was done, {attempts}{questions}{last}")
        }
        End::Failed(Failure::BadMessage) => {
            let reason = record.history.iter().rev().find_map(|event| match &event.what {
                Happening::Unfit { reason } => Some(reason.as_str()),
                _ => None,
            });
            reason.unwrap_or("it cannot be understood").to_owned()
        }
        End::Expired if let Some(start) = hopeless(record) => {
            format!(
                "by its limits the target would get it at {start}, after its deadline; {attempts}"
            )
        }
        End::Expired => match record.header.deadline {
            Some(deadline) => format!("its deadline {deadline} passed; {attempts}"),
            None => format!("its deadline passed; {attempts}"),
        },
        End::Cancelled => {
            let reason = record.history.iter().rev().find_map(|event| match &event.what {
                Happening::Cancelled { reason } => reason.as_deref(),
                _ => None,
            });
            reason.unwrap_or("cancelled on request").to_owned()
        }
    }
}

fn hopeless(record: &JobRecord) -> Option<Wall> {
    record.history.iter().rev().find_map(|event| match &event.what {
        Happening::Hopeless { estimated_start } => Some(*estimated_start),
        _ => None,
    })
}

fn last_setback(record: &JobRecord) -> Option<String> {
    record.history.iter().rev().find_map(|event| match &event.what {
        Happening::Refused { status, reason, .. }
        | Happening::Unknown { status, reason, .. }
        | Happening::Answered { status, reason, says: Says::Unknown | Says::Refused, .. } => {
            reason.clone().or_else(|| status.map(|status| format!("the target answered {status}")))
        }
        _ => None,
    })
}

fn status_text(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or_default()
}

impl ResultJson {
    pub fn new(answer: &Answer) -> ResultJson {
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in &answer.headers {
            headers.entry(name.clone()).or_default().push(text(value));
        }
        let (response_body, response_body_base64) = body(answer);
        ResultJson {
            status_code: answer.status,
            status_text: status_text(answer.status),
            headers,
            response_body,
            response_body_base64,
            response_body_truncated: answer.truncated,
        }
    }
}

/// UTF-8, or else the Latin-1 that old servers mean.
fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// The body as JSON, and whether it is base64.
fn body(answer: &Answer) -> (Box<RawValue>, bool) {
    let string = |text: &str| serde_json::value::to_raw_value(text).unwrap_or_default();
    let Ok(text) = std::str::from_utf8(&answer.body) else {
        // A cut through the last character of a text does not make it binary.
        let broken = std::str::from_utf8(&answer.body).err();
        if let Some(cut) = broken.filter(|e| answer.truncated && e.error_len().is_none()) {
            let whole = std::str::from_utf8(&answer.body[..cut.valid_up_to()]);
            return (string(whole.unwrap_or_default()), false);
        }
        return (string(&STANDARD.encode(&answer.body)), true);
    };
    if says_json(answer)
        && let Ok(raw) = serde_json::from_str::<&RawValue>(text)
    {
        return (raw.to_owned(), false);
    }
    (string(text), false)
}

/// By its content type (`application/json`, `…+json`), or where it has none by its look.
fn says_json(answer: &Answer) -> bool {
    let named = answer.headers.iter().find(|(name, _)| name == "content-type");
    let Some((_, value)) = named else {
        return matches!(answer.body.trim_ascii_start().first(), Some(b'{' | b'['));
    };
    let value = String::from_utf8_lossy(value);
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

impl EventJson {
    pub fn new(event: &Event) -> EventJson {
        let line = |name| EventJson { at: event.at.to_string(), event: name, ..Default::default() };
        match &event.what {
            Happening::Enqueued => line("enqueued"),
            Happening::Scheduled { until } => {
                EventJson { until: Some(until.to_string()), ..line("scheduled") }
            }
            Happening::Due => line("due"),
            Happening::Sent { attempt, passed_over } => EventJson {
                attempt: Some(*attempt),
                passed_over: (*passed_over > 0).then_some(*passed_over),
                ..line("sent")
            },
            Happening::NotSent { attempt } => {
                EventJson { attempt: Some(*attempt), ..line("not_sent") }
            }
            Happening::Done { attempt, status } => {
                EventJson { attempt: Some(*attempt), status: Some(*status), ..line("done") }
            }
            Happening::Refused { attempt, status, reason, until } => EventJson {
                attempt: Some(*attempt),
                status: *status,
                reason: reason.clone(),
                until: Some(until.to_string()),
                ..line("refused")
            },
            Happening::Rejected { attempt, status } => {
                EventJson { attempt: Some(*attempt), status: Some(*status), ..line("rejected") }
            }
            Happening::Unknown { attempt, status, reason } => EventJson {
                attempt: Some(*attempt),
                status: *status,
                reason: reason.clone(),
                ..line("unknown")
            },
            Happening::Waiting { until } => {
                EventJson { until: Some(until.to_string()), ..line("waiting") }
            }
            Happening::PriorityChanged { from, to, by } => EventJson {
                by: by.clone(),
                from: Some(from.as_str()),
                to: Some(to.as_str()),
                ..line("priority_changed")
            },
            Happening::Cancelled { reason } => {
                EventJson { reason: reason.clone(), ..line("cancelled") }
            }
            Happening::Expired => line("expired"),
            Happening::Hopeless { estimated_start } => {
                EventJson { until: Some(estimated_start.to_string()), ..line("too_late") }
            }
            Happening::Failed { code } => EventJson { code: Some(code.clone()), ..line("failed") },
            Happening::Redriven { by } => EventJson { by: by.clone(), ..line("redriven") },
            Happening::Unfit { reason } => {
                EventJson { reason: Some(reason.clone()), ..line("bad_message") }
            }
            Happening::Asked { question, passed_over } => EventJson {
                question: Some(*question),
                passed_over: (*passed_over > 0).then_some(*passed_over),
                ..line("asked")
            },
            Happening::NotAsked { question } => {
                EventJson { question: Some(*question), ..line("not_asked") }
            }
            Happening::Answered { question, says, status, reason } => EventJson {
                question: Some(*question),
                says: Some(says.as_str()),
                status: *status,
                reason: reason.clone(),
                ..line("answered")
            },
            Happening::Verifying { until } => {
                EventJson { until: Some(until.to_string()), ..line("verifying") }
            }
            Happening::Accepted { attempt, status, path } => EventJson {
                attempt: Some(*attempt),
                status: Some(*status),
                path: Some(path.clone()),
                ..line("accepted")
            },
            Happening::Edited { parts } => {
                EventJson { parts: Some(parts.clone()), ..line("edited") }
            }
            Happening::Behind => line("behind"),
            Happening::Headed => line("its_turn"),
            Happening::TokenAnswered => line("token_answered"),
            Happening::TokenLate { reason } => {
                EventJson { reason: Some(reason.clone()), ..line("token_late") }
            }
            Happening::CallbackDelivered { status } => {
                EventJson { status: Some(*status), ..line("callback_delivered") }
            }
            Happening::CallbackUndelivered { reason } => {
                EventJson { reason: Some(reason.clone()), ..line("callback_undelivered") }
            }
            Happening::CallbackAgain { by } => {
                EventJson { by: by.clone(), ..line("callback_redriven") }
            }
        }
    }
}

#[cfg(test)]
mod tests;
