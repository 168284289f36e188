//! One clock for all that happens in a run, so that times of the generator and of the sink can be
//! taken from each other.

use std::time::{Duration, Instant};

/// Nanoseconds from when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

/// A moment on a [`Clock`], in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) u64);

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock(Instant::now())
    }

    pub(crate) fn now(self) -> Moment {
        // Five centuries fit.
        Moment(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn instant(self, at: Moment) -> Instant {
        self.0 + Duration::from_nanos(at.0)
    }
}

impl Moment {
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn plus(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Lets time pass: load by the clock is what this program is for.
#[expect(clippy::disallowed_methods, reason = "a measurement lasts as long as it was asked to")]
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
