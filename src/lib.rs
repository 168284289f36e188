//! Tollgate.

pub mod broker;
pub mod config;
pub mod dispatch;
pub mod handle;
pub mod metrics;
pub mod reload;
pub mod serve;
#[cfg(test)]
mod sim;
pub mod store;
