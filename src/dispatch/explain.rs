//! What an answer would mean, without sending anything.

use http::{HeaderMap, StatusCode};

use super::answer::BodyEnd;
use super::meaning::{self, Because, Seen};
use super::question::{self, Judged};
use crate::broker::course::Aim;
use crate::broker::payload::{Follow, Outcome};
use crate::config::Target;

/// An answer, as somebody imagines it.
pub(crate) struct Imagined<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    /// Of the job, below the target's url: a relative status address starts there.
    pub(crate) path: &'a str,
}

#[derive(Debug)]
pub(crate) struct Meaning {
    pub(crate) outcome: Outcome,
    pub(crate) follow: Follow,
    /// The rule of `response.rules` that decided, from 1.
    pub(crate) rule: Option<usize>,
    pub(crate) reason: Option<String>,
}

/// `None` where the target has no way to ask this.
pub(crate) fn explain(target: &Target, aim: &Aim, answer: &Imagined<'_>) -> Option<Meaning> {
    let asking = &target.asking;
    let cut = answer.body.len() > asking.max_body;
    let end = if cut { BodyEnd::Capped } else { BodyEnd::Whole };
    let seen = Seen {
        status: answer.status,
        headers: answer.headers,
        body: &answer.body[..answer.body.len().min(asking.max_body)],
        end: &end,
        cut,
    };
    let mut rule = None;
    let Judged { outcome, follow, reason } = match aim {
        Aim::Work => {
            rule = match meaning::outcome(&asking.rules, &seen).1 {
                Because::Rule(index) | Because::Undecided(index) => Some(index + 1),
                Because::Default => None,
            };
            super::judged(target, answer.path, &seen)
        }
        Aim::Verify => question::verified(asking.verify.as_deref()?, &seen),
        Aim::Poll { .. } => question::polled(Some(asking.completion.as_deref()?), &seen),
    };
    Some(Meaning { outcome, follow, rule, reason })
}
