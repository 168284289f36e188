//! `[store] encrypt_key_file`: requests, answers and task tokens as they are on disk where a key is
//! configured.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | [`SEALED`]; a plain value begins with [`VERSION`] instead |
//! | 8 | which key of the file: [`KeyId`] |
//! | 16 | the life of the store that wrote it |
//! | 8 | the value's number in that life |
//! | n | the value, postcard, encrypted |
//! | 16 | the tag of AES-256-GCM |
//!
//! **No nonce is ever used twice.** A key of the file encrypts nothing itself. Each time that a
//! store is opened it draws 16 bytes, its life, and makes a key of its own out of them by HKDF
//! (RFC 5869: the life is the salt, the key of the file the input). Within a life the nonce is a
//! 64-bit counter that starts at 0 with the process and is never written down, so neither a crash,
//! a torn write nor a restored backup can set it back: whoever opens the file next has another
//! life and with it another key. Two lives are the same with a probability of 2^-64 after 2^32
//! starts. (A virtual machine that is snapshot while the daemon runs and resumed twice goes through
//! the same life twice: stop the daemon for that.)
//!
//! **No value passes for another.** All that stands before the value, what it is ([`Field`]) and
//! the key of its row (the job's id, and the number of the request where there are several) are
//! authenticated with it. What is not noticed: an older value of the same job and field put back
//! in place of the newer, and a plain value put in place of a sealed one, because a store may hold
//! both. This keeps secrets from those who read the file; who may write to it owns the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bodies::Library;
use super::codec::{self, VERSION, append};
use super::error::{Result, StoreError};
use super::key_file::{Key, KeyId, Keys};
use super::shelf::Kept;
use super::tables::{self, ANSWERS, ATTEMPTS, META, ORIGINALS, OUTBOX, REQUESTS, TOKENS};

/// The first byte of a sealed value: of [`VERSION`], once it is opened.
const SEALED: u8 = 0x80 | VERSION;
const LIFE: usize = 16;
/// Marker, key, life, number.
const HEAD: usize = 1 + KeyId::LENGTH + LIFE + 8;
/// Before a key's number in the table `meta`.
const META_KEY: &str = "sealed with ";

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Request,
    /// What was once the job's request, byte for byte.
    Original,
    Answer,
    Attempt,
    /// In `tokens` and in `outbox`: it is the same one in either.
    Token,
}

impl Field {
    /// Authenticated with its values: on disk for ever.
    fn number(self) -> u8 {
        match self {
            Field::Request | Field::Original => 1,
            Field::Answer => 2,
            Field::Attempt => 3,
            Field::Token => 4,
        }
    }

    pub(super) fn table(self) -> &'static str {
        match self {
            Field::Request => "requests",
            Field::Original => "originals",
            Field::Answer => "answers",
            Field::Attempt => "attempts",
            Field::Token => "tokens",
        }
    }
}

/// Writes and reads what may be secret; plain where no key is configured. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Seals {
    keys: Option<Arc<Keys>>,
    /// `None`: new values are plain.
    press: Option<Arc<Press>>,
}

/// What seals within one life.
#[derive(Debug)]
struct Press {
    id: KeyId,
    life: [u8; LIFE],
    key: LessSafeKey,
    next: AtomicU64,
}

impl Seals {
    /// A new life.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub(super) fn begin(keys: Option<&Keys>) -> Result<Seals> {
        let Some(keys) = keys else { return Ok(Seals::default()) };
        let press = match keys.first() {
            Some(key) => {
                let mut life = [0; LIFE];
                SystemRandom::new().fill(&mut life).map_err(|_| {
                    StoreError::Io("the system gives no random bytes to encrypt with".into())
                })?;
                let (id, key, next) = (key.id(), of_life(key, &life)?, AtomicU64::new(0));
                Some(Arc::new(Press { id, life, key, next }))
            }
            None => None,
        };
        Ok(Seals { keys: Some(Arc::new(keys.clone())), press })
    }

    /// As [`codec::encode_behind`].
    pub(super) fn encode_behind<T: Serialize + ?Sized>(
        &self,
        bytes: &mut Vec<u8>,
        field: Field,
        row: &[u8],
        value: &T,
    ) -> Result<u32> {
        let Some(press) = &self.press else { return codec::encode_behind(bytes, value) };
        let before = bytes.len();
        bytes.push(SEALED);
        bytes.extend_from_slice(&press.id.bytes());
        bytes.extend_from_slice(&press.life);
        // 2^64 values are more than a life has.
        let number = press.next.fetch_add(1, Ordering::Relaxed);
        bytes.extend_from_slice(&number.to_be_bytes());
        append(bytes, value)?;
        let (head, body) = bytes[before..].split_at_mut(HEAD);
        let aad = Aad::from(bound_to(head, field, row));
        let tag = press
            .key
            .seal_in_place_separate_tag(nonce(number), aad, body)
            .map_err(|_| StoreError::row(field.table(), "a value is too long to be encrypted"))?;
        bytes.extend_from_slice(tag.as_ref());
        codec::length_since(before, bytes)
    }

    /// As [`codec::decode`], of what [`Seals::encode_behind`] made for this field and this row.
    pub(super) fn decode<T: DeserializeOwned>(
        &self,
        field: Field,
        row: &[u8],
        bytes: &[u8],
    ) -> Result<T> {
        match bytes.first() {
            Some(&SEALED) => {
                let plain = self.open(field, row, bytes)?;
                let (value, rest) = codec::take(field.table(), &plain)?;
                match rest.len() {
                    0 => Ok(value),
                    more => {
                        let what = format_args!("a value is {more} bytes too long");
                        Err(StoreError::row(field.table(), what))
                    }
                }
            }
            _ => codec::decode(field.table(), bytes),
        }
    }

    fn open(&self, field: Field, row: &[u8], bytes: &[u8]) -> Result<Vec<u8>> {
        let wrong = |what: &str| StoreError::row(field.table(), what);
        if bytes.len() < HEAD {
            return Err(wrong("an encrypted value is cut short"));
        }
        let (head, sealed) = bytes.split_at(HEAD);
        let id = key_of(head);
        let (life, number) = head[1 + KeyId::LENGTH..].split_at(LIFE);
        let number = number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let aad = Aad::from(bound_to(head, field, row));
        let mut plain = sealed.to_vec();
        let opened = match &self.press {
            Some(press) if press.id == id && press.life == life => {
                press.key.open_in_place(nonce(number), aad, &mut plain)
            }
            _ => {
                let keys = self.keys.as_deref();
                let Some(key) = keys.and_then(|keys| keys.get(id)) else {
                    return Err(wrong(&format!("a value is encrypted with the unknown key {id}")));
                };
                of_life(key, life)?.open_in_place(nonce(number), aad, &mut plain)
            }
        };
        match opened.map(|opened| opened.len()) {
            Ok(length) => {
                plain.truncate(length);
                Ok(plain)
            }
            Err(_) => Err(wrong("an encrypted value was changed, or is another row's")),
        }
    }
}

impl Library {
    /// Whether the keys that the store was ever written with are there; from here on the first one
    /// of them is too. The index must have all that the journal has.
    ///
    /// A key that is there no more is looked for in every value, once: where nothing is encrypted
    /// with it any more, it is forgotten.
    ///
    /// # Errors
    /// [`StoreError::Key`] where something is.
    pub(super) fn admit(&self, database: &Database) -> Result<()> {
        let Seals { keys, press } = &self.seals;
        let known = |id: KeyId| keys.as_ref().is_some_and(|keys| keys.get(id).is_some());
        let txn = database.begin_read()?;
        let ever = ever(&txn)?;
        let missing: BTreeSet<KeyId> = ever.iter().copied().filter(|id| !known(*id)).collect();
        if !missing.is_empty() {
            tracing::info!("an encryption key was taken away: looking for what it encrypted");
            if let Some((id, values)) = self.used(&txn, &missing)?.into_iter().next() {
                return Err(StoreError::Key { path: Default::default(), id, values });
            }
        }
        drop(txn);
        let new = press.as_ref().map(|press| press.id).filter(|id| !ever.contains(id));
        if missing.is_empty() && new.is_none() {
            return Ok(());
        }
        let mut txn = database.begin_write()?;
        txn.set_quick_repair(true);
        {
            let mut meta = txn.open_table(META)?;
            for id in missing {
                meta.remove(format!("{META_KEY}{id}").as_str())?;
            }
            if let Some(id) = new {
                meta.insert(format!("{META_KEY}{id}").as_str(), 1)?;
            }
        }
        Ok(txn.commit()?)
    }

    /// How many values each of these keys seals, of those that seal any. Walks all of them.
    fn used(&self, txn: &ReadTransaction, keys: &BTreeSet<KeyId>) -> Result<Vec<(KeyId, u64)>> {
        let mut used: BTreeMap<KeyId, u64> = BTreeMap::new();
        let mut look = |value: &[u8]| {
            let sealed = value.first() == Some(&SEALED) && value.len() >= HEAD;
            if sealed && keys.contains(&key_of(value)) {
                *used.entry(key_of(value)).or_default() += 1;
            }
        };
        let mut look_at_body = |name: &str, row: &[u8]| {
            match Kept::read(name, row)? {
                Kept::Here(body) => look(body),
                Kept::There(spot) => look(&self.shelf.fetch_present(spot)?),
            }
            Ok::<(), StoreError>(())
        };
        for (table, field) in
            [(REQUESTS, Field::Request), (ORIGINALS, Field::Original), (ANSWERS, Field::Answer)]
        {
            for row in tables::read(txn, table)?.iter()? {
                look_at_body(field.table(), row?.1.value())?;
            }
        }
        for row in tables::read(txn, ATTEMPTS)?.iter()? {
            look_at_body(Field::Attempt.table(), row?.1.value())?;
        }
        for table in [TOKENS, OUTBOX] {
            for row in tables::read(txn, table)?.iter()? {
                look(row?.1.value());
            }
        }
        Ok(used.into_iter().collect())
    }
}

/// The keys that values of this file may be sealed with.
fn ever(txn: &ReadTransaction) -> Result<BTreeSet<KeyId>> {
    let mut ever = BTreeSet::new();
    for row in txn.open_table(META)?.iter()? {
        let (name, _) = row?;
        if let Some(id) = name.value().strip_prefix(META_KEY) {
            ever.insert(id.parse().map_err(|_| StoreError::row("meta", "a key has no number"))?);
        }
    }
    Ok(ever)
}

/// `head` is long enough.
fn key_of(head: &[u8]) -> KeyId {
    let mut id = [0; KeyId::LENGTH];
    id.copy_from_slice(&head[1..1 + KeyId::LENGTH]);
    KeyId::from_bytes(id)
}

fn of_life(key: &Key, life: &[u8]) -> Result<LessSafeKey> {
    let extracted = Salt::new(HKDF_SHA256, life).extract(key.secret());
    let key = extracted
        .expand(&[b"tollgate store, values"], &AES_256_GCM)
        .map_err(|_| StoreError::Corrupt("no key can be made for this life".into()))?;
    Ok(LessSafeKey::new(UnboundKey::from(key)))
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// Of fixed lengths but the last, so that no two are the same.
fn bound_to(head: &[u8], field: Field, row: &[u8]) -> Vec<u8> {
    let mut bound = Vec::with_capacity(head.len() + 1 + row.len());
    bound.extend_from_slice(head);
    bound.push(field.number());
    bound.extend_from_slice(row);
    bound
}
