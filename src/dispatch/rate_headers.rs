//! What a target says about its limit in headers, read leniently: there are three drafts of a
//! standard and a dozen customs.
//!
//! - `RateLimit: "default";r=50;t=30` with `RateLimit-Policy: "default";q=100;w=60`
//!   (draft-ietf-httpapi-ratelimit-headers-08 and after); `RateLimit: limit=100, remaining=50,
//!   reset=30` (07); `RateLimit-Limit`, `-Remaining`, `-Reset` (06 and before);
//! - `X-RateLimit-*`, `X-Rate-Limit-*` and relatives, [`CUSTOMS`]. Their reset is a number of
//!   seconds, or a time in seconds, milliseconds or finer since 1970, or a date, or a duration
//!   like `6m0s`. What is meant is told by its size: no reset is years away.
//! - `Retry-After-Ms` and `X-Ms-Retry-After-Ms` (Azure's, OpenAI's), `X-Retry-After`, beside
//!   `Retry-After`, which `retry_after` reads.
//!
//! Whatever is not understood says nothing. Nothing in here can make a target be called faster.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::DATE;

use super::retry_after;
use crate::broker::hint::Hint;
use crate::config::parse_duration;

/// Names of (remaining, reset, limit).
type Custom = (&'static str, &'static str, &'static str);

const CUSTOMS: [Custom; 9] = [
    ("ratelimit-remaining", "ratelimit-reset", "ratelimit-limit"),
    // Discord; it sends x-ratelimit-reset as well, which leans on equal clocks.
    ("x-ratelimit-remaining", "x-ratelimit-reset-after", "x-ratelimit-limit"),
    // GitHub, GitLab and most others.
    ("x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-limit"),
    // X (Twitter), Okta, Zalando.
    ("x-rate-limit-remaining", "x-rate-limit-reset", "x-rate-limit-limit"),
    // OpenAI and those that imitate it; reset as "6m0s".
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "x-ratelimit-limit-requests"),
    // Linear; reset in milliseconds since 1970.
    ("x-ratelimit-requests-remaining", "x-ratelimit-requests-reset", "x-ratelimit-requests-limit"),
    // Reset as RFC 3339.
    (
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
        "anthropic-ratelimit-requests-limit",
    ),
    // Imgur.
    ("x-ratelimit-userremaining", "x-ratelimit-userreset", "x-ratelimit-userlimit"),
    // Amazon's marketplace; reset as a date.
    ("x-mws-quota-remaining", "x-mws-quota-resetson", "x-mws-quota-max"),
];

/// Of one header; more is not an API but an attack.
const MOST_MEMBERS: usize = 32;
/// A number of seconds from here on is a time since 1970 (this one is in 1982): as a delay it would
/// be 12 years.
const EPOCH_FROM: f64 = 4e8;

/// What the answer with these `headers`, which came at `now`, says of what is left. Of several
/// limits the one that binds most. A time is taken relative to the answer's own `Date`, so that
/// the two clocks need not agree.
pub fn hint(headers: &HeaderMap, now: SystemTime) -> Option<Hint> {
    let sent = date(headers).unwrap_or(now);
    let mut found = structured(headers);
    found.extend(CUSTOMS.iter().filter_map(|custom| customary(headers, custom, sent)));
    found.into_iter().reduce(stricter)
}

/// How long the target wants to be left alone, by `Retry-After` and its relatives; of several the
/// longest.
pub fn pause(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let sent = date(headers).unwrap_or(now);
    let millis = ["retry-after-ms", "x-ms-retry-after-ms"]
        .iter()
        .flat_map(|name| lines(headers, name))
        .filter_map(number)
        .map(|millis| seconds(millis / 1_000.0));
    let other = lines(headers, "x-retry-after").filter_map(|text| until(text, sent));
    millis.chain(other).chain(retry_after::retry_after(headers, now)).max()
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    headers.get(DATE)?.to_str().ok().and_then(|text| httpdate::parse_http_date(text.trim()).ok())
}

fn lines<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let all = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    all.map(str::trim).take(MOST_MEMBERS)
}

/// Nothing left for longest, else the slowest pace.
fn stricter(one: Hint, other: Hint) -> Hint {
    // An hour without anything is stricter than a minute without.
    let pace = |hint: &Hint| hint.remaining as f64 / hint.reset_in.as_secs_f64().max(0.001);
    match (one.remaining, other.remaining) {
        (0, 0) if other.reset_in > one.reset_in => other,
        (0, _) => one,
        (_, 0) => other,
        _ if pace(&other) < pace(&one) => other,
        _ => one,
    }
}

fn customary(headers: &HeaderMap, custom: &Custom, sent: SystemTime) -> Option<Hint> {
    let (remaining, reset, limit) = custom;
    // Where a gateway and the API behind it both speak, the smaller and the later hold.
    let remaining = lines(headers, remaining)
        .flat_map(|line| line.split(',').take(MOST_MEMBERS))
        .filter_map(|text| number(text.split(';').next()?))
        .min_by(f64::total_cmp)?;
    let reset_in = lines(headers, reset).filter_map(|text| until(text, sent)).max()?;
    // The older drafts write `100, 100;w=60`.
    let limit = lines(headers, limit)
        .filter_map(|text| number(text.split([',', ';']).next()?))
        .min_by(f64::total_cmp);
    Some(Hint { remaining: remaining as u64, reset_in, limit: limit.map(|limit| limit as u64) })
}

/// A number that is not negative; `-1` is how some say "without limit".
fn number(text: &str) -> Option<f64> {
    let text = text.trim().trim_matches('"');
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|number: &f64| plain && number.is_finite())
}

/// From `sent` until the time that is meant.
fn until(text: &str, sent: SystemTime) -> Option<Duration> {
    let text = text.trim().trim_matches('"');
    let from_sent = |at: SystemTime| {
        Some(at.duration_since(sent).unwrap_or_default().min(retry_after::LONGEST))
    };
    if let Some(number) = number(text) {
        // Milliseconds since 1970 are twelve digits or thirteen, micro- and nanoseconds more.
        let since_epoch = [1.0, 1e3, 1e6, 1e9].into_iter().map(|unit| number / unit);
        return match since_epoch.into_iter().find(|seconds| *seconds < EPOCH_FROM * 100.0) {
            Some(delay) if delay == number && delay < EPOCH_FROM => Some(seconds(delay)),
            Some(epoch) => {
                from_sent(UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(epoch).ok()?)?)
            }
            None => Some(retry_after::LONGEST),
        };
    }
    if let Ok(at) = httpdate::parse_http_date(text) {
        return from_sent(at);
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return from_sent(SystemTime::from(at));
    }
    parse_duration(text).map(|duration| duration.min(retry_after::LONGEST))
}

fn seconds(seconds: f64) -> Duration {
    let duration = Duration::try_from_secs_f64(seconds.max(0.0));
    duration.unwrap_or(retry_after::LONGEST).min(retry_after::LONGEST)
}

/// One policy: what is left of it, and what it is.
#[derive(Debug, Default)]
struct Member<'h> {
    name: &'h str,
    left: Option<f64>,
    reset: Option<f64>,
    quota: Option<f64>,
    window: Option<f64>,
    /// Bytes or connections are counted, not requests.
    other_unit: bool,
}

fn structured(headers: &HeaderMap) -> Vec<Hint> {
    let policies: Vec<Member<'_>> = members(headers, "ratelimit-policy");
    let mut found = Vec::new();
    let mut whole = Member::default();
    for member in members(headers, "ratelimit") {
        let policy = policies.iter().find(|policy| policy.name == member.name);
        if member.other_unit || policy.is_some_and(|policy| policy.other_unit) {
            continue;
        }
        // Draft 07 has one policy, spread over the members.
        whole.left = whole.left.or(member.left);
        whole.reset = whole.reset.or(member.reset);
        whole.quota = whole.quota.or(member.quota);
        let window = policy.and_then(|policy| policy.window);
        let quota = policy.and_then(|policy| policy.quota).or(member.quota);
        found.extend(as_hint(member.left, member.reset.or(member.window).or(window), quota));
    }
    if found.is_empty() {
        found.extend(as_hint(whole.left, whole.reset, whole.quota));
    }
    found
}

fn as_hint(left: Option<f64>, reset: Option<f64>, quota: Option<f64>) -> Option<Hint> {
    Some(Hint {
        remaining: left? as u64,
        reset_in: seconds(reset?),
        limit: quota.map(|quota| quota as u64),
    })
}

/// The members of a list of structured fields (RFC 9651 §3.1), or of a dictionary, as it comes.
fn members<'h>(headers: &'h HeaderMap, name: &str) -> Vec<Member<'h>> {
    let all = lines(headers, name).flat_map(|line| split(line, ','));
    all.take(MOST_MEMBERS).map(member).collect()
}

fn member(text: &str) -> Member<'_> {
    let mut member = Member::default();
    for (nth, part) in split(text, ';').take(MOST_MEMBERS).enumerate() {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let (key, value) = (key.trim(), value.trim());
        if nth == 0 && value.is_empty() {
            member.name = key.trim_matches('"');
            continue;
        }
        match key.to_ascii_lowercase().as_str() {
            "r" | "remaining" => member.left = number(value),
            "t" | "reset" => member.reset = number(value),
            "q" | "limit" => member.quota = number(value),
            "w" => member.window = number(value),
            "qu" => member.other_unit = !value.trim_matches('"').eq_ignore_ascii_case("requests"),
            _ => {}
        }
    }
    member
}

/// At each `at` that is not within quotes.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = quoted;
        } else if c == '"' {
            quoted = !quoted;
        }
        c == at && !quoted
    })
    .map(str::trim)
}

#[cfg(test)]
mod tests;
