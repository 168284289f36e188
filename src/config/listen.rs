//! Where Tollgate listens, and that no two listeners, and no target, meet there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use http::Uri;

use crate::auth::Rules;

use super::auth::Auth;
use super::item::Item;
use super::table::{Context, Table, join};
use super::types::{Config, Listen, Server};

/// Longer names of sockets do not fit into the system's `sockaddr_un`, in bytes.
const SOCKET_NAME: usize = 107;

pub(super) fn address(item: &Item<'_>) -> Result<Listen, String> {
    const EXAMPLE: &str = "an IP address and a port in quotes, like \"127.0.0.1:7070\"";
    let text = item.text(EXAMPLE)?;
    if let Some(path) = text.value.strip_prefix("unix:") {
        let path = Path::new(path);
        if path.file_name().is_none() || path.as_os_str().len() > SOCKET_NAME {
            return Err(format!(
                "{text} is not the path of a socket; write unix: and a path of at most \
                 {SOCKET_NAME} bytes, like \"unix:/run/tollgate/data.sock\""
            ));
        }
        return Ok(Listen::Unix(path.to_owned()));
    }
    text.value.parse().map(Listen::Tcp).map_err(|_| {
        format!(
            "{text} is not an address; write an IP address and a port, like \"127.0.0.1:7070\" or \"[::1]:7070\", or \"unix:/run/tollgate.sock\""
        )
    })
}

/// Whose tokens let people in at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Submit,
    Admin,
}

/// Every address that is listened on and every URL that is called, with the keys that say so.
#[derive(Default)]
pub(super) struct Listeners {
    listeners: Vec<Listener>,
    called: Vec<Called>,
}

struct Listener {
    key: String,
    role: Role,
    at: At,
    /// `None`: by default.
    place: Option<usize>,
}

#[derive(PartialEq, Eq)]
enum At {
    Port(SocketAddr),
    Socket(PathBuf),
}

struct Called {
    key: String,
    url: Uri,
    place: usize,
}

impl Listeners {
    /// Remembers an address, unless something was wrong with it.
    pub(super) fn listen(&mut self, table: &Table<'_>, key: &str, role: Role, listen: &Listen) {
        if table.is_good(key) {
            let at = match listen {
                Listen::Tcp(address) => {
                    At::Port(SocketAddr::new(address.ip().to_canonical(), address.port()))
                }
                Listen::Unix(path) => At::Socket(path.clone()),
            };
            let (key, place) = (join(table.path(), key), table.place(key));
            self.listeners.push(Listener { key, role, at, place });
        }
    }

    pub(super) fn call(&mut self, table: &Table<'_>, key: &str, url: Uri) {
        let place = table.place(key).unwrap_or_default();
        self.called.push(Called { key: join(table.path(), key), url, place });
    }

    /// Reports the later, in the file, of two listeners with one address, and URLs that lead back
    /// to a listener.
    pub(super) fn check(mut self, auth: &Auth, context: &Context<'_>) {
        self.listeners.sort_by_key(|listener| listener.place);
        for (index, listener) in self.listeners.iter().enumerate() {
            let Some(place) = listener.place else { continue };
            if let Some(message) = listener.is_too_open(auth) {
                context.report(place, listener.key.clone(), message);
            }
            // Each that asks for any port gets one of its own.
            let is_any = matches!(&listener.at, At::Port(address) if address.port() == 0);
            let mut others = self.listeners[..index].iter().filter(|_| !is_any);
            if let Some(twin) = others.find(|other| other.at == listener.at) {
                let by_default = if twin.place.is_none() { " (by default)" } else { "" };
                let message = format!(
                    "{} is taken by {}{by_default}; every listener needs its own",
                    listener.at, twin.key
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
            .find(|listener| match &listener.at {
                At::Port(at) if at.port() != port => false,
                At::Port(at) if at.ip().is_unspecified() => hosts.iter().any(IpAddr::is_loopback),
                At::Port(at) => hosts.contains(&at.ip()),
                At::Socket(_) => false,
            })
            .map(|listener| listener.key.as_str())
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            At::Port(address) => address.fmt(f),
            At::Socket(path) => path.display().fmt(f),
        }
    }
}

/// Why a daemon that listens as `bound` says must not have `config` put in force: the addresses that
/// it is bound to stay until it ends, whatever the new file says of them.
///
/// # Errors
/// Names the address that everybody could reach, and what to do.
pub(crate) fn check_bound(bound: &Server, config: &Config) -> Result<(), String> {
    for (key, role, listen) in [
        ("server.listen", Role::Submit, &bound.listen),
        ("server.admin_listen", Role::Admin, &bound.admin_listen),
    ] {
        let Listen::Tcp(address) = listen else { continue };
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let open = role.is_too_open(address, &config.access, config.insecure_allow_anonymous);
        if let Some(why) = open {
            return Err(format!(
                "{key}, which changes at the next start only, is the daemon's still: {why}. Keep \
                 the tokens until then"
            ));
        }
    }
    Ok(())
}

impl Listener {
    fn is_too_open(&self, auth: &Auth) -> Option<String> {
        let At::Port(address) = &self.at else { return None };
        self.role.is_too_open(*address, &auth.rules, auth.insecure_allow_anonymous)
    }
}

impl Role {
    /// Other machines can reach it, and nothing asks who they are.
    fn is_too_open(
        self,
        address: SocketAddr,
        rules: &Rules,
        insecure_allow_anonymous: bool,
    ) -> Option<String> {
        let (tokens, key) = match self {
            Role::Submit => (&rules.submit, "submit_tokens_file"),
            Role::Admin => (&rules.admin, "admin_tokens_file"),
        };
        let is_open = !address.ip().is_loopback() && tokens.is_none() && !insecure_allow_anonymous;
        is_open.then(|| {
            format!(
                "{address} can be reached from other machines, so it needs tokens: set \
                 auth.{key} (or auth.insecure_allow_anonymous = true, where everybody who reaches \
                 it may do everything), or listen on 127.0.0.1, [::1] or a unix: socket"
            )
        })
    }
}
