//! The last steps before a violation. Worlds run without it; one that fails is run again.

use std::collections::VecDeque;

use super::clocks::Moment;

#[derive(Debug, Default)]
pub(super) struct Trace {
    lines: VecDeque<String>,
    /// How many are kept.
    kept: usize,
}

impl Trace {
    pub(super) fn new(kept: usize) -> Trace {
        Trace { lines: VecDeque::new(), kept }
    }

    pub(super) fn note(&mut self, at: Moment, words: impl FnOnce() -> String) {
        if self.kept > 0 {
            if self.lines.len() == self.kept {
                self.lines.pop_front();
            }
            self.lines.push_back(format!("{at} {}", words()));
        }
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
