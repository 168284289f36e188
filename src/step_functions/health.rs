//! How it stands with Step Functions, for `targets`, `readyz` and the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::time::Wall;
use crate::handle::Handle;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Fine,
    /// Answers or heartbeats do not get through; they are tried again until they do.
    Holding {
        since: Wall,
        reason: String,
    },
}

/// Which work does not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Answers,
    /// Answers of some jobs only.
    SomeAnswers,
    Heartbeats,
}

#[derive(Clone, Default)]
pub(super) struct Health(Arc<Mutex<[Trouble; 3]>>);

#[derive(Default)]
struct Trouble {
    now: Option<(Wall, String)>,
    told: Option<Instant>,
}

/// How often the log repeats what has not changed.
const REMIND: Duration = Duration::from_secs(60);

impl Health {
    pub(super) fn state(&self) -> State {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = all.iter().filter_map(|trouble| trouble.now.as_ref()).min_by_key(|now| now.0);
        first.map_or(State::Fine, |(since, reason)| State::Holding {
            since: *since,
            reason: reason.clone(),
        })
    }

    pub(super) fn holds(&self, part: Part) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[part as usize].now.is_some()
    }

    /// `held`: somebody has to put something right.
    pub(super) fn trouble(&self, part: Part, held: bool, reason: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = &mut all[part as usize];
        let since = trouble.now.as_ref().map_or_else(Handle::wall_now, |(since, _)| *since);
        trouble.now = Some((since, reason.to_owned()));
        let now = Instant::now();
        if trouble.told.is_some_and(|told| now - told < REMIND) {
            return;
        }
        trouble.told = Some(now);
        drop(all);
        let what = match part {
            Part::Answers => "answers to task tokens",
            Part::SomeAnswers => "answers to some task tokens",
            Part::Heartbeats => "heartbeats of task tokens",
        };
        if held {
            tracing::error!(
                reason,
                "Step Functions does not take {what}; they are kept and tried again slowly until \
                 this is put right"
            );
        } else {
            tracing::warn!(reason, "Step Functions takes no {what} just now; they are tried again");
        }
    }

    pub(super) fn fine(&self, part: Part) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = &mut all[part as usize];
        trouble.told = None;
        if trouble.now.take().is_some() {
            drop(all);
            tracing::info!(?part, "Step Functions is reached again");
        }
    }
}
