//! Fairness between those who share a queue.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for FlowKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for FlowKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<FlowKey, D::Error> {
        let key = String::deserialize(from)?;
        FlowKey::new(&key).map_err(serde::de::Error::custom)
    }
}

/// A point in the virtual time of a queue.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Tag(pub u64);

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
