//! Jobs from activities of Step Functions.
//!
//! What an activity hands out cannot be handed back, so nothing is asked for unless there is room
//! for it, and what came in spite of that is held until there is.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sfn::Client;
use aws_sdk_sfn::config::retry::RetryConfig;
use aws_sdk_sfn::config::timeout::TimeoutConfig;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::aws::{Backoff, begun, is_down, pause, told};
use super::message::{Message, Origin};
use super::room::{Room, room};
use crate::broker::io::{Refusal, Submitted};
use crate::broker::job::TargetId;
use crate::broker::payload::TaskToken;
use crate::config::ActivitySource;
use crate::handle::{Handle, Stopped};

/// Polls at once for each activity.
const POLLERS: u64 = 4;
/// An empty poll is answered after 60 s, and AWS asks for a client that waits 65 s at least.
const POLL: Duration = Duration::from_secs(70);
const CONNECT: Duration = Duration::from_secs(10);
/// For any call but a poll.
const CALL: Duration = Duration::from_secs(10);

/// Polls every activity until `shutdown` holds `true` (or its sender is gone). Start it once, on
/// the daemon's runtime; changes of `[[sources.activity]]` take effect at the next start.
///
/// `client` is the one that answers task tokens, with its region and endpoint.
pub async fn run(
    sources: &[ActivitySource],
    client: Client,
    handle: Handle,
    shutdown: watch::Receiver<bool>,
) {
    let mut pollers = JoinSet::new();
    for source in sources {
        let state = Arc::new(Mutex::new(State::Fetching));
        for number in 0..POLLERS {
            let poller = Poller {
                client: client.clone(),
                source: source.clone(),
                number,
                worker: worker_name(),
                handle: handle.clone(),
                shutdown: shutdown.clone(),
                backoff: Backoff::default(),
                state: state.clone(),
            };
            pollers.spawn(poller.run());
        }
    }
    while let Some(ended) = pollers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a poller of an activity ended");
        }
    }
}

/// Host and process, as an execution's history shows it; at most 80 characters.
fn worker_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(60).collect();
    format!("tollgate-{host}-{}", std::process::id())
}

/// What is told once when it changes; the pollers of one activity share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fetching,
    Waiting(&'static str),
    Failing,
}

struct Poller {
    client: Client,
    source: ActivitySource,
    /// Among those of its activity; with room for n jobs the first n of them poll.
    number: u64,
    worker: String,
    handle: Handle,
    shutdown: watch::Receiver<bool>,
    backoff: Backoff,
    state: Arc<Mutex<State>>,
}

impl Poller {
    async fn run(mut self) {
        while !is_down(&self.shutdown) {
            if self.step().await.is_err() {
                return;
            }
        }
    }

    /// One task, or one pause.
    async fn step(&mut self) -> Result<(), Stopped> {
        let target = match room(&self.handle, &self.source.target).await? {
            Room::For { target, jobs } if self.number < jobs => target,
            Room::For { .. } => {
                pause(Duration::from_secs(1), &mut self.shutdown).await;
                return Ok(());
            }
            Room::None { why, look_again } => {
                self.now(State::Waiting(why.as_str()), "").await;
                pause(look_again, &mut self.shutdown).await;
                return Ok(());
            }
        };
        match self.poll().await {
            Some((token, input)) => self.submit(target, token, &input).await,
            None => Ok(()),
        }
    }

    async fn poll(&mut self) -> Option<(TaskToken, String)> {
        let patient = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .read_timeout(POLL)
            .operation_attempt_timeout(POLL)
            .operation_timeout(POLL)
            .build();
        let config = aws_sdk_sfn::Config::builder()
            .timeout_config(patient)
            .retry_config(RetryConfig::disabled());
        let call = self
            .client
            .get_activity_task()
            .activity_arn(&self.source.arn)
            .worker_name(&self.worker)
            .customize()
            .config_override(config);
        let result = tokio::select! {
            result = call.send() => result,
            () = begun(&mut self.shutdown) => return None,
        };
        match result {
            Ok(output) => {
                self.backoff.reset();
                self.now(State::Fetching, "").await;
                // Nothing to do is a poll without a token.
                let token = output.task_token.and_then(TaskToken::new)?;
                Some((token, output.input.unwrap_or_default()))
            }
            Err(error) => {
                self.now(State::Failing, &told(&error)).await;
                pause(self.backoff.next(), &mut self.shutdown).await;
                None
            }
        }
    }

    /// Until it is durable, or the daemon goes down: then the workflow is told, because nobody
    /// else will get this task.
    async fn submit(
        &mut self,
        target: TargetId,
        token: TaskToken,
        input: &str,
    ) -> Result<(), Stopped> {
        let message = Message {
            body: input.as_bytes(),
            target: (&self.source.target, target),
            priority: self.source.priority,
            origin: Origin::Activity { token: token.clone() },
        };
        let mut dead = None;
        loop {
            let id = Handle::new_id();
            let job = match dead.take() {
                Some(reason) => message.unfit(id, Some(token.clone()), reason),
                None => message.understand(&self.handle.directory(), Handle::wall_now(), id),
            };
            let Some(result) = self.handle.submit(vec![job]).await?.pop() else {
                return Err(Stopped);
            };
            let again = match result {
                Submitted::Accepted { .. } | Submitted::Duplicate { .. } => return Ok(()),
                Submitted::Refused(Refusal::DedupMismatch { id }) => {
                    dead = Some(format!("`DedupId` is that of job {id}, which is another request"));
                    continue;
                }
                // Read again it is late, and expires.
                Submitted::Refused(Refusal::DeadlinePassed) => Duration::from_millis(1),
                Submitted::Refused(Refusal::QueueFull { retry_after }) => retry_after,
                Submitted::Refused(Refusal::UnknownTarget) => Duration::from_secs(1),
                Submitted::Refused(Refusal::Draining) => {
                    self.hand_back(&token).await;
                    return Ok(());
                }
            };
            pause(again, &mut self.shutdown).await;
            if is_down(&self.shutdown) {
                self.hand_back(&token).await;
                return Ok(());
            }
        }
    }

    async fn hand_back(&self, token: &TaskToken) {
        let timeouts = TimeoutConfig::builder().operation_timeout(CALL).build();
        let call = self
            .client
            .send_task_failure()
            .task_token(token.reveal())
            .error("Tollgate.Cancelled")
            // In the shape of every other cause; there is no job, so there is no id.
            .cause(
                "{\"attempts\":0,\"message\":\"the daemon went down before the job was durable; \
                 nothing was sent\"}",
            )
            .customize()
            .config_override(aws_sdk_sfn::Config::builder().timeout_config(timeouts));
        if let Err(error) = call.send().await {
            let (arn, error) = (&self.source.arn, told(&error));
            tracing::warn!(arn, error, "a task that was not taken in could not be handed back");
        }
    }

    async fn now(&self, state: State, error: &str) {
        let mut known = self.state.lock().await;
        if *known == state {
            return;
        }
        let arn = &self.source.arn;
        match &state {
            State::Fetching => tracing::info!(arn, "tasks are fetched again"),
            State::Waiting(why) => tracing::warn!(arn, "no tasks are fetched: {why}"),
            State::Failing => tracing::warn!(arn, error, "no tasks can be fetched; trying again"),
        }
        *known = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_has_a_name_that_step_functions_takes() {
        let name = worker_name();
        assert!((10..=80).contains(&name.len()), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{name}");
    }
}
