//! The generator: closed loop (each connection sends again once it is answered) and open loop
//! (arrivals come by the clock, however slow the answers are).

mod schedule;
mod tally;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::clock::{Clock, Moment};
use crate::http::{Answer, Connection};
use crate::jobs::Requests;

pub(crate) use schedule::{Schedule, Spacing};
pub(crate) use tally::{Ack, Latencies, Tally};

use schedule::Tickets;

/// When requests are sent.
#[derive(Clone, Debug)]
pub(crate) enum Pace {
    /// As fast as they are answered, until so many jobs were brought.
    Jobs(u64),
    /// As fast as they are answered. What begins within `warm_up` is not counted.
    Time { warm_up: Duration, measured: Duration },
    /// At the times of a schedule. Latency counts from when a request was to be sent, so one that
    /// had to wait for a connection looks as bad as it was.
    Open(Schedule),
}

#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) requests: Arc<Requests>,
    pub(crate) pace: Pace,
    /// The number of the first job.
    pub(crate) first: u64,
    /// Whether the times of each job's acknowledgement are kept.
    pub(crate) keep_acks: bool,
    /// After so long a caller hangs up, and one of an open loop that waited so long for a connection
    /// does not ask at all. `None`: they wait for ever.
    pub(crate) patience: Option<Duration>,
}

impl Load {
    pub(crate) fn new(requests: Requests, connections: usize, pace: Pace) -> Load {
        let requests = Arc::new(requests);
        Load { connections, requests, pace, first: 0, keep_acks: false, patience: None }
    }

    pub(crate) fn from(self, first: u64) -> Load {
        Load { first, ..self }
    }

    pub(crate) fn keeping_acks(self) -> Load {
        Load { keep_acks: true, ..self }
    }

    pub(crate) fn with_patience(self, patience: Option<Duration>) -> Load {
        Load { patience, ..self }
    }

    /// Runs it to its end. An error: nobody listens there at all.
    pub(crate) async fn run(&self, clock: Clock, address: SocketAddr) -> anyhow::Result<Tally> {
        let mut connections = Vec::with_capacity(self.connections);
        for _ in 0..self.connections.max(1) {
            let connection = Connection::open(address).await;
            connections.push(connection.with_context(|| format!("cannot connect to {address}"))?);
        }
        let start = clock.now();
        let counted = match self.pace {
            Pace::Time { warm_up, measured } => start.plus(warm_up)..start.plus(warm_up + measured),
            _ => start..Moment(u64::MAX),
        };
        let tickets = match &self.pace {
            Pace::Open(schedule) => Some(Tickets::start(schedule.clone(), clock, start)),
            _ => None,
        };
        let shared = Arc::new(Shared {
            clock,
            address,
            load: self.clone(),
            next: AtomicU64::new(0),
            counted: counted.clone(),
            tickets,
        });
        let mut workers = JoinSet::new();
        for connection in connections {
            workers.spawn(work(shared.clone(), connection));
        }
        let mut all = Tally::new(start);
        while let Some(tally) = workers.join_next().await {
            all.add(tally.context("a connection of the generator panicked")?);
        }
        all.span = match self.pace {
            Pace::Time { measured, .. } => measured,
            _ => all.last.since(start),
        };
        Ok(all)
    }
}

struct Shared {
    clock: Clock,
    address: SocketAddr,
    load: Load,
    /// The next request, from 0.
    next: AtomicU64,
    counted: std::ops::Range<Moment>,
    tickets: Option<Tickets>,
}

struct Due {
    first: u64,
    count: u64,
    /// When it was to be sent; `None`: now.
    intended: Option<Moment>,
}

impl Shared {
    /// `None` once there is nothing more to send.
    async fn due(&self) -> Option<Due> {
        let each = self.load.requests.jobs_each();
        if let Some(tickets) = &self.tickets {
            let (number, intended) = tickets.next().await?;
            let first = self.load.first + number * each;
            return Some(Due { first, count: each, intended: Some(intended) });
        }
        let first = self.next.fetch_add(1, Ordering::Relaxed) * each;
        let count = match self.load.pace {
            Pace::Jobs(jobs) => jobs.saturating_sub(first).min(each),
            _ if self.clock.now() < self.counted.end => each,
            _ => 0,
        };
        (count > 0).then(|| Due { first: self.load.first + first, count, intended: None })
    }

    /// As long as a caller has patience that asks at `asked`; `None`: it has hung up.
    async fn patiently<T>(
        &self,
        asked: Moment,
        doing: impl Future<Output = io::Result<T>>,
    ) -> Option<io::Result<T>> {
        let Some(patience) = self.load.patience else { return Some(doing.await) };
        let until = self.clock.instant(asked) + patience;
        tokio::time::timeout_at(until.into(), doing).await.ok()
    }
}

/// One connection's part. A connection that breaks is opened again; where nobody takes it, its part
/// ends and the tally says so, but for callers with patience whom a schedule sends.
async fn work(shared: Arc<Shared>, connection: Connection) -> Tally {
    let mut tally = Tally::new(shared.clock.now());
    let mut request = Vec::new();
    let mut connection = Some(connection);
    while let Some(due) = shared.due().await {
        let asked = shared.clock.now();
        let from = due.intended.unwrap_or(asked);
        if shared.load.patience.is_some_and(|patience| asked.since(from) > patience) {
            tally.unsent += 1;
            continue;
        }
        let mut open = match connection.take() {
            Some(open) => open,
            None => match shared.patiently(asked, Connection::open(shared.address)).await {
                Some(Ok(another)) => another,
                _ => {
                    tally.unsent += 1;
                    match due.intended {
                        // Another caller may have more luck; the schedule says when.
                        Some(_) => continue,
                        None => return tally,
                    }
                }
            },
        };
        let sent = shared.clock.now();
        shared.load.requests.write(&mut request, due.first, due.count);
        let answer = shared.patiently(asked, open.exchange(&request)).await;
        let now = shared.clock.now();
        let in_time = match shared.load.pace {
            Pace::Time { .. } => from >= shared.counted.start && now < shared.counted.end,
            _ => true,
        };
        match answer {
            Some(Ok(answer)) => {
                let taken = taken(&answer, due.count);
                if taken < due.count && tally.refusal.is_none() {
                    tally.refusal = Some(refusal(&answer));
                }
                if in_time {
                    tally.answered(answer.status, due.count, taken, now.since(from));
                    tally.lag(sent.since(from));
                    tally.last = tally.last.max(now);
                }
                if shared.load.keep_acks && taken == due.count {
                    let ack = |number| Ack { number, intended: from, at: now };
                    tally.acks.extend((due.first..due.first + due.count).map(ack));
                }
                if !answer.last {
                    connection = Some(open);
                }
            }
            Some(Err(_)) => {
                tally.broken += 1;
                // At once: a daemon that is gone has no second life here.
                match shared.patiently(now, Connection::open(shared.address)).await {
                    Some(Ok(another)) => connection = Some(another),
                    Some(Err(_)) if shared.load.patience.is_none() => return tally,
                    _ => {}
                }
            }
            None => tally.left += 1,
        }
    }
    tally
}

/// The beginning of the first problem in an answer.
fn refusal(answer: &Answer<'_>) -> String {
    let text = String::from_utf8_lossy(answer.body);
    let from = text.find("\"title\":").unwrap_or(0);
    text[from..].chars().take(200).collect()
}

/// How many of the jobs were taken. An entry of a batch that was not is a problem, which has a
/// title; jobs have none.
fn taken(answer: &Answer<'_>, count: u64) -> u64 {
    match answer.status {
        202 => count,
        200 => {
            let text = std::str::from_utf8(answer.body).unwrap_or("");
            count.saturating_sub(text.matches("\"title\":").count() as u64)
        }
        _ => 0,
    }
}
