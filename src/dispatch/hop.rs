//! Which headers end at this hop, both ways (RFC 9110 §7.6.1).

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName};

/// Whether `name`, in lower case, belongs to one connection whatever `Connection` says.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    ) || name.starts_with("proxy-")
}

/// What the values of `Connection` name besides.
#[derive(Default)]
pub(super) struct Named(Vec<String>);

impl Named {
    pub(super) fn of(headers: &HeaderMap) -> Named {
        let mut named = Named::default();
        for value in headers.get_all(CONNECTION) {
            named.read(value.as_bytes());
        }
        named
    }

    pub(super) fn read(&mut self, value: &[u8]) {
        for token in value.split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(token.trim_ascii()) {
                self.0.push(name.as_str().to_owned());
            }
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|other| other == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_names_what_else_ends_here() {
        let mut named = Named::default();
        named.read(b"close, X-One ,, \"bad\" ,x-two");
        assert!(named.has("x-one") && named.has("x-two") && named.has("close"));
        assert!(!named.has("x-three"));
        assert!(is_hop_by_hop("proxy-authorization") && !is_hop_by_hop("proxy"));
    }
}
