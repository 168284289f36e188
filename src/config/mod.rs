//! The configuration: raw TOML into validated types, once, with all errors together.

mod types;

pub use types::{Config, LogFormat, Server, Store, Target, Telemetry};
