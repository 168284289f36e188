//! The daemon: store, loop, listeners; put together once, taken down in order.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::Config;
use crate::handle::Handle;
use crate::reload::Reloader;

/// A daemon that serves.
pub struct Running {
    pub data: SocketAddr,
    pub admin: SocketAddr,
    pub handle: Handle,
}

/// Opens the store, binds every listener, starts the loop. `file` is read again on a reload;
/// without one there is nothing to reload.
pub async fn start(_config: Config, _file: Option<PathBuf>) -> anyhow::Result<Running> {
    anyhow::bail!("not wired yet")
}

impl Running {
    pub fn reloader(&self) -> Reloader {
        Reloader
    }

    /// Resolves when the loop or the store fails, with the reason; else never.
    pub async fn failed(&self) -> anyhow::Error {
        std::future::pending().await
    }

    /// Takes nothing new, finishes what is under way within `drain_timeout`, closes the store.
    pub async fn drain(self) -> anyhow::Result<()> {
        Ok(())
    }
}
