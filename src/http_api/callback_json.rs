//! The callback of a job: the name that callers give, and what is shown of it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::callback::{Callback, CallbackName, Telling};
use crate::broker::job::{Happening, JobId};
use crate::handle::Directory;
use crate::store::JobRecord;

use super::fields::{nearest, shown};
use super::problem::Problem;

/// Whom a job's end is told to.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = JobCallback)]
pub struct CallbackJson {
    #[schema(example = "orders")]
    pub name: String,
    /// `waiting`: the job has not ended; `pending`: it is to be told, or tried again; `delivered`;
    /// `undelivered`: nobody tries any more, until it is sent again by hand.
    pub state: &'static str,
    /// `webhook-id` of the message, the same whenever it is sent. Of a job that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Of one that is `undelivered`: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl CallbackJson {
    pub(super) fn of(record: &JobRecord) -> Option<CallbackJson> {
        let callback = record.header.callback.as_deref()?;
        let undelivered = matches!(callback.telling, Telling::Undelivered { .. });
        let reason = record.history.iter().rev().find_map(|event| match &event.what {
            Happening::CallbackUndelivered { reason } => Some(reason.clone()),
            _ => None,
        });
        Some(CallbackJson {
            name: callback.name.to_string(),
            state: state(callback),
            message_id: message_id(callback, record.header.id),
            reason: reason.filter(|_| undelivered),
        })
    }
}

fn state(callback: &Callback) -> &'static str {
    match callback.telling {
        Telling::NotYet => "waiting",
        Telling::Owed { .. } => "pending",
        Telling::Delivered => "delivered",
        Telling::Undelivered { .. } => "undelivered",
    }
}

fn message_id(callback: &Callback, job: JobId) -> Option<String> {
    (callback.telling != Telling::NotYet).then(|| callback.message_id(job))
}

/// One that the configuration has: a job whose end nobody could be told must not come in.
pub(crate) fn callback(
    field: &str,
    name: &str,
    directory: &Directory,
) -> Result<CallbackName, Problem> {
    if let Some(known) = directory.callback(name) {
        return Ok(known.clone());
    }
    let known = || directory.callbacks().map(CallbackName::as_str);
    let hint = match nearest(name, known()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None if known().next().is_none() => {
            "; the configuration has none: add a table [callbacks.NAME] with url and secret_file"
                .to_owned()
        }
        None => format!("; there are {}", known().collect::<Vec<_>>().join(", ")),
    };
    let why = format_args!("is `{}`, which is no callback{hint}", shown(name)).to_string();
    Err(Problem::invalid(field, why))
}
