//! What happens because time passes: timers, deadlines, retention.

use std::time::Duration;

use super::change::Load;
use super::fair::Tag;
use super::flows::Then;
use super::io::Output;
use super::job::{End, Failure, Happening, Header, JobId, Place, Priority, TargetId};
use super::time::{Mono, Now, Wall, earlier};
use super::{Broker, Story};

/// Timers fired in one go; the rest follow at once, after what else there is to do.
const AT_ONCE: usize = 1_024;
/// The wall clock may be set while the broker sleeps: it looks again at least this often while
/// something waits for a time of day.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// How long ended jobs are kept, and when the next one goes.
#[derive(Debug)]
pub(super) struct Retention {
    keep: Duration,
    /// When the oldest ended job ended; `EPOCH` while that is not known. While the store is asked,
    /// of those that ended since.
    oldest: Option<Wall>,
    asked: bool,
}

impl Retention {
    pub(super) fn new(keep: Duration) -> Retention {
        Retention { keep, oldest: Some(Wall::EPOCH), asked: false }
    }

    pub(super) fn keep(&mut self, keep: Duration) {
        self.keep = keep;
    }

    pub(super) fn ended(&mut self, at: Wall) {
        // The wall clock may have been set back: the last one need not be the latest.
        self.oldest = earlier(self.oldest, Some(at));
    }

    fn due(&self) -> Option<Wall> {
        if self.asked { None } else { self.oldest.map(|oldest| oldest + self.keep) }
    }
}

impl Broker {
    /// Call again at this time at the latest; sooner does no harm.
    pub fn poll_timeout(&self, now: Now) -> Option<Mono> {
        let wake = self.alarms.next(self.lead.get());
        let walls = [
            self.timers.first().map(|((due, _), _)| due).filter(|_| !self.draining),
            self.deadlines.first().map(|((due, _), _)| due),
            self.retention.due(),
            self.graves.due(),
        ];
        let wall = walls.into_iter().flatten().min();
        let timer = wall.map(|due| now.mono + due.since(now.wall).min(LOOK_AGAIN));
        [wake, timer].into_iter().flatten().min()
    }

    /// Whatever its time has come for.
    pub(super) fn fire(&mut self, now: Now) {
        for _ in 0..AT_ONCE {
            match self.timers.first() {
                Some(((due, _), id)) if due <= now.wall && !self.draining => {
                    self.jobs.in_window(id, |place| super::due(place).is_some());
                    self.due(now, id);
                }
                _ => break,
            }
        }
        for _ in 0..AT_ONCE {
            match self.deadlines.first() {
                Some((key, id)) if key.0 <= now.wall => {
                    // One that is under way is left to its attempt, and looked at after it.
                    self.deadlines.remove(key);
                    self.expire(now, id);
                }
                _ => break,
            }
        }
        if self.retention.due().is_some_and(|due| due <= now.wall) {
            self.retention.asked = true;
            self.retention.oldest = None;
            // Those that are due to this millisecond are before the next.
            let keep = u64::try_from(self.retention.keep.as_millis()).unwrap_or(u64::MAX);
            let next = now.wall.as_millis().saturating_add(1);
            let before = Wall::from_millis(next.saturating_sub(keep));
            let limit = self.windows.page;
            self.outputs.push_back(Output::Load(Load::Finished { before, limit }));
        }
    }

    /// From `scheduled`, `waiting` or `verifying` into its queue: a scheduled job joins the end of the line
    /// when its time has come, one that waited for a retry has its place.
    fn due(&mut self, now: Now, id: JobId) {
        let Some((header, place)) = self.jobs.get(id) else { return };
        let before = (header.clone(), *place);
        let mut header = before.0.clone();
        if let Place::Scheduled { due } = before.1 {
            if self.ask_flow(&header, Then::Due(id)) {
                // Out of the way of the others until its flow is known.
                self.timers.remove((due, id));
                return;
            }
            header.seat = self.next_seat();
            self.tag(&mut header, Tag::default());
        }
        header.ready_at = now.wall;
        self.shift(now, before, header, Place::Queued, Happening::Due.into());
    }

    /// The flow of a job that was due is known now.
    pub(super) fn due_at_last(&mut self, now: Now, id: JobId) {
        let Some((_, Place::Scheduled { due })) = self.jobs.get(id) else { return };
        let due = *due;
        if due <= now.wall && !self.draining {
            self.due(now, id);
        } else if let Some(let_go) = self.timers.insert((due, id), id) {
            // The wall clock was set back meanwhile.
            self.jobs.let_go(let_go, self.turn);
        }
    }

    /// Ends a job whose deadline has passed, unless an attempt is under way.
    pub(super) fn expire(&mut self, now: Now, id: JobId) {
        let Some((header, place)) = self.jobs.get(id) else {
            self.find(id, super::command::Purpose::Expire);
            return;
        };
        // One that is being asked for is left to its questions.
        if !super::is_pending(place) || header.course.is_asking() {
            return;
        }
        let before = (header.clone(), *place);
        let header = before.0.clone();
        let (end, event) = too_late(&header);
        let to = Place::Ended { end, at: now.wall };
        self.shift(now, before, header, to, Story::from(event));
    }

    /// Jobs that retention lets go.
    pub(super) fn forget(
        &mut self,
        rows: Vec<(JobId, TargetId, Priority, Place)>,
        next: Option<Wall>,
    ) {
        self.retention.asked = false;
        self.retention.oldest = earlier(self.retention.oldest, next);
        for (id, target, priority, place) in rows {
            // Somebody wants its callback told once more, since the store was asked.
            if self.jobs.get(id).is_some_and(|(header, _)| header.owes_callback()) {
                continue;
            }
            self.jobs.delete(id, self.turn);
            // What is not dead holds no group.
            let stand = super::Stand::Gone;
            self.change(super::Change::Delete { id, target, priority, place, stand });
        }
    }
}

/// How a job ends whose deadline has passed. One that may have done its work does not end as if
/// nothing had happened.
pub(super) fn too_late(header: &Header) -> (End, Happening) {
    if header.course.doubt {
        let end = End::Failed(Failure::OutcomeUnknown);
        (end, Happening::Failed { code: end.code().unwrap_or_default() })
    } else {
        (End::Expired, Happening::Expired)
    }
}
