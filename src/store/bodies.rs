//! Requests and answers: the bulk of the file, written once and read at dispatch.
//!
//! Nothing else knows where bodies are kept, so that they can move out of redb.

use std::borrow::Cow;

use redb::{ReadTransaction, WriteTransaction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::{Result, StoreError};
use super::journal::{Blob, Blobs};
use super::keys::{self, AttemptKey};
use super::live::Live;
use super::record::Attempt;
use super::seal::{Field, Seals};
use super::shelf::{AtHand, Kept, Shelf, Spot};
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

/// A row that has a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Owner {
    Request(JobId),
    Answer(JobId),
    Original(JobId),
    /// And the number of the request.
    Attempt(JobId, u32),
}

impl Owner {
    /// Those that a change made, or that came of it since.
    pub(super) fn all_of(change: &Change, blobs: &Blobs) -> Vec<(Owner, Blob)> {
        let requested =
            |id| vec![(Owner::Request(id), blobs.request), (Owner::Original(id), blobs.request)];
        let mut owners = match change {
            Change::Insert(insert) => requested(insert.header.id),
            Change::Rewrite { id, .. } => requested(*id),
            Change::Move(step) => {
                let header = &step.header;
                let attempt = Owner::Attempt(header.id, header.number());
                vec![(Owner::Answer(header.id), blobs.answer), (attempt, blobs.attempt)]
            }
            _ => Vec::new(),
        };
        owners.retain(|(_, blob)| blob.is_there());
        owners
    }

    /// Where its body is; `None` where there is none in the journal.
    pub(super) fn spot(self, txn: &ReadTransaction) -> Result<Option<Spot>> {
        let of = |row: Option<tables::Guard<'_>>, table| match row {
            Some(row) => Ok(Kept::read(table, row.value())?.spot()),
            None => Ok(None),
        };
        match self {
            Owner::Request(id) => {
                of(tables::read(txn, REQUESTS)?.get(&keys::job(id))?, REQUESTS_NAME)
            }
            Owner::Answer(id) => of(tables::read(txn, ANSWERS)?.get(&keys::job(id))?, ANSWERS_NAME),
            Owner::Original(id) => {
                of(tables::read(txn, ORIGINALS)?.get(&keys::job(id))?, ORIGINALS_NAME)
            }
            Owner::Attempt(id, number) => {
                of(tables::read(txn, ATTEMPTS)?.get(&keys::attempt(id, number))?, ATTEMPTS_NAME)
            }
        }
    }
}

/// Puts what a change brings behind `bytes`, one after the other, as it is kept: sealed, where a
/// key is configured. Here only; whatever is kept later is a copy of these bytes.
pub(super) fn encode_all(change: &Change, seals: &Seals, bytes: &mut Vec<u8>) -> Result<Lengths> {
    let mut lengths = Lengths::default();
    let [request, token, answer, attempt] = &mut lengths;
    match change {
        Change::Insert(insert) => {
            let key = keys::job(insert.header.id);
            *request = seals.encode_behind(bytes, Field::Request, &key, &*insert.request)?;
            if let Some(secret) = &insert.request.task_token {
                *token = seals.encode_behind(bytes, Field::Token, &key, secret)?;
            }
        }
        Change::Move(step) => {
            let header = &step.header;
            if let Some(kept) = &step.answer {
                let (key, kept) = (keys::job(header.id), self::kept(kept));
                *answer = seals.encode_behind(bytes, Field::Answer, &key, kept.as_ref())?;
            }
            if let Some(tried) = Attempt::of(step) {
                let key = keys::attempt(header.id, header.number());
                *attempt = seals.encode_behind(bytes, Field::Attempt, &key, &tried)?;
            }
        }
        Change::Rewrite { id, request: other, .. } => {
            *request = seals.encode_behind(bytes, Field::Request, &keys::job(*id), &**other)?;
        }
        Change::Delete { .. }
        | Change::Paused { .. }
        | Change::Flow { .. }
        | Change::Held { .. }
        | Change::Spent(_)
        | Change::Lived { .. } => {}
    }
    Ok(lengths)
}

/// Within a commit. What it is given are bodies as they are kept, and where they stand in the
/// record that is applied.
pub(super) struct Bodies<'txn> {
    library: &'txn Library,
    requests: Writer<'txn, 16>,
    answers: Writer<'txn, 16>,
    originals: Writer<'txn, 16>,
    attempts: Writer<'txn, 20>,
    live: &'txn mut Live,
    record: AtHand<'txn>,
    /// A row.
    row: Vec<u8>,
}

impl<'txn> Bodies<'txn> {
    pub(super) fn open(
        txn: &'txn WriteTransaction,
        library: &'txn Library,
        live: &'txn mut Live,
        record: AtHand<'txn>,
    ) -> Result<Bodies<'txn>> {
        Ok(Bodies {
            library,
            requests: Writer::open(txn, REQUESTS, REQUESTS_NAME)?,
            answers: Writer::open(txn, ANSWERS, ANSWERS_NAME)?,
            originals: Writer::open(txn, ORIGINALS, ORIGINALS_NAME)?,
            attempts: Writer::open(txn, ATTEMPTS, ATTEMPTS_NAME)?,
            live,
            record,
            row: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, id: JobId, request: &Blob) -> Result<()> {
        let kept = self.record.keep(request)?;
        kept.write(&mut self.row)?;
        self.live.enter(&kept);
        self.requests.add(&keys::job(id), &self.row)
    }

    /// Less its task token.
    pub(super) fn request(&self, id: JobId) -> Result<Request> {
        let key = keys::job(id);
        let decode = |body: &[u8]| self.library.seals.decode(Field::Request, &key, body);
        let row = self.requests.get(&key)?;
        match Kept::read(REQUESTS_NAME, row.value())? {
            Kept::Here(body) => decode(body),
            Kept::There(spot) => match self.record.find(spot) {
                Some(body) => decode(body),
                None => decode(&self.library.shelf.fetch_present(spot)?),
            },
        }
    }

    pub(super) fn answered(&mut self, id: JobId, answer: &Blob) -> Result<()> {
        let kept = self.record.keep(answer)?;
        put(&mut self.answers, &keys::job(id), &kept, self.live, &mut self.row).map(drop)
    }

    /// Another request in place of the one that is there; the first one of all is kept.
    pub(super) fn rewrite(&mut self, id: JobId, request: &Blob) -> Result<()> {
        let key = keys::job(id);
        if self.originals.find(&key)?.is_none() {
            let row = self.requests.get(&key)?;
            self.live.enter(&Kept::read(REQUESTS_NAME, row.value())?);
            self.originals.add(&key, row.value())?;
        }
        let kept = self.record.keep(request)?;
        if put(&mut self.requests, &key, &kept, self.live, &mut self.row)? {
            Ok(())
        } else {
            Err(StoreError::row(REQUESTS_NAME, "one that is to be rewritten is missing"))
        }
    }

    /// The body of a row is here from now on.
    pub(super) fn moved(&mut self, owner: Owner, body: &Blob) -> Result<()> {
        let kept = self.record.keep(body)?;
        let (live, row) = (&mut *self.live, &mut self.row);
        let was_there = match owner {
            Owner::Request(id) => put(&mut self.requests, &keys::job(id), &kept, live, row),
            Owner::Answer(id) => put(&mut self.answers, &keys::job(id), &kept, live, row),
            Owner::Original(id) => put(&mut self.originals, &keys::job(id), &kept, live, row),
            Owner::Attempt(id, number) => {
                put(&mut self.attempts, &keys::attempt(id, number), &kept, live, row)
            }
        };
        if was_there? {
            Ok(())
        } else {
            Err(StoreError::row("bodies", "one that is to be moved is missing"))
        }
    }

    /// One of the last answers of a job that has not succeeded.
    pub(super) fn attempted(&mut self, id: JobId, number: u32, attempt: &Blob) -> Result<()> {
        let kept = self.record.keep(attempt)?;
        let key = keys::attempt(id, number);
        put(&mut self.attempts, &key, &kept, self.live, &mut self.row)?;
        match number.checked_sub(Attempt::KEPT) {
            Some(old) => self.clear_attempts(&keys::attempt(id, 0), &keys::attempt(id, old)),
            None => Ok(()),
        }
    }

    /// Nobody will want to look at what came before.
    pub(super) fn forget_attempts(&mut self, id: JobId) -> Result<()> {
        self.clear_attempts(&keys::attempt(id, 0), &keys::attempt(id, u32::MAX))
    }

    /// Of all that is kept of a job's requests and answers, in bytes.
    pub(super) fn size(&self, id: JobId) -> Result<u64> {
        let key = keys::job(id);
        let of = |table: &Writer<'txn, 16>| -> Result<u64> {
            match table.find(&key)? {
                Some(row) => Ok(Kept::read(REQUESTS_NAME, row.value())?.length()),
                None => Ok(0),
            }
        };
        let mut size = of(&self.requests)? + of(&self.answers)? + of(&self.originals)?;
        self.attempts.each(&keys::attempt(id, 0), &keys::attempt(id, u32::MAX), |row| {
            size += Kept::read(ATTEMPTS_NAME, row)?.length();
            Ok(())
        })?;
        Ok(size)
    }

    pub(super) fn forget(&mut self, id: JobId) -> Result<()> {
        let key = keys::job(id);
        self.live.leave(&Kept::read(REQUESTS_NAME, self.requests.remove(&key)?.value())?)?;
        // Many jobs end without ever having been answered.
        for table in [&mut self.answers, &mut self.originals] {
            if let Some(row) = table.discard(&key)? {
                self.live.leave(&Kept::read(ANSWERS_NAME, row.value())?)?;
            }
        }
        self.forget_attempts(id)
    }

    fn clear_attempts(&mut self, first: &AttemptKey, last: &AttemptKey) -> Result<()> {
        let (live, mut some) = (&mut *self.live, false);
        self.attempts.each(first, last, |row| {
            some = true;
            live.leave(&Kept::read(ATTEMPTS_NAME, row)?)
        })?;
        if some { self.attempts.clear(first, last) } else { Ok(()) }
    }
}

/// Whether there was one before.
fn put<const N: usize>(
    table: &mut Writer<'_, N>,
    key: &[u8; N],
    kept: &Kept<'_>,
    live: &mut Live,
    row: &mut Vec<u8>,
) -> Result<bool> {
    kept.write(row)?;
    live.enter(kept);
    match table.swap(key, row)? {
        Some(old) => live.leave(&Kept::read("bodies", old.value())?).map(|()| true),
        None => Ok(false),
    }
}

/// Reads bodies, wherever they stand and whether or not they are sealed. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Library {
    pub(super) shelf: Shelf,
    pub(super) seals: Seals,
}

impl Library {
    pub(super) fn request(&self, txn: &ReadTransaction, id: JobId) -> Result<Option<Request>> {
        let key = keys::job(id);
        let row = tables::read(txn, REQUESTS)?.get(&key)?;
        row.map(|row| self.read(Field::Request, &key, row.value())).transpose()
    }

    pub(super) fn answer(&self, txn: &ReadTransaction, id: JobId) -> Result<Option<Answer>> {
        let key = keys::job(id);
        let row = tables::read(txn, ANSWERS)?.get(&key)?;
        row.map(|row| self.read(Field::Answer, &key, row.value())).transpose()
    }

    /// The first request of a job that was given another.
    pub(super) fn original(&self, txn: &ReadTransaction, id: JobId) -> Result<Option<Request>> {
        let key = keys::job(id);
        let row = tables::read(txn, ORIGINALS)?.get(&key)?;
        row.map(|row| self.read(Field::Original, &key, row.value())).transpose()
    }

    /// The last answers, oldest first.
    pub(super) fn attempts(&self, txn: &ReadTransaction, id: JobId) -> Result<Vec<Attempt>> {
        let (first, last) = (keys::attempt(id, 0), keys::attempt(id, u32::MAX));
        let table = tables::read(txn, ATTEMPTS)?;
        let mut attempts = Vec::new();
        for row in table.range::<&AttemptKey>(&first..=&last)? {
            let (key, value) = row?;
            attempts.push(self.read(Field::Attempt, key.value(), value.value())?);
        }
        Ok(attempts)
    }

    /// What a row of this field has.
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        field: Field,
        key: &[u8],
        row: &[u8],
    ) -> Result<T> {
        match Kept::read(field.table(), row)? {
            Kept::Here(body) => self.seals.decode(field, key, body),
            Kept::There(spot) => self.seals.decode(field, key, &self.shelf.fetch(spot)?),
        }
    }
}

/// [`Answer::keep`] bytes of its body.
fn kept(answer: &Answer) -> Cow<'_, Answer> {
    if answer.body.len() <= answer.keep {
        return Cow::Borrowed(answer);
    }
    Cow::Owned(answer.cut(answer.keep))
}
