//! How armed jobs are let go, as tokens allow and as those before them have left.

use super::Broker;
use super::io::{Output, Sending};
use super::job::{JobId, TargetId};
use super::start::Claim;
use super::target::Armed;
use super::time::{Mono, Now};

enum Departure {
    Nobody,
    Ready(usize, Claim),
    /// `None`: once others have left.
    Not(Option<Mono>),
}

impl Broker {
    /// Lets go those whose start is on disk, highest first, as tokens allow: a HIGH job that came
    /// after a lower one was armed need not wait for it. Being passed over here counts as it does
    /// in line. Returns when the next one of each can go.
    pub(super) fn release(&mut self, peers: &[TargetId], now: Now) -> Vec<Option<Mono>> {
        loop {
            let mut wakes = vec![None; peers.len()];
            let mut ready: Vec<(TargetId, usize, Claim)> = Vec::new();
            for (place, peer) in peers.iter().enumerate() {
                match self.departure(*peer, now) {
                    Departure::Nobody => {}
                    Departure::Ready(index, claim) => ready.push((*peer, index, claim)),
                    Departure::Not(until) => wakes[place] = until,
                }
            }
            let best = ready.iter().min_by_key(|(_, _, claim)| claim.key()).copied();
            let Some((id, index, claim)) = best else { return wakes };
            for (other, index, passed) in ready {
                if passed.rank > claim.rank
                    && self.limits.have_in_common(id, other)
                    && let Some(target) = self.targets.get_mut(&other)
                {
                    let armed = &mut target.armed[index];
                    armed.passed_by_others = armed.passed_by_others.saturating_add(1);
                }
            }
            self.let_go(id, index, now);
        }
    }

    /// Which of a target's armed jobs could be let go now.
    fn departure(&self, id: TargetId, now: Now) -> Departure {
        let Some(target) = self.targets.get(&id) else { return Departure::Nobody };
        let Some(live) = &target.live else { return Departure::Nobody };
        let max_deferrals = live.policy.max_deferrals.get();
        let Some(index) = first_to_leave(&target.armed, max_deferrals) else {
            return Departure::Nobody;
        };
        let tokens = self.limits.tokens(id, now.mono, |_| 1);
        if tokens.at > now.mono {
            return Departure::Not(Some(tokens.at));
        }
        match self.limits.may_leave_at(id, now.mono) {
            Some(at) if at <= now.mono => {}
            later => return Departure::Not(later),
        }
        let armed = &target.armed[index];
        let claim = Claim {
            its_turn: armed.passed_by_others >= max_deferrals,
            rank: armed.rank(max_deferrals),
            last: target.last_sent,
        };
        Departure::Ready(index, claim)
    }

    fn let_go(&mut self, id: TargetId, index: usize, now: Now) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        let Armed { job, priority, .. } = target.armed.remove(index);
        for earlier in &mut target.armed[..index] {
            if earlier.durable && earlier.priority > priority {
                earlier.passed_over = earlier.passed_over.saturating_add(1);
            }
        }
        self.servings += 1;
        target.last_sent = self.servings;
        let taken = self.limits.take(id, now.mono);
        let mut number = 0;
        if let Some(flight) = self.flights.get_mut(&job) {
            number = flight.number;
            flight.let_go(taken);
        }
        let Some((header, _)) = self.jobs.get(job) else { return };
        let (attempt, aim) = (header.attempts, header.aim());
        let since = if number == 1 { header.enqueued_at } else { header.ready_at };
        let sending = Sending { job, target: id, priority, number, attempt, aim, since };
        self.outputs.push_back(Output::Send(sending));
    }

    /// It is on its way to its target: the next may leave this process.
    pub(super) fn left(&mut self, job: JobId, number: u32, at: Mono) {
        let Some(flight) = self.flights.get_mut(&job) else { return };
        let Some((header, _)) = self.jobs.get(job) else { return };
        if flight.number != number {
            return;
        }
        if let Some(taken) = flight.leaves_no_more(true) {
            let target = header.target;
            self.limits.left(target, &taken, Some(at));
            self.dirty.insert(target);
            self.look_at_sharers(target, &taken);
        }
    }
}

/// Of those whose start is on disk the highest, unless a lower one was passed over so often that it
/// is its turn; of several such the lowest, as in line.
fn first_to_leave(armed: &[Armed], max_deferrals: u32) -> Option<usize> {
    let ready = || armed.iter().enumerate().filter(|(_, armed)| armed.durable);
    let (highest, first) = ready().min_by_key(|(index, armed)| (armed.priority, *index))?;
    let turn = ready()
        .filter(|(_, armed)| armed.priority > first.priority && armed.passed_over >= max_deferrals)
        .max_by_key(|(index, armed)| (armed.priority, std::cmp::Reverse(*index)));
    Some(turn.map_or(highest, |(index, _)| index))
}
