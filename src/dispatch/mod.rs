//! One attempt: a job becomes a request; its answer, or its failure, becomes a [`Report`].
//!
//! # Whether a byte left
//!
//! `refused` promises that the target did no work, so it may be said only when that is certain;
//! everything else without an answer is `unknown`. Three kinds of certainty are used:
//!
//! - **No connection.** DNS, connect or TLS failed. hyper has not seen the request yet.
//! - **hyper gives the request back.** A connection that ended before it took the request.
//! - **The wire is untouched** (HTTP/1.1). Each connection has a `connection::Wire`: a mark that
//!   is set before anything is handed down to be written, and that also can forbid writing for
//!   ever. An attempt that fails or runs out of time forbids, and in the same step reads the
//!   mark. As the connection is lent to one attempt at a time, and is reused only when hyper has
//!   flushed all that came before, the mark is about this request and no other.
//!
//! An HTTP/2 connection is shared, and speaks for itself (preface, settings, pings), so its mark
//! says nothing of one request. There, a request that was handed over is `unknown` unless the
//! target resets its stream with `REFUSED_STREAM`. No request stops a connection that others
//! share; after a time-out or an error it only gets no new ones.
//!
//! # Connections that went stale
//!
//! A kept connection may be closed by its target at any moment. Where certainly nothing was sent
//! on it, the attempt goes on with a fresh one. Where something was, nothing is sent again: the
//! outcome is `unknown`, and the target's `delivery` decides. To make that rare, connections are
//! kept for less time than servers keep them, and the socket is asked for its end right before
//! the first byte.

mod answer;
mod connection;
mod departure;
pub(crate) mod explain;
pub(crate) mod fuzz;
mod hop;
mod live;
pub(crate) mod meaning;
mod names;
pub(crate) mod pointer;
mod pool;
mod post;
mod question;
pub mod rate_headers;
mod reason;
mod request;
mod retry_after;
mod status_address;
pub(crate) mod template;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;

use self::answer::{Arriving, BodyEnd};
use self::connection::Wire;
pub use self::departure::Departure;
use self::live::{Live, Room};
use self::meaning::{Because, Seen};
use self::names::Names;
use self::pool::{Lease, NoAnswer, NotConnected, Pool};
pub(crate) use self::post::Posted;
use self::question::Judged;
use self::request::Prepared;
use crate::broker::course::Aim;
use crate::broker::job::{JobId, Priority};
use crate::broker::payload::{Answer, Close, Follow, Outcome, Report, Request};
use crate::config::Target;
use crate::trace::Recording;

/// How long connecting over TCP may take, where the target's timeout is longer. Where a name has
/// several addresses, each gets an equal part of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections one attempt tries while each one turns out to have been closed.
const CONNECTIONS: usize = 3;

#[derive(Debug, thiserror::Error)]
pub enum DispatcherError {
    #[error("TLS for requests to targets cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// One attempt at a job.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub id: JobId,
    /// From 1.
    pub attempt: u32,
    pub priority: Priority,
    pub request: &'a Request,
    /// Whether the request itself is sent, or a question about it.
    pub aim: &'a Aim,
    /// Among all requests of the job, from 1.
    pub number: u32,
    /// Whether its span is recorded, and so is the parent of what the target does.
    pub trace: Recording,
}

/// Makes the requests. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Dispatcher {
    pool: Arc<Pool>,
    live: Live,
}

impl Dispatcher {
    /// HTTP/1.1, and HTTP/2 where a target's TLS offers it. Trusts what the system trusts. Has at
    /// most so many `connections` at once; where there is no more room, an attempt is refused.
    ///
    /// # Errors
    /// Where TLS cannot be set up at all. A system without certificates is not an error, as there
    /// may be only `http` targets: then it is logged, and `https` targets cannot be reached.
    pub fn new(connections: usize) -> Result<Dispatcher, DispatcherError> {
        let config = tls_versions()?;
        let config = match config.clone().with_native_roots() {
            Ok(trusting) => trusting,
            Err(error) => {
                tracing::warn!(
                    %error,
                    "no https target can be reached: install the system's CA certificates, or \
                     name a file of them in SSL_CERT_FILE"
                );
                config.with_root_certificates(RootCertStore::empty())
            }
        };
        let config = config.with_no_client_auth();
        Ok(Dispatcher::with(config, Names::of_the_system(), connections))
    }

    fn with(config: ClientConfig, names: Names, connections: usize) -> Dispatcher {
        let mut tcp = HttpConnector::new_with_resolver(names);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        Dispatcher { pool: Pool::new(connector, connections), live: Live::default() }
    }

    /// Sends `job`, or a question about it, to `target` once, within the target's timeout, and
    /// reports what came of it.
    ///
    /// Dropping the future half-way closes the connection; what the target has received by then
    /// cannot be known.
    ///
    /// A job that no request can be made of is reported as `Rejected` without an answer; a question
    /// that none can be made of as `Unknown`.
    pub async fn attempt(&self, target: &Target, job: Outgoing<'_>) -> Report {
        self.attempt_telling(target, job, &Departure::default()).await
    }

    /// The same; `departure` is told when the request is on its way: its first bytes are with the
    /// socket, or a new connection is being made, which takes as long as the network takes.
    pub async fn attempt_telling(
        &self,
        target: &Target,
        job: Outgoing<'_>,
        departure: &Departure,
    ) -> Report {
        let started = Instant::now();
        let unfit = |outcome, reason| Report {
            close: Close::Whole,
            ..Failed { outcome, reason }.report(started.elapsed())
        };
        let question = match job.aim {
            Aim::Work => None,
            Aim::Verify => match question::verify(target, job.id, job.request) {
                Ok(request) => Some(request),
                Err(reason) => return unfit(Outcome::Unknown, reason),
            },
            Aim::Poll { path } => Some(question::poll(job.id, job.request, path)),
        };
        let sent = question.as_ref().unwrap_or(job.request);
        let request = match Prepared::new(target, &Outgoing { request: sent, ..job }) {
            Ok(request) => request,
            Err(error) => {
                let asks = question.is_some();
                let outcome = if asks { Outcome::Unknown } else { Outcome::Rejected };
                return unfit(outcome, error.to_string());
            }
        };
        let keep = target.asking.max_body;
        let most = if job.request.live { Answer::LIVE.max(keep) } else { keep };
        let room = Room::new(keep, most, self.live.clone());
        let mut course = Course::default();
        let exchange = self.exchange(&request, room, &mut course, departure);
        let mut gave_up = false;
        let (result, lease) = match tokio::time::timeout(target.timeout, exchange).await {
            Ok(Ok((end, lease))) => (Ok(end), lease),
            Ok(Err(failed)) => (Err(failed), None),
            // What `exchange` held is dropped by now, and with it the connection.
            Err(_) => {
                gave_up = true;
                (course.timed_out(target.timeout, &request), None)
            }
        };
        let mut report = match (result, course.arriving) {
            (Ok(end), Some(arriving)) => answered(target, &job, arriving, &end, started.elapsed()),
            (Ok(_), None) => Failed { outcome: Outcome::Unknown, reason: "no answer".to_owned() }
                .report(started.elapsed()),
            (Err(failed), _) => failed.report(started.elapsed()),
        };
        if gave_up && report.close == Close::Cut {
            report.close = Close::GivenUp;
        }
        if let Some(lease) = lease {
            lease.finish().await;
        }
        report
    }

    /// One request and its answer. `course` tells how far it came, if it is dropped half-way.
    async fn exchange(
        &self,
        request: &Prepared,
        room: Room,
        course: &mut Course,
        departure: &Departure,
    ) -> Result<(BodyEnd, Option<Lease>), Failed> {
        let refused = |reason| Failed { outcome: Outcome::Refused, reason };
        let origin = &request.origin;
        let mut tried = 0;
        loop {
            course.stage = Stage::Connecting;
            let kept = if tried == 0 { self.pool.kept(origin) } else { None };
            let mut lease = match kept {
                Some(lease) => lease,
                None => {
                    departure.tell();
                    self.pool.fresh(origin).await.map_err(|NotConnected(why)| refused(why))?
                }
            };
            tried += 1;
            course.stage = lease.wire().map_or(Stage::Shared, Stage::Alone);
            let response = match lease.send(request, departure).await {
                Ok(response) => response,
                Err(NoAnswer::NotSent(_)) if lease.is_kept() && tried < CONNECTIONS => continue,
                Err(NoAnswer::NotSent(why)) => {
                    return Err(refused(format!(
                        "{origin} closed the connection before the request was sent: {why}"
                    )));
                }
                Err(NoAnswer::TurnedAway(why)) => {
                    lease.turned_away();
                    return Err(refused(format!("{origin} turned the request away: {why}")));
                }
                Err(NoAnswer::Lost(why)) => {
                    let reason =
                        format!("no answer from {origin} to a request that was sent: {why}");
                    return Err(Failed { outcome: Outcome::Unknown, reason });
                }
            };
            let (parts, body) = response.into_parts();
            let version = parts.version;
            let framed_twice = parts.headers.contains_key(TRANSFER_ENCODING)
                && parts.headers.contains_key(CONTENT_LENGTH);
            let arriving = course.arriving.insert(Arriving::new(parts, &request.method, room));
            let end = arriving.read(body, version).await;
            // An HTTP/2 stream ends alone; an HTTP/1.1 connection with a rest on it is of no use.
            let reusable = match end {
                // Whoever is between us and the target may have found the end elsewhere (RFC 9112
                // §6.3), and takes the rest for an answer to the next request.
                BodyEnd::Whole => !framed_twice,
                BodyEnd::Capped => matches!(course.stage, Stage::Shared),
                BodyEnd::Broken(_) => false,
            };
            return Ok((end, reusable.then_some(lease)));
        }
    }
}

/// TLS 1.2 and 1.3 by ring. Early data stays off: it would leave before the handshake's end.
fn tls_versions()
-> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions()
}

/// An attempt without an answer.
struct Failed {
    outcome: Outcome,
    reason: String,
}

impl Failed {
    fn report(self, took: Duration) -> Report {
        let Failed { outcome, reason } = self;
        let close = match outcome {
            Outcome::Unknown => Close::Cut,
            Outcome::Done | Outcome::Refused | Outcome::Rejected => Close::Whole,
        };
        Report {
            close,
            outcome,
            answer: None,
            retry_after: None,
            hint: None,
            reason: Some(reason),
            took,
            follow: Follow::Nothing,
        }
    }
}

/// How far an attempt came.
#[derive(Default)]
struct Course {
    stage: Stage,
    arriving: Option<Arriving>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Connecting,
    /// On a connection of its own.
    Alone(Arc<Wire>),
    /// On a connection that others share.
    Shared,
}

impl Course {
    fn timed_out(&self, after: Duration, request: &Prepared) -> Result<BodyEnd, Failed> {
        let (outcome, when) = match &self.stage {
            _ if self.arriving.is_some() => {
                let after = humantime::format_duration(after);
                return Ok(BodyEnd::Broken(format!("timed out after {after}")));
            }
            Stage::Connecting => (Outcome::Refused, "connecting to"),
            Stage::Alone(wire) if !wire.kill() => {
                (Outcome::Refused, "before the request was sent to")
            }
            Stage::Alone(_) | Stage::Shared => (Outcome::Unknown, "after the request was sent to"),
        };
        let reason = format!(
            "timed out after {}, {when} {}",
            humantime::format_duration(after),
            request.origin
        );
        Err(Failed { outcome, reason })
    }
}

fn answered(
    target: &Target,
    job: &Outgoing<'_>,
    arriving: Arriving,
    end: &BodyEnd,
    took: Duration,
) -> Report {
    let asking = &target.asking;
    let seen = arriving.seen(end, asking.max_body);
    let Judged { outcome, follow, reason } = match (job.aim, &asking.verify) {
        (Aim::Work, _) => judged(target, &job.request.path, &seen),
        (Aim::Poll { .. }, _) => question::polled(asking.completion.as_deref(), &seen),
        (Aim::Verify, Some(verify)) => question::verified(verify, &seen),
        (Aim::Verify, None) => unreachable!("without a verify nothing was asked"),
    };
    let goes_on = matches!(follow, Follow::Accepted { .. } | Follow::Pending);
    let now = SystemTime::now();
    let retry_after = match outcome {
        Outcome::Refused => rate_headers::pause(arriving.headers(), now),
        _ if goes_on => retry_after::retry_after(arriving.headers(), now),
        _ => None,
    };
    let hint = rate_headers::hint(arriving.headers(), now);
    let close = match end {
        BodyEnd::Whole | BodyEnd::Capped => Close::Whole,
        BodyEnd::Broken(_) => Close::Cut,
    };
    let answer = Some(arriving.into_answer(end, asking.max_body));
    Report { outcome, answer, retry_after, hint, reason, took, close, follow }
}

/// What the answer to an attempt comes to.
fn judged(target: &Target, path: &str, seen: &Seen<'_>) -> Judged {
    let (outcome, because) = meaning::outcome(&target.asking.rules, seen);
    let broken = match seen.end {
        BodyEnd::Broken(why) => Some(format!("in the middle of the answer: {why}")),
        BodyEnd::Whole | BodyEnd::Capped => None,
    };
    let reason = match because {
        Because::Default => broken,
        Because::Rule(index) if outcome == target.asking.rules[index].outcome => {
            Some(format!("by rule {} of response.rules", index + 1))
        }
        // It says done, and its answer is not whole.
        Because::Rule(_) => broken,
        Because::Undecided(index) => Some(format!(
            "rule {} of response.rules cannot be told to hold or not: the answer is longer than \
             response.max_body, or not whole, and half a JSON text is none",
            index + 1
        )),
    };
    let follow = match outcome {
        Outcome::Done => question::accepted(target, path, seen),
        Outcome::Refused | Outcome::Rejected | Outcome::Unknown => Follow::Nothing,
    };
    Judged { outcome, follow, reason }
}
