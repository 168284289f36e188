//! What an estimate is made from.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::broker::calendar::{Quota, Schedule};
use crate::broker::policy::Rate;
use crate::broker::time::Wall;

/// The limits of one target as they stand. Filled in by whoever knows them.
#[derive(Clone, Debug)]
pub struct Limits {
    pub now: Wall,
    pub gate: Gate,
    /// The target's own; the schedule may set another rate.
    pub bucket: Bucket,
    /// Of limits that it shares, each with the part of the rate that it can count on.
    pub shared: Vec<Bucket>,
    pub windows: Vec<Window>,
    pub quotas: Vec<QuotaLeft>,
    pub concurrency: Concurrency,
    pub schedule: Schedule,
    /// With `finish_before_close`, the timeout: nothing starts so long before a closed window.
    /// Zero without.
    pub lasting: Duration,
    /// The head of a queue goes after so many higher jobs went before it. At least 1.
    pub max_deferrals: NonZeroU32,
}

/// Whether anything is sent, whatever the limits say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// Nothing before then.
    Until(Wall, Hold),
    /// Nothing until somebody changes it.
    Shut(Hold),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// By a person.
    Paused,
    /// The target asked for a pause.
    Refused,
    Breaker,
    /// The daemon is going down.
    Draining,
    /// The configuration does not name the target any more.
    NotConfigured,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub rate: Rate,
    pub burst: NonZeroU32,
    /// There now, with fractions.
    pub tokens: f64,
}

/// A hard ceiling: so many in any stretch of this width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub count: NonZeroU32,
    pub width: Duration,
    /// Of `count`, only for HIGH.
    pub reserve: u32,
    /// Slots that are taken: so many are free again at that time. In any order; gathered in a few
    /// dozen lots where there are many. Those under way count from when they are expected to end.
    pub taken: Vec<(Wall, u32)>,
}

/// A calendar quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaLeft {
    pub quota: Quota,
    /// In the period that counts now.
    pub left: u32,
    /// Of the quota's `count`, only for HIGH.
    pub reserve: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    pub max: NonZeroU32,
    pub in_flight: u32,
    /// Of an attempt, as measured; `None` where that is not known: then it limits nothing here.
    pub mean: Option<Duration>,
}
