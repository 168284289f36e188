//! What is let go of a target's dead jobs: `dead_retention`, by age, count and size. The store finds
//! them, the oldest first; here is when it is asked, and how full it is.

use std::collections::BTreeMap;

use super::Broker;
use super::change::{Buried, Load};
use super::io::{DeadFill, Output};
use super::job::{Header, Place, TargetId};
use super::policy::DeadRetention;
use super::time::{Now, Wall};

/// From here on people are warned, and no more once it is below [`ENOUGH`] again.
const NEARLY_FULL: f64 = 0.8;
const ENOUGH: f64 = 0.7;

#[derive(Debug, Default)]
pub(super) struct Graves(BTreeMap<TargetId, Plot>);

#[derive(Debug)]
struct Plot {
    keep: DeadRetention,
    /// A question is under way.
    asked: bool,
    /// Something has changed since the last question.
    stale: bool,
    /// When the oldest one will be too old.
    next: Option<Wall>,
    buried: Buried,
    warned: bool,
}

impl Graves {
    pub(super) fn configure(&mut self, id: TargetId, keep: Option<DeadRetention>) {
        match keep.filter(|keep| !keep.keeps_all()) {
            None => drop(self.0.remove(&id)),
            Some(keep) => {
                let plot = self.0.entry(id).or_insert_with(|| Plot {
                    keep,
                    asked: false,
                    stale: true,
                    next: None,
                    buried: Buried::default(),
                    warned: false,
                });
                plot.stale |= plot.keep != keep;
                plot.keep = keep;
            }
        }
    }

    /// A job of this target died, or one that is dead has changed.
    pub(super) fn changed(&mut self, id: TargetId) {
        if let Some(plot) = self.0.get_mut(&id) {
            plot.stale = true;
        }
    }

    pub(super) fn due(&self) -> Option<Wall> {
        self.0.values().filter(|plot| !plot.asked).filter_map(|plot| plot.next).min()
    }

    /// How full it is: 1 where the next one that dies, or the oldest when it is a little older,
    /// makes another one go. `None` where there is no limit.
    pub(super) fn fill(&self, id: TargetId, now: Wall) -> Option<f64> {
        self.0.get(&id).map(|plot| plot.fill(now))
    }
}

impl Plot {
    fn fill(&self, now: Wall) -> f64 {
        let Buried { count, size, oldest } = self.buried;
        let part = |is: f64, most: Option<f64>| most.map_or(0.0, |most| is / most);
        let age = oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
        part(count as f64, self.keep.count.map(|most| most as f64))
            .max(part(size as f64, self.keep.size.map(|most| most as f64)))
            .max(part(age, self.keep.age.map(|most| most.as_secs_f64())))
    }
}

impl Broker {
    /// Asks the store what is to go, where that may have changed.
    pub(super) fn look_at_graves(&mut self, now: Now) {
        let limit = self.windows.page;
        for (id, plot) in &mut self.graves.0 {
            let due = plot.next.is_some_and(|next| next <= now.wall);
            if plot.asked || !(plot.stale || due) {
                continue;
            }
            (plot.asked, plot.stale, plot.next) = (true, false, None);
            let load = Load::Graves { target: *id, keep: plot.keep, now: now.wall, limit };
            self.outputs.push_back(Output::Load(load));
        }
    }

    /// `rows`: what is to go. `buried`: what was there, those among them.
    pub(super) fn let_graves_go(
        &mut self,
        now: Now,
        id: TargetId,
        rows: Vec<(Header, Place)>,
        buried: Buried,
        next: Option<Wall>,
    ) {
        let mut dropped = 0;
        for (header, place) in rows {
            let job = self.known(header.id).unwrap_or((header, place));
            // What memory has learned meanwhile is newer than what the store said.
            let same = job.1 == place && !self.jobs.is_deleted(job.0.id);
            if same && super::command::may_be_forgotten(&job) {
                self.purge(&job);
                dropped += 1;
            }
        }
        let Some(plot) = self.graves.0.get_mut(&id) else { return };
        (plot.asked, plot.buried) = (false, buried);
        plot.stale |= dropped > 0;
        plot.next = next.zip(plot.keep.age).map(|(oldest, age)| oldest + age);
        let fill = plot.fill(now.wall);
        let warn = fill >= NEARLY_FULL && !plot.warned;
        plot.warned = fill >= NEARLY_FULL || (plot.warned && fill >= ENOUGH);
        if warn || dropped > 0 {
            let told = DeadFill { target: id, fill, dropped };
            self.outputs.push_back(Output::DeadFill(told));
        }
    }
}
