//! Chance from a seed: the same seed, the same world.

use std::time::Duration;

/// splitmix64.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Rng {
        // Neighbouring seeds must not give neighbouring worlds.
        Rng(Rng(seed).dice())
    }

    pub(super) fn dice(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `n` - 1.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.dice()) * u128::from(n)) >> 64) as u64
    }

    /// Both ends are possible.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Between two durations, with all orders of magnitude alike.
    pub(super) fn span(&mut self, low: Duration, high: Duration) -> Duration {
        let (low, high) = (low.as_nanos() as u64, high.as_nanos() as u64);
        let bits = |nanos: u64| u64::from(64 - nanos.leading_zeros());
        let magnitude = self.between(bits(low), bits(high));
        let top = if magnitude >= 64 { u64::MAX } else { (1 << magnitude) - 1 };
        Duration::from_nanos(self.between(top / 2, top).clamp(low, high))
    }

    /// Until the next of something that happens every `mean` or so.
    pub(super) fn gap(&mut self, mean: Duration) -> Duration {
        Duration::from_nanos(self.below(2 * mean.as_nanos() as u64 + 1))
    }
}
