//! `tollgate store …`: what is done to a stopped daemon's file.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct StoreArgs {
    #[command(subcommand)]
    pub command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Print every job of a stopped daemon's file, as JSON, one a line
    #[command(after_help = "\
Left out unless --with-secrets is given: bodies, values of headers and of query parameters, task
tokens. Who has those can act in your name: mind where the output goes.

Examples:
  tollgate store export > jobs.ndjson
  tollgate store export /var/lib/tollgate/tollgate.redb | jq 'select(.job.state == \"failed\")'")]
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The file [default: `[store] path` of the configuration]
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// The configuration that names it
    #[arg(long, value_name = "FILE", default_value = "config/tollgate.toml",
          value_hint = clap::ValueHint::FilePath)]
    pub config: PathBuf,
    /// All of it: bodies, headers and task tokens as they are
    #[arg(long)]
    pub with_secrets: bool,
}
