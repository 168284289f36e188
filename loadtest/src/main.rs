//! Measures Tollgate from outside: load, a fragile fake API, scenarios, reports.
//!
//! ```text
//!   run ──▶ scenario (TOML) ──▶ scenarios/*  one turn each: daemon, load, sink ──▶ report/
//! ```
//! The generator ([`load`]) and the [`sink`] share the machine with the daemon, so both are as
//! light as they can be; they run in this process, and what is measured ([`daemon`],
//! [`baseline`]) in others.

mod args;
mod arrivals;
mod baseline;
mod clock;
mod daemon;
mod flood;
mod fragile;
mod http;
mod jobs;
mod load;
mod machine;
mod process;
mod report;
mod run;
mod scenario;
mod scenarios;
mod sink;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use report::Report;
use report::compare::Comparison;
use run::Went;
use scenario::Scenario;

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    match run(&command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Command::FragileApi(args) => runtime.block_on(fragile::run(args))?,
        Command::Load(args) => runtime.block_on(flood::run(args))?,
        Command::Baseline { append } => runtime.block_on(baseline::serve(append.clone()))?,
        Command::Compare { a, b } => {
            let (a, b) = (Report::read(a)?, Report::read(b)?);
            print!("{}", Comparison { a: &a, b: &b });
        }
        Command::List => {
            for scenario in Scenario::read(&run::shipped(), &[], &[])? {
                println!("{:<14} {}", scenario.name, scenario.title);
            }
        }
        Command::Run(args) => {
            let went = runtime.block_on(run::run(args))?;
            if went == Went::Broke || (args.strict && went == Went::Missed) {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
