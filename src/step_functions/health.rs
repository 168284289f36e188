//! How it stands with Step Functions, for `targets`, `readyz` and the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::time::Wall;
use crate::handle::Handle;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Ok,
    /// Something does not get through just now; it is tried again until it does.
    Retrying(Trouble),
    /// Somebody has to put something right, such as credentials or a policy. It is tried again
    /// all the same, slowly.
    Held(Trouble),
}

impl State {
    pub fn as_str(&self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Retrying(_) => "retrying",
            State::Held(_) => "held",
        }
    }

    pub fn trouble(&self) -> Option<&Trouble> {
        match self {
            State::Ok => None,
            State::Retrying(trouble) | State::Held(trouble) => Some(trouble),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub part: Part,
    pub since: Wall,
    /// The last one; without secrets.
    pub error: String,
}

/// Which work does not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Answers,
    /// Answers of some jobs only.
    SomeAnswers,
    Heartbeats,
}

impl Part {
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Answers => "answers",
            Part::SomeAnswers => "some_answers",
            Part::Heartbeats => "heartbeats",
        }
    }
}

/// Clones share it.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<[Known; 3]>>);

#[derive(Default)]
struct Known {
    now: State,
    told: Option<Instant>,
}

/// How often the log repeats what has not changed.
const REMIND: Duration = Duration::from_secs(60);

impl Health {
    /// The worst of all parts; among equals what lasts longest.
    pub fn state(&self) -> State {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let worst = all.iter().map(|known| &known.now).max_by_key(|state| {
            let rank = match state {
                State::Ok => 0,
                State::Retrying(_) => 1,
                State::Held(_) => 2,
            };
            (rank, state.trouble().map(|trouble| std::cmp::Reverse(trouble.since)))
        });
        worst.cloned().unwrap_or(State::Ok)
    }

    pub(super) fn is_in_trouble(&self, part: Part) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all[part as usize].now != State::Ok
    }

    /// `held`: somebody has to put something right.
    pub(crate) fn trouble(&self, part: Part, held: bool, error: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut all[part as usize];
        let since = known.now.trouble().map_or_else(Handle::wall_now, |trouble| trouble.since);
        let trouble = Trouble { part, since, error: error.to_owned() };
        known.now = if held { State::Held(trouble) } else { State::Retrying(trouble) };
        let now = Instant::now();
        if known.told.is_some_and(|told| now - told < REMIND) {
            return;
        }
        known.told = Some(now);
        drop(all);
        let what = match part {
            Part::Answers => "answers to task tokens",
            Part::SomeAnswers => "answers to some task tokens",
            Part::Heartbeats => "heartbeats of task tokens",
        };
        if held {
            tracing::error!(
                error,
                "Step Functions does not take {what}; they are kept and tried again slowly until \
                 this is put right"
            );
        } else {
            tracing::warn!(error, "Step Functions takes no {what} just now; they are tried again");
        }
    }

    pub(crate) fn fine(&self, part: Part) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut all[part as usize];
        known.told = None;
        if std::mem::take(&mut known.now) != State::Ok {
            drop(all);
            tracing::info!(part = part.as_str(), "Step Functions is reached again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_told_and_since_when_it_lasts() {
        let health = Health::default();
        assert_eq!(health.state(), State::Ok);
        health.trouble(Part::Heartbeats, false, "503");
        let State::Retrying(Trouble { part: Part::Heartbeats, since, .. }) = health.state() else {
            panic!("{:?}", health.state())
        };
        health.trouble(Part::SomeAnswers, true, "the key");
        health.trouble(Part::Heartbeats, false, "429");
        let state = health.state();
        assert_eq!((state.as_str(), &*state.trouble().unwrap().error), ("held", "the key"));
        health.fine(Part::SomeAnswers);
        let again = Trouble { part: Part::Heartbeats, since, error: "429".into() };
        assert_eq!(health.state(), State::Retrying(again));
        health.fine(Part::Heartbeats);
        assert_eq!(health.state(), State::Ok);
    }
}
