//! The driver's part: feeds the core, gathers a turn while the one before is being written, lets
//! its answers out when it is on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::broker::Broker;
use crate::broker::change::{Change, Load, Turn};
use crate::broker::io::{Reply, ReplyTo};
use crate::broker::job::{JobId, TargetId};
use crate::broker::payload::Request;

/// What has been decided and is not on disk.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) changes: Vec<Change>,
    pub(super) loads: Vec<Load>,
    pub(super) replies: Vec<(ReplyTo, Reply)>,
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.loads.is_empty() && self.replies.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Shell {
    pub(super) broker: Broker,
    pub(super) gathered: Gathered,
    /// The turn that is being written, and its answers.
    pub(super) writing: Option<(Turn, Vec<(ReplyTo, Reply)>)>,
    /// Requests of started jobs, from the commit until they are sent.
    pub(super) requests: BTreeMap<JobId, Arc<Request>>,
    pub(super) drained: bool,
    /// Let go, and not said to have left.
    pub(super) leaving: BTreeSet<(TargetId, JobId)>,
}

impl Shell {
    pub(super) fn new(broker: Broker) -> Shell {
        Shell {
            broker,
            gathered: Gathered::default(),
            writing: None,
            requests: BTreeMap::new(),
            drained: false,
            leaving: BTreeSet::new(),
        }
    }

    /// All that was said is on disk.
    pub(super) fn is_idle(&self) -> bool {
        self.writing.is_none() && self.gathered.is_empty()
    }
}
