//! Those who want something: they submit, repeat themselves, change their minds and hang up.

use std::sync::Arc;
use std::time::Duration;

use super::rng::Rng;
use super::shape::Shape;
use crate::broker::course::Delivery;
use crate::broker::fair::FlowKey;
use crate::broker::group::GroupName;
use crate::broker::io::{DeadFilter, Dedup, Edit, Input, JobCommand, ReplyTo, Submission, Sweep};
use crate::broker::job::{JobId, Priority, Source, TargetId};
use crate::broker::payload::Request;
use crate::broker::time::Wall;

#[derive(Debug)]
pub(super) struct Callers {
    last_asked: u64,
    /// Every job that anybody submitted; whether it was taken is another matter.
    jobs: Vec<JobId>,
    /// Of whom somebody wanted something last.
    latest: Option<JobId>,
    request: Arc<Request>,
}

impl Callers {
    pub(super) fn new() -> Callers {
        Callers { last_asked: 0, jobs: Vec::new(), latest: None, request: Arc::default() }
    }

    pub(super) fn next_ask(&mut self) -> ReplyTo {
        self.last_asked += 1;
        ReplyTo(self.last_asked)
    }

    /// `targets`: one more than there ever were.
    pub(super) fn want(
        &mut self,
        rng: &mut Rng,
        shape: &Shape,
        targets: &[TargetId],
        wall: Wall,
    ) -> Input {
        let to = self.next_ask();
        if !shape.commands || self.jobs.is_empty() || rng.one_in(2) {
            let count = if rng.one_in(6) { rng.between(2, 20) } else { 1 };
            return self.submit(to, rng, shape, targets, wall, count);
        }
        let target = rng.pick(targets);
        // Any; or a late one, which is likelier to be under way.
        let jobs = self.jobs.len() as u64;
        let back = rng.below(jobs).min(if rng.one_in(2) { jobs } else { rng.below(jobs) });
        let job = self.jobs[(jobs - 1 - back) as usize];
        let job = match self.latest {
            _ if rng.one_in(50) => JobId(u128::from(rng.dice())),
            Some(latest) if rng.one_in(3) => latest,
            _ => job,
        };
        self.latest = Some(job);
        let command = match rng.below(12) {
            0 => return Input::Pause { to, target, paused: rng.one_in(3) },
            1 => {
                return Input::Sweep {
                    to,
                    target,
                    sweep: match rng.below(4) {
                        0 => Sweep::Purge,
                        1 => Sweep::Redrive { pace: Some(Duration::from_millis(300)), by: None },
                        _ => Sweep::Redrive { pace: None, by: Some("ops".into()) },
                    },
                    which: self.which(rng, wall),
                };
            }
            2 | 3 => return Input::Abandoned { job },
            4 | 5 => JobCommand::Cancel { job, even_if_tried: rng.one_in(2), reason: None },
            6..=8 => JobCommand::Reprioritize { job, priority: rng.pick(&Priority::ALL), by: None },
            9 | 10 => JobCommand::Redrive { job, edit: self.edit(rng), by: None },
            _ => JobCommand::Purge { job },
        };
        Input::Command { to, command }
    }

    fn which(&self, rng: &mut Rng, wall: Wall) -> DeadFilter {
        let ago = |secs: u64| Wall::from_millis(wall.as_millis().saturating_sub(secs * 1_000));
        let codes = ["Tollgate.OutcomeUnknown", "Tollgate.RetriesExhausted", "Tollgate.Http.404"];
        DeadFilter {
            code: rng.one_in(4).then(|| rng.pick(&codes).to_owned()),
            priority: rng.one_in(4).then(|| rng.pick(&Priority::ALL)),
            died_before: rng.one_in(6).then(|| ago(2)),
            died_after: rng.one_in(6).then(|| ago(20)),
        }
    }

    fn edit(&self, rng: &mut Rng) -> Option<Box<Edit>> {
        rng.one_in(3).then(|| {
            Box::new(Edit {
                priority: rng.one_in(2).then(|| rng.pick(&Priority::ALL)),
                request: rng.one_in(2).then(|| self.request.clone()),
                parts: "priority".into(),
            })
        })
    }

    pub(super) fn submit(
        &mut self,
        to: ReplyTo,
        rng: &mut Rng,
        shape: &Shape,
        targets: &[TargetId],
        wall: Wall,
        count: u64,
    ) -> Input {
        let jobs = (0..count).map(|_| self.submission(rng, shape, targets, wall)).collect();
        Input::Submit { to, jobs }
    }

    fn submission(
        &mut self,
        rng: &mut Rng,
        shape: &Shape,
        targets: &[TargetId],
        wall: Wall,
    ) -> Submission {
        let serial = self.jobs.len() as u128;
        let id = JobId((u128::from(rng.dice()) << 40) | serial);
        self.jobs.push(id);
        let mut in_a_while = |one_in| {
            let wanted = shape.timed && rng.one_in(one_in);
            let far = Duration::from_secs(rng.pick(&[1, 60]));
            let by = rng.span(Duration::from_millis(1), far);
            let past = Wall::from_millis(wall.as_millis().saturating_sub(by.as_millis() as u64));
            let when = if rng.one_in(8) { past } else { wall + by };
            wanted.then_some(when)
        };
        let (not_before, deadline) = (in_a_while(3), in_a_while(3));
        let dedup = (shape.dedup && rng.one_in(2)).then(|| Dedup {
            name: format!("order-{}", rng.below(12)),
            digest: [u8::from(rng.one_in(4)); 32],
            keep: rng.pick(&[Dedup::KEEP, Duration::from_secs(1)]),
        });
        let group = (shape.groups > 0 && rng.one_in(2)).then(|| {
            let name = format!("group-{}", rng.below(shape.groups));
            GroupName::new(&name).expect("a name")
        });
        let flow = (shape.flows > 0 && !rng.one_in(4)).then(|| {
            // One of them wants as much as all others.
            let number = if rng.one_in(2) { 0 } else { rng.below(shape.flows) };
            FlowKey::new(&format!("tenant-{number}")).expect("a key")
        });
        Submission {
            source: Source::Api,
            id,
            target: rng.pick(targets),
            priority: rng.pick(&Priority::ALL),
            request: self.request.clone(),
            not_before,
            deadline,
            max_attempts: rng.one_in(4).then(|| rng.between(1, 3) as u32),
            delivery: (shape.delivery.is_none() && rng.one_in(2)).then(|| rng.pick(&Delivery::ALL)),
            dedup,
            group,
            flow,
            callback: None,
            unfit: None,
        }
    }
}
