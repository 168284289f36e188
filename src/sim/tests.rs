//! Many worlds.

use super::seeds;

const SEEDS: u64 = 100;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[test]
fn seeds() {
    let first = from_environment("TOLLGATE_SIM_FIRST").unwrap_or(0);
    let count = from_environment("TOLLGATE_SIM_SEEDS").unwrap_or(SEEDS);
    seeds::all_are_fine(first..first + count);
}
