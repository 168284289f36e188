//! The outbox worker: it answers the tokens of jobs that have ended, until every one is settled.
//!
//! The outbox is durable, so nothing here has to be: after a crash it is read anew. An answer that
//! was sent and not recorded is sent again then; Step Functions says that the token is used up, and
//! the job's history says what that can mean.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::answer::TokenAnswer;
use super::client::{Outcome, Scope, Sfn};
use super::health::{Health, Part};
use super::pace::Pacer;
use super::window::{Turn, Window};
use crate::aws::dice;
use crate::broker::io::{Input, Settlement};
use crate::broker::job::{JobId, Owed, Place};
use crate::broker::payload::TaskToken;
use crate::handle::Handle;
use crate::metrics::{Callback, Metrics};
use crate::store::{Reader, StoreError};

/// Of ids, at one reading.
const PAGE: usize = 256;
/// The outbox is read no more often: whoever ended meanwhile is found together.
const BETWEEN_READINGS: Duration = Duration::from_millis(10);
/// Jobs that made room for others are looked for again after this.
const ANEW: Duration = Duration::from_secs(60);

pub(super) struct Resolver {
    pub(super) sfn: Sfn,
    pub(super) handle: Handle,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
    pub(super) pacer: Pacer,
    /// A job with a token ended.
    pub(super) ended: Arc<Notify>,
}

/// Where the reading of the outbox is. Jobs come into it in any order of ids, so whenever one has
/// ended it is read again from its beginning.
struct Reading {
    after: Option<JobId>,
    /// Between a beginning and an end.
    under_way: bool,
    again: bool,
    next_at: Instant,
    anew_at: Instant,
}

/// How one call went.
enum Report {
    /// It was read and there is nothing to answer.
    Nothing,
    Settled(Settlement, Callback),
    Failed {
        outcome: Outcome,
    },
    Unread(StoreError),
}

impl Resolver {
    pub(super) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let now = Instant::now();
        let mut window = Window::default();
        let mut reading = Reading {
            after: None,
            under_way: false,
            again: true,
            next_at: now,
            anew_at: now + ANEW,
        };
        let mut calls = JoinSet::new();
        let mut jobs: HashMap<Id, JobId> = HashMap::new();
        loop {
            self.read(&mut window, &mut reading).await;
            let now = Instant::now();
            if self.pacer.next() <= now
                && let Some(id) = window.next(now)
            {
                self.pacer.take(now);
                let call = calls.spawn(answer(self.sfn.clone(), self.handle.reader().clone(), id));
                jobs.insert(call.id(), id);
                continue;
            }
            let send_at = window.next_at(now).map(|at| at.max(self.pacer.next()));
            let read_at = reading.wanted(&window).then_some(reading.next_at);
            let wake_at = send_at.into_iter().chain(read_at).min().unwrap_or(reading.anew_at);
            tokio::select! {
                biased;
                // A sender that is gone means the same.
                _ = shutdown.wait_for(|over| *over) => break,
                Some(done) = calls.join_next_with_id() => {
                    let (call, report) = match done {
                        Ok((call, report)) => (call, Some(report)),
                        Err(panicked) => (panicked.id(), None),
                    };
                    if let Some(id) = jobs.remove(&call) {
                        self.ended(&mut window, id, report);
                    }
                }
                () = self.ended.notified() => reading.again = true,
                () = sleep_until(wake_at.min(reading.anew_at)) => {}
            }
            if reading.anew_at <= Instant::now() {
                reading.again = true;
                reading.anew_at = Instant::now() + ANEW;
            }
        }
        // What is under way is heard out, so that it is not sent again after the restart.
        while let Some(done) = calls.join_next_with_id().await {
            if let Ok((call, report)) = done
                && let Some(id) = jobs.remove(&call)
            {
                self.ended(&mut window, id, Some(report));
            }
        }
    }

    /// Fills the window from the outbox, and lets go of what is out of it.
    async fn read(&self, window: &mut Window, reading: &mut Reading) {
        let now = Instant::now();
        if reading.next_at > now || !reading.wanted(window) {
            return;
        }
        reading.next_at = now + BETWEEN_READINGS;
        let limit = if reading.has_more() { window.room().min(PAGE) } else { 0 };
        if limit > 0 && !reading.under_way {
            (reading.after, reading.under_way, reading.again) = (None, true, false);
        }
        let (reader, after) = (self.handle.reader().clone(), reading.after);
        let settling: Vec<JobId> = window.settling().collect();
        let read = tokio::task::spawn_blocking(move || {
            // The page first: what it still holds and is settled by then is in the window yet.
            let page = if limit > 0 { reader.outbox(after, limit)? } else { Vec::new() };
            let mut out = Vec::new();
            for id in settling {
                if reader.job(id)?.is_none_or(|record| record.header.owed == Owed::Nothing) {
                    out.push(id);
                }
            }
            Ok::<_, StoreError>((page, out))
        });
        match read.await {
            Ok(Ok((page, out))) => {
                reading.after = page.last().copied().or(reading.after);
                reading.under_way = reading.under_way && page.len() == limit;
                window.add(page);
                out.into_iter().for_each(|id| window.settled(id));
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the outbox cannot be read; trying again");
                (reading.again, reading.under_way) = (true, false);
                reading.next_at = now + Duration::from_secs(5);
            }
            Err(_) => {
                (reading.again, reading.under_way) = (true, false);
                reading.next_at = now + Duration::from_secs(5);
            }
        }
    }

    fn ended(&self, window: &mut Window, id: JobId, report: Option<Report>) {
        let turn = match report {
            Some(Report::Nothing) => Turn::Nothing,
            Some(Report::Settled(how, callback)) => {
                self.metrics.callback(callback);
                if let Settlement::Late { reason } = &how {
                    tracing::info!(job = %id, reason, "too late to answer a task token");
                }
                self.handle.tell(Input::Settled { job: id, how });
                Turn::Settled
            }
            Some(Report::Failed { outcome }) => self.failed(id, outcome),
            Some(Report::Unread(error)) => {
                tracing::error!(job = %id, %error, "the job cannot be read; trying again");
                Turn::Failed { held: false }
            }
            None => {
                tracing::error!(job = %id, "answering its task token panicked; trying again");
                Turn::Failed { held: true }
            }
        };
        window.ended(id, turn, Instant::now(), dice());
        if matches!(turn, Turn::Settled | Turn::Failed { .. }) && !window.is_down() {
            self.health.fine(Part::Answers);
        }
        if matches!(turn, Turn::Settled | Turn::Nothing) && window.nobody_waits() {
            self.health.fine(Part::SomeAnswers);
        }
    }

    fn failed(&self, id: JobId, outcome: Outcome) -> Turn {
        match outcome {
            Outcome::Later { reason } => {
                self.metrics.callback(Callback::Retried);
                self.health.trouble(Part::Answers, false, &reason);
                Turn::Down { held: false }
            }
            Outcome::Hold { reason, of: Scope::Service } => {
                self.metrics.callback(Callback::Held);
                self.health.trouble(Part::Answers, true, &reason);
                Turn::Down { held: true }
            }
            Outcome::Hold { reason, of: Scope::Job } => {
                self.metrics.callback(Callback::Held);
                tracing::debug!(job = %id, reason, "its task token is not answered");
                self.health.trouble(Part::SomeAnswers, true, &reason);
                Turn::Failed { held: true }
            }
            // A failure that is too large: answers are cut so that there is none.
            Outcome::TooLarge | Outcome::Accepted | Outcome::Gone(_) => {
                self.metrics.callback(Callback::Held);
                let reason = "Step Functions says InvalidOutput to a SendTaskFailure";
                self.health.trouble(Part::SomeAnswers, true, reason);
                Turn::Failed { held: true }
            }
        }
    }
}

impl Reading {
    fn has_more(&self) -> bool {
        self.under_way || self.again
    }

    fn wanted(&self, window: &Window) -> bool {
        (self.has_more() && window.room() > 0) || window.settling().next().is_some()
    }
}

async fn answer(sfn: Sfn, reader: Reader, id: JobId) -> Report {
    let looked_up = tokio::task::spawn_blocking(move || look_up(&reader, id)).await;
    let (token, answer, instead) = match looked_up {
        Ok(Ok(Found::Owed { token, answer, too_large })) => (token, answer, too_large),
        Ok(Ok(Found::Nothing)) => return Report::Nothing,
        Ok(Ok(Found::NoToken)) => {
            let reason = "the token is not in the store".to_owned();
            return Report::Settled(Settlement::Late { reason }, Callback::Late);
        }
        Ok(Err(error)) => return Report::Unread(error),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    };
    let too_large = matches!(&answer, TokenAnswer::Failure { error, .. }
        if error == super::answer::RESULT_TOO_LARGE);
    let (outcome, too_large) = match sfn.answer(&token, answer).await {
        Outcome::TooLarge => (sfn.answer(&token, instead).await, true),
        outcome => (outcome, too_large),
    };
    match outcome {
        Outcome::Accepted => {
            let callback = if too_large { Callback::TooLarge } else { Callback::Accepted };
            Report::Settled(Settlement::Answered, callback)
        }
        Outcome::Gone(gone) => {
            let reason = gone.reason().to_owned();
            Report::Settled(Settlement::Late { reason }, Callback::Late)
        }
        outcome => Report::Failed { outcome },
    }
}

enum Found {
    Nothing,
    NoToken,
    Owed {
        token: TaskToken,
        answer: TokenAnswer,
        /// Where Step Functions finds the first one too large.
        too_large: TokenAnswer,
    },
}

fn look_up(reader: &Reader, id: JobId) -> Result<Found, StoreError> {
    let Some(record) = reader.job(id)? else { return Ok(Found::Nothing) };
    let Place::Ended { end, .. } = record.place else { return Ok(Found::Nothing) };
    if record.header.owed == Owed::Nothing {
        return Ok(Found::Nothing);
    }
    let Some(token) = reader.token(id)? else { return Ok(Found::NoToken) };
    let kept = reader.answer(id)?;
    Ok(Found::Owed {
        token,
        answer: TokenAnswer::new(&record, end, kept.as_ref()),
        too_large: TokenAnswer::too_large(&record, kept.as_ref()),
    })
}
