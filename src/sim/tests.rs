//! Many worlds.

use super::seeds;

const SEEDS: u64 = 100;

#[test]
fn seeds() {
    let first = seeds::from_environment("TOLLGATE_SIM_FIRST").unwrap_or(0);
    let count = seeds::from_environment("TOLLGATE_SIM_SEEDS").unwrap_or(SEEDS);
    seeds::all_are_fine(first..first + count);
}

#[test]
#[ignore]
fn survey_tmp() {
    let mut v = vec![];
    for seed in 0..100 {
        let t = std::time::Instant::now();
        let seeds::Verdict::Fine { steps, sends } = seeds::run(seed, None) else { continue };
        v.push((t.elapsed().as_micros(), seed, steps, sends));
    }
    v.sort();
    for x in v.iter().rev().take(15) {
        println!("{x:?}");
    }
    println!(
        "total {} steps {} sends {}",
        v.iter().map(|x| x.0).sum::<u128>(),
        v.iter().map(|x| x.2).sum::<u64>(),
        v.iter().map(|x| x.3).sum::<u64>()
    );
}
