//! What an answer means: the target's own rules first, then what every answer means.

use http::{HeaderMap, StatusCode};
use serde_json::value::RawValue;

use super::answer::{self, BodyEnd};
use super::pointer;
use crate::broker::payload::Outcome;
use crate::config::{HeaderTest, PointerTest, Rule, When};

/// An answer as rules see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    /// What rules see of the body: `response.max_body` bytes at most.
    pub(crate) body: &'a [u8],
    pub(crate) end: &'a BodyEnd,
    /// Whether the body goes on where `body` ends.
    pub(crate) cut: bool,
}

/// Why an answer means what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    /// Of this rule of `response.rules`, from 0.
    Rule(usize),
    /// This rule asks for a value of a JSON body that was not seen whole.
    Undecided(usize),
    /// What every answer means.
    Default,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Yes,
    No,
    /// It depends on a part of the body that was not seen.
    CannotTell,
}

/// The first rule that holds decides. Where one cannot be told to hold or not, the outcome is
/// unknown: what lies behind it would be a guess.
pub(crate) fn outcome(rules: &[Rule], seen: &Seen<'_>) -> (Outcome, Because) {
    for (index, rule) in rules.iter().enumerate() {
        match holds(&rule.when, seen) {
            Holds::No => {}
            // As without rules, only a success needs its whole body.
            Holds::Yes if rule.outcome == Outcome::Done && is_broken(seen) => {
                return (Outcome::Unknown, Because::Rule(index));
            }
            Holds::Yes => return (rule.outcome, Because::Rule(index)),
            Holds::CannotTell => return (Outcome::Unknown, Because::Undecided(index)),
        }
    }
    (answer::outcome(seen.status, seen.end), Because::Default)
}

fn is_broken(seen: &Seen<'_>) -> bool {
    matches!(seen.end, BodyEnd::Broken(_))
}

/// Whether any of several cases holds.
pub(crate) fn any(cases: &[When], seen: &Seen<'_>) -> Holds {
    let mut found = Holds::No;
    for when in cases {
        match holds(when, seen) {
            Holds::Yes => return Holds::Yes,
            Holds::CannotTell => found = Holds::CannotTell,
            Holds::No => {}
        }
    }
    found
}

pub(crate) fn holds(when: &When, seen: &Seen<'_>) -> Holds {
    let status = seen.status.as_u16();
    let status_fits =
        when.statuses.is_empty() || when.statuses.iter().any(|range| range.contains(&status));
    let header_fits = when.header.as_ref().is_none_or(|test| header(test, seen.headers));
    let text_fits = when.body_contains.as_ref().is_none_or(|text| contains(seen.body, text));
    if !(status_fits && header_fits && text_fits) {
        return Holds::No;
    }
    match &when.body_pointer {
        None => Holds::Yes,
        // Half a JSON text is none, so nothing can be said of its values.
        Some(_) if seen.cut || is_broken(seen) => Holds::CannotTell,
        Some(test) if value(test, seen.body) => Holds::Yes,
        Some(_) => Holds::No,
    }
}

fn header(test: &HeaderTest, headers: &HeaderMap) -> bool {
    headers.get_all(&test.name).iter().any(|value| match &test.pattern {
        None => true,
        Some(pattern) => {
            matches(pattern, &String::from_utf8_lossy(value.as_bytes()).to_lowercase())
        }
    })
}

/// `*` stands for any text. Each piece is looked for as early as it can be, which finds a match
/// wherever there is one.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

fn contains(body: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    body.windows(text.len().max(1)).any(|window| window == text)
}

fn value(test: &PointerTest, body: &[u8]) -> bool {
    let Some(found) = pointer::find(body, &test.pointer) else { return false };
    match &test.equals {
        None => found.get() != "null",
        Some(wanted) => wanted.iter().any(|wanted| equals(found, wanted)),
    }
}

fn equals(found: &RawValue, wanted: &serde_json::Value) -> bool {
    use serde_json::Value::Number;
    match (serde_json::from_str::<serde_json::Value>(found.get()), wanted) {
        // 1 and 1.0 are the same number.
        (Ok(Number(found)), Number(wanted)) => {
            found == *wanted || found.as_f64().is_some_and(|one| Some(one) == wanted.as_f64())
        }
        (Ok(found), wanted) => found == *wanted,
        (Err(_), _) => false,
    }
}

#[cfg(test)]
mod tests;
