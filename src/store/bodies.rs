//! Requests and answers: the bulk of the file, written once and read at dispatch.
//!
//! Nothing else knows where bodies are kept, so that they can move out of redb.

use std::borrow::Cow;

use redb::{ReadTransaction, WriteTransaction};

use super::codec::{decode, encode_behind};
use super::error::Result;
use super::keys;
use super::record::Attempt;
use super::tables::{self, ANSWERS, ATTEMPTS, ORIGINALS, REQUESTS, Writer};
use crate::broker::change::Change;
use crate::broker::job::JobId;
use crate::broker::payload::{Answer, Request};

const REQUESTS_NAME: &str = "requests";
const ANSWERS_NAME: &str = "answers";
const ORIGINALS_NAME: &str = "originals";
const ATTEMPTS_NAME: &str = "attempts";

/// How many bytes a request, a task token, an answer and an attempt take; nought: there is none.
pub(super) type Lengths = [u32; 4];

/// Puts what a change brings behind `bytes`, one after the other, as it is kept.
pub(super) fn encode_all(change: &Change, bytes: &mut Vec<u8>) -> Result<Lengths> {
    let mut lengths = Lengths::default();
    let [request, token, answer, attempt] = &mut lengths;
    match change {
        Change::Insert(insert) => {
            *request = encode_behind(bytes, &*insert.request)?;
            if let Some(secret) = &insert.request.task_token {
                *token = encode_behind(bytes, secret)?;
            }
        }
        Change::Move(step) => {
            if let Some(kept) = &step.answer {
                *answer = encode_behind(bytes, self::kept(kept).as_ref())?;
            }
            if let Some(tried) = Attempt::of(step) {
                *attempt = encode_behind(bytes, &tried)?;
            }
        }
        Change::Rewrite { request: other, .. } => *request = encode_behind(bytes, &**other)?,
        Change::Delete { .. }
        | Change::Paused { .. }
        | Change::Flow { .. }
        | Change::Held { .. }
        | Change::Spent(_)
        | Change::Lived { .. } => {}
    }
    Ok(lengths)
}

/// Within a commit. What it is given are bodies as they are kept.
pub(super) struct Bodies<'txn> {
    requests: Writer<'txn, 16>,
    answers: Writer<'txn, 16>,
    originals: Writer<'txn, 16>,
    attempts: Writer<'txn, 20>,
}

impl<'txn> Bodies<'txn> {
    pub(super) fn open(txn: &'txn WriteTransaction) -> Result<Bodies<'txn>> {
        Ok(Bodies {
            requests: Writer::open(txn, REQUESTS, REQUESTS_NAME)?,
            answers: Writer::open(txn, ANSWERS, ANSWERS_NAME)?,
            originals: Writer::open(txn, ORIGINALS, ORIGINALS_NAME)?,
            attempts: Writer::open(txn, ATTEMPTS, ATTEMPTS_NAME)?,
        })
    }

    pub(super) fn add(&mut self, id: JobId, request: &[u8]) -> Result<()> {
        self.requests.add(&keys::job(id), request)
    }

    /// Less its task token.
    pub(super) fn request(&self, id: JobId) -> Result<Request> {
        let row = self.requests.get(&keys::job(id))?;
        decode(REQUESTS_NAME, row.value())
    }

    pub(super) fn answered(&mut self, id: JobId, answer: &[u8]) -> Result<()> {
        self.answers.put(&keys::job(id), answer)
    }

    /// Another request in place of the one that is there; the first one of all is kept.
    pub(super) fn rewrite(
        &mut self,
        id: JobId,
        request: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let key = keys::job(id);
        if self.originals.find(&key)?.is_none() {
            buffer.clear();
            buffer.extend_from_slice(self.requests.get(&key)?.value());
            self.originals.add(&key, buffer)?;
        }
        self.requests.replace(&key, request)
    }

    /// One of the last answers of a job that has not succeeded.
    pub(super) fn attempted(&mut self, id: JobId, number: u32, attempt: &[u8]) -> Result<()> {
        self.attempts.put(&keys::attempt(id, number), attempt)?;
        match number.checked_sub(Attempt::KEPT) {
            Some(old) => self.attempts.clear(&keys::attempt(id, 0), &keys::attempt(id, old)),
            None => Ok(()),
        }
    }

    /// Nobody will want to look at what came before.
    pub(super) fn forget_attempts(&mut self, id: JobId) -> Result<()> {
        self.attempts.clear(&keys::attempt(id, 0), &keys::attempt(id, u32::MAX))
    }

    /// Of all that is kept of a job's requests and answers, in bytes.
    pub(super) fn size(&self, id: JobId) -> Result<u64> {
        let key = keys::job(id);
        let of = |table: &Writer<'txn, 16>| -> Result<u64> {
            Ok(table.find(&key)?.map_or(0, |row| row.value().len() as u64))
        };
        let attempts = self.attempts.sum(&keys::attempt(id, 0), &keys::attempt(id, u32::MAX))?;
        Ok(of(&self.requests)? + of(&self.answers)? + of(&self.originals)? + attempts)
    }

    pub(super) fn forget(&mut self, id: JobId) -> Result<()> {
        self.requests.remove(&keys::job(id))?;
        // Many jobs end without ever having been answered.
        self.answers.discard(&keys::job(id))?;
        self.originals.discard(&keys::job(id))?;
        self.forget_attempts(id)
    }
}

pub(super) fn request(txn: &ReadTransaction, id: JobId) -> Result<Option<Request>> {
    let row = tables::read(txn, REQUESTS)?.get(&keys::job(id))?;
    row.map(|row| decode(REQUESTS_NAME, row.value())).transpose()
}

pub(super) fn answer(txn: &ReadTransaction, id: JobId) -> Result<Option<Answer>> {
    let row = tables::read(txn, ANSWERS)?.get(&keys::job(id))?;
    row.map(|row| decode(ANSWERS_NAME, row.value())).transpose()
}

/// The first request of a job that was given another.
pub(super) fn original(txn: &ReadTransaction, id: JobId) -> Result<Option<Request>> {
    let row = tables::read(txn, ORIGINALS)?.get(&keys::job(id))?;
    row.map(|row| decode(ORIGINALS_NAME, row.value())).transpose()
}

/// The last answers, oldest first.
pub(super) fn attempts(txn: &ReadTransaction, id: JobId) -> Result<Vec<Attempt>> {
    let (first, last) = (keys::attempt(id, 0), keys::attempt(id, u32::MAX));
    let table = tables::read(txn, ATTEMPTS)?;
    let rows = table.range::<&keys::AttemptKey>(&first..=&last)?;
    rows.map(|row| decode(ATTEMPTS_NAME, row?.1.value())).collect()
}

/// [`Answer::keep`] bytes of its body.
fn kept(answer: &Answer) -> Cow<'_, Answer> {
    if answer.body.len() <= answer.keep {
        return Cow::Borrowed(answer);
    }
    Cow::Owned(answer.cut(answer.keep))
}
