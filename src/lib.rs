//! Tollgate: durable HIGH, NORMAL and BATCH queues, and paced dispatch, in front of fragile HTTP
//! APIs.
//!
//! A pure core decides, a thin shell does. [`broker`] is a state machine without input, output,
//! threads, randomness or a clock. The one loop in [`driver`](self) feeds it, commits what a turn
//! changes in one transaction, and only then lets the turn's effects out: **commit, then act**.
//!
//! ```text
//!   sources (jobs API, sidecar proxy)      admin, cli          demo
//!        │                                   │
//!        └────────────▶ handle ◀─────────────┘
//!                          │
//!                        driver ──────▶ broker      (pure)
//!                        │     │
//!                     store   dispatch ──▶ target
//! ```
//! Direction: `broker` knows nobody; `store` and `dispatch` know its words; `driver` knows those;
//! `sources`, `admin`, `serve`, `cli` and `demo` stand on top.
//!
//! Invariants:
//! - Nothing is acknowledged or sent before the commit that records it.
//! - A job is in exactly one place; a move from one to the next is one commit.
//! - What memory holds does not grow with the backlog.

pub mod admin;
pub mod auth;
pub mod aws;
pub mod broker;
pub mod callbacks;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dispatch;
mod driver;
#[doc(hidden)]
pub mod fuzz;
pub mod handle;
pub mod http_api;
mod intake;
pub mod metrics;
mod outbox;
pub mod pulse;
pub mod reload;
pub mod serve;
#[cfg(test)]
mod sim;
pub mod sources;
pub mod step_functions;
pub mod store;
pub mod trace;
