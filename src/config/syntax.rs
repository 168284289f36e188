//! Text that is not TOML: each fault in the words and the place that every other error has.

use toml::de::{DeTable, DeValue};
use toml::{Spanned, de};

use super::error::{ConfigError, ConfigErrors, Depth};
use super::source::Source;
use super::table::join;

/// # Errors
/// Every fault of the syntax. Keys and values are left alone then: what the parser guessed after
/// a fault would only bring errors that nobody made.
pub(super) fn parse<'a>(source: &Source<'a>) -> Result<DeTable<'a>, ConfigErrors> {
    let (document, faults) = DeTable::parse_recoverable(source.text);
    let document = document.into_inner();
    if faults.is_empty() {
        return Ok(document);
    }
    let mut errors: Vec<ConfigError> = Vec::new();
    for fault in &faults {
        let error = explain(source, &document, fault);
        let known =
            errors.iter().any(|other| (other.line, other.column) == (error.line, error.column));
        if !known {
            errors.push(error);
        }
    }
    Err(ConfigErrors::new(source.file, Depth::Syntax, errors))
}

fn explain(source: &Source<'_>, document: &DeTable<'_>, fault: &de::Error) -> ConfigError {
    let span = fault.span().unwrap_or_default();
    let named = source.text.get(span.clone()).unwrap_or_default();
    let mut key = locate(source.text, document, span.start);
    // The parser's own words never quote the file, which may hold a secret just there.
    let message = match fault.message() {
        "duplicate key" => {
            let own = unquoted(named);
            if key != own && !key.ends_with(&format!(".{own}")) {
                key = join(&key, own);
            }
            "set a second time; keep one of the two".to_owned()
        }
        text if text.starts_with("string values must be quoted") => {
            if named.is_empty() {
                "the value is missing".to_owned()
            } else {
                "a value that is neither a number, true nor false needs quotes, like \"30s\""
                    .to_owned()
            }
        }
        text => format!("not valid TOML: {text}"),
    };
    source.error(span.start, key, message)
}

fn unquoted(key: &str) -> &str {
    key.trim_matches(['"', '\''])
}

/// The dotted key of the value that a byte stands in, or of the table whose header came last.
fn locate(text: &str, document: &DeTable<'_>, at: usize) -> String {
    let mut best = (0, String::new());
    visit(document, "", &mut |key, value| {
        let span = value.span();
        let is_header = text.get(span.clone()).is_some_and(|text| text.starts_with('['))
            && matches!(value.get_ref(), DeValue::Table(_));
        let applies = span.contains(&at) || span.end == at || (is_header && span.start <= at);
        if applies && span.start >= best.0 {
            best = (span.start, key.to_owned());
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
