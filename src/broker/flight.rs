//! Attempts under way: what they hold of the limits, and what becomes of that.

use super::change::{Change, Spent};
use super::job::{End, Happening, Header, JobId, Owed, Place, Says, TargetId};
use super::limit::Shares;
use super::payload::{Close, Follow, Outcome, Report};
use super::time::{Mono, Now, Wall};
use super::{Broker, Story};

/// An attempt that was started in this life, or was under way when the last one ended.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    /// [`Header::number`] of the request that is under way.
    pub(super) number: u32,
    pub(super) began: Mono,
    /// The shared limits that it counts in.
    reserved: Shares,
    course: Course,
    /// The broker has died since it was started.
    last_life: bool,
    /// Once it has ended.
    pub(super) close: Close,
}

impl Flight {
    pub(super) fn armed(number: u32, began: Mono, reserved: Shares) -> Flight {
        let (last_life, close) = (false, Close::Whole);
        Flight { number, began, reserved, course: Course::Armed, last_life, close }
    }

    /// It was let go. `taken`: the limits of which it took tokens.
    pub(super) fn let_go(&mut self, taken: Shares) {
        self.course = Course::Leaving(taken);
    }

    /// It has left, or never will: the limits of which it took tokens, if it was leaving.
    pub(super) fn leaves_no_more(&mut self, sent: bool) -> Option<Shares> {
        let now = if sent { Course::Left } else { Course::Armed };
        match std::mem::replace(&mut self.course, now) {
            Course::Leaving(taken) => Some(taken),
            other => {
                if sent {
                    self.course = other;
                }
                None
            }
        }
    }

    pub(super) fn is_of_the_last_life(&self) -> bool {
        self.last_life
    }
}

#[derive(Clone, Debug)]
enum Course {
    /// Nothing of it was let go.
    Armed,
    /// It was let go, and may still be in this process. The limits of which it took tokens.
    Leaving(Shares),
    Left,
}

impl Broker {
    /// A job is under way no more: its places and slots are free, now or when the limits say.
    pub(super) fn land(&mut self, job: JobId, target: TargetId, now: Now) {
        let Some(flight) = self.flights.remove(&job) else { return };
        match flight.course {
            Course::Armed => self.limits.put_back(target, &flight.reserved),
            Course::Leaving(taken) => {
                // Whether it left, and when, was not said: now, at the latest.
                self.limits.left(target, &taken, Some(now.mono));
                self.spend(target, &flight.reserved, flight.close, now);
            }
            Course::Left => self.spend(target, &flight.reserved, flight.close, now),
        }
        self.look_at_sharers(target, &flight.reserved);
    }

    /// Where a target has left a shared limit, of which it took something that is there again: those
    /// who are held to the limit still may go now.
    pub(super) fn look_at_sharers(&mut self, target: TargetId, taken: &Shares) {
        self.dirty.extend(self.limits.sharers_left_behind(target, taken));
    }

    fn spend(&mut self, target: TargetId, reserved: &Shares, close: Close, now: Now) {
        let spent = self.limits.ended(target, reserved, now, close);
        self.write_spent(spent, now);
    }

    pub(super) fn write_spent(&mut self, spent: Vec<Spent>, now: Now) {
        if spent.is_empty() {
            return;
        }
        for spent in spent {
            self.change(Change::Spent(spent));
        }
        self.change(Change::Lived { lived: self.limits.lived(now.mono), wall: now.wall });
    }

    /// A job that was under way when the last life ended. Where it is now nobody knows, so its
    /// attempt counts as one that ended just now and may run on.
    pub(super) fn resume(&mut self, header: Header, started: Wall, now: Now) {
        let place = Place::Running { started };
        if let Some(target) = self.targets.get_mut(&header.target) {
            target.in_flight += 1;
        }
        self.jobs.put(header.clone(), place);
        let reserved = self.limits.reserve(header.target);
        let (number, began) = (header.number(), now.mono);
        let flight = Flight {
            number,
            began,
            reserved,
            course: Course::Left,
            last_life: true,
            close: Close::GivenUp,
        };
        self.flights.insert(header.id, flight);
        let reason = "the broker stopped while this attempt was under way";
        if header.course.is_asking() {
            self.ask_again(now, (header, place), reason);
            return;
        }
        let report = Report {
            outcome: Outcome::Unknown,
            answer: None,
            retry_after: None,
            hint: None,
            reason: Some(reason.into()),
            took: now.wall.since(started),
            close: Close::GivenUp,
            follow: Follow::Nothing,
        };
        self.end_attempt(now, (header, place), now.mono, report);
    }

    /// A question did no work: it is asked once more, whatever became of it.
    fn ask_again(&mut self, now: Now, from: (Header, Place), reason: &str) {
        let header = from.0.clone();
        let question = header.course.questions;
        let reason = Some(reason.to_owned());
        let answered = Happening::Answered { question, says: Says::Unknown, status: None, reason };
        let to = Place::Verifying { due: now.wall };
        let events = vec![answered, Happening::Verifying { until: now.wall }];
        self.shift(now, from, header, to, Story { events, answer: None });
    }

    /// It was let go, and found before its request left that no workflow waits for it any more.
    pub(super) fn not_sent(&mut self, now: Now, job: JobId, number: u32, reason: String) {
        let Some(flight) = self.flights.get_mut(&job) else { return };
        if flight.number != number {
            return;
        }
        let Some((header, place)) = self.jobs.get(job) else { return };
        if let Some(target) = self.targets.get_mut(&header.target) {
            target.feedback.on_unsent(flight.began);
        }
        // Its tokens are lost, its slots are not.
        if let Some(taken) = flight.leaves_no_more(false) {
            self.limits.left(header.target, &taken, None);
        }
        let before = (header.clone(), *place);
        let mut header = Header { owed: Owed::Nothing, ..before.0.clone() };
        let not_sent = header.take_back();
        self.lookups.cancelled(job);
        let events = vec![
            not_sent,
            Happening::TokenLate { reason: reason.clone() },
            Happening::Cancelled { reason: Some(reason) },
        ];
        let to = Place::Ended { end: End::Cancelled, at: now.wall };
        self.shift(now, before, header, to, Story { events, answer: None });
    }

    /// Limits that came to apply while attempts were under way: they count there too.
    pub(super) fn adopt_limits(&mut self) {
        for (job, flight) in &mut self.flights {
            if let Some((header, _)) = self.jobs.get(*job) {
                flight.reserved = self.limits.adopt(header.target, &flight.reserved);
            }
        }
    }
}
