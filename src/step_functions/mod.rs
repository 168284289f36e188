//! Step Functions: every task token gets its answer.
//!
//! A job that was handed in with a task token owes its end to a workflow. `resolver` answers tokens
//! from the durable outbox, `heartbeats` keeps the tasks of the others alive, `answer` knows what is
//! said, `client` what the service says to it, `crate::outbox` what goes next, and how fast.

pub mod answer;
mod client;
pub(crate) mod exits;
mod health;
mod heartbeats;
mod resolver;

#[cfg(test)]
mod stub;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

pub use self::health::{Health, Part, State, Trouble};

use self::client::{Gone, Outcome, Sfn};
use self::exits::Exits;
use self::heartbeats::Heartbeats;
use self::resolver::{PAUSES, Resolver};
use crate::aws::Service;
use crate::broker::job::TargetId;
use crate::broker::payload::TaskToken;
use crate::broker::policy::Pace;
use crate::broker::time::Mono;
use crate::config;
use crate::handle::Handle;
use crate::metrics::Metrics;
use crate::outbox::pace::Pacer;
use crate::outbox::{self, Bell};

/// How long a job waits to hear whether it is still wanted.
const ASKING: Duration = Duration::from_secs(2);

/// Whether a workflow still waits for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Yes,
    Gone {
        reason: String,
    },
    /// Step Functions cannot say just now: better to send than to hold up the target.
    Unknown,
}

/// A cheap clone for whoever has to do with task tokens.
#[derive(Clone)]
pub struct StepFunctions(Arc<Inner>);

struct Inner {
    sfn: Sfn,
    health: Health,
    exits: Mutex<Exits>,
    ended: Arc<Bell>,
    check_before_dispatch: bool,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl StepFunctions {
    /// Starts the workers on the current runtime. They stop when `shutdown` is true or its sender
    /// is gone. Nothing is asked of AWS here: where it cannot be reached, that is for
    /// [`StepFunctions::health`] and the log.
    pub fn start(
        service: Service<aws_sdk_sfn::Client>,
        config: &config::StepFunctions,
        handle: Handle,
        metrics: Metrics,
        shutdown: watch::Receiver<bool>,
    ) -> StepFunctions {
        let sfn = Sfn::new(service);
        let (health, ended) = (Health::default(), Arc::<Bell>::default());
        let resolver =
            Resolver { sfn: sfn.clone(), handle: handle.clone(), metrics, health: health.clone() };
        let pacer = Pacer::new(config.callback_rate, Instant::now());
        let worker = outbox::run(resolver, PAUSES, pacer, ended.clone(), shutdown.clone());
        let mut workers = vec![tokio::spawn(worker)];
        if let Some(every) = config.heartbeat {
            let heartbeats = Heartbeats {
                sfn: sfn.clone(),
                handle,
                health: health.clone(),
                every,
                rate: config.callback_rate,
            };
            workers.push(tokio::spawn(heartbeats.run(shutdown)));
        }
        StepFunctions(Arc::new(Inner {
            sfn,
            health,
            exits: Mutex::default(),
            ended,
            check_before_dispatch: config.check_before_dispatch,
            workers: Mutex::new(workers),
        }))
    }

    /// A job with a task token has ended, and that is on disk. To be called from any thread.
    pub fn job_ended(&self) {
        self.0.ended.ring();
    }

    /// Whether [`StepFunctions::still_wanted`] is to be asked before each attempt.
    pub fn checks_before_dispatch(&self) -> bool {
        self.0.check_before_dispatch
    }

    /// Asks whether the task still waits, by a heartbeat. Takes two seconds at most.
    pub async fn still_wanted(&self, token: &TaskToken) -> Wanted {
        if [Part::Answers, Part::Heartbeats]
            .into_iter()
            .any(|part| self.0.health.is_in_trouble(part))
        {
            return Wanted::Unknown;
        }
        match timeout(ASKING, self.0.sfn.heartbeat(token)).await {
            Ok(Outcome::Accepted) => Wanted::Yes,
            // Not for InvalidToken: see `heartbeats`.
            Ok(Outcome::Gone(gone @ (Gone::TimedOut | Gone::DoesNotExist))) => {
                Wanted::Gone { reason: gone.reason().to_owned() }
            }
            Ok(_) | Err(_) => Wanted::Unknown,
        }
    }

    /// See [`exits`]; for every request of a target, be it asked after or not.
    pub(crate) fn leave(&self, target: TargetId, pace: Pace, now: Mono) -> Option<Mono> {
        self.0.exits.lock().unwrap_or_else(PoisonError::into_inner).leave(target, pace, now)
    }

    pub fn health(&self) -> Health {
        self.0.health.clone()
    }

    /// After `shutdown`: until calls that were under way are over and told.
    pub async fn stopped(&self) {
        let workers = {
            let mut workers = self.0.workers.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *workers)
        };
        for worker in workers {
            if worker.await.is_err() {
                tracing::error!("a worker for task tokens had panicked");
            }
        }
    }
}

/// What may be shown of a token: eight hexadecimal digits of its SHA-256.
pub fn token_hash(token: &TaskToken) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.reveal().as_bytes());
    digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
