//! When which target is to be looked at again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::job::TargetId;
use super::time::{Mono, earlier};

/// When a target is looked at again, if nothing happens before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wake {
    pub(super) at: Option<Mono>,
    /// When the token comes for which its next job is to be armed: it is woken a lead before, as
    /// long as the lead is then.
    pub(super) token: Option<Mono>,
}

impl Wake {
    pub(super) fn at(at: Option<Mono>) -> Wake {
        Wake { at, token: None }
    }

    pub(super) fn or(self, other: Wake) -> Wake {
        Wake { at: earlier(self.at, other.at), token: earlier(self.token, other.token) }
    }
}

/// Of all targets.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    at: BTreeSet<(Mono, TargetId)>,
    tokens: BTreeSet<(Mono, TargetId)>,
}

impl Alarms {
    pub(super) fn set(&mut self, id: TargetId, old: Wake, new: Wake) {
        if old != new {
            replace(&mut self.at, id, old.at, new.at);
            replace(&mut self.tokens, id, old.token, new.token);
        }
    }

    /// The next alarm.
    pub(super) fn next(&self, lead: Duration) -> Option<Mono> {
        let at = self.at.first().map(|(at, _)| *at);
        let token = self.tokens.first().map(|(at, _)| at.before(lead));
        earlier(at, token)
    }

    /// One whose time has come. It is told once.
    pub(super) fn due(&mut self, now: Mono, lead: Duration) -> Option<TargetId> {
        let due = |set: &mut BTreeSet<(Mono, TargetId)>, before: Duration| {
            let (at, _) = set.first()?;
            if at.before(before) <= now { set.pop_first() } else { None }
        };
        let (_, id) = due(&mut self.at, Duration::ZERO).or_else(|| due(&mut self.tokens, lead))?;
        Some(id)
    }
}

fn replace(
    set: &mut BTreeSet<(Mono, TargetId)>,
    id: TargetId,
    old: Option<Mono>,
    new: Option<Mono>,
) {
    if let Some(at) = old {
        set.remove(&(at, id));
    }
    if let Some(at) = new {
        set.insert((at, id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn who_waits_for_a_token_is_woken_earlier_when_the_lead_has_grown() {
        let mut alarms = Alarms::default();
        let wake = Wake { at: Some(at(200)), token: Some(at(100)) };
        alarms.set(TargetId(1), Wake::default(), wake);
        let (short, long) = (Duration::from_millis(1), Duration::from_millis(30));
        assert_eq!(alarms.next(short), Some(at(99)));
        assert_eq!(alarms.next(long), Some(at(70)));
        assert_eq!(alarms.due(at(98), short), None);
        assert_eq!(alarms.due(at(70), long), Some(TargetId(1)));
        assert_eq!(alarms.due(at(70), long), None);
        alarms.set(TargetId(1), wake, Wake::at(Some(at(150))));
        assert_eq!(alarms.next(long), Some(at(150)));
        alarms.set(TargetId(1), Wake::at(Some(at(150))), Wake::default());
        assert_eq!(alarms.next(long), None);
    }
}
