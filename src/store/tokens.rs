//! Task tokens, beside the requests that they came with: in `tokens` while the job lives, in
//! `outbox` from its end until the token is answered, and then nowhere. So whoever keeps a task
//! alive reads no body, and no answered secret stays on the disk.

use std::ops::Bound;

use redb::{ReadTransaction, WriteTransaction};

use super::error::{Result, StoreError};
use super::keys;
use super::seal::{Field, Seals};
use super::tables::{self, OUTBOX, TOKENS, Writer};
use crate::broker::job::{JobId, Owed, Place};
use crate::broker::payload::TaskToken;

const TOKENS_NAME: &str = "tokens";
const OUTBOX_NAME: &str = "outbox";

/// Within a commit.
pub(super) struct Tokens<'txn> {
    seals: &'txn Seals,
    tokens: Writer<'txn, 16>,
    outbox: Writer<'txn, 16>,
}

impl<'txn> Tokens<'txn> {
    pub(super) fn open(txn: &'txn WriteTransaction, seals: &'txn Seals) -> Result<Tokens<'txn>> {
        Ok(Tokens {
            seals,
            tokens: Writer::open(txn, TOKENS, TOKENS_NAME)?,
            outbox: Writer::open(txn, OUTBOX, OUTBOX_NAME)?,
        })
    }

    /// Of a new job; the token as it is kept.
    pub(super) fn add(&mut self, id: JobId, owed: Owed, token: Option<&[u8]>) -> Result<()> {
        match (owed, token) {
            (Owed::Nothing, None) => Ok(()),
            (Owed::TaskToken, Some(token)) => self.tokens.add(&keys::job(id), token),
            (owed, _) => {
                let has = if token.is_some() { "a token" } else { "no token" };
                Err(StoreError::row(TOKENS_NAME, format_args!("{owed:?} is owed, with {has}")))
            }
        }
    }

    /// Its job moves, or what is owed changes.
    pub(super) fn follow(
        &mut self,
        id: JobId,
        (was, from): (Owed, &Place),
        (is, to): (Owed, &Place),
    ) -> Result<()> {
        let Tokens { tokens, outbox, .. } = self;
        let key = keys::job(id);
        let (before, after) = (Home::of(was, from), Home::of(is, to));
        match (before, after) {
            (Home::Nowhere, Home::Nowhere)
            | (Home::Tokens, Home::Tokens)
            | (Home::Outbox, Home::Outbox) => Ok(()),
            (Home::Nowhere, _) => {
                Err(StoreError::row(TOKENS_NAME, "a token is owed, and there was none"))
            }
            (Home::Tokens, Home::Nowhere) => tokens.remove(&key).map(drop),
            (Home::Outbox, Home::Nowhere) => outbox.remove(&key).map(drop),
            (Home::Tokens, Home::Outbox) => outbox.add(&key, tokens.remove(&key)?.value()),
            (Home::Outbox, Home::Tokens) => tokens.add(&key, outbox.remove(&key)?.value()),
        }
    }

    /// Of a job that has not ended.
    pub(super) fn get(&self, id: JobId) -> Result<TaskToken> {
        let key = keys::job(id);
        self.seals.decode(Field::Token, &key, self.tokens.get(&key)?.value())
    }
}

/// Which table a token is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Nowhere,
    Tokens,
    Outbox,
}

impl Home {
    fn of(owed: Owed, place: &Place) -> Home {
        match (owed, place.is_ended()) {
            (Owed::Nothing, _) => Home::Nowhere,
            (Owed::TaskToken, false) => Home::Tokens,
            (Owed::TaskToken, true) => Home::Outbox,
        }
    }
}

/// Of a job to whose workflow an answer is owed, be it over or not.
pub(super) fn token(txn: &ReadTransaction, seals: &Seals, id: JobId) -> Result<Option<TaskToken>> {
    let key = keys::job(id);
    for table in [OUTBOX, TOKENS] {
        if let Some(row) = tables::read(txn, table)?.get(&key)? {
            return Ok(Some(seals.decode(Field::Token, &key, row.value())?));
        }
    }
    Ok(None)
}

/// Of jobs that have not ended, by id.
pub(super) fn page(
    txn: &ReadTransaction,
    seals: &Seals,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<(JobId, TaskToken)>> {
    let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(keys::job(id)));
    let from = from.as_ref();
    let table = tables::read(txn, TOKENS)?;
    let rows = table.range::<&keys::JobKey>((from, Bound::Unbounded))?.take(limit);
    let read = |row: std::result::Result<(_, tables::Guard<'_>), _>| {
        let (key, value): (redb::AccessGuard<'_, &[u8; 16]>, _) = row?;
        let id = JobId(u128::from_be_bytes(*key.value()));
        Ok((id, seals.decode(Field::Token, key.value(), value.value())?))
    };
    rows.map(read).collect()
}
