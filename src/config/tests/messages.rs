//! How errors read, and that none hides another.

use super::*;
use crate::config::vocabulary;

#[test]
fn all_errors_come_together_in_the_order_of_the_file() {
    let text = r#"[targets.erp]
url = "erp"
timeut = "3s"
limit.rate = "10/fortnight"

[server]
drain_timeout = 30
tls = {}

[target.crm]
"#;
    let errors = parse_with(text, &[]).unwrap_err();
    let expected = r#"config/tollgate.toml:2:7: targets.erp.url: "erp" is not a URL; write it whole, like "https://erp.example/api"
config/tollgate.toml:3:1: targets.erp.timeut: unknown key; did you mean timeout?
config/tollgate.toml:4:14: targets.erp.limit.rate: "10/fortnight" is not a rate; write it like "10/s", "1000/min", "5000/d" or "1/90s"
config/tollgate.toml:7:17: server.drain_timeout: expected a duration in quotes, like "250ms", "30s", "5m" or "1d"; found the number 30
config/tollgate.toml:8:7: server.tls.cert_file: missing, and it has no default; add cert_file = "…", a certificate in PEM
config/tollgate.toml:8:7: server.tls.key_file: missing, and it has no default; add key_file = "…", its private key in PEM
config/tollgate.toml:10:2: target: unknown key; did you mean targets?
7 errors in config/tollgate.toml"#;
    assert_eq!(errors.to_string(), expected);
    assert_eq!(errors.len(), 7);
}

#[test]
fn errors_are_data_too() {
    let errors = parse_with(&format!("{ERP}timeout = 5\n"), &[]).unwrap_err();
    let json = serde_json::to_value(&errors).unwrap();
    let expected = serde_json::json!([{
        "file": "config/tollgate.toml",
        "line": 4,
        "column": 11,
        "key": "targets.erp.timeout",
        "message": "expected a duration in quotes, like \"250ms\", \"30s\", \"5m\" or \"1d\"; found the number 5",
    }]);
    assert_eq!(json, expected);
}

#[test]
fn every_fault_of_the_syntax_is_named_with_its_key() {
    let text = r#"[server]
listen = 127.0.0.1:80
listen = "x"
[targets.erp]
timeout = 30s
limit.rate =
headers = { Authorization = Bearer abc }
burst = 01
url = “http://erp”
listen = "127.0.0.1:80
[targets.erp]
[targets.crm
"#;
    let errors = parse_with(text, &[]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        r#"config/tollgate.toml:2:15: server.listen: not valid TOML: invalid float; if it is meant as text, it needs quotes
config/tollgate.toml:3:1: server.listen: set a second time; keep one of the two
config/tollgate.toml:5:11: targets.erp.timeout: a value that is neither a number nor true or false needs quotes
config/tollgate.toml:6:13: targets.erp.limit.rate: the value is missing
config/tollgate.toml:7:29: targets.erp.headers.Authorization: a value that is neither a number nor true or false needs quotes
config/tollgate.toml:8:9: targets.erp.burst: not valid TOML: unexpected leading zero; if it is meant as text, it needs quotes
config/tollgate.toml:9:7: targets.erp.url: typographic quotes; use plain ones (")
config/tollgate.toml:10:23: targets.erp.listen: the closing quote is missing
config/tollgate.toml:11:10: targets.erp: set a second time; keep one of the two
config/tollgate.toml:12:13: a table's name needs a ] at its end
10 errors in config/tollgate.toml; keys and values are checked once it is valid TOML"#
    );
}

#[test]
fn what_a_target_needs_is_missed_where_the_target_begins() {
    let text = "[server]\n[targets.erp]\n[targets.crm.limit]\nburst = 1\n";
    let errors = parse_with(text, &[]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        r#"config/tollgate.toml:2:1: targets.erp.url: missing, and it has no default; add url = "https://…"
config/tollgate.toml:2:1: targets.erp.limit.rate: missing, and it has no default; add rate = "10/s", what the target can bear
config/tollgate.toml:3:1: targets.crm.limit.rate: missing, and it has no default; add rate = "10/s", what the target can bear
config/tollgate.toml:3:10: targets.crm.url: missing, and it has no default; add url = "https://…"
4 errors in config/tollgate.toml"#
    );
}

#[test]
fn without_targets_there_is_nothing_to_do() {
    let expected = "targets: no target is configured; add [targets.NAME] with url = \"https://…\" and limit.rate = \"10/s\"";
    assert_eq!(fault(""), format!("1:1: {expected}"));
    assert_eq!(fault("[targets]"), format!("1:1: {expected}"));
}

#[test]
fn what_stands_for_a_table_is_one_error_not_three() {
    assert_eq!(
        fault("[[targets]]\nurl = \"x\"\n"),
        "1:1: targets: expected a table, [targets]; found an array; a table has single brackets"
    );
    assert_eq!(fault("targets = 5"), "1:11: targets: expected a table, [targets]; found a number");
    let text = "[targets.erp]\nurl = \"http://x\"\nlimit = \"10/s\"\n";
    let expected = "3:9: targets.erp.limit: expected a table, [targets.erp.limit]; found a string";
    assert_eq!(fault(text), expected);
}

#[test]
fn unknown_keys_find_their_neighbour_or_their_table() {
    let version = env!("CARGO_PKG_VERSION");
    let pull = format!("did you mean pull? But tollgate {version} does not support that yet");
    for (key, expected) in [
        ("timeout_", "did you mean timeout?"),
        ("Max-Queued", "did you mean max_queued?"),
        ("maxQueued", "did you mean max_queued?"),
        ("rate", "it belongs in [targets.erp.limit]"),
        ("max_attempts", "it belongs in [targets.erp.retry]"),
        ("retention", "it belongs in [store]"),
        ("windows", "it belongs in [targets.erp.limit]"),
        ("max_concurency", "did you mean max_concurrent, in [targets.erp.limit]?"),
        ("pul", &pull),
        ("limit.windws", "did you mean windows?"),
        ("retry.colour", "known here: max_attempts, min_backoff, max_backoff, max_retry_duration"),
        ("\"a\\u001b[31m\"", "known here: url,"),
    ] {
        let fault = erp_fault(&format!("{key} = 1\n"));
        assert!(fault.contains(&format!("unknown key; {expected}")), "{key}: {fault}");
        assert!(!fault.contains('\u{1b}'), "{fault:?}");
    }
    let root = fault(&format!("{ERP}[crm]\nurl = \"x\"\n"));
    assert_eq!(root, "4:2: crm: unknown key; did you mean [targets.crm]?");
}

#[test]
fn no_key_of_a_later_version_is_ignored() {
    for words in vocabulary::ALL {
        for key in words.later {
            let table = words.table.replace("NAME", "erp");
            let path = if table.is_empty() { (*key).to_owned() } else { format!("{table}.{key}") };
            let errors =
                bad(&format!("{path} = 1\n{}", ERP.replace("[targets.erp]\n", "[targets.x]\n")));
            let error = errors.iter().find(|error| error.key == path).expect(&path);
            assert!(error.message.contains("does not support this yet"), "{error}");
        }
    }
}

/// An unknown key lists what its table reads: the same as the vocabulary says it can have.
#[test]
fn the_vocabulary_is_what_is_read() {
    for words in vocabulary::ALL.iter().filter(|words| words.table != "targets.NAME.schedule") {
        let table = words.table.replace("NAME", "erp");
        let key = "qqqqqqqq";
        let path = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
        let errors = bad(&format!("{path} = 1\n"));
        let error = errors.iter().find(|error| error.key == path).expect(&path);
        let listed = error.message.strip_prefix("unknown key; known here: ").unwrap();
        let mut listed: Vec<&str> = listed.split(", ").collect();
        let mut known = words.known.to_vec();
        listed.sort_unstable();
        known.sort_unstable();
        assert_eq!(listed, known, "[{table}]");
    }
}

#[test]
fn a_header_can_be_set_once_and_not_every_header_can() {
    for (headers, expected) in [
        ("{ a = \"1\", A = \"2\" }", "the header a is set twice"),
        ("{ a = \"1\", a_file = \"x\" }", "the header a is set twice"),
        ("{ Host = \"x\" }", "host follows from the request"),
        ("{ Content-Length = \"5\" }", "content-length follows from"),
        ("{ transfer-encoding = \"chunked\" }", "transfer-encoding follows from"),
        ("{ Connection_file = \"x\" }", "connection follows from"),
        ("{ Idempotency-Key = \"x\" }", "tollgate sets idempotency-key itself"),
        ("{ TOLLGATE-Anything = \"x\" }", "tollgate sets tollgate-anything itself"),
        ("{ traceparent = \"x\" }", "tollgate sets traceparent itself"),
        ("{ \"a b\" = \"x\" }", "not a header's name"),
        ("{ \"\" = \"x\" }", "not a header's name"),
        ("{ _file = \"x\" }", "not a header's name"),
        ("{ a = 5 }", "expected the header's value in quotes; found a number"),
        ("{ a = [\"x\"] }", "expected the header's value in quotes; found an array"),
        ("{ a = \"\" }", "the value is empty"),
        ("{ a = \" x\" }", "begins or ends with a space"),
        ("{ a = \"x\\r\\nb: y\" }", "holds a line break"),
        ("{ a = \"x\\u0000\" }", "holds a control character"),
        ("{ a = \"ü\" }", "not ASCII"),
    ] {
        let fault = erp_fault(&format!("headers = {headers}\n"));
        assert!(fault.contains(expected), "{headers}: {fault}");
    }
    let many: Vec<String> = (0..65).map(|n| format!("x{n} = \"1\"")).collect();
    let fault = erp_fault(&format!("headers = {{ {} }}\n", many.join(", ")));
    assert!(fault.contains("65 headers; at most 64"), "{fault}");
}
