//! The admin address (CONTRACT §6): for the people who run this and for their machines.
//!
//! It reads the loop's view and the store, and asks the loop for every change; it decides nothing
//! itself. Every answer is JSON but for the page at `/`, the metrics and `/healthz`;
//! every error is a problem (RFC 9457). [`crate::auth`] stands before all routes.

mod answer;
mod callbacks;
mod console;
mod dead;
mod error;
mod events;
mod guard;
mod health;
mod held_back;
mod jobs;
mod openapi;
mod pages;
mod params;
mod plan;
mod rate;
mod readiness;
mod records;
mod redrive;
mod reload;
mod request_json;
mod schedule_json;
mod step_functions_json;
mod target_json;
mod targets;
#[cfg(test)]
mod tests;
mod who;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

pub use readiness::{Readiness, SharedReadiness};

use crate::auth::{Access, Gate, Place, stand_before};
use crate::callbacks::Callbacks;
use crate::handle::Handle;
use crate::http_api::problem;
use crate::metrics::Metrics;
use crate::reload::Reloader;
use crate::step_functions::Health;
use events::Events;
use held_back::Recent;
use records::Records;

/// What the routes work with; cheap to clone.
#[derive(Clone)]
pub struct AdminState {
    handle: Handle,
    metrics: Metrics,
    reloader: Reloader,
    readiness: SharedReadiness,
    records: Arc<dyn Records>,
    recent: Recent,
    events: Events,
    /// `None`: the configuration has no `[step_functions]`.
    step_functions: Option<Health>,
    callbacks: Callbacks,
}

impl AdminState {
    /// The daemon keeps a clone of `readiness` and sets it. `step_functions`: how it stands with
    /// them, where the configuration has them.
    pub fn new(
        handle: Handle,
        metrics: Metrics,
        reloader: Reloader,
        readiness: SharedReadiness,
        step_functions: Option<Health>,
        callbacks: Callbacks,
    ) -> AdminState {
        let records = Arc::new(handle.reader().clone());
        let (recent, events) = (Recent::default(), Events::default());
        AdminState {
            handle,
            metrics,
            reloader,
            readiness,
            records,
            recent,
            events,
            step_functions,
            callbacks,
        }
    }
}

/// Every route of the admin address. Limits on connections, header sizes and time are the
/// server's.
pub fn router(state: AdminState, access: Access) -> Router {
    let gate = Gate { access, place: Place::Admin };
    Router::new()
        .route("/", get(console::page))
        .route("/console/{file}", get(console::file))
        .route("/metrics", get(health::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/openapi.json", get(openapi::document))
        .route("/v1/targets", get(targets::list))
        .route("/v1/targets/{target}", get(targets::show))
        .route("/v1/targets/{target}/plan", get(plan::plan))
        .route("/v1/targets/{target}/pause", post(targets::pause))
        .route("/v1/targets/{target}/resume", post(targets::resume))
        .route("/v1/targets/{target}/dead", get(dead::list).delete(dead::purge))
        .route("/v1/targets/{target}/dead/errors", get(dead::errors))
        .route("/v1/targets/{target}/dead/redrive", post(dead::redrive))
        .route("/v1/jobs", get(jobs::list))
        .route("/v1/jobs/{id}", get(jobs::show).patch(jobs::patch).delete(jobs::purge))
        .route("/v1/jobs/{id}/redrive", post(redrive::one))
        .route("/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/v1/jobs/{id}/callback", post(callbacks::redrive_one))
        .route("/v1/callbacks", get(callbacks::list))
        .route("/v1/callbacks/{callback}/undelivered", get(callbacks::undelivered))
        .route("/v1/callbacks/{callback}/redrive", post(callbacks::redrive))
        .route("/v1/events", get(events::stream))
        .route("/v1/reload", post(reload::reload))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(axum::Extension(gate.access.clone()))
        .layer(from_fn_with_state(gate, stand_before))
        .layer(from_fn(guard::guard))
        .with_state(state)
}
