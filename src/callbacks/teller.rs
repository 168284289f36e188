//! Tells one callback of the jobs in its part of the outbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

use super::health::Health;
use super::message::message;
use super::signature::{ID, SIGNATURE, TIMESTAMP, sign};
use crate::aws::Backoff;
use crate::broker::callback::{Callback, CallbackName, Telling, Told};
use crate::broker::io::Input;
use crate::broker::job::{JobId, Place};
use crate::broker::time::Wall;
use crate::config;
use crate::dispatch::{Dispatcher, Posted};
use crate::handle::Handle;
use crate::metrics::{self, Metrics};
use crate::outbox::window::{Pauses, Turn, Window};
use crate::outbox::{Settled, Shelf, Work};
use crate::store::{CallbackList, Reader, StoreError};

/// A receiver that is down is asked at least so often, whatever `max_backoff` says.
const PROBE: Duration = Duration::from_secs(60);

/// Who tells.
#[derive(Clone)]
pub(super) struct Teller {
    pub(super) name: CallbackName,
    pub(super) config: Arc<config::Callback>,
    pub(super) dispatcher: Dispatcher,
    pub(super) handle: Handle,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
    pub(super) settled: Tellings,
}

impl Teller {
    pub(super) fn pauses(&self) -> Pauses {
        let config = &self.config;
        let job = Backoff { min: config.min_backoff, max: config.max_backoff };
        // "Sender should disable the webhook endpoint" (Standard Webhooks, on 410): one try now and
        // then, to learn that it is back.
        let gone = Backoff { min: config.max_backoff, max: config.max_backoff };
        let probe =
            Backoff { min: config.min_backoff.min(PROBE), max: config.max_backoff.min(PROBE) };
        Pauses {
            concurrent: config.max_concurrent as usize,
            service: probe,
            service_held: gone,
            job,
            job_held: job,
        }
    }
}

/// Jobs that the callback is to be told of.
#[derive(Clone)]
pub(super) struct Owed {
    reader: Reader,
    name: CallbackName,
    settled: Tellings,
}

impl Shelf for Owed {
    fn page(&self, after: Option<JobId>, limit: usize) -> Result<Vec<JobId>, StoreError> {
        self.reader.callbacks(&self.name, CallbackList::Owed, after, limit)
    }

    fn look(&self, id: JobId) -> Result<Settled, StoreError> {
        let record = self.reader.job(id)?;
        let callback = record.as_ref().and_then(|record| record.header.callback.as_deref());
        let owed = callback.and_then(owed);
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if owed.is_some() && owed == settled.get(&id).copied() {
            return Ok(Settled::NotYet);
        }
        settled.remove(&id);
        Ok(if owed.is_some() { Settled::Anew } else { Settled::Out })
    }
}

/// Which telling of a job's end: of its nth end, and since then.
type Which = (u32, Wall);

/// Those that are settled and still in the outbox, until that is on disk.
pub(super) type Tellings = Arc<Mutex<HashMap<JobId, Which>>>;

/// The one that is owed.
fn owed(callback: &Callback) -> Option<Which> {
    match callback.telling {
        Telling::Owed { since } => Some((callback.ends, since)),
        Telling::NotYet | Telling::Delivered | Telling::Undelivered { .. } => None,
    }
}

/// How one try went.
pub(super) enum Report {
    /// It was read and there is nothing to tell.
    Nothing,
    Unread(StoreError),
    /// Its time was up, and the receiver is down: it was not tried once more.
    Late {
        which: Which,
    },
    Tried {
        which: Which,
        result: Result<Posted, String>,
        /// If it failed, that was the last try.
        last: bool,
    },
}

/// A message that is to be sent.
struct Due {
    which: Which,
    id: String,
    body: Vec<u8>,
}

impl Work for Teller {
    type Shelf = Owed;
    type Report = Report;

    fn shelf(&self) -> Owed {
        let (reader, name) = (self.handle.reader().clone(), self.name.clone());
        Owed { reader, name, settled: self.settled.clone() }
    }

    fn send(&self, id: JobId) -> impl Future<Output = Report> + Send + 'static {
        self.clone().tell(id)
    }

    fn ended(&self, id: JobId, report: Option<Report>) -> Turn {
        match report {
            Some(Report::Nothing) => Turn::Nothing,
            Some(Report::Unread(error)) => {
                tracing::error!(job = %id, %error, "the job cannot be read; trying again");
                Turn::Failed { held: false, after: Duration::ZERO }
            }
            Some(Report::Late { which }) => {
                let error = self.health.trouble().map(|trouble| trouble.error);
                self.give_up(id, which, &error.unwrap_or_default());
                Turn::Settled
            }
            Some(Report::Tried { which, result, last }) => self.tried(id, which, result, last),
            None => {
                tracing::error!(job = %id, callback = %self.name, "telling it panicked; trying again");
                Turn::Failed { held: true, after: Duration::ZERO }
            }
        }
    }

    fn look(&self, turn: Turn, window: &Window) {
        if matches!(turn, Turn::Settled | Turn::Nothing)
            && window.nobody_waits()
            && !self.health.is_down()
        {
            self.health.fine(&self.name);
        }
    }
}

impl Teller {
    async fn tell(self, id: JobId) -> Report {
        let teller = self.clone();
        let due = match tokio::task::spawn_blocking(move || teller.look_up(id)).await {
            Ok(Ok(Some(due))) => due,
            Ok(Ok(None)) => return Report::Nothing,
            Ok(Err(error)) => return Report::Unread(error),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let (which, since) = (due.which, due.which.1);
        let config = &self.config;
        if since + config.max_retry_duration <= Handle::wall_now() && self.health.is_down() {
            return Report::Late { which };
        }
        let timestamp = Handle::wall_now().as_millis() / 1_000;
        let mut headers = config.headers.clone();
        let signature = sign(&config.secrets, &due.id, timestamp, &due.body);
        for (name, value) in
            [(ID, due.id), (TIMESTAMP, timestamp.to_string()), (SIGNATURE, signature)]
        {
            // Letters, digits and a few signs.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        let body = Bytes::from(due.body);
        let result = self.dispatcher.post(&config.url, &headers, body, config.timeout).await;
        let last = since + config.max_retry_duration <= Handle::wall_now();
        Report::Tried { which, result, last }
    }

    fn look_up(&self, id: JobId) -> Result<Option<Due>, StoreError> {
        let reader = self.handle.reader();
        let Some(record) = reader.job(id)? else { return Ok(None) };
        let (Place::Ended { at, .. }, Some(callback)) = (record.place, &record.header.callback)
        else {
            return Ok(None);
        };
        let Some(which) = owed(callback).filter(|_| callback.name == self.name) else {
            return Ok(None);
        };
        let answer = reader.answer(id)?;
        let directory = self.handle.directory();
        let body = message(&record, at, &directory, answer.as_ref(), self.config.max_body);
        Ok(Some(Due { which, id: callback.message_id(id), body }))
    }

    fn tried(&self, id: JobId, which: Which, result: Result<Posted, String>, last: bool) -> Turn {
        let (error, down, held, after) = match result {
            Ok(Posted { status: status @ 200..=299, .. }) => {
                self.metrics.webhook(&self.name, metrics::Callback::Accepted);
                self.health.reached();
                self.tell_loop(id, which, Told::Delivered { status });
                return Turn::Settled;
            }
            Ok(Posted { status: 410, .. }) => {
                let error = "the receiver answered 410 Gone: it wants no more of these";
                self.health.failed(&self.name, true, true, error);
                self.give_up(id, which, error);
                return Turn::SettledDown;
            }
            Ok(Posted { status, retry_after }) => {
                let after = retry_after.unwrap_or_default().min(self.config.max_backoff);
                // It is under load, or behind something that is: nobody else would get through.
                let down = matches!(status, 429 | 502 | 503 | 504);
                let held = matches!(status, 300..=499) && !matches!(status, 408 | 425 | 429);
                let redirect =
                    if matches!(status, 300..=399) { ", which is not followed" } else { "" };
                (format!("the receiver answered {status}{redirect}"), down, held, after)
            }
            Err(error) => (error, true, false, Duration::ZERO),
        };
        self.health.failed(&self.name, held, down, &error);
        if last {
            self.give_up(id, which, &error);
            return Turn::Settled;
        }
        let counted = if held { metrics::Callback::Held } else { metrics::Callback::Retried };
        self.metrics.webhook(&self.name, counted);
        tracing::debug!(job = %id, callback = %self.name, error, "its callback is not told");
        if down { Turn::Down { held: false, after } } else { Turn::Failed { held, after } }
    }

    fn give_up(&self, id: JobId, which: Which, error: &str) {
        self.metrics.webhook(&self.name, metrics::Callback::GivenUp);
        tracing::error!(
            job = %id,
            callback = %self.name,
            error,
            "a callback was not told of a job's end, and is not tried any more; `tollgate callbacks \
             redrive` sends it again"
        );
        self.tell_loop(id, which, Told::GivenUp { reason: error.to_owned() });
    }

    fn tell_loop(&self, job: JobId, which: Which, how: Told) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.insert(job, which);
        drop(settled);
        let end = which.0;
        self.handle.tell(Input::Told { job, end, how });
    }
}
