//! Keeps web pages of others away from an address that trusts whoever reaches it.
//!
//! Two ways lead from a page in a browser to a service on its user's machine. A name of the
//! page's own that is made to point there (DNS rebinding) makes the service look like the page's
//! own origin: so the Host must be an IP address or `localhost`. And any page can post to any
//! address without reading the answer: so a change that a browser marks as coming from another
//! origin (`Origin`, RFC 6454; `Sec-Fetch-Site`, W3C Fetch Metadata) is refused.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, Version, header};

use super::error::AdminError;

/// Nothing but the page's own files; no inline script or style, no frames, no forms, and no
/// script that could make HTML of a text.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Around every route, those that do not exist included.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn check(request: &Request) -> Result<(), AdminError> {
    let host = host(request)?;
    if let Some(host) = host
        && !is_local_name_or_address(host)
    {
        return Err(AdminError::Host(host.to_owned()));
    }
    let changes = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if changes { same_site(request.headers(), host) } else { Ok(()) }
}

/// The authority that the request was sent to: of the URI where that has one (HTTP/2, or
/// absolute form, which outranks Host by RFC 9112, 3.2.2), else of the Host header. `None` only
/// for HTTP/1.0, which no browser speaks and simple health checks do.
fn host(request: &Request) -> Result<Option<&str>, AdminError> {
    let mut headers = request.headers().get_all(HOST).iter();
    let header = match (headers.next(), headers.next()) {
        (_, Some(_)) => return Err(AdminError::HostCount),
        (None, None) => None,
        (Some(value), None) => match value.to_str() {
            Ok(text) => Some(text),
            Err(_) => {
                return Err(AdminError::Host(String::from_utf8_lossy(value.as_bytes()).into()));
            }
        },
    };
    let uri = request.uri().authority().map(http::uri::Authority::as_str);
    match uri.or(header) {
        None if request.version() >= Version::HTTP_11 => Err(AdminError::HostCount),
        found => Ok(found),
    }
}

fn is_local_name_or_address(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else { return false };
            if address.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            (None, after)
        }
        None => match authority.split_once(':') {
            Some((host, _)) => (Some(host), &authority[host.len()..]),
            None => (Some(authority), ""),
        },
    };
    let port_is_fine = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    let host_is_fine = host.is_none_or(|host| {
        host.eq_ignore_ascii_case("localhost") || matches!(host.parse(), Ok(IpAddr::V4(_)))
    });
    port_is_fine && host_is_fine
}

fn same_site(headers: &HeaderMap, host: Option<&str>) -> Result<(), AdminError> {
    // `same-site` is not enough: every port of localhost is the same site.
    for site in headers.get_all("sec-fetch-site") {
        if site != "same-origin" && site != "none" {
            return Err(told("Sec-Fetch-Site", site));
        }
    }
    for origin in headers.get_all(ORIGIN) {
        let own = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .zip(host)
            .is_some_and(|((_, authority), host)| authority.eq_ignore_ascii_case(host));
        if !own {
            return Err(told("Origin", origin));
        }
    }
    Ok(())
}

fn told(header: &'static str, value: &HeaderValue) -> AdminError {
    AdminError::CrossSite { header, value: String::from_utf8_lossy(value.as_bytes()).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_localhost() {
        for fine in [
            "127.0.0.1",
            "127.0.0.1:7071",
            "10.1.2.3:80",
            "[::1]",
            "[::1]:7071",
            "localhost",
            "LOCALHOST:7071",
            "[2001:db8::7]:7071",
        ] {
            assert!(is_local_name_or_address(fine), "{fine}");
        }
        for foul in [
            "",
            ":7071",
            "evil.example",
            "evil.example:7071",
            "localhost.evil.example",
            "localhost.",
            "127.0.0.1.evil.example",
            "user@127.0.0.1",
            "127.0.0.1@evil.example",
            "127.0.0.1:7071@evil.example",
            "[::1].evil.example",
            "[::1",
            "[evil]",
            "::1",
            "2130706433",
            "0x7f.1",
        ] {
            assert!(!is_local_name_or_address(foul), "{foul}");
        }
    }
}
