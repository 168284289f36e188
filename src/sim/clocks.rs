//! True time, which only the world knows, and the clocks by which the broker sees it.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use crate::broker::time::{Mono, Now, Wall};

/// True time, in nanoseconds since the world began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    pub(super) const START: Moment = Moment(0);
    pub(super) const NEVER: Moment = Moment(u64::MAX);

    /// Zero if this is not after `earlier`.
    pub(super) fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(super) fn before(self, by: Duration) -> Moment {
        Moment(self.0.saturating_sub(nanos(by)))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, by: Duration) -> Moment {
        Moment(self.0.saturating_add(nanos(by)))
    }
}

impl fmt::Display for Moment {
    /// Seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}

/// What the wall clock says when the world begins, in milliseconds.
pub(super) const WALL: u64 = 1_750_000_000_000;

/// The two clocks of one life of the broker.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    /// True time and monotonic time that belong together.
    anchor: (Moment, Mono),
    /// What the wall clock says when the world begins, in milliseconds.
    wall: u64,
    /// A lie: the monotonic clock gains so many parts of a thousand.
    gain: u64,
}

impl Clocks {
    pub(super) fn new() -> Clocks {
        Clocks { anchor: (Moment::START, Mono::ZERO), wall: WALL, gain: 0 }
    }

    /// A new life: monotonic time begins anew, anywhere.
    pub(super) fn restart(&mut self, at: Moment, origin: Mono) {
        self.anchor = (at, origin);
    }

    /// Sets the wall clock.
    pub(super) fn jump(&mut self, by_millis: i64) {
        self.wall = self.wall.saturating_add_signed(by_millis);
    }

    /// From here on the monotonic clock runs too fast.
    pub(super) fn gain(&mut self, parts_of_a_thousand: u64) {
        self.gain = parts_of_a_thousand;
    }

    pub(super) fn now(&self, at: Moment) -> Now {
        let passed = at.since(self.anchor.0).as_nanos() as u64;
        let mono = self.anchor.1 + Duration::from_nanos(passed + passed / 1_000 * self.gain);
        Now { mono, wall: Wall::from_millis(self.wall + at.0 / 1_000_000) }
    }

    /// When the monotonic clock will say so, at the earliest.
    pub(super) fn moment(&self, mono: Mono) -> Moment {
        let passed = mono.since(self.anchor.1).as_nanos() as u64;
        let passed = u128::from(passed) * 1_000 / u128::from(1_000 + self.gain);
        // Rounded so that the clock does say so then.
        let rounding = 100 * u64::from(self.gain > 0);
        self.anchor.0
            + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX - rounding) + rounding)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
