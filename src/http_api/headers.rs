//! Which headers pass from one side to the other.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Of all names and values together, in bytes.
pub(crate) const LARGEST: usize = 32 * 1024;
pub(crate) const MOST: usize = 100;

/// Hop-by-hop headers: RFC 9110, section 7.6.1, and those that RFC 2616 named.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

/// What describes one message on one connection to one host, so that who sends it writes it.
pub(crate) fn is_framing(name: &HeaderName) -> bool {
    is_hop_by_hop(name) || matches!(*name, header::HOST | header::CONTENT_LENGTH | header::EXPECT)
}

/// The broker's own, in either direction.
pub(crate) fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with("tollgate-")
}

/// The names that `Connection` lists: hop-by-hop in this one message.
pub(crate) fn nominated<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    values
        .flat_map(|value| value.split(|b| *b == b','))
        .filter_map(|name| std::str::from_utf8(name).ok())
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty() && name != "close")
        .collect()
}

/// The one value of a header that may be there once.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Twice> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Twice),
        (one, None) => Ok(one),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Twice;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_names_further_hop_by_hop_headers() {
        let values: [&[u8]; 3] = [b"close, X-One", b" x-two ,", b"\xff"];
        assert_eq!(nominated(values.into_iter()), ["x-one", "x-two"]);
    }

    #[test]
    fn a_header_that_came_twice_is_not_guessed_at() {
        let mut headers = HeaderMap::new();
        let name = header::AUTHORIZATION;
        assert_eq!(single(&headers, &name), Ok(None));
        headers.append(&name, HeaderValue::from_static("a"));
        assert_eq!(single(&headers, &name), Ok(Some(&HeaderValue::from_static("a"))));
        headers.append(&name, HeaderValue::from_static("a"));
        assert_eq!(single(&headers, &name), Err(Twice));
    }
}
