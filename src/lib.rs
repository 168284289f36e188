//! Tollgate.

pub mod admin;
pub mod broker;
pub mod config;
pub mod dispatch;
pub mod handle;
pub mod http_api;
pub mod metrics;
pub mod reload;
pub mod serve;
pub mod sources;
pub mod store;
