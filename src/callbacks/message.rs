//! What a callback is told of a job's end. Pure.
//!
//! `data` is the job as `GET /v1/jobs/{id}` shows it, less its history: `result` and `error` have the
//! shape that a workflow gets.

use serde::Serialize;

use crate::broker::payload::Answer;
use crate::broker::time::Wall;
use crate::handle::Directory;
use crate::http_api::JobJson;
use crate::store::JobRecord;

#[derive(Serialize)]
struct Message {
    r#type: String,
    /// Of the job's end, not of this try.
    timestamp: String,
    data: JobJson,
}

/// The body of the webhook. `answer`: what the store kept of the target's last one; of that,
/// `max_body` bytes of its body are told.
pub(super) fn message(
    record: &JobRecord,
    ended: Wall,
    directory: &Directory,
    answer: Option<&Answer>,
    max_body: usize,
) -> Vec<u8> {
    let answer = answer.map(|answer| answer.cut(max_body));
    let mut data = JobJson::new(record, directory, answer.as_ref());
    data.history.clear();
    data.callback = None;
    let r#type = format!("job.{}", data.state);
    let message = Message { r#type, timestamp: ended.to_string(), data };
    // Strings, numbers and JSON that was parsed before: nothing in it can fail.
    serde_json::to_vec(&message).unwrap_or_default()
}
