//! How far a job's work has come, as far as anybody knows, and what is done about not knowing.
//!
//! ```text
//!            sent ──▶ done ──▶ succeeded
//!             │ ▲
//!     unknown │ └──────────────── not done ──────────┐
//!             ▼                                       │
//!   at-least-once: sent again    verify: asked ──▶ done, or not done, or asked again
//!   at-most-once:  dead          a 202:  polled ──▶ done, or failed, or polled again
//! ```
//! A *question* is a request that asks the target how the work went, and does none itself. It goes
//! under the same limits as an attempt, and its start is as durable.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job::{Happening, Header, JobState, Place};
use super::time::Wall;

/// What is done about an attempt of which nobody knows whether it did its work (CONTRACT §1).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Delivery {
    /// It is sent again, with the same `Idempotency-Key`.
    #[default]
    AtLeastOnce,
    /// Nothing: the job is dead.
    AtMostOnce,
    /// The target is asked.
    Verify,
}

impl Delivery {
    pub const ALL: [Delivery; 3] = [Delivery::AtLeastOnce, Delivery::AtMostOnce, Delivery::Verify];

    pub fn as_str(self) -> &'static str {
        match self {
            Delivery::AtLeastOnce => "at-least-once",
            Delivery::AtMostOnce => "at-most-once",
            Delivery::Verify => "verify",
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a delivery is at-least-once, at-most-once or verify")]
pub struct NotADelivery;

impl FromStr for Delivery {
    type Err = NotADelivery;
    fn from_str(text: &str) -> Result<Delivery, NotADelivery> {
        Delivery::ALL.into_iter().find(|known| known.as_str() == text).ok_or(NotADelivery)
    }
}

/// What the next request of a job is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    #[default]
    Work,
    /// To ask whether the work was done.
    Verify,
    /// To ask how the work goes that the target took on.
    Poll(Box<Poll>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// Below the target's base URL, as a job's own path is.
    pub path: String,
    /// After then nobody waits for it any more: the outcome is unknown.
    pub until: Wall,
}

/// What a request that leaves is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    Work,
    Verify,
    Poll { path: String },
}

/// What a job's header says of all this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// The job's own `delivery`; the target's where there is none.
    pub wanted: Option<Delivery>,
    /// What held when the last attempt at the work was started. It decides what follows from that
    /// attempt, whatever the configuration says by then, and if it says nothing of the target.
    pub sent_under: Delivery,
    /// The work may have been done, and nothing has shown that it was not; perhaps before the job was
    /// redriven.
    pub doubt: bool,
    /// Until then the target may still be about to do the work of an attempt that was given up
    /// (`hold_after_timeout`): if it says meanwhile that the work is not done, it may be yet.
    pub runs_until: Option<Wall>,
    pub phase: Phase,
    /// Questions sent in all.
    pub questions: u32,
    /// Questions in a row that brought no answer.
    pub in_vain: u32,
}

impl Course {
    pub fn new(wanted: Option<Delivery>) -> Course {
        Course { wanted, ..Course::default() }
    }

    /// Where the wall clock was set back, what may run on does so for `hold` at most.
    pub(super) fn bring_near(&mut self, now: Wall, hold: Duration) {
        self.runs_until = self.runs_until.map(|until| until.min(now + hold));
    }

    pub fn may_run_on(&self, now: Wall) -> bool {
        self.runs_until.is_some_and(|until| now < until)
    }

    pub fn is_asking(&self) -> bool {
        self.phase != Phase::Work
    }
}

impl Header {
    /// Requests sent in all, attempts and questions: the number of the last one.
    pub fn number(&self) -> u32 {
        self.attempts + self.course.questions
    }

    /// What people see of a job in `place`. A job whose outcome is being asked for is `verifying`
    /// until that is known, also while its question waits in line or is under way.
    pub fn state_in(&self, place: &Place) -> JobState {
        if self.course.is_asking() && !place.is_ended() {
            JobState::Verifying
        } else {
            place.state()
        }
    }

    /// Whether it must not be sent any more. Asking is no sending: a job whose work may be done
    /// does not end as if nothing had happened.
    pub(super) fn is_late(&self, now: Wall) -> bool {
        !self.course.is_asking() && self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// One more request is put on record; returns its number. `delivery`: the target's.
    pub(super) fn begin(&mut self, delivery: Delivery) -> u32 {
        if self.course.is_asking() {
            self.course.questions += 1;
        } else {
            self.attempts += 1;
            self.course.sent_under = self.course.wanted.unwrap_or(delivery);
        }
        self.number()
    }

    /// What stands in the history for the request that was just begun.
    pub(super) fn sent(&self, passed_over: u32) -> Happening {
        if self.course.is_asking() {
            Happening::Asked { question: self.course.questions, passed_over }
        } else {
            Happening::Sent { attempt: self.attempts, passed_over }
        }
    }

    /// The last request came to nothing before it left.
    pub(super) fn take_back(&mut self) -> Happening {
        if self.course.is_asking() {
            let question = self.course.questions;
            self.course.questions -= 1;
            Happening::NotAsked { question }
        } else {
            let attempt = self.attempts;
            self.attempts -= 1;
            Happening::NotSent { attempt }
        }
    }

    pub(crate) fn aim(&self) -> Aim {
        match &self.course.phase {
            Phase::Work => Aim::Work,
            Phase::Verify => Aim::Verify,
            Phase::Poll(poll) => Aim::Poll { path: poll.path.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_read_back_as_written() {
        for delivery in Delivery::ALL {
            assert_eq!(delivery.as_str().parse(), Ok(delivery));
        }
        assert_eq!("exactly-once".parse::<Delivery>(), Err(NotADelivery));
    }
}
