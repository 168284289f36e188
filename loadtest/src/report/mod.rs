//! What a run found: figures of each turn, curves, and what was expected.

pub(crate) mod compare;
pub(crate) mod plot;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod turn;

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

pub(crate) use turn::Turn;

/// One run, as it is kept in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// RFC 3339.
    pub(crate) at: String,
    pub(crate) machine: Machine,
    /// What the daemon's binary calls itself.
    pub(crate) daemon: String,
    /// In bytes.
    pub(crate) binary_bytes: u64,
    pub(crate) scenarios: Vec<Outcome>,
}

impl Report {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Report> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no report", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// What one scenario found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) parameters: serde_json::Value,
    pub(crate) measures: Vec<Measure>,
    pub(crate) plots: Vec<Plot>,
    pub(crate) notes: Vec<String>,
    /// Why it did not come to its end.
    pub(crate) error: Option<String>,
}

/// One figure of each turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measure {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
    pub(crate) turns: Vec<f64>,
    pub(crate) expected: Option<Range>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
    /// It only helps to read the others.
    Neither,
}

/// Where a median is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    pub(crate) at_least: Option<f64>,
    pub(crate) at_most: Option<f64>,
}

impl Range {
    fn holds(self, value: f64) -> bool {
        self.at_least.is_none_or(|least| value >= least)
            && self.at_most.is_none_or(|most| value <= most)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    NothingExpected,
}

impl Measure {
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.turns.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    pub(crate) fn least(&self) -> f64 {
        self.turns.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn most(&self) -> f64 {
        self.turns.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self.expected {
            None => Verdict::NothingExpected,
            Some(range) if range.holds(self.median()) => Verdict::Met,
            Some(_) => Verdict::Missed,
        }
    }
}

/// Curves with common axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plot {
    pub(crate) name: String,
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) scale: Scale,
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scale {
    Linear,
    /// x counts nines: 1 is 90 %, 2 is 99 %; y is logarithmic.
    Percentiles,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) points: Vec<(f64, f64)>,
}
