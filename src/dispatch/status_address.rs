//! Where work is asked after that a 202 began. The target may name any address; only one below its
//! own URL is asked, so that no answer can send the target's credentials elsewhere.

use http::Uri;
use http::uri::Scheme;

use super::pool::Origin;
use crate::http_api::path;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Astray {
    #[error("it names no status address")]
    Missing,
    #[error("its status address cannot be read")]
    Unreadable,
    #[error("its status address is not below the target's url")]
    Elsewhere,
    #[error("its status address is no path that can be asked: it {0}")]
    Path(String),
}

/// The path below `base` that `given` means in an answer to a request for `path`.
///
/// Resolved as RFC 3986, section 5.2 says, but for `.` and `..`, which are refused: servers differ
/// on them, and nothing needs them here.
pub(super) fn resolve(base: &Uri, requested: &str, given: &str) -> Result<String, Astray> {
    // What follows # is never sent.
    let given = given.split('#').next().unwrap_or_default().trim();
    if given.is_empty() {
        return Err(Astray::Missing);
    }
    if !given.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Astray::Unreadable);
    }
    let prefix = base.path().trim_end_matches('/');
    let requested = requested.split('?').next().unwrap_or_default();
    let whole = if let Some(rest) = given.strip_prefix("//") {
        absolute(base, &format!("{}://{rest}", base.scheme_str().unwrap_or_default()))?
    } else if has_scheme(given) {
        absolute(base, given)?
    } else if given.starts_with('/') {
        given.to_owned()
    } else if given.starts_with('?') {
        format!("{prefix}{requested}{given}")
    } else {
        let folder = &requested[..requested.rfind('/').map_or(0, |at| at + 1)];
        format!("{prefix}{folder}{given}")
    };
    let below = whole.strip_prefix(prefix).ok_or(Astray::Elsewhere)?;
    let below = match below.bytes().next() {
        Some(b'/') => below.to_owned(),
        // The base itself, which its own requests never are without a slash.
        None | Some(b'?') => format!("/{below}"),
        Some(_) => return Err(Astray::Elsewhere),
    };
    path::check(&below).map_err(|error| Astray::Path(error.to_string()))?;
    Ok(below)
}

/// RFC 3986, section 3.1.
fn has_scheme(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Path and query of an address with the base's own scheme, host and port.
fn absolute(base: &Uri, given: &str) -> Result<String, Astray> {
    // `http::Uri` would take a lone backslash for part of a host, and user info for nothing.
    if given.contains('\\') {
        return Err(Astray::Unreadable);
    }
    let uri: Uri = given.parse().map_err(|_| Astray::Unreadable)?;
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(Astray::Elsewhere);
    }
    let (Some(own), Some(its)) = (origin(base), origin(&uri)) else {
        return Err(Astray::Elsewhere);
    };
    if own != its {
        return Err(Astray::Elsewhere);
    }
    Ok(uri.path_and_query().map_or("/", |path| path.as_str()).to_owned())
}

fn origin(uri: &Uri) -> Option<(Scheme, String, u16)> {
    let origin = Origin::of(uri)?;
    let port = origin.authority.port_u16().unwrap_or_else(|| origin.default_port());
    Some((origin.scheme.clone(), origin.authority.host().to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve_at(base: &str, requested: &str, given: &str) -> Result<String, Astray> {
        resolve(&base.parse().unwrap(), requested, given)
    }

    #[test]
    fn addresses_below_the_base_are_found() {
        let base = "https://erp.example/api";
        for (given, path) in [
            ("https://erp.example/api/status/7", "/status/7"),
            ("HTTPS://ERP.example:443/api/status/7?x=1#top", "/status/7?x=1"),
            ("//erp.example/api/status/7", "/status/7"),
            ("/api/status/7", "/status/7"),
            ("/api", "/"),
            ("status/7", "/orders/status/7"),
            ("?job=7", "/orders/new?job=7"),
        ] {
            assert_eq!(resolve_at(base, "/orders/new?a=b", given).as_deref(), Ok(path), "{given}");
        }
        assert_eq!(resolve_at("http://h:81", "/", "/s").as_deref(), Ok("/s"));
        assert_eq!(resolve_at("http://h:81", "/", "http://h:81/s").as_deref(), Ok("/s"));
        assert_eq!(resolve_at("http://h", "/a/b", "c:d"), Err(Astray::Elsewhere));
    }

    #[test]
    fn no_address_leads_elsewhere() {
        let base = "https://erp.example/api";
        for given in [
            "https://evil.example/api/status",
            "http://erp.example/api/status",
            "https://erp.example:8443/api/status",
            "https://erp.example@evil.example/api/x",
            "https://user@erp.example/api/x",
            "//evil.example/api/x",
            "/admin",
            "/apiary/7",
            "/api/../admin",
            "/api/%2e%2e/admin",
            "../admin",
            "./x",
            "/api//evil",
            "https:\\\\evil.example/api",
            "ftp://erp.example/api/x",
            "javascript:alert(1)",
            "/api/a b",
            "/api/\u{e4}",
            "",
            "#x",
        ] {
            assert!(resolve_at(base, "/orders", given).is_err(), "{given}");
        }
    }
}
