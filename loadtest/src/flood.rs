//! `loadtest load`: the generator alone, against a daemon that runs already.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::Context as _;

use crate::args::LoadArgs;
use crate::clock::Clock;
use crate::jobs::{Mix, Requests};
use crate::load::{Load, Pace, Schedule, Spacing};
use crate::report::table::Figure;

pub(crate) async fn run(args: &LoadArgs) -> anyhow::Result<()> {
    let address = address(&args.url)?;
    let mix = Mix {
        priorities: args.priorities,
        sizes: vec![args.size],
        groups: args.groups,
        delays_ms: vec![u64::try_from(args.delay.as_millis())?],
        targets: 1,
    };
    let requests =
        Requests::new(mix, args.batch).to(authority(&args.url), &args.target, args.token.clone());
    let pace = match (args.rate, args.jobs) {
        (Some(rate), _) => {
            // Jobs a second; a request brings a batch.
            let requests_per_second = rate / requests.jobs_each() as f64;
            let spacing = if args.even { Spacing::Even } else { Spacing::Poisson };
            Pace::Open(Schedule::new(requests_per_second, args.time, spacing, 1))
        }
        (None, Some(jobs)) => Pace::Jobs(jobs),
        (None, None) => Pace::Time { warm_up: std::time::Duration::ZERO, measured: args.time },
    };
    let load = Load::new(requests, args.connections, pace).with_patience(args.patience);
    let tally = load.run(Clock::start(), address).await?;
    println!(
        "{} jobs taken of {} in {:.2} s: {} a second",
        tally.taken,
        tally.offered,
        tally.span.as_secs_f64(),
        Figure(tally.rate())
    );
    println!("{}", tally.answers());
    if !tally.latencies.is_empty() {
        let ms = |part| Figure(tally.latencies.ms(part));
        println!(
            "latency in ms: p50 {}, p90 {}, p99 {}, p99.9 {}, most {}; the generator's own delay \
             p99 {}",
            ms(0.5),
            ms(0.9),
            ms(0.99),
            ms(0.999),
            Figure(tally.latencies.longest_ms()),
            Figure(tally.lags.ms(0.99))
        );
    }
    Ok(())
}

fn authority(url: &str) -> &str {
    url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/')
}

fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let mut found = authority(url).to_socket_addrs().with_context(|| {
        format!("{url} is no address of the form http://HOST:PORT (TLS is not spoken here)")
    })?;
    found.next().with_context(|| format!("{url} has no address"))
}
