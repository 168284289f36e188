//! Connections that are turned away: each is told why, with a 503.
//!
//! Once it has asked: an answer to nothing is an error of the connection for clients that keep theirs
//! in a pool (hyper, undici), and no 503. And what it goes on to send is read for a while: a connection
//! that is closed with bytes unread, or before the last ones came, is reset, and the answer may go with
//! it (RFC 9112, section 9.6).

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::slots::Slots;
use super::socket::Accepted;
use super::stream::Stream;
use super::tls::TlsInForce;
use super::{Kind, Problem};

/// Of one listener. Those that have not been told go with it.
#[derive(Debug)]
pub(super) struct TurnedAway {
    slots: Slots,
    patience: Duration,
    leaving: JoinSet<()>,
}

impl TurnedAway {
    /// `patience`: how long one may take to ask, and then to hear the answer and to close.
    pub(super) fn new(slots: Slots, patience: Duration) -> TurnedAway {
        TurnedAway { slots, patience, leaving: JoinSet::new() }
    }

    /// Never waits. Who speaks TLS is told nothing: that would take a handshake.
    pub(super) fn tell(&mut self, stream: Accepted, tls: &TlsInForce, why: impl Into<String>) {
        if matches!(stream, Accepted::Tcp(_)) && tls.is_on() {
            return;
        }
        let answer = answer(why.into());
        while self.leaving.try_join_next().is_some() {}
        let Some(leave) = self.slots.leave() else {
            // Too many at once: as well as it can be done without waiting.
            stream.take_what_came();
            stream.try_write(answer.as_bytes());
            return;
        };
        // The threads that it belongs to may have no time for it.
        let Ok(stream) = stream.moved_here() else { return };
        let patience = self.patience;
        self.leaving.spawn(async move {
            goodbye(stream, &answer, patience).await;
            drop(leave);
        });
    }
}

/// A timeout is as good an end as any: who says nothing is told all the same.
async fn goodbye(mut stream: Stream, answer: &str, patience: Duration) {
    let mut buffer = [0; 4096];
    if let Ok(Err(_)) = tokio::time::timeout(patience, stream.read(&mut buffer)).await {
        return;
    }
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        stream.drain().await;
        std::io::Result::Ok(())
    };
    // Who is gone need not be told.
    let _ = tokio::time::timeout(patience, told).await;
}

fn answer(why: String) -> String {
    let problem =
        Problem::new(Kind::TooManyConnections, why).with_retry_after(Duration::from_secs(1));
    let body = serde_json::to_string(&problem).unwrap_or_default();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
         retry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
