//! Jobs from SQS queues. A message is deleted once its job is durable, never before.
//!
//! One batch at a time for each queue: ten messages are received, committed together and deleted
//! together. That keeps a FIFO queue's order, and a target that needs a broker in front of it is
//! slower than this anyway.

use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, Message as SqsMessage, MessageSystemAttributeName,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::aws::{Backoff, begun, is_down, pause, told};
use super::message::{Message, Origin};
use super::room::{Room, room};
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
/// For any call but a long poll.
const CALL: Duration = Duration::from_secs(10);
/// Tries of a delete. After them the message comes again, is known, and is deleted then.
const DELETES: u32 = 5;

/// Polls every queue until `shutdown` holds `true` (or its sender is gone); a batch that is in
/// hand is finished first. Start it once, on the daemon's runtime; changes of `[[sources.sqs]]`
/// take effect at the next start.
///
/// Each queue is called at the host of its URL, in the region that the host names, unless
/// `AWS_ENDPOINT_URL_SQS` or `AWS_ENDPOINT_URL` says otherwise.
pub async fn run(
    sources: &[SqsSource],
    sdk: &SdkConfig,
    handle: Handle,
    shutdown: watch::Receiver<bool>,
) {
    let mut pollers = JoinSet::new();
    for source in sources {
        let poller = Poller {
            client: client(sdk, &source.queue_url),
            source: source.clone(),
            handle: handle.clone(),
            shutdown: shutdown.clone(),
            backoff: Backoff::default(),
            state: State::Fetching,
        };
        pollers.spawn(poller.run());
    }
    while let Some(ended) = pollers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "the poller of an SQS queue ended");
        }
    }
}

fn client(sdk: &SdkConfig, queue_url: &str) -> Client {
    let timeouts = TimeoutConfig::builder().connect_timeout(CALL).operation_timeout(CALL).build();
    let mut config = aws_sdk_sqs::config::Builder::from(sdk)
        // What is tried again, and when, is decided here.
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts);
    let overridden = sdk.endpoint_url().is_some()
        || std::env::var_os("AWS_ENDPOINT_URL_SQS").is_some_and(|url| !url.is_empty());
    if !overridden && let Some((origin, region)) = place(queue_url) {
        config = config.endpoint_url(origin);
        if let Some(region) = region {
            config = config.region(Region::new(region));
        }
    }
    Client::from_conf(config.build())
}

/// The origin of a queue's URL, and the region where its host names one.
fn place(queue_url: &str) -> Option<(String, Option<String>)> {
    let (scheme, rest) = queue_url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let mut labels = authority.split('.');
    let region = match (labels.next()?, labels.next(), labels.next()) {
        ("sqs" | "sqs-fips", Some(region), Some("amazonaws" | "api")) => Some(region),
        (region, Some("queue"), Some("amazonaws")) => Some(region),
        _ => None,
    };
    Some((format!("{scheme}://{authority}"), region.map(str::to_owned)))
}

/// What is told once when it changes, not each time it is so.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Fetching,
    Waiting(&'static str),
    Failing,
}

struct Poller {
    client: Client,
    source: SqsSource,
    handle: Handle,
    shutdown: watch::Receiver<bool>,
    backoff: Backoff,
    state: State,
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

impl Poller {
    async fn run(mut self) {
        while !is_down(&self.shutdown) {
            if self.step().await.is_err() {
                return;
            }
        }
    }

    /// One batch, or one pause.
    async fn step(&mut self) -> Result<(), Stopped> {
        let (target, jobs) = match room(&self.handle, &self.source.target).await? {
            Room::For { target, jobs } => (target, jobs),
            Room::None { why, look_again } => {
                self.now(State::Waiting(why.as_str()), "");
                pause(look_again, &mut self.shutdown).await;
                return Ok(());
            }
        };
        let most = i32::try_from(jobs.min(BATCH)).unwrap_or(1);
        let Some(received) = self.receive(most).await else { return Ok(()) };
        if received.is_empty() {
            return Ok(());
        }
        let (fates, retry_after) = self.submit(target, &received).await?;
        let of = |fate| {
            received.iter().zip(&fates).filter(move |(_, f)| **f == fate).map(|(one, _)| one)
        };
        let (delete, release): (Vec<_>, Vec<_>) =
            (of(Fate::Delete).collect(), of(Fate::Release).collect());
        self.delete(delete).await;
        self.release(&release).await;
        if let Some(after) = retry_after {
            pause(after, &mut self.shutdown).await;
        }
        Ok(())
    }

    /// `None` where nothing could be received.
    async fn receive(&mut self, most: i32) -> Option<Vec<Received>> {
        let patient =
            TimeoutConfig::builder().connect_timeout(CALL).operation_timeout(WAIT + CALL).build();
        let call = self
            .client
            .receive_message()
            .queue_url(&self.source.queue_url)
            .max_number_of_messages(most)
            .wait_time_seconds(seconds(WAIT))
            .visibility_timeout(seconds(VISIBILITY))
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .customize()
            .config_override(aws_sdk_sqs::Config::builder().timeout_config(patient));
        let result = tokio::select! {
            result = call.send() => result,
            // What was on its way comes again once it is visible.
            () = begun(&mut self.shutdown) => return None,
        };
        match result {
            Ok(output) => {
                self.backoff.reset();
                self.now(State::Fetching, "");
                let messages = output.messages.unwrap_or_default();
                let received = messages.into_iter().filter_map(|message| {
                    let receipt = message.receipt_handle.clone()?;
                    Some(Received { message, receipt })
                });
                Some(received.collect())
            }
            Err(error) => {
                self.now(State::Failing, &told(&error));
                pause(self.backoff.next(), &mut self.shutdown).await;
                None
            }
        }
    }

    /// Hands the batch in, in its order; returns once what was taken is durable. With a pause
    /// where the broker asked for one.
    async fn submit(
        &mut self,
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
                Submitted::Refused(Refusal::DeadlinePassed) => Fate::Release,
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
        let submitted = self.handle.submit(jobs);
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
    async fn delete(&mut self, mut left: Vec<&Received>) {
        let mut backoff = Backoff::default();
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
            let call = self
                .client
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
                Err(error) => Some(told(&error)),
            };
            let Some(why) = why else { return };
            if try_ == DELETES || left.is_empty() || is_down(&self.shutdown) {
                tracing::warn!(
                    queue = self.source.queue_url,
                    error = why,
                    "messages whose jobs are durable could not be deleted; they come again and \
                     are known then"
                );
                return;
            }
            pause(backoff.next(), &mut self.shutdown).await;
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
        let call = self
            .client
            .change_message_visibility_batch()
            .queue_url(&self.source.queue_url)
            .set_entries(Some(entries.collect()));
        if let Err(error) = call.send().await {
            let (queue, error) = (&self.source.queue_url, told(&error));
            tracing::debug!(queue, error, "the visibility of messages could not be changed");
        }
    }

    fn now(&mut self, state: State, error: &str) {
        if self.state == state {
            return;
        }
        let queue = &self.source.queue_url;
        match &state {
            State::Fetching => tracing::info!(queue, "messages are received again"),
            State::Waiting(why) => tracing::warn!(queue, "no messages are received: {why}"),
            State::Failing => {
                tracing::warn!(queue, error, "messages cannot be received; trying again");
            }
        }
        self.state = state;
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
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_queue_says_where_it_is() {
        for (url, origin, region) in [
            (
                "https://sqs.eu-west-1.amazonaws.com/1/high",
                "https://sqs.eu-west-1.amazonaws.com",
                Some("eu-west-1"),
            ),
            (
                "https://sqs.cn-north-1.amazonaws.com.cn/1/high",
                "https://sqs.cn-north-1.amazonaws.com.cn",
                Some("cn-north-1"),
            ),
            (
                "https://us-west-2.queue.amazonaws.com/1/high",
                "https://us-west-2.queue.amazonaws.com",
                Some("us-west-2"),
            ),
            ("http://127.0.0.1:4570/000000000000/q", "http://127.0.0.1:4570", None),
            (
                "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/1/q",
                "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com",
                None,
            ),
        ] {
            assert_eq!(place(url), Some((origin.to_owned(), region.map(str::to_owned))), "{url}");
        }
    }

    #[test]
    fn only_the_entries_that_failed_are_tried_again() {
        let message = SqsMessage::builder().build();
        let all: Vec<Received> = (0..12)
            .map(|n| Received { message: message.clone(), receipt: format!("r{n}") })
            .collect();
        let left = keep(all.iter().collect(), &["1", "11", "99", "x"]);
        let left: Vec<&str> = left.iter().map(|one| one.receipt.as_str()).collect();
        assert_eq!(left, ["r1", "r11"]);
        assert!(keep(all.iter().collect(), &[]).is_empty());
    }
}
