//! The names of targets, and the addresses that they lead to.
//!
//! The system's resolver (getaddrinfo) blocks a thread until it knows, and cannot be told to stop.
//! A resolver that hangs must not take the threads of everybody else: so a name is looked up once
//! at a time, whoever asks, and few names at a time. Nothing is remembered: that is the resolver's
//! own business, and a name that changes is followed with the next connection.
//!
//! A name does not lead to where machines in a cloud hand out their credentials. Who means such an
//! address writes it into the target's `url`; then nothing is looked up.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::{Semaphore, watch};
use tower_service::Service;

/// How many names may be looked up at once: an eighth of the runtime's threads for what blocks.
const AT_ONCE: usize = 64;

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Lookup = dyn Fn(String) -> Pending<io::Result<Vec<IpAddr>>> + Send + Sync;
/// `None` until it is known; the error for people.
type Found = Option<Result<Arc<[IpAddr]>, String>>;

/// A resolver. Clones share what is under way.
#[derive(Clone)]
pub(super) struct Names(Arc<Inner>);

struct Inner {
    lookup: Box<Lookup>,
    under_way: Mutex<HashMap<String, watch::Receiver<Found>>>,
    places: Semaphore,
}

impl Names {
    pub(super) fn of_the_system() -> Names {
        Names::new(|name| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        })
    }

    pub(super) fn new(
        lookup: impl Fn(String) -> Pending<io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Names {
        Names(Arc::new(Inner {
            lookup: Box::new(lookup),
            under_way: Mutex::default(),
            places: Semaphore::new(AT_ONCE),
        }))
    }

    async fn addresses(self, name: String) -> io::Result<Vec<SocketAddr>> {
        let mut found = self.ask(&name);
        let known = found.wait_for(Option::is_some).await.ok();
        let all = match known.as_deref() {
            Some(Some(Ok(all))) => all.clone(),
            Some(Some(Err(why))) => return Err(io::Error::other(why.clone())),
            Some(None) | None => return Err(io::Error::other("the lookup was given up")),
        };
        let sound: Vec<SocketAddr> =
            all.iter().filter(|ip| !is_metadata(**ip)).map(|ip| SocketAddr::new(*ip, 0)).collect();
        match (sound.is_empty(), all.first()) {
            (true, Some(ip)) => Err(io::Error::other(format!(
                "the name leads to {ip}, where machines in a cloud hand out credentials; if that \
                 is meant, write the address itself into the target's url"
            ))),
            _ => Ok(sound),
        }
    }

    /// Joins a lookup that is under way, or begins one. It goes on when nobody waits any more: its
    /// thread is taken until it ends.
    fn ask(&self, name: &str) -> watch::Receiver<Found> {
        let mut under_way = self.under_way();
        if let Some(found) = under_way.get(name) {
            return found.clone();
        }
        let (tell, found) = watch::channel(None);
        under_way.insert(name.to_owned(), found.clone());
        let (names, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            // Closed never.
            let place = names.0.places.acquire().await;
            let known = (names.0.lookup)(name.clone()).await;
            drop(place);
            names.under_way().remove(&name);
            tell.send_replace(Some(known.map(Arc::from).map_err(|error| error.to_string())));
        });
        found
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Found>>> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<Name> for Names {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pending<io::Result<vec::IntoIter<SocketAddr>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.clone().addresses(name.as_str().to_owned());
        Box::pin(async move { Ok(found.await?.into_iter()) })
    }
}

/// Link-local addresses (RFC 3927; RFC 4291 §2.5.6), where nearly every cloud has its metadata
/// service, and those that are known beside them.
fn is_metadata(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_metadata_v4(ip),
        IpAddr::V6(ip) => {
            ip.is_unicast_link_local()
                // AWS: IMDS, the credentials of EKS pods (EC2 User Guide, "Access instance metadata").
                || ip.segments()[..2] == [0xfd00, 0xec2]
                || METADATA_V6.contains(&ip)
                || inside(ip).any(is_metadata_v4)
        }
    }
}

fn is_metadata_v4(ip: Ipv4Addr) -> bool {
    ip.is_link_local() || METADATA_V4.contains(&ip)
}

const METADATA_V4: [Ipv4Addr; 3] = [
    // Alibaba Cloud (ECS, "Obtain instance metadata").
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure's WireServer, which gives machines their certificates and settings (Virtual Network,
    // "What is IP address 168.63.129.16?").
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle Cloud Infrastructure Classic (Compute Classic, "Retrieving Instance Metadata").
    Ipv4Addr::new(192, 0, 0, 192),
];

const METADATA_V6: [Ipv6Addr; 5] = [
    // Google Cloud's machines with IPv6 only (Compute Engine, "View and query VM metadata").
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    // Oracle Cloud (its Python SDK, instance_principals_security_token_signer.py).
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    // Scaleway (cloud-init, "Scaleway").
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    // Akamai's Linodes ("Overview of the Metadata service").
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1),
    // Alibaba Cloud (ECS, "Obtain instance metadata").
    Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200),
];

/// The IPv4 addresses that an IPv6 address may stand for: several, where it hangs on the length of
/// a prefix that only the network knows.
fn inside(ip: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let places: &[[usize; 4]] = match ip.segments() {
        // Compatible and mapped (RFC 4291 §2.5.5), translated (RFC 2765 §2.1), and behind the
        // well-known prefix of a NAT64 (RFC 6052 §2.1).
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..] => &[[12, 13, 14, 15]],
        // The prefix for a network's own NAT64 (RFC 8215), cut at 48, 56, 64 or 96 bits; the ninth
        // octet is left out (RFC 6052 §2.2).
        [0x64, 0xff9b, 1, ..] => {
            &[[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]]
        }
        // 6to4 (RFC 3056 §2).
        [0x2002, ..] => &[[2, 3, 4, 5]],
        _ => &[],
    };
    let octets = ip.octets();
    places.iter().map(move |places| Ipv4Addr::from(places.map(|place| octets[place])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_credentials_are_handed_out() {
        for metadata in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "192.0.0.192",
            "168.63.129.16",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "fd00:a9fe:a9fe::1",
            "fd00:100::100:200",
            // The same as an IPv4 address, in other ways of writing one as IPv6.
            "::ffff:168.63.129.16",
            "64:ff9b::100.100.100.200",
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1:0:a9:fea9:fe00:0",
            "2002:a9fe:a9fe::",
            "2002:a9fe:aa02::1",
            "2002:c000:c0::1",
            "::a9fe:a9fe",
            "::a9fe:aa02",
            "::ffff:0:a9fe:a9fe",
        ] {
            assert!(is_metadata(metadata.parse().unwrap()), "{metadata}");
        }
        for other in [
            "127.0.0.1",
            "::1",
            "::",
            "10.0.0.1",
            "169.253.0.1",
            "fd00:ec3::1",
            "100.100.100.1",
            "192.0.0.191",
            "168.63.129.17",
            "fd20:ce::253",
            "fd00:42::43",
            "64:ff9b:1::a00:1",
            "64:ff9b:2::a9fe:a9fe",
            "2002:a00:1::a9fe:a9fe",
            "2001:db8::a9fe:a9fe",
            "::10.0.0.1",
        ] {
            assert!(!is_metadata(other.parse().unwrap()), "{other}");
        }
    }
}
