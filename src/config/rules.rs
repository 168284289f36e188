//! What an answer must be like for a rule to hold.

use std::ops::RangeInclusive;

use http::HeaderName;
use toml::de::DeValue;

use super::item::{Item, describe};
use super::table::{Case, Table};
use super::template::Pointer;
use crate::broker::payload::Outcome;

/// One of `response.rules`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub when: When,
    pub outcome: Outcome,
}

/// All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct When {
    /// Any of these; empty: any at all.
    pub statuses: Vec<RangeInclusive<u16>>,
    pub header: Option<HeaderTest>,
    /// This text is in the body, byte for byte.
    pub body_contains: Option<String>,
    pub body_pointer: Option<PointerTest>,
}

/// `name: pattern`, or a name alone: the header is there.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderTest {
    pub name: HeaderName,
    /// In lower case; `*` stands for any text.
    pub pattern: Option<String>,
}

/// A value of a JSON body.
#[derive(Clone, Debug, PartialEq)]
pub struct PointerTest {
    pub pointer: Pointer,
    /// One of these; `None`: it is there and not null.
    pub equals: Option<Vec<serde_json::Value>>,
}

const A_STATUS: &str = "a status like \"200\", \"2xx\" or \"200-299\"";

pub(super) fn rules(table: &Table<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for table in table.array("rules") {
        let when = when(&table);
        let outcome = table.need("outcome", "outcome = \"rejected\"", outcome);
        table.finish(&[]);
        if let Some(outcome) = outcome {
            rules.push(Rule { when, outcome });
        }
    }
    rules
}

/// What stands for a rule's case under `done`, `not_done` and `failed`: a status, a table of
/// conditions, or an array of those. Any of them is enough.
pub(super) fn cases(table: &Table<'_>, key: &'static str) -> Vec<When> {
    let mut cases = Vec::new();
    for case in table.cases(key) {
        match case {
            Case::Plain(item) => match statuses(&item) {
                Ok(statuses) => cases.push(When { statuses, ..When::default() }),
                Err(message) => table.report(key, message),
            },
            Case::Table(table) => {
                cases.push(when(&table));
                table.finish(&[]);
            }
        }
    }
    cases
}

fn when(table: &Table<'_>) -> When {
    let statuses = table.get("status", statuses).unwrap_or_default();
    let header = table.get("header", header);
    let body_contains = table.get("body_contains", |item| {
        let text = item.text("a text in quotes")?;
        if text.value.is_empty() {
            return Err("the empty text is in every body; leave the key out".to_owned());
        }
        Ok(text.value)
    });
    let pointer = table.get("body_pointer", |item| {
        let text = item.text("a JSON Pointer in quotes, like \"/status\"")?;
        Pointer::parse(&text.value).map_err(|why| format!("{text} is no JSON Pointer: {why}"))
    });
    let equals = table.get("body_equals", values);
    if equals.is_some() && !table.is_set("body_pointer") {
        let message = "of what? add body_pointer = \"/status\", or write body_contains";
        table.report("body_equals", message.to_owned());
    }
    let any = ["status", "header", "body_contains", "body_pointer"];
    if !any.iter().any(|key| table.is_set(key)) {
        let known = any.join(", ");
        table.report_self(format!("it has no condition; expected one or more of {known}"));
    }
    let body_pointer = pointer.map(|pointer| PointerTest { pointer, equals });
    When { statuses, header, body_contains, body_pointer }
}

fn outcome(item: &Item<'_>) -> Result<Outcome, String> {
    let text = item.text("\"done\", \"refused\", \"rejected\" or \"unknown\"")?;
    [Outcome::Done, Outcome::Refused, Outcome::Rejected, Outcome::Unknown]
        .into_iter()
        .find(|outcome| outcome.as_str() == text.value)
        .ok_or_else(|| {
            format!("{text} is no outcome; there are \"done\", \"refused\", \"rejected\" and \"unknown\"")
        })
}

/// One or several.
fn statuses(item: &Item<'_>) -> Result<Vec<RangeInclusive<u16>>, String> {
    let one = |value: &DeValue<'_>| {
        let item = Item { context: item.context, value };
        let text = item.text(A_STATUS).map_err(|why| match value {
            DeValue::Integer(number) => format!("expected a status in quotes: \"{number}\""),
            _ => why,
        })?;
        status(&text.value).ok_or_else(|| format!("{text} is no status; expected {A_STATUS}"))
    };
    match item.value {
        DeValue::Array(elements) if !elements.is_empty() => {
            elements.iter().map(|element| one(element.get_ref())).collect()
        }
        value => Ok(vec![one(value)?]),
    }
}

/// `200`, `2xx` or `200-299`.
fn status(text: &str) -> Option<RangeInclusive<u16>> {
    let number = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: u16 = if digits { text.parse().ok()? } else { return None };
        (100..=999).contains(&number).then_some(number)
    };
    let text = text.trim();
    if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
        let first = number(&format!("{class}00"))?;
        return Some(first..=first + 99);
    }
    match text.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (number(first.trim())?, number(last.trim())?);
            (first <= last).then_some(first..=last)
        }
        None => number(text).map(|one| one..=one),
    }
}

fn header(item: &Item<'_>) -> Result<HeaderTest, String> {
    let text = item.text("a header in quotes, like \"content-type: text/html*\"")?;
    let (name, pattern) = match text.value.split_once(':') {
        Some((name, pattern)) => (name, Some(pattern.trim().to_lowercase())),
        None => (text.value.as_str(), None),
    };
    let name = HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_| format!("{text} names no header; write \"name: value\", * for any text"))?;
    if pattern.as_deref() == Some("") {
        return Err(format!("{text} has no value; leave the colon out for any value"));
    }
    Ok(HeaderTest { name, pattern })
}

/// One or several.
fn values(item: &Item<'_>) -> Result<Vec<serde_json::Value>, String> {
    match item.value {
        DeValue::Array(elements) if !elements.is_empty() => elements
            .iter()
            .map(|element| value(&Item { context: item.context, value: element.get_ref() }))
            .collect(),
        _ => Ok(vec![value(item)?]),
    }
}

fn value(item: &Item<'_>) -> Result<serde_json::Value, String> {
    const EXPECTED: &str = "a text in quotes, a number, true or false";
    let number = match item.value {
        DeValue::String(_) => return Ok(item.text(EXPECTED)?.value.into()),
        DeValue::Boolean(truth) => return Ok((*truth).into()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(serde_json::Number::from)
        }
        DeValue::Float(number) => {
            number.as_str().parse().ok().and_then(serde_json::Number::from_f64)
        }
        _ => None,
    };
    number
        .map(serde_json::Value::Number)
        .ok_or_else(|| format!("expected {EXPECTED}; found {}", describe(item.value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_as_people_write_them() {
        assert_eq!(status("200"), Some(200..=200));
        assert_eq!(status("2xx"), Some(200..=299));
        assert_eq!(status(" 5XX "), Some(500..=599));
        assert_eq!(status("200-204"), Some(200..=204));
        assert_eq!(status("404 - 410"), Some(404..=410));
        for text in ["", "20", "2000", "099", "x00", "20x", "+20", "204-200", "200-", "2xx-3xx"] {
            assert_eq!(status(text), None, "{text}");
        }
    }
}
