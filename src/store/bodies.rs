//! Requests and answers: the bulk of the file, written once and read at dispatch.
//!
//! Nothing else knows where bodies are kept, so that they can move out of redb.

use std::borrow::Cow;

use redb::{ReadTransaction, WriteTransaction};

use super::error::Result;
use super::keys;
use super::record::Attempt;
use super::seal::{Field, Seals};
use super::tables::{self, ANSWERS, ATTEMPTS, ORIGINALS, REQUESTS, Writer};
use crate::broker::job::JobId;
use crate::broker::payload::{Answer, Request};

const REQUESTS_NAME: &str = "requests";
const ANSWERS_NAME: &str = "answers";
const ORIGINALS_NAME: &str = "originals";
const ATTEMPTS_NAME: &str = "attempts";

/// Within a commit.
pub(super) struct Bodies<'txn> {
    seals: &'txn Seals,
    requests: Writer<'txn, 16>,
    answers: Writer<'txn, 16>,
    originals: Writer<'txn, 16>,
    attempts: Writer<'txn, 20>,
}

impl<'txn> Bodies<'txn> {
    pub(super) fn open(txn: &'txn WriteTransaction, seals: &'txn Seals) -> Result<Bodies<'txn>> {
        Ok(Bodies {
            seals,
            requests: Writer::open(txn, REQUESTS, REQUESTS_NAME)?,
            answers: Writer::open(txn, ANSWERS, ANSWERS_NAME)?,
            originals: Writer::open(txn, ORIGINALS, ORIGINALS_NAME)?,
            attempts: Writer::open(txn, ATTEMPTS, ATTEMPTS_NAME)?,
        })
    }

    pub(super) fn add(&mut self, id: JobId, request: &Request, buffer: &mut Vec<u8>) -> Result<()> {
        let key = keys::job(id);
        self.seals.encode(buffer, Field::Request, &key, request)?;
        self.requests.add(&key, buffer)
    }

    /// Less its task token.
    pub(super) fn request(&self, id: JobId) -> Result<Request> {
        let key = keys::job(id);
        self.seals.decode(Field::Request, &key, self.requests.get(&key)?.value())
    }

    /// Keeps [`Answer::keep`] bytes of its body.
    pub(super) fn answered(
        &mut self,
        id: JobId,
        answer: &Answer,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let key = keys::job(id);
        self.seals.encode(buffer, Field::Answer, &key, kept(answer).as_ref())?;
        self.answers.put(&key, buffer)
    }

    /// Another request in place of the one that is there; the first one of all is kept.
    pub(super) fn rewrite(
        &mut self,
        id: JobId,
        request: &Request,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let key = keys::job(id);
        if self.originals.find(&key)?.is_none() {
            let original = self.request(id)?;
            self.seals.encode(buffer, Field::Original, &key, &original)?;
            self.originals.add(&key, buffer)?;
        }
        self.seals.encode(buffer, Field::Request, &key, request)?;
        self.requests.replace(&key, buffer)
    }

    /// One of the last answers of a job that has not succeeded.
    pub(super) fn attempted(
        &mut self,
        id: JobId,
        number: u32,
        attempt: &Attempt,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let key = keys::attempt(id, number);
        self.seals.encode(buffer, Field::Attempt, &key, attempt)?;
        self.attempts.put(&key, buffer)?;
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

pub(super) fn request(txn: &ReadTransaction, seals: &Seals, id: JobId) -> Result<Option<Request>> {
    let key = keys::job(id);
    let row = tables::read(txn, REQUESTS)?.get(&key)?;
    row.map(|row| seals.decode(Field::Request, &key, row.value())).transpose()
}

pub(super) fn answer(txn: &ReadTransaction, seals: &Seals, id: JobId) -> Result<Option<Answer>> {
    let key = keys::job(id);
    let row = tables::read(txn, ANSWERS)?.get(&key)?;
    row.map(|row| seals.decode(Field::Answer, &key, row.value())).transpose()
}

/// The first request of a job that was given another.
pub(super) fn original(txn: &ReadTransaction, seals: &Seals, id: JobId) -> Result<Option<Request>> {
    let key = keys::job(id);
    let row = tables::read(txn, ORIGINALS)?.get(&key)?;
    row.map(|row| seals.decode(Field::Original, &key, row.value())).transpose()
}

/// The last answers, oldest first.
pub(super) fn attempts(txn: &ReadTransaction, seals: &Seals, id: JobId) -> Result<Vec<Attempt>> {
    let (first, last) = (keys::attempt(id, 0), keys::attempt(id, u32::MAX));
    let table = tables::read(txn, ATTEMPTS)?;
    let rows = table.range::<&keys::AttemptKey>(&first..=&last)?;
    let read = |row: std::result::Result<(redb::AccessGuard<'_, &keys::AttemptKey>, _), _>| {
        let (key, value): (_, tables::Guard<'_>) = row?;
        seals.decode(Field::Attempt, key.value(), value.value())
    };
    rows.map(read).collect()
}

fn kept(answer: &Answer) -> Cow<'_, Answer> {
    if answer.body.len() <= answer.keep {
        return Cow::Borrowed(answer);
    }
    Cow::Owned(answer.cut(answer.keep))
}
