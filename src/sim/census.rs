//! What happened in a world, so that a set of seeds can show that it tried everything.

use std::collections::BTreeMap;

use super::book::Book;
use crate::broker::change::{Account, Change, Loaded, Spent};
use crate::broker::counts;
use crate::broker::group::Stand;
use crate::broker::io::{CommandError, Input, Output, Refusal, Reply, Submitted};
use crate::broker::job::{End, Failure, Happening, Place, Says};

#[derive(Debug, Default)]
pub(super) struct Census(BTreeMap<&'static str, u64>);

impl Census {
    /// What a few hundred worlds must have seen.
    const EXPECTED: [&'static str; 91] = [
        "a flow asked for",
        "a flow goes on",
        "a flow that is known to the store alone",
        "one behind its group",
        "one behind, put off",
        "one whose turn in its group came",
        "a group held",
        "a group held by one that died behind",
        "a group let go on by a purge",
        "a group let go on by a redrive",
        "groups found without a head",
        "a batch is submitted",
        "a call is called off",
        "a request waits at the exit",
        "a task gone",
        "a task gone at the last moment",
        "a token answered",
        "a token too late",
        "an answer tried again",
        "an unfit message",
        "a call back of a start",
        "a cancel",
        "a commit in flight is lost with the process",
        "a commit in flight survives the process",
        "a conflict",
        "a crash",
        "a crash with nothing in flight",
        "a dedup_id with another payload",
        "a delete",
        "a deadline that is over",
        "a deadline out of reach",
        "a dedup_id that is taken over",
        "a duplicate",
        "a full queue",
        "a hold",
        "a period of a quota that is over",
        "a place that is held",
        "a quota that is spent",
        "a restart of the machine",
        "a slot that is spent",
        "a step of a window that is over",
        "a jump back",
        "a jump forward",
        "a new priority",
        "a pause",
        "a question",
        "a call back of a question",
        "a question: done",
        "a question: not done",
        "a question: failed",
        "a question: pending",
        "a question: refused",
        "a question: unknown",
        "a redrive",
        "a warning of dead jobs",
        "another request",
        "dead jobs let go",
        "a refusal while draining",
        "a reload",
        "a resume",
        "a scheduled job",
        "a start",
        "a stop",
        "a sweep of many",
        "a target gone with jobs",
        "an abandoned job",
        "an end with the process undrained",
        "an unknown job",
        "an arrival after the end of its attempt",
        "an unknown target",
        "accepted",
        "an unknown outcome",
        "attempts used up",
        "held back by a breaker",
        "held back by a shared limit",
        "held back by a window",
        "done",
        "drained",
        "due",
        "expired",
        "many dead pages",
        "more rows of a line",
        "more timers",
        "more deadlines",
        "passed over",
        "refused",
        "rejected",
        "sent",
        "unknown",
        "verifying",
        "waiting",
    ];

    pub(super) fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Census) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    pub(super) fn missing(&self) -> Vec<&'static str> {
        Census::EXPECTED.into_iter().filter(|what| !self.0.contains_key(what)).collect()
    }

    pub(super) fn input(&mut self, input: &Input) {
        let what = match input {
            Input::Submit { jobs, .. } if jobs.len() > 1 => "a batch is submitted",
            Input::Abandoned { .. } => "an abandoned job",
            Input::TaskGone { .. } => "a task gone",
            Input::Loaded(Loaded::Flow { done: Some(_), .. }) => {
                "a flow that is known to the store alone"
            }
            Input::Loaded(Loaded::Vacant { groups, .. }) if !groups.is_empty() => {
                "groups found without a head"
            }
            Input::Pause { paused: true, .. } => "a pause",
            Input::Pause { paused: false, .. } => "a resume",
            Input::Configure { .. } => "a reload",
            _ => return,
        };
        self.count(what);
    }

    pub(super) fn output(&mut self, output: &Output, book: &Book) {
        use crate::broker::change::Load;
        match output {
            Output::Change(change) => {
                if let Change::Insert(insert) = change
                    && let Some(claim) = &insert.claim
                    && book.claimant(&claim.key).is_some()
                {
                    self.count("a dedup_id that is taken over");
                }
                self.change(change);
            }
            Output::Reply { reply, .. } => self.reply(reply),
            Output::Load(Load::Ready { after: Some(_), .. }) => self.count("more rows of a line"),
            Output::Load(Load::Timers { after: Some(_), .. }) => self.count("more timers"),
            Output::Load(Load::Deadlines { after: Some(_), .. }) => self.count("more deadlines"),
            Output::Load(Load::Dead { after: Some(_), .. }) => self.count("many dead pages"),
            Output::Load(Load::Flow { .. }) => self.count("a flow asked for"),
            Output::Send(_) => self.count("sent"),
            Output::PassedOver { .. } => self.count("passed over"),
            Output::Drained => self.count("drained"),
            Output::DeadFill(fill) if fill.dropped > 0 => self.count("dead jobs let go"),
            Output::DeadFill(_) => self.count("a warning of dead jobs"),
            Output::Load(_) | Output::Unsend { .. } | Output::Waited { .. } => {}
        }
    }

    fn change(&mut self, change: &Change) {
        let events = match change {
            Change::Insert(insert) => {
                match insert.place {
                    Place::Scheduled { .. } => self.count("a scheduled job"),
                    Place::Behind { due: Some(_) } => self.count("one behind, put off"),
                    Place::Behind { due: None } => self.count("one behind its group"),
                    _ => {}
                }
                return;
            }
            Change::Move(step) => {
                if counts::holds(&step.to, step.header.stand()) {
                    self.count(match step.from_stand {
                        Stand::Behind => "a group held by one that died behind",
                        _ => "a group held",
                    });
                }
                if counts::holds(&step.from, step.from_stand) && !step.to.is_ended() {
                    self.count("a group let go on by a redrive");
                }
                let exhausted = End::Failed(Failure::RetriesExhausted);
                let unknown = End::Failed(Failure::OutcomeUnknown);
                match step.to {
                    Place::Ended { end, .. } if end == exhausted => self.count("attempts used up"),
                    Place::Ended { end, .. } if end == unknown => self.count("an unknown outcome"),
                    _ => {}
                }
                &step.events
            }
            Change::Delete { place, stand, .. } => {
                if counts::holds(place, *stand) {
                    self.count("a group let go on by a purge");
                }
                return self.count("a delete");
            }
            Change::Rewrite { .. } => return self.count("another request"),
            Change::Held { .. } => return self.count("a hold"),
            Change::Flow { .. } => return self.count("a flow goes on"),
            Change::Spent(Spent { account: Account::Window { .. }, count: 0, .. }) => {
                return self.count("a step of a window that is over");
            }
            Change::Spent(Spent { account: Account::Window { .. }, .. }) => {
                return self.count("a slot that is spent");
            }
            Change::Spent(Spent { account: Account::Quota { .. }, count, .. }) => {
                return self.count(match count {
                    0 => "a period of a quota that is over",
                    _ => "a quota that is spent",
                });
            }
            Change::Spent(Spent { account: Account::Place { .. }, .. }) => {
                return self.count("a place that is held");
            }
            Change::Paused { .. } | Change::Lived { .. } => return,
        };
        for event in events {
            let what = match event.what {
                Happening::Due => "due",
                Happening::Sent { .. } => "a start",
                Happening::NotSent { .. } => "a call back of a start",
                Happening::Done { .. } => "done",
                Happening::Refused { .. } => "refused",
                Happening::Rejected { .. } => "rejected",
                Happening::Unknown { .. } => "unknown",
                Happening::Waiting { .. } => "waiting",
                Happening::PriorityChanged { .. } => "a new priority",
                Happening::Cancelled { .. } => "a cancel",
                Happening::Expired => "expired",
                Happening::Redriven { .. } => "a redrive",
                Happening::Behind => "one behind its group",
                Happening::Headed => "one whose turn in its group came",
                Happening::Unfit { .. } => "an unfit message",
                Happening::Hopeless { .. } => "a message out of reach",
                Happening::CallbackDelivered { .. } => "a callback told",
                Happening::CallbackUndelivered { .. } => "a callback given up",
                Happening::CallbackAgain { .. } => "a callback redriven",
                Happening::TokenAnswered => "a token answered",
                Happening::TokenLate { .. } => "a token too late",
                Happening::Asked { .. } => "a question",
                Happening::NotAsked { .. } => "a call back of a question",
                Happening::Answered { says, .. } => match says {
                    Says::Done => "a question: done",
                    Says::NotDone => "a question: not done",
                    Says::Failed => "a question: failed",
                    Says::Pending => "a question: pending",
                    Says::Refused => "a question: refused",
                    Says::Unknown => "a question: unknown",
                },
                Happening::Verifying { .. } => "verifying",
                Happening::Accepted { .. } => "accepted",
                Happening::Edited { .. } => "an edit",
                Happening::Enqueued | Happening::Scheduled { .. } | Happening::Failed { .. } => {
                    continue;
                }
            };
            self.count(what);
        }
    }

    fn reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Submitted(results) => {
                for result in results {
                    let what = match result {
                        Submitted::Accepted { .. } => continue,
                        Submitted::Duplicate { .. } => "a duplicate",
                        Submitted::Refused(Refusal::DedupMismatch { .. }) => {
                            "a dedup_id with another payload"
                        }
                        Submitted::Refused(Refusal::QueueFull { .. }) => "a full queue",
                        Submitted::Refused(Refusal::UnknownTarget) => "an unknown target",
                        Submitted::Refused(Refusal::Draining) => "a refusal while draining",
                        Submitted::Refused(Refusal::DeadlinePassed) => "a deadline that is over",
                        Submitted::Refused(Refusal::TooLate { .. }) => "a deadline out of reach",
                    };
                    self.count(what);
                }
            }
            Reply::Job(Err(CommandError::NoSuchJob)) => self.count("an unknown job"),
            Reply::Job(Err(CommandError::Conflict { .. })) => self.count("a conflict"),
            Reply::Job(Err(CommandError::Overtaken { .. })) => self.count("one overtaken"),
            Reply::Swept(2..) => self.count("a sweep of many"),
            Reply::Job(_) | Reply::Swept(_) | Reply::Target(_) => {}
        }
    }
}
