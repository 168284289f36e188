//! Runs worlds by their seeds, and tells how to see a failure again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::census::Census;
use super::planted::Planted;
use super::trace::Trace;
use super::world::World;

/// What came of one world.
pub(super) enum Verdict {
    Fine(Census),
    Broken(String),
}

pub(super) fn run(seed: u64, planted: Option<Planted>) -> Verdict {
    attempt(&mut World::new(seed, planted, Trace::default()))
}

/// A panic of the core or of the store is a broken promise too.
fn attempt(world: &mut World) -> Verdict {
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(Ok(())) => Verdict::Fine(std::mem::take(&mut world.census)),
        Ok(Err(violation)) => Verdict::Broken(violation.to_string()),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or(panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
            Verdict::Broken(format!("panic: {}", words.unwrap_or_default()))
        }
    }
}

/// Failures told by one line each; the first is told whole.
const TOLD: usize = 20;

/// # Panics
/// With the last steps of the first world that fails, or with what no world has tried.
pub(super) fn all_are_fine(seeds: impl ExactSizeIterator<Item = u64>) {
    let mut census = Census::default();
    let many = seeds.len() >= 100;
    let broken = seeds.filter_map(|seed| match run(seed, None) {
        Verdict::Fine(seen) => {
            census.add(&seen);
            None
        }
        Verdict::Broken(violation) => Some((seed, violation)),
    });
    let broken: Vec<(u64, String)> = broken.take(TOLD).collect();
    if let Some((seed, violation)) = broken.first() {
        let others =
            broken[1..].iter().map(|(seed, violation)| format!("seed {seed}: {violation}"));
        let others: Vec<String> = others.collect();
        panic!("{}{}", story(*seed, violation), others.join("\n"));
    }
    let missing = census.missing();
    assert!(!many || missing.is_empty(), "no world has seen {missing:?}");
}

/// # Panics
/// If it is there and no number.
pub(super) fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// The same world once more, with its last steps.
fn story(seed: u64, violation: &str) -> String {
    let kept = from_environment("TOLLGATE_SIM_TRACE").unwrap_or(80);
    let kept = usize::try_from(kept).unwrap_or(usize::MAX);
    let mut world = World::new(seed, None, Trace::new(kept));
    let _ = attempt(&mut world);
    let lines: Vec<&str> = world.trace.lines().collect();
    format!(
        "seed {seed}, after {} steps at {}:\n{}\n\n{violation}\n\n{:?}\n\n\
         TOLLGATE_SIM_FIRST={seed} TOLLGATE_SIM_SEEDS=1 cargo test --lib sim::tests::seeds_ -- --nocapture\n",
        world.steps,
        world.at,
        lines.join("\n"),
        world.shape,
    )
}
