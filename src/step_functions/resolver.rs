//! The outbox worker: it answers the tokens of jobs that have ended, until every one is settled.
//!
//! An answer that was sent and not recorded is sent again after a crash; Step Functions says that the
//! token is used up, and the job's history says what that can mean.

use std::time::Duration;

use super::answer::TokenAnswer;
use super::client::{Outcome, Scope, Sfn};
use super::health::{Health, Part};
use crate::aws::Backoff;
use crate::broker::io::{Input, Settlement};
use crate::broker::job::{JobId, Owed, Place};
use crate::broker::payload::TaskToken;
use crate::handle::Handle;
use crate::metrics::{Callback, Metrics};
use crate::outbox::window::{Pauses, Turn, Window};
use crate::outbox::{Settled, Shelf, Work};
use crate::store::{Reader, StoreError};

/// Long enough to let Step Functions be, short enough to find it back soon.
pub(super) const PAUSES: Pauses = Pauses {
    concurrent: 32,
    service: Backoff { min: Duration::from_millis(250), max: Duration::from_secs(15) },
    service_held: Backoff { min: Duration::from_secs(2), max: Duration::from_secs(30) },
    job: Backoff { min: Duration::from_millis(250), max: Duration::from_secs(10) },
    job_held: Backoff { min: Duration::from_secs(5), max: Duration::from_secs(300) },
};

pub(super) struct Resolver {
    pub(super) sfn: Sfn,
    pub(super) handle: Handle,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
}

/// How one call went.
pub(super) enum Report {
    /// It was read and there is nothing to answer.
    Nothing,
    Settled(Settlement, Callback),
    Failed {
        outcome: Outcome,
    },
    Unread(StoreError),
}

/// Jobs whose task token is to be answered.
#[derive(Clone)]
pub(super) struct Tokens(Reader);

impl Shelf for Tokens {
    fn page(&self, after: Option<JobId>, limit: usize) -> Result<Vec<JobId>, StoreError> {
        self.0.outbox(after, limit)
    }

    fn look(&self, id: JobId) -> Result<Settled, StoreError> {
        let out = self.0.job(id)?.is_none_or(|record| record.header.owed == Owed::Nothing);
        // A token is answered once.
        Ok(if out { Settled::Out } else { Settled::NotYet })
    }
}

impl Work for Resolver {
    type Shelf = Tokens;
    type Report = Report;

    fn shelf(&self) -> Tokens {
        Tokens(self.handle.reader().clone())
    }

    fn send(&self, id: JobId) -> impl Future<Output = Report> + Send + 'static {
        answer(self.sfn.clone(), self.handle.reader().clone(), id)
    }

    fn ended(&self, id: JobId, report: Option<Report>) -> Turn {
        match report {
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
                Turn::Failed { held: false, after: Duration::ZERO }
            }
            None => {
                tracing::error!(job = %id, "answering its task token panicked; trying again");
                Turn::Failed { held: true, after: Duration::ZERO }
            }
        }
    }

    fn look(&self, turn: Turn, window: &Window) {
        if matches!(turn, Turn::Settled | Turn::Failed { .. }) && !window.is_down() {
            self.health.fine(Part::Answers);
        }
        if matches!(turn, Turn::Settled | Turn::Nothing) && window.nobody_waits() {
            self.health.fine(Part::SomeAnswers);
        }
    }
}

impl Resolver {
    fn failed(&self, id: JobId, outcome: Outcome) -> Turn {
        match outcome {
            Outcome::Later { reason } => {
                self.metrics.callback(Callback::Retried);
                self.health.trouble(Part::Answers, false, &reason);
                Turn::Down { held: false, after: Duration::ZERO }
            }
            Outcome::Hold { reason, of: Scope::Service } => {
                self.metrics.callback(Callback::Held);
                self.health.trouble(Part::Answers, true, &reason);
                Turn::Down { held: true, after: Duration::ZERO }
            }
            Outcome::Hold { reason, of: Scope::Job } => {
                self.metrics.callback(Callback::Held);
                tracing::debug!(job = %id, reason, "its task token is not answered");
                self.health.trouble(Part::SomeAnswers, true, &reason);
                Turn::Failed { held: true, after: Duration::ZERO }
            }
            // A failure that is too large: answers are cut so that there is none.
            Outcome::TooLarge | Outcome::Accepted | Outcome::Gone(_) => {
                self.metrics.callback(Callback::Held);
                let reason = "Step Functions says InvalidOutput to a SendTaskFailure";
                self.health.trouble(Part::SomeAnswers, true, reason);
                Turn::Failed { held: true, after: Duration::ZERO }
            }
        }
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
