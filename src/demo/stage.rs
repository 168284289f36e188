//! What the demo sets up before anything happens: a place on disk, a configuration that fits,
//! and how fragile the API is.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::auditor::SECOND;
use super::fragile_api::{Failures, Fragility, Latency};
use crate::broker::policy::Limit;
use crate::config::{Config, Listen, Target};

/// A directory of the demo's own that goes away with it, also where the demo fails.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// Under the system's directory for temporary files; or at `dir`, which is then kept, so that
    /// the store can be looked at afterwards. Either must not be there yet: the demo's books
    /// start empty, and so must its store.
    pub(super) fn make(dir: Option<PathBuf>) -> anyhow::Result<Scratch> {
        let keep = dir.is_some();
        let path = dir.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("tollgate-demo-{}", uuid::Uuid::now_v7()))
        });
        DirBuilder::new().mode(0o700).create(&path).with_context(|| {
            format!("the demo needs a new directory for its store, {}", path.display())
        })?;
        Ok(Scratch { path, keep })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it now and says if that failed.
    pub(super) fn remove(mut self) -> anyhow::Result<()> {
        if std::mem::replace(&mut self.keep, true) {
            return Ok(());
        }
        std::fs::remove_dir_all(&self.path)
            .with_context(|| format!("the demo's files are left in {}", self.path.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // The demo is failing already, and says why.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// The one target of the demo's configuration.
pub(super) fn sole_target(config: &Config) -> anyhow::Result<Arc<Target>> {
    let mut targets = config.targets.values();
    match (targets.next(), targets.next()) {
        (Some(target), None) => Ok(target.clone()),
        _ => anyhow::bail!(
            "the demo has one fake API, so its configuration must have one target; it has {}",
            config.targets.len()
        ),
    }
}

/// The same configuration with the fake API as its target and the store in `directory`. A port
/// that is taken, by a daemon or another demo, is replaced by a free one.
pub(super) fn fit(mut config: Config, api: SocketAddr, directory: &Path) -> anyhow::Result<Config> {
    let url = format!("http://{api}");
    for target in config.targets.values_mut() {
        let target = Arc::make_mut(target);
        target.url = url.parse().context("the fake API's address makes no URL")?;
        target.listen = target.listen.take().map(free);
    }
    config.store.path = directory.join("tollgate.redb");
    config.server.listen = free(config.server.listen);
    config.server.admin_listen = free(config.server.admin_listen);
    Ok(config)
}

fn free(listen: Listen) -> Listen {
    let Listen::Tcp(mut address) = listen else { return listen };
    if let Err(error) = TcpListener::bind(address)
        && error.kind() == ErrorKind::AddrInUse
    {
        address.set_port(0);
    }
    Listen::Tcp(address)
}

/// The most requests that a token bucket lets go in any half-open second.
pub(super) fn most_in_a_second(limit: &Limit) -> usize {
    let spaced = SECOND.as_nanos().div_ceil(limit.rate.interval().as_nanos());
    usize::try_from(spaced + u128::from(limit.burst.get()) - 1).unwrap_or(usize::MAX)
}

/// About 30 % go wrong. A 503 holds the whole target for a second, and one that hangs holds one
/// of a few places until it times out; so there are few of both, or nothing would move.
pub(super) fn fragility(limit: &Limit, seed: u64) -> Fragility {
    Fragility {
        seed,
        limit: Some(most_in_a_second(limit)),
        latency: Latency::Tailed {
            least: Duration::from_millis(20),
            more: Duration::from_millis(30),
            most: Duration::from_millis(400),
        },
        failures: Failures { error: 130, unavailable: 10, broken: 70, half: 70, hung: 20 },
        retry_after: Duration::from_secs(1),
        ..Fragility::SOUND
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::broker::policy::{Policy, Rate, Retry, Tempo};

    pub(in crate::demo) fn limit(count: u32, per: Duration, burst: u32) -> Limit {
        let count = NonZeroU32::new(count).unwrap();
        Limit::plain(
            Rate::new(count, per).unwrap(),
            NonZeroU32::new(burst).unwrap(),
            NonZeroU32::new(4).unwrap(),
        )
    }

    pub(in crate::demo) fn target(limit: Limit) -> Target {
        let retry = Retry {
            max_attempts: NonZeroU32::new(5).unwrap(),
            min_backoff: Duration::from_millis(100),
            max_backoff: SECOND,
            max_retry_duration: 60 * SECOND,
        };
        Target {
            name: "erp".into(),
            url: http::Uri::from_static("http://127.0.0.1:1"),
            timeout: 2 * SECOND,
            headers: http::HeaderMap::new(),
            listen: None,
            policy: Policy {
                limit,
                share: Vec::new(),
                tempo: Tempo::default(),
                retry,
                max_deferrals: NonZeroU32::new(20).unwrap(),
                max_queued: 1_000_000,
                outcomes: Default::default(),
                on_group_failure: Default::default(),
                weights: Default::default(),
            },
            asking: Default::default(),
        }
    }

    #[test]
    fn a_bucket_lets_its_rate_and_the_rest_of_its_burst_into_a_second() {
        let most = |count, per, burst| most_in_a_second(&limit(count, per, burst));
        assert_eq!(most(20, SECOND, 1), 20);
        assert_eq!(most(20, SECOND, 5), 24);
        assert_eq!(most(90, 60 * SECOND, 1), 2);
        assert_eq!(most(1, 90 * SECOND, 1), 1);
        // The interval is rounded up, so three intervals are longer than a second.
        assert_eq!(most(3, SECOND, 1), 3);
    }

    #[test]
    fn three_in_ten_go_wrong() {
        let fragility = fragility(&limit(20, SECOND, 1), 1);
        assert_eq!(fragility.failures.total(), 300);
        assert_eq!(fragility.limit, Some(20));
    }

    #[test]
    fn a_scratch_directory_goes_away_and_a_named_one_stays() {
        let scratch = Scratch::make(None).unwrap();
        let path = scratch.path().to_owned();
        std::fs::write(path.join("file"), "x").unwrap();
        scratch.remove().unwrap();
        assert!(!path.exists());

        let dropped = Scratch::make(None).unwrap();
        let path = dropped.path().to_owned();
        drop(dropped);
        assert!(!path.exists());

        let outer = tempfile::tempdir().unwrap();
        let named = outer.path().join("demo");
        Scratch::make(Some(named.clone())).unwrap().remove().unwrap();
        assert!(named.exists());
        assert!(Scratch::make(Some(named)).is_err(), "it is not new any more");
    }

    #[test]
    fn a_port_that_is_taken_is_replaced() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let any = SocketAddr::new(address.ip(), 0);
        assert_eq!(free(address.into()), any.into());
    }
}
