//! Text that is not TOML: each fault in the words and the place that every other error has.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, de};

use super::error::{ConfigError, ConfigErrors, Depth};
use super::source::Source;
use super::table::join;

/// How many faults of the syntax are told. More have come from a file that is something else.
const MOST: usize = 50;

/// # Errors
/// Every fault of the syntax, up to [`MOST`]. Keys and values are left alone then: what the parser
/// guessed after a fault would only bring errors that nobody made.
pub(super) fn parse<'a>(source: &Source<'a>) -> Result<DeTable<'a>, ConfigErrors> {
    let (document, mut faults) = DeTable::parse_recoverable(source.text);
    let document = document.into_inner();
    if faults.is_empty() {
        return Ok(document);
    }
    // What follows on a line after its first fault is mostly the same mistake.
    let mut lines = BTreeSet::new();
    faults.retain(|fault| lines.insert(source.line(fault.span().unwrap_or_default().start)));
    let untold = faults.len().saturating_sub(MOST);
    faults.truncate(MOST);
    let errors = faults.iter().map(|fault| explain(source, &document, fault)).collect();
    Err(ConfigErrors::new(source.file, Depth::Syntax { untold }, errors))
}

fn explain(source: &Source<'_>, document: &DeTable<'_>, fault: &de::Error) -> ConfigError {
    let span = fault.span().unwrap_or_default();
    let named = source.text.get(span.clone()).unwrap_or_default();
    let Place { mut key, bare_value } = locate(source.text, document, span.start);
    // The parser's own words never quote the file, which may hold a secret just there.
    let said = fault.message().trim_end_matches(", expected nothing");
    let message = if said == "duplicate key" {
        let own = named.trim_matches(['"', '\'']);
        if key != own && !key.ends_with(&format!(".{own}")) {
            key = join(&key, own);
        }
        "set a second time; keep one of the two".to_owned()
    } else if said.starts_with("string values must be quoted") && named.is_empty() {
        "the value is missing".to_owned()
    } else if said.starts_with("string values must be quoted") && named.starts_with(['“', '”', '„'])
    {
        "typographic quotes; use plain ones (\")".to_owned()
    } else if said.starts_with("string values must be quoted") {
        "a value that is neither a number nor true or false needs quotes".to_owned()
    } else if said.contains(" string, expected ") && named.is_empty() {
        "the closing quote is missing".to_owned()
    } else if said.starts_with("unclosed table") {
        // Nothing is known about where it stands: its name is what is broken.
        key.clear();
        "a table's name needs a ] at its end".to_owned()
    } else if bare_value {
        format!("not valid TOML: {said}; if it is meant as text, it needs quotes")
    } else {
        format!("not valid TOML: {said}")
    };
    source.error(span.start, key, message)
}

#[derive(Default)]
struct Place {
    key: String,
    /// It is within a value that has no quotes or brackets.
    bare_value: bool,
}

/// The dotted key of the value that a byte stands in, or of the table whose header came last.
fn locate(text: &str, document: &DeTable<'_>, at: usize) -> Place {
    let mut best = (0, Place::default());
    visit(document, "", &mut |key, value| {
        let span = value.span();
        let written = text.get(span.clone()).unwrap_or_default();
        let is_table = matches!(value.get_ref(), DeValue::Table(_));
        let is_header = is_table && written.starts_with('[') && span.start <= at;
        let is_within = span.start <= at && at <= span.end;
        if (is_within || is_header) && span.start >= best.0 {
            let bare_value = is_within && !is_table && !written.starts_with(['"', '\'', '[', '{']);
            best = (span.start, Place { key: key.to_owned(), bare_value });
        }
    });
    best.1
}

fn visit(table: &DeTable<'_>, path: &str, see: &mut impl FnMut(&str, &Spanned<DeValue<'_>>)) {
    for (key, value) in table {
        let path = join(path, key.get_ref());
        see(&path, value);
        if let DeValue::Table(inner) = value.get_ref() {
            visit(inner, &path, see);
        }
    }
}
