//! What the daemon says of itself once a second (`GET /v1/events`), for as long as anybody listens.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Word;
use super::news::News;
use crate::cli::client::{Client, Endless};
use crate::cli::error::CliError;

pub(super) const PATH: &str = "/v1/events";

/// News come once a second; after so long without any something is wrong.
const SILENCE: Duration = Duration::from_secs(5);
/// How long to wait before each next try; the last one holds from there on.
const AGAIN: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// No event comes near this, in bytes.
const LARGEST_EVENT: usize = 64 * 1024 * 1024;

#[expect(clippy::disallowed_methods, reason = "a daemon that is away is asked again in a while")]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Tells all news, and when there are none. `begun` is the first stream.
pub(super) async fn follow(client: Arc<Client>, begun: Endless, words: mpsc::Sender<Word>) {
    let mut stream = Some(begun);
    let mut failed = 0;
    while !words.is_closed() {
        let begun = match stream.take() {
            Some(begun) => Ok(begun),
            None => client.stream(PATH).await,
        };
        let ended = match begun {
            Ok(begun) => tell(begun, &words, &mut failed).await,
            Err(error) => Err(error.to_string()),
        };
        // A stream that ended in good order is asked for again without a word.
        let again = match ended {
            Ok(()) => AGAIN[0],
            Err(why) => {
                let _ = words.send(Word::Away(why)).await;
                AGAIN[failed.min(AGAIN.len() - 1)]
            }
        };
        failed += 1;
        pause(again).await;
    }
}

/// One stream to its end; an error says why it ended too soon.
async fn tell(
    mut stream: Endless,
    words: &mpsc::Sender<Word>,
    failed: &mut usize,
) -> Result<(), String> {
    let mut events = Events::default();
    loop {
        let bytes = match timeout(SILENCE, stream.next()).await {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(CliError::NoAnswer { why, .. })) => return Err(why),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("silent for {} s", SILENCE.as_secs())),
        };
        events.take(&bytes)?;
        while let Some(data) = events.next() {
            let news = serde_json::from_str::<News>(&data)
                .map_err(|error| format!("it says what this tollgate does not know: {error}"))?;
            *failed = 0;
            if words.send(Word::News(Box::new(news))).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Server-sent events, put together from parts (WHATWG HTML, section 9.2.6; the daemon ends lines
/// with a line feed only).
#[derive(Default)]
pub(super) struct Events {
    text: Vec<u8>,
}

impl Events {
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.text.len() + bytes.len() > LARGEST_EVENT {
            return Err("it says more than can be".into());
        }
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    /// The data of the next event that is whole and has any.
    pub(super) fn next(&mut self) -> Option<String> {
        loop {
            let end = self.text.windows(2).position(|pair| pair == b"\n\n")?;
            let event: Vec<u8> = self.text.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            let data: Vec<&str> =
                event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            if !data.is_empty() {
                return Some(data.join("\n"));
            }
        }
    }
}
