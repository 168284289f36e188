//! The words of `tollgate plan`.

use clap::Args;

use super::super::values::{TargetName, target_name};
use super::super::when::{At, at};
use super::{AdminAddress, Format, Trust, priority_parser};
use crate::broker::job::Priority;

#[derive(Debug, Args)]
#[command(after_help = "\
An estimate from the limits in force: without failures, retries, and jobs that come later.
Exits with 1 if the jobs would never be done as things stand.

Examples:
  tollgate plan erp --jobs 20000 --priority BATCH
  tollgate plan erp --jobs 20000 --at \"2026-11-27 18:00\"
  tollgate plan erp --jobs 500 --at +2h --json")]
pub struct PlanArgs {
    /// The target's name in the configuration
    #[arg(value_name = "TARGET", value_parser = target_name)]
    pub target: TargetName,
    /// How many jobs
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub jobs: u64,
    /// When they come: a duration from now (+2h), a time of this machine's time zone
    /// ("2026-11-27 18:00"), or one with its offset (RFC 3339) [default: now]
    #[arg(long, value_name = "TIME", value_parser = at)]
    pub at: Option<At>,
    /// HIGH, NORMAL or BATCH [default: NORMAL]
    #[arg(long, short, value_name = "P", value_parser = priority_parser(), ignore_case = true,
          hide_possible_values = true)]
    pub priority: Option<Priority>,
    #[command(flatten)]
    pub admin: AdminAddress,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub format: Format,
}
