//! An answer that says no (RFC 9457), in the words that people see.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::ages;
use super::terminal::{clean, clean_lines};

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub detail: Option<String>,
    /// From the header `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// What to do about it, as far as this side can tell.
    #[serde(skip)]
    pub advice: Option<&'static str>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = clean(&self.title);
        write!(f, "{}", if title.is_empty() { "the daemon said no" } else { &title })?;
        write!(f, " ({})", self.status)?;
        if let Some(detail) = self.detail.as_deref().filter(|detail| !detail.is_empty()) {
            // Several lines begin below the title, so that they stand in one column.
            let gap = if detail.contains('\n') { "\n" } else { " " };
            write!(f, ":{gap}{}", clean_lines(detail.trim_end()))?;
        }
        if let Some(after) = self.retry_after {
            write!(f, "; try again in {}", ages::short(after))?;
        }
        if let Some(advice) = self.advice {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}
