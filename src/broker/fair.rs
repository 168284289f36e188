//! Fairness between those who share a queue: start-time fair queueing (Goyal, Vin and Cheng, 1996).
//!
//! A queue has a virtual time, which is the tag of the last job that was started. A job's [`Tag`] is
//! the queue's virtual time when it comes, or the end of its flow's last job there if that is later;
//! its own end is its tag and a share of one, by its flow's weight. Lowest tag first: so a flow that
//! comes for the first time goes at once, and one with a backlog goes on once a round. Those without
//! a key are one flow together.
//!
//! The tag is given once, when a job comes into line or behind its group, and kept across retries.
//! So the index of a line stays one sorted index, and what must be remembered of a flow is the end
//! of its last job, until virtual time has passed that: the store keeps it, and memory what was
//! used last ([`super::flows::Flows`]).

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::job::{Header, Place, Priority, Seat, TargetId};
use super::text::text;

/// On whose account a job goes: 1 to 64 bytes, none of them a control character.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey(Arc<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to {} bytes and no control character", FlowKey::LONGEST)]
pub struct NotAFlowKey;

impl FlowKey {
    /// In bytes.
    pub const LONGEST: usize = 64;

    pub fn new(key: &str) -> Result<FlowKey, NotAFlowKey> {
        let fits = (1..=FlowKey::LONGEST).contains(&key.len());
        if fits && !key.contains(char::is_control) {
            Ok(FlowKey(key.into()))
        } else {
            Err(NotAFlowKey)
        }
    }
}

text!(FlowKey);

/// A point in the virtual time of a queue.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Tag(pub u64);

impl Tag {
    /// What one job of a flow of weight 1 takes.
    const ONE: u64 = 1 << 20;

    /// When a job that begins here is done, by its flow's weight.
    pub fn done(self, weight: NonZeroU32) -> Tag {
        Tag(self.0.saturating_add((Tag::ONE / u64::from(weight.get())).max(1)))
    }
}

/// Where a job stands in its line: lowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    pub tag: Tag,
    pub seat: Seat,
}

impl Header {
    pub fn rank(&self) -> Rank {
        Rank { tag: self.tag, seat: self.seat }
    }

    pub fn flow_id(&self) -> Option<FlowId> {
        let key = self.flow.clone()?;
        Some(FlowId { target: self.target, priority: self.priority, key })
    }
}

/// A flow: each queue has its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowId {
    pub target: TargetId,
    pub priority: Priority,
    pub key: FlowKey,
}

/// The virtual times of one target's queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clocks([Clock; Priority::ALL.len()]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The highest tag that was started.
    pub now: Tag,
    /// When the last of those without a key is done.
    pub done: Tag,
}

impl Clocks {
    pub fn get(&self, priority: Priority) -> Clock {
        self.0[priority.index()]
    }

    pub fn set(&mut self, priority: Priority, clock: Clock) {
        self.0[priority.index()] = clock;
    }

    /// What `change` does to the clocks of its target; the one place that knows.
    pub fn apply(&mut self, change: &Change) {
        let (header, place) = match change {
            Change::Insert(insert) => (&insert.header, &insert.place),
            Change::Move(step) => (&step.header, &step.to),
            _ => return,
        };
        let clock = &mut self.0[header.priority.index()];
        match place {
            // Its tag is given when it is due.
            Place::Scheduled { .. } | Place::Ended { .. } => return,
            Place::Running { .. } => clock.now = clock.now.max(header.tag),
            _ => {}
        }
        if header.flow.is_none() {
            clock.done = clock.done.max(header.tag.done(NonZeroU32::MIN));
        }
    }
}

/// How many jobs of a flow go for one of another; 1 where none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights(BTreeMap<FlowKey, NonZeroU32>);

impl Weights {
    /// The heaviest that a flow can be.
    pub const HEAVIEST: u32 = 1_000;

    pub fn new(weights: impl IntoIterator<Item = (FlowKey, NonZeroU32)>) -> Weights {
        Weights(weights.into_iter().collect())
    }

    pub fn of(&self, key: &FlowKey) -> NonZeroU32 {
        self.0.get(key).copied().unwrap_or(NonZeroU32::MIN)
    }
}
