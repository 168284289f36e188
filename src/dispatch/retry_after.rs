//! `Retry-After` (RFC 9110 §10.2.3), read leniently: a target's wish for rest is seldom wrong,
//! its grammar often is.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// Whatever asks for more asks for this; a target's `max_backoff` is far below it.
pub(super) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long after the answer with these `headers`, which came at `now`, the target wants to be
/// left alone. `None` where it does not say, or not in a way that can be understood.
///
/// A date is taken relative to the answer's own `Date`, so that the two clocks need not agree; a
/// date that is past means at once.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let asked = headers.get_all(RETRY_AFTER).iter().filter_map(|value| value.to_str().ok());
    let date = |text: &str| httpdate::parse_http_date(text.trim()).ok();
    let sent = || headers.get(DATE).and_then(|value| value.to_str().ok()).and_then(date);
    asked
        .filter_map(|text| {
            seconds(text).or_else(|| {
                let until = date(text)?;
                Some(until.duration_since(sent().unwrap_or(now)).unwrap_or_default())
            })
        })
        .map(|wait| wait.min(LONGEST))
        .max()
}

/// Delta-seconds; a fraction, which the grammar does not have, is rounded up.
fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    // All digits: what does not fit is only too large.
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    let up = u64::from(fraction.bytes().any(|byte| byte != b'0'));
    Some(Duration::from_secs(whole.saturating_add(up)))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;

    use super::*;

    /// 1994-11-06T08:49:37Z
    const NOW: Duration = Duration::from_secs(784_111_777);

    fn read(lines: &[(&'static str, &str)]) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        retry_after(&headers, UNIX_EPOCH + NOW)
    }

    fn secs(secs: u64) -> Option<Duration> {
        Some(Duration::from_secs(secs))
    }

    #[test]
    fn seconds_in_every_spelling() {
        assert_eq!(read(&[("retry-after", "120")]), secs(120));
        assert_eq!(read(&[("retry-after", " 007 ")]), secs(7));
        assert_eq!(read(&[("retry-after", "0")]), secs(0));
        assert_eq!(read(&[("retry-after", "1.2")]), secs(2));
        assert_eq!(read(&[("retry-after", "3.")]), secs(3));
    }

    #[test]
    fn all_three_forms_of_a_date() {
        for date in [
            "Sun, 06 Nov 1994 08:50:37 GMT",
            "Sunday, 06-Nov-94 08:50:37 GMT",
            "Sun Nov  6 08:50:37 1994",
        ] {
            assert_eq!(read(&[("retry-after", date)]), secs(60), "{date}");
        }
    }

    #[test]
    fn a_date_counts_from_the_answers_own_date() {
        let date = ("date", "Sun, 06 Nov 1994 10:00:00 GMT");
        assert_eq!(read(&[("retry-after", "Sun, 06 Nov 1994 10:00:05 GMT"), date]), secs(5));
        assert_eq!(read(&[("retry-after", "Sun, 06 Nov 1994 09:00:00 GMT"), date]), secs(0));
        let broken = ("date", "yesterday");
        assert_eq!(read(&[("retry-after", "Sun, 06 Nov 1994 08:49:38 GMT"), broken]), secs(1));
    }

    #[test]
    fn what_is_past_is_at_once_and_what_is_absurd_is_clamped() {
        assert_eq!(read(&[("retry-after", "Sun, 06 Nov 1994 08:49:36 GMT")]), secs(0));
        assert_eq!(read(&[("retry-after", "99999999999999999999999")]), Some(LONGEST));
        assert_eq!(read(&[("retry-after", "18446744073709551615.9")]), Some(LONGEST));
        assert_eq!(read(&[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")]), Some(LONGEST));
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        for text in ["", "-1", "soon", "1e3", ".5", "١", "1,2", "Sun, 99 Nov 1994 08:49:36 GMT"] {
            assert_eq!(read(&[("retry-after", text)]), None, "{text}");
        }
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn of_several_the_longest_holds() {
        assert_eq!(
            read(&[("retry-after", "1"), ("retry-after", "x"), ("retry-after", "9")]),
            secs(9)
        );
    }
}
