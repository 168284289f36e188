//! What both HTTP addresses are made of: the listener that nobody can tie up, problems, the JSON
//! of a job, and the reading of jobs out of requests.

pub mod body;
pub(crate) mod budget;
pub mod callback_json;
pub mod json;
pub mod problem;
pub mod reply;
pub mod server;
pub(crate) mod standing;
pub mod tls;

pub(crate) mod edit;
pub(crate) mod fields;
pub(crate) mod fit;
pub(crate) mod fuzz;
pub(crate) mod headers;
pub(crate) mod new_job;
pub(crate) mod path;
pub(crate) mod stream;
pub(crate) mod submission;
pub(crate) mod when;

mod connection;
mod guard;
mod lateness;
mod slots;
mod socket;
mod turned_away;
mod wire;

pub use json::JobJson;
pub use problem::{Kind, Problem};
pub use reply::Json;
