//! The words of the command line, as clap reads them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::{Args, Parser, Subcommand};
use tollgate::config::parse_duration;
use tollgate::demo::fragile_api::Latency;

use crate::fragile::{PerSecond, Share, Then};
use crate::scenario::Setting;

/// Measures Tollgate from outside.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The fake API alone, until Ctrl-C; counts what reaches it
    #[command(after_help = "\
Counts are kept at the API, so they can contradict whoever calls it. Details of each job are kept
in memory: about 300 bytes a job.

Example:
  loadtest fragile-api --listen 127.0.0.1:9010 --failing 0.3 --limit 10/s --latency 20ms..400ms
  loadtest fragile-api --limit 20/s --then 60s:8/s --then 2m:15/s")]
    FragileApi(FragileArgs),
    /// Scenarios: load on a daemon of their own, figures beside what is expected, plots
    #[command(after_help = "\
Builds the daemon's release binary unless one is named. Each turn has a fresh daemon on a fresh
store. The table goes to the terminal; report.json, report.md and the plots go to --out.

Examples:
  loadtest run
  loadtest run enqueue drain --turns 3
  loadtest run backlog --set jobs=10000000")]
    Run(RunArgs),
    /// The scenarios there are
    List,
    /// Two reports side by side: ratios, and whether they are more than chance
    Compare { a: PathBuf, b: PathBuf },
    /// The generator alone, against a daemon that runs already
    #[command(after_help = "\
With --rate it is an open loop: requests are sent by the clock, and latency counts from when a
request was to be sent. Without it each connection sends again once it is answered.

Example:
  loadtest load --url http://127.0.0.1:7070 --target erp --rate 500 --for 30s")]
    Load(LoadArgs),
    /// What the daemon is compared with: a server that answers 202, or appends, syncs and answers
    #[command(hide = true)]
    Baseline {
        #[arg(long)]
        append: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Which ones; all without a name
    pub(crate) names: Vec<String>,
    /// So many turns of each, instead of what its file says
    #[arg(long)]
    pub(crate) turns: Option<usize>,
    /// Another value for a parameter of the scenarios
    #[arg(long, value_name = "[SCENARIO.]KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
    /// The binary to measure
    #[arg(long, value_name = "PATH")]
    pub(crate) daemon: Option<PathBuf>,
    /// The scenarios' files
    #[arg(long, value_name = "DIR")]
    pub(crate) scenarios: Option<PathBuf>,
    /// Where stores are made; it should be on the disk that is to be measured
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "target/loadtest")]
    pub(crate) out: PathBuf,
    /// Exit with 1 if something was not as expected
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The daemon's data address
    #[arg(long, default_value = "http://127.0.0.1:7070")]
    pub(crate) url: String,
    #[arg(long)]
    pub(crate) target: String,
    /// Sent as bearer token
    #[arg(long, env = "TOLLGATE_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Jobs a second
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// With --rate: requests at equal distances, instead of at random as the calls of many people are
    #[arg(long, requires = "rate")]
    pub(crate) even: bool,
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) connections: usize,
    /// So many jobs in a request, by the batch API
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000)
          .map(usize::from))]
    pub(crate) batch: Option<usize>,
    /// How long
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = span)]
    pub(crate) time: Duration,
    /// So many jobs, however long that takes
    #[arg(long, value_name = "N", conflicts_with_all = ["rate", "time"])]
    pub(crate) jobs: Option<u64>,
    /// Parts of HIGH, NORMAL and BATCH
    #[arg(long, value_name = "H,N,B", value_parser = parts, default_value = "0,1,0")]
    pub(crate) priorities: [u32; 3],
    /// Of a job's body, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub(crate) size: usize,
    /// So many groups; 0: none
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) groups: u32,
    /// Before a job may be sent
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub(crate) delay: Duration,
    /// A caller hangs up that has no answer so long after it asked, and with --rate who finds none of
    /// the connections free for so long does not ask at all; unless given, all wait for ever
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) patience: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct FragileArgs {
    /// The address it serves
    #[arg(long, default_value = "127.0.0.1:9010")]
    pub(crate) listen: SocketAddr,
    /// How many of all requests go wrong, from 0 to 1: 500s, 503s with Retry-After, connections
    /// that break before or in the answer, and requests that are never answered
    #[arg(long, value_name = "SHARE", default_value = "0")]
    pub(crate) failing: Share,
    /// The most arrivals in any sliding second; what is over it gets 429 and counts too
    #[arg(long, value_name = "N/s")]
    pub(crate) limit: Option<PerSecond>,
    /// Another limit, so long after the start; may be given several times
    #[arg(long, value_name = "TIME:N/s")]
    pub(crate) then: Vec<Then>,
    /// From a request's end to its answer: "20ms", or "20ms..400ms" for anything between
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = latency)]
    pub(crate) latency: Latency,
    /// What goes wrong is drawn from it: the same seed, the same mix
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How often the counts are printed
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span)]
    pub(crate) every: Duration,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "not a number above 0".to_owned())
}

/// A duration that is not zero.
fn span(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| match time {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        time => Ok(time),
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "not a duration; write it like 250ms, 30s or 5m".to_owned())
}

fn latency(text: &str) -> Result<Latency, String> {
    let Some((least, most)) = text.split_once("..") else {
        return duration(text).map(Latency::Fixed);
    };
    let (least, most) = (duration(least)?, duration(most)?);
    if least > most {
        return Err("the second time must not be shorter than the first".to_owned());
    }
    Ok(Latency::Uniform { least, most })
}

/// `1,1,8`: parts of HIGH, NORMAL and BATCH.
fn parts(text: &str) -> Result<[u32; 3], String> {
    let numbers: Result<Vec<u32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    let parts: Option<[u32; 3]> = numbers.ok().and_then(|numbers| numbers.try_into().ok());
    match parts {
        Some(parts) if parts.iter().any(|part| *part > 0) => Ok(parts),
        Some(_) => Err("all parts are 0".into()),
        None => Err("three numbers, such as 1,1,8".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_latency_is_a_time_or_a_range() {
        let (least, most) = (Duration::from_millis(20), Duration::from_millis(400));
        assert_eq!(latency("20ms"), Ok(Latency::Fixed(least)));
        assert_eq!(latency("20ms..400ms"), Ok(Latency::Uniform { least, most }));
        for wrong in ["", "20", "400ms..20ms", "20ms..", "..1s"] {
            assert!(latency(wrong).is_err(), "{wrong}");
        }
        assert!(span("0s").is_err());
    }

    #[test]
    fn a_mix_of_priorities_is_one_word() {
        let words = ["loadtest", "load", "--target", "erp", "--priorities", "1,1,8"];
        let Command::Load(load) = Cli::try_parse_from(words).unwrap().command else {
            unreachable!("it says load");
        };
        assert_eq!(load.priorities, [1, 1, 8]);
        for wrong in ["", "1,1", "0,0,0", "1,1,8,1", "1,x,8"] {
            assert!(parts(wrong).is_err(), "{wrong}");
        }
    }
}
