//! No input panics, and whatever is said about it stays on lines of its own.

use std::fs;

use super::*;
use crate::config::{load, vocabulary};

/// What holds for the errors of any text.
#[track_caller]
fn check(text: &str) {
    let Err(errors) = parse_with(text, &[("A", "a"), ("B", "\u{1b}[31m\n")]) else { return };
    let lines = text.split('\n').count();
    assert!(!errors.is_empty());
    let mut before = (0, 0);
    for error in &errors {
        let place = (error.line.unwrap(), error.column.unwrap());
        assert!(before <= place, "in the order of the file: {errors}");
        assert!((1..=lines).contains(&place.0), "{error} in a text of {lines} lines");
        assert!(!error.message.is_empty());
        before = place;
    }
    let shown = errors.to_string();
    assert_eq!(shown.lines().count(), errors.len() + 1, "{shown}");
    assert!(!shown.replace('\n', "").contains(char::is_control), "{shown:?}");
}

const NASTY: [&str; 48] = [
    "0",
    "-1",
    "1",
    "9223372036854775808",
    "99999999999999999999999999999999999999999999999999",
    "-99999999999999999999999999999999999999999999999999",
    "0xffffffffffffffffffff",
    "0.5",
    "-0.0",
    "1e999",
    "nan",
    "-inf",
    "true",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    "[]",
    "[1, \"a\", [2]]",
    "[{}]",
    "{}",
    "{ a = 1, b = { c = 2 } }",
    "{ url = 1, rate = 2, listen = 3 }",
    "\"\"",
    "\" \"",
    "\"0\"",
    "\"-1s\"",
    "\"1\"",
    "\"18446744073709551615s 1000000000ns\"",
    "\"99999999999999999999999999999999999999d\"",
    "\"99999999999999999999999999999999999999GiB\"",
    "\"99999999999999999999999999999999999999/s\"",
    "\"1/0s\"",
    "\"/\"",
    "\"1/1ns\"",
    "\"1/99999999999w\"",
    "\"\\u0000\"",
    "\"\\u202e\\u001b[2J\\n\\r\\t\"",
    "\"\\U0001F525\"",
    "\"e\\u0301\"",
    "\"${A}\"",
    "\"${B}\"",
    "\"${\"",
    "\"$${\"",
    "\"\"\"\na\nb\"\"\"",
    "'C:\\x'",
    "\"http://\"",
    "\"http://[\"",
    "\"http://a:b:c:d\"",
    "\"/dev/null\"",
];

#[test]
fn every_key_survives_every_value() {
    for words in vocabulary::ALL {
        let table = words.table.replace("NAME", "erp");
        for key in words.all().chain(&["nonsense", "\"\"", "\"a\\u0000.b\"", "'ü'"]) {
            let path = if table.is_empty() { (*key).to_owned() } else { format!("{table}.{key}") };
            for value in NASTY {
                check(&format!("{path} = {value}\n"));
                check(&format!("[{path}]\nx = {value}\n"));
                check(&format!("[[{path}]]\nx = {value}\n"));
            }
        }
    }
    for value in NASTY {
        check(&format!("{ERP}headers.a = {value}\n"));
        check(&format!("{ERP}headers.a_file = {value}\n"));
        check(&format!("targets.{value} = {value}\n"));
        check(value);
    }
}

/// Only a string can be right for some keys, only a table for others: anything else is an error
/// that names the key.
#[test]
fn a_value_of_the_wrong_kind_is_an_error_at_its_key() {
    let tables = [
        "server",
        "store",
        "auth",
        "tls",
        "telemetry",
        "step_functions",
        "callbacks",
        "limits",
        "quota",
        "adaptive",
        "breaker",
        "targets",
        "sources",
        "limit",
        "priority",
        "retry",
        "verify",
        "response",
        "completion",
        "headers",
        "fairness",
        "weights",
    ];
    let lists = ["share", "windows", "schedule", "allowed_hosts"];
    let shares = ["reserve_high"];
    let truths = [
        "check_before_dispatch",
        "finish_before_close",
        "insecure_allow_anonymous",
        "reject_if_late",
    ];
    let numbers =
        ["max_queued", "burst", "max_concurrent", "max_deferrals", "max_attempts", "failures"];
    for words in vocabulary::ALL {
        let table = words.table.replace("NAME", "erp");
        // Entries of an array have tests of their own.
        if words.table == "targets.NAME.schedule" {
            continue;
        }
        for key in words.known.iter().filter(|key| **key != "count") {
            let path = if table.is_empty() { (*key).to_owned() } else { format!("{table}.{key}") };
            let wrong: &[&str] = if tables.contains(key) {
                &["5", "\"x\"", "[]", "true", "nan", "1979-05-27"]
            } else if lists.contains(key) {
                &["5", "\"x\"", "[5]", "[[]]", "{}", "true", "1979-05-27"]
            } else if shares.contains(key) {
                &["5", "\"0.2\"", "1.0", "-0.1", "nan", "inf", "[0.2]", "true", "0.995"]
            } else if truths.contains(key) {
                &["5", "\"true\"", "nan", "[true]", "{}", "1979-05-27"]
            } else if numbers.contains(key) {
                &["\"5\"", "5.0", "nan", "[5]", "{}", "false", "1979-05-27", "-5"]
            } else {
                &["5", "5.0", "inf", "[\"x\"]", "{}", "true", "07:32:00"]
            };
            for value in wrong {
                let errors = bad(&format!("{path} = {value}\n"));
                let error = errors.iter().find(|error| error.key == path).expect(&path);
                assert!(error.message.contains("expected "), "{error}");
            }
        }
    }
}

#[test]
fn depth_and_length_are_survived() {
    for depth in [10, 79, 80, 81, 1_000, 20_000] {
        check(&format!("a = {}", "[".repeat(depth)));
        check(&format!("a = {}{}", "[".repeat(depth), "]".repeat(depth)));
        check(&format!("a = {}1{}", "{a=".repeat(depth), "}".repeat(depth)));
        check(&format!("{}a = 1", "a.".repeat(depth)));
        check(&format!("[targets.{}a]\na = 1", "a.".repeat(depth)));
        check(&format!("[targets.{}]", "a".repeat(depth)));
        check(&format!("[targets.erp]\ntimeout = \"{}\"", "9".repeat(depth)));
        check(&format!("[targets.erp]\nurl = \"http://{}\"", "a.".repeat(depth)));
        check(&format!("[targets.erp]\nurl = \"{}\"", "${A}".repeat(depth)));
    }
    let many: String = (0..10_001).map(|n| ERP.replace("erp]", &format!("t{n}]"))).collect();
    assert!(fault(&many).contains("at most 10000 targets"));
}

/// Pieces of configurations put together at random, always the same way.
#[test]
fn random_damage_is_survived() {
    let whole = include_str!("../../../config/tollgate.toml");
    let pieces: Vec<&str> = ["[", "]", "[[", "]]", "=", ".", "\"", "'", "\"\"\"", "{", "}", "\n"]
        .into_iter()
        .chain([
            ",", "#", "${", "}", "\\", "\u{feff}", "\u{0}", "ü", "\r", "\t", "/", "@", "%", ":",
        ])
        .chain(NASTY)
        .chain(vocabulary::ALL.into_iter().flat_map(|words| words.all().copied()))
        .collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    let lines: Vec<&str> = whole.lines().filter(|line| !line.starts_with('#')).collect();
    for _ in 0..1_500 {
        let mut text: Vec<char> = lines.join("\n").chars().collect();
        for _ in 0..=below(4) {
            let at = below(text.len() + 1);
            let end = (at + below(12)).min(text.len());
            text.splice(at..end, pieces[below(pieces.len())].chars());
        }
        check(&text.iter().collect::<String>());
    }
    for _ in 0..3_000 {
        let text: String = (0..=below(20)).map(|_| pieces[below(pieces.len())]).collect();
        check(&text);
    }
}

/// Someone gives the wrong file, say a log: a short answer, and soon.
#[test]
fn something_else_altogether_gets_a_short_answer() {
    let log = "2025-11-21T03:09:00Z INFO nothing = \"wrong\" [here]\n".repeat(20_000);
    let errors = parse_with(&log, &[]).unwrap_err();
    assert_eq!(errors.len(), 50);
    let shown = errors.to_string();
    let last = shown.lines().last().unwrap();
    assert!(last.starts_with("50 errors in config/tollgate.toml, and "), "{last}");
    assert!(last.contains(" more; is it a configuration of tollgate at all?"), "{last}");
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let whole = |path: &Path| {
        let errors = load(path, &|_| None).unwrap_err();
        assert_eq!(errors.len(), 1);
        errors.iter().next().unwrap().clone()
    };
    let missing = whole(&folder.path().join("none.toml"));
    assert_eq!((missing.line, missing.column), (None, None));
    assert!(missing.message.starts_with("no such file"), "{missing}");
    let directory = whole(folder.path());
    assert!(directory.message.starts_with("this is a directory"), "{directory}");
    assert!(whole(Path::new("a\0b")).message.starts_with("cannot be read"));
    assert!(whole(Path::new("")).message.starts_with("no such file"));

    let file = folder.path().join("tollgate.toml");
    fs::write(&file, b"# \xc3\xa4\n[server] # \xe4\n").unwrap();
    let latin_1 = whole(&file);
    assert_eq!((latin_1.line, latin_1.column), (Some(2), Some(12)));
    assert!(latin_1.message.starts_with("not UTF-8 from here on"), "{latin_1}");
    fs::write(&file, b"\xff\xfe[\0s\0").unwrap();
    assert!(whole(&file).message.starts_with("this is UTF-16"));
    fs::write(&file, vec![b'\n'; 16 * 1024 * 1024 + 1]).unwrap();
    assert!(whole(&file).message.starts_with("larger than 16 MiB"));
    fs::write(&file, b"").unwrap();
    assert!(whole(&file).message.starts_with("no target is configured"));
    fs::write(&file, format!("\u{feff}{}", ERP.replace('\n', "\r\n"))).unwrap();
    assert!(load(&file, &|_| None).is_ok(), "as Windows writes it");
}
