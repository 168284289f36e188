//! The words of the command line, as clap reads them.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tollgate::config::parse_duration;
use tollgate::demo::fragile_api::Latency;

use crate::fragile::{PerSecond, Share};

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
  loadtest fragile-api --listen 127.0.0.1:9010 --failing 0.3 --limit 10/s --latency 20ms..400ms")]
    FragileApi(FragileArgs),
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
}
