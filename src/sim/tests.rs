//! Many worlds.

use super::planted::Planted;
use super::seeds::{self, Verdict};

/// In all; `TOLLGATE_SIM_SEEDS` runs more or fewer, from `TOLLGATE_SIM_FIRST` on.
const SEEDS: u64 = 300;

/// Half of the seeds, so that two cores share them.
fn half(parity: usize) {
    let first = seeds::from_environment("TOLLGATE_SIM_FIRST").unwrap_or(0);
    let count = seeds::from_environment("TOLLGATE_SIM_SEEDS").unwrap_or(SEEDS);
    let last = usize::try_from(count).expect("so many seeds fit into memory");
    seeds::all_are_fine((parity..last).step_by(2).map(|seed| first + seed as u64));
}

#[test]
fn seeds_one_half() {
    half(0);
}

#[test]
fn seeds_other_half() {
    half(1);
}

/// Each planted fault is found by one of so many first seeds.
const WITHIN: u64 = 300;

/// A checker that finds nothing would find nothing here either.
#[test]
fn planted_faults_are_found() {
    for (planted, words) in Planted::ALL {
        let mut others = Vec::new();
        let found = (0..WITHIN).find(|seed| match seeds::run(*seed, Some(planted)) {
            Verdict::Fine(_) => false,
            Verdict::Broken(violation) => {
                let found = violation.contains(words);
                others.extend((!found).then_some(violation));
                found
            }
        });
        println!("{planted:?}: seed {found:?}, and {} others", others.len());
        assert!(
            found.is_some(),
            "{planted:?} is not found within {WITHIN} seeds for what it is: {others:#?}"
        );
    }
}
