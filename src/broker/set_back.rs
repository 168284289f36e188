//! The wall clock was set back. What somebody put into the calendar, a scheduled job or a deadline,
//! goes by the calendar. A retry does not: it was to come within `max_backoff`, and must not wait
//! until the clock is there again, which can take years.

use std::time::Duration;

use super::job::{Happening, JobId, Place};
use super::retry::Rules;
use super::time::{Now, Wall};
use super::{Broker, Story};

/// Whether retries are to be looked at again.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    /// What the wall clock said last.
    wall: Wall,
    due: bool,
}

impl Lookout {
    /// Rows came from the store that were written by any clock.
    pub(super) fn look_again(&mut self) {
        self.due = true;
    }

    /// Whether to look, once.
    fn looks(&mut self, now: Wall) -> bool {
        self.due |= now < self.wall;
        self.wall = now;
        std::mem::take(&mut self.due)
    }
}

impl Broker {
    /// Brings retries that are too far away as near as they can be by the rules of their target.
    pub(super) fn bring_near(&mut self, now: Now) {
        if !self.lookout.looks(now.wall) {
            return;
        }
        let far: Vec<(JobId, Wall)> = self
            .timers
            .values()
            .filter_map(|id| {
                let (header, place) = self.jobs.get(id)?;
                // One that is away keeps its jobs as they are.
                let live = self.targets.get(&header.target)?.live.as_ref()?;
                let (due, longest) = longest(place, &Rules::of(&live.policy))?;
                let most = now.wall + longest;
                (due > most).then_some((id, most))
            })
            .collect();
        for (id, until) in far {
            let Some((header, place)) = self.jobs.get(id) else { continue };
            let before = (header.clone(), *place);
            let (to, event) = match place {
                Place::Verifying { .. } => {
                    (Place::Verifying { due: until }, Happening::Verifying { until })
                }
                _ => (Place::Waiting { due: until }, Happening::Waiting { until }),
            };
            self.shift(now, before.clone(), before.0, to, Story::from(event));
        }
    }
}

/// When a retry or a question is due, and how far away that can be when it is decided on. `None`
/// for what is in the calendar.
fn longest(place: &Place, rules: &Rules) -> Option<(Wall, Duration)> {
    match place {
        Place::Waiting { due } => Some((*due, rules.retry.max_backoff)),
        Place::Verifying { due } => {
            Some((*due, rules.retry.max_backoff.max(rules.completion.every)))
        }
        _ => None,
    }
}
