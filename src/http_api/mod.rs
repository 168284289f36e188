//! Stand-in until the data address is merged.

pub(crate) mod fields;
pub mod json;
pub mod problem;
