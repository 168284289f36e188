//! What the loop shows without being asked: that it goes round, that its store answers, and how
//! much each target was sent of late. Written with a few atomic stores a turn, and read by who
//! wants to know; nothing here runs by itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::broker::job::{JobState, TargetId};
use crate::broker::payload::Outcome;
use crate::broker::time::Mono;

/// Shared by the loop, which writes, and the admin address, which reads.
#[derive(Debug, Default)]
pub struct Pulse {
    /// From when the loop has something to do until it has done it.
    pub(crate) turn: Beat,
    /// From when the store is given a turn until it is on disk.
    pub(crate) commit: Beat,
    totals: RwLock<HashMap<TargetId, Arc<Totals>>>,
}

/// Something that is either at work, since some time, or idle.
#[derive(Debug, Default)]
pub struct Beat {
    /// Nanoseconds of the loop's clock, plus one; 0 while idle.
    since: AtomicU64,
    count: AtomicU64,
}

impl Beat {
    pub(crate) fn begin(&self, now: Mono) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.since.store(now.as_nanos().saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// How long it has been at one piece of work, and the number of that; `None` while idle.
    pub fn at_work(&self, now: Mono) -> Option<(Duration, u64)> {
        let since = self.since.load(Ordering::Relaxed).checked_sub(1)?;
        let count = self.count.load(Ordering::Relaxed);
        Some((now.since(Mono::from_nanos(since)), count))
    }
}

/// How many seconds [`Totals`] looks back.
pub const LOOKS_BACK: usize = 120;

/// What became of a target's jobs since the daemon started.
#[derive(Debug)]
pub struct Totals {
    enqueued: AtomicU64,
    sent: AtomicU64,
    outcomes: [AtomicU64; 4],
    succeeded: AtomicU64,
    /// Ended without success, and not because somebody cancelled them.
    died: AtomicU64,
    /// Requests in each of the last seconds: the second in the upper half, the count in the lower.
    ring: [AtomicU64; LOOKS_BACK],
}

impl Default for Totals {
    fn default() -> Totals {
        Totals {
            enqueued: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            outcomes: Default::default(),
            succeeded: AtomicU64::new(0),
            died: AtomicU64::new(0),
            ring: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub enqueued: u64,
    pub sent: u64,
    pub done: u64,
    pub refused: u64,
    pub rejected: u64,
    pub unknown: u64,
    pub succeeded: u64,
    pub died: u64,
}

impl Totals {
    pub(crate) fn enqueued(&self) {
        self.enqueued.fetch_add(1, Ordering::Relaxed);
    }

    /// Only the loop calls it: there is one writer.
    pub(crate) fn sent(&self, now: Mono) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let (second, slot) = self.slot(now);
        let held = slot.load(Ordering::Relaxed);
        let count = if held >> 32 == second { held & u64::from(u32::MAX) } else { 0 };
        slot.store(second << 32 | (count + 1).min(u64::from(u32::MAX)), Ordering::Relaxed);
    }

    pub(crate) fn attempted(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, state: JobState) {
        match state {
            JobState::Succeeded => self.succeeded.fetch_add(1, Ordering::Relaxed),
            JobState::Failed | JobState::Expired => self.died.fetch_add(1, Ordering::Relaxed),
            _ => return,
        };
    }

    fn slot(&self, now: Mono) -> (u64, &AtomicU64) {
        self.slot_of(now.as_nanos() / 1_000_000_000)
    }

    fn slot_of(&self, second: u64) -> (u64, &AtomicU64) {
        let index = usize::try_from(second % LOOKS_BACK as u64).unwrap_or_default();
        (second & u64::from(u32::MAX), &self.ring[index])
    }

    pub fn sum(&self) -> Sum {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let outcome = |outcome: Outcome| read(&self.outcomes[outcome as usize]);
        Sum {
            enqueued: read(&self.enqueued),
            sent: read(&self.sent),
            done: outcome(Outcome::Done),
            refused: outcome(Outcome::Refused),
            rejected: outcome(Outcome::Rejected),
            unknown: outcome(Outcome::Unknown),
            succeeded: read(&self.succeeded),
            died: read(&self.died),
        }
    }

    /// Requests sent in each of the last full seconds, oldest first.
    pub fn recent(&self, now: Mono) -> Vec<u64> {
        let now = now.as_nanos() / 1_000_000_000;
        let seconds = now.saturating_sub(LOOKS_BACK as u64 - 1)..now;
        let count = |second| {
            let (second, slot) = self.slot_of(second);
            let held = slot.load(Ordering::Relaxed);
            if held >> 32 == second { held & u64::from(u32::MAX) } else { 0 }
        };
        seconds.map(count).collect()
    }
}

impl Pulse {
    /// Those of a target; made where there were none.
    pub(crate) fn totals(&self, id: TargetId) -> Arc<Totals> {
        if let Some(totals) = self.look(id) {
            return totals;
        }
        let mut all = self.totals.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(id).or_default().clone()
    }

    /// `None` where nothing happened yet.
    pub fn look(&self, id: TargetId) -> Option<Arc<Totals>> {
        self.totals.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_beat_says_since_when_it_is_at_which_piece_of_work() {
        let beat = Beat::default();
        assert_eq!(beat.at_work(at(9)), None);
        beat.begin(at(0));
        assert_eq!(beat.at_work(at(7)), Some((Duration::from_millis(7), 1)));
        beat.end();
        assert_eq!(beat.at_work(at(9)), None);
        beat.begin(at(10));
        assert_eq!(beat.at_work(at(10)), Some((Duration::ZERO, 2)));
    }

    #[test]
    fn the_last_seconds_are_counted_and_older_ones_forgotten() {
        let totals = Totals::default();
        for millis in [0, 10, 999, 1_000, 2_500, 2_600] {
            totals.sent(at(millis));
        }
        assert_eq!(totals.recent(at(3_200)), [3, 1, 2]);
        // The second that is under way is not full yet.
        assert_eq!(totals.recent(at(2_900)), [3, 1]);
        assert_eq!(totals.recent(at(0)), [0_u64; 0]);
        // A ring later the slots mean other seconds.
        let later = 1_000 * LOOKS_BACK as u64;
        totals.sent(at(later + 1_100));
        let recent = totals.recent(at(later + 2_000));
        assert_eq!(recent.len(), LOOKS_BACK - 1);
        assert_eq!((recent[LOOKS_BACK - 2], recent.iter().sum::<u64>()), (1, 1));
        assert_eq!(totals.sum().sent, 7);
    }

    #[test]
    fn each_target_has_its_own_totals() {
        let pulse = Pulse::default();
        assert!(pulse.look(TargetId(1)).is_none());
        pulse.totals(TargetId(1)).attempted(Outcome::Unknown);
        pulse.totals(TargetId(1)).ended(JobState::Expired);
        pulse.totals(TargetId(1)).ended(JobState::Cancelled);
        pulse.totals(TargetId(2)).enqueued();
        let one = pulse.look(TargetId(1)).unwrap().sum();
        assert_eq!(one, Sum { unknown: 1, died: 1, ..Sum::default() });
        assert_eq!(pulse.look(TargetId(2)).unwrap().sum().enqueued, 1);
    }
}
