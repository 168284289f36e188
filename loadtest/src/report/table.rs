//! A report for people: on the terminal and, the same, in Markdown.

use std::fmt;

use super::{Better, Measure, Outcome, Range, Report, Verdict};

/// A figure with about four digits that count.
pub(crate) struct Figure(pub(crate) f64);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0.abs() {
            // Zero needs none, nor does what is no number.
            value if value == 0.0 || !value.is_finite() => 0,
            value if value >= 1000.0 => 0,
            value if value >= 100.0 => 1,
            value if value >= 1.0 => 2,
            value if value >= 0.01 => 3,
            _ => 5,
        };
        let text = format!("{:.digits$}", self.0);
        f.pad(&text)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (self.at_least, self.at_most) {
            (Some(least), Some(most)) => format!("{} to {}", Figure(least), Figure(most)),
            (Some(least), None) => format!("≥ {}", Figure(least)),
            (None, Some(most)) => format!("≤ {}", Figure(most)),
            (None, None) => String::new(),
        };
        f.pad(&text)
    }
}

/// Rows of cells, as wide as they must be; the columns from the second on are aligned right where
/// `right` says so.
struct Rows {
    rows: Vec<Vec<String>>,
}

impl Rows {
    fn write(&self, f: &mut fmt::Formatter<'_>, left: &[usize]) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let wide = |column| self.rows.iter().filter_map(|row| row.get(column)).map(width).max();
        let widths: Vec<usize> = (0..columns).map(|column| wide(column).unwrap_or(0)).collect();
        for (n, row) in self.rows.iter().enumerate() {
            write_row(f, row, &widths, left)?;
            if n == 0 {
                let rule = widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>();
                write_row(f, &rule, &widths, left)?;
            }
        }
        Ok(())
    }
}

fn write_row(
    f: &mut fmt::Formatter<'_>,
    row: &[String],
    widths: &[usize],
    left: &[usize],
) -> fmt::Result {
    f.write_str("|")?;
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        match left.contains(&column) {
            true => write!(f, " {cell:<width$} |")?,
            false => write!(f, " {cell:>width$} |")?,
        }
    }
    f.write_str("\n")
}

#[expect(clippy::ptr_arg, reason = "it is mapped over Strings")]
fn width(cell: &String) -> usize {
    cell.chars().count()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}: {}\n", self.name, self.title)?;
        if let Some(error) = &self.error {
            writeln!(f, "did not come to its end: {error}\n")?;
        }
        if !self.measures.is_empty() {
            let titles = ["", "median", "least", "most", "unit", "expected", ""];
            let mut rows = vec![titles.map(str::to_owned).to_vec()];
            rows.extend(self.measures.iter().map(row));
            Rows { rows }.write(f, &[0, 4, 5, 6])?;
        }
        let turns = self.measures.iter().map(|measure| measure.turns.len()).max().unwrap_or(0);
        writeln!(f, "\n{turns} turns.")?;
        for note in &self.notes {
            writeln!(f, "- {note}")?;
        }
        Ok(())
    }
}

fn row(measure: &Measure) -> Vec<String> {
    let verdict = match measure.verdict() {
        Verdict::Met => "met",
        Verdict::Missed => "MISSED",
        Verdict::NothingExpected => "",
    };
    vec![
        measure.name.clone(),
        Figure(measure.median()).to_string(),
        Figure(measure.least()).to_string(),
        Figure(measure.most()).to_string(),
        measure.unit.clone(),
        measure.expected.map(|range| range.to_string()).unwrap_or_default(),
        verdict.to_owned(),
    ]
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(
            f,
            "{}, binary {:.1} MiB; {}\n{} x {}, {:.1} GiB, Linux {}, {}, fdatasync of 4 KiB {:.0} µs, \
             load before the run {:.2}\n",
            self.daemon,
            self.binary_bytes as f64 / 1_048_576.0,
            self.at,
            machine.cores,
            machine.cpu,
            machine.memory_gib,
            machine.kernel,
            machine.file_system,
            machine.fdatasync_us,
            machine.load
        )?;
        for outcome in &self.scenarios {
            writeln!(f, "{outcome}")?;
        }
        Ok(())
    }
}

/// The rows of a comparison.
pub(super) fn compared(
    f: &mut fmt::Formatter<'_>,
    rows: Vec<Vec<String>>,
    left: &[usize],
) -> fmt::Result {
    Rows { rows }.write(f, left)
}

/// Whether more or less is better, in a word.
pub(super) fn direction(better: Better, ratio: f64) -> &'static str {
    match (better, ratio > 1.0) {
        (Better::Neither, _) => "different",
        (Better::Higher, true) | (Better::Lower, false) => "better",
        (Better::Higher, false) | (Better::Lower, true) => "WORSE",
    }
}
