//! How long this process was kept from running: what it says about the time of an arrival cannot
//! be truer than that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const BEAT: Duration = Duration::from_millis(2);
/// A timer of tokio may be so late on a quiet machine.
const USUAL: Duration = Duration::from_millis(4);

/// Beats on the runtime that serves the fake API, until it is dropped.
pub(crate) struct Metronome {
    longest: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Metronome {
    pub(crate) fn start() -> Metronome {
        let longest = Arc::new(AtomicU64::new(0));
        let seen = longest.clone();
        let task = tokio::spawn(async move {
            let mut last = Instant::now();
            loop {
                tokio::time::sleep_until((last + BEAT).into()).await;
                let now = Instant::now();
                let silence = (now - last).saturating_sub(BEAT + USUAL);
                seen.fetch_max(silence.as_nanos() as u64, Relaxed);
                last = now;
            }
        });
        Metronome { longest, task }
    }

    /// Beyond what is usual.
    pub(crate) fn longest_silence(&self) -> Duration {
        Duration::from_nanos(self.longest.load(Relaxed))
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        self.task.abort();
    }
}
