//! Where a request goes at its target. Nothing in here may leave the target's base URL, however a
//! server behind it reads paths.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Of path and query together, in bytes.
pub(crate) const LONGEST: usize = 8 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("must be a path such as `/orders`, not a URL: the target's `url` says the rest")]
    Url,
    #[error("must begin with `/`")]
    NoSlash,
    #[error("must not have `//`: servers disagree on what it means")]
    DoubleSlash,
    #[error("must not have a segment that means `.` or `..`, not even percent-encoded")]
    DotSegment,
    #[error("must not have a fragment (`#`): percent-encode it as %23 if it is meant")]
    Fragment,
    #[error("must not have {0:?} as it is: percent-encode it")]
    Character(char),
    #[error("must not have a control character, not even percent-encoded")]
    Control,
    #[error("has a `%` that two hexadecimal digits do not follow: write %25 if it is meant")]
    Percent,
    #[error("cannot be read as path and query")]
    Unreadable,
    #[error("is longer than {LONGEST} bytes")]
    TooLong,
}

/// Whether `target` is in origin form (RFC 9112, section 3.2.1) and stays below a base path.
///
/// Stricter than the RFC where servers disagree: `//` is refused everywhere in the path, and a
/// segment counts as `.` or `..` also when it is percent-encoded, when an encoded slash or
/// backslash sets it off, and when a `;` follows it (Java servers cut there).
pub(crate) fn check(target: &str) -> Result<(), PathError> {
    if target.len() > LONGEST {
        return Err(PathError::TooLong);
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    if !path.starts_with('/') {
        return Err(if path.contains("://") { PathError::Url } else { PathError::NoSlash });
    }
    if target.contains('#') {
        return Err(PathError::Fragment);
    }
    for part in [Some(path), query].into_iter().flatten() {
        if let Some(odd) = part.chars().find(|c| !is_sendable(*c)) {
            return Err(if odd.is_ascii_control() {
                PathError::Control
            } else {
                PathError::Character(odd)
            });
        }
        check_percents(part)?;
    }
    if path.contains("//") {
        return Err(PathError::DoubleSlash);
    }
    let decoded = Cow::from(percent_decode_str(path));
    if decoded.iter().any(u8::is_ascii_control) {
        return Err(PathError::Control);
    }
    let is_dots = |segment: &[u8]| {
        let name = segment.split(|b| *b == b';').next().unwrap_or_default();
        name == b"." || name == b".."
    };
    if decoded.split(|b| matches!(b, b'/' | b'\\')).any(is_dots) {
        return Err(PathError::DotSegment);
    }
    // What the client library would read must be what was written.
    match http::uri::PathAndQuery::try_from(target) {
        Ok(read) if read.as_str() == target => Ok(()),
        _ => Err(PathError::Unreadable),
    }
}

/// More than RFC 3986 allows: browsers and old clients send `[`, `|` and their like as they are.
fn is_sendable(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '\\' | '"' | '<' | '>' | '^' | '`')
}

fn check_percents(part: &str) -> Result<(), PathError> {
    let mut pieces = part.split('%');
    pieces.next();
    let followed =
        |rest: &str| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if pieces.all(followed) { Ok(()) } else { Err(PathError::Percent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_pass() {
        for path in [
            "/",
            "/orders",
            "/orders/",
            "/orders/4711?full=1&x=a%20b",
            "/?",
            "/a?b=//c/../d?e",
            "/projects/group%2Fname",
            "/a;v=1/b",
            "/...",
            "/..a/.b/c..",
            "/caf%C3%A9",
            "/a?filter[x]=1|2&q={y}",
            "/a[0]|{b}",
            "/a?u=http://b/",
            "/a:b@c/(d)/*,'!$&+=~",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn what_could_leave_the_base_url_does_not() {
        use PathError::*;
        for (path, error) in [
            ("", NoSlash),
            ("orders", NoSlash),
            ("?x=1", NoSlash),
            ("*", NoSlash),
            ("http://evil.example/", Url),
            ("//evil.example/", DoubleSlash),
            ("/a//b", DoubleSlash),
            ("/..", DotSegment),
            ("/a/../b", DotSegment),
            ("/a/./b", DotSegment),
            ("/a/.", DotSegment),
            ("/%2e%2e/b", DotSegment),
            ("/a/.%2E/b", DotSegment),
            ("/a/..%2fb", DotSegment),
            ("/a%2F..%2Fb", DotSegment),
            ("/a%5c..%5Cb", DotSegment),
            ("/..;x=1/b", DotSegment),
            ("/a/..?x=1", DotSegment),
            ("/a#b", Fragment),
            ("/a?b#c", Fragment),
            ("/a\\b", Character('\\')),
            ("/a b", Character(' ')),
            ("/a?b c", Character(' ')),
            ("/a?b=\"c\"", Character('"')),
            ("/café", Character('é')),
            ("/①②", Character('①')),
            ("/a\r\nX: y", Control),
            ("/a\tb", Control),
            ("/a%00b", Control),
            ("/a%0d%0ab", Control),
            ("/a%", Percent),
            ("/a%2", Percent),
            ("/a%zz", Percent),
            ("/a?b=%g1", Percent),
        ] {
            assert_eq!(check(path), Err(error), "{path:?}");
        }
        assert_eq!(check(&format!("/{}", "a".repeat(LONGEST))), Err(TooLong));
    }
}
