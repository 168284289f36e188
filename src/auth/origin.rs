//! Keeps web pages of others away from an address that trusts whoever reaches it.
//!
//! Two ways lead from a page in a browser to a service on its user's machine. A name of the
//! page's own that is made to point there (DNS rebinding) makes the service look like the page's
//! own origin: so the Host must be an IP address, `localhost`, or one of `server.allowed_hosts`.
//! And any page can post to any address without reading the answer: so a change that a browser
//! marks as coming from another origin (`Origin`, RFC 6454; `Sec-Fetch-Site`, W3C Fetch Metadata)
//! is refused, and so is anything at all that would be sent on to a target, with the credentials
//! that are configured for it. Whoever comes by a Unix socket is no browser.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, Request, Version};

use crate::http_api::fields::shown;
use crate::http_api::problem::{Kind, Problem};
use crate::http_api::stream::Via;

/// Names under which the listeners answer beside IP addresses and `localhost`, in lower case and
/// without a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Arc<[String]>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stranger {
    #[error("the request must name the host that it is for, once (RFC 9112, 3.2)")]
    HostCount,
    #[error(
        "the Host header says `{}`. To keep web pages from reaching this address through a name \
         of their own (DNS rebinding), it answers only to IP addresses, localhost, and the names \
         of `server.allowed_hosts` in the configuration",
        shown(.0)
    )]
    Host(String),
    #[error(
        "a browser says that a page from elsewhere asked for this ({header}: {}); changes and what \
         goes to a target are taken from this address's own pages, and from clients that are no \
         browser",
        shown(.value)
    )]
    CrossSite { header: &'static str, value: String },
}

impl From<Stranger> for Problem {
    fn from(stranger: Stranger) -> Problem {
        let kind = match stranger {
            Stranger::HostCount => Kind::Malformed,
            Stranger::Host(_) | Stranger::CrossSite { .. } => Kind::Forbidden,
        };
        Problem::new(kind, stranger.to_string())
    }
}

impl Hosts {
    pub fn new(names: impl IntoIterator<Item = String>) -> Hosts {
        Hosts(names.into_iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// `proxied`: it is to be sent on to a target, so that reading is a change, too.
    pub(super) fn check<B>(&self, request: &Request<B>, proxied: bool) -> Result<(), Stranger> {
        let host = host(request)?;
        let by_name = request.extensions().get::<Via>() != Some(&Via::Unix);
        if by_name
            && let Some(host) = host
            && !self.lead_here(host)
        {
            return Err(Stranger::Host(host.to_owned()));
        }
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
        if proxied || !reads { self.same_site(request.headers(), host) } else { Ok(()) }
    }

    fn lead_here(&self, authority: &str) -> bool {
        host_of(authority).is_some_and(|host| {
            host.starts_with('[')
                || host.parse::<Ipv4Addr>().is_ok()
                || host.eq_ignore_ascii_case("localhost")
                || self.allow(host)
        })
    }

    fn allow(&self, host: &str) -> bool {
        self.0.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    fn same_site(&self, headers: &HeaderMap, host: Option<&str>) -> Result<(), Stranger> {
        let mut named = false;
        for origin in headers.get_all(ORIGIN) {
            let text = origin.to_str().ok();
            let authority = text.and_then(|origin| Some(origin.split_once("://")?.1));
            let own = authority
                .zip(host)
                .is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host));
            let allowed = authority.and_then(host_of).is_some_and(|host| self.allow(host));
            if !own && !allowed {
                return Err(told("Origin", origin));
            }
            named |= allowed;
        }
        // `same-site` is not enough: every port of localhost is the same site.
        for site in headers.get_all("sec-fetch-site") {
            if site != "same-origin" && site != "none" && !named {
                return Err(told("Sec-Fetch-Site", site));
            }
        }
        Ok(())
    }
}

/// The authority that the request was sent to: of the URI where that has one (HTTP/2, or
/// absolute form, which outranks Host by RFC 9112, 3.2.2), else of the Host header. `None` only
/// for HTTP/1.0, which no browser speaks and simple health checks do.
fn host<B>(request: &Request<B>) -> Result<Option<&str>, Stranger> {
    let mut headers = request.headers().get_all(HOST).iter();
    let header = match (headers.next(), headers.next()) {
        (_, Some(_)) => return Err(Stranger::HostCount),
        (None, None) => None,
        (Some(value), None) => match value.to_str() {
            Ok(text) => Some(text),
            Err(_) => {
                return Err(Stranger::Host(String::from_utf8_lossy(value.as_bytes()).into()));
            }
        },
    };
    let uri = request.uri().authority().map(http::uri::Authority::as_str);
    match uri.or(header) {
        None if request.version() >= Version::HTTP_11 => Err(Stranger::HostCount),
        found => Ok(found),
    }
}

/// The host of an authority without its port, where both are well formed. An IPv6 address stays in
/// its brackets.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (&authority[..address.len() + 2], after)
        }
        None => match authority.find(':') {
            Some(colon) => authority.split_at(colon),
            None => (authority, ""),
        },
    };
    let port_is_fine = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    (port_is_fine && !host.is_empty()).then_some(host)
}

fn told(header: &'static str, value: &HeaderValue) -> Stranger {
    Stranger::CrossSite { header, value: String::from_utf8_lossy(value.as_bytes()).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &Hosts, method: &str, headers: &[(&str, &str)]) -> Result<(), Stranger> {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        hosts.check(&request.body(()).unwrap(), false)
    }

    #[test]
    fn names_lead_here_only_where_the_configuration_says_so() {
        let hosts = Hosts::new(["Tollgate.Internal".to_owned()]);
        for fine in ["tollgate.internal", "TOLLGATE.internal:7071", "10.0.0.1:7071", "[::1]"] {
            assert_eq!(check(&hosts, "GET", &[("host", fine)]), Ok(()), "{fine}");
        }
        let foul = check(&hosts, "GET", &[("host", "evil.example")]);
        assert_eq!(foul, Err(Stranger::Host("evil.example".into())));
        assert!(check(&hosts, "GET", &[("host", "x.tollgate.internal")]).is_err());
        let mut by_socket = Request::builder().header("host", "evil.example").body(()).unwrap();
        by_socket.extensions_mut().insert(Via::Unix);
        assert_eq!(hosts.check(&by_socket, false), Ok(()));
    }

    #[test]
    fn changes_come_from_own_pages_and_from_those_that_are_allowed() {
        let hosts = Hosts::new(["shop.example".to_owned()]);
        let with = |origin, site| {
            let headers =
                [("host", "127.0.0.1:7070"), ("origin", origin), ("sec-fetch-site", site)];
            check(&hosts, "POST", &headers)
        };
        assert_eq!(with("http://127.0.0.1:7070", "same-origin"), Ok(()));
        assert_eq!(with("https://shop.example", "cross-site"), Ok(()));
        assert!(with("http://127.0.0.1:9", "same-site").is_err());
        assert!(with("null", "cross-site").is_err());
        assert!(with("https://evil.example", "cross-site").is_err());
        let none = [("host", "127.0.0.1"), ("sec-fetch-site", "cross-site")];
        assert!(check(&hosts, "POST", &none).is_err());
        assert_eq!(check(&hosts, "GET", &none), Ok(()));
    }

    #[test]
    fn nothing_goes_to_a_target_for_a_page_from_elsewhere() {
        for method in ["GET", "HEAD", "OPTIONS", "POST"] {
            let with = |site: &str| {
                let request = Request::builder().method(method).header("host", "127.0.0.1");
                let request = request.header("sec-fetch-site", site).body(()).unwrap();
                Hosts::default().check(&request, true)
            };
            assert!(with("cross-site").is_err() && with("same-site").is_err(), "{method}");
            assert_eq!((with("none"), with("same-origin")), (Ok(()), Ok(())), "{method}");
        }
    }

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
            assert!(Hosts::default().lead_here(fine), "{fine}");
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
            assert!(!Hosts::default().lead_here(foul), "{foul}");
        }
    }
}
