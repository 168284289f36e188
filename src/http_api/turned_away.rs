//! Connections that are turned away: each is told why, with a 503.
//!
//! Once it has asked: an answer to nothing is an error of the connection for clients that keep theirs
//! in a pool (hyper, undici), and no 503. What it asked is read before that: a connection that is
//! closed with bytes unread is reset, and the answer may go with it (RFC 9112, section 9.6).

use std::time::Duration;

use tokio::task::JoinSet;

use super::socket::Accepted;
use super::tls::TlsInForce;
use super::{Kind, Problem};

/// Those that have not asked yet, at most. They have open files beyond those of all places.
const SILENT: usize = 64;

/// Of one listener. Those that have not been told go with it.
#[derive(Debug)]
pub(super) struct TurnedAway {
    patience: Duration,
    silent: JoinSet<()>,
}

impl TurnedAway {
    /// `patience`: how long one may take to ask.
    pub(super) fn new(patience: Duration) -> TurnedAway {
        TurnedAway { patience, silent: JoinSet::new() }
    }

    /// Never waits. Who speaks TLS is told nothing: that would take a handshake.
    pub(super) fn tell(&mut self, stream: Accepted, tls: &TlsInForce, why: impl Into<String>) {
        if matches!(stream, Accepted::Tcp(_)) && tls.is_on() {
            return;
        }
        let answer = answer(why.into());
        while self.silent.try_join_next().is_some() {}
        if stream.take_what_came() || self.silent.len() >= SILENT {
            stream.try_write(answer.as_bytes());
            return;
        }
        // The threads that it belongs to may have no time for it.
        let Ok(stream) = stream.moved_here() else { return };
        let patience = self.patience;
        self.silent.spawn(async move {
            // Who says nothing is told all the same.
            let _ = tokio::time::timeout(patience, stream.readable()).await;
            stream.take_what_came();
            stream.try_write(answer.as_bytes());
        });
    }
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
