//! Groups: jobs of one target that go one after the other, in the order in which they came.
//!
//! ```text
//!   submit, nobody there ──▶ Head ──ends──▶ Gone
//!                             ▲  │ dies, and the target holds its groups:
//!                      its    │  └─▶ stays Head, dead, until it is redriven or purged
//!                      turn   │
//!   submit ──────────────▶ Behind ──ends──▶ Gone
//! ```
//! A group has one head at most, and only its head can be in line, wait or be under way; those
//! behind it are in the store alone ([`super::job::Place::Behind`]). Memory knows of no group
//! beyond what a turn that is not on disk did to it ([`Groups`]). So whoever leaves a group without
//! a head asks the store who is next, and whoever comes asks whether somebody is there.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::{Load, Ticket, Turn};
use super::fair::Tag;
use super::io::Output;
use super::job::{Happening, Header, Place, Priority, Seat, TargetId};
use super::text::text;
use super::time::Now;
use super::{Broker, Story};

/// What a caller named the jobs that belong together: 1 to 128 bytes (as SQS allows a
/// `MessageGroupId` 128 characters), none of them a control character.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to {} bytes and no control character", GroupName::LONGEST)]
pub struct NotAGroupName;

impl GroupName {
    /// In bytes.
    pub const LONGEST: usize = 128;

    pub fn new(name: &str) -> Result<GroupName, NotAGroupName> {
        let fits = (1..=GroupName::LONGEST).contains(&name.len());
        if fits && !name.contains(char::is_control) {
            Ok(GroupName(name.into()))
        } else {
            Err(NotAGroupName)
        }
    }
}

impl FromStr for GroupName {
    type Err = NotAGroupName;
    fn from_str(name: &str) -> Result<GroupName, NotAGroupName> {
        GroupName::new(name)
    }
}

text!(GroupName);

/// A group: each target has its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    pub target: TargetId,
    pub name: GroupName,
}

/// A job's place in its group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub name: GroupName,
    /// Lower goes first. Given when the job is taken in, and never changed.
    pub order: Seat,
    pub stand: Stand,
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Stand {
    /// No group, or it has ended and holds nobody up.
    #[default]
    Gone,
    /// It is its turn. One that is dead holds its group.
    Head,
    /// Others go first. One that is dead holds its group once its turn comes.
    Behind,
}

/// What becomes of a group one of whose jobs died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGroupFailure {
    /// The next one goes.
    #[default]
    Continue,
    /// Nobody goes until the dead job is redriven or purged.
    Hold,
}

impl OnGroupFailure {
    pub fn as_str(self) -> &'static str {
        match self {
            OnGroupFailure::Continue => "continue",
            OnGroupFailure::Hold => "hold",
        }
    }
}

impl Header {
    pub fn stand(&self) -> Stand {
        self.group.as_ref().map_or(Stand::Gone, |group| group.stand)
    }

    pub fn group_key(&self) -> Option<GroupKey> {
        let group = self.group.as_ref()?;
        Some(GroupKey { target: self.target, name: group.name.clone() })
    }

    pub(super) fn set_stand(&mut self, stand: Stand) {
        if let Some(group) = &mut self.group {
            group.stand = stand;
        }
    }
}

/// What was done to a group in turns that are not on disk: the last of each kind.
#[derive(Clone, Copy, Debug, Default)]
struct Fresh {
    /// Somebody became its head.
    headed: Turn,
    /// Somebody came.
    joined: Turn,
    /// A dead one came back, perhaps before others who wait.
    rejoined: Turn,
}

/// Who was asked for, as of which turn.
#[derive(Clone, Debug)]
struct Asked {
    key: GroupKey,
    turn: Turn,
    /// Where the one before it stood.
    after: Option<(Priority, Tag)>,
}

/// Bounded by what is under way between core and store: no group is kept for being one.
#[derive(Debug, Default)]
pub(super) struct Groups {
    fresh: BTreeMap<GroupKey, Fresh>,
    asked: BTreeMap<Ticket, Asked>,
    /// In the turn that is being gathered: once is enough.
    asked_now: BTreeMap<GroupKey, Ticket>,
}

impl Groups {
    /// Whether the head's place may be taken at once: `taken` is what the store said of the group
    /// when it was asked in `turn`.
    pub(super) fn is_free(&self, key: &GroupKey, taken: bool, turn: Turn) -> bool {
        !taken && self.fresh.get(key).is_none_or(|fresh| fresh.joined <= turn)
    }

    /// `header` is in its group now, in `turn`.
    pub(super) fn joined(&mut self, header: &Header, turn: Turn, back: bool) {
        let Some(key) = header.group_key() else { return };
        let fresh = self.fresh.entry(key).or_default();
        fresh.joined = turn;
        if header.stand() == Stand::Head {
            fresh.headed = turn;
        }
        if back {
            fresh.rejoined = turn;
        }
    }

    pub(super) fn cut(&mut self) {
        self.asked_now.clear();
    }

    /// What was asked before this turn is answered by now.
    pub(super) fn committed(&mut self, turn: Turn) {
        if !self.fresh.is_empty() {
            self.fresh.retain(|_, fresh| fresh.joined.max(fresh.headed) > turn);
        }
    }
}

impl Broker {
    /// The group may be without a head once this turn is on disk.
    pub(super) fn ask_heir(&mut self, key: GroupKey, after: Option<(Priority, Tag)>) {
        if let Some(ticket) = self.groups.asked_now.get(&key) {
            if let Some(asked) = self.groups.asked.get_mut(ticket) {
                asked.after = after.or(asked.after);
            }
            return;
        }
        let ticket = self.next_ticket();
        self.groups.asked_now.insert(key.clone(), ticket);
        self.outputs.push_back(Output::Load(Load::Heir { key: key.clone(), ticket }));
        self.groups.asked.insert(ticket, Asked { key, turn: self.turn, after });
    }

    /// Asks for groups that the last life left without a head.
    pub(super) fn ask_vacant(&mut self, after: Option<GroupKey>) {
        let limit = self.windows.page;
        self.outputs.push_back(Output::Load(Load::Vacant { after, limit }));
    }

    pub(super) fn vacant(&mut self, groups: Vec<GroupKey>, exhausted: bool) {
        if !exhausted {
            self.ask_vacant(groups.last().cloned());
        }
        for key in groups {
            self.ask_heir(key, None);
        }
    }

    /// Who is next in a group that had no head when the store was asked; nobody where it had one,
    /// or nobody is left.
    pub(super) fn heir(&mut self, now: Now, ticket: Ticket, heir: Option<(Header, Place)>) {
        let Some(Asked { key, turn, after }) = self.groups.asked.remove(&ticket) else { return };
        let fresh = self.groups.fresh.get(&key).copied().unwrap_or_default();
        // Who became head since asks for the next when it goes; who came back since has asked.
        if fresh.headed > turn || fresh.rejoined > turn {
            return;
        }
        let Some(heir) = heir else { return };
        let id = heir.0.id;
        if self.jobs.is_deleted(id) {
            return self.ask_heir(key, after);
        }
        if !self.jobs.contains(id) {
            self.jobs.put(heir.0, heir.1);
            self.jobs.let_go(id, self.turn);
        }
        let Some((header, place)) = self.jobs.get(id) else { return };
        let heir = (header.clone(), *place);
        if heir.0.stand() == Stand::Behind {
            self.succeed(now, heir, after);
        } else {
            // It has left meanwhile.
            self.ask_heir(key, after);
        }
    }

    /// Its turn has come. It has waited with the tag of when it came, so it goes as soon as it would
    /// have without its group; but a group that fell behind does not catch up all at once, however
    /// long it is: each goes a round after the one before.
    fn succeed(&mut self, now: Now, job: (Header, Place), after: Option<(Priority, Tag)>) {
        let mut header = job.0.clone();
        header.set_stand(Stand::Head);
        let mut story = Story::default();
        let to = match job.1 {
            Place::Behind { due } => {
                story.events.push(Happening::Headed);
                match due.filter(|due| *due > now.wall) {
                    Some(due) => {
                        story.events.push(Happening::Scheduled { until: due });
                        Place::Scheduled { due }
                    }
                    None => {
                        // As a scheduled one does: it joins the line when its time has come.
                        if due.is_some() {
                            header.seat = self.next_seat();
                        }
                        header.ready_at = now.wall;
                        let target = self.targets.get(&header.target);
                        let clock = target.map(|target| target.clocks.get(header.priority));
                        let after = after.filter(|(priority, _)| *priority == header.priority);
                        let after = after.map(|(_, tag)| tag.done(NonZeroU32::MIN));
                        let least = clock.map(|clock| clock.now).max(after);
                        header.tag = header.tag.max(least.unwrap_or_default());
                        Place::Queued
                    }
                }
            }
            // It died before its turn came: from here on it holds the group.
            dead => dead,
        };
        self.groups.joined(&header, self.turn, false);
        self.shift(now, job, header, to, story);
    }

    /// What `header` is to be once it has ended: whether it holds its group.
    pub(super) fn hold_group(&self, header: &mut Header, to: &Place) {
        let Some(group) = &mut header.group else { return };
        let dead = matches!(to, Place::Ended { end, .. } if end.is_dead());
        let target = self.targets.get(&header.target);
        let holds = target.is_some_and(|t| t.on_group_failure == OnGroupFailure::Hold);
        if !(dead && holds) {
            group.stand = Stand::Gone;
        }
    }

    /// A dead job comes back into its group, where it stood in the order of things. Returns whether
    /// it has to wait there.
    pub(super) fn rejoin(&mut self, header: &mut Header) -> bool {
        let stand = header.stand();
        if header.group.is_none() || stand == Stand::Head {
            return false;
        }
        if stand == Stand::Gone {
            header.set_stand(Stand::Behind);
            self.groups.joined(header, self.turn, true);
        }
        if let Some(key) = header.group_key() {
            self.ask_heir(key, None);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_bounds_and_no_control_characters() {
        assert!(GroupName::new("customer-42").is_ok());
        assert!(GroupName::new("Kundin Ü").is_ok());
        for bad in ["", "a\nb", "\u{7f}", &"x".repeat(129)] {
            assert_eq!(GroupName::new(bad), Err(NotAGroupName), "{bad:?}");
        }
        assert!(GroupName::new(&"x".repeat(128)).is_ok());
    }

    #[test]
    fn what_the_store_said_counts_until_somebody_came() {
        let mut groups = Groups::default();
        let key = GroupKey { target: TargetId(1), name: GroupName::new("a").expect("a name") };
        assert!(groups.is_free(&key, false, Turn(3)));
        assert!(!groups.is_free(&key, true, Turn(3)));
        groups.fresh.insert(key.clone(), Fresh { joined: Turn(4), ..Fresh::default() });
        assert!(!groups.is_free(&key, false, Turn(3)));
        assert!(groups.is_free(&key, false, Turn(4)), "the answer knows of it");
        groups.committed(Turn(4));
        assert!(groups.fresh.is_empty());
    }
}
