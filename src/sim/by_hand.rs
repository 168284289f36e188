//! The core by hand, over a disk that takes no time: what few worlds would come to.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::broker::Broker;
use crate::broker::change::{Change, Load};
use crate::broker::io::{
    CommandError, DeadFilter, Dedup, Input, JobCommand, Output, Reply, ReplyTo, Start, Submission,
    Submitted, Sweep, Windows,
};
use crate::broker::job::{JobId, JobState, Priority, Source, TargetId};
use crate::broker::payload::{Answer, Outcome, Report};
use crate::broker::policy::{Limit, Policy, Rate, Retry, Tempo};
use crate::broker::time::{Mono, Now, Wall};
use crate::store::model::Model;

const ERP: TargetId = TargetId(0);
const SECOND: Duration = Duration::from_secs(1);

/// The core with a disk that takes no time.
struct Bench {
    broker: Broker,
    disk: Model,
    now: Now,
    replies: Vec<Reply>,
    sent: Vec<(JobId, u32)>,
}

impl Bench {
    fn new() -> Bench {
        let mut disk = Model::default();
        disk.add_targets(&["erp".to_owned()]);
        let rate = Rate::new(NonZeroU32::new(1_000).unwrap(), SECOND).unwrap();
        let limit = Limit::plain(rate, NonZeroU32::MIN, NonZeroU32::MIN);
        let retry = Retry {
            max_attempts: NonZeroU32::MIN,
            min_backoff: SECOND,
            max_backoff: SECOND,
            max_retry_duration: SECOND,
        };
        let policy = Policy {
            limit,
            share: Vec::new(),
            tempo: Tempo::default(),
            retry,
            max_deferrals: NonZeroU32::MIN,
            max_queued: 1_000_000,
            on_group_failure: Default::default(),
            weights: Default::default(),
            outcomes: Default::default(),
        };
        let now = Now { mono: Mono::ZERO, wall: Wall::from_millis(1_000_000) };
        let start = Start {
            recovered: disk.recover(),
            targets: vec![(ERP, "erp".into(), policy)],
            limits: Vec::new(),
            retention: 3_600 * SECOND,
            windows: Windows::default(),
        };
        let broker = Broker::new(start, now);
        Bench { broker, disk, now, replies: Vec::new(), sent: Vec::new() }
    }

    fn feed(&mut self, input: Input) {
        self.broker.handle(self.now, input);
        loop {
            let (mut changes, mut loads) = (Vec::<Change>::new(), Vec::<Load>::new());
            while let Some(output) = self.broker.poll_output() {
                match output {
                    Output::Change(change) => changes.push(change),
                    Output::Load(load) => loads.push(load),
                    Output::Reply { reply, .. } => self.replies.push(reply),
                    Output::Send { job, number, .. } => self.sent.push((job, number)),
                    _ => {}
                }
            }
            if changes.is_empty() && loads.is_empty() {
                return;
            }
            let turn = self.broker.cut();
            self.disk.commit(turn, &changes);
            self.broker.handle(self.now, Input::Committed { turn });
            for load in loads {
                let loaded = self.disk.load(&load);
                self.broker.handle(self.now, Input::Loaded(loaded));
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono + time, wall: self.now.wall + time };
        self.feed(Input::Tick);
    }

    /// Ends what is under way; returns what it was.
    fn report(&mut self, outcome: Outcome) -> JobId {
        let (job, number) = self.sent.pop().expect("something is under way");
        let answer = Some(Answer { status: 400, ..Answer::default() });
        let report = Report {
            outcome,
            answer,
            retry_after: None,
            hint: None,
            reason: None,
            took: SECOND,
            close: Default::default(),
            follow: Default::default(),
        };
        self.feed(Input::Attempted { job, number, report });
        job
    }

    fn submit(&mut self, id: u128, dedup: Option<&str>) -> Submitted {
        let dedup =
            dedup.map(|name| Dedup { name: name.into(), digest: [7; 32], keep: 10 * SECOND });
        let job = Submission {
            source: Source::Api,
            id: JobId(id),
            target: ERP,
            priority: Priority::Normal,
            request: Default::default(),
            not_before: None,
            deadline: None,
            max_attempts: None,
            dedup,
            group: None,
            flow: None,
            unfit: None,
            delivery: None,
        };
        self.feed(Input::Submit { to: ReplyTo(1), jobs: vec![job] });
        match self.replies.pop() {
            Some(Reply::Submitted(mut results)) => results.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn command(&mut self, command: JobCommand) -> Result<JobState, CommandError> {
        self.feed(Input::Command { to: ReplyTo(2), command });
        match self.replies.pop() {
            Some(Reply::Job(result)) => result.map(|(_, place)| place.state()),
            other => panic!("{other:?}"),
        }
    }

    fn redrive_all(&mut self) -> u64 {
        let (sweep, which) = (Sweep::Redrive { pace: None, by: None }, DeadFilter::default());
        self.feed(Input::Sweep { to: ReplyTo(3), target: ERP, sweep, which });
        match self.replies.pop() {
            Some(Reply::Swept(count)) => count,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_dead_job_whose_name_a_later_one_has_is_not_redriven() {
    let mut bench = Bench::new();
    let (first, second) = (JobId(1), JobId(2));
    let redrive = |job| JobCommand::Redrive { job, edit: None, by: None };
    assert!(matches!(bench.submit(1, Some("d")), Submitted::Accepted { .. }));
    bench.pass(SECOND);
    assert_eq!(bench.report(Outcome::Rejected), first);
    assert_eq!(bench.submit(9, Some("d")), Submitted::Duplicate { id: first });
    bench.pass(20 * SECOND);
    assert!(matches!(bench.submit(2, Some("d")), Submitted::Accepted { .. }));
    bench.pass(SECOND);
    // While the later one is under way, and once it is dead too.
    let overtaken = Err(CommandError::Overtaken { by: second });
    assert_eq!(bench.command(redrive(first)), overtaken);
    assert_eq!(bench.redrive_all(), 0);
    assert_eq!(bench.report(Outcome::Rejected), second);
    assert_eq!(bench.command(redrive(first)), overtaken);
    assert_eq!(bench.redrive_all(), 1, "the later one alone");
    // What is gone has no name.
    bench.pass(SECOND);
    assert_eq!(bench.report(Outcome::Rejected), second);
    let purge = JobCommand::Purge { job: second };
    assert!(bench.command(purge).is_ok());
    assert_eq!(bench.command(redrive(first)), Ok(JobState::Queued));
}
