//! Plain aligned columns.

use super::terminal::{Paint, Tone, clean};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl AsRef<str>) -> Cell {
        Cell::toned(text, Tone::Plain)
    }

    pub(super) fn toned(text: impl AsRef<str>, tone: Tone) -> Cell {
        let text = clean(text.as_ref());
        Cell { text: if text.is_empty() { "-".into() } else { text }, tone }
    }
}

/// Rows may be written in several parts, as pages of a list come in: columns only ever get wider.
pub(super) struct Table {
    columns: Vec<(&'static str, Align, usize)>,
    rows: Vec<Vec<Cell>>,
    headed: bool,
}

impl Table {
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Table {
        let columns = columns.iter().map(|(name, align)| (*name, *align, width(name))).collect();
        Table { columns, rows: Vec::new(), headed: false }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        for ((_, _, wide), cell) in self.columns.iter_mut().zip(&cells) {
            *wide = (*wide).max(width(&cell.text));
        }
        self.rows.push(cells);
    }

    /// The rows since the last call, under the heading the first time.
    pub(super) fn take(&mut self, paint: Paint) -> String {
        let mut text = String::new();
        if !self.headed {
            let heading: Vec<Cell> =
                self.columns.iter().map(|(name, _, _)| Cell::toned(name, Tone::Heading)).collect();
            self.line(&mut text, &heading, paint);
            self.headed = true;
        }
        for row in std::mem::take(&mut self.rows) {
            self.line(&mut text, &row, paint);
        }
        text
    }

    fn line(&self, text: &mut String, cells: &[Cell], paint: Paint) {
        let last = cells.len().saturating_sub(1);
        for (at, (cell, (_, align, wide))) in cells.iter().zip(&self.columns).enumerate() {
            let pad = " ".repeat(wide.saturating_sub(width(&cell.text)));
            let dressed = paint.dress(&cell.text, cell.tone);
            match align {
                Align::Left if at == last => text.push_str(&dressed),
                Align::Left => text.extend([dressed.as_str(), &pad]),
                Align::Right => text.extend([pad.as_str(), &dressed]),
            }
            text.push_str(if at == last { "\n" } else { "  " });
        }
    }
}

/// In characters; wide ones may stick out.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(&[("NAME", Align::Left), ("N", Align::Right)]);
        table.row(vec![Cell::new("grün"), Cell::new("1")]);
        table.row(vec![Cell::new("a-longer-one"), Cell::new("1000")]);
        assert_eq!(
            table.take(Paint::NONE),
            "NAME             N\ngrün             1\na-longer-one  1000\n"
        );
        table.row(vec![Cell::new(""), Cell::toned("2", Tone::Bad)]);
        assert_eq!(table.take(Paint::ALWAYS), "-                \u{1b}[31m2\u{1b}[0m\n");
    }
}
