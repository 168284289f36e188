//! Targets that refused, and until when nothing may be sent to them, in true time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clocks::Moment;
use super::violation::{Checked, ensure};
use crate::broker::change::Turn;
use crate::broker::job::TargetId;
use crate::broker::payload::Report;
use crate::broker::policy::Retry;

/// Wall time is kept in milliseconds, rounded down when it is read.
const ROUNDING: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, Default)]
struct Hold {
    /// Nothing before this.
    least: Moment,
    /// The same, as far as the target asked for it: the probes of an open breaker wait for no more.
    asked: Moment,
    /// Nothing holds it back after this.
    most: Moment,
}

impl Hold {
    fn before(&self, probes: bool) -> Moment {
        if probes { self.asked } else { self.least }
    }
}

#[derive(Debug, Default)]
pub(super) struct Holds {
    holds: BTreeMap<TargetId, Hold>,
    /// Those that are on disk, as far as the wall clock can be believed.
    durable: BTreeMap<TargetId, Moment>,
    gathered: Vec<(Turn, TargetId, Moment)>,
}

impl Holds {
    /// A refusal became known; `turn` will keep it.
    pub(super) fn refused(
        &mut self,
        at: Moment,
        turn: Turn,
        id: TargetId,
        report: &Report,
        retry: &Retry,
        probes: bool,
    ) {
        let least = report.retry_after.unwrap_or(retry.min_backoff).min(retry.max_backoff);
        let asked = report.retry_after.unwrap_or_default().min(retry.max_backoff);
        let hold = self.holds.entry(id).or_default();
        hold.least = hold.least.max(at + least);
        hold.asked = hold.asked.max(at + asked);
        hold.most = hold.most.max(at + retry.max_backoff + ROUNDING);
        self.gathered.push((turn, id, hold.before(probes)));
    }

    pub(super) fn committed(&mut self, turn: Turn) {
        for (_, id, until) in self.gathered.extract_if(.., |(gathered, _, _)| *gathered <= turn) {
            // It may be less than what was there: `max_backoff` may have become shorter.
            self.durable.insert(id, until);
        }
    }

    /// The wall clock was set forward: what is on disk ends sooner.
    pub(super) fn jumped_forward(&mut self, by: Duration) {
        let gathered = self.gathered.iter_mut().map(|(_, _, until)| until);
        for until in self.durable.values_mut().chain(gathered) {
            *until = until.before(by);
        }
    }

    /// `held`: how long each is held by what is on disk and the wall clock.
    pub(super) fn restart(&mut self, at: Moment, held: &[(TargetId, Duration)]) {
        self.gathered.clear();
        self.holds.clear();
        for (id, left) in held {
            let durable = self.durable.get(id).copied().unwrap_or_default();
            let least = durable.before(ROUNDING);
            let hold = Hold { least, asked: least, most: at + *left + ROUNDING };
            self.holds.insert(*id, hold);
        }
    }

    /// No hold is longer than the configuration allows, also one from before it.
    pub(super) fn configured(&mut self, at: Moment, id: TargetId, max_backoff: Duration) {
        let hold = self.holds.entry(id).or_default();
        hold.least = hold.least.min(at + max_backoff);
        hold.asked = hold.asked.min(at + max_backoff);
        hold.most = hold.most.min(at + max_backoff + ROUNDING);
    }

    /// `probes`: its breaker may be open.
    pub(super) fn send(&self, at: Moment, id: TargetId, probes: bool) -> Checked {
        let least = self.holds.get(&id).map_or(Moment::START, |hold| hold.before(probes));
        ensure!(at >= least, "sent to {id:?}, which is to be left alone until {least}");
        Ok(())
    }

    /// From then on nothing holds it back, that is known.
    pub(super) fn over_by(&self, id: TargetId) -> Moment {
        self.holds.get(&id).map_or(Moment::START, |hold| hold.most)
    }
}
