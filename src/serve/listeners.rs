//! Every address that the daemon listens on: data, admin, and the sidecar ports of targets, which
//! come and go with a reload.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::{self, AdminState};
use crate::config::Config;
use crate::handle::Handle;
use crate::http_api::server::{self, Limits, Slots, Stage};
use crate::sources::{self, proxy};

/// Connections of the admin address: people, scrapers, dashboards.
const ADMIN_CONNECTIONS: usize = 1_024;
/// A body for the admin address is a small JSON object.
const ADMIN_BODY: usize = 64 * 1024;
/// How long answers may take that were begun before the listeners closed.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// Addresses that are taken, and not served yet.
pub(super) struct Bound {
    data: server::Bound,
    admin: server::Bound,
    sidecars: Vec<(String, server::Bound)>,
    max_body: usize,
}

impl Bound {
    pub(super) async fn all(config: &Config) -> anyhow::Result<Bound> {
        let data = bind("server.listen", config.server.listen).await?;
        let admin = bind("server.admin_listen", config.server.admin_listen).await?;
        let mut sidecars = Vec::new();
        for (name, target) in &config.targets {
            if let Some(address) = target.listen {
                let bound = bind(&format!("targets.{name}.listen"), address).await?;
                sidecars.push((name.clone(), bound));
            }
        }
        Ok(Bound { data, admin, sidecars, max_body: config.server.max_body })
    }

    pub(super) fn data(&self) -> SocketAddr {
        self.data.address()
    }

    pub(super) fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    pub(super) fn serve(self, handle: &Handle, state: AdminState, sidecars: Sidecars) -> Listeners {
        let (stage, stages) = watch::channel(Stage::Open);
        let data = sources::router(handle.clone(), self.max_body);
        let admin_limits = Limits::new(ADMIN_BODY, Slots::new(ADMIN_CONNECTIONS));
        let tasks = vec![
            self.data.serve(data, sidecars.limits(), stages.clone()),
            self.admin.serve(admin::router(state), admin_limits, stages),
        ];
        for (name, bound) in self.sidecars {
            sidecars.serve(name, bound);
        }
        Listeners { stage, tasks, sidecars }
    }
}

/// Listeners that are served.
pub(super) struct Listeners {
    stage: watch::Sender<Stage>,
    tasks: Vec<JoinHandle<()>>,
    sidecars: Sidecars,
}

impl Listeners {
    /// Lets answers that are being written be finished, then cuts off the rest.
    pub(super) async fn close(self) {
        self.stage.send_replace(Stage::Finishing);
        self.sidecars.keep_only(&BTreeMap::new());
        let all = async {
            for task in self.tasks {
                // A listener's task that panicked has nothing left to finish.
                let _ = task.await;
            }
        };
        if tokio::time::timeout(FINISH_WITHIN, all).await.is_err() {
            self.stage.send_replace(Stage::Closed);
        }
    }
}

/// The sidecar ports. Clones are the same ones.
#[derive(Clone)]
pub(crate) struct Sidecars(Arc<Inner>);

struct Inner {
    handle: Handle,
    limits: Limits,
    data: SocketAddr,
    open: Mutex<BTreeMap<String, Sidecar>>,
}

struct Sidecar {
    address: SocketAddr,
    stage: watch::Sender<Stage>,
}

impl Sidecars {
    /// They share connections with the data address.
    pub(crate) fn new(handle: Handle, max_body: usize, data: SocketAddr) -> Sidecars {
        let files = server::raise_file_limit();
        let limits = Limits::new(max_body, Slots::new(server::connection_cap(files)));
        Sidecars(Arc::new(Inner { handle, limits, data, open: Mutex::default() }))
    }

    fn limits(&self) -> Limits {
        self.0.limits.clone()
    }

    /// Takes the addresses that `config` names and nobody listens on yet.
    pub(crate) async fn bind_new(
        &self,
        config: &Config,
    ) -> anyhow::Result<Vec<(String, server::Bound)>> {
        let mut bound = Vec::new();
        for (name, target) in &config.targets {
            if let Some(address) = target.listen
                && self.address(name) != Some(address)
            {
                bound.push((name.clone(), bind(&format!("targets.{name}.listen"), address).await?));
            }
        }
        Ok(bound)
    }

    pub(crate) fn serve(&self, name: String, bound: server::Bound) {
        let (stage, stages) = watch::channel(Stage::Open);
        let address = bound.address();
        let router = proxy::sidecar_router(self.0.handle.clone(), name.clone(), self.0.data);
        drop(bound.serve(router, self.limits(), stages));
        let before = self.open().insert(name, Sidecar { address, stage });
        if let Some(before) = before {
            before.stage.send_replace(Stage::Finishing);
        }
    }

    /// Closes the ports of all other targets; what is under way there is finished.
    pub(crate) fn keep_only(&self, wanted: &BTreeMap<String, SocketAddr>) {
        self.open().retain(|name, sidecar| {
            let stays = wanted.contains_key(name);
            if !stays {
                sidecar.stage.send_replace(Stage::Finishing);
            }
            stays
        });
    }

    fn address(&self, name: &str) -> Option<SocketAddr> {
        self.open().get(name).map(|sidecar| sidecar.address)
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Sidecar>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<server::Bound> {
    server::bind(address).await.with_context(|| {
        format!("listen on {address} ({key}); is another daemon running, or another program there?")
    })
}
