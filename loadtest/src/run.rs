//! `loadtest run`: scenarios, one after the other, and their report.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::args::RunArgs;
use crate::clock::Clock;
use crate::machine::Machine;
use crate::report::{Outcome, Report, Verdict, plot};
use crate::scenario::Scenario;
use crate::scenarios::Place;

/// Where the scenarios are that come with it.
pub(crate) fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// How a run went, the better first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Went {
    /// All that was expected came true.
    AsExpected,
    /// Some figure was not as expected.
    Missed,
    /// Some scenario did not come to its end.
    Broke,
}

pub(crate) async fn run(args: &RunArgs) -> anyhow::Result<Went> {
    let dir = args.scenarios.clone().unwrap_or_else(shipped);
    let scenarios = Scenario::read(&dir, &args.names, &args.set)?;
    let program = match &args.daemon {
        Some(program) => program.clone(),
        None => build()?,
    };
    // A process that is started in another directory would not find it.
    let program = program
        .canonicalize()
        .with_context(|| format!("there is no daemon at {}", program.display()))?;
    let out = args.out.clone();
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let scratch = Scratch::make(args.dir.as_deref())?;
    let place = Place { program, dir: scratch.0.clone(), clock: Clock::start() };
    let mut report = Report {
        at: jiff::Timestamp::now().to_string(),
        machine: Machine::look(&place.dir)?,
        daemon: version(&place.program)?,
        binary_bytes: std::fs::metadata(&place.program)?.len(),
        scenarios: Vec::new(),
    };
    for scenario in &scenarios {
        let outcome = one(scenario, args.turns, &place).await?;
        println!("{outcome}");
        for drawn in &outcome.plots {
            let file = out.join(format!("{}-{}.svg", outcome.name, drawn.name));
            plot::write(drawn, &format!("{}: {}", outcome.name, drawn.name), &file)?;
        }
        report.scenarios.push(outcome);
        // Each time, so that a run that is ended early leaves what it had found.
        report.write(&out.join("report.json"))?;
        std::fs::write(out.join("report.md"), report.to_string())?;
    }
    println!("the report: {}", out.join("report.json").display());
    let went = |outcome: &Outcome| {
        if outcome.error.is_some() {
            Went::Broke
        } else if outcome.measures.iter().any(|measure| measure.verdict() == Verdict::Missed) {
            Went::Missed
        } else {
            Went::AsExpected
        }
    };
    Ok(report.scenarios.iter().map(went).max().unwrap_or(Went::AsExpected))
}

async fn one(scenario: &Scenario, turns: Option<usize>, place: &Place) -> anyhow::Result<Outcome> {
    let count = turns.unwrap_or(scenario.turns).max(1);
    let mut turns = Vec::with_capacity(count);
    let mut error = None;
    for nth in 0..count {
        eprintln!("{}: turn {} of {count}", scenario.name, nth + 1);
        match scenario.run.turn(place, nth).await {
            Ok(turn) => turns.push(turn),
            Err(failure) => {
                error = Some(format!("turn {}: {failure:#}", nth + 1));
                break;
            }
        }
    }
    let parameters = serde_json::to_value(&scenario.run)?;
    let outcome =
        Outcome::of(&scenario.name, &scenario.title, parameters, &turns, &scenario.expect);
    Ok(Outcome { error, ..outcome })
}

/// The release binary, as cargo makes it now.
fn build() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--package", "tollgate", "--bin", "tollgate"])
        .current_dir(&root)
        .status()
        .context("cargo cannot be started; name a binary with --daemon")?;
    ensure!(status.success(), "the daemon could not be built");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    Ok(target.join("release/tollgate"))
}

fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A directory that goes away.
struct Scratch(PathBuf);

impl Scratch {
    fn make(under: Option<&Path>) -> anyhow::Result<Scratch> {
        let under = under.map_or_else(std::env::temp_dir, Path::to_owned);
        let dir = under.join(format!("tollgate-loadtest-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Scratch(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
