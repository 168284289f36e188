//! What one turn of a scenario found, and how turns become an outcome.

use std::collections::BTreeMap;

use super::{Better, Line, Measure, Outcome, Plot, Range, Scale};
use crate::load::{Latencies, Tally};

#[derive(Debug, Default)]
pub(crate) struct Turn {
    measures: Vec<(String, &'static str, Better, f64)>,
    latencies: Vec<(String, Latencies)>,
    plots: Vec<Plot>,
    notes: Vec<String>,
}

impl Turn {
    /// A figure of which more is better.
    pub(crate) fn higher(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        self.measures.push((name.into(), unit, Better::Higher, value));
    }

    /// A figure of which less is better.
    pub(crate) fn lower(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        self.measures.push((name.into(), unit, Better::Lower, value));
    }

    /// A figure that helps to read the others.
    pub(crate) fn info(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        self.measures.push((name.into(), unit, Better::Neither, value));
    }

    /// Those of all turns make one curve.
    pub(crate) fn latencies(&mut self, label: &str, latencies: &Latencies) {
        self.latencies.push((label.to_owned(), latencies.clone()));
    }

    /// Of the plots of one name, that of the last turn is kept.
    pub(crate) fn plot(&mut self, name: &str, x: &str, y: &str, lines: Vec<Line>) {
        let (name, x, y) = (name.to_owned(), x.to_owned(), y.to_owned());
        self.plots.push(Plot { name, x, y, scale: Scale::Linear, lines });
    }

    /// Notes answers that were neither a yes nor expected, and jobs of batches that were refused.
    pub(crate) fn answers(&mut self, who: &str, tally: &Tally, expected: &[u16]) {
        if tally.other_than(expected) > 0 {
            self.note(format!("{who}: {}", tally.answers()));
        } else if expected.is_empty() && tally.taken < tally.offered {
            let refused = tally.offered - tally.taken;
            self.note(format!("{who}: {refused} jobs of {} were refused", tally.offered));
        }
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

impl Outcome {
    /// An expectation that no turn has a figure for is put among the notes.
    pub(crate) fn of(
        name: &str,
        title: &str,
        parameters: serde_json::Value,
        turns: &[Turn],
        expected: &BTreeMap<String, Range>,
    ) -> Outcome {
        let mut measures: Vec<Measure> = Vec::new();
        let mut notes: Vec<String> = Vec::new();
        let mut plots: Vec<Plot> = Vec::new();
        let mut latencies: Vec<(String, Latencies)> = Vec::new();
        for turn in turns {
            for (name, unit, better, value) in &turn.measures {
                match measures.iter_mut().find(|measure| measure.name == *name) {
                    Some(measure) => measure.turns.push(*value),
                    None => measures.push(Measure {
                        name: name.clone(),
                        unit: (*unit).to_owned(),
                        better: *better,
                        turns: vec![*value],
                        expected: expected.get(name).copied(),
                    }),
                }
            }
            for (label, found) in &turn.latencies {
                match latencies.iter_mut().find(|(known, _)| known == label) {
                    Some((_, sum)) => sum.add(found),
                    None => latencies.push((label.clone(), found.clone())),
                }
            }
            for plot in &turn.plots {
                plots.retain(|known| known.name != plot.name);
                plots.push(plot.clone());
            }
            for note in &turn.notes {
                if !notes.contains(note) {
                    notes.push(note.clone());
                }
            }
        }
        for name in expected.keys() {
            if !turns.is_empty() && measures.iter().all(|measure| measure.name != *name) {
                notes.push(format!("{name} was expected and not measured"));
            }
        }
        plots.extend(curves(&latencies));
        let (name, title) = (name.to_owned(), title.to_owned());
        Outcome { name, title, parameters, measures, plots, notes, error: None }
    }
}

/// Latency by percentile, as HdrHistogram's own plots have it.
fn curves(latencies: &[(String, Latencies)]) -> Option<Plot> {
    let lines = latencies.iter().filter(|(_, found)| !found.is_empty()).map(|(label, found)| {
        // To four nines, in steps of a quarter.
        let points = (0..=16).map(|step| {
            let nines = f64::from(step) / 4.0;
            (nines, found.ms(1.0 - 10_f64.powf(-nines)).max(0.001))
        });
        Line { label: label.clone(), points: points.collect() }
    });
    let lines: Vec<Line> = lines.collect();
    (!lines.is_empty()).then(|| Plot {
        name: "latency".into(),
        x: "percentile".into(),
        y: "ms".into(),
        scale: Scale::Percentiles,
        lines,
    })
}
