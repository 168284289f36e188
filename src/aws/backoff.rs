//! How long to wait after a call that failed.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Backoff {
    /// After the nth failure in a row, from 1: between half of `min` · 2^(n-1), at most `max`, and
    /// all of it. `dice` is from 0 to 1.
    pub(crate) fn after(self, failures: u32, dice: f64) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let ceiling = self.min.saturating_mul(doubled).min(self.max);
        ceiling / 2 + (ceiling / 2).mul_f64(dice.clamp(0.0, 1.0))
    }
}

/// From 0 to 1.
pub(crate) fn dice() -> f64 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        // Without randomness, in step with others: slower, not wrong.
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_its_limit_and_is_never_nothing() {
        let secs = Duration::from_secs;
        let backoff = Backoff { min: secs(2), max: secs(60) };
        let ceilings: Vec<_> = (1..=7).map(|nth| backoff.after(nth, 1.0).as_secs()).collect();
        assert_eq!(ceilings, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.after(u32::MAX, 1.0), secs(60));
        assert_eq!(backoff.after(3, 0.0), secs(4));
        assert!((0.0..=1.0).contains(&dice()));
    }
}
