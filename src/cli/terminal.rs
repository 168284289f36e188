//! Standard output: written whole or not at all, coloured only for people.

use std::io::{self, BufRead, IsTerminal, Write};

use super::error::CliError;

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paint(bool);

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Heading,
    Good,
    Bad,
    Held,
}

impl Paint {
    #[cfg(test)]
    pub(super) const NONE: Paint = Paint(false);
    #[cfg(test)]
    pub(super) const ALWAYS: Paint = Paint(true);

    /// Where standard output is a terminal and NO_COLOR (no-color.org) is unset or empty.
    fn from_outside() -> Paint {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Paint(!refused && io::stdout().is_terminal())
    }

    pub(super) fn dress(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            _ if !self.0 => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Heading => "1",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Held => "33",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// The tone of a job's state.
pub(super) fn tone_of_state(state: &str) -> Tone {
    match state {
        "succeeded" => Tone::Good,
        "failed" | "expired" => Tone::Bad,
        "waiting" | "cancelled" => Tone::Held,
        _ => Tone::Plain,
    }
}

pub(super) struct Terminal {
    out: Box<dyn Write>,
    pub paint: Paint,
}

impl Terminal {
    pub(super) fn outside() -> Terminal {
        Terminal { out: Box::new(io::stdout()), paint: Paint::from_outside() }
    }

    /// Writes `text` and a newline if it does not end in one.
    pub(super) fn print(&mut self, text: &str) -> Result<(), CliError> {
        self.out.write_all(text.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            self.out.write_all(b"\n")?;
        }
        self.out.flush()?;
        Ok(())
    }

    /// Asks on standard error, where it is seen even if the output is redirected.
    /// Anything but a yes is a no.
    pub(super) fn confirm(&mut self, question: &str) -> Result<bool, CliError> {
        say(&format!("{question} [y/N] "), "");
        let mut line = String::new();
        io::stdin()
            .lock()
            .read_line(&mut line)
            .map_err(|error| CliError::Read { what: "the answer".into(), error })?;
        Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    pub(super) fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }
}

/// A word to people on standard error. One that nobody can read is lost in silence.
pub fn complain(message: &str) {
    say(message, "\n");
}

fn say(message: &str, end: &str) {
    let _ = write!(io::stderr(), "{message}{end}");
}

/// Text from elsewhere, on one line, with what could steer a terminal made visible.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// As [`clean`], with its lines and tabs kept.
pub(super) fn clean_lines(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.split('\t').map(clean).collect::<Vec<_>>().join("\t"))
        .collect();
    lines.join("\n")
}

/// Control characters, and those that turn the direction of writing around (UAX #9).
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(clean("\u{9b}31m\u{202e}x"), "\\u{9b}31m\\u{202e}x");
        assert_eq!(clean("grün ✓"), "grün ✓");
        assert_eq!(clean_lines("a\tb\r\nc\u{7}"), "a\tb\nc\\u{7}");
    }

    #[test]
    fn colour_only_where_wanted() {
        assert_eq!(Paint::NONE.dress("x", Tone::Bad), "x");
        assert_eq!(Paint::ALWAYS.dress("x", Tone::Bad), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(Paint::ALWAYS.dress("x", Tone::Plain), "x");
    }
}
