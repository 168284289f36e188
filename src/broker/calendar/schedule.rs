//! Which rate holds at which hour, and when nothing may be sent.

use std::sync::Arc;
use std::time::Duration;

use super::when::When;
use super::zone::Zone;
use crate::broker::policy::Rate;
use crate::broker::time::Wall;

/// Changes that change nothing (one entry ends where another of the same rate begins) are looked
/// past so often; after that a caller may be told to ask again too early.
const LOOK_PAST: usize = 64;

/// What a schedule says of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The target's own rate.
    Default,
    Rate(Rate),
    /// Nothing is sent.
    Closed,
}

/// One line of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub when: When,
    pub zone: Zone,
    pub rule: Rule,
}

/// What holds at an instant, and from when on it may be something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub rule: Rule,
    /// The next instant at which the answer changes, to the millisecond; `None`: it never does.
    /// (After 64 changes that change nothing it may name an instant at which it still does not.)
    pub until: Option<Wall>,
}

/// Entries in order: the first that matches holds, outside all of them [`Rule::Default`].
/// Cheap to clone. A query allocates nothing; it costs a look at the time zone's table for each
/// entry, so a caller keeps the answer until [`Moment::until`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    entries: Arc<[Entry]>,
}

impl Schedule {
    pub fn new(entries: Vec<Entry>) -> Schedule {
        Schedule { entries: entries.into() }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn at(&self, at: Wall) -> Moment {
        look_past(self.glance(at), |at| self.glance(at))
    }

    /// The beginning of the first closed window into which a request would reach that is sent at
    /// `at` and lasts so long; `at` itself where it is closed then. A request that ends just when
    /// a window begins does not reach into it.
    ///
    /// Costs a look at each change of the schedule within that time.
    pub fn closed_within(&self, at: Wall, lasting: Duration) -> Option<Wall> {
        if !self.closes() {
            return None;
        }
        let end = at + lasting;
        let mut from = at;
        loop {
            let moment = self.at(from);
            if moment.rule == Rule::Closed {
                return Some(from);
            }
            from = moment.until.filter(|until| *until < end)?;
        }
    }

    /// What holds for a request that is sent at `at` and must be over, which may take so long,
    /// before a closed window begins (`finish_before_close`): closed already so long before it.
    /// With no time at all this is [`Schedule::at`].
    pub fn for_request(&self, at: Wall, lasting: Duration) -> Moment {
        if lasting.is_zero() || !self.closes() {
            return self.at(at);
        }
        look_past(self.glance_for(at, lasting), |at| self.glance_for(at, lasting))
    }

    /// Whether a request that may take so long could ever be sent, going by some ordinary weeks of
    /// winter and summer.
    pub fn is_ever_open(&self, lasting: Duration) -> bool {
        // 2026-01-12 and 2026-07-13, both Mondays.
        [1_768_176_000_000, 1_783_900_800_000].into_iter().map(Wall::from_millis).any(|week| {
            let end = week + Duration::from_secs(8 * 86_400);
            let mut from = Some(week);
            while let Some(at) = from.filter(|at| *at < end) {
                let moment = self.for_request(at, lasting);
                if moment.rule != Rule::Closed {
                    return true;
                }
                from = moment.until;
            }
            false
        })
    }

    fn closes(&self) -> bool {
        self.entries.iter().any(|entry| entry.rule == Rule::Closed)
    }

    fn glance(&self, at: Wall) -> Moment {
        let mut until: Option<Wall> = None;
        for entry in self.entries.iter() {
            let (holds, change) = entry.when.week.look(&entry.zone, at);
            until = [until, change].into_iter().flatten().min();
            if holds {
                // What comes after it does not matter while it holds.
                return Moment { rule: entry.rule, until };
            }
        }
        Moment { rule: Rule::Default, until }
    }

    fn glance_for(&self, at: Wall, lasting: Duration) -> Moment {
        let moment = self.at(at);
        if moment.rule == Rule::Closed {
            return moment;
        }
        if let Some(begin) = self.closed_within(at, lasting) {
            return Moment { rule: Rule::Closed, until: self.at(begin).until };
        }
        let Some(change) = moment.until else { return moment };
        // The last that is over in time is sent so long before a window, the next is too late.
        let reach = change.since(at) + lasting;
        let too_late = self.closed_within(at, reach).map(|begin| {
            let millis = u64::try_from(lasting.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
            Wall::from_millis(begin.as_millis().saturating_sub(millis).saturating_add(1))
        });
        Moment { until: too_late.into_iter().chain([change]).min(), ..moment }
    }
}

/// Until the answer really is another.
fn look_past(mut moment: Moment, look: impl Fn(Wall) -> Moment) -> Moment {
    for _ in 0..LOOK_PAST {
        let Some(until) = moment.until else { break };
        let next = look(until);
        if next.rule != moment.rule {
            break;
        }
        moment.until = next.until;
    }
    moment
}
