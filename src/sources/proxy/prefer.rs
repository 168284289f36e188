//! `Prefer` (RFC 7240): whether, and for how long, a caller waits.

use std::time::Duration;

use http::HeaderMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefer {
    pub(super) respond_async: bool,
    pub(super) wait: Option<Duration>,
    /// What is not for us, and goes on to the target.
    pub(super) others: Vec<String>,
}

impl Prefer {
    /// A preference that came twice counts as it came first; one that cannot be read does not
    /// count (RFC 7240, section 2).
    pub(super) fn read(headers: &HeaderMap) -> Prefer {
        let mut prefer = Prefer::default();
        let lines = headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
        for piece in lines.flat_map(pieces) {
            let own = piece.split(';').next().unwrap_or_default();
            let (name, value) = match own.split_once('=') {
                Some((name, value)) => (name.trim(), value.trim().trim_matches('"')),
                None => (own.trim(), ""),
            };
            if name.eq_ignore_ascii_case("respond-async") {
                prefer.respond_async = true;
            } else if name.eq_ignore_ascii_case("wait") {
                let seconds = value.parse::<u32>().ok();
                prefer.wait =
                    prefer.wait.or(seconds.map(|seconds| Duration::from_secs(seconds.into())));
            } else {
                prefer.others.push(piece.to_owned());
            }
        }
        prefer
    }

    /// How long the caller waits; for ever where there is nothing said.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.wait.or(self.respond_async.then_some(Duration::ZERO))
    }

    /// For `Preference-Applied`, once the caller is told to look later.
    pub(super) fn applied(&self) -> String {
        let wait = self.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let respond_async = self.respond_async.then(|| "respond-async".to_owned());
        [respond_async, wait].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Cuts at commas that are not within quotes.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    line.split(move |c| {
        let cut = c == ',' && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        cut
    })
    .map(str::trim)
    .filter(|piece| !piece.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(lines: &[&'static str]) -> Prefer {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("prefer", HeaderValue::from_static(line));
        }
        Prefer::read(&headers)
    }

    #[test]
    fn preferences_are_found_wherever_they_stand() {
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(read(&[]).patience(), None);
        assert_eq!(read(&["respond-async"]).patience(), seconds(0));
        assert_eq!(read(&["Respond-Async; x=1, wait=10"]).patience(), seconds(10));
        assert_eq!(read(&["wait = \"5\"", "wait=9"]).patience(), seconds(5));
        assert_eq!(read(&["wait=soon, wait=-1, wait="]).patience(), None);
        assert_eq!(read(&["wait=99999999999"]).patience(), None);
        assert_eq!(read(&["x=\"a, respond-async\""]).patience(), None);
    }

    #[test]
    fn what_is_not_for_us_goes_on() {
        let prefer = read(&["return=minimal, respond-async", "x=\"a\\\", b\", wait=1"]);
        assert_eq!(prefer.others, ["return=minimal", "x=\"a\\\", b\""]);
        assert_eq!(prefer.applied(), "respond-async, wait=1");
    }
}
