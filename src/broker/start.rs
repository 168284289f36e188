//! Starts: armed, called back. How they are let go stands in [`super::leave`], what becomes of them
//! in [`super::flight`].
//!
//! A start must be durable before its request leaves, and a commit takes time that varies. So a
//! job is *armed* (chosen, and its start committed) a little before its token is there, by the
//! [`Lead`] that commits took lately, and *let go* when the start is on disk and the token is
//! taken, which paces what leaves and not what is written. With an empty queue and a full bucket
//! all of it happens in the commit that stores the job.
//!
//! Targets that share a limit are looked at together, in arming and in letting go: the highest
//! job of all that could go goes, equals take turns, and one that was passed over by jobs of other
//! targets as often as its target allows goes before them. A target that its own limit keeps from
//! going does not take part, and so holds nobody up.

use std::collections::BTreeMap;

use super::Broker;
use super::alarms::Wake;
use super::calendar::Rule;
use super::change::Turn;
use super::clock::LOOK_AGAIN;
use super::flight::Flight;
use super::io::{BlockedOn, Output};
use super::job::{JobId, Place, Priority, TargetId};
use super::limit::Blocked;
use super::lines::Next;
use super::policy::LimitName;
use super::target::Armed;
use super::time::{Mono, Now, earlier};

/// What a target has to say for itself where several could go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// Its job was passed over by those of other targets as often as may be.
    pub(super) its_turn: bool,
    pub(super) rank: Priority,
    /// When it last went.
    pub(super) last: u64,
}

impl Claim {
    /// The least goes. Of two whose turn it is the lower goes first, as in line.
    pub(super) fn key(&self) -> (bool, usize, u64) {
        let rank = self.rank.index();
        let rank = if self.its_turn { Priority::ALL.len() - rank } else { rank };
        (!self.its_turn, rank, self.last)
    }
}

enum Startable {
    Nobody,
    Job(Choice),
    TooLate(JobId),
    Blocked(Blocked),
}

#[derive(Clone, Copy, Debug)]
struct Choice {
    job: JobId,
    priority: Priority,
    claim: Claim,
    /// Those whose turn it would be cannot use what is left, which is kept for HIGH.
    from_reserve: bool,
}

/// How many are armed under each shared limit, by rank.
type Ahead = BTreeMap<LimitName, [u32; 3]>;

impl Broker {
    /// Starts and lets go whatever can be, at this target and all that share limits with it, and
    /// notes why no more.
    pub(super) fn pump(&mut self, id: TargetId, now: Now) {
        let peers = self.limits.peers(id);
        for peer in peers.iter() {
            self.dirty.remove(peer);
            self.give_up_late(*peer, now);
            self.set_tempo(*peer, now);
        }
        let wakes = self.release(&peers, now);
        let blocked = self.arm_all(&peers, now);
        for ((peer, wake), blocked) in peers.iter().zip(wakes).zip(blocked) {
            let mut wake = Wake::at(wake);
            if let Some(blocked) = &blocked {
                wake = wake.or(blocked.wake()).or(Wake::at(self.tempo_changes_at(*peer, now)));
            }
            self.note(*peer, blocked, wake, now);
        }
    }

    /// The rate in force changes in the course of time, and with what the target answers.
    fn set_tempo(&mut self, id: TargetId, now: Now) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        let rule = target.scheduled(now.wall).rule;
        if rule == Rule::Closed {
            self.disarm(id, now);
            return;
        }
        if let Some(pace) = target.pace(rule, now.mono) {
            self.limits.set_pace(id, pace, now.mono);
        }
    }

    fn tempo_changes_at(&mut self, id: TargetId, now: Now) -> Option<Mono> {
        let target = self.targets.get_mut(&id)?;
        let scheduled = target.scheduled(now.wall).until;
        // The wall clock may be set meanwhile.
        let scheduled = scheduled.map(|until| now.mono + until.since(now.wall).min(LOOK_AGAIN));
        earlier(scheduled, target.feedback.changes_at(now.mono))
    }

    /// What is left to say of a target once nothing more can be done.
    fn note(&mut self, id: TargetId, blocked: Option<Blocked>, wake: Wake, now: Now) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        target.note_blocked(blocked, now.mono);
        for priority in Priority::ALL {
            if let Some(wanted) = target.lines.line(priority).window.ask() {
                let load = super::Load::Ready {
                    target: id,
                    priority,
                    after: wanted.after,
                    limit: wanted.limit,
                };
                self.outputs.push_back(Output::Load(load));
            }
        }
        let old = std::mem::replace(&mut target.wake, wake);
        self.alarms.set(id, old, wake);
    }

    /// Arms what can be armed. Returns what keeps each of `peers` from more.
    fn arm_all(&mut self, peers: &[TargetId], now: Now) -> Vec<Option<Blocked>> {
        loop {
            let ahead = self.armed_ahead(peers, now);
            let mut blocked = vec![None; peers.len()];
            let mut ready: Vec<(TargetId, Choice)> = Vec::new();
            for (index, peer) in peers.iter().enumerate() {
                loop {
                    match self.startable(*peer, &ahead, now) {
                        Startable::Job(choice) if self.drop_if_gone(now, choice.job) => continue,
                        Startable::Job(choice) => ready.push((*peer, choice)),
                        Startable::TooLate(job) => {
                            self.expire(now, job);
                            continue;
                        }
                        Startable::Nobody => {}
                        Startable::Blocked(by) => blocked[index] = Some(by),
                    }
                    break;
                }
            }
            let best = ready.iter().min_by_key(|(_, choice)| choice.claim.key()).copied();
            let Some((id, choice)) = best else { return blocked };
            for (other, passed) in ready {
                if passed.claim.rank > choice.claim.rank
                    && self.limits.have_in_common(id, other)
                    && let Some(target) = self.targets.get_mut(&other)
                {
                    target.passed_by_others = target.passed_by_others.saturating_add(1);
                }
            }
            self.arm(id, choice, now);
        }
    }

    /// One that lost its token to another, and must wait for the next of one limit, takes nobody's
    /// place under the others.
    fn armed_ahead(&self, peers: &[TargetId], now: Now) -> Ahead {
        let mut ahead = Ahead::new();
        for peer in peers {
            let shares = self.limits.shares(*peer);
            if shares.is_empty() {
                continue;
            }
            let Some(target) = self.targets.get(peer) else { continue };
            let Some(live) = &target.live else { continue };
            let max_deferrals = live.policy.max_deferrals.get();
            let goes = self.limits.goes(*peer, now.mono, |_| 1).at;
            if goes.before(self.lead.get()) > now.mono {
                continue;
            }
            for armed in &target.armed {
                for name in shares.iter() {
                    let counts = ahead.entry(name.clone()).or_default();
                    counts[armed.rank(max_deferrals).index()] += 1;
                }
            }
        }
        ahead
    }

    fn startable(&mut self, id: TargetId, ahead: &Ahead, now: Now) -> Startable {
        let Some(target) = self.targets.get(&id) else { return Startable::Nobody };
        let Some(live) = &target.live else {
            return match target.counts.all_in_line() {
                0 => Startable::Nobody,
                _ => Startable::Blocked(Blocked::on(BlockedOn::Paused, None)),
            };
        };
        let max_deferrals = live.policy.max_deferrals.get();
        let next = target.lines.next(&target.counts, max_deferrals);
        let Next::Job(mut priority, mut job) = next else { return Startable::Nobody };
        if self.is_late(job, now) {
            return Startable::TooLate(job);
        }
        if let Some(closed) = target.closed(now, self.draining) {
            return Startable::Blocked(closed);
        }
        let mut from_reserve = false;
        if let Err(blocked) = self.limits.room(id, priority, now) {
            // What is kept for HIGH is no use to those before whom HIGH would have to wait.
            let high = target.lines.first(Priority::High);
            let high =
                high.filter(|_| priority != Priority::High && self.limits.keep_some_for_high(id));
            let Some(high) = high else { return Startable::Blocked(blocked) };
            if self.is_late(high, now) {
                return Startable::TooLate(high);
            }
            if self.limits.room(id, Priority::High, now).is_err() {
                return Startable::Blocked(blocked);
            }
            (priority, job, from_reserve) = (Priority::High, high, true);
        }
        // Lower ones that are armed already let it go first.
        let own = target.armed.iter().filter(|armed| armed.rank(max_deferrals) <= priority);
        let own = u32::try_from(own.count()).unwrap_or(u32::MAX);
        let goes = self.limits.goes(id, now.mono, |name| {
            let before = match name.map(|name| ahead.get(name)) {
                None => own,
                Some(None) => 0,
                Some(Some(counts)) => counts[..=priority.index()].iter().sum(),
            };
            before.saturating_add(1)
        });
        if goes.at.before(self.lead.get()) > now.mono {
            // Behind a full bucket the next token comes only once one is taken: when that will be,
            // the commit of those that are armed will tell.
            let until = (!goes.full).then_some(goes.at);
            let by = Blocked::on(BlockedOn::Rate, until);
            return Startable::Blocked(Blocked { limit: goes.limit, ..by });
        }
        let highest = Priority::ALL.into_iter().find(|p| target.lines.first(*p).is_some());
        let claim = Claim {
            its_turn: target.passed_by_others >= max_deferrals,
            rank: highest.unwrap_or(priority),
            last: target.last_armed,
        };
        Startable::Job(Choice { job, priority, claim, from_reserve })
    }

    fn is_late(&self, job: JobId, now: Now) -> bool {
        let header = self.jobs.in_window(job, |place| *place == Place::Queued);
        header.is_late(now.wall)
    }

    /// Puts a start on record.
    fn arm(&mut self, id: TargetId, choice: Choice, now: Now) {
        let Choice { job, priority, from_reserve, .. } = choice;
        let Some((header, place)) = self.jobs.get(job) else { return };
        let before = (header.clone(), *place);
        let mut header = before.0.clone();
        let waited = now.wall.since(header.ready_at);
        let Some(target) = self.targets.get_mut(&id) else { return };
        let delivery = target.live.as_ref().map(|live| live.policy.outcomes.delivery);
        let number = header.begin(delivery.unwrap_or_default());
        header.first_sent_at.get_or_insert(now.wall);
        let outputs = &mut self.outputs;
        // Nobody is passed over who could not have gone.
        let passed_over = if from_reserve {
            0
        } else {
            target.lines.go(priority, |of| {
                outputs.push_back(Output::PassedOver { target: id, of });
            })
        };
        if number == 1 {
            outputs.push_back(Output::Waited { target: id, priority, wait: waited });
        }
        let began = now.mono;
        let turn = self.turn;
        let passed_by_others = std::mem::take(&mut target.passed_by_others);
        target.starts(now);
        self.servings += 1;
        target.last_armed = self.servings;
        let (at, durable) = (began, false);
        let armed = Armed { job, priority, turn, at, durable, passed_over, passed_by_others };
        target.armed.push(armed);
        self.arming.insert((self.turn, id));
        let reserved = self.limits.reserve(id);
        let flight = Flight::armed(number, began, reserved);
        self.flights.insert(job, flight);
        let to = Place::Running { started: now.wall };
        let event = header.sent(passed_over);
        self.shift(now, before, header, to, event.into());
    }

    /// Starts that came to disk with `turn`.
    pub(super) fn durable(&mut self, now: Now, turn: Turn) {
        let mut slowest = None;
        while let Some((armed_in, id)) = self.arming.first().copied()
            && armed_in <= turn
        {
            self.arming.pop_first();
            let Some(target) = self.targets.get_mut(&id) else { continue };
            for armed in &mut target.armed {
                if armed.turn <= turn && !armed.durable {
                    armed.durable = true;
                    slowest = slowest.max(Some(now.mono.since(armed.at)));
                }
            }
            self.dirty.insert(id);
        }
        if let Some(took) = slowest {
            self.lead.learn(took, now.mono);
        }
        while let Some((armed_in, job)) = self.called_back.first().copied()
            && armed_in <= turn
        {
            self.called_back.pop_first();
            // One that was armed anew meanwhile needs it.
            if !self.flights.contains_key(&job) {
                self.outputs.push_back(Output::Unsend { job });
            }
        }
    }

    /// Calls back what was armed and has not left.
    pub(super) fn disarm(&mut self, id: TargetId, now: Now) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        for armed in std::mem::take(&mut target.armed) {
            self.call_back(armed, now);
        }
    }

    /// As [`Broker::disarm`], one job. Whether it was armed and had not left.
    pub(super) fn recall(&mut self, id: TargetId, job: JobId, now: Now) -> bool {
        let Some(target) = self.targets.get_mut(&id) else { return false };
        let Some(index) = target.armed.iter().position(|armed| armed.job == job) else {
            return false;
        };
        let armed = target.armed.remove(index);
        self.call_back(armed, now);
        true
    }

    /// Ends those that were armed and whose deadline has passed since.
    fn give_up_late(&mut self, id: TargetId, now: Now) {
        let (jobs, Some(target)) = (&self.jobs, self.targets.get_mut(&id)) else { return };
        let is_late =
            |armed: &mut Armed| jobs.get(armed.job).is_some_and(|(job, _)| job.is_late(now.wall));
        let late: Vec<Armed> = target.armed.extract_if(.., is_late).collect();
        for armed in late {
            self.call_back(armed, now);
            self.expire(now, armed.job);
        }
    }

    fn call_back(&mut self, armed: Armed, now: Now) {
        let Armed { job, priority, turn, at, durable, passed_over, passed_by_others } = armed;
        let Some((header, place)) = self.jobs.get(job) else { return };
        let before = (header.clone(), *place);
        let mut header = before.0.clone();
        let event = header.take_back();
        if header.spent == 0 && header.refusals == 0 && header.course.in_vain == 0 {
            header.first_sent_at = None;
        }
        if let Some(target) = self.targets.get_mut(&header.target) {
            target.feedback.on_unsent(at);
            target.lines.line(priority).come_back(passed_over);
            target.passed_by_others = target.passed_by_others.max(passed_by_others);
        }
        if durable {
            self.outputs.push_back(Output::Unsend { job });
        } else {
            // Its request comes with the commit that is under way.
            self.called_back.insert((turn, job));
        }
        self.shift(now, before, header, Place::Queued, event.into());
    }
}
