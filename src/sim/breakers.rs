//! Breakers, kept a second time from what is told and what is started: an open one lets one job at a
//! time probe its target, and none before its time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::violation::{Checked, ensure};
use crate::broker::breaker::Settings;
use crate::broker::job::{JobId, TargetId};
use crate::broker::payload::{Outcome, Report};
use crate::broker::policy::Policy;
use crate::broker::time::Mono;

#[derive(Clone, Copy, Debug)]
struct Open {
    next_probe: Mono,
    /// Its attempt, and when that began.
    probe: Option<(JobId, Mono)>,
}

#[derive(Debug)]
struct Breaker {
    settings: Settings,
    /// Failures in a row.
    failures: u32,
    open: Option<Open>,
    /// When it opened or closed last: what began before says nothing any more.
    from: Mono,
}

/// Of this life: a new one begins with all of them closed.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    of: BTreeMap<TargetId, Breaker>,
    /// When each attempt began that is armed or sent.
    began: BTreeMap<JobId, Mono>,
}

impl Breakers {
    pub(super) fn restart(&mut self) {
        *self = Breakers::default();
    }

    /// A target that is not configured any more goes by what it had.
    pub(super) fn configure(&mut self, now: Mono, policies: &BTreeMap<TargetId, Policy>) {
        for (id, policy) in policies {
            let settings = policy.tempo.breaker;
            let new = Breaker { settings, failures: 0, open: None, from: Mono::ZERO };
            let breaker = self.of.entry(*id).or_insert(new);
            breaker.settings = settings;
            if let Some(open) = &mut breaker.open {
                open.next_probe = open.next_probe.min(now + settings.probe_every);
            }
        }
    }

    /// A start is put on record.
    pub(super) fn arm(&mut self, now: Mono, id: TargetId, job: JobId) -> Checked {
        self.began.insert(job, now);
        let Some(open) = self.of.get_mut(&id).and_then(|breaker| breaker.open.as_mut()) else {
            return Ok(());
        };
        let left: Duration = open.next_probe.since(now);
        ensure!(left.is_zero(), "{job} probes {id:?}, whose breaker is open for {left:?} more");
        let other = open.probe.replace((job, now)).map(|(other, _)| other);
        ensure!(other.is_none(), "{job} probes {id:?} beside {other:?}, and its breaker is open");
        Ok(())
    }

    /// It came to nothing before its request left.
    pub(super) fn unsent(&mut self, id: TargetId, job: JobId) {
        let began = self.began.remove(&job);
        if let Some(open) = self.of.get_mut(&id).and_then(|breaker| breaker.open.as_mut())
            && open.probe.is_some_and(|(probe, at)| probe == job && Some(at) == began)
        {
            open.probe = None;
        }
    }

    /// The end of an attempt is told.
    pub(super) fn ended(&mut self, now: Mono, id: TargetId, job: JobId, report: &Report) {
        let Some(began) = self.began.remove(&job) else { return };
        let Some(breaker) = self.of.get_mut(&id) else { return };
        let fails = match (report.outcome, &report.answer) {
            (Outcome::Done | Outcome::Rejected, _) => Some(false),
            // It lives, and asks for slowness.
            (Outcome::Refused, Some(_)) => None,
            (Outcome::Refused, None) | (Outcome::Unknown, _) => Some(true),
        };
        if let Some(open) = &mut breaker.open {
            if open.probe == Some((job, began)) {
                open.probe = None;
                open.next_probe = now + breaker.settings.probe_every;
                if fails != Some(true) {
                    (breaker.open, breaker.failures, breaker.from) = (None, 0, now);
                }
            }
        } else if began >= breaker.from {
            breaker.failures = match fails {
                Some(true) => breaker.failures.saturating_add(1),
                Some(false) => 0,
                None => breaker.failures,
            };
            if fails == Some(true) && breaker.failures >= breaker.settings.failures.get() {
                let next_probe = now + breaker.settings.probe_every;
                breaker.open = Some(Open { next_probe, probe: None });
                breaker.from = now;
            }
        }
    }
}
