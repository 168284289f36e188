//! What values mean, and where they end.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::broker::policy::LimitName;
use crate::config::{Listen, LogFormat};

#[test]
fn every_key_is_read_into_its_own_place() {
    let text = r#"
        [server]
        listen = "127.0.0.1:1"
        admin_listen = "[::1]:2"
        max_body = "3KiB"
        drain_timeout = "4s"
        [store]
        path = "/var/lib/tollgate/${NAME}.redb"
        cache = "6MiB"
        retention = "7m"
        min_free_disk = "8KB"
        [targets.erp]
        url = "HTTPS://ERP.Example:8443/Api/"
        timeout = "9s"
        headers = { X-One = "1", Accept = "text/xml" }
        listen = "127.0.0.2:10"
        delivery = "at-least-once"
        max_queued = 11
        limit = { rate = "12/min", burst = 13, max_concurrent = 14 }
        priority.max_deferrals = 15
        [targets.erp.retry]
        max_attempts = 16
        min_backoff = "17ms"
        max_backoff = "18s"
        max_retry_duration = "19h"
        [telemetry]
        log = "warn,tollgate::dispatch=debug"
        log_format = "json"
    "#;
    let config = parse_with(text, &[("NAME", "five")]).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:1");
    assert_eq!(config.server.admin_listen.to_string(), "[::1]:2");
    assert_eq!(config.server.max_body, 3 * 1024);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(4));
    assert_eq!(config.store.path, Path::new("/var/lib/tollgate/five.redb"));
    assert_eq!(config.store.cache, 6 << 20);
    assert_eq!(config.store.retention, Duration::from_secs(7 * 60));
    assert_eq!(config.store.min_free_disk, 8_000);
    assert_eq!(config.telemetry.log, "warn,tollgate::dispatch=debug");
    assert_eq!(config.telemetry.log_format, LogFormat::Json);
    let erp = &config.targets["erp"];
    assert_eq!(erp.url.to_string(), "https://erp.example:8443/Api");
    assert_eq!(erp.timeout, Duration::from_secs(9));
    assert_eq!(erp.headers["x-one"], "1");
    assert_eq!(erp.headers["accept"], "text/xml");
    assert_eq!(erp.headers.len(), 2);
    assert_eq!(erp.listen.as_ref().map(ToString::to_string).as_deref(), Some("127.0.0.2:10"));
    assert_eq!(erp.policy.max_queued, 11);
    assert_eq!(erp.policy.limit.rate.count(), number(12));
    assert_eq!(erp.policy.limit.rate.per(), Duration::from_secs(60));
    assert_eq!(erp.policy.limit.burst, number(13));
    assert_eq!(erp.policy.limit.max_concurrent, number(14));
    assert_eq!(erp.policy.max_deferrals, number(15));
    assert_eq!(erp.policy.retry.max_attempts, number(16));
    assert_eq!(erp.policy.retry.min_backoff, Duration::from_millis(17));
    assert_eq!(erp.policy.retry.max_backoff, Duration::from_secs(18));
    assert_eq!(erp.policy.retry.max_retry_duration, Duration::from_secs(19 * 3_600));
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[test]
fn both_ends_of_every_range_are_in_it_and_the_next_is_not() {
    // Key, least, just below it, most, just above it.
    for (key, least, below, most, above) in [
        ("timeout", "\"1ms\"", "\"999us\"", "\"1h\"", "\"3601s\""),
        ("max_queued", "1", "0", "1_000_000_000", "1_000_000_001"),
        ("limit.burst", "1", "0", "1_000_000", "1_000_001"),
        ("limit.max_concurrent", "1", "0", "65_536", "65_537"),
        ("limit.hold_after_timeout", "\"0s\"", "\"-1s\"", "\"1d\"", "\"25h\""),
        ("limit.reserve_high", "0", "-0.01", "0.99", "1"),
        ("priority.max_deferrals", "1", "0", "1_000_000", "1_000_001"),
        ("retry.max_attempts", "1", "0", "1_000_000", "1_000_001"),
        ("retry.max_retry_duration", "\"1s\"", "\"999ms\"", "\"366d\"", "\"366d 1ns\""),
    ] {
        erp(&format!("{key} = {least}\n"));
        erp(&format!("{key} = {most}\n"));
        erp_fault(&format!("{key} = {below}\n"));
        erp_fault(&format!("{key} = {above}\n"));
    }
    for (table, key, least, below, most, above) in [
        ("server", "max_body", "1B", "0B", "64MiB", "67108865B"),
        ("server", "drain_timeout", "0s", "-1s", "1h", "61m"),
        ("store", "cache", "1MiB", "1MB", "64GiB", "65GiB"),
        ("store", "retention", "1s", "1ms", "366d", "367d"),
        ("store", "min_free_disk", "0B", "-1B", "1TiB", "2TiB"),
    ] {
        let with = |value| format!("[{table}]\n{key} = \"{value}\"\n{ERP}");
        good(&with(least));
        good(&with(most));
        assert!(fault(&with(below)).contains(&format!("{table}.{key}: ")));
        assert!(fault(&with(above)).contains(&format!("{table}.{key}: ")));
    }
}

#[test]
fn integers_may_be_written_in_any_way_of_toml() {
    assert_eq!(erp("max_queued = 0x10\n").policy.max_queued, 16);
    assert_eq!(erp("max_queued = +1_0\n").policy.max_queued, 10);
}

#[test]
fn base_urls_lose_nothing_but_the_slash_at_their_end() {
    let url = |url: &str| {
        let text = format!("[targets.erp]\nurl = \"{url}\"\nlimit.rate = \"1/s\"\n");
        good(&text).targets["erp"].url.to_string()
    };
    // `http::Uri` has no empty path: a bare origin is shown with its slash.
    assert_eq!(url("http://erp"), "http://erp/");
    assert_eq!(url("http://erp/"), "http://erp/");
    assert_eq!(url("http://erp:080/a"), "http://erp:80/a");
    assert_eq!(url("http://192.0.2.7:8080/a/b/"), "http://192.0.2.7:8080/a/b");
    assert_eq!(url("http://[2001:DB8::1]:8080"), "http://[2001:db8::1]:8080/");
    assert_eq!(
        url("https://a_b.xn--bcher-kva.example./c%2Fd"),
        "https://a_b.xn--bcher-kva.example./c%2Fd"
    );
    assert_eq!(url("https://erp/@me/a;b=c,d"), "https://erp/@me/a;b=c,d");
}

#[test]
fn bad_urls_are_told_apart() {
    let fault_of = |url: &str| {
        let text = format!("[targets.erp]\nurl = '{url}'\nlimit.rate = \"1/s\"\n");
        let fault = fault(&text);
        fault.strip_prefix("2:7: targets.erp.url: ").expect("the place of the url").to_owned()
    };
    for (url, expected) in [
        ("", "\"\" is not a URL; write it whole"),
        ("erp.example/api", "\"erp.example/api\" is not a URL"),
        ("https:/erp.example", "is not a URL"),
        ("ftp://erp.example", "\"ftp\" is not supported; http:// and https:// are"),
        ("://erp.example", "\"\" is not supported"),
        ("https://", "the URL has no host"),
        ("https:///api", "the URL has no host"),
        ("https://:80/api", "the URL has no host"),
        ("https://erp.example/a?b=c", "the URL has a query"),
        ("https://erp.example?", "the URL has a query"),
        ("https://erp.example/a#b", "the URL has a fragment"),
        ("https://erp example", "\"erp example\" is not a host name"),
        ("https://erp..example", "is not a host name"),
        ("https://-erp.example", "is not a host name"),
        ("https://erp.example\\api", "is not a host name"),
        ("https://*.example", "is not a host name"),
        ("https://bücher.example", "write it in punycode"),
        ("https://①②⑦.0.0.1", "write it in punycode"),
        ("https://127.1", "\"127.1\" is not an IPv4 address"),
        ("https://0x7f000001", "is not an IPv4 address"),
        ("https://1.2.3.4.5", "is not an IPv4 address"),
        ("https://256.0.0.1", "is not an IPv4 address"),
        ("https://[::1", "has a [ without a ]"),
        ("https://[::g]", "\"::g\" is not an IPv6 address"),
        ("https://[fe80::1%25eth0]", "is not an IPv6 address"),
        ("https://[::1]x", "does not end in a port"),
        ("https://erp:", "does not end in a port"),
        ("https://erp:0", "\"erp:0\" does not end in a port; one is from 1 to 65535"),
        ("https://erp:65536", "does not end in a port"),
        ("https://erp:+80", "does not end in a port"),
        ("https://erp/a b", "a character that no path can ( )"),
        ("https://erp/{id}", "a character that no path can ({)"),
        ("https://erp/a\\b", "a character that no path can (\\\\)"),
        ("https://erp/ü", "a character that no path can (ü)"),
        ("https://erp/a%2", "a % that is not followed by"),
        ("https://erp/a%zz", "a % that is not followed by"),
        ("https://erp/%ü", "a character that no path can"),
        ("https://erp/a/../b", "an empty, . or .. segment"),
        ("https://erp/a/%2E%2e", "an empty, . or .. segment"),
        ("https://erp/.", "an empty, . or .. segment"),
        ("https://erp//a", "an empty, . or .. segment"),
        ("https://erp/a//", "an empty, . or .. segment"),
    ] {
        let fault = fault_of(url);
        assert!(fault.contains(expected), "{url}: {fault}");
    }
    let long = format!("https://erp/{}", "a".repeat(2_048));
    assert!(fault_of(&long).contains("too long; at most 2048"), "{}", fault_of(&long));
}

#[test]
fn targets_have_plain_names() {
    let with = |name: &str| ERP.replace("erp]", &format!("{name}]"));
    for name in ["a", "9", "Erp_2-b", &"x".repeat(64)] {
        assert!(good(&with(name)).targets.contains_key(name));
    }
    for name in ["_a", "-a", "\"a b\"", "\"\"", "\"a.b\"", "'ü'", &"x".repeat(65)] {
        assert!(fault(&with(name)).contains("not a target's name; one has 1 to 64"), "{name}");
    }
}

#[test]
fn listeners_stay_on_loopback_unless_they_ask_for_tokens() {
    for address in ["127.0.0.1:0", "127.8.9.10:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        erp(&format!("listen = \"{address}\"\n"));
    }
    for address in ["0.0.0.0:80", "[::]:80", "192.0.2.7:80", "[::ffff:10.0.0.1]:80"] {
        let fault = erp_fault(&format!("listen = \"{address}\"\n"));
        assert!(fault.contains("can be reached from other machines, so it needs"), "{fault}");
        assert!(fault.contains("auth.submit_tokens_file"), "{fault}");
        good(&format!("[auth]\ninsecure_allow_anonymous = true\n{ERP}listen = \"{address}\"\n"));
    }
    for address in ["localhost:80", ":80", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", ""] {
        let fault = erp_fault(&format!("listen = \"{address}\"\n"));
        assert!(fault.contains("is not an address; write an IP address and a port"), "{fault}");
    }
    let sockets = good(
        "[server]\nlisten = \"unix:/run/t.sock\"\n[targets.erp]\n\
                        url = \"http://a.example\"\nlimit.rate = \"1/s\"\n",
    );
    assert_eq!(sockets.server.listen, Listen::Unix("/run/t.sock".into()));
    for path in ["", "/", &"x".repeat(108)] {
        let fault = erp_fault(&format!("listen = \"unix:{path}\"\n"));
        assert!(fault.contains("is not the path of a socket"), "{fault}");
    }
}

#[test]
fn no_two_listeners_share_an_address() {
    let two = |first: &str, second: &str| {
        format!("[server]\nlisten = \"{first}\"\n{ERP}listen = \"{second}\"\n")
    };
    good(&two("127.0.0.1:0", "127.0.0.1:0"));
    good(&two("127.0.0.1:80", "127.0.0.2:80"));
    good(&two("127.0.0.1:80", "[::1]:80"));
    assert_eq!(
        fault(&two("127.0.0.1:80", "[::ffff:127.0.0.1]:80")),
        "6:10: targets.erp.listen: 127.0.0.1:80 is taken by server.listen; every listener needs its own"
    );
    assert_eq!(
        erp_fault("listen = \"127.0.0.1:7071\"\n"),
        "targets.erp.listen: 127.0.0.1:7071 is taken by server.admin_listen (by default); every listener needs its own"
    );
    assert_eq!(
        fault(&format!("[server]\nlisten = \"127.0.0.1:7071\"\n{ERP}")),
        "2:10: server.listen: 127.0.0.1:7071 is taken by server.admin_listen (by default); every listener needs its own"
    );
}

#[test]
fn a_target_is_not_tollgate_itself() {
    for host in ["127.0.0.1:7070", "localhost:7071", "0.0.0.0:7070", "[::ffff:127.0.0.1]:7070"] {
        let text = format!("[targets.erp]\nurl = \"http://{host}/x\"\nlimit.rate = \"1/s\"\n");
        assert!(fault(&text).contains("where tollgate itself listens (server."), "{host}");
    }
    for host in ["127.0.0.1:7072", "[::1]:7070", "localhost.example:7070"] {
        good(&format!("[targets.erp]\nurl = \"http://{host}/x\"\nlimit.rate = \"1/s\"\n"));
    }
}

#[test]
fn the_smaller_backoff_is_the_smaller() {
    erp("retry = { min_backoff = \"5s\", max_backoff = \"5s\" }\n");
    assert_eq!(
        erp_fault("retry = { min_backoff = \"6s\", max_backoff = \"5s\" }\n"),
        "targets.erp.retry.min_backoff: 6s is more than max_backoff (5s)"
    );
    assert_eq!(
        erp_fault("retry.min_backoff = \"10m\"\n"),
        "targets.erp.retry.min_backoff: 10m is more than max_backoff (5m, by default)"
    );
    assert_eq!(
        erp_fault("retry.max_backoff = \"500ms\"\n"),
        "targets.erp.retry.max_backoff: 500ms is less than min_backoff (1s, by default); set both"
    );
}

#[test]
fn log_filters_are_checked() {
    let with = |filter: &str| format!("[telemetry]\nlog = \"{filter}\"\n{ERP}");
    for filter in ["INFO", "off", "tollgate=debug", "warn,hyper=off", "tollgate[job{id=5}]=trace"] {
        assert_eq!(good(&with(filter)).telemetry.log, filter);
    }
    for (filter, expected) in [
        ("inof", "\"inof\" names no level; did you mean info?"),
        ("warning", "did you mean warn?"),
        ("debug,eror", "did you mean error?"),
        ("a=b=c", "\"a=b=c\" is not a log filter; write a level (error, warn,"),
        ("tollgate=loud", "is not a log filter"),
        (" ", "the log filter is empty"),
    ] {
        let fault = fault(&with(filter));
        assert!(fault.contains(expected), "{filter}: {fault}");
    }
}

#[test]
fn the_store_is_a_file() {
    let with = |path: &str| format!("[store]\npath = \"{path}\"\n{ERP}");
    for (path, expected) in [
        ("", "the path is empty"),
        ("data/", "names a directory"),
        ("..", "names a directory"),
        ("~/tollgate.redb", "write ${HOME}/"),
        ("a\\u0000b", "holds a NUL character"),
    ] {
        assert!(fault(&with(path)).contains(expected), "{path}: {}", fault(&with(path)));
    }
}

#[test]
fn windows_are_hard_ceilings_and_no_two_are_alike() {
    let erp = erp("limit.windows = [\"100/min\", \"5000/d\"]\nlimit.reserve_high = 0.25\n");
    let ceilings = &erp.policy.limit.ceilings;
    let windows = ceilings.windows.iter().map(|rate| (rate.count().get(), rate.per().as_secs()));
    assert!(windows.eq([(100, 60), (5_000, 86_400)]));
    assert_eq!(ceilings.reserve_high.of(100), 25);
    for (windows, expected) in [
        ("[\"100/min\", \"50/60s\"]", "two windows of 1m; only the smaller would count"),
        ("[\"1/1ms\"]", "a window can be \"10ms\" wide at least"),
        ("[\"a\"]", "is not a rate"),
    ] {
        let fault = erp_fault(&format!("limit.windows = {windows}\n"));
        assert!(fault.contains(expected), "{fault}");
    }
}

#[test]
fn a_shared_limit_needs_only_one_of_its_keys() {
    let config = good(&format!(
        "{ERP}share = [\"big\", \"small\"]\n[limits.big]\nmax_concurrent = 8\n\
         [limits.small]\nrate = \"12/s\"\nburst = 3\n"
    ));
    let names = config.targets["erp"].policy.share.iter().map(LimitName::as_str);
    assert!(names.eq(["big", "small"]));
    let big = &config.limits[&LimitName::new("big")];
    assert_eq!((big.pace, big.max_concurrent), (None, Some(number(8))));
    let small = &config.limits[&LimitName::new("small")];
    assert_eq!(small.pace.unwrap().burst, number(3));
    assert_eq!(small.max_concurrent, None);
}

#[test]
fn a_shared_limit_that_cannot_work_is_an_error() {
    for (more, expected) in [
        ("[limits.big]\n", "limits.big: limits nothing; add rate, max_concurrent, windows"),
        ("[limits.big]\nburst = 3\nmax_concurrent = 1\n", "says nothing without a rate"),
        ("[limits.erp]\nmax_concurrent = 3\n", "limits.erp: a target has this name already"),
        ("[limits.\"a b\"]\nmax_concurrent = 3\n", "not a limit's name"),
        ("share = [\"bgi\"]\n[limits.big]\nrate = \"1/s\"\n", "did you mean \"big\"?"),
        ("share = [\"x\"]\n", "there is no limit of the name \"x\""),
        ("share = [\"b\", \"b\"]\n[limits.b]\nrate = \"1/s\"\n", "\"b\" is here twice"),
    ] {
        let fault = fault(&format!("{ERP}{more}"));
        assert!(fault.contains(expected), "{more}: {fault}");
    }
}
