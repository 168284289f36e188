//! What the checker says when a promise is broken.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation(pub(super) String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) type Checked = Result<(), Violation>;

/// Returns from the check with a [`Violation`] unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err($crate::sim::violation::Violation(format!($($words)+)));
        }
    };
}
pub(super) use ensure;
