//! The part of the outbox that is in work, and which of it goes next. Pure: it is told the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::aws::Backoff;
use crate::broker::job::JobId;

/// Jobs in work: all that memory holds of the outbox.
pub(crate) const SIZE: usize = 1_024;

/// How a window waits, and how much of it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pauses {
    /// Under way at once, while nothing stands in the way.
    pub(crate) concurrent: usize,
    /// The service is down.
    pub(crate) service: Backoff,
    /// The same, and somebody has to put something right: no hurry, but no long wait after it
    /// either.
    pub(crate) service_held: Backoff,
    /// One job failed of itself.
    pub(crate) job: Backoff,
    pub(crate) job_held: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Ready,
    Sending,
    Waiting(Instant),
    /// Done, but still in the outbox until that is committed.
    Settling,
}

/// What came of a job's turn. `after`: the service asked to be left alone for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Settled,
    /// There was nothing to answer.
    Nothing,
    /// It is the service; other jobs would meet the same.
    Down {
        held: bool,
        after: Duration,
    },
    /// It is this job.
    Failed {
        held: bool,
        after: Duration,
    },
    /// It is done with, and others would meet the same.
    SettledDown,
}

/// The service is down: one probe at a time.
#[derive(Clone, Copy, Debug)]
struct Down {
    failures: u32,
    probe_at: Instant,
}

pub(crate) struct Window {
    pauses: Pauses,
    entries: BTreeMap<JobId, (Entry, u32)>,
    ready: VecDeque<JobId>,
    waiting: BTreeSet<(Instant, JobId)>,
    sending: usize,
    down: Option<Down>,
}

impl Window {
    pub(crate) fn new(pauses: Pauses) -> Window {
        Window {
            pauses,
            entries: BTreeMap::new(),
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            sending: 0,
            down: None,
        }
    }

    /// Whoever waits is tried at once: somebody says that it will do now.
    pub(crate) fn hurry(&mut self) {
        self.down = None;
        for (_, id) in std::mem::take(&mut self.waiting) {
            if let Some((entry, _)) = self.entries.get_mut(&id) {
                *entry = Entry::Ready;
                self.ready.push_back(id);
            }
        }
    }

    pub(crate) fn room(&self) -> usize {
        SIZE.saturating_sub(self.entries.len())
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down.is_some()
    }

    /// None failed of itself.
    pub(crate) fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Those that are in work already are left as they are.
    pub(crate) fn add(&mut self, ids: impl IntoIterator<Item = JobId>) {
        for id in ids {
            if let std::collections::btree_map::Entry::Vacant(entry) = self.entries.entry(id) {
                entry.insert((Entry::Ready, 0));
                self.ready.push_back(id);
            }
        }
    }

    pub(crate) fn settling(&self) -> impl Iterator<Item = JobId> {
        self.entries.iter().filter(|(_, (entry, _))| *entry == Entry::Settling).map(|(id, _)| *id)
    }

    /// It is out of the outbox.
    pub(crate) fn settled(&mut self, id: JobId) {
        if matches!(self.entries.get(&id), Some((Entry::Settling, _))) {
            self.entries.remove(&id);
        }
    }

    /// The job to send for now, if any may be.
    pub(crate) fn next(&mut self, now: Instant) -> Option<JobId> {
        self.wake(now);
        if self.sending >= self.allowed(now) {
            return None;
        }
        let id = self.ready.pop_front()?;
        if let Some((entry, _)) = self.entries.get_mut(&id) {
            *entry = Entry::Sending;
            self.sending += 1;
        }
        Some(id)
    }

    /// When [`Window::next`] has more to say than now; `None`: not of itself.
    pub(crate) fn next_at(&self, now: Instant) -> Option<Instant> {
        let soonest = self.waiting.first().map(|(until, _)| *until);
        let soonest = if self.ready.is_empty() { soonest? } else { now };
        match self.down {
            Some(_) if self.sending > 0 => None,
            Some(down) => Some(soonest.max(down.probe_at)),
            None if self.sending >= self.pauses.concurrent => None,
            None => Some(soonest),
        }
    }

    /// `dice`: from 0 to 1.
    pub(crate) fn ended(&mut self, id: JobId, turn: Turn, now: Instant, dice: f64) {
        let Some((entry, failures)) = self.entries.get_mut(&id) else { return };
        if *entry != Entry::Sending {
            return;
        }
        self.sending -= 1;
        if matches!(turn, Turn::Settled | Turn::Failed { .. }) {
            self.down = None;
        }
        let pauses = self.pauses;
        let down = match turn {
            Turn::Down { held, after } => Some((held, after)),
            Turn::SettledDown => Some((true, Duration::ZERO)),
            Turn::Settled | Turn::Nothing | Turn::Failed { .. } => None,
        };
        // Calls that were under way together fail together: that is one failure.
        if let Some((held, after)) = down
            && self.down.is_none_or(|down| down.probe_at <= now)
        {
            let nth = self.down.map_or(1, |down| down.failures.saturating_add(1));
            let backoff = if held { pauses.service_held } else { pauses.service };
            let probe_at = now + backoff.after(nth, dice).max(after);
            self.down = Some(Down { failures: nth, probe_at });
        }
        let pause = match turn {
            Turn::Settled | Turn::SettledDown => {
                *entry = Entry::Settling;
                return;
            }
            Turn::Nothing => {
                self.entries.remove(&id);
                return;
            }
            Turn::Failed { held, after } => {
                *failures = failures.saturating_add(1);
                let backoff = if held { pauses.job_held } else { pauses.job };
                backoff.after(*failures, dice).max(after)
            }
            Turn::Down { .. } => {
                *failures = failures.saturating_add(1);
                pauses.service.after(*failures, dice)
            }
        };
        *entry = Entry::Waiting(now + pause);
        self.waiting.insert((now + pause, id));
        self.make_room();
    }

    /// Jobs that fail of themselves must not keep the others out: the last to be tried again are
    /// forgotten, and found again when the outbox is next read from its beginning. True if any
    /// were.
    fn make_room(&mut self) -> bool {
        if self.room() > 0 || self.down.is_some() || self.waiting.len() <= SIZE / 2 {
            return false;
        }
        for _ in 0..SIZE / 4 {
            if let Some((_, id)) = self.waiting.pop_last() {
                self.entries.remove(&id);
            }
        }
        true
    }

    fn allowed(&self, now: Instant) -> usize {
        match self.down {
            None => self.pauses.concurrent,
            Some(down) if down.probe_at <= now => 1,
            Some(_) => 0,
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some((until, id)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.remove(&(until, id));
            if let Some((entry, _)) = self.entries.get_mut(&id) {
                *entry = Entry::Ready;
                self.ready.push_back(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: Pauses = Pauses {
        concurrent: 32,
        service: Backoff { min: Duration::from_millis(250), max: Duration::from_secs(15) },
        service_held: Backoff { min: Duration::from_secs(2), max: Duration::from_secs(30) },
        job: Backoff { min: Duration::from_millis(250), max: Duration::from_secs(10) },
        job_held: Backoff { min: Duration::from_secs(5), max: Duration::from_secs(300) },
    };
    const DOWN: Turn = Turn::Down { held: false, after: Duration::ZERO };
    const FAILED: Turn = Turn::Failed { held: true, after: Duration::ZERO };

    fn ids(range: std::ops::Range<u128>) -> impl Iterator<Item = JobId> {
        range.map(JobId)
    }

    fn started(window: &mut Window, now: Instant) -> Vec<JobId> {
        std::iter::from_fn(|| window.next(now)).collect()
    }

    #[test]
    fn so_many_at_once_and_none_twice() {
        let now = Instant::now();
        let mut window = Window::new(PAUSES);
        window.add(ids(0..100));
        window.add(ids(0..100));
        assert_eq!(started(&mut window, now), ids(0..32).collect::<Vec<_>>());
        window.ended(JobId(3), Turn::Settled, now, 0.5);
        window.ended(JobId(4), Turn::Nothing, now, 0.5);
        assert_eq!(started(&mut window, now), [JobId(32), JobId(33)]);
        // It is in the outbox until its answer is committed, and must not be sent again.
        window.add([JobId(3)]);
        assert_eq!(window.settling().collect::<Vec<_>>(), [JobId(3)]);
        window.settled(JobId(3));
        assert_eq!(window.room(), SIZE - 98);
    }

    #[test]
    fn while_the_service_is_down_one_probe_goes_at_a_time_and_each_waits_longer() {
        let mut now = Instant::now();
        let mut window = Window::new(PAUSES);
        window.add(ids(0..100));
        for id in started(&mut window, now) {
            window.ended(id, DOWN, now, 1.0);
        }
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let at = window.next_at(now).unwrap();
            pauses.push((at - now).as_millis());
            assert_eq!(window.next(at - Duration::from_millis(1)), None, "before its time");
            now = at;
            let probe = started(&mut window, now);
            assert_eq!(probe.len(), 1);
            assert_eq!(window.next_at(now), None, "it is under way");
            window.ended(probe[0], DOWN, now, 1.0);
        }
        // The 32 that failed together count once.
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
        now = window.next_at(now).unwrap();
        let probe = window.next(now).unwrap();
        window.ended(probe, Turn::Settled, now, 1.0);
        assert!(!window.is_down());
        assert_eq!(started(&mut window, now).len(), PAUSES.concurrent);
    }

    #[test]
    fn a_job_that_fails_of_itself_holds_up_nobody() {
        let now = Instant::now();
        let mut window = Window::new(PAUSES);
        window.add(ids(0..2));
        assert_eq!(started(&mut window, now).len(), 2);
        window.ended(JobId(0), FAILED, now, 1.0);
        window.ended(JobId(1), Turn::Settled, now, 1.0);
        window.add([JobId(2)]);
        assert_eq!(started(&mut window, now), [JobId(2)]);
        assert_eq!(window.next_at(now), Some(now + Duration::from_secs(5)));
        let later = now + Duration::from_secs(5);
        assert_eq!(started(&mut window, later), [JobId(0)]);
    }

    #[test]
    fn a_window_full_of_jobs_that_fail_makes_room() {
        let now = Instant::now();
        let mut window = Window::new(PAUSES);
        window.add(ids(0..SIZE as u128));
        for _ in 0..SIZE {
            if let Some(id) = window.next(now) {
                window.ended(id, FAILED, now, 1.0);
            }
        }
        assert!(window.room() >= SIZE / 4, "{}", window.room());
        assert!(!window.nobody_waits());
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept_and_whoever_hurries_ends_it() {
        let now = Instant::now();
        let mut window = Window::new(PAUSES);
        window.add(ids(0..3));
        let after = Duration::from_secs(99);
        assert_eq!(window.next(now), Some(JobId(0)));
        window.ended(JobId(0), Turn::Failed { held: false, after }, now, 1.0);
        assert_eq!(window.next(now), Some(JobId(1)));
        window.ended(JobId(1), Turn::Down { held: false, after }, now, 1.0);
        assert_eq!(window.next_at(now), Some(now + after));
        window.hurry();
        assert_eq!(started(&mut window, now), [JobId(2), JobId(1), JobId(0)]);
    }

    #[test]
    fn one_that_is_done_with_can_show_that_others_would_meet_the_same() {
        let now = Instant::now();
        let mut window = Window::new(PAUSES);
        window.add(ids(0..2));
        assert_eq!(window.next(now), Some(JobId(0)));
        window.ended(JobId(0), Turn::SettledDown, now, 1.0);
        assert_eq!(window.settling().collect::<Vec<_>>(), [JobId(0)]);
        assert_eq!(window.next(now), None);
        assert_eq!(window.next_at(now), Some(now + PAUSES.service_held.min));
    }
}
