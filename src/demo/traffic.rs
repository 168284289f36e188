//! Producers that play a plan against the data address, and one that asks how each job ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::auditor::Auditor;
use super::client::{Brought, Called, DataClient};
use super::ledger::{Acknowledged, Ledger, Loss, judge};
use super::plan::{Deed, Order, Plan, Planned};
use crate::broker::job::{JobId, Priority};

/// Producers' requests under way at once; one more waits.
const MOST_CALLS: usize = 256;
/// A demo without an end brings nothing while so many jobs have not ended.
const MOST_OPEN: usize = 2_000;
/// How long a producer waits for an acknowledgement.
const PATIENCE: Duration = Duration::from_secs(15);

/// What every producer holds.
#[derive(Clone)]
pub(super) struct Producer {
    pub(super) client: DataClient,
    pub(super) ledger: Arc<Ledger>,
    pub(super) auditor: Arc<Auditor>,
}

/// The producers at work.
#[derive(Debug)]
pub(super) struct Traffic {
    task: JoinHandle<()>,
    pace: watch::Sender<Pace>,
}

/// What the producers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pace {
    Play,
    /// Bring nothing new.
    Stop,
    /// Wait for no answer any more.
    HangUp,
}

impl Traffic {
    pub(super) fn start(producer: Producer, plan: Plan) -> Traffic {
        let (pace, told) = watch::channel(Pace::Play);
        Traffic { task: tokio::spawn(play(producer, plan, told)), pace }
    }

    /// Everything was brought, and every synchronous caller has its answer.
    pub(super) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Brings nothing new and waits so long for the answers that are outstanding. A caller that
    /// has none by then hangs up.
    pub(super) async fn stop(mut self, patience: Duration) {
        // Where the task is over already, nobody listens.
        let _ = self.pace.send(Pace::Stop);
        if tokio::time::timeout(patience, &mut self.task).await.is_err() {
            let _ = self.pace.send(Pace::HangUp);
            let _ = (&mut self.task).await;
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn play(producer: Producer, plan: Plan, mut told: watch::Receiver<Pace>) {
    let mut calls = JoinSet::new();
    tokio::select! {
        () = bring(&producer, &plan, &mut calls) => {}
        () = at_least(&mut told, Pace::Stop) => {}
    }
    tokio::select! {
        () = async { while calls.join_next().await.is_some() {} } => {}
        () = at_least(&mut told, Pace::HangUp) => {}
    }
    // Not only cancelled but gone: then each has said what became of its jobs.
    calls.shutdown().await;
}

/// Until the producers are told so much; for ever where nobody can tell them any more.
async fn at_least(told: &mut watch::Receiver<Pace>, pace: Pace) {
    if told.wait_for(|now| *now >= pace).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn bring(producer: &Producer, plan: &Plan, calls: &mut JoinSet<()>) {
    let mut act_starts = Instant::now();
    for act in (0..).map_while(|n| plan.nth_act(n)) {
        for Planned { at, deed } in act {
            tokio::time::sleep_until(act_starts + at).await;
            if plan.endless && producer.ledger.open() >= MOST_OPEN {
                continue;
            }
            while calls.try_join_next().is_some() {}
            if calls.len() >= MOST_CALLS {
                calls.join_next().await;
            }
            calls.spawn(producer.clone().perform(deed));
        }
        act_starts += plan.act;
    }
}

/// Counts jobs as unclear unless an answer comes before it is dropped: also where the task that
/// waits for the answer is aborted.
struct Outstanding<'a> {
    ledger: &'a Ledger,
    jobs: u64,
}

impl<'a> Outstanding<'a> {
    fn new(ledger: &'a Ledger, jobs: u64) -> Outstanding<'a> {
        Outstanding { ledger, jobs }
    }

    fn answered(mut self) {
        self.jobs = 0;
    }
}

impl Drop for Outstanding<'_> {
    fn drop(&mut self) {
        self.ledger.leave_unclear(self.jobs);
    }
}

impl Producer {
    async fn perform(self, deed: Deed) {
        match deed {
            Deed::Submit { priority, order } => {
                self.submit(priority, &order, None).await;
            }
            Deed::SubmitTwice { priority, order } => self.submit_twice(priority, &order).await,
            Deed::Burst { priority, orders, lines } => self.burst(priority, &orders, lines).await,
            Deed::Call { priority, order } => self.call(priority, &order).await,
        }
    }

    async fn submit(
        &self,
        priority: Priority,
        order: &Order,
        dedup_id: Option<&str>,
    ) -> Option<JobId> {
        let outstanding = Outstanding::new(&self.ledger, 1);
        match self.try_submit(priority, order, dedup_id).await? {
            Brought::Acknowledged { job, .. } => {
                self.ledger.acknowledge(self.acknowledged(job, priority));
                outstanding.answered();
                Some(job)
            }
            Brought::TurnedAway => {
                self.ledger.turn_away(1);
                outstanding.answered();
                None
            }
        }
    }

    async fn try_submit(
        &self,
        priority: Priority,
        order: &Order,
        dedup_id: Option<&str>,
    ) -> Option<Brought> {
        let submission = self.client.submit(priority, order, dedup_id);
        match tokio::time::timeout(PATIENCE, submission).await {
            Ok(Ok(brought)) => Some(brought),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a producer was not answered");
                None
            }
            Err(_) => None,
        }
    }

    async fn submit_twice(&self, priority: Priority, order: &Order) {
        let dedup_id = format!("order-{}", order.number);
        let Some(first) = self.submit(priority, order, Some(&dedup_id)).await else { return };
        // Unanswered, it adds no job: the first one has the name.
        match self.try_submit(priority, order, Some(&dedup_id)).await {
            Some(Brought::Acknowledged { job, duplicate }) => {
                self.ledger.duplicate(first, self.acknowledged(job, priority), duplicate);
            }
            Some(Brought::TurnedAway) => self.ledger.turn_away(1),
            None => {}
        }
    }

    async fn burst(&self, priority: Priority, orders: &[Order], lines: bool) {
        let outstanding = Outstanding::new(&self.ledger, orders.len() as u64);
        let submission = self.client.submit_batch(priority, orders, lines);
        match tokio::time::timeout(PATIENCE, submission).await {
            Ok(Ok(results)) => {
                for brought in results {
                    match brought {
                        Brought::Acknowledged { job, .. } => {
                            self.ledger.acknowledge(self.acknowledged(job, priority));
                        }
                        Brought::TurnedAway => self.ledger.turn_away(1),
                    }
                }
                outstanding.answered();
            }
            Ok(Err(error)) => tracing::warn!(%error, "a producer of a batch was not answered"),
            Err(_) => {}
        }
    }

    async fn call(&self, priority: Priority, order: &Order) {
        let outstanding = Outstanding::new(&self.ledger, 1);
        let called_at = self.auditor.now();
        match self.client.call(priority, order).await {
            Ok(Called { job: Some(job), status, genuine }) => {
                self.ledger.acknowledge(Acknowledged { job, priority, at: called_at });
                self.ledger.called();
                if status == http::StatusCode::OK && !genuine {
                    self.ledger.lose(job, Loss::ForeignAnswer);
                }
                outstanding.answered();
            }
            Ok(Called { job: None, .. }) => {
                self.ledger.turn_away(1);
                outstanding.answered();
            }
            Err(error) => tracing::warn!(%error, "a synchronous caller was not answered"),
        }
    }

    fn acknowledged(&self, job: JobId, priority: Priority) -> Acknowledged {
        Acknowledged { job, priority, at: self.auditor.now() }
    }

    /// Asks about one open job and settles it if it has ended.
    async fn ask(&self, open: Acknowledged) -> Result<(), NoAnswer> {
        let asking = tokio::time::timeout(PATIENCE, self.client.state(open.job));
        let state = asking.await.map_err(|_| NoAnswer)?.map_err(|error| {
            tracing::warn!(%error, job = %open.job, "the daemon did not say how a job is");
            NoAnswer
        })?;
        let (verdict, first_seen) = self.auditor.read(|books| {
            let seen = books.job(open.job);
            (judge(state, seen), seen.map(|book| book.first_at))
        });
        if let Some(ended) = verdict {
            self.ledger.settle(open, ended, first_seen);
        }
        Ok(())
    }

    /// Asks about open jobs in turn, for ever; so that few are left to ask about at the end, and
    /// none is forgotten by the daemon before it was asked about.
    pub(super) async fn keep_asking(self) {
        const AT_ONCE: usize = 100;
        let mut round = tokio::time::interval(Duration::from_millis(250));
        round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            round.tick().await;
            for _ in 0..self.ledger.open().min(AT_ONCE) {
                let Some(open) = self.ledger.next_open() else { break };
                if self.ask(open).await.is_err() {
                    break;
                }
            }
        }
    }

    /// Asks about every open job once more. One that the daemon does not answer about is lost;
    /// after some tries in vain no more are made.
    pub(super) async fn ask_all(&self) {
        let mut tries_left = 3_u32;
        for _ in 0..self.ledger.open() {
            let Some(open) = self.ledger.next_open() else { return };
            let mut answer = Err(NoAnswer);
            while answer.is_err() && tries_left > 0 {
                answer = self.ask(open).await;
                tries_left = if answer.is_ok() { 3 } else { tries_left - 1 };
            }
            if answer.is_err() {
                self.ledger.settle(open, Err(Loss::NoAnswer), None);
            }
        }
    }
}

struct NoAnswer;

#[cfg(test)]
mod tests;
