//! Stand-in until the data address is merged.

pub mod json;
pub mod problem;
