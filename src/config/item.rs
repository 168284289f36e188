//! One value of the file, and how its text is read: `${NAME}` filled in, files opened.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::table::Context;

pub(super) struct Item<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) value: &'a DeValue<'a>,
}

/// A string of the file.
pub(super) struct Text {
    /// With `${NAME}` filled in.
    pub(super) value: String,
    written: String,
    filled_in: bool,
}

impl Text {
    /// The same with another value, which is a part of it: nothing that was cut off is shown.
    pub(super) fn with(&self, value: &str) -> Text {
        let written = if self.filled_in { self.written.clone() } else { value.to_owned() };
        let written = written.split('?').next().unwrap_or_default().to_owned();
        Text { value: value.to_owned(), written, filled_in: self.filled_in }
    }

    /// Part of it came from the environment.
    pub(super) fn filled_in(&self) -> bool {
        self.filled_in
    }
}

/// As the file has it, in quotes. What came from the environment may be a secret and is not shown.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.written))?;
        if self.filled_in {
            f.write_str(" (filled in from the environment)")?;
        }
        Ok(())
    }
}

impl Item<'_> {
    pub(super) fn is_text(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    /// `expected` goes into the error, e.g. "a duration in quotes".
    pub(super) fn text(&self, expected: &str) -> Result<Text, String> {
        let DeValue::String(written) = self.value else {
            return Err(format!("expected {expected}; found {}", describe(self.value)));
        };
        let set = |name: &str| (self.context.env)(name).ok_or("is not set");
        let (value, filled_in) = fill_in(written, &set)?;
        Ok(Text { value, written: written.to_string(), filled_in })
    }

    /// A text that is a secret: no error shows any of it, and no part of it may be empty.
    pub(super) fn secret(&self, expected: &str) -> Result<String, String> {
        let DeValue::String(written) = self.value else {
            return Err(format!("expected {expected}; found {}", kind(self.value)));
        };
        let not_empty = |name: &str| match (self.context.env)(name) {
            None => Err("is not set"),
            Some(value) if value.is_empty() => Err("is empty"),
            Some(value) => Ok(value),
        };
        fill_in(written, &not_empty).map(|(value, _)| value)
    }

    /// The contents of the file that the text names, less one line end. A relative path starts at
    /// the folder of the configuration file. At most `max` bytes.
    pub(super) fn secret_file(&self, max: usize) -> Result<String, String> {
        let (full, place) = self.file()?;
        let mut bytes = Vec::new();
        File::open(&full)
            .and_then(|file| file.take(max as u64 + 1).read_to_end(&mut bytes))
            .map_err(|error| format!("cannot read {place}: {error}"))?;
        if bytes.len() > max {
            return Err(format!("{place} is larger than {max} bytes"));
        }
        let text = String::from_utf8(bytes).map_err(|_| format!("{place} is not UTF-8 text"))?;
        let trimmed = text.strip_suffix('\n').unwrap_or(&text);
        Ok(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned())
    }

    /// The path that the text names, a relative one from the folder of the configuration file, and
    /// how it is shown.
    pub(super) fn file(&self) -> Result<(PathBuf, String), String> {
        let path = self.text("the path of a file, in quotes")?;
        let folder = self.context.source.file.parent().unwrap_or(Path::new(""));
        let full = folder.join(&path.value);
        let place = if path.filled_in { path.to_string() } else { quoted(&full.to_string_lossy()) };
        Ok((full, place))
    }

    pub(super) fn whole(&self, range: RangeInclusive<u64>) -> Result<u64, String> {
        let (min, max) = (range.start(), range.end());
        let expected = format!("a whole number from {min} to {max}");
        let DeValue::Integer(integer) = self.value else {
            let quotes =
                if matches!(self.value, DeValue::String(_)) { ", without quotes" } else { "" };
            return Err(format!("expected {expected}{quotes}; found {}", describe(self.value)));
        };
        i128::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|number| u64::try_from(number).ok())
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("{} is out of range; expected {expected}", describe(self.value)))
    }

    /// From 1.
    pub(super) fn count(&self, max: u32) -> Result<NonZeroU32, String> {
        let number = self.whole(1..=u64::from(max))?;
        u32::try_from(number)
            .ok()
            .and_then(NonZeroU32::new)
            .ok_or_else(|| format!("expected a whole number from 1 to {max}"))
    }
}

/// Fills in `${NAME}`. `$${` stands for a literal `${`; any other `$` is only a `$`. `look_up`
/// gives a variable's value, or what is wrong with it.
fn fill_in(
    written: &str,
    look_up: &dyn Fn(&str) -> Result<String, &'static str>,
) -> Result<(String, bool), String> {
    let mut filled = String::with_capacity(written.len());
    let mut faults: Vec<String> = Vec::new();
    let mut any = false;
    let mut rest = written;
    while let Some(dollar) = rest.find("${") {
        let (before, after) = (&rest[..dollar], &rest[dollar + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = after;
            continue;
        }
        filled.push_str(before);
        let (name, after) =
            after.split_once('}').ok_or("${ without a }; write $${ for a literal ${")?;
        if !is_variable(name) {
            let rule = "between ${ and } belongs the name of an environment variable: letters, \
                        digits and _, no digit first; write $${ for a literal ${";
            return Err(rule.to_owned());
        }
        match look_up(name) {
            Ok(value) => filled.push_str(&value),
            Err(fault) => {
                let fault = format!("the environment variable {name} {fault}");
                if !faults.contains(&fault) {
                    faults.push(fault);
                }
            }
        }
        any = true;
        rest = after;
    }
    filled.push_str(rest);
    if faults.is_empty() { Ok((filled, any)) } else { Err(faults.join("; ")) }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A value in a few words.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {}", quoted(text)),
        DeValue::Integer(number) => format!("the number {}", shortened(&number.to_string())),
        DeValue::Float(number) => format!("the number {}", shortened(number.as_str())),
        DeValue::Boolean(truth) => format!("{truth}"),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => kind(value).to_owned(),
    }
}

/// What a value is, without showing it.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// In quotes, on one line, without control characters, and not too long.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text).replace('"', "\\\""))
}

/// On one line, without control characters, and not too long.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    let mut short = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == MOST {
            short.push('…');
            break;
        }
        match c {
            '"' | '\'' | '\\' => short.push(c),
            _ => short.extend(c.escape_debug()),
        }
    }
    short
}
