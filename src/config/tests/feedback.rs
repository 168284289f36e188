//! `breaker` and `adaptive`, each read on its own.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use crate::broker::policy::Rate;
use crate::config::source::Source;
use crate::config::table::{Context, Table};
use crate::config::{adaptive, breaker, syntax};

/// What is read, and everything that is wrong, each with its line and key.
fn read<T>(text: &str, read: impl FnOnce(&Table<'_>) -> T) -> (T, Vec<String>) {
    let source = Source::new(Path::new("config/tollgate.toml"), text);
    let document = syntax::parse(&source).expect(text);
    let context = Context { source, env: &|_| None, errors: RefCell::default() };
    let found = read(&Table::root(&context, &document));
    let errors = context.errors.into_inner().into_iter();
    let errors = errors.map(|e| format!("{}: {}: {}", e.line.unwrap_or(0), e.key, e.message));
    (found, errors.collect())
}

fn rate(count: u32, seconds: u64) -> Rate {
    Rate::new(count.try_into().unwrap(), Duration::from_secs(seconds)).unwrap()
}

#[test]
fn a_breaker_has_defaults() {
    for text in ["", "[breaker]\n"] {
        let (found, errors) = read(text, breaker::read);
        assert_eq!((found.failures.get(), found.probe_every), (10, Duration::from_secs(10)));
        assert_eq!(errors, [""; 0]);
    }
    let (found, _) = read("[breaker]\nfailures = 3\nprobe_every = \"2m\"\n", breaker::read);
    assert_eq!((found.failures.get(), found.probe_every), (3, Duration::from_secs(120)));
}

#[test]
fn everything_wrong_with_a_breaker_is_said_at_once() {
    let text = "[breaker]\nfailures = 0\nprobe_every = \"10ms\"\nprobe = 1\n";
    let (_, errors) = read(text, breaker::read);
    assert_eq!(
        errors,
        [
            "2: breaker.failures: the number 0 is out of range; expected a whole number from 1 to \
             1000000",
            "3: breaker.probe_every: \"10ms\" is too short; it can be \"100ms\" at least",
            "4: breaker.probe: unknown key; known here: failures, probe_every",
        ]
    );
    let (_, errors) = read("breaker = true\n", breaker::read);
    assert_eq!(errors, ["1: breaker: expected a table, [breaker]; found true or false"]);
}

#[test]
fn a_rate_adapts_only_where_it_is_asked_to() {
    let highest = Some(rate(10, 1));
    let adapt = |text: &str| read(text, |table| adaptive::read(table, highest));
    assert_eq!(adapt("").0, None);
    let (found, errors) = adapt("adaptive = { min_rate = \"30/min\" }\n");
    assert_eq!((found.unwrap().min_rate, errors.len()), (rate(30, 60), 0));
    assert_eq!(adapt("adaptive = {}\n").0.unwrap().min_rate, rate(10, 10));
}

#[test]
fn everything_wrong_with_an_adaptive_rate_is_said_at_once() {
    let adapt = |text: &str| read(text, |table| adaptive::read(table, Some(rate(10, 1)))).1;
    assert_eq!(
        adapt("adaptive = { min_rate = \"11/s\" }\n"),
        ["1: adaptive.min_rate: more than the limit's rate, so that there is nothing to adapt; \
             make it less, or leave adaptive out"]
    );
    assert_eq!(
        adapt("adaptive = { min_rate = \"0/s\", minrate = \"1/s\" }\n"),
        [
            "1: adaptive.min_rate: \"0/s\" would never send anything; to hold a target back, \
             pause it (tollgate pause)",
            "1: adaptive.minrate: unknown key; did you mean min_rate?",
        ]
    );
    let errors = adapt("adaptive = true\n");
    assert_eq!(errors, ["1: adaptive: expected a table, [adaptive]; found true or false"]);
    // Where the limit's own rate is wrong, that alone is said.
    let text = "adaptive = { min_rate = \"1/s\" }\n";
    assert_eq!(read(text, |table| adaptive::read(table, None)), (None, vec![]));
}
