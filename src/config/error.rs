//! What is wrong with a configuration: everything at once, each with its place.

use std::fmt;
use std::path::Path;

use serde::Serialize;

/// One fault. Never shows what a header is set to, what a secret file holds, or what came from
/// the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigError {
    pub file: String,
    /// From 1. `None` where the fault is of the file as a whole.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// Dotted, e.g. `targets.erp.limit.rate`; empty where the fault is of no key.
    pub key: String,
    /// What is wrong, and what is expected; one line.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All faults of one file, in its order; at least one.
///
/// `Display` prints one a line and a count at the end; `Serialize` gives an array of
/// [`ConfigError`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    #[serde(skip)]
    file: String,
    #[serde(skip)]
    depth: Depth,
}

/// How far the file was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// The file could not be read.
    Unread,
    /// It is not TOML, so keys and values were not looked at.
    Syntax,
    Values,
}

impl ConfigErrors {
    pub(super) fn new(file: &Path, depth: Depth, mut errors: Vec<ConfigError>) -> ConfigErrors {
        errors.sort_by_key(|error| (error.line, error.column));
        ConfigErrors { errors, file: file.display().to_string(), depth }
    }

    /// The file as a whole is at fault.
    pub(super) fn whole_file(file: &Path, message: String) -> ConfigErrors {
        let error = ConfigError {
            file: file.display().to_string(),
            line: None,
            column: None,
            key: String::new(),
            message,
        };
        ConfigErrors::new(file, Depth::Unread, vec![error])
    }

    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.errors.iter()
    }

    pub fn len(&self) -> usize {
        self.errors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for ConfigErrors {
    type Item = ConfigError;
    type IntoIter = std::vec::IntoIter<ConfigError>;
    fn into_iter(self) -> Self::IntoIter {
        self.errors.into_iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in self {
            writeln!(f, "{error}")?;
        }
        let plural = if self.len() == 1 { "" } else { "s" };
        write!(f, "{} error{plural} in {}", self.len(), self.file)?;
        if self.depth == Depth::Syntax {
            f.write_str("; keys and values are checked once it is valid TOML")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
