//! The two clocks. `Mono` paces and never jumps; `Wall` dates what must outlive the process.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds on a monotonic clock since some start that only the caller knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(u64);

impl Mono {
    pub const ZERO: Mono = Mono(0);

    pub fn from_nanos(nanos: u64) -> Mono {
        Mono(nanos)
    }

    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub fn before(self, by: Duration) -> Mono {
        Mono(self.0.saturating_sub(nanos(by)))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, by: Duration) -> Mono {
        Mono(self.0.saturating_add(nanos(by)))
    }
}

/// Milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Wall(u64);

impl Wall {
    pub const EPOCH: Wall = Wall(0);
    pub const NEVER: Wall = Wall(u64::MAX);

    pub fn from_millis(millis: u64) -> Wall {
        Wall(millis)
    }

    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Wall) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Wall {
    type Output = Wall;
    /// Rounds a part of a millisecond up, so that nothing is due early.
    fn add(self, by: Duration) -> Wall {
        let millis = u64::try_from(by.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Wall(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Wall {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => f.write_str("never"),
        }
    }
}

/// Microseconds that the store has lived: a clock that goes on where the last life left it. It may
/// stand still between two lives, and never runs ahead of true time on a machine that was not
/// restarted; so what is kept until some moment of it is never let go early.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Lived(u64);

impl Lived {
    pub fn from_micros(micros: u64) -> Lived {
        Lived(micros)
    }

    pub fn as_micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Lived) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Lived {
    type Output = Lived;
    /// Rounds a part of a microsecond up, so that nothing is over early.
    fn add(self, by: Duration) -> Lived {
        let micros = u64::try_from(by.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
        Lived(self.0.saturating_add(micros))
    }
}

/// One reading of both clocks; the only notion of "now" that the core has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub mono: Mono,
    pub wall: Wall,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `None`: at no time.
pub(super) fn earlier<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    [one, other].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_millisecond_is_never_due_early() {
        assert_eq!(Wall::from_millis(5) + Duration::from_micros(1), Wall::from_millis(6));
    }

    #[test]
    fn wall_reads_as_rfc_3339() {
        assert_eq!(Wall::from_millis(1_700_000_000_123).to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!(Wall::NEVER.to_string(), "never");
    }
}
