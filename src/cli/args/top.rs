//! The words of `tollgate top`.

use clap::Args;

use super::{AdminAddress, Trust};

#[derive(Debug, Args)]
#[command(after_help = "\
Arrows or j and k choose a target, Enter looks into it, p pauses or resumes it, / finds one, ? tells
all keys, q leaves. Where there is no terminal, `tollgate targets` says the same once.

Examples:
  tollgate top
  tollgate top --admin-url unix:/run/tollgate/admin.sock")]
pub struct TopArgs {
    #[command(flatten)]
    pub at: AdminAddress,
    #[command(flatten)]
    pub trust: Trust,
}
