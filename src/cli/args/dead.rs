//! The words that choose dead jobs, and that change one.

use std::time::Duration;

use clap::Args;

use super::priority_parser;
use crate::broker::job::Priority;
use crate::cli::values::{HeaderArg, duration, header, media_type};

/// Which of a target's dead jobs.
#[derive(Debug, Args)]
pub struct DeadFilterArgs {
    /// Of a target: only those that ended with this error code
    #[arg(long, value_name = "CODE")]
    pub error: Option<String>,
    /// Of a target: only those that died so long ago at least
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<Duration>,
    /// Of a target: only those that died so long ago at most
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub newer_than: Option<Duration>,
    /// Of a target: only those of this priority
    #[arg(long, value_name = "P", value_parser = priority_parser(), ignore_case = true,
          hide_possible_values = true)]
    pub only_priority: Option<Priority>,
}

/// What is changed of one dead job.
#[derive(Debug, Args)]
pub struct EditArgs {
    /// Of one job: its new body. What is valid JSON is sent as JSON, all else as the bytes it is
    #[arg(
        long,
        short,
        value_name = "JSON|@FILE|-",
        allow_hyphen_values = true,
        conflicts_with = "all"
    )]
    pub data: Option<String>,
    /// Of one job: the new body's Content-Type
    #[arg(long, value_name = "TYPE", value_parser = media_type, requires = "data")]
    pub content_type: Option<String>,
    /// Of one job: its new path
    #[arg(long, value_name = "PATH", conflicts_with = "all")]
    pub path: Option<String>,
    /// Of one job: its new method
    #[arg(long, value_name = "METHOD", conflicts_with = "all")]
    pub method: Option<String>,
    /// Of one job: a header in place of those of its name; may be given several times
    #[arg(long = "header", short = 'H', value_name = "NAME:VALUE", value_parser = header,
          conflicts_with = "all")]
    pub headers: Vec<HeaderArg>,
    /// Of one job: its new priority
    #[arg(long, short, value_name = "P", value_parser = priority_parser(), ignore_case = true,
          hide_possible_values = true, conflicts_with = "all")]
    pub priority: Option<Priority>,
    /// Of one job: another Idempotency-Key, for a target that keeps its answers by them
    #[arg(long, value_name = "KEY", conflicts_with = "all")]
    pub idempotency_key: Option<String>,
}
