use http::{HeaderName, HeaderValue};

use super::*;
use crate::broker::hint::Allowance;
use crate::broker::time::Mono;

/// 2023-11-14T22:13:20Z
const NOW: u64 = 1_700_000_000;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

/// Remaining, seconds to the reset, limit.
fn read(lines: &[(&str, &str)]) -> Option<(u64, f64, Option<u64>)> {
    let hint = hint(&map(lines), now())?;
    Some((hint.remaining, hint.reset_in.as_secs_f64(), hint.limit))
}

#[test]
fn the_draft_of_today() {
    assert_eq!(read(&[("RateLimit", "\"default\";r=50;t=30")]), Some((50, 30.0, None)));
    assert_eq!(
        read(&[
            ("RateLimit-Policy", "\"burst\";q=100;w=60, \"daily\";q=1000;w=86400;pk=:cHNlc3M=:"),
            ("RateLimit", "\"burst\";r=50;t=30, \"daily\";r=9;t=3600"),
        ]),
        Some((9, 3_600.0, Some(1_000)))
    );
    // Without a time the window is the longest that it can be.
    assert_eq!(
        read(&[("RateLimit-Policy", "\"a\";q=10;w=60"), ("RateLimit", "\"a\";r=0")]),
        Some((0, 60.0, Some(10)))
    );
    // Bytes are not requests.
    assert_eq!(
        read(&[
            ("RateLimit-Policy", "\"a\";q=10;w=60;qu=\"content-bytes\""),
            ("RateLimit", "\"a\";r=0;t=9"),
        ]),
        None
    );
    // Names may hold anything.
    assert_eq!(read(&[("RateLimit", "\"a,b;r=1;t=1\\\"\" ; r=5 ; t=6")]), Some((5, 6.0, None)));
}

#[test]
fn the_drafts_before_it() {
    let seven = "limit=100, remaining=50, reset=30";
    assert_eq!(read(&[("RateLimit", seven)]), Some((50, 30.0, Some(100))));
    assert_eq!(
        read(&[
            ("RateLimit-Limit", "100, 100;w=60;burst=1000, 5000;w=3600"),
            ("RateLimit-Remaining", "42"),
            ("RateLimit-Reset", "17"),
        ]),
        Some((42, 17.0, Some(100)))
    );
}

#[test]
fn resets_in_every_spelling() {
    for (reset, seconds) in [
        ("30", 30.0),
        ("0.5", 0.5),
        ("0", 0.0),
        ("1700000030", 30.0),
        ("1700000030.25", 30.25),
        ("1700000030000", 30.0),
        ("1700000030000000", 30.0),
        ("1700000030000000000", 30.0),
        ("1600000000", 0.0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("2023-11-14T22:13:50Z", 30.0),
        ("2023-11-15T00:13:50+02:00", 30.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1s", 1.0),
        (" \"30\" ", 30.0),
        ("399999999", 31_536_000.0),
        ("9999999999999999999999999999", 31_536_000.0),
    ] {
        let found = read(&[("X-RateLimit-Remaining", "7"), ("X-RateLimit-Reset", reset)]);
        let (_, found, _) = found.unwrap_or_else(|| panic!("{reset}"));
        assert!((found - seconds).abs() < 1e-3, "{reset}: {found}");
    }
}

#[test]
fn a_time_counts_from_the_answers_own_date() {
    // The target's clock is an hour ahead.
    let date = ("Date", "Tue, 14 Nov 2023 23:13:20 GMT");
    let remaining = ("X-RateLimit-Remaining", "0");
    for reset in ["1700003660", "1700003660000", "Tue, 14 Nov 2023 23:14:20 GMT", "60"] {
        assert_eq!(read(&[date, remaining, ("X-RateLimit-Reset", reset)]), Some((0, 60.0, None)));
    }
}

#[test]
fn the_customs_of_well_known_apis() {
    for (remaining, reset, limit) in CUSTOMS {
        let lines = [(remaining, "3"), (reset, "1700000060"), (limit, "60")];
        assert_eq!(read(&lines), Some((3, 60.0, Some(60))), "{remaining}");
    }
    assert_eq!(
        read(&[
            ("X-RateLimit-Limit", "5"),
            ("X-RateLimit-Remaining", "0"),
            ("X-RateLimit-Reset", "1470173023.123"),
            ("X-RateLimit-Reset-After", "64.57"),
        ]),
        Some((0, 64.57, Some(5)))
    );
}

#[test]
fn of_several_the_strictest_holds() {
    let twice = [
        ("X-RateLimit-Remaining", "100"),
        ("X-RateLimit-Remaining", "4, 9"),
        ("X-RateLimit-Reset", "10"),
        ("X-RateLimit-Reset", "40"),
    ];
    assert_eq!(read(&twice), Some((4, 40.0, None)));
    let [spent, left] = ["\"a\";r=0;t=5", "\"b\";r=1;t=500"];
    for line in [format!("{spent}, {left}"), format!("{left}, {spent}")] {
        assert_eq!(read(&[("RateLimit", &line)]), Some((0, 5.0, None)), "{line}");
    }
}

#[test]
fn what_cannot_be_read_says_nothing() {
    assert_eq!(read(&[]), None);
    for remaining in ["", "-1", "many", "1e3", "NaN", "inf", "∞", "0x10"] {
        let lines = [("X-RateLimit-Remaining", remaining), ("X-RateLimit-Reset", "60")];
        assert_eq!(read(&lines), None, "{remaining}");
    }
    for reset in ["", "-5", "soon", "1e9", "Sun, 99 Nov 1994 08:49:36 GMT", "5M", "..", "."] {
        let lines = [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", reset)];
        assert_eq!(read(&lines), None, "{reset}");
    }
    for line in ["", ";;;", "\"", "r=", "\"a\";r=1", "\"a\";t=1", "a;r=x;t=y", "=;=;=", "\\"] {
        assert_eq!(read(&[("RateLimit", line)]), None, "{line}");
    }
}

#[test]
fn relatives_of_retry_after() {
    let read = |lines: &[(&str, &str)]| pause(&map(lines), now());
    let millis = |millis| Some(Duration::from_millis(millis));
    assert_eq!(read(&[("retry-after-ms", "1250")]), millis(1_250));
    assert_eq!(read(&[("x-ms-retry-after-ms", "20.5")]), Some(Duration::from_micros(20_500)));
    assert_eq!(read(&[("retry-after-ms", "1250"), ("retry-after", "2")]), millis(2_000));
    assert_eq!(read(&[("x-retry-after", "1700000009")]), millis(9_000));
    assert_eq!(read(&[("retry-after", "3")]), millis(3_000));
    assert_eq!(read(&[("retry-after-ms", "-1"), ("x-retry-after", "soon")]), None);
    assert_eq!(read(&[("retry-after-ms", &"9".repeat(400))]), None);
    assert_eq!(read(&[("retry-after-ms", &"9".repeat(40))]), Some(retry_after::LONGEST));
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// Neither noise nor scraps of the right words make it panic, and whatever it makes of them only
/// ever slows down, for no longer than is allowed.
#[test]
fn hostile_headers_never_panic_and_never_speed_up() {
    const NAMES: [&str; 10] = [
        "ratelimit",
        "ratelimit-policy",
        "ratelimit-remaining",
        "ratelimit-reset",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-ratelimit-reset-after",
        "retry-after",
        "retry-after-ms",
        "date",
    ];
    const SCRAPS: [&str; 24] = [
        "\"default\"",
        ";r=",
        ";t=",
        ";q=",
        ";w=",
        ",",
        "0",
        "1",
        "50",
        "-1",
        "1700000030",
        "99999999999999999999",
        "\"",
        "\\",
        "=",
        ";",
        " ",
        ".",
        "e308",
        "Tue, 14 Nov 2023 22:13:50 GMT",
        "2023-11-14T22:13:50Z",
        "6m0s",
        "limit=",
        "remaining=",
    ];
    let longest = Duration::from_secs(300);
    let mut dice = Dice(4);
    let mut understood = 0;
    for round in 0..20_000 {
        let mut headers = HeaderMap::new();
        if round % 3 == 1 {
            // Something right, with one byte changed.
            for (name, value) in [
                ("ratelimit", "\"a\";r=12;t=345, \"b\";r=0;t=6"),
                ("x-ratelimit-remaining", "12"),
                ("x-ratelimit-reset", "1700000345"),
            ] {
                let mut value = value.as_bytes().to_vec();
                let at = dice.below(value.len());
                value[at] = dice.below(256) as u8;
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(name, value);
                }
            }
        }
        for _ in 0..=dice.below(6) {
            let mut value = Vec::new();
            for _ in 0..=dice.below(if round % 3 == 0 { 12 } else { 3 }) {
                if round % 2 == 0 {
                    value.push(dice.below(256) as u8);
                } else {
                    value.extend_from_slice(SCRAPS[dice.below(SCRAPS.len())].as_bytes());
                }
            }
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(NAMES[dice.below(NAMES.len())], value);
            }
        }
        let pause = pause(&headers, now());
        assert!(pause.is_none_or(|pause| pause <= retry_after::LONGEST));
        let Some(hint) = hint(&headers, now()) else { continue };
        understood += 1;
        assert!(hint.reset_in <= retry_after::LONGEST);
        let mut allowance = Allowance::default();
        let heard = Mono::ZERO + Duration::from_secs(1);
        allowance.hear(heard, heard, hint, longest);
        assert!(allowance.spent_until(heard).is_none_or(|until| until <= heard + longest));
        assert!(allowance.pace(heard).is_none_or(|pace| pace.is_finite() && pace > 0.0));
        assert!(allowance.ends_at(heard + longest).is_none());
    }
    assert!(understood > 2_000, "{understood}");
}
