//! Chance that a seed can repeat: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of the `n`th thing under one seed: what it draws does not depend on how
    /// many others were drawn before, or in which order.
    pub fn nth(seed: u64, n: u64) -> Rng {
        let mut rng = Rng(seed ^ n.wrapping_mul(0xD1B5_4A32_D192_ED03));
        Rng(rng.next())
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In `0..1`.
    pub fn unit(&mut self) -> f64 {
        // 53 bits are what a double holds exactly.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// In `0..n`; 0 where `n` is 0. The bias is under n / 2^64.
    pub fn below(&mut self, n: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(n)) >> 64).unwrap_or(0)
    }

    pub fn within(&mut self, span: Duration) -> Duration {
        span.mul_f64(self.unit())
    }

    /// Exponentially distributed with this mean.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        // `1 - unit` is never zero, so its logarithm is finite.
        mean.mul_f64(-(1.0 - self.unit()).ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_splitmix64() {
        // The reference implementation's first values for the seed 1234567.
        let mut rng = Rng(1_234_567);
        let drawn = [rng.next(), rng.next(), rng.next()];
        assert_eq!(
            drawn,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn draws_stay_in_their_range_and_keep_their_mean() {
        let mut rng = Rng(7);
        let mean = Duration::from_millis(100);
        let mut sum = Duration::ZERO;
        for _ in 0..10_000 {
            assert!(rng.below(3) < 3);
            assert!(rng.within(mean) < mean);
            sum += rng.exponential(mean);
        }
        let drawn = sum / 10_000;
        assert!(drawn.abs_diff(mean) < Duration::from_millis(5), "{drawn:?}");
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn neighbours_under_one_seed_differ() {
        let first: Vec<u64> = (0..100).map(|n| Rng::nth(1, n).next()).collect();
        let again: Vec<u64> = (0..100).map(|n| Rng::nth(1, n).next()).collect();
        assert_eq!(first, again);
        let distinct: std::collections::BTreeSet<u64> = first.into_iter().collect();
        assert_eq!(distinct.len(), 100);
    }
}
