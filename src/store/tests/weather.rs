//! Seeded turns of valid changes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::broker::callback::{Callback, CallbackName, Telling};
use crate::broker::change::{
    Account, Change, Claim, DedupKey, Insert, Load, Loaded, Move, Spent, Ticket, Turn,
};
use crate::broker::course::{Course, Delivery, Phase, Poll};
use crate::broker::fair::{FlowId, FlowKey, Tag};
use crate::broker::group::{GroupKey, GroupName, Membership, Stand};
use crate::broker::job::{
    End, Event, Failure, Happening, Header, JobId, Owed, Place, Priority, Seat, Source, TargetId,
};
use crate::broker::payload::{Answer, Request, TaskToken};
use crate::broker::policy::{LimitId, LimitName};
use crate::broker::time::{Lived, Wall};
use crate::store::model::{Model, ModelJob};

/// splitmix64.
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % sides
    }

    pub(super) fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len() as u64) as usize]
    }
}

pub(super) const GROUPS: [&str; 3] = ["g", "customer 7", "Ünïcode"];
pub(super) const FLOWS: [&str; 3] = ["f", "tenant 7", "ünïcode"];
pub(super) const CLAIMED: [&str; 4] = ["a", "b", "order 7", "ünïcode"];

#[derive(Debug)]
pub(super) struct Weather {
    pub(super) dice: Dice,
    /// Of targets that there are.
    pub(super) targets: u32,
    jobs: u128,
    seats: u64,
}

impl Weather {
    pub(super) fn new(seed: u64) -> Weather {
        Weather { dice: Dice(seed), targets: 1, jobs: 0, seats: 0 }
    }

    /// From here on no job and no seat is one that another weather gave.
    pub(super) fn skip_to(&mut self, far: u64) {
        (self.jobs, self.seats) = (u128::from(far), far);
    }

    /// Some changes, each valid after those before it.
    pub(super) fn turn(&mut self, model: &Model) -> Vec<Change> {
        let mut scratch = model.clone();
        let count = 1 + self.dice.roll(8);
        let mut changes = Vec::new();
        for _ in 0..count {
            let change = self.change(&scratch);
            scratch.commit(Turn(0), std::slice::from_ref(&change));
            changes.push(change);
        }
        changes
    }

    pub(super) fn time(&mut self) -> Wall {
        // Few times, so that many fall together; some at the ends of the scale.
        match self.dice.roll(12) {
            0 => Wall::EPOCH,
            1 => Wall::NEVER,
            other => Wall::from_millis(1_700_000_000_000 + other),
        }
    }

    pub(super) fn target(&mut self) -> TargetId {
        TargetId(self.dice.roll(u64::from(self.targets)) as u32)
    }

    pub(super) fn priority(&mut self) -> Priority {
        *self.dice.pick(&Priority::ALL)
    }

    fn change(&mut self, model: &Model) -> Change {
        let jobs: Vec<&ModelJob> = model.jobs().map(|(_, job)| job).collect();
        match self.dice.roll(20) {
            11 | 12 => {
                let (target, priority, key) = (self.target(), self.priority(), self.flow());
                let flow = FlowId { target, priority, key };
                Change::Flow { flow, done: Tag(self.dice.roll(60)) }
            }
            0 => Change::Paused { target: self.target(), paused: self.dice.one_in(2) },
            1 => Change::Held { target: self.target(), until: self.time() },
            2 => self.spent(),
            3 => Change::Lived { lived: self.lived(), wall: self.time() },
            4..=7 => self.insert(model),
            8 => self.rewrite(&jobs).unwrap_or_else(|| self.insert(model)),
            9 => self.delete(&jobs).unwrap_or_else(|| self.insert(model)),
            _ => self.step(&jobs, model).unwrap_or_else(|| self.insert(model)),
        }
    }

    fn lived(&mut self) -> Lived {
        Lived::from_micros(self.dice.roll(6))
    }

    fn spent(&mut self) -> Change {
        let limit = match self.dice.roll(3) {
            0 => LimitId::Shared(LimitName::new(["a", "mainframe"][self.dice.roll(2) as usize])),
            _ => LimitId::Target(self.target()),
        };
        let account = match self.dice.roll(3) {
            0 => Account::Place { until: self.lived() },
            _ => {
                let per = Duration::from_secs(self.dice.roll(3) + 1);
                Account::Window { per, end: self.lived() }
            }
        };
        Change::Spent(Spent { limit, account, count: self.dice.roll(3) })
    }

    fn seat(&mut self) -> Seat {
        self.seats += 1;
        Seat(self.seats)
    }

    fn flow(&mut self) -> FlowKey {
        FlowKey::new(self.dice.pick::<&str>(&FLOWS)).unwrap()
    }

    fn callback(&mut self) -> Option<Box<Callback>> {
        let name = *self.dice.pick::<&str>(&["orders", "audit"]);
        let callback = || Box::new(Callback::new(CallbackName::new(name).unwrap()));
        self.dice.one_in(3).then(callback)
    }

    fn tell(&mut self, header: &mut Header, from: &Place, to: &Place) {
        let Some(callback) = &mut header.callback else { return };
        callback.telling = match (from.is_ended(), to.is_ended()) {
            (_, false) => Telling::NotYet,
            (false, true) => Telling::Owed { since: self.time() },
            (true, true) => match self.dice.roll(3) {
                0 => Telling::Owed { since: self.time() },
                1 => Telling::Undelivered { at: self.time() },
                _ => Telling::Delivered,
            },
        };
    }

    pub(super) fn group(&mut self) -> GroupName {
        let name = *self.dice.pick::<&str>(&GROUPS);
        GroupName::new(name).unwrap()
    }

    fn insert(&mut self, model: &Model) -> Change {
        self.jobs += 1;
        let queued = !self.dice.one_in(4);
        let mut header = Header {
            // Not in order of birth, and of every length.
            id: JobId(self.jobs << (self.dice.roll(12) * 10) | 1 << 127 | self.jobs),
            target: self.target(),
            priority: self.priority(),
            seat: if queued { self.seat() } else { Seat(0) },
            enqueued_at: self.time(),
            ready_at: self.time(),
            deadline: self.dice.one_in(3).then(|| self.time()),
            attempts: 0,
            spent: 0,
            refusals: 0,
            first_sent_at: None,
            max_attempts: self.dice.one_in(3).then_some(3),
            owed: if self.dice.one_in(3) { Owed::TaskToken } else { Owed::Nothing },
            course: Course::new(self.dice.one_in(2).then_some(Delivery::Verify)),
            group: None,
            flow: self.dice.one_in(3).then(|| self.flow()),
            tag: Tag(self.dice.roll(50)),
            callback: self.callback(),
        };
        let claim = self.dice.one_in(3).then(|| Claim {
            key: DedupKey { target: header.target, name: (*self.dice.pick(&CLAIMED)).into() },
            digest: [self.dice.roll(256) as u8; 32],
            until: self.time(),
        });
        let mut place = if queued { Place::Queued } else { Place::Scheduled { due: self.time() } };
        if self.dice.one_in(2) {
            let (name, order) = (self.group(), Seat(self.jobs as u64));
            // Now and then nobody is at the head, as after a crash.
            let behind = taken(model, header.target, &name) || self.dice.one_in(4);
            if behind {
                place = Place::Behind { due: self.dice.one_in(3).then(|| self.time()) };
            }
            let stand = if behind { Stand::Behind } else { Stand::Head };
            header.group = Some(Membership { name, order, stand });
        }
        let request = Arc::new(Request {
            method: "PUT".into(),
            path: format!("/{}", self.jobs),
            headers: vec![("x".into(), Bytes::from_static(b"\x00\xff"))],
            body: self.body(),
            idempotency_key: self.dice.one_in(2).then(|| "key".into()),
            live: self.dice.one_in(2),
            task_token: TaskToken::new(format!("secret-{}", self.jobs))
                .filter(|_| header.owed == Owed::TaskToken),
        });
        let events = self.events();
        Change::Insert(Box::new(Insert {
            header,
            place,
            request,
            claim,
            source: Source::Api,
            events,
        }))
    }

    fn step(&mut self, jobs: &[&ModelJob], model: &Model) -> Option<Change> {
        let job = self.any(jobs)?;
        let from = job.record.place;
        let wanted = match from {
            Place::Behind { due } => due,
            _ => None,
        };
        let places = [
            // Its task token was answered.
            from,
            Place::Scheduled { due: wanted.unwrap_or_else(|| self.time()) },
            Place::Queued,
            Place::Behind { due: None },
            Place::Running { started: self.time() },
            Place::Waiting { due: self.time() },
            Place::Verifying { due: self.time() },
            Place::Ended { end: End::Succeeded, at: self.time() },
            Place::Ended { end: End::Cancelled, at: self.time() },
            Place::Ended { end: End::Expired, at: self.time() },
            Place::Ended { end: End::Failed(Failure::RetriesExhausted), at: self.time() },
            Place::Ended { end: End::Failed(Failure::Rejected { status: 404 }), at: self.time() },
        ];
        let legal: Vec<&Place> = places.iter().filter(|to| from.may_become(to)).collect();
        let to = **legal.get(self.dice.roll(legal.len().max(1) as u64) as usize)?;
        let old = &job.record.header;
        let mut header = old.clone();
        header.attempts += u32::from(matches!(to, Place::Running { .. }));
        header.refusals += u32::from(self.dice.one_in(5));
        header.course.phase = match (to, self.dice.roll(3)) {
            (Place::Verifying { .. }, 0) => Phase::Verify,
            (Place::Verifying { .. }, _) => {
                let poll = Poll { path: "/status/7".into(), until: self.time() };
                Phase::Poll(Box::new(poll))
            }
            (Place::Queued | Place::Running { .. }, _) => header.course.phase,
            _ => Phase::Work,
        };
        if to.is_ended() && (from.is_ended() || self.dice.one_in(3)) {
            header.owed = Owed::Nothing;
        }
        let redriven = from.is_ended() && !to.is_ended();
        self.tell(&mut header, &from, &to);
        if redriven {
            header.spent = 0;
            header.deadline = header.deadline.filter(|_| self.dice.one_in(2));
        }
        if !to.is_ended() && (self.dice.one_in(4) || redriven) {
            header.priority = self.priority();
        }
        let stand = self.stand(old, &from, &to, model)?;
        if let Some(group) = &mut header.group {
            group.stand = stand;
        }
        // A seat of its own wherever another job could sit in the old one.
        if to == Place::Queued && (header.priority != old.priority || redriven || old.seat.0 == 0) {
            header.seat = self.seat();
            header.tag = Tag(self.dice.roll(50));
        }
        Some(Change::Move(Box::new(Move {
            header,
            from,
            from_priority: old.priority,
            from_seat: old.seat,
            from_owed: old.owed,
            from_stand: old.stand(),
            to,
            events: self.events(),
            answer: self.dice.one_in(3).then(|| Arc::new(self.answer())),
        })))
    }

    /// How a job stands in its group after this step; `None` where it cannot be taken.
    fn stand(&mut self, old: &Header, from: &Place, to: &Place, model: &Model) -> Option<Stand> {
        let Some(group) = &old.group else {
            return (!matches!(to, Place::Behind { .. })).then_some(Stand::Gone);
        };
        let key = GroupKey { target: old.target, name: group.name.clone() };
        let ticket = Ticket(0);
        let Loaded::Heir { heir, .. } = model.load(&Load::Heir { key, ticket }) else {
            panic!("another answer than was asked for")
        };
        let headless = heir.is_some() || !taken(model, old.target, &group.name);
        let behind = matches!(to, Place::Behind { .. });
        match group.stand {
            // It dies, and may hold its group.
            stand if to.is_ended() && !from.is_ended() => {
                let dead = matches!(to, Place::Ended { end, .. } if end.is_dead());
                Some(if dead && self.dice.one_in(2) { stand } else { Stand::Gone })
            }
            Stand::Behind if to.is_ended() => {
                Some(if headless { Stand::Head } else { Stand::Behind })
            }
            Stand::Gone if to.is_ended() => Some(Stand::Gone),
            Stand::Head => (!behind).then_some(Stand::Head),
            Stand::Behind | Stand::Gone if behind => Some(Stand::Behind),
            Stand::Behind | Stand::Gone => headless.then_some(Stand::Head),
        }
    }

    fn delete(&mut self, jobs: &[&ModelJob]) -> Option<Change> {
        let ended: Vec<&ModelJob> =
            jobs.iter().copied().filter(|job| job.record.place.is_ended()).collect();
        let ended: Vec<&ModelJob> =
            ended.into_iter().filter(|job| may_go(&job.record.header)).collect();
        let record = &self.any(&ended)?.record;
        Some(Change::Delete {
            id: record.header.id,
            target: record.header.target,
            priority: record.header.priority,
            place: record.place,
            stand: record.header.stand(),
        })
    }

    fn rewrite(&mut self, jobs: &[&ModelJob]) -> Option<Change> {
        let dead = jobs
            .iter()
            .copied()
            .filter(|job| matches!(job.record.place, Place::Ended { end, .. } if end.is_dead()));
        let header = &self.any(&dead.collect::<Vec<_>>())?.record.header;
        let (id, target) = (header.id, header.target);
        let request = Request { method: "PATCH".into(), body: self.body(), ..Request::default() };
        Some(Change::Rewrite { id, target, request: Arc::new(request) })
    }

    fn any<'a>(&mut self, jobs: &[&'a ModelJob]) -> Option<&'a ModelJob> {
        jobs.get(self.dice.roll(jobs.len().max(1) as u64) as usize).copied()
    }

    fn events(&mut self) -> Vec<Event> {
        // Now and then so many that the history is cut.
        let count = if self.dice.one_in(10) { 60 } else { self.dice.roll(3) };
        let event = |at| Event {
            at,
            what: Happening::Refused {
                attempt: 1,
                status: Some(503),
                reason: Some("busy".into()),
                until: Wall::NEVER,
            },
        };
        (0..count).map(|_| event(Wall::from_millis(self.dice.roll(1 << 40)))).collect()
    }

    fn answer(&mut self) -> Answer {
        let body = if self.dice.one_in(20) {
            Bytes::from(vec![b'l'; Answer::KEPT + self.dice.roll(2) as usize])
        } else {
            self.body()
        };
        let status = 200 + self.dice.roll(300) as u16;
        let headers = vec![("y".into(), body.slice(..1))];
        Answer { status, headers, body, ..Answer::default() }
    }

    /// From one byte to more than a page.
    fn body(&mut self) -> Bytes {
        let length = 1 + self.dice.roll(10).pow(4);
        Bytes::from(vec![self.dice.roll(256) as u8; length as usize])
    }
}

fn may_go(header: &Header) -> bool {
    header.owed == Owed::Nothing && !header.owes_callback()
}

/// Whether anybody is in the group.
fn taken(model: &Model, target: TargetId, name: &GroupName) -> bool {
    let key = GroupKey { target, name: name.clone() };
    matches!(model.load(&Load::Group { key, ticket: Ticket(0) }), Loaded::Group { taken: true, .. })
}
