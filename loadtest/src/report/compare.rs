//! Two reports side by side.

use std::fmt;

use super::table::{Figure, compared, direction};
use super::{Measure, Report};

/// With four turns each, two sets that do not overlap come about by chance once in 35 times; with
/// fewer nothing is said.
const ENOUGH: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// No turn of one is within the turns of the other.
    Significant,
    WithinTheSpread,
    TooFewTurns,
}

pub(crate) fn difference(a: &Measure, b: &Measure) -> Difference {
    if a.least() > b.most() || b.least() > a.most() {
        match a.turns.len().min(b.turns.len()) {
            n if n >= ENOUGH => Difference::Significant,
            _ => Difference::TooFewTurns,
        }
    } else {
        Difference::WithinTheSpread
    }
}

/// Displays the comparison.
pub(crate) struct Comparison<'a> {
    pub(crate) a: &'a Report,
    pub(crate) b: &'a Report,
}

impl Comparison<'_> {
    fn rows(&self) -> Vec<Vec<String>> {
        let titles = ["scenario", "figure", "A", "B", "unit", "B / A", ""];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        for ours in &self.a.scenarios {
            let theirs = self.b.scenarios.iter().find(|other| other.name == ours.name);
            let Some(theirs) = theirs else { continue };
            for a in &ours.measures {
                let b = theirs.measures.iter().find(|other| other.name == a.name);
                let Some(b) = b else { continue };
                rows.push(row(&ours.name, a, b));
            }
        }
        rows
    }

    /// Scenarios of which only the parameters' values are different are still compared; who reads
    /// it is told.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let (a, b) = (&self.a.machine, &self.b.machine);
        if (&a.cpu, a.cores, &a.kernel) != (&b.cpu, b.cores, &b.kernel) {
            warnings.push("the machines differ: only ratios within one report carry".to_owned());
        }
        for ours in &self.a.scenarios {
            let theirs = self.b.scenarios.iter().find(|other| other.name == ours.name);
            if theirs.is_some_and(|theirs| theirs.parameters != ours.parameters) {
                warnings.push(format!("{}: the parameters differ", ours.name));
            }
        }
        warnings
    }
}

fn row(scenario: &str, a: &Measure, b: &Measure) -> Vec<String> {
    let ratio = b.median() / a.median();
    let said = match difference(a, b) {
        Difference::Significant => direction(a.better, ratio).to_owned(),
        Difference::WithinTheSpread => "within the spread".to_owned(),
        Difference::TooFewTurns => "too few turns".to_owned(),
    };
    let shown = if ratio.is_finite() { format!("{ratio:.3}") } else { "-".to_owned() };
    vec![
        scenario.to_owned(),
        a.name.clone(),
        Figure(a.median()).to_string(),
        Figure(b.median()).to_string(),
        a.unit.clone(),
        shown,
        said,
    ]
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "A: {}, {}\nB: {}, {}\n", self.a.daemon, self.a.at, self.b.daemon, self.b.at)?;
        for warning in self.warnings() {
            writeln!(f, "{warning}")?;
        }
        compared(f, self.rows(), &[0, 1, 4, 6])
    }
}
