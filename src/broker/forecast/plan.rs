//! What would happen if so many jobs came.

use super::Queued;
use super::course::{Course, Mark, Work};
use super::limits::Limits;
use super::phases::{Phase, Phases};
use crate::broker::job::Priority;
use crate::broker::time::Wall;

/// Jobs that somebody thinks of handing in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub at: Wall,
    pub priority: Priority,
    pub jobs: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// When the first and the last of them would start; `None`: never as things stand, or past
    /// what can be foreseen.
    pub first: Option<Wall>,
    pub last: Option<Wall>,
    /// What already waits and would start later for them, by priority; only what would.
    pub delays: Vec<Delay>,
    /// What decides, from when they come to their last start.
    pub phases: Vec<Phase>,
    /// Further phases that are not listed.
    pub more_phases: u64,
}

/// The jobs of one queue that wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    pub priority: Priority,
    /// That would not have started when the others come.
    pub jobs: u64,
    /// When the last of them starts without the others, and with them.
    pub without: Option<Wall>,
    pub with: Option<Wall>,
}

/// Plays `order` forward on top of what is queued, and what is queued without it.
pub fn plan(limits: &Limits, queued: &Queued, order: Order) -> Plan {
    let before = queued[order.priority.index()];
    let mut with: Vec<Mark> =
        Priority::ALL.map(|priority| Mark::new(priority, queued[priority.index()])).into();
    with.push(Mark::new(order.priority, before.saturating_add(1)));
    with.push(Mark::new(order.priority, before.saturating_add(order.jobs)));
    let work = Work { queued: *queued, order: Some(order) };
    Course::new(limits, &work).run(&mut with, |_| {});
    // Once more, for what decides until its last start.
    let mut phases = Phases::new(limits, order.at);
    let mut last = [Mark::new(order.priority, before.saturating_add(order.jobs))];
    Course::new(limits, &work).run(&mut last, |step| phases.add(step));

    let mut without = Priority::ALL.map(|priority| Mark::new(priority, queued[priority.index()]));
    let mut started = [0.0; 3];
    let work = Work { queued: *queued, order: None };
    Course::new(limits, &work).run(&mut without, |step| {
        let length = step.to.since(step.from).as_secs_f64();
        let part = if step.to <= order.at {
            1.0
        } else {
            order.at.since(step.from).as_secs_f64() / length.max(f64::MIN_POSITIVE)
        };
        for (started, starts) in started.iter_mut().zip(step.starts) {
            *started += starts * part.clamp(0.0, 1.0);
        }
    });

    let delays = Priority::ALL.into_iter().filter_map(|priority| {
        let p = priority.index();
        let (without, with) = (without[p].at, with[p].at);
        // In whole seconds: less is the roundness of the estimate.
        let later = match (without, with) {
            (Some(without), Some(with)) => with.since(without).as_secs() > 0,
            (Some(_), None) => true,
            (None, _) => false,
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most `queued`
        let jobs = queued[p].saturating_sub(started[p].floor() as u64);
        (later && jobs > 0).then_some(Delay { priority, jobs, without, with })
    });
    let delays = delays.collect();
    let (phases, more_phases) = phases.finish();
    let first = with.get(3).and_then(|mark| mark.at).map(|at| at.max(order.at));
    let last = with.get(4).and_then(|mark| mark.at).map(|at| at.max(order.at));
    Plan { first, last, delays, phases, more_phases }
}
