//! A legacy API: what it does with a request depends on its mood.

use std::time::Duration;

use super::rng::Rng;
use crate::broker::payload::{Answer, Close, Follow, Outcome, Report};

/// Longer than anybody waits for an answer.
const NEVER: Duration = Duration::from_secs(3_600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Fast,
    Slow,
    /// 429 or 503, perhaps with `Retry-After`.
    Busy,
    /// Nobody listens.
    Gone,
    /// Takes the request and never answers.
    Hangs,
    /// Does the work and breaks the connection.
    Breaks,
    /// 4xx.
    Rejects,
    /// 500.
    Fails,
    /// Another one for each request.
    Mixed,
}

impl Mood {
    const ALL: [Mood; 10] = [
        Mood::Fast,
        Mood::Fast,
        Mood::Slow,
        Mood::Busy,
        Mood::Gone,
        Mood::Hangs,
        Mood::Breaks,
        Mood::Rejects,
        Mood::Fails,
        Mood::Mixed,
    ];

    pub(super) fn random(rng: &mut Rng) -> Mood {
        rng.pick(&Mood::ALL)
    }

    /// One that is the same from here on.
    pub(super) fn settle(self, rng: &mut Rng) -> Mood {
        let mut mood = self;
        while mood == Mood::Mixed {
            mood = Mood::random(rng);
        }
        mood
    }

    /// What becomes of a request that arrives now, and when the broker knows.
    pub(super) fn answer(self, rng: &mut Rng) -> (Duration, Report) {
        let quick = rng.span(Duration::from_micros(300), Duration::from_millis(20));
        let slow = rng.span(Duration::from_millis(50), Duration::from_secs(8));
        match self {
            Mood::Mixed => self.settle(rng).answer(rng),
            Mood::Fast => (quick, report(Outcome::Done, Some(200), quick)),
            Mood::Slow => (slow, report(Outcome::Done, Some(200), slow)),
            Mood::Busy => {
                let mut report = report(Outcome::Refused, Some(rng.pick(&[429, 503])), quick);
                if rng.one_in(2) {
                    let longest = Duration::from_secs(rng.pick(&[2, 120]));
                    report.retry_after = Some(rng.span(Duration::from_millis(1), longest));
                }
                (quick, report)
            }
            Mood::Gone => (quick, report(Outcome::Refused, None, quick)),
            Mood::Hangs => (NEVER, timed_out(NEVER)),
            Mood::Breaks => (slow, report(Outcome::Unknown, None, slow)),
            Mood::Rejects => {
                (quick, report(Outcome::Rejected, Some(rng.pick(&[301, 400, 404, 422])), quick))
            }
            Mood::Fails => (quick, report(Outcome::Unknown, Some(500), quick)),
        }
    }
}

/// The dispatcher gave the attempt up.
pub(super) fn timed_out(after: Duration) -> Report {
    Report { close: Close::GivenUp, ..report(Outcome::Unknown, None, after) }
}

pub(super) fn report(outcome: Outcome, status: Option<u16>, took: Duration) -> Report {
    let answer = status.map(|status| Answer { status, ..Answer::default() });
    let reason = answer.is_none().then(|| "no answer".to_owned());
    let (retry_after, hint, follow) = (None, None, Follow::Nothing);
    let close = match (outcome, &answer) {
        (Outcome::Unknown, None) => Close::Cut,
        _ => Close::Whole,
    };
    Report { outcome, answer, retry_after, hint, reason, took, close, follow }
}
