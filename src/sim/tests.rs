//! Many worlds.

use super::planted::Planted;
use super::seeds::{self, Verdict};

const SEEDS: u64 = 100;

#[test]
fn seeds() {
    let first = seeds::from_environment("TOLLGATE_SIM_FIRST").unwrap_or(0);
    let count = seeds::from_environment("TOLLGATE_SIM_SEEDS").unwrap_or(SEEDS);
    seeds::all_are_fine(first..first + count);
}

/// A checker that finds nothing would find nothing here either.
#[test]
fn planted_faults_are_found() {
    for (planted, words) in Planted::ALL {
        let mut others = Vec::new();
        let found = (0..100).find(|seed| match seeds::run(*seed, Some(planted)) {
            Verdict::Fine { .. } => false,
            Verdict::Broken(violation) => {
                let found = violation.contains(words);
                others.extend((!found).then_some(violation));
                found
            }
        });
        println!("{planted:?}: seed {found:?}, and {} others", others.len());
        assert!(found.is_some(), "{planted:?} is not found for what it is: {others:#?}");
    }
}
