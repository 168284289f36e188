//! The text of a configuration file, and where in it things stand.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::error::{ConfigError, ConfigErrors, Depth};

/// In bytes. The largest file that makes sense (every target allowed, every key set) is smaller.
const MAX_FILE: u64 = 16 * 1024 * 1024;

pub(super) struct Source<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// An error at a byte of the text.
    pub(super) fn error(&self, at: usize, key: String, message: String) -> ConfigError {
        let (line, column) = position(self.text, at);
        ConfigError {
            file: self.file.display().to_string(),
            line: Some(line),
            column: Some(column),
            key,
            message,
        }
    }
}

/// Reads the file whole.
///
/// # Errors
/// Where it cannot be read, is too large to be meant, or is not UTF-8, as TOML has to be.
pub(super) fn read(file: &Path) -> Result<String, ConfigErrors> {
    let whole = |message: String| ConfigErrors::whole_file(file, message);
    let mut bytes = Vec::new();
    // A directory opens well enough and fails only when it is read.
    File::open(file)
        .and_then(|opened| opened.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| whole(unreadable(&error)))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(whole(format!("larger than {} MiB; is it the right file?", MAX_FILE >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| not_utf8(file, error.as_bytes()))
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file; name the configuration with --config FILE".to_owned(),
        ErrorKind::IsADirectory => {
            "this is a directory; name the configuration file in it".to_owned()
        }
        ErrorKind::PermissionDenied => {
            "permission denied; the user that runs tollgate must be able to read it".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    }
}

fn not_utf8(file: &Path, bytes: &[u8]) -> ConfigErrors {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let message = "this is UTF-16; TOML is UTF-8, save the file so";
        return ConfigErrors::whole_file(file, message.to_owned());
    }
    let good = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let message = "not UTF-8 from here on; TOML is UTF-8, save the file so".to_owned();
    let error = Source { file, text: good }.error(good.len(), String::new(), message);
    ConfigErrors::new(file, Depth::Syntax, vec![error])
}

/// Line and column of a byte, both from 1, the column in characters. A byte past the end counts as
/// the end, one within a character as its start.
fn position(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    // An editor does not show a byte order mark.
    let in_line = before[line_start..].trim_start_matches('\u{feff}');
    (line, in_line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_one_and_in_characters() {
        let text = "ab\nä€c\r\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 3), (2, 1));
        assert_eq!(position(text, 4), (2, 1), "within ä");
        assert_eq!(position(text, 8), (2, 3));
        assert_eq!(position(text, 999), (3, 1));
        assert_eq!(position("", 0), (1, 1));
        assert_eq!(position("\u{feff}a", 3), (1, 1));
    }
}
