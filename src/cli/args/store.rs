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
    /// Look through a stopped daemon's file: every page of it, and every row against the jobs
    #[command(after_help = "\
Exit code 1 where something is found; each finding is a line. Nothing is changed but what opening
the file mends in any case: what a crash left, and rights that others have.

Examples:
  tollgate store check
  tollgate store check backup.redb --json")]
    Check(CareArgs),
    /// Make a stopped daemon's file as small as what is in it
    #[command(after_help = "\
The file is rewritten in place, a commit at a time: a crash on the way leaves a whole file.

Examples:
  tollgate store compact
  tollgate store compact /var/lib/tollgate/tollgate.redb")]
    Compact(CareArgs),
}

#[derive(Debug, Args)]
pub struct StoreFile {
    /// The file [default: `[store] path` of the configuration]
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// The configuration that names it
    #[arg(long, value_name = "FILE", default_value = "config/tollgate.toml",
          value_hint = clap::ValueHint::FilePath)]
    pub config: PathBuf,
    /// The keys that it is encrypted with [default: `[store] encrypt_key_file` of the
    /// configuration, where that names the file]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub encrypt_key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CareArgs {
    #[command(flatten)]
    pub store: StoreFile,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub store: StoreFile,
    /// All of it: bodies, headers and task tokens as they are
    #[arg(long)]
    pub with_secrets: bool,
    /// It is JSON in any case
    #[arg(long, hide = true)]
    pub json: bool,
}
