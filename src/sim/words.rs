//! What is said to the core and by it, in few words, for the trace. A job is named by its serial
//! number.

use crate::broker::change::{Change, Load, Loaded};
use crate::broker::io::{Input, Output, Reply, Sending, Submitted};
use crate::broker::job::{Header, JobId, Place, Priority, TargetId};

pub(super) fn job(id: JobId) -> String {
    format!("#{}", id.0 & ((1 << 40) - 1))
}

fn whereabouts(target: TargetId, priority: Priority) -> String {
    format!("{priority}@{}", target.0)
}

fn header(header: &Header) -> String {
    let Header { id, target, priority, seat, attempts, spent, refusals, deadline, .. } = header;
    let deadline = deadline.map(|at| format!(" by {at}")).unwrap_or_default();
    let group = header.group.as_ref();
    let group = group.map(|group| format!(" {} {:?} {}", group.name, group.stand, group.order.0));
    let group = group.unwrap_or_default();
    let flow = header.flow.as_ref().map(|key| format!(" {key}")).unwrap_or_default();
    let tag = header.tag.0;
    format!(
        "{} {} seat {} {attempts}/{spent}/{refusals}{deadline}{group}{flow} tag {tag}",
        job(*id),
        whereabouts(*target, *priority),
        seat.0
    )
}

pub(super) fn place(place: &Place) -> String {
    match place {
        Place::Scheduled { due } => format!("scheduled {due}"),
        Place::Queued => "queued".into(),
        Place::Running { .. } => "running".into(),
        Place::Verifying { due } => format!("verifying until {due}"),
        Place::Waiting { due } => format!("waiting {due}"),
        Place::Ended { end, .. } => format!("{end:?}"),
        Place::Behind { due } => format!("behind, due {due:?}"),
    }
}

pub(super) fn input(input: &Input) -> String {
    match input {
        Input::Submit { to, jobs } => {
            let jobs: Vec<String> = jobs
                .iter()
                .map(|new| {
                    let mut words =
                        format!("{} {}", job(new.id), whereabouts(new.target, new.priority));
                    if let Some(dedup) = &new.dedup {
                        words += &format!(" {}/{}", dedup.name, dedup.digest[0]);
                    }
                    words
                })
                .collect();
            format!("Submit ask {}: {}", to.0, jobs.join(", "))
        }
        Input::Attempted { job: id, number, report } => format!(
            "Attempted {} no. {number}: {:?} {:?} {:?} Retry-After {:?}",
            job(*id),
            report.outcome,
            report.follow,
            report.answer.as_ref().map(|answer| answer.status),
            report.retry_after
        ),
        Input::Command { to, command } => {
            format!("ask {}: {command:?} = {}", to.0, job(command.job()))
        }
        Input::Abandoned { job: id } => format!("Abandoned {}", job(*id)),
        Input::Loaded(loaded) => format!("Loaded {}", answer(loaded)),
        other => format!("{other:?}"),
    }
}

fn answer(loaded: &Loaded) -> String {
    let ids = |ids: &mut dyn Iterator<Item = JobId>| ids.map(job).collect::<Vec<_>>().join(" ");
    match loaded {
        Loaded::Ready { target, priority, rows, exhausted } => format!(
            "{}: {} exhausted {exhausted}",
            whereabouts(*target, *priority),
            ids(&mut rows.iter().map(|row| row.id))
        ),
        Loaded::Timers { rows, exhausted } => {
            format!(
                "timers: {} exhausted {exhausted}",
                ids(&mut rows.iter().map(|(row, _)| row.id))
            )
        }
        Loaded::Deadlines { rows, exhausted } => {
            format!("deadlines: {} exhausted {exhausted}", ids(&mut rows.iter().map(|(_, id)| *id)))
        }
        Loaded::Job { ticket, job: Some((found, at)) } => {
            format!("{ticket:?}: {}, {}", header(found), place(at))
        }
        Loaded::Dead { ticket, rows, exhausted } => format!(
            "dead {ticket:?}: {} exhausted {exhausted}",
            ids(&mut rows.iter().map(|(row, _)| row.id))
        ),
        Loaded::Finished { rows, next } => {
            format!("finished: {}, next {next:?}", ids(&mut rows.iter().map(|(id, ..)| *id)))
        }
        other => format!("{other:?}"),
    }
}

pub(super) fn output(output: &Output) -> String {
    match output {
        Output::Change(Change::Insert(insert)) => {
            format!("Insert {}: {}", header(&insert.header), place(&insert.place))
        }
        Output::Change(Change::Move(step)) => {
            format!("Move {}: {} to {}", header(&step.header), place(&step.from), place(&step.to))
        }
        Output::Change(Change::Delete { id, place: at, .. }) => {
            format!("Delete {}: {}", job(*id), place(at))
        }
        Output::Reply { to, reply: Reply::Submitted(results) } => {
            let results = results.iter().map(|result| match result {
                Submitted::Accepted { header, .. } => job(header.id),
                other => format!("{other:?}"),
            });
            format!("Reply {}: {}", to.0, results.collect::<Vec<_>>().join(", "))
        }
        Output::Load(Load::Ready { target, priority, after, limit }) => {
            let after = after.map(|rank| (rank.tag.0, rank.seat.0));
            format!("Load {} after {after:?} limit {limit}", whereabouts(*target, *priority))
        }
        Output::Send(Sending { job: id, target, priority, number, aim, .. }) => {
            let to = whereabouts(*target, *priority);
            format!("Send {} {to} no. {number}: {aim:?}", job(*id))
        }
        Output::Unsend { job: id } => format!("Unsend {}", job(*id)),
        Output::Load(Load::Heir { key, ticket }) => format!("Load heir of {} {ticket:?}", key.name),
        Output::PassedOver { target, of } => format!("PassedOver {}", whereabouts(*target, *of)),
        other => format!("{other:?}"),
    }
}
