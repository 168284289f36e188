//! Every address that the daemon listens on: data, admin, and the sidecar ports of targets, which
//! come and go with a reload.
//!
//! Those of callers are served by threads of their own ([`Callers`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::callers::{Callers, Threads};
use crate::admin::{self, AdminState};
use crate::auth::{Access, Gate, Place, stand_before};
use crate::config::{Config, Listen};
use crate::handle::Handle;
use crate::http_api::server::{self, Limits, Slots, Stage, Stages};
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
        callers: Callers,
        admin: usize,
    ) -> Listeners {
        let admin_limits = Limits::new(ADMIN_BODY, Slots::new(admin));
        let stages = sidecars.0.daemon.subscribe();
        let data = sources::router(handle.clone(), self.max_body);
        let data = sidecars.behind_a_gate(data, Place::Data);
        let admin = admin::router(state, sidecars.0.access.clone());
        let tasks = vec![
            sidecars.serve_callers(self.data, data, stages.clone().into()),
            self.admin.serve(admin, admin_limits, sidecars.0.tls.clone(), stages),
        ];
        for (name, bound) in self.sidecars {
            sidecars.serve(name, bound);
        }
        Listeners { tasks, sidecars, _callers: callers }
    }
}

/// Listeners that are served.
pub(super) struct Listeners {
    tasks: Vec<JoinHandle<()>>,
    sidecars: Sidecars,
    pub(super) _callers: Callers,
}

impl Listeners {
    /// Lets answers that are being written be finished, then cuts off the rest.
    pub(super) async fn close(self) {
        let daemon = &self.sidecars.0.daemon;
        daemon.send_replace(Stage::Finishing);
        let sidecars = self.sidecars.close();
        let all = async {
            for task in self.tasks.into_iter().chain(sidecars) {
                // A listener's task that panicked has nothing left to finish.
                let _ = task.await;
            }
        };
        if tokio::time::timeout(FINISH_WITHIN, all).await.is_err() {
            daemon.send_replace(Stage::Closed);
        }
        // What a client has not taken by now goes with the threads that serve it.
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
    daemon: watch::Sender<Stage>,
    threads: Threads,
    open: Mutex<BTreeMap<String, Sidecar>>,
    /// Ports that a reload took away, until what is under way there has ended.
    going: Mutex<Vec<JoinHandle<()>>>,
}

struct Sidecar {
    address: Listen,
    stage: watch::Sender<Stage>,
    /// Ends with its last connection.
    task: JoinHandle<()>,
}

impl Sidecars {
    /// They share connections with the data address.
    pub(crate) fn new(
        handle: Handle,
        limits: Limits,
        data: Listen,
        access: Access,
        tls: TlsInForce,
        threads: Threads,
    ) -> Sidecars {
        let daemon = watch::Sender::new(Stage::Open);
        let (open, going) = (Mutex::default(), Mutex::default());
        let inner = Inner { handle, limits, data, access, tls, daemon, threads, open, going };
        Sidecars(Arc::new(inner))
    }

    /// An address of callers: on their threads, within their limits.
    fn serve_callers(
        &self,
        bound: server::Bound,
        router: Router,
        stages: Stages,
    ) -> JoinHandle<()> {
        let Threads { door, service } = &self.0.threads;
        let (limits, tls) = (self.0.limits.clone(), self.0.tls.clone());
        door.spawn(bound.serve_on(service.clone(), router, limits, tls, stages))
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
                let key = format!("targets.{name}.listen");
                if let Some(other) = self.whose(address) {
                    anyhow::bail!(
                        "listen on {address} ({key}): it is the address of targets.{other} until \
                         this reload; take it away there, reload, and give it to {name} with \
                         another reload"
                    );
                }
                bound.push((name.clone(), bind(&key, address).await?));
            }
        }
        Ok(bound)
    }

    pub(crate) fn serve(&self, name: String, bound: server::Bound) {
        let (stage, stages) = watch::channel(Stage::Open);
        let address = bound.address().clone();
        let router = proxy::sidecar_router(self.0.handle.clone(), name.clone(), &self.data_url());
        let router = self.behind_a_gate(router, Place::Sidecar);
        let stages = Stages { own: stages, daemon: self.0.daemon.subscribe() };
        let task = self.serve_callers(bound, router, stages);
        let before = self.open().insert(name, Sidecar { address, stage, task });
        if let Some(before) = before {
            self.let_go(vec![before.finish(&self.0.threads)]);
        }
    }

    /// Closes the ports of all other targets; what is under way there is finished.
    pub(crate) fn keep_only(&self, wanted: &BTreeMap<String, Listen>) {
        let mut open = self.open();
        let all = std::mem::take(&mut *open).into_iter();
        let (kept, unwanted) = all.partition(|(name, _)| wanted.contains_key(name));
        *open = kept;
        drop(open);
        self.let_go(self.finish(unwanted));
    }

    /// Closes all; their tasks end with what is under way there.
    fn close(&self) -> Vec<JoinHandle<()>> {
        let all = std::mem::take(&mut *self.open());
        let mut tasks = self.finish(all);
        tasks.append(&mut self.going());
        tasks
    }

    fn let_go(&self, tasks: Vec<JoinHandle<()>>) {
        let mut going = self.going();
        going.retain(|task| !task.is_finished());
        going.extend(tasks);
    }

    fn finish(&self, sidecars: BTreeMap<String, Sidecar>) -> Vec<JoinHandle<()>> {
        sidecars.into_values().map(|sidecar| sidecar.finish(&self.0.threads)).collect()
    }

    fn address(&self, name: &str) -> Option<Listen> {
        self.open().get(name).map(|sidecar| sidecar.address.clone())
    }

    /// The target that has the address now.
    fn whose(&self, address: &Listen) -> Option<String> {
        let open = self.open();
        let (name, _) = open.iter().find(|(_, sidecar)| sidecar.address == *address)?;
        Some(name.clone())
    }

    /// What a `Location` at a sidecar port begins with; nothing where the data address is no port.
    fn data_url(&self) -> String {
        let scheme = if self.0.tls.is_on() { "https" } else { "http" };
        self.0.data.port().map_or_else(String::new, |address| format!("{scheme}://{address}"))
    }

    fn going(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.0.going.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Sidecar>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sidecar {
    /// Takes no more; ends once what is under way has its answer.
    fn finish(self, threads: &Threads) -> JoinHandle<()> {
        self.stage.send_replace(Stage::Finishing);
        threads.door.spawn(async move {
            // A port's task that panicked has nothing left to finish.
            let _ = self.task.await;
            // Not before: who listens to a stage that is gone takes it for the last.
            drop(self.stage);
        })
    }
}

async fn bind(key: &str, address: &Listen) -> anyhow::Result<server::Bound> {
    server::bind(address).await.with_context(|| {
        format!("listen on {address} ({key}); is another daemon running, or another program there?")
    })
}
