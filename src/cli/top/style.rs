//! What a colour says, and text that fits its column.

use ratatui::style::{Color, Modifier, Style as Look};
use ratatui::text::Span;

use crate::cli::terminal::Tone;

/// Colours, or none (NO_COLOR, no-color.org). Without them nothing is said by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    coloured: bool,
}

impl Style {
    #[cfg(test)]
    pub(super) const PLAIN: Style = Style { coloured: false };
    #[cfg(test)]
    pub(super) const COLOURED: Style = Style { coloured: true };

    pub(super) fn from_outside() -> Style {
        Style { coloured: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    pub(super) fn tone(self, tone: Tone) -> Look {
        let color = match tone {
            Tone::Plain => return Look::new(),
            Tone::Heading => return Look::new().add_modifier(Modifier::BOLD),
            Tone::Good => Color::Green,
            Tone::Bad => Color::Red,
            Tone::Held => Color::Yellow,
        };
        if self.coloured { Look::new().fg(color) } else { Look::new() }
    }

    pub(super) fn priority(self, name: &str) -> Look {
        let color = match name {
            "HIGH" => Color::Magenta,
            "NORMAL" => Color::Cyan,
            _ => Color::Blue,
        };
        if self.coloured { Look::new().fg(color) } else { Look::new() }
    }

    pub(super) fn quiet(self) -> Look {
        Look::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn strong(self) -> Look {
        self.tone(Tone::Heading)
    }

    /// What is chosen.
    pub(super) fn chosen(self) -> Look {
        Look::new().add_modifier(Modifier::REVERSED)
    }
}

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// Exactly so many columns, from the left; what is too long ends in `…`.
pub(super) fn left(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let blank = columns.saturating_sub(width(&text));
    format!("{text}{}", " ".repeat(blank))
}

/// Exactly so many columns, set to the right.
pub(super) fn right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let blank = columns.saturating_sub(width(&text));
    format!("{}{text}", " ".repeat(blank))
}

fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if width(&kept) + 1 > columns {
            kept.pop();
            break;
        }
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// `9999`, `50.0k`, `1.2M`.
pub(super) fn brief(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    if count < 10_000 {
        return count.to_string();
    }
    UNITS.iter().find(|(unit, _)| count >= *unit).map_or_else(
        || count.to_string(),
        |(unit, name)| {
            let tenths = count / (unit / 10);
            if tenths >= 1_000 {
                format!("{}{name}", tenths / 10)
            } else {
                format!("{}.{}{name}", tenths / 10, tenths % 10)
            }
        },
    )
}

/// `1,234,567`, for where there is room to tell exactly.
pub(super) fn exact(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Requests a second, in the unit that people would use.
pub(super) fn rate(per_second: f64) -> String {
    let plain = |value: f64| {
        let text = format!("{value:.1}");
        text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
    };
    if per_second >= 100.0 {
        format!("{per_second:.0}/s")
    } else if per_second == 0.0 || per_second >= 0.1 {
        format!("{}/s", plain(per_second))
    } else if per_second * 60.0 >= 0.1 {
        format!("{}/min", plain(per_second * 60.0))
    } else {
        format!("{}/h", plain(per_second * 3600.0))
    }
}

/// The last values, one a column, drawn between nought and `top`; what is above is drawn full.
pub(super) fn sparkline(values: &[f64], top: f64, columns: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &values[values.len().saturating_sub(columns)..];
    let mut text = " ".repeat(columns - shown.len());
    for value in shown {
        let share = if top > 0.0 { (value / top).clamp(0.0, 1.0) } else { 0.0 };
        // A clamped share, so the index is one of 0 to 7.
        let index = ((share * 8.0).ceil() as usize).clamp(1, 8) - 1;
        text.push(if *value > 0.0 { BARS[index] } else { ' ' });
    }
    text
}

/// A bar of so many columns, filled for a share of 0 to 1.
pub(super) fn gauge(share: f64, columns: usize) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let filled = (share * columns as f64).round() as usize;
    // What is not nothing shows.
    let filled = if share > 0.0 { filled.max(1) } else { 0 };
    format!("{}{}", "█".repeat(filled), "░".repeat(columns.saturating_sub(filled)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_fits_its_column() {
        assert_eq!(left("abc", 5), "abc  ");
        assert_eq!(left("abcdef", 5), "abcd…");
        assert_eq!(right("12", 4), "  12");
        assert_eq!(left("漢字漢字", 5), "漢字…");
        assert_eq!(left("漢字漢字", 6), "漢字… ");
        assert_eq!(left("x", 0), "");
        assert_eq!(left("ab", 1), "…");
    }

    #[test]
    fn numbers_as_people_read_them() {
        let told = [0, 9_999, 10_000, 50_000, 123_456, 999_999, 1_000_000, 12_345_678_901];
        assert_eq!(
            told.map(brief),
            ["0", "9999", "10.0k", "50.0k", "123k", "999k", "1.0M", "12.3G"]
        );
        assert_eq!([0, 999, 1_000, 1_234_567].map(exact), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 0.01, 0.2, 9.96, 12.0, 250.4, 1.0 / 3600.0].map(rate),
            ["0/s", "0.6/min", "0.2/s", "10/s", "12/s", "250/s", "1/h"]
        );
    }

    #[test]
    fn bars_show_nothing_only_for_nothing() {
        assert_eq!(sparkline(&[0.0, 0.01, 5.0, 10.0, 20.0], 10.0, 6), "  ▁▄██");
        assert_eq!(sparkline(&[1.0, 2.0, 3.0], 3.0, 2), "▆█");
        assert_eq!(sparkline(&[1.0], 0.0, 1), "▁");
        assert_eq!(gauge(0.0, 4), "░░░░");
        assert_eq!(gauge(0.01, 4), "█░░░");
        assert_eq!(gauge(2.0, 4), "████");
        assert_eq!(gauge(f64::NAN, 2), "░░");
    }
}
