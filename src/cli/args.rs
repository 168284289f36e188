//! The words of the command line (CONTRACT: "Command line"), as clap reads them.

mod plan;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

mod callbacks;
mod dead;
mod explain;
mod store;
mod top;

pub use callbacks::{CallbacksArgs, CallbacksCommand};
pub use dead::{DeadFilterArgs, EditArgs};
pub use explain::{ExplainArgs, Question};
pub use store::{CareArgs, ExportArgs, StoreArgs, StoreCommand, StoreFile};
pub use top::TopArgs;

use super::values::{
    AdminUrl, DataUrl, Deadline, HeaderArg, TargetName, admin_url, data_url, deadline, duration,
    header, job_id, media_type, target_name,
};
use crate::broker::course::Delivery;
use crate::broker::job::{JobId, JobState, Priority};

pub use plan::PlanArgs;

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 the thing asked about failed, 2 usage, 3 the daemon is not reachable.
TOLLGATE_TOKEN, where set, is sent as bearer token.";

/// Durable HIGH/NORMAL/BATCH queues and paced dispatch in front of fragile HTTP APIs.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Serve(ServeArgs),
    /// See it work: a fragile fake API, the daemon on a fresh store, and mixed traffic
    Demo(DemoArgs),
    /// Validate a configuration: every error at once, with file, line and key
    Check(CheckArgs),
    /// Hand in one job
    Submit(SubmitArgs),
    /// Look at jobs and change them
    Jobs(JobsArgs),
    /// Jobs that ended without success: look at them, redrive them, purge them
    Dead(DeadArgs),
    /// Limits, depths, ages, state and estimated time to drain of each target
    Targets(TargetsArgs),
    /// Who is told of jobs' ends: how that goes, and telling again what was not told
    Callbacks(CallbacksArgs),
    /// A live view of all targets: queues, rates, ages, outcomes
    Top(TopArgs),
    /// When so many more jobs would be done, and what would wait, without doing it
    Plan(PlanArgs),
    /// Send nothing more to a target; its jobs wait
    #[command(after_help = "\
What is under way ends as it would. A pause outlives a restart of the daemon.

Example:
  tollgate pause erp")]
    Pause(PauseArgs),
    /// Send to a paused target again
    #[command(after_help = "\
Example:
  tollgate resume erp")]
    Resume(PauseArgs),
    /// Let the daemon read its configuration again; a bad file changes nothing
    Reload(ReloadArgs),
    /// Look into a stopped daemon's file
    Store(StoreArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

impl Command {
    /// What a command that asks a daemon trusts.
    pub(super) fn ca_file(&self) -> Option<PathBuf> {
        let trust = match self {
            Command::Submit(args) => &args.trust,
            Command::Jobs(args) => &args.trust,
            Command::Dead(args) => &args.trust,
            Command::Targets(args) => &args.trust,
            Command::Callbacks(args) => &args.trust,
            Command::Top(args) => &args.trust,
            Command::Plan(args) => &args.trust,
            Command::Pause(args) | Command::Resume(args) => &args.trust,
            Command::Reload(args) => &args.trust,
            Command::Serve(_)
            | Command::Demo(_)
            | Command::Check(_)
            | Command::Store(_)
            | Command::Completions(_) => return None,
        };
        trust.ca_file.clone()
    }
}

/// Where the jobs API is.
#[derive(Debug, Args)]
pub struct DataAddress {
    /// The daemon's data address; also unix:/path
    #[arg(long, env = "TOLLGATE_URL", value_name = "URL", global = true,
          default_value = "http://127.0.0.1:7070", value_parser = data_url)]
    pub url: DataUrl,
}

/// Where the admin API is.
#[derive(Debug, Args)]
pub struct AdminAddress {
    /// The daemon's admin address; also unix:/path
    #[arg(long, env = "TOLLGATE_ADMIN_URL", value_name = "URL", global = true,
          default_value = "http://127.0.0.1:7071", value_parser = admin_url)]
    pub admin_url: AdminUrl,
}

/// Whom to trust at an https address.
#[derive(Debug, Args)]
pub struct Trust {
    /// Certificates (PEM) to trust at an https address, in place of the system's
    #[arg(long, env = "TOLLGATE_CA_FILE", value_name = "FILE", global = true,
          value_hint = clap::ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct Format {
    /// Print the daemon's JSON; lists of jobs print one a line
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
SIGTERM and SIGINT drain within [server] drain_timeout, a second one exits at once; SIGHUP reloads.
RUST_LOG overrides [telemetry] log.

Example:
  tollgate serve --config /etc/tollgate/tollgate.toml")]
pub struct ServeArgs {
    #[arg(long, value_name = "FILE", default_value = "config/tollgate.toml",
          value_hint = clap::ValueHint::FilePath)]
    /// The configuration
    pub config: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tollgate demo --for 30s")]
pub struct DemoArgs {
    /// End by itself after so long and say what happened; exit 0 only if nothing was lost and the
    /// limit held
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub run_for: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tollgate check --config /etc/tollgate/tollgate.toml && systemctl reload tollgate
  tollgate check --explain erp --status 200 --body @answer.json
  tollgate check --explain erp --status 404 --question verify")]
pub struct CheckArgs {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "config/tollgate.toml",
          value_hint = clap::ValueHint::FilePath)]
    pub config: PathBuf,
    /// Print the outcome as one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub explain: ExplainArgs,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "tollgate submit [OPTIONS] <TARGET> [METHOD] <PATH>",
    after_help = "\
Examples:
  tollgate submit erp /orders --data '{\"sku\": 7}' --priority HIGH
  tollgate submit erp GET /orders/7 --wait=30s
  tollgate submit erp PUT /files/7 --data @scan.pdf --content-type application/pdf --delay 5m"
)]
pub struct SubmitArgs {
    /// The target's name in the configuration
    #[arg(value_name = "TARGET", value_parser = target_name)]
    pub target: TargetName,
    /// The method (POST if left out), and the path below the target's url
    #[arg(value_name = "[METHOD] PATH", num_args = 1..=2, required = true)]
    pub request: Vec<String>,
    /// HIGH, NORMAL or BATCH [default: NORMAL]
    #[arg(long, short, value_name = "P", value_parser = priority_parser(), ignore_case = true,
          hide_possible_values = true)]
    pub priority: Option<Priority>,
    /// The body: text, @FILE, or - for standard input. What is valid JSON is sent as JSON, all
    /// else as the bytes it is
    #[arg(long, short, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub data: Option<String>,
    /// The body's Content-Type
    #[arg(long, value_name = "TYPE", value_parser = media_type)]
    pub content_type: Option<String>,
    /// A header of the request; may be given several times
    #[arg(long = "header", short = 'H', value_name = "NAME:VALUE", value_parser = header)]
    pub headers: Vec<HeaderArg>,
    /// Not to be sent before so long from now
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub delay: Option<Duration>,
    /// Not to be sent after: a duration from now, or a time (RFC 3339)
    #[arg(long, value_name = "DURATION|TIME", value_parser = deadline)]
    pub deadline: Option<Deadline>,
    /// Within 5 minutes, or while the job lives, the same id is the same job
    #[arg(long, value_name = "ID")]
    pub dedup_id: Option<String>,
    /// What to do where nobody knows whether the work was done [default: the target's]
    #[arg(long, value_name = "DELIVERY", value_parser = delivery_parser())]
    pub delivery: Option<Delivery>,
    /// Goes after all that came before it in this group, one at a time
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// On whose account it goes: those who share a queue take turns
    #[arg(long, value_name = "KEY")]
    pub fairness_key: Option<String>,
    /// Who is told of its end: a name from [callbacks] in the configuration
    #[arg(long, value_name = "NAME")]
    pub callback: Option<String>,
    /// Requests sent at most, the first included; refusals do not count
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: Option<u32>,
    /// Wait for the job's end, at most so long where a duration is given; exit 0 only if it
    /// succeeded
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true,
          value_parser = duration)]
    pub wait: Option<Option<Duration>>,
    #[command(flatten)]
    pub at: DataAddress,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub format: Format,
}

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct JobsArgs {
    #[command(subcommand)]
    pub command: JobsCommand,
    #[command(flatten)]
    pub data: DataAddress,
    #[command(flatten)]
    pub admin: AdminAddress,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub format: Format,
}

#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List jobs
    #[command(after_help = "\
Example:
  tollgate jobs list --target erp --state waiting --limit 20")]
    List(JobsListArgs),
    /// One job with its timeline, result and error
    #[command(after_help = "\
Example:
  tollgate jobs show 0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11")]
    Show(IdArg),
    /// Cancel a job that has not been sent
    #[command(after_help = "\
Example:
  tollgate jobs cancel 0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11")]
    Cancel(IdArg),
    /// Put a dead job at the end of its queue again
    #[command(after_help = "\
Example:
  tollgate jobs redrive 0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11")]
    Redrive(IdArg),
    /// Give a job that has not been sent another priority
    #[command(after_help = "\
Example:
  tollgate jobs priority 0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11 HIGH")]
    Priority(PriorityArgs),
}

#[derive(Debug, Args)]
pub struct JobsListArgs {
    /// Only of this target
    #[arg(long, value_parser = target_name)]
    pub target: Option<TargetName>,
    /// Only in this state
    #[arg(long, value_parser = state_parser(), ignore_case = true)]
    pub state: Option<JobState>,
    /// Only of this priority
    #[arg(long, value_parser = priority_parser(), ignore_case = true)]
    pub priority: Option<Priority>,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct Paging {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50, conflicts_with = "all",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// All there are
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct IdArg {
    /// The job's id
    #[arg(value_name = "ID", value_parser = job_id)]
    pub id: JobId,
}

#[derive(Debug, Args)]
pub struct PriorityArgs {
    /// The job's id
    #[arg(value_name = "ID", value_parser = job_id)]
    pub id: JobId,
    #[arg(value_name = "PRIORITY", value_parser = priority_parser(), ignore_case = true)]
    pub priority: Priority,
}

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct DeadArgs {
    #[command(subcommand)]
    pub command: DeadCommand,
    #[command(flatten)]
    pub admin: AdminAddress,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub format: Format,
}

#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List the dead jobs of a target
    #[command(after_help = "\
Example:
  tollgate dead list erp")]
    List(DeadListArgs),
    /// One dead job with its timeline, last answer and error
    #[command(after_help = "\
Example:
  tollgate dead show 0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11")]
    Show(IdArg),
    /// Put dead jobs at the end of their queues again
    #[command(after_help = "\
Examples:
  tollgate dead redrive 0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11
  tollgate dead redrive 0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11 --data @mended.json --priority HIGH
  tollgate dead redrive erp --all
  tollgate dead redrive erp --all --error Tollgate.RetriesExhausted --newer-than 2h --rate 5/s")]
    Redrive(RedriveArgs),
    /// Forget dead jobs for ever
    #[command(after_help = "\
Examples:
  tollgate dead purge erp
  tollgate dead purge erp --error Tollgate.Http.404 --older-than 30d
  tollgate dead purge 0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11 --yes")]
    Purge(PurgeArgs),
}

#[derive(Debug, Args)]
pub struct DeadListArgs {
    /// The target's name in the configuration
    #[arg(value_name = "TARGET", value_parser = target_name)]
    pub target: TargetName,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Args)]
pub struct RedriveArgs {
    /// Ids of jobs; or one target, with --all
    #[arg(value_name = "TARGET|ID", required = true)]
    pub which: Vec<String>,
    /// Every dead job of the target, or those of them that are named by
    /// --error, --older-than, --newer-than and --only-priority
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub filter: DeadFilterArgs,
    /// With --all: so many at a time, such as 5/s. They are scheduled one after the other, which a
    /// restart of the daemon does not change
    #[arg(long, value_name = "RATE", requires = "all")]
    pub rate: Option<String>,
    #[command(flatten)]
    pub edit: EditArgs,
}

#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// Ids of jobs; or one target, for all its dead jobs
    #[arg(value_name = "TARGET|ID", required = true)]
    pub which: Vec<String>,
    #[command(flatten)]
    pub filter: DeadFilterArgs,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tollgate targets
  tollgate targets erp --json")]
pub struct TargetsArgs {
    /// Only this one
    #[arg(value_name = "NAME", value_parser = target_name)]
    pub name: Option<TargetName>,
    #[command(flatten)]
    pub at: AdminAddress,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct PauseArgs {
    /// The target's name in the configuration
    #[arg(value_name = "TARGET", value_parser = target_name)]
    pub target: TargetName,
    #[command(flatten)]
    pub at: AdminAddress,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tollgate reload")]
pub struct ReloadArgs {
    #[command(flatten)]
    pub at: AdminAddress,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tollgate completions bash > /etc/bash_completion.d/tollgate
  tollgate completions zsh > \"${fpath[1]}/_tollgate\"
  tollgate completions fish > ~/.config/fish/completions/tollgate.fish")]
pub struct CompletionsArgs {
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

fn delivery_parser() -> impl TypedValueParser<Value = Delivery> {
    PossibleValuesParser::new(Delivery::ALL.map(Delivery::as_str)).try_map(|text| text.parse())
}

fn priority_parser() -> impl TypedValueParser<Value = Priority> {
    PossibleValuesParser::new(Priority::ALL.map(Priority::as_str)).try_map(|text| text.parse())
}

fn state_parser() -> impl TypedValueParser<Value = JobState> {
    PossibleValuesParser::new(JobState::ALL.map(JobState::as_str)).try_map(|text| {
        let named = |state: &JobState| state.as_str().eq_ignore_ascii_case(&text);
        JobState::ALL.into_iter().find(named).ok_or("no such state")
    })
}

#[cfg(test)]
mod tests;
