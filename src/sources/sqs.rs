//! Jobs from SQS queues. A message is deleted once its job is durable, never before.
//!
//! One batch at a time for each queue: ten messages are received, committed together and deleted
//! together. That keeps a FIFO queue's order, and a target that needs a broker in front of it is
//! slower than this anyway.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, Message as SqsMessage, MessageSystemAttributeName,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::message::{Message, Origin};
use super::poll::{Fetch, Frame, Log};
use crate::aws::{self, Aws, Backoff, Service, dice};
use crate::broker::io::{Refusal, Submission, Submitted};
use crate::broker::job::TargetId;
use crate::config::SqsSource;
use crate::handle::{Handle, Stopped};

/// The longest that SQS waits for a message.
const WAIT: Duration = Duration::from_secs(20);
/// As many as SQS gives at once.
const BATCH: u64 = 10;
/// How long a message that was received is ours, whatever the queue's own setting: time for a
/// commit and a delete. After a crash messages come again this much later.
const VISIBILITY: Duration = Duration::from_secs(30);
/// Of a long poll: no answer for so much longer than asked for is none.
const SLACK: Duration = Duration::from_secs(10);
/// Tries of a delete. After them the message comes again, is known, and is deleted then.
const DELETES: u32 = 5;
const BETWEEN_DELETES: Backoff =
    Backoff { min: Duration::from_millis(500), max: Duration::from_secs(5) };

/// Polls every queue until `shutdown` holds `true` (or its sender is gone); a batch that is in
/// hand is finished first. Start it once, on the daemon's runtime; changes of `[[sources.sqs]]`
/// take effect at the next start.
pub async fn run(
    sources: &[SqsSource],
    aws: &Aws,
    handle: Handle,
    shutdown: watch::Receiver<bool>,
) {
    let mut pollers = JoinSet::new();
    for source in sources {
        let queue = Queue {
            service: aws.sqs(&source.queue_url),
            source: source.clone(),
            handle: handle.clone(),
        };
        let log = Log::new(&source.queue_url);
        pollers.spawn(Frame::new(handle.clone(), shutdown.clone(), log).run(queue));
    }
    while let Some(ended) = pollers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "the poller of an SQS queue ended");
        }
    }
}

struct Queue {
    service: Service<Client>,
    source: SqsSource,
    handle: Handle,
}

/// A received message and its handle.
struct Received {
    message: SqsMessage,
    receipt: String,
}

/// What becomes of a message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its job is durable.
    Delete,
    /// It has to come again.
    Release,
}

impl Fetch for Queue {
    type Batch = Vec<Received>;

    fn target(&self) -> &str {
        &self.source.target
    }

    /// One that is dropped leaves what was on its way to come again once it is visible.
    async fn fetch(&mut self, jobs: u64) -> Result<Vec<Received>, String> {
        let patient = aws::within(WAIT + SLACK);
        let client = self.service.client().await;
        let call = client
            .receive_message()
            .queue_url(&self.source.queue_url)
            .max_number_of_messages(i32::try_from(jobs.min(BATCH)).unwrap_or(1))
            .wait_time_seconds(seconds(WAIT))
            .visibility_timeout(seconds(VISIBILITY))
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .customize()
            .config_override(aws_sdk_sqs::Config::builder().timeout_config(patient));
        match call.send().await {
            Ok(output) => {
                let messages = output.messages.unwrap_or_default();
                let received = messages.into_iter().filter_map(|message| {
                    let receipt = message.receipt_handle.clone()?;
                    Some(Received { message, receipt })
                });
                Ok(received.collect())
            }
            Err(error) => Err(self.service.failed(&error)),
        }
    }

    async fn hand_in(
        &mut self,
        target: TargetId,
        received: Vec<Received>,
        frame: &mut Frame,
    ) -> Result<(), Stopped> {
        if received.is_empty() {
            return Ok(());
        }
        let (fates, retry_after) = self.submit(target, &received).await?;
        let of = |fate| {
            received.iter().zip(&fates).filter(move |(_, f)| **f == fate).map(|(one, _)| one)
        };
        let (delete, release): (Vec<_>, Vec<_>) =
            (of(Fate::Delete).collect(), of(Fate::Release).collect());
        // First what others can take at once.
        self.release(&release).await;
        self.delete(delete, frame).await;
        if let Some(after) = retry_after {
            frame.pause(after).await;
        }
        Ok(())
    }
}

impl Queue {
    /// Hands the batch in, in its order; returns once what was taken is durable. With a pause
    /// where the broker asked for one.
    async fn submit(
        &self,
        target: TargetId,
        received: &[Received],
    ) -> Result<(Vec<Fate>, Option<Duration>), Stopped> {
        let directory = self.handle.directory();
        let now = Handle::wall_now();
        let understood = |one: &Received| {
            self.message(target, &one.message).understand(&directory, now, Handle::new_id())
        };
        let jobs: Vec<Submission> = received.iter().map(understood).collect();
        let tokens: Vec<_> = jobs.iter().map(|job| job.request.task_token.clone()).collect();
        let results = self.durable(jobs, received).await?;
        let mut fates = vec![Fate::Release; received.len()];
        let mut retry_after = None;
        for (index, result) in results.into_iter().enumerate().take(received.len()) {
            fates[index] = match result {
                Submitted::Accepted { .. } | Submitted::Duplicate { .. } => Fate::Delete,
                Submitted::Refused(Refusal::QueueFull { retry_after: after }) => {
                    retry_after = Some(after);
                    Fate::Release
                }
                Submitted::Refused(Refusal::DedupMismatch { id }) => {
                    let reason = format!("`DedupId` is that of job {id}, which is another request");
                    let one = &received[index];
                    let message = self.message(target, &one.message);
                    let dead = message.unfit(Handle::new_id(), tokens[index].clone(), reason);
                    let results = self.durable(vec![dead], std::slice::from_ref(one)).await?;
                    match results.first() {
                        Some(Submitted::Accepted { .. } | Submitted::Duplicate { .. }) => {
                            Fate::Delete
                        }
                        _ => Fate::Release,
                    }
                }
                // Its time ran out between reading it and handing it in: next time it is late.
                Submitted::Refused(Refusal::DeadlinePassed | Refusal::TooLate { .. }) => {
                    Fate::Release
                }
                // The target was taken out of the configuration just now.
                Submitted::Refused(Refusal::UnknownTarget | Refusal::Draining) => Fate::Release,
            };
        }
        Ok((fates, retry_after))
    }

    /// Submits, and keeps the messages ours while the commit takes its time.
    async fn durable(
        &self,
        jobs: Vec<Submission>,
        received: &[Received],
    ) -> Result<Vec<Submitted>, Stopped> {
        let submitted = self.handle.submit(jobs, ());
        tokio::pin!(submitted);
        let mut extend_at = Instant::now() + VISIBILITY / 2;
        loop {
            tokio::select! {
                biased;
                results = &mut submitted => return results,
                () = tokio::time::sleep_until(extend_at) => {
                    let all: Vec<&Received> = received.iter().collect();
                    self.set_visibility(&all, VISIBILITY).await;
                    extend_at = Instant::now() + VISIBILITY / 2;
                }
            }
        }
    }

    fn message<'a>(&'a self, target: TargetId, message: &'a SqsMessage) -> Message<'a> {
        let attribute = |name| message.attributes.as_ref()?.get(&name).map(String::as_str);
        Message {
            body: message.body.as_deref().unwrap_or_default().as_bytes(),
            target: (&self.source.target, target),
            priority: self.source.priority,
            origin: Origin::Sqs {
                message_id: message.message_id.as_deref().unwrap_or_default(),
                dedup_id: attribute(MessageSystemAttributeName::MessageDeduplicationId),
                group: attribute(MessageSystemAttributeName::MessageGroupId),
            },
        }
    }

    /// Tries again those entries that failed, because HTTP 200 says nothing of them.
    async fn delete(&self, mut left: Vec<&Received>, frame: &mut Frame) {
        for try_ in 1..=DELETES {
            if left.is_empty() {
                return;
            }
            let entries = left.iter().enumerate().filter_map(|(index, one)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(&one.receipt)
                    .build()
                    .ok()
            });
            let client = self.service.client().await;
            let call = client
                .delete_message_batch()
                .queue_url(&self.source.queue_url)
                .set_entries(Some(entries.collect()));
            let why = match call.send().await {
                Ok(output) => {
                    let failed = output.failed();
                    let why = failed.first().map(|entry| {
                        format!("{}: {}", entry.code(), entry.message().unwrap_or_default())
                    });
                    // A handle that is refused for what it is stays refused.
                    let again: Vec<&str> = failed
                        .iter()
                        .filter(|e| !e.sender_fault())
                        .map(BatchResultErrorEntry::id)
                        .collect();
                    left = keep(left, &again);
                    why
                }
                Err(error) => Some(self.service.failed(&error)),
            };
            let Some(why) = why else { return };
            if try_ == DELETES || left.is_empty() || frame.is_down() {
                tracing::warn!(
                    queue = self.source.queue_url,
                    error = why,
                    "messages whose jobs are durable could not be deleted; they come again and \
                     are known then"
                );
                return;
            }
            frame.pause(BETWEEN_DELETES.after(try_, dice())).await;
        }
    }

    /// Makes messages visible again at once, for who comes next. Where it fails they are visible
    /// a little later.
    async fn release(&self, left: &[&Received]) {
        if !left.is_empty() {
            self.set_visibility(left, Duration::ZERO).await;
        }
    }

    async fn set_visibility(&self, messages: &[&Received], visible_in: Duration) {
        let entries = messages.iter().enumerate().filter_map(|(index, one)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(&one.receipt)
                .visibility_timeout(seconds(visible_in))
                .build()
                .ok()
        });
        let client = self.service.client().await;
        let call = client
            .change_message_visibility_batch()
            .queue_url(&self.source.queue_url)
            .set_entries(Some(entries.collect()));
        if let Err(error) = call.send().await {
            let (queue, error) = (&self.source.queue_url, self.service.failed(&error));
            tracing::debug!(queue, error, "the visibility of messages could not be changed");
        }
    }
}

/// Those whose place in the batch is among `ids`.
fn keep<'a>(entries: Vec<&'a Received>, ids: &[&str]) -> Vec<&'a Received> {
    let kept = entries.into_iter().enumerate();
    kept.filter(|(index, _)| ids.contains(&index.to_string().as_str())).map(|(_, e)| e).collect()
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
