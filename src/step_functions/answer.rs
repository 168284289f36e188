//! What a workflow is told of a job's end (CONTRACT §7). Pure.
//!
//! AWS counts the output in bytes of UTF-8, and error and cause in characters. Here all are
//! counted in bytes, which are never fewer.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::broker::job::{End, Happening};
use crate::broker::payload::Answer;
use crate::http_api::json::{ResultJson, message};
use crate::store::JobRecord;

/// Of a result, in bytes (SendTaskSuccess, `output`).
pub const MAX_OUTPUT: usize = 262_144;
/// In bytes (SendTaskFailure, `error`).
pub const MAX_ERROR: usize = 256;
/// In bytes (SendTaskFailure, `cause`).
pub const MAX_CAUSE: usize = 32_768;

pub const RESULT_TOO_LARGE: &str = "Tollgate.ResultTooLarge";

/// Of the message in a cause, in bytes.
const MAX_MESSAGE: usize = 4_096;
/// Of an answer's headers in a cause, in bytes: what is over that drops them.
const MAX_HEADERS: usize = 8_192;

#[derive(Clone, PartialEq, Eq)]
pub enum TokenAnswer {
    /// `output` is JSON.
    Success { output: String },
    /// `cause` is JSON, whole however much it had to leave out.
    Failure { error: String, cause: String },
}

impl TokenAnswer {
    /// `end`: how the job of the record ended. `kept`: what the store kept of its last answer.
    pub fn new(record: &JobRecord, end: End, kept: Option<&Answer>) -> TokenAnswer {
        let Some(code) = end.code() else { return TokenAnswer::success(record, kept) };
        let error = cut(&code, MAX_ERROR).to_owned();
        TokenAnswer::Failure { error, cause: cause(record, &message(end, record), kept) }
    }

    fn success(record: &JobRecord, kept: Option<&Answer>) -> TokenAnswer {
        let bare;
        let answer = match kept {
            Some(answer) => answer,
            None => {
                bare = Answer { status: status(record), ..Answer::default() };
                &bare
            }
        };
        if answer.truncated {
            return TokenAnswer::too_large(record, kept);
        }
        match serde_json::to_string(&ResultJson::new(answer)) {
            Ok(output) if output.len() <= MAX_OUTPUT => TokenAnswer::Success { output },
            _ => TokenAnswer::too_large(record, kept),
        }
    }

    /// The job succeeded, and Step Functions cannot carry what it brought.
    pub fn too_large(record: &JobRecord, kept: Option<&Answer>) -> TokenAnswer {
        let message = format!(
            "the target did the work, but its answer is over the {MAX_OUTPUT} bytes that a task's \
             result can have; it can be read at /v1/jobs/{}",
            record.header.id
        );
        let cause = cause(record, &message, kept);
        TokenAnswer::Failure { error: RESULT_TOO_LARGE.to_owned(), cause }
    }
}

/// Of the last success, for a job whose answer is not there any more.
fn status(record: &JobRecord) -> u16 {
    let done = |event: &crate::broker::job::Event| match event.what {
        Happening::Done { status, .. } => Some(status),
        _ => None,
    };
    record.history.iter().rev().find_map(done).unwrap_or(200)
}

#[derive(Serialize)]
struct Cause<'a> {
    id: String,
    priority: &'static str,
    attempts: u32,
    message: &'a str,
    /// The last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<ResultJson>,
}

fn cause(record: &JobRecord, message: &str, kept: Option<&Answer>) -> String {
    let mut cause = Cause {
        id: record.header.id.to_string(),
        priority: record.header.priority.as_str(),
        attempts: record.header.attempts,
        message: cut(message, MAX_MESSAGE),
        result: kept.map(ResultJson::new),
    };
    let whole = text_of(&cause);
    if whole.len() <= MAX_CAUSE {
        return whole;
    }
    shorten(&mut cause);
    text_of(&cause)
}

fn text_of(cause: &Cause<'_>) -> String {
    // Strings, numbers and JSON that was parsed before: nothing in it can fail.
    serde_json::to_string(cause).unwrap_or_default()
}

/// Until it fits: headers go first, then the end of the body.
fn shorten(cause: &mut Cause<'_>) {
    let Some(result) = cause.result.as_mut() else { return };
    if serde_json::to_string(&result.headers).is_ok_and(|text| text.len() > MAX_HEADERS) {
        result.headers.clear();
    }
    // A body that was JSON is cut as the text that it is written in.
    let written = std::mem::take(&mut result.response_body);
    let body = serde_json::from_str(written.get()).unwrap_or_else(|_| written.get().to_owned());
    let base64 = result.response_body_base64;
    result.response_body_truncated = true;
    result.response_body = raw("");
    let room = MAX_CAUSE.saturating_sub(text_of(cause).len());
    let mut kept = fitting(&body, room);
    if base64 {
        // Whole groups, so that what is left can be decoded.
        kept = &kept[..kept.len() / 4 * 4];
    }
    if let Some(result) = cause.result.as_mut() {
        result.response_body = raw(kept);
    }
}

fn raw(text: &str) -> Box<RawValue> {
    to_raw_value(text).unwrap_or_default()
}

/// The longest beginning that takes at most `room` bytes within a JSON string.
fn fitting(text: &str, room: usize) -> &str {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        taken += match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..'\u{20}' => 6,
            _ => c.len_utf8(),
        };
        if taken > room {
            return &text[..at];
        }
    }
    text
}

/// At most `most` bytes, and no character cut in two.
fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
