//! The store does what the model does, turn by turn, over closings and crashes.

use std::path::Path;

use super::weather::{CLAIMED, FLOWS, GROUPS, Weather};
use super::{names, open_without_waiting, options};
use crate::broker::callback::{CallbackName, Telling};
use crate::broker::change::{DedupKey, Load, Recovered, Ticket, Turn};
use crate::broker::counts;
use crate::broker::fair::{FlowId, FlowKey};
use crate::broker::group::{GroupKey, GroupName};
use crate::broker::job::{JobId, JobState, Owed, Priority, TargetId};
use crate::broker::payload::Request;
use crate::broker::policy::DeadRetention;
use crate::broker::time::Wall;
use crate::store::journal::Directory;
use crate::store::keys;
use crate::store::model::Model;
use crate::store::{CallbackCount, CallbackList, Cursor, Filter, JobRecord, Page, Reader, Store};

#[test]
fn the_store_does_what_the_model_does() {
    for seed in 0..4 {
        run(seed, 100);
    }
}

/// `TOLLGATE_SEEDS=1000..2000 cargo test --lib store::tests::against_model -- --ignored`
#[test]
#[ignore = "as many seeds as one likes"]
fn the_store_does_what_the_model_does_for_many_seeds() {
    let seeds = std::env::var("TOLLGATE_SEEDS").unwrap_or_else(|_| "0..100".into());
    let (from, to) = seeds.split_once("..").unwrap();
    for seed in from.parse().unwrap()..to.parse().unwrap() {
        run(seed, 300);
    }
}

fn run(seed: u64, turns: u64) {
    // Shown only if the test fails.
    println!("seed {seed}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let mut weather = Weather::new(seed);
    let mut model = Model::default();
    let mut known = names(&["erp"]);
    model.add_targets(&known);
    let (mut store, recovered) = open_without_waiting(&path, &known);
    assert_eq!(recovered, model.recover());
    for turn in 0..turns {
        if weather.dice.one_in(30) {
            weather.targets += 1;
            known.push(format!("target {}", weather.targets));
            assert_eq!(store.add_targets(&known).unwrap(), model.add_targets(&known));
        }
        let changes = weather.turn(&model);
        let started = store.commit(Turn(turn), &changes).unwrap();
        assert_eq!(started, model.commit(Turn(turn), &changes), "turn {turn}");
        same_answers(&store, &model, &mut weather);
        store.tidy().unwrap();
        if weather.dice.one_in(15) {
            let copy = directory.path().join("copy.redb");
            copy_store(&path, &copy);
            let recovered = same_after_opening(&copy, &model);
            assert_eq!(recovered, model.recover(), "turn {turn}, killed");
        }
        if weather.dice.one_in(15) {
            drop(store);
            let recovered;
            // A target that the configuration has forgotten is still there.
            (store, recovered) = open_without_waiting(&path, &known[..1]);
            assert_eq!(recovered, model.recover(), "turn {turn}, closed");
        }
    }
    drop(store);
    assert_eq!(same_after_opening(&path, &model), model.recover());
}

/// What a SIGKILL would leave, in place of what is there.
pub(super) fn copy_store(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
    let (from, to) = (Directory::path_beside(from), Directory::path_beside(to));
    if to.exists() {
        std::fs::remove_dir_all(&to).unwrap();
    }
    std::fs::create_dir(&to).unwrap();
    for segment in std::fs::read_dir(from).unwrap() {
        let segment = segment.unwrap();
        std::fs::copy(segment.path(), to.join(segment.file_name())).unwrap();
    }
}

fn same_after_opening(path: &Path, model: &Model) -> Recovered {
    let (store, recovered) = Store::open(&options(path), &[]).unwrap();
    same(&store.reader(), model);
    // What time it is the model does not know.
    Recovered { lived: Default::default(), ..recovered }
}

/// Every job, list and token is as it should be, and there is nothing else.
pub(super) fn same(reader: &Reader, model: &Model) {
    for (id, job) in model.jobs() {
        assert_eq!(reader.job(id).unwrap().as_ref(), Some(&job.record));
        assert_eq!(request(reader, id).as_ref(), Some(&*job.request));
        assert_eq!(reader.answer(id).unwrap().as_ref(), job.answer.as_deref());
        assert_eq!(reader.original(id).unwrap().as_ref(), job.original.as_deref());
        let attempts: Vec<_> = job.attempts.values().cloned().collect();
        assert_eq!(reader.attempts(id).unwrap(), attempts);
    }
    same_lists(reader, model);
    same_tokens(reader, model);
    same_callbacks(reader, model);
}

/// With its token, as a start finds it.
fn request(reader: &Reader, id: JobId) -> Option<Request> {
    let request = reader.request(id).unwrap()?;
    assert_eq!(request.task_token, None, "it is kept elsewhere");
    Some(Request { task_token: reader.token(id).unwrap(), ..request })
}

/// A job is among those that its callback is to be told of, or was not told of, and counted.
fn same_callbacks(reader: &Reader, model: &Model) {
    let mut counts = Vec::new();
    for name in ["audit", "orders"].map(|name| CallbackName::new(name).unwrap()) {
        let all = model.jobs().filter_map(|(id, job)| {
            let callback = job.record.header.callback.as_deref()?;
            (callback.name == name).then_some((id, callback.telling))
        });
        let (mut owed, mut undelivered) = (Vec::new(), Vec::new());
        for (id, telling) in all {
            match telling {
                Telling::Owed { .. } => owed.push(id),
                Telling::Undelivered { .. } => undelivered.push(id),
                Telling::NotYet | Telling::Delivered => {}
            }
        }
        let read = |list, after, limit| reader.callbacks(&name, list, after, limit).unwrap();
        assert_eq!(read(CallbackList::Owed, None, usize::MAX), owed);
        assert_eq!(read(CallbackList::Undelivered, None, usize::MAX), undelivered);
        if let [first, rest @ ..] = &*owed {
            let page = read(CallbackList::Owed, Some(*first), 2);
            assert_eq!(page, rest[..rest.len().min(2)]);
        }
        let (owed, undelivered) = (owed.len() as u64, undelivered.len() as u64);
        if owed + undelivered > 0 {
            counts.push(CallbackCount { name, owed, undelivered });
        }
    }
    assert_eq!(reader.callback_counts().unwrap(), counts);
}

/// A token is among those of living jobs or in the outbox, as long as it is owed.
fn same_tokens(reader: &Reader, model: &Model) {
    let owed = |ended| {
        let jobs = model.jobs().filter(move |(_, job)| {
            let record = &job.record;
            record.header.owed == Owed::TaskToken && record.place.is_ended() == ended
        });
        jobs.map(|(id, job)| (id, job.request.task_token.clone().unwrap())).collect::<Vec<_>>()
    };
    let (living, ended) = (owed(false), owed(true));
    assert_eq!(reader.tokens(None, usize::MAX).unwrap(), living);
    assert_eq!(reader.tokens_len().unwrap(), living.len() as u64);
    if let [(first, _), rest @ ..] = &*living {
        assert_eq!(reader.tokens(Some(*first), 2).unwrap(), rest[..rest.len().min(2)]);
    }
    let ids: Vec<JobId> = ended.iter().map(|(id, _)| *id).collect();
    assert_eq!(reader.outbox(None, usize::MAX).unwrap(), ids);
    assert_eq!(reader.outbox_len().unwrap(), ids.len() as u64);
}

fn same_answers(store: &Store, model: &Model, weather: &mut Weather) {
    let ticket = Ticket(7);
    let limit = weather.dice.roll(6) as usize;
    let ids: Vec<JobId> = model.jobs().map(|(id, _)| id).chain([JobId(0)]).collect();
    let id = *weather.dice.pick(&ids);
    let rank = model.job(id).map(|job| job.record.header.rank());
    let after = weather.dice.one_in(2).then(|| (weather.time(), id));
    let target = weather.target();
    let end = Some((Wall::NEVER, JobId(u128::MAX)));
    let mut loads = vec![
        Load::Timers { after: end, limit },
        Load::Deadlines { after: end, limit },
        Load::Dead { target, after: end, limit, ticket },
        Load::Timers { after, limit },
        Load::Deadlines { after, limit },
        Load::Dead { target, after, limit, ticket },
        Load::Finished { before: weather.time(), limit },
        Load::Graves { target, keep: keep(weather), now: weather.time(), limit },
        Load::Graves { target, keep: keep(weather), now: Wall::NEVER, limit: 1_000 },
        Load::Job { id, ticket },
        Load::Candidates { ids: ids.clone(), ticket },
        Load::Job { id: JobId(u128::MAX), ticket },
    ];
    for priority in Priority::ALL {
        loads.push(Load::Ready { target, priority, after: rank, limit });
        loads.push(Load::Ready { target, priority, after: None, limit: 1_000 });
        loads.push(Load::Ready { target, priority, after: Some(keys::LAST_RANK), limit });
        for key in FLOWS {
            let key = FlowKey::new(key).unwrap();
            loads.push(Load::Flow { flow: FlowId { target, priority, key }, ticket });
        }
    }
    for name in CLAIMED.into_iter().chain(["never"]) {
        let key = DedupKey { target, name: name.into() };
        loads.push(Load::Claim { key, ticket });
    }
    let mut vacant = None;
    for name in GROUPS {
        let key = GroupKey { target, name: GroupName::new(name).unwrap() };
        loads.push(Load::Group { key: key.clone(), ticket });
        loads.push(Load::Heir { key: key.clone(), ticket });
        loads.push(Load::Vacant { after: vacant.replace(key), limit });
    }
    for load in loads {
        assert_eq!(store.load(&load).unwrap(), model.load(&load), "{load:?}");
    }
    let reader = store.reader();
    let job = model.job(id);
    assert_eq!(reader.job(id).unwrap(), job.map(|job| job.record.clone()));
    assert_eq!(request(&reader, id), job.map(|job| (*job.request).clone()));
    assert_eq!(reader.answer(id).unwrap().as_ref(), job.and_then(|job| job.answer.as_deref()));
}

fn keep(weather: &mut Weather) -> DeadRetention {
    let dice = &mut weather.dice;
    let days = |days| std::time::Duration::from_secs(days * 86_400);
    DeadRetention {
        age: dice.one_in(2).then(|| days(dice.roll(40_000))),
        count: dice.one_in(2).then(|| dice.roll(20)),
        size: dice.one_in(2).then(|| dice.roll(40_000)),
    }
}

/// Every filter lists exactly the jobs that it allows.
fn same_lists(reader: &Reader, model: &Model) {
    let some = |of: &[JobState]| -> Vec<Option<JobState>> {
        [None].into_iter().chain(of.iter().copied().map(Some)).collect()
    };
    for target in [None, Some(TargetId(0)), Some(TargetId(1)), Some(TargetId(99))] {
        for state in some(&JobState::ALL) {
            for priority in [None, Some(Priority::High), Some(Priority::Batch)] {
                let filter = Filter { target, state, priority, group: None };
                let mut listed = walk(|after| reader.list(&filter, after, 3).unwrap());
                listed.sort_by_key(|job| job.header.id);
                let fits = |job: &&JobRecord| {
                    target.is_none_or(|target| target == job.header.target)
                        && state.is_none_or(|state| state == job.header.state_in(&job.place))
                        && priority.is_none_or(|priority| priority == job.header.priority)
                };
                let records = model.jobs().map(|(_, job)| &job.record).filter(fits);
                assert_eq!(listed.iter().collect::<Vec<_>>(), records.collect::<Vec<_>>());
            }
        }
    }
    for (target, state, name) in [
        (Some(TargetId(0)), Some(JobState::Queued), GROUPS[0]),
        (None, Some(JobState::Queued), GROUPS[1]),
        (Some(TargetId(0)), Some(JobState::Failed), GROUPS[0]),
        (None, None, GROUPS[2]),
    ] {
        let group = Some(GroupName::new(name).unwrap());
        let filter = Filter { target, state, priority: None, group: group.clone() };
        let mut listed = walk(|after| reader.list(&filter, after, 3).unwrap());
        listed.sort_by_key(|job| job.header.id);
        let fits = |job: &&JobRecord| {
            target.is_none_or(|target| target == job.header.target)
                && state.is_none_or(|state| state == job.header.state_in(&job.place))
                && job.header.group.as_ref().map(|group| &group.name) == group.as_ref()
        };
        let records = model.jobs().map(|(_, job)| &job.record).filter(fits);
        assert_eq!(listed.iter().collect::<Vec<_>>(), records.collect::<Vec<_>>());
    }
    let holding = |job: &&JobRecord| {
        job.header.target == TargetId(0) && counts::holds(&job.place, job.header.stand())
    };
    let mut held: Vec<JobId> =
        model.jobs().map(|(_, job)| &job.record).filter(holding).map(|j| j.header.id).collect();
    let mut listed = reader.holding(TargetId(0), usize::MAX).unwrap();
    held.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, held);
    let newest_first =
        walk(|after| reader.dead(TargetId(0), &Default::default(), after, 2).unwrap());
    let load =
        Load::Dead { target: TargetId(0), after: None, limit: usize::MAX, ticket: Ticket(0) };
    let crate::broker::change::Loaded::Dead { rows, .. } = model.load(&load) else {
        panic!("another answer than was asked for");
    };
    let ids = newest_first.iter().map(|job| job.header.id);
    assert_eq!(ids.collect::<Vec<_>>(), rows.iter().rev().map(|(h, _)| h.id).collect::<Vec<_>>());
}

/// All pages, their cursors carried as text.
fn walk(page: impl Fn(Option<&Cursor>) -> Page) -> Vec<JobRecord> {
    let mut jobs = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = page(after.as_ref());
        jobs.extend(page.jobs);
        match page.next {
            Some(next) => after = Some(next.to_string().parse().unwrap()),
            None => return jobs,
        }
    }
}
