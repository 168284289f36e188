//! The configuration: raw TOML into validated types, once, with all errors together.
//!
//! `parse` reads the tables, a key a line; `table` sees to it that no key goes unread; `item` and
//! `units` read values; `vocabulary` knows the keys, `defaults` what holds without them, `bounds`
//! how far they may go.

pub mod defaults;

mod adaptive;
mod auth;
mod bounds;
mod breaker;
mod calendar;
mod callbacks;
mod error;
mod fairness;
mod headers;
mod item;
mod limits;
mod listen;
mod outcomes;
mod parse;
mod rules;
mod schema;
mod source;
mod sources;
mod step_functions;
mod syntax;
mod table;
mod telemetry;
mod template;
mod tls;
mod types;
mod units;
mod url;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use callbacks::{Callback, Secret};
pub use error::{ConfigError, ConfigErrors};
pub(crate) use listen::check_bound;
pub use outcomes::{Address, Asking, Polling, Verify};
pub use parse::parse;
pub use rules::{HeaderTest, PointerTest, Rule, When};
pub use schema::{Misfit, Schema};
pub use template::{Part, Pointer, Template};
pub use types::{
    ActivitySource, Config, Listen, LogFormat, Server, Sources, SqsSource, StepFunctions, Store,
    Target, Telemetry,
};
pub use units::{parse_duration, rate_of as parse_rate};

/// Reads and validates a configuration file. `env` looks up what `${NAME}` stands for; a daemon
/// gives `&|name| std::env::var(name).ok()`.
///
/// # Errors
/// Everything that is wrong, together; or that the file cannot be read.
pub fn load(file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigErrors> {
    parse(&source::read(file)?, file, env)
}
