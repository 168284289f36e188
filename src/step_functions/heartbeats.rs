//! Tells Step Functions, evenly spread, that each job with a token is still to come.
//!
//! A cursor goes round the jobs that have not ended, as fast as takes it round once a `heartbeat`.
//! So between two heartbeats of a task there is one `heartbeat`, and at most two while the backlog
//! grows. A heartbeat moves only a task's HeartbeatSeconds, never its TimeoutSeconds.
//!
//! `TaskTimedOut` and `TaskDoesNotExist` cancel the job. `InvalidToken` does not: an emulator says
//! so for any task without HeartbeatSeconds. A token that is none comes out when its job has ended.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::client::{Gone, Outcome, Sfn};
use super::health::{Health, Part};
use super::token_hash;
use crate::aws::{Backoff, dice};
use crate::broker::io::Input;
use crate::broker::job::JobId;
use crate::broker::payload::TaskToken;
use crate::broker::policy::Rate;
use crate::handle::Handle;
use crate::store::{Reader, StoreError};

const CONCURRENT: usize = 32;
/// Of tokens in memory.
const PAGE: usize = 1_024;
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(500), max: Duration::from_secs(15) };

pub(super) struct Heartbeats {
    pub(super) sfn: Sfn,
    pub(super) handle: Handle,
    pub(super) health: Health,
    pub(super) every: Duration,
    /// Never faster.
    pub(super) rate: Rate,
}

/// How many are due, as time goes by.
struct Due {
    every: Duration,
    most_per_second: f64,
    /// By the pace of a round.
    owed: f64,
    /// By the most that may be; what is not used within a slice is lost.
    allowed: f64,
}

impl Due {
    fn new(every: Duration, most: Rate) -> Due {
        Due { every, most_per_second: most.per_second(), owed: 0.0, allowed: 0.0 }
    }

    /// `waiting` tasks there are, and so long it is since this was last asked.
    fn after(&mut self, elapsed: Duration, waiting: u64) -> usize {
        let (round, elapsed) = (self.every.as_secs_f64(), elapsed.as_secs_f64());
        // After a standstill once round is enough, and that no faster than at any other time.
        self.owed = (self.owed + waiting as f64 / round * elapsed).min(waiting as f64);
        let slice = (self.most_per_second * slice(self.every).as_secs_f64()).max(1.0);
        self.allowed = (self.allowed + self.most_per_second * elapsed).min(slice);
        let whole = self.owed.min(self.allowed).min(PAGE as f64).floor();
        self.owed -= whole;
        self.allowed -= whole;
        whole as usize
    }

    fn falls_behind(&self, waiting: u64) -> bool {
        waiting as f64 / self.every.as_secs_f64() > self.most_per_second
    }
}

/// A slice of a round: the pace is set anew in each.
fn slice(every: Duration) -> Duration {
    (every / 60).clamp(Duration::from_millis(50), Duration::from_secs(1))
}

#[derive(Default)]
struct Down {
    failures: u32,
    until: Option<Instant>,
}

impl Heartbeats {
    pub(super) async fn run(self, mut shutdown: watch::Receiver<bool>) {
        tokio::select! {
            _ = shutdown.wait_for(|over| *over) => {}
            () = self.go_round() => {}
        }
    }

    async fn go_round(self) {
        let slice = slice(self.every);
        let mut ticks = interval(slice);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = Due::new(self.every, self.rate);
        let mut cursor = None;
        let mut last = Instant::now();
        let mut down = Down::default();
        let mut behind = false;
        let mut calls = JoinSet::new();
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let Some(waiting) = self.read(Reader::tokens_len).await else { continue };
            let count = due.after(now - last, waiting);
            last = now;
            if due.falls_behind(waiting) != behind {
                behind = !behind;
                if behind {
                    tracing::warn!(
                        waiting,
                        "heartbeats need more calls than callback_rate allows, so each task gets \
                         one less often than every {:?}; raise heartbeat or callback_rate",
                        self.every
                    );
                }
            }
            if waiting == 0 && down.failures > 0 {
                // Nobody is left to whom it matters, or who could tell that it is over.
                down = Down::default();
                self.health.fine(Part::Heartbeats);
            }
            if count == 0 {
                continue;
            }
            let from = cursor;
            let Some(page) = self.read(move |reader| page(reader, from, count)).await else {
                continue;
            };
            cursor = page.last().map(|(id, _)| *id);
            let gap = slice / u32::try_from(page.len().max(1)).unwrap_or(u32::MAX);
            let mut at = now;
            for (id, token) in page {
                sleep_until(at).await;
                at += gap;
                let most = if down.failures == 0 { CONCURRENT } else { 1 };
                while calls.len() >= most {
                    self.hear(calls.join_next().await, &mut down);
                }
                while let Some(done) = calls.try_join_next() {
                    self.hear(Some(done), &mut down);
                }
                // While the service is down, each is a probe.
                if let Some(until) = down.until {
                    sleep_until(until).await;
                }
                let sfn = self.sfn.clone();
                calls.spawn(async move {
                    let outcome = sfn.heartbeat(&token).await;
                    (id, token_hash(&token), outcome)
                });
                if down.failures > 0 {
                    self.hear(calls.join_next().await, &mut down);
                }
            }
            while let Some(done) = calls.try_join_next() {
                self.hear(Some(done), &mut down);
            }
        }
    }

    fn hear(
        &self,
        done: Option<Result<(JobId, String, Outcome), tokio::task::JoinError>>,
        down: &mut Down,
    ) {
        let Some(Ok((job, token, outcome))) = done else { return };
        let (held, reason) = match outcome {
            Outcome::Accepted | Outcome::TooLarge => (false, None),
            Outcome::Gone(Gone::InvalidToken) => {
                tracing::debug!(%job, token, "a heartbeat was answered with InvalidToken");
                (false, None)
            }
            Outcome::Gone(gone) => {
                let reason = gone.reason().to_owned();
                self.handle.tell(Input::TaskGone { job, reason });
                (false, None)
            }
            Outcome::Hold { reason, .. } => (true, Some(reason)),
            Outcome::Later { reason } => (false, Some(reason)),
        };
        let Some(reason) = reason else {
            *down = Down::default();
            self.health.fine(Part::Heartbeats);
            return;
        };
        self.health.trouble(Part::Heartbeats, held, &reason);
        let now = Instant::now();
        // Calls that were under way together fail together: that is one failure.
        if down.until.is_none_or(|until| until <= now) {
            down.failures = down.failures.saturating_add(1);
            down.until = Some(now + BACKOFF.after(down.failures, dice()));
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Option<T> {
        let reader = self.handle.reader().clone();
        match tokio::task::spawn_blocking(move || read(&reader)).await {
            Ok(Ok(read)) => Some(read),
            Ok(Err(error)) => {
                tracing::error!(%error, "the jobs with task tokens cannot be read");
                None
            }
            Err(_) => None,
        }
    }
}

/// The next `count` jobs and their tokens, round the end and on from the beginning; none twice.
fn page(
    reader: &Reader,
    after: Option<JobId>,
    count: usize,
) -> Result<Vec<(JobId, TaskToken)>, StoreError> {
    let mut page = reader.tokens(after, count)?;
    if let Some(after) = after
        && page.len() < count
    {
        let first = reader.tokens(None, count - page.len())?;
        page.extend(first.into_iter().take_while(|(id, _)| *id <= after));
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn due(every: u64, most: u32) -> Due {
        let most = Rate::new(NonZeroU32::new(most).unwrap(), Duration::from_secs(1)).unwrap();
        Due::new(Duration::from_secs(every), most)
    }

    #[test]
    fn one_task_gets_one_a_round() {
        let mut due = due(60, 250);
        let sum: usize = (0..601).map(|_| due.after(Duration::from_secs(1), 1)).sum();
        assert_eq!(sum, 10);
        assert_eq!(due.after(Duration::from_secs(3_600), 0), 0);
    }

    #[test]
    fn a_standstill_is_made_up_for_with_one_round_at_most_and_never_in_a_burst() {
        let mut few = due(60, 250);
        assert_eq!(few.after(Duration::from_secs(3_600), 7), 7);
        assert_eq!(few.after(Duration::ZERO, 7), 0);
        let mut many = due(60, 250);
        assert_eq!(many.after(Duration::from_secs(3_600), 10_000), 250);
        let each: Vec<usize> = (0..200).map(|_| many.after(slice(many.every), 10_000)).collect();
        assert!(each.iter().all(|count| *count <= 250));
        assert_eq!(each[60], 250, "it catches up");
        assert!((166..=167).contains(&each[199]), "it has caught up: {}", each[199]);
        assert!(many.falls_behind(15_001) && !many.falls_behind(15_000));
    }

    #[test]
    fn the_slowest_pace_is_kept_too() {
        let mut due = due(1, 1);
        let step = slice(due.every);
        let sum: usize = (0..200).map(|_| due.after(step, 50)).sum();
        assert!((9..=10).contains(&sum), "{sum} in ten seconds");
    }
}
