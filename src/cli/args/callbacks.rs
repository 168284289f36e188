//! `tollgate callbacks …`: who is told of a job's end.

use clap::{Args, Subcommand};

use super::{AdminAddress, Format, Paging, Trust};

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct CallbacksArgs {
    #[command(subcommand)]
    pub command: CallbacksCommand,
    #[command(flatten)]
    pub admin: AdminAddress,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub format: Format,
}

#[derive(Debug, Subcommand)]
pub enum CallbacksCommand {
    /// What each callback is still to be told, and what it was not told
    #[command(after_help = "\
Example:
  tollgate callbacks list")]
    List,
    /// Jobs of whose end a callback was not told, oldest first
    #[command(after_help = "\
Example:
  tollgate callbacks undelivered orders")]
    Undelivered(UndeliveredArgs),
    /// Tell it again: all that a callback was not told, or the end of single jobs
    #[command(after_help = "\
Each message keeps its webhook-id. What waits for another try is tried at once.

Examples:
  tollgate callbacks redrive orders
  tollgate callbacks redrive 0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11")]
    Redrive(RedriveCallbacksArgs),
}

#[derive(Debug, Args)]
pub struct UndeliveredArgs {
    /// The callback's name in the configuration
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Args)]
pub struct RedriveCallbacksArgs {
    /// A callback's name; or ids of jobs
    #[arg(value_name = "NAME|ID", required = true)]
    pub which: Vec<String>,
}
