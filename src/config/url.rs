//! The base URL of a target.
//!
//! Taken apart by hand, because `http::Uri` cuts at `#` and lets much through, and `url` mends
//! what it should refuse (`..`, `\`, odd digits). What is left is plain enough for both.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::Uri;

use super::bounds;
use super::item::{Item, Text, quoted};

const EXAMPLE: &str = "like \"https://erp.example/api\"";

pub(super) fn base_url(item: &Item<'_>) -> Result<Uri, String> {
    let text = item.text("a URL in quotes, like \"https://erp.example/api\"")?;
    parse(&text)
}

/// The whole address of a webhook: what follows the path is sent too, and is a secret.
pub(super) fn webhook_url(item: &Item<'_>) -> Result<Uri, String> {
    let text = item.text("a URL in quotes, like \"https://orders.example/hooks/tollgate\"")?;
    if text.value.len() > bounds::URL {
        return Err(format!("the URL is too long; at most {} characters", bounds::URL));
    }
    let (address, query) = match text.value.split_once('?') {
        Some((address, query)) => (address.to_owned(), Some(query.to_owned())),
        None => (text.value.clone(), None),
    };
    let base = parse(&text.with(&address))?;
    let fine = |b: u8| b.is_ascii_graphic() && !b"\"<>#\\^`{|}".contains(&b);
    if let Some(query) = &query
        && !query.bytes().all(fine)
    {
        return Err(
            "the query of the URL holds a character that none can; percent-encode it, and \
                    leave out a fragment (#…), which is never sent"
                .to_owned(),
        );
    }
    // A receiver may tell /hook and /hook/ apart.
    let slash = if address.ends_with('/') && base.path() != "/" { "/" } else { "" };
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    Uri::try_from(format!("{}{slash}{query}", base.to_string().trim_end_matches('/')))
        .or_else(|_| Uri::try_from(format!("{base}{query}")))
        .map_err(|_| "not a URL; write it whole, like \"https://orders.example/hooks\"".to_owned())
}

/// A part of the URL for an error. Callers look for user info and a query first, so that no part
/// shown is a secret, unless it came from the environment.
fn part(text: &Text, part: &str) -> String {
    if text.filled_in() { text.to_string() } else { quoted(part) }
}

fn parse(text: &Text) -> Result<Uri, String> {
    let url = text.value.as_str();
    if url.len() > bounds::URL {
        return Err(format!("the URL is too long; at most {} characters", bounds::URL));
    }
    let authority_of = |rest: &str| rest.split(['/', '?', '#']).next().map(str::len);
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('@') => (scheme, rest),
        _ if url.contains(['@', '?']) => {
            return Err(format!("not a URL; write it whole, {EXAMPLE}"));
        }
        _ => {
            return Err(format!("{} is not a URL; write it whole, {EXAMPLE}", part(text, url)));
        }
    };
    let (authority, path) = rest.split_at(authority_of(rest).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("a user name or password has no place in the URL; set a header, such as \
             headers = { Authorization = \"Basic ${ERP_BASIC}\" }"
            .to_owned());
    }
    if path.contains('?') {
        return Err("the URL has a query; a job's own path carries the query, and a key that \
             every request needs can be a header"
            .to_owned());
    }
    if path.contains('#') {
        return Err("the URL has a fragment (#…), which is never sent; remove it".to_owned());
    }
    let scheme =
        ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known)).ok_or_else(
            || format!("{} is not supported; http:// and https:// are", part(text, scheme)),
        )?;
    let authority = check_authority(text, authority)?;
    let path = path.strip_suffix('/').unwrap_or(path);
    check_path(text, path)?;
    Uri::try_from(format!("{scheme}://{authority}{path}"))
        .map_err(|error| format!("{} is not a URL: {error}", part(text, url)))
}

/// The host in lower case and the port, if any.
fn check_authority(text: &Text, authority: &str) -> Result<String, String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (inner, after) = rest
                .split_once(']')
                .ok_or_else(|| format!("{} has a [ without a ]", part(text, authority)))?;
            let address: Ipv6Addr = inner.parse().map_err(|_| {
                format!("{} is not an IPv6 address, such as [::1]", part(text, inner))
            })?;
            (format!("[{address}]"), after)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            check_host(text, host)?;
            (host.to_ascii_lowercase(), port)
        }
    };
    if port.is_empty() {
        return Ok(host);
    }
    port.strip_prefix(':')
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse::<u16>().ok())
        .filter(|port| *port != 0)
        .map(|port| format!("{host}:{port}"))
        .ok_or_else(|| {
            format!("{} does not end in a port; one is from 1 to 65535", part(text, authority))
        })
}

/// A DNS name (RFC 1123; `_` is allowed, because it is in use) or an IPv4 address.
fn check_host(text: &Text, host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err(format!("the URL has no host; write it whole, {EXAMPLE}"));
    }
    let shown = || part(text, host);
    if !host.is_ascii() {
        return Err(format!("the host {} is not ASCII; write it in punycode (xn--…)", shown()));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let good_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(good_label) {
        return Err(format!("{} is not a host name", shown()));
    }
    // Resolvers read 127.1 and 0x7f000001 as addresses; better not to guess.
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_number = last.bytes().all(|b| b.is_ascii_digit())
        || last.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    if is_number && host.parse::<Ipv4Addr>().is_err() {
        return Err(format!("{} is not an IPv4 address, such as 192.0.2.7", shown()));
    }
    Ok(())
}

/// A path (RFC 3986, section 3.3) in which every segment stays where it is.
fn check_path(text: &Text, path: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&b);
    if let Some(odd) = path.chars().find(|c| !u8::try_from(*c).is_ok_and(allowed)) {
        return Err(format!(
            "the path {} holds a character that no path can ({}); percent-encode it",
            part(text, path),
            odd.escape_debug()
        ));
    }
    for escape in path.split('%').skip(1) {
        if !escape.get(..2).is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(format!(
                "the path {} has a % that is not followed by two hexadecimal digits",
                part(text, path)
            ));
        }
    }
    for segment in path.split('/').skip(1) {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        if plain == "." || plain == ".." || plain.is_empty() {
            return Err(format!(
                "the path {} has an empty, . or .. segment; write where it leads",
                part(text, path)
            ));
        }
    }
    Ok(())
}
