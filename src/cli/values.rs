//! What single words of the command line mean. Each parser's error is a sentence for people.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use http::Uri;

use crate::broker::job::JobId;
use crate::config::parse_duration;

/// One of the daemon's two addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// What a path is added to, without a `/` at its end.
    base: String,
    way: Way,
    side: Side,
}

/// How an address is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    Plain,
    Tls,
    /// A socket in the file system.
    Socket(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Data,
    Admin,
}

impl Side {
    /// How another address is named.
    pub fn how_to_name(self) -> &'static str {
        match self {
            Side::Data => "--url or TOLLGATE_URL",
            Side::Admin => "--admin-url or TOLLGATE_ADMIN_URL",
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Side::Data => "data",
            Side::Admin => "admin",
        }
    }
}

impl Address {
    pub fn side(&self) -> Side {
        self.side
    }

    pub fn way(&self) -> &Way {
        &self.way
    }

    /// `path` begins with a `/`; its variable parts are encoded.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(super) fn parse(text: &str, side: Side) -> Result<Address, String> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            if path.file_name().is_none() {
                return Err(
                    "not a socket; write unix: and its path: unix:/run/tollgate.sock".into()
                );
            }
            // Whoever comes by a socket may name any host.
            let (base, way) = ("http://localhost".to_owned(), Way::Socket(path.to_owned()));
            return Ok(Address { base, way, side });
        }
        let uri: Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
        let way = match uri.scheme_str() {
            Some("http") => Way::Plain,
            Some("https") => Way::Tls,
            Some(other) => {
                return Err(format!(
                    "{other}:// is not spoken here; use http, https or unix:/path"
                ));
            }
            None => return Err(format!("a URL with a scheme is needed: http://{text}")),
        };
        let authority = uri.authority().ok_or("the URL names no host")?;
        if authority.as_str().contains('@') {
            return Err("credentials do not belong into the URL; set TOLLGATE_TOKEN".into());
        }
        if authority.host().is_empty() {
            return Err("the URL names no host".into());
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("an address has neither a query nor a fragment".into());
        }
        let base = text.trim_end_matches('/').to_owned();
        Ok(Address { base, way, side })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Plain | Way::Tls => f.write_str(&self.base),
            Way::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Clap keeps parsed values by their type, so the two addresses have one each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataUrl(pub Address);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminUrl(pub Address);

pub(super) fn data_url(text: &str) -> Result<DataUrl, String> {
    Address::parse(text, Side::Data).map(DataUrl)
}

pub(super) fn admin_url(text: &str) -> Result<AdminUrl, String> {
    Address::parse(text, Side::Admin).map(AdminUrl)
}

/// A target's name that can stand as one segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetName(String);

impl TargetName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As one segment of a URL's path, or as a value in its query.
    pub fn encoded(&self) -> String {
        encode(&self.0)
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn target_name(text: &str) -> Result<TargetName, String> {
    if text.is_empty() || text == "." || text == ".." || text.chars().any(char::is_control) {
        return Err("not a target's name".into());
    }
    Ok(TargetName(text.to_owned()))
}

/// Everything but RFC 3986's unreserved characters is percent-encoded.
pub(super) fn encode(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const RESERVED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

pub(super) fn job_id(text: &str) -> Result<JobId, String> {
    JobId::from_str(text).map_err(|error| error.to_string())
}

/// `250ms`, `30s`, `5m`, `1d`, `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .ok_or_else(|| "not a duration; write it like 250ms, 30s, 5m, 1h30m or 1d".into())
}

/// As the daemon reads it: `250ms`, `30s`, `1s500ms`. A part of a millisecond is rounded up.
pub(super) fn written(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    match (millis / 1000, millis % 1000) {
        (seconds, 0) => format!("{seconds}s"),
        (0, millis) => format!("{millis}ms"),
        (seconds, millis) => format!("{seconds}s{millis}ms"),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deadline {
    In(Duration),
    At(jiff::Timestamp),
}

impl Deadline {
    /// In UTC.
    pub fn rfc_3339(&self, now: jiff::Timestamp) -> Result<String, String> {
        let at = match self {
            Deadline::At(at) => *at,
            Deadline::In(duration) => now
                .checked_add(*duration)
                .map_err(|_| "the deadline is too far in the future".to_owned())?,
        };
        Ok(format!("{at:.3}"))
    }
}

pub(super) fn deadline(text: &str) -> Result<Deadline, String> {
    if let Some(duration) = parse_duration(text) {
        return Ok(Deadline::In(duration));
    }
    text.parse().map(Deadline::At).map_err(|_| {
        "neither a duration from now (30s, 5m) nor a time (RFC 3339: 2026-01-31T08:00:00Z)".into()
    })
}

/// `NAME:VALUE`. The value may be a secret, so `Debug` shows the name alone.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderArg {
    pub name: String,
    pub value: String,
}

impl fmt::Debug for HeaderArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}

pub(super) fn header(text: &str) -> Result<HeaderArg, String> {
    let (name, value) = text.split_once(':').ok_or("a header is written NAME:VALUE")?;
    let name = name.trim();
    let value = value.trim_matches([' ', '\t']);
    http::HeaderName::from_str(name).map_err(|_| format!("{name:?} is not a header's name"))?;
    http::HeaderValue::from_str(value)
        .map_err(|_| format!("the value of {name} has a character that no header may carry"))?;
    Ok(HeaderArg { name: name.to_owned(), value: value.to_owned() })
}

pub(super) fn media_type(text: &str) -> Result<String, String> {
    let essence = text.split(';').next().unwrap_or_default().trim();
    let looks_right = essence.split_once('/').is_some_and(|(kind, sub)| {
        !kind.is_empty() && !sub.is_empty() && !essence.contains(char::is_whitespace)
    });
    if looks_right && http::HeaderValue::from_str(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err("a content type is written like application/json".into())
    }
}

/// `application/json` and everything that ends in `+json` (RFC 6839).
pub(super) fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, joined) in [
            ("http://127.0.0.1:7070", "http://127.0.0.1:7070/v1/jobs"),
            ("http://127.0.0.1:7070/", "http://127.0.0.1:7070/v1/jobs"),
            ("https://gate.example/tollgate/", "https://gate.example/tollgate/v1/jobs"),
            ("http://[::1]:7070", "http://[::1]:7070/v1/jobs"),
            ("unix:/run/tollgate.sock", "http://localhost/v1/jobs"),
        ] {
            let address = Address::parse(text, Side::Data).unwrap();
            assert_eq!(address.join("/v1/jobs"), joined);
        }
        for bad in [
            "",
            "127.0.0.1:7070",
            "localhost",
            "ftp://x",
            "http://",
            "http://u:p@x",
            "http://x?a",
            "http://x/#a",
            "/v1",
            "http://x y",
            "unix:",
            "unix:/",
            "unix:/run/..",
        ] {
            assert!(Address::parse(bad, Side::Data).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_name_stays_one_segment() {
        assert_eq!(target_name("a/b ü").unwrap().encoded(), "a%2Fb%20%C3%BC");
        for bad in ["", ".", "..", "a\nb"] {
            assert!(target_name(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn headers() {
        let taken = header("X-Trace:  a:b ").unwrap();
        assert_eq!((taken.name.as_str(), taken.value.as_str()), ("X-Trace", "a:b"));
        assert_eq!(header("X-Empty:").unwrap().value, "");
        for bad in ["no colon", ": x", "a b: c", "x: a\nb", "x: a\u{7}"] {
            assert!(header(bad).is_err(), "{bad:?} was taken");
        }
        assert!(!format!("{:?}", header("Authorization: secret").unwrap()).contains("secret"));
    }

    #[test]
    fn durations_and_deadlines() {
        assert_eq!(written(duration("1m").unwrap()), "60s");
        assert_eq!(written(Duration::from_micros(1500)), "2ms");
        let odd = Duration::from_millis(1500);
        assert_eq!((written(odd), duration(&written(odd))), ("1s500ms".into(), Ok(odd)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        for bad in
            ["", " ", "5", "-5s", "5M", "1month", "2y", "s", "1٣s", "18446744073709551615s 1000ms"]
        {
            assert!(duration(bad).is_err(), "{bad:?} was taken");
        }

        let now: jiff::Timestamp = "2026-01-31T08:00:00Z".parse().unwrap();
        let read = |text: &str| deadline(text).unwrap().rfc_3339(now).unwrap();
        assert_eq!(read("90s"), "2026-01-31T08:01:30.000Z");
        assert_eq!(read("2026-01-31T09:00:00+01:00"), "2026-01-31T08:00:00.000Z");
        assert!(deadline("tomorrow").is_err());
        assert!(deadline("9999999999d").unwrap().rfc_3339(now).is_err());
    }

    #[test]
    fn media_types() {
        assert!(is_json("application/json; charset=utf-8"));
        assert!(is_json("application/problem+JSON"));
        assert!(!is_json("text/plain"));
        assert!(media_type("text").is_err());
        assert!(media_type("text/plain\n").is_err());
        assert!(media_type("text/plain; charset=utf-8").is_ok());
    }
}
