//! Requests and answers: the bulk of the file, written once and read at dispatch.
//!
//! Nothing else knows where bodies are kept, so that they can move out of redb.

use std::borrow::Cow;

use redb::{ReadTransaction, WriteTransaction};

use super::codec::{decode, encode};
use super::error::Result;
use super::keys;
use super::tables::{self, ANSWERS, REQUESTS, Writer};
use crate::broker::job::JobId;
use crate::broker::payload::{Answer, Request};

const REQUESTS_NAME: &str = "requests";
const ANSWERS_NAME: &str = "answers";

/// Within a commit.
pub(super) struct Bodies<'txn> {
    requests: Writer<'txn, 16>,
    answers: Writer<'txn, 16>,
}

impl<'txn> Bodies<'txn> {
    pub(super) fn open(txn: &'txn WriteTransaction) -> Result<Bodies<'txn>> {
        Ok(Bodies {
            requests: Writer::open(txn, REQUESTS, REQUESTS_NAME)?,
            answers: Writer::open(txn, ANSWERS, ANSWERS_NAME)?,
        })
    }

    pub(super) fn add(&mut self, id: JobId, request: &Request, buffer: &mut Vec<u8>) -> Result<()> {
        encode(buffer, request)?;
        self.requests.add(&keys::job(id), buffer)
    }

    /// Less its task token.
    pub(super) fn request(&self, id: JobId) -> Result<Request> {
        let row = self.requests.get(&keys::job(id))?;
        decode(REQUESTS_NAME, row.value())
    }

    /// Keeps [`Answer::KEPT`] bytes of its body.
    pub(super) fn answered(
        &mut self,
        id: JobId,
        answer: &Answer,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        encode(buffer, kept(answer).as_ref())?;
        self.answers.put(&keys::job(id), buffer)
    }

    pub(super) fn forget(&mut self, id: JobId) -> Result<()> {
        self.requests.remove(&keys::job(id))?;
        // Many jobs end without ever having been answered.
        self.answers.discard(&keys::job(id))?;
        Ok(())
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

fn kept(answer: &Answer) -> Cow<'_, Answer> {
    if answer.body.len() <= Answer::KEPT {
        return Cow::Borrowed(answer);
    }
    Cow::Owned(Answer {
        status: answer.status,
        headers: answer.headers.clone(),
        body: answer.body.slice(..Answer::KEPT),
        truncated: true,
    })
}
