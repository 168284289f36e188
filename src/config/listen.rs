//! Where Tollgate listens, and that no two listeners, and no target, meet there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;

use super::item::Item;
use super::table::{Context, Table, join, not_yet};

pub(super) fn address(item: &Item<'_>) -> Result<SocketAddr, String> {
    const EXAMPLE: &str = "an IP address and a port in quotes, like \"127.0.0.1:7070\"";
    let text = item.text(EXAMPLE)?;
    let address: SocketAddr = text.value.parse().map_err(|_| {
        format!(
            "{text} is not an address; write an IP address and a port, like \"127.0.0.1:7070\" or \"[::1]:7070\""
        )
    })?;
    if !address.ip().to_canonical().is_loopback() {
        return Err(format!(
            "{text} can be reached from other machines, which needs [auth], and {}; listen on 127.0.0.1 or [::1]",
            not_yet("that")
        ));
    }
    Ok(address)
}

/// Every address that is listened on and every URL that is called, with the keys that say so.
#[derive(Default)]
pub(super) struct Listeners {
    listeners: Vec<Listener>,
    called: Vec<Called>,
}

struct Listener {
    key: String,
    address: SocketAddr,
    /// `None`: by default.
    place: Option<usize>,
}

struct Called {
    key: String,
    url: Uri,
    place: usize,
}

impl Listeners {
    /// Remembers an address, unless something was wrong with it.
    pub(super) fn listen(&mut self, table: &Table<'_>, key: &str, address: SocketAddr) {
        if table.is_good(key) {
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            let (key, place) = (join(table.path(), key), table.place(key));
            self.listeners.push(Listener { key, address, place });
        }
    }

    pub(super) fn call(&mut self, table: &Table<'_>, key: &str, url: Uri) {
        let place = table.place(key).unwrap_or_default();
        self.called.push(Called { key: join(table.path(), key), url, place });
    }

    /// Reports the later, in the file, of two listeners with one address, and URLs that lead back
    /// to a listener.
    pub(super) fn check(mut self, context: &Context<'_>) {
        self.listeners.sort_by_key(|listener| listener.place);
        for (index, listener) in self.listeners.iter().enumerate() {
            let Some(place) = listener.place.filter(|_| listener.address.port() != 0) else {
                continue;
            };
            let mut others = self.listeners[..index].iter();
            if let Some(twin) = others.find(|other| other.address == listener.address) {
                let by_default = if twin.place.is_none() { " (by default)" } else { "" };
                let message = format!(
                    "{} is taken by {}{by_default}; every listener needs its own",
                    listener.address, twin.key
                );
                context.report(place, listener.key.clone(), message);
            }
        }
        for Called { key, url, place } in &self.called {
            if let Some(listener) = self.leads_back(url) {
                let message = format!(
                    "this is where tollgate itself listens ({listener}), so each job would come back as a new one; name the API"
                );
                context.report(*place, key.clone(), message);
            }
        }
    }

    /// The key of the listener at which requests to `url` would arrive.
    fn leads_back(&self, url: &Uri) -> Option<&str> {
        let port = url.port_u16().unwrap_or(match url.scheme_str() {
            Some("https") => 443,
            _ => 80,
        });
        let host = url.host()?.trim_matches(['[', ']']);
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let hosts = match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            // Connecting to 0.0.0.0 or [::] reaches this machine too.
            Ok(ip) if ip.is_unspecified() => vec![v4, v6],
            Ok(ip) => vec![ip],
            Err(_) if host.trim_end_matches('.') == "localhost" => vec![v4, v6],
            Err(_) => return None,
        };
        self.listeners
            .iter()
            .find(|at| at.address.port() == port && hosts.contains(&at.address.ip()))
            .map(|listener| listener.key.as_str())
    }
}
