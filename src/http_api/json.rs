//! Stand-in until the data address is merged.

use serde::Serialize;

use crate::broker::payload::Answer;
use crate::handle::Directory;
use crate::store::JobRecord;

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct JobJson {
    id: String,
    target: String,
    priority: &'static str,
    state: &'static str,
    attempts: u32,
    enqueued_at: String,
}

impl JobJson {
    pub fn new(record: &JobRecord, directory: &Directory, _answer: Option<&Answer>) -> JobJson {
        let header = &record.header;
        JobJson {
            id: header.id.to_string(),
            target: directory.name(header.target).to_owned(),
            priority: header.priority.as_str(),
            state: record.place.state().as_str(),
            attempts: header.attempts,
            enqueued_at: header.enqueued_at.to_string(),
        }
    }
}
