//! Tollgate.

pub mod admin;
pub mod broker;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dispatch;
pub mod handle;
pub mod http_api;
pub mod metrics;
pub mod reload;
pub mod serve;
pub mod store;
