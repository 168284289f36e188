//! Groups as they must be: one head each, the first of those who are there, and nobody left behind.

use std::collections::{BTreeMap, BTreeSet};

use super::book::Book;
use super::violation::{Checked, ensure};
use crate::broker::change::Change;
use crate::broker::group::{GroupKey, OnGroupFailure, Stand};
use crate::broker::job::{Header, JobId, Place, Seat, TargetId};

#[derive(Debug, Default)]
struct Group {
    /// Everybody who is there, the head too, and dead ones that hold it.
    members: BTreeMap<Seat, JobId>,
    heads: BTreeSet<JobId>,
}

/// What the broker has said of them.
#[derive(Debug, Default)]
pub(super) struct Groups(BTreeMap<GroupKey, Group>);

impl Groups {
    pub(super) fn enter(&mut self, header: &Header) {
        let (Some(key), Some(member)) = (header.group_key(), &header.group) else { return };
        if member.stand == Stand::Gone {
            return;
        }
        let group = self.0.entry(key).or_default();
        group.members.insert(member.order, header.id);
        if member.stand == Stand::Head {
            group.heads.insert(header.id);
        }
    }

    pub(super) fn leave(&mut self, header: &Header) {
        let (Some(key), Some(member)) = (header.group_key(), &header.group) else { return };
        if let Some(group) = self.0.get_mut(&key) {
            group.members.remove(&member.order);
            group.heads.remove(&header.id);
            if group.members.is_empty() {
                self.0.remove(&key);
            }
        }
    }

    /// Of the living ones at this target, those that nothing but a person can let go on.
    pub(super) fn stuck(&self, target: TargetId, book: &Book) -> u64 {
        let of_target = self.0.iter().filter(|(key, _)| key.target == target);
        let held = of_target.filter(|(_, group)| {
            group.heads.iter().any(|id| book.get(*id).is_some_and(|head| head.place.is_ended()))
        });
        let living = |id: &&JobId| book.get(**id).is_some_and(|entry| !entry.place.is_ended());
        held.map(|(_, group)| group.members.values().filter(living).count() as u64).sum()
    }

    /// All that was said is on disk, and no answer is awaited.
    pub(super) fn are_led(&self) -> Checked {
        let headless = self.0.iter().find(|(_, group)| group.heads.is_empty());
        ensure!(headless.is_none(), "a group waits for nobody: {headless:?}");
        Ok(())
    }
}

/// What the targets saw of each group, and what may be done to it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The last that was sent, in the group's order.
    sent: BTreeMap<GroupKey, Seat>,
    /// Those that were dead once come late.
    redriven: BTreeSet<JobId>,
}

impl Turns {
    /// `book` is as it was before.
    pub(super) fn change(
        &mut self,
        change: &Change,
        book: &Book,
        on_failure: Option<OnGroupFailure>,
    ) -> Checked {
        let (header, from, to, was) = match change {
            Change::Insert(insert) => (&insert.header, None, insert.place, Stand::Gone),
            Change::Move(step) => (&step.header, Some(step.from), step.to, step.from_stand),
            _ => return Ok(()),
        };
        let (Some(key), Some(member)) = (header.group_key(), &header.group) else { return Ok(()) };
        let id = header.id;
        let behind = matches!(to, Place::Behind { .. });
        let stands = match member.stand {
            Stand::Head => !behind,
            Stand::Behind => behind || to.is_ended(),
            Stand::Gone => to.is_ended(),
        };
        ensure!(stands, "{id} is {to:?}, and stands {:?}", member.stand);
        if from.is_some_and(|from| from.is_ended()) && !to.is_ended() {
            self.redriven.insert(id);
        }
        if let (Some(from), Some(on_failure)) = (from, on_failure)
            && to.is_ended()
            && !from.is_ended()
        {
            let dead = matches!(to, Place::Ended { end, .. } if end.is_dead());
            let holds = dead && on_failure == OnGroupFailure::Hold;
            let fits = member.stand == if holds { was } else { Stand::Gone };
            ensure!(fits, "{id} ends as {to:?}, {on_failure:?}, and stands {:?}", member.stand);
        }
        if member.stand == Stand::Head && was != Stand::Head {
            let group = book.groups.0.get(&key);
            let head = group.and_then(|group| group.heads.first());
            ensure!(head.is_none(), "{id} becomes head of {key:?} beside {head:?}");
            let first = group.and_then(|group| group.members.first_key_value());
            let before = first.filter(|(order, _)| **order < member.order);
            ensure!(before.is_none(), "{id} becomes head of {key:?} before {before:?}");
        }
        Ok(())
    }

    /// A request leaves.
    pub(super) fn send(&mut self, header: &Header, book: &Book) -> Checked {
        let (Some(key), Some(member)) = (header.group_key(), &header.group) else { return Ok(()) };
        let id = header.id;
        ensure!(member.stand == Stand::Head, "{id} leaves, and stands {:?}", member.stand);
        let others = book.groups.0.get(&key).into_iter().flat_map(|group| group.members.values());
        let mut under_way = others.filter(|other| {
            let place = book.get(**other).map(|entry| entry.place);
            **other != id && matches!(place, Some(Place::Running { .. }))
        });
        let other = under_way.next();
        ensure!(other.is_none(), "{id} leaves, and {other:?} of its group is under way");
        let last = self.sent.entry(key).or_insert(member.order);
        ensure!(
            *last <= member.order || self.redriven.contains(&id),
            "{id} leaves after {last:?} of its group, which came later"
        );
        *last = (*last).max(member.order);
        Ok(())
    }
}
