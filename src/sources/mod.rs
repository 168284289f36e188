//! Where jobs come from: the jobs API, the sidecar proxy, SQS queues and activities.

pub mod activity;
pub mod jobs_api;
pub mod proxy;
pub mod sqs;

#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod fuzz;
mod message;
mod poll;
mod records;
mod room;

use axum::Router;
use utoipa::OpenApi as _;

use crate::handle::Handle;

/// Everything on the data address. `max_body`: of a request, in bytes.
pub fn router(handle: Handle, max_body: usize) -> Router {
    jobs_api::router(handle.clone(), max_body).merge(proxy::router(handle))
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Tollgate, data address"),
    paths(
        jobs_api::submit,
        jobs_api::submit_batch,
        jobs_api::show,
        jobs_api::cancel,
        proxy::proxied
    ),
    components(schemas(crate::http_api::new_job::NewJob))
)]
struct DataAddress;

/// What the data address offers, from the code that offers it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    DataAddress::openapi()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_description_names_every_route_and_resolves() {
        let text = serde_json::to_string(&super::openapi()).unwrap();
        for name in ["/v1/jobs", "/v1/jobs/batch", "/v1/jobs/{id}", "/proxy/{target}/{path}"] {
            assert!(text.contains(&format!("\"{name}\"")), "{name} is missing");
        }
        let described: serde_json::Value = serde_json::from_str(&text).unwrap();
        let job = &described["components"]["schemas"]["NewJob"];
        assert_eq!(job["required"], serde_json::json!(["target"]));
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(text.contains(&format!("\"{name}\":{{")), "{name} is not described");
        }
    }
}
