//! Jobs from activities of Step Functions.
//!
//! What an activity hands out cannot be handed back, so nothing is asked for unless there is room
//! for it, and what came in spite of that is held until there is.

use std::time::Duration;

use aws_sdk_sfn::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::message::{Message, Origin};
use super::poll::{Fetch, Frame, Log};
use crate::aws::{self, Service};
use crate::broker::io::{Refusal, Submitted};
use crate::broker::job::TargetId;
use crate::broker::payload::TaskToken;
use crate::config::ActivitySource;
use crate::handle::{Handle, Stopped};

/// Polls at once for each activity, while little comes.
const FEWEST: u64 = 10;
/// While much comes. The developer guide wants a hundred ("Avoid latency when polling for activity
/// tasks"): a token that is lost on its way can block some of them for a minute.
const MOST: u64 = 100;
/// An empty poll is answered after 60 s, and AWS asks for a client that waits 65 s at least.
const POLL: Duration = Duration::from_secs(70);

/// Polls every activity until `shutdown` holds `true` (or its sender is gone). Start it once, on
/// the daemon's runtime; changes of `[[sources.activity]]` take effect at the next start.
///
/// `service` is the one that answers task tokens, with its region and endpoint.
pub async fn run(
    sources: &[ActivitySource],
    service: &Service<Client>,
    handle: Handle,
    shutdown: watch::Receiver<bool>,
) {
    let mut pollers = JoinSet::new();
    for source in sources {
        let log = Log::new(&source.arn);
        let wanted = watch::channel(FEWEST).0;
        for number in 0..MOST {
            let activity = Activity {
                service: service.clone(),
                source: source.clone(),
                number,
                wanted: wanted.clone(),
                worker: worker_name(),
            };
            let frame = Frame::new(handle.clone(), shutdown.clone(), log.clone());
            pollers.spawn(frame.run(activity));
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

/// One poller of an activity.
struct Activity {
    service: Service<Client>,
    source: ActivitySource,
    /// Among those of its activity: the first so many poll, as are wanted and as there is room.
    number: u64,
    /// One more for each task that comes, one fewer for each poll that brings none.
    wanted: watch::Sender<u64>,
    worker: String,
}

impl Fetch for Activity {
    /// Nothing to do is a poll without a task.
    type Batch = Option<(TaskToken, String)>;

    fn target(&self) -> &str {
        &self.source.target
    }

    async fn turn(&mut self) {
        // Its sender is here.
        let _ = self.wanted.subscribe().wait_for(|wanted| self.number < *wanted).await;
    }

    fn fits(&self, jobs: u64) -> bool {
        self.number < jobs
    }

    async fn fetch(&mut self, _jobs: u64) -> Result<Self::Batch, String> {
        let client = self.service.client().await;
        let call = client
            .get_activity_task()
            .activity_arn(&self.source.arn)
            .worker_name(&self.worker)
            .customize()
            .config_override(aws_sdk_sfn::Config::builder().timeout_config(aws::within(POLL)));
        match call.send().await {
            Ok(output) => {
                let token = output.task_token.and_then(TaskToken::new);
                self.wanted.send_modify(|wanted| {
                    let next = if token.is_some() { *wanted + 1 } else { *wanted - 1 };
                    *wanted = next.clamp(FEWEST, MOST);
                });
                Ok(token.map(|token| (token, output.input.unwrap_or_default())))
            }
            Err(error) => Err(self.service.failed(&error)),
        }
    }

    async fn hand_in(
        &mut self,
        target: TargetId,
        task: Self::Batch,
        frame: &mut Frame,
    ) -> Result<(), Stopped> {
        match task {
            Some((token, input)) => self.submit(target, token, &input, frame).await,
            None => Ok(()),
        }
    }
}

impl Activity {
    /// Until it is durable, or the daemon goes down: then the workflow is told, because nobody
    /// else will get this task.
    async fn submit(
        &self,
        target: TargetId,
        token: TaskToken,
        input: &str,
        frame: &mut Frame,
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
                None => message.understand(&frame.handle.directory(), Handle::wall_now(), id),
            };
            let again = match frame.handle.submit_one(job, ()).await? {
                Submitted::Accepted { .. } | Submitted::Duplicate { .. } => return Ok(()),
                Submitted::Refused(Refusal::DedupMismatch { id }) => {
                    dead = Some(format!("`DedupId` is that of job {id}, which is another request"));
                    continue;
                }
                // Read again it is late, and expires.
                Submitted::Refused(Refusal::DeadlinePassed | Refusal::TooLate { .. }) => {
                    Duration::from_millis(1)
                }
                Submitted::Refused(Refusal::QueueFull { retry_after }) => retry_after,
                Submitted::Refused(Refusal::UnknownTarget) => Duration::from_secs(1),
                Submitted::Refused(Refusal::Draining) => {
                    self.hand_back(&token).await;
                    return Ok(());
                }
            };
            frame.pause(again).await;
            if frame.is_down() {
                self.hand_back(&token).await;
                return Ok(());
            }
        }
    }

    async fn hand_back(&self, token: &TaskToken) {
        let client = self.service.client().await;
        let call = client
            .send_task_failure()
            .task_token(token.reveal())
            .error("Tollgate.Cancelled")
            // In the shape of every other cause; there is no job, so there is no id.
            .cause(
                "{\"attempts\":0,\"message\":\"the daemon went down before the job was durable; \
                 nothing was sent\"}",
            );
        if let Err(error) = call.send().await {
            let (arn, error) = (&self.source.arn, self.service.failed(&error));
            tracing::warn!(arn, error, "a task that was not taken in could not be handed back");
        }
    }
}

#[cfg(test)]
mod tests;
