//! Every address that the daemon listens on: data, admin, and the sidecar ports of targets, which
//! come and go with a reload.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::{self, AdminState};
use crate::auth::{Access, Gate, Place, stand_before};
use crate::config::{Config, Listen};
use crate::handle::Handle;
use crate::http_api::server::{self, Limits, Slots, Stage};
use crate::http_api::tls::TlsInForce;
use crate::sources::{self, proxy};

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
        let data = bind("server.listen", &config.server.listen).await?;
        let admin = bind("server.admin_listen", &config.server.admin_listen).await?;
        let mut sidecars = Vec::new();
        for (name, target) in &config.targets {
            if let Some(address) = &target.listen {
                let bound = bind(&format!("targets.{name}.listen"), address).await?;
                sidecars.push((name.clone(), bound));
            }
        }
        Ok(Bound { data, admin, sidecars, max_body: config.server.max_body })
    }

    pub(super) fn data(&self) -> &Listen {
        self.data.address()
    }

    pub(super) fn admin(&self) -> &Listen {
        self.admin.address()
    }

    /// `admin`: how many connections the admin address may have.
    pub(super) fn serve(
        self,
        handle: &Handle,
        state: AdminState,
        sidecars: Sidecars,
        admin: usize,
    ) -> Listeners {
        let admin_limits = Limits::new(ADMIN_BODY, Slots::new(admin));
        let (stage, stages) = watch::channel(Stage::Open);
        let data = sources::router(handle.clone(), self.max_body);
        let data = sidecars.behind_a_gate(data, Place::Data);
        let admin = admin::router(state, sidecars.0.access.clone());
        let tls = &sidecars.0.tls;
        let tasks = vec![
            self.data.serve(data, sidecars.limits(), tls.clone(), stages.clone()),
            self.admin.serve(admin, admin_limits, tls.clone(), stages),
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
    data: Listen,
    access: Access,
    tls: TlsInForce,
    open: Mutex<BTreeMap<String, Sidecar>>,
}

struct Sidecar {
    address: Listen,
    stage: watch::Sender<Stage>,
}

impl Sidecars {
    /// They share connections with the data address.
    pub(crate) fn new(
        handle: Handle,
        limits: Limits,
        data: Listen,
        access: Access,
        tls: TlsInForce,
    ) -> Sidecars {
        Sidecars(Arc::new(Inner { handle, limits, data, access, tls, open: Mutex::default() }))
    }

    fn limits(&self) -> Limits {
        self.0.limits.clone()
    }

    fn behind_a_gate(&self, router: Router, place: Place) -> Router {
        let gate = Gate { access: self.0.access.clone(), place };
        router.layer(from_fn_with_state(gate, stand_before))
    }

    /// Who may do what, and with which certificate, from now on.
    pub(crate) fn admit(&self, config: &Config) {
        self.0.access.replace(config.access.clone());
        if self.0.tls.is_on() && config.server.tls.is_some() {
            self.0.tls.replace(config.server.tls.clone());
        }
    }

    /// Takes the addresses that `config` names and nobody listens on yet.
    pub(crate) async fn bind_new(
        &self,
        config: &Config,
    ) -> anyhow::Result<Vec<(String, server::Bound)>> {
        let mut bound = Vec::new();
        for (name, target) in &config.targets {
            if let Some(address) = &target.listen
                && self.address(name).as_ref() != Some(address)
            {
                bound.push((name.clone(), bind(&format!("targets.{name}.listen"), address).await?));
            }
        }
        Ok(bound)
    }

    pub(crate) fn serve(&self, name: String, bound: server::Bound) {
        let (stage, stages) = watch::channel(Stage::Open);
        let address = bound.address().clone();
        let router = proxy::sidecar_router(self.0.handle.clone(), name.clone(), &self.data_url());
        let router = self.behind_a_gate(router, Place::Sidecar);
        drop(bound.serve(router, self.limits(), self.0.tls.clone(), stages));
        let before = self.open().insert(name, Sidecar { address, stage });
        if let Some(before) = before {
            before.stage.send_replace(Stage::Finishing);
        }
    }

    /// Closes the ports of all other targets; what is under way there is finished.
    pub(crate) fn keep_only(&self, wanted: &BTreeMap<String, Listen>) {
        self.open().retain(|name, sidecar| {
            let stays = wanted.contains_key(name);
            if !stays {
                sidecar.stage.send_replace(Stage::Finishing);
            }
            stays
        });
    }

    fn address(&self, name: &str) -> Option<Listen> {
        self.open().get(name).map(|sidecar| sidecar.address.clone())
    }

    /// What a `Location` at a sidecar port begins with; nothing where the data address is no port.
    fn data_url(&self) -> String {
        let scheme = if self.0.tls.is_on() { "https" } else { "http" };
        self.0.data.port().map_or_else(String::new, |address| format!("{scheme}://{address}"))
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Sidecar>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn bind(key: &str, address: &Listen) -> anyhow::Result<server::Bound> {
    server::bind(address).await.with_context(|| {
        format!("listen on {address} ({key}); is another daemon running, or another program there?")
    })
}
