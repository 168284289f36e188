//! What is going to happen, in order.

use std::collections::BTreeMap;

use super::clocks::Moment;
use super::workflows::Act;
use crate::broker::course::Aim;
use crate::broker::job::{JobId, TargetId};
use crate::broker::payload::Report;

/// Numbers the lives of the broker's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life(pub(super) u32);

/// A request on its way to a target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parcel {
    pub(super) life: Life,
    pub(super) target: TargetId,
    pub(super) job: JobId,
    pub(super) number: u32,
    pub(super) what: What,
    /// When it was let go.
    pub(super) sent: Moment,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Work,
    Verify,
    Poll,
}

impl What {
    pub(super) fn of(aim: &Aim) -> What {
        match aim {
            Aim::Work => What::Work,
            Aim::Verify => What::Verify,
            Aim::Poll { .. } => What::Poll,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// The store has done the first thing in its queue.
    Disk(Life),
    /// A request leaves the process.
    Left(Parcel),
    /// A fault: the process says so, and it is not true.
    SaysLeft(Parcel),
    /// A request is at its target.
    Arrival(Parcel),
    /// An attempt has ended, as the dispatcher sees it.
    Report(Parcel, Report),
    /// Somebody wants something.
    Call,
    /// The same, once.
    CallAgain,
    /// A target behaves in another way.
    Mood(TargetId),
    Crash,
    /// The process starts.
    Start,
    /// The process does not run for a while.
    Stop,
    /// The wall clock is set.
    Jump,
    Reload,
    Drain,
    /// The process ends, drained or not.
    Exit(Life),
    /// No more faults, and nobody wants anything any more.
    Calm,
    Workflow(Act),
}

impl Event {
    /// A process that is stopped does not notice.
    pub(super) fn is_for_process(&self) -> bool {
        match self {
            Event::Disk(_)
            | Event::Left(_)
            | Event::SaysLeft(_)
            | Event::Report(..)
            | Event::Call
            | Event::CallAgain
            | Event::Reload
            | Event::Drain => true,
            Event::Workflow(aim) => aim.is_for_process(),
            Event::Arrival(_)
            | Event::Mood(_)
            | Event::Crash
            | Event::Start
            | Event::Stop
            | Event::Jump
            | Event::Exit(_)
            | Event::Calm => false,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Calendar {
    events: BTreeMap<(Moment, u64), Event>,
    entered: u64,
}

impl Calendar {
    pub(super) fn add(&mut self, at: Moment, event: Event) {
        self.entered += 1;
        self.events.insert((at, self.entered), event);
    }

    pub(super) fn next_at(&self) -> Option<Moment> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn pop(&mut self) -> Option<(Moment, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }

    /// Forgets all that `unwanted` says.
    pub(super) fn forget(&mut self, unwanted: impl Fn(&Event) -> bool) {
        self.events.retain(|_, event| !unwanted(event));
    }
}
