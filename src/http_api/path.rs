//! Where a request goes at its target. Nothing in here may leave the target's base URL, in any of the
//! ways that servers are known to read paths by: [`check`] says which.

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
    #[error(
        "must not have `//`, nor begin with it percent-encoded: servers disagree on what it means"
    )]
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
/// Stricter than the RFC where servers disagree. `//` is refused everywhere in the path, and at its
/// start, where it would name a host, also with encoded slashes and backslashes. A segment counts as
/// `.` or `..` also
/// - percent-encoded, once or twice, and in UTF-8 that is longer than it needs to be, which old
///   decoders take (RFC 3629, section 10);
/// - set off by a slash or a backslash that is encoded in these ways;
/// - followed by `;`, where Java's servers cut, by an encoded `?` or `#`, where those cut that decode
///   first, or by a control character that was encoded twice (once, it is refused anyway);
/// - with encoded spaces in it, which Windows drops.
///
/// Encoded slashes elsewhere are left alone: they are how a slash within a name is said. So is what
/// only looks like a dot or a slash (`%EF%BC%8F`), which is for the server to know.
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
    let twice = Cow::from(percent_encoding::percent_decode(&decoded));
    // What is bad at first sight still is after this: it only makes more slashes and dots.
    let read = shortened(&twice);
    if let [b'/', b'/' | b'\\', ..] = read[..] {
        return Err(PathError::DoubleSlash);
    }
    if read.split(|b| matches!(b, b'/' | b'\\')).any(is_dots) {
        return Err(PathError::DotSegment);
    }
    // What the client library would read must be what was written.
    match http::uri::PathAndQuery::try_from(target) {
        Ok(read) if read.as_str() == target => Ok(()),
        _ => Err(PathError::Unreadable),
    }
}

/// Whether a server may take the segment for `.` or `..`.
fn is_dots(segment: &[u8]) -> bool {
    let ends = |b: &u8| matches!(b, b';' | b'?' | b'#') || b.is_ascii_control();
    let name = segment.split(ends).next().unwrap_or_default();
    let dots = name.iter().filter(|b| **b == b'.').count();
    matches!(dots, 1 | 2) && name.iter().all(|b| matches!(b, b'.' | b' '))
}

/// With every ASCII character in one byte that is spelled in several.
fn shortened(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.is_ascii() {
        return Cow::Borrowed(bytes);
    }
    let mut short = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = overlong(rest).unwrap_or((*first, after));
        short.push(byte);
        rest = after;
    }
    Cow::Owned(short)
}

/// The ASCII character that two to six bytes at the start stand for, and what comes after them. (UTF-8
/// had up to six: RFC 2279, section 2.)
fn overlong(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let length = bytes.first()?.leading_ones();
    if !(2..=6).contains(&length) {
        return None;
    }
    let (spelled, after) = bytes.split_at_checked(length as usize)?;
    let (first, others) = spelled.split_first()?;
    let mut character = u32::from(first & (0x7f >> length));
    for byte in others {
        if byte & 0xc0 != 0x80 {
            return None;
        }
        character = character << 6 | u32::from(byte & 0x3f);
    }
    u8::try_from(character).ok().filter(u8::is_ascii).map(|character| (character, after))
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
            "/fetch/http%3A%2F%2Fb.example%2Fc",
            "/a%2F%2Fb",
            "/a?b=%2f%2fc/%2e%2e/%c0%ae%c0%ae",
            "/100%25/b",
            "/a%252Fb",
            "/..a%20/.%20.a/b%20",
            "/a%3Fb/c%23d",
            // Latin-1; GBK, of which some characters look like overlong ASCII.
            "/%E9t%E9/voil%E0",
            "/%C0%B4/%C0%AA.%C0%EE",
            // No worse than `/a%2Fb`.
            "/a%C0%AFb",
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
            ("/%2fevil.example/", DoubleSlash),
            ("/%2f%2fevil.example/", DoubleSlash),
            ("/%5cevil.example/", DoubleSlash),
            ("/%c0%afevil.example/", DoubleSlash),
            ("/%252fevil.example/", DoubleSlash),
            ("/%c0%ae%c0%ae/b", DotSegment),
            ("/a/.%c0%ae/b", DotSegment),
            ("/a/%e0%80%ae%f0%80%80%ae", DotSegment),
            ("/%f8%80%80%80%ae%fc%80%80%80%80%ae/b", DotSegment),
            ("/..%c0%af", DotSegment),
            ("/a/..%c1%9cb", DotSegment),
            ("/..%20/b", DotSegment),
            ("/a/%20..", DotSegment),
            ("/.%20./b", DotSegment),
            ("/..%20;x/b", DotSegment),
            ("/%2e%2e%3f/b", DotSegment),
            ("/..%23/b", DotSegment),
            ("/a/%252e%252e/b", DotSegment),
            ("/a/..%252fb", DotSegment),
            ("/..%2500/b", DotSegment),
            ("/..%c0%80/b", DotSegment),
            ("/%25c0%25ae%25c0%25ae/b", DotSegment),
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
