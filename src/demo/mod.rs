//! `tollgate demo`.

pub mod auditor;
pub mod fragile_api;
mod rng;
