//! The core by hand, over a disk that takes no time: what few worlds would come to.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::broker::Broker;
use crate::broker::change::{Change, Load};
use crate::broker::io::{
    CommandError, DeadFilter, Dedup, Input, JobCommand, Output, Refusal, Reply, ReplyTo, Sending,
    Start, Submission, Submitted, Sweep, Windows,
};
use crate::broker::job::{End, JobId, JobState, Place, Priority, Source, TargetId};
use crate::broker::payload::{Answer, Outcome, Report, Request, TaskToken};
use crate::broker::policy::{Bounds, Limit, LimitName, Pace, Policy, Rate, Retry, Tempo};
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

/// A life of the core with what is on this disk.
fn start(disk: &Model) -> Start {
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
    Start {
        recovered: disk.recover(),
        targets: vec![(ERP, "erp".into(), policy)],
        limits: Vec::new(),
        retention: 3_600 * SECOND,
        windows: Windows::default(),
    }
}

impl Bench {
    fn new() -> Bench {
        Bench::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Policy)) -> Bench {
        Bench::started(&["erp"], |start| change(&mut start.targets[0].2))
    }

    fn started(targets: &[&str], change: impl FnOnce(&mut Start)) -> Bench {
        let mut disk = Model::default();
        disk.add_targets(&targets.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let now = Now { mono: Mono::ZERO, wall: Wall::from_millis(1_000_000) };
        let mut start = start(&disk);
        change(&mut start);
        let broker = Broker::new(start, now);
        let mut bench = Bench { broker, disk, now, replies: Vec::new(), sent: Vec::new() };
        bench.pass(Duration::ZERO);
        bench
    }

    /// What is to be written, and what to be read.
    fn outputs(&mut self) -> (Vec<Change>, Vec<Load>) {
        let (mut changes, mut loads) = (Vec::new(), Vec::new());
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Change(change) => changes.push(change),
                Output::Load(load) => loads.push(load),
                Output::Reply { reply, .. } => self.replies.push(reply),
                Output::Send(Sending { job, number, .. }) => self.sent.push((job, number)),
                _ => {}
            }
        }
        (changes, loads)
    }

    fn feed(&mut self, input: Input) {
        self.broker.handle(self.now, input);
        loop {
            let (changes, loads) = self.outputs();
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

    /// What was sent last is on its way to its target.
    fn leave(&mut self) {
        let (job, number) = *self.sent.last().expect("something was sent");
        self.feed(Input::Left { job, number, at: self.now.mono });
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
        self.submit_at(id, dedup, None)
    }

    fn submit_at(&mut self, id: u128, dedup: Option<&str>, not_before: Option<Wall>) -> Submitted {
        let dedup =
            dedup.map(|name| Dedup { name: name.into(), digest: [7; 32], keep: 10 * SECOND });
        self.hand_in(Submission { dedup, not_before, ..job(id) })
    }

    fn hand_in(&mut self, job: Submission) -> Submitted {
        self.feed(Input::Submit { to: ReplyTo(1), jobs: vec![job] });
        match self.replies.pop() {
            Some(Reply::Submitted(mut results)) => results.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn command(&mut self, command: JobCommand) -> Result<JobState, CommandError> {
        self.feed(Input::Command { to: ReplyTo(2), command });
        match self.replies.pop() {
            Some(Reply::Job(result)) => result.map(|job| job.1.state()),
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

fn job(id: u128) -> Submission {
    Submission {
        source: Source::Api,
        id: JobId(id),
        target: ERP,
        priority: Priority::Normal,
        request: Default::default(),
        not_before: None,
        deadline: None,
        max_attempts: None,
        dedup: None,
        group: None,
        flow: None,
        callback: None,
        unfit: None,
        delivery: None,
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

/// Somebody asks for a job by its name while its caller's hang-up is on its way, too: it is theirs, or
/// its name is free, and never is somebody promised a job that nobody does.
#[test]
fn a_name_that_is_looked_up_while_its_job_is_given_up() {
    for (in_memory, name_first) in [(true, true), (true, false), (false, true), (false, false)] {
        let few = Windows { timers: 1, ..Windows::default() };
        let mut bench = Bench::started(&["erp"], |start| {
            start.windows = if in_memory { Windows::default() } else { few };
        });
        let at = |seconds| Some(Wall::from_millis(1_000_000) + seconds * SECOND);
        bench.submit_at(8, None, at(500));
        bench.submit_at(1, Some("d"), at(1_000));
        let dedup = Some(Dedup { name: "d".into(), digest: [7; 32], keep: 10 * SECOND });
        let jobs = vec![Submission { dedup, ..job(2) }];
        let brought = Input::Submit { to: ReplyTo(9), jobs };
        let given_up = Input::Abandoned { job: JobId(1) };
        let inputs = if name_first { [brought, given_up] } else { [given_up, brought] };
        let (mut changes, mut answers) = (Vec::new(), Vec::new());
        for input in inputs {
            bench.broker.handle(bench.now, input);
            let (more, asked) = bench.outputs();
            changes.extend(more);
            answers.extend(asked.iter().map(|load| bench.disk.load(load)));
        }
        assert_eq!(answers.len(), if in_memory { 1 } else { 2 });
        for loaded in answers {
            bench.broker.handle(bench.now, Input::Loaded(loaded));
        }
        changes.extend(bench.outputs().0);
        let said = bench.replies.pop();
        let turn = bench.broker.cut();
        bench.disk.commit(turn, &changes);
        bench.broker.handle(bench.now, Input::Committed { turn });
        let theirs = match &said {
            Some(Reply::Submitted(results)) => match results[0] {
                Submitted::Duplicate { id } => id,
                Submitted::Accepted { .. } => JobId(2),
                _ => panic!("{said:?}"),
            },
            _ => panic!("{said:?}"),
        };
        assert_eq!(theirs == JobId(1), !in_memory && name_first, "{said:?}");
        let state = |id| bench.disk.job(id).map(|job| job.record.place.state());
        let first = if theirs == JobId(1) { JobState::Scheduled } else { JobState::Cancelled };
        assert_eq!(state(JobId(1)), Some(first), "{in_memory} {name_first}");
        assert_eq!(bench.submit(3, Some("d")), Submitted::Duplicate { id: theirs });
    }
}

#[test]
fn a_job_that_cannot_make_its_deadline_is_refused_at_once() {
    let mut bench = Bench::with(|policy| {
        policy.limit.rate = Rate::new(NonZeroU32::MIN, SECOND).unwrap();
        policy.limit.max_concurrent = NonZeroU32::new(100).unwrap();
        policy.outcomes.reject_if_late = true;
    });
    for id in 1..=10 {
        assert!(matches!(bench.submit(id, None), Submitted::Accepted { .. }));
    }
    let deadline = Some(bench.now.wall + 5 * SECOND);
    let refused = bench.hand_in(Submission { deadline, ..job(11) });
    let Submitted::Refused(Refusal::TooLate { estimated_start }) = refused else {
        panic!("{refused:?}");
    };
    let after = estimated_start.since(bench.now.wall);
    assert!(after > 8 * SECOND && after < 12 * SECOND, "{after:?}");
    // What goes before the others makes it, and so does what may wait longer.
    let high = Submission { deadline, priority: Priority::High, ..job(12) };
    assert!(matches!(bench.hand_in(high), Submitted::Accepted { .. }));
    let later = Some(bench.now.wall + 20 * SECOND);
    let patient = Submission { deadline: later, ..job(13) };
    assert!(matches!(bench.hand_in(patient), Submitted::Accepted { .. }));
    // A message cannot be refused: it ends at once, and its workflow is told.
    let message = Submission { deadline, source: Source::Sqs, ..job(14) };
    let Submitted::Accepted { place, .. } = bench.hand_in(message) else { panic!("refused") };
    assert!(matches!(place, Place::Ended { end: End::Expired, .. }), "{place:?}");
}

/// Were it left where it stands in the calendar, it would wait until the clock is there again.
#[test]
fn a_retry_comes_though_the_clock_was_set_back() {
    for restarted in [false, true] {
        let mut bench = Bench::new();
        bench.submit(1, None);
        bench.pass(SECOND);
        assert_eq!(bench.report(Outcome::Refused), JobId(1));
        assert!(bench.sent.is_empty());
        bench.now.wall = Wall::from_millis(7);
        if restarted {
            bench.broker = Broker::new(start(&bench.disk), bench.now);
        }
        bench.feed(Input::Tick);
        assert!(bench.sent.is_empty(), "not sooner than it may");
        // Back into line, and then off.
        bench.pass(SECOND);
        bench.pass(SECOND);
        assert_eq!(bench.sent, [(JobId(1), 2)], "restarted: {restarted}");
    }
}

/// Nobody looks at what is of a target that is not configured, until it is again.
#[test]
fn a_retry_comes_though_its_target_was_away_when_the_clock_was_set_back() {
    let mut bench = Bench::new();
    bench.submit(1, None);
    bench.pass(SECOND);
    assert_eq!(bench.report(Outcome::Refused), JobId(1));
    assert!(bench.sent.is_empty());
    let Start { targets, limits, .. } = start(&bench.disk);
    bench.feed(Input::Configure { targets: Vec::new(), limits: limits.clone() });
    bench.now.wall = Wall::from_millis(7);
    bench.feed(Input::Tick);
    bench.feed(Input::Configure { targets, limits });
    bench.pass(SECOND);
    bench.pass(SECOND);
    assert_eq!(bench.sent, [(JobId(1), 2)]);
}

#[test]
fn what_is_in_the_calendar_waits_for_it() {
    let mut bench = Bench::new();
    let due = bench.now.wall + 2 * SECOND;
    bench.submit_at(1, None, Some(due));
    bench.now.wall = Wall::from_millis(7);
    bench.pass(10 * SECOND);
    assert!(bench.sent.is_empty());
    bench.now.wall = due;
    bench.pass(Duration::ZERO);
    bench.pass(SECOND);
    assert_eq!(bench.sent, [(JobId(1), 1)]);
}

/// A target is made slow just after a request of it left: its next one waits for the new rate. It
/// must not be chosen until then, nor others believe that the token of their limit is for it.
#[test]
fn who_is_held_up_by_a_slower_rate_holds_up_nobody_else() {
    let crm = TargetId(1);
    let legacy = LimitName::new("legacy");
    let pace = |count, per, burst| Pace {
        rate: Rate::new(NonZeroU32::new(count).unwrap(), per).unwrap(),
        burst: NonZeroU32::new(burst).unwrap(),
    };
    let limit = |pace: Pace| Limit::plain(pace.rate, pace.burst, NonZeroU32::new(9).unwrap());
    let shared = Bounds {
        pace: Some(pace(50, SECOND, 1)),
        max_concurrent: None,
        hold_after_timeout: Duration::ZERO,
        ceilings: Default::default(),
    };
    let mut targets = start(&Model::default()).targets;
    targets[0].2.limit = limit(pace(10, SECOND, 5));
    targets[0].2.share = vec![legacy.clone()];
    targets.push((crm, "crm".into(), targets[0].2.clone()));
    targets[1].2.limit = limit(pace(10, SECOND, 1));
    let limits = vec![(legacy, shared)];
    let mut bench = Bench::started(&["erp", "crm"], |start| {
        (start.targets, start.limits) = (targets.clone(), limits.clone());
    });
    bench.pass(SECOND);
    bench.submit(1, None);
    assert_eq!(bench.sent, [(JobId(1), 1)]);
    bench.leave();
    targets[0].2.limit = limit(pace(1, 60 * SECOND, 1));
    bench.feed(Input::Configure { targets, limits });
    bench.hand_in(Submission { priority: Priority::High, ..job(2) });
    bench.hand_in(Submission { target: crm, ..job(3) });
    bench.hand_in(Submission { target: crm, ..job(4) });
    for _ in 0..10 {
        bench.pass(SECOND / 10);
        bench.leave();
    }
    assert_eq!(bench.sent, [(JobId(1), 1), (JobId(3), 1), (JobId(4), 1)]);
    bench.pass(60 * SECOND);
    bench.pass(SECOND);
    assert_eq!(bench.sent.last(), Some(&(JobId(2), 1)));
}

/// A target leaves a limit with a request under way, which keeps its place there to its end. Who
/// waits for that place is of another family by then.
#[test]
fn a_place_of_a_shared_limit_is_seen_when_who_held_it_has_left_the_limit() {
    let crm = TargetId(1);
    let legacy = LimitName::new("legacy");
    let one = Bounds {
        pace: None,
        max_concurrent: Some(NonZeroU32::MIN),
        hold_after_timeout: Duration::ZERO,
        ceilings: Default::default(),
    };
    let mut targets = start(&Model::default()).targets;
    targets[0].2.share = vec![legacy.clone()];
    targets.push((crm, "crm".into(), targets[0].2.clone()));
    let limits = vec![(legacy, one)];
    let mut bench = Bench::started(&["erp", "crm"], |start| {
        (start.targets, start.limits) = (targets.clone(), limits.clone());
    });
    bench.pass(SECOND);
    bench.submit(1, None);
    assert_eq!(bench.sent, [(JobId(1), 1)]);
    bench.hand_in(Submission { target: crm, ..job(2) });
    targets[0].2.share.clear();
    bench.feed(Input::Configure { targets, limits });
    bench.pass(SECOND);
    assert_eq!(bench.sent, [(JobId(1), 1)], "the place is taken");
    assert_eq!(bench.report(Outcome::Done), JobId(1));
    assert_eq!(bench.sent, [(JobId(2), 1)]);
}

/// Its row was asked for, and on its way here it was loaded among those that are next.
#[test]
fn a_job_whose_workflow_is_gone_does_not_start_while_its_row_is_looked_for() {
    let mut bench = Bench::started(&["erp"], |start| start.windows.line = 1);
    bench.pass(SECOND);
    let token = || Request { task_token: TaskToken::new("a token"), ..Request::default() };
    for id in 1..=8 {
        let waiting = Submission { request: token().into(), ..job(id) };
        assert!(matches!(bench.hand_in(waiting), Submitted::Accepted { .. }));
    }
    let gone = JobId(8);
    let reason = "its execution was stopped".to_owned();
    bench.broker.handle(bench.now, Input::TaskGone { job: gone, reason });
    let asked = std::iter::from_fn(|| bench.broker.poll_output()).collect::<Vec<_>>();
    let [Output::Load(row)] = &asked[..] else { panic!("{asked:?}") };
    for id in 1..=7 {
        assert_eq!(bench.sent, [(JobId(id), 1)]);
        assert_eq!(bench.report(Outcome::Done), JobId(id));
        bench.pass(SECOND);
    }
    assert!(bench.sent.is_empty());
    let late = bench.disk.load(row);
    bench.feed(Input::Loaded(late));
    let states = bench.disk.jobs().filter(|(id, _)| *id == gone);
    let states: Vec<JobState> = states.map(|(_, job)| job.record.place.state()).collect();
    assert_eq!(states, [JobState::Cancelled]);
}
