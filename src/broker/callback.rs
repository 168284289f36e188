//! Who is told of a job's end, beside a workflow: a callback of the configuration, by its name.
//!
//! ```text
//!               ends                        told
//!    NotYet ───────────▶ Owed ─────────────────────────▶ Delivered
//!       ▲                 ▲ │  given up                      │
//!       │                 │ └──────────────▶ Undelivered     │
//!       │                 └────────────────────┴─ once more ─┘
//!       └─────────────── redriven, from any of them
//! ```
//! What is said is made of the job when it is sent; here is only whether it is still to be said. A
//! redrive undoes an end, and what was still to be said of it: the next end is told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Broker;
use super::command::Purpose;
use super::io::{CommandError, Who};
use super::job::{Happening, Header, JobId, Place};
use super::text::text;
use super::time::{Now, Wall};

/// The name of a table `[callbacks.NAME]`: 1 to 64 letters, digits, `-` and `_`, a letter or digit
/// first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallbackName(Arc<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must have 1 to {} letters, digits, - or _, a letter or digit first",
    CallbackName::LONGEST
)]
pub struct NotACallbackName;

impl CallbackName {
    /// In bytes.
    pub const LONGEST: usize = 64;

    pub fn new(name: &str) -> Result<CallbackName, NotACallbackName> {
        let fits = (1..=CallbackName::LONGEST).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if fits { Ok(CallbackName(name.into())) } else { Err(NotACallbackName) }
    }
}

text!(CallbackName);

/// What a job's header says of its callback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    pub name: CallbackName,
    /// How often the job has ended. Together with its id the name of one message.
    pub ends: u32,
    pub telling: Telling,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Telling {
    /// The job has not ended.
    #[default]
    NotYet,
    /// To be sent, and retried since then.
    Owed { since: Wall },
    /// The receiver took it.
    Delivered,
    /// Nobody tries any more, since then.
    Undelivered { at: Wall },
}

impl Telling {
    pub fn is_owed(self) -> bool {
        matches!(self, Telling::Owed { .. })
    }
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Delivered { status: u16 },
    GivenUp { reason: String },
}

impl Callback {
    pub fn new(name: CallbackName) -> Callback {
        Callback { name, ends: 0, telling: Telling::NotYet }
    }

    /// The name of the message about the job's last end: the same whenever it is sent. Without a
    /// full stop, which would run into what is signed beside it.
    pub fn message_id(&self, job: JobId) -> String {
        format!("job_{job}_{}", self.ends)
    }

    /// The job, if it ended well, is kept as if it had ended then.
    pub fn kept_from(&self) -> Option<Wall> {
        match self.telling {
            Telling::Owed { .. } => Some(Wall::NEVER),
            Telling::Undelivered { at } => Some(at),
            Telling::NotYet | Telling::Delivered => None,
        }
    }

    fn ended(&mut self, now: Wall) {
        self.ends = self.ends.saturating_add(1);
        self.telling = Telling::Owed { since: now };
    }
}

impl Header {
    /// Its end is still to be told to a callback.
    pub fn owes_callback(&self) -> bool {
        self.callback.as_ref().is_some_and(|callback| callback.telling.is_owed())
    }

    /// See [`Callback::kept_from`].
    pub fn kept_for_callback(&self) -> Option<Wall> {
        self.callback.as_ref().and_then(|callback| callback.kept_from())
    }

    /// It goes from one place to another.
    pub(super) fn follow_callback(&mut self, from: &Place, to: &Place, now: Wall) {
        let Some(callback) = &mut self.callback else { return };
        match (from.is_ended(), to.is_ended()) {
            (false, true) => callback.ended(now),
            (true, false) => callback.telling = Telling::NotYet,
            _ => {}
        }
    }
}

impl Broker {
    /// `end`: which of the job's ends was told.
    pub(super) fn told(&mut self, now: Now, id: JobId, end: u32, how: Told) {
        match self.known(id) {
            Some(job) => self.settle_callback(now, job, end, how),
            None => self.find(id, Purpose::Told { end, how }),
        }
    }

    /// Does nothing where the job was redriven since.
    pub(super) fn settle_callback(&mut self, now: Now, job: (Header, Place), end: u32, how: Told) {
        let mut header = job.0.clone();
        let Some(callback) = &mut header.callback else { return };
        if !callback.telling.is_owed() || callback.ends != end {
            return;
        }
        let event = match how {
            Told::Delivered { status } => {
                callback.telling = Telling::Delivered;
                Happening::CallbackDelivered { status }
            }
            Told::GivenUp { reason } => {
                callback.telling = Telling::Undelivered { at: now.wall };
                Happening::CallbackUndelivered { reason }
            }
        };
        let place = job.1;
        self.shift(now, job, header, place, event.into());
    }

    /// The message about its end goes once more, under the same name.
    pub(super) fn tell_again(
        &mut self,
        now: Now,
        job: (Header, Place),
        by: Option<&Who>,
    ) -> Result<(Header, Place), CommandError> {
        let conflict = CommandError::Conflict { state: job.0.state_in(&job.1) };
        let (mut header, place) = job.clone();
        let Some(callback) = &mut header.callback else { return Err(conflict) };
        match callback.telling {
            Telling::NotYet => return Err(conflict),
            // It is about to go.
            Telling::Owed { .. } => return Ok(job),
            Telling::Delivered | Telling::Undelivered { .. } => {}
        }
        callback.telling = Telling::Owed { since: now.wall };
        let event = Happening::CallbackAgain { by: by.map(ToString::to_string) };
        let header = self.shift(now, job, header, place, event.into());
        Ok((header, place))
    }
}
