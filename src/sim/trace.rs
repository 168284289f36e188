//! The last steps before a violation. Worlds run without it; one that fails is run again.

use std::collections::VecDeque;

use super::clocks::Moment;

const KEPT: usize = 80;

#[derive(Debug, Default)]
pub(super) struct Trace(Option<VecDeque<String>>);

impl Trace {
    pub(super) fn new(wanted: bool) -> Trace {
        Trace(wanted.then(VecDeque::new))
    }

    pub(super) fn note(&mut self, at: Moment, words: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.0 {
            if lines.len() == KEPT {
                lines.pop_front();
            }
            lines.push_back(format!("{at} {}", words()));
        }
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().map(String::as_str)
    }
}
