//! What the limits have spent, a row an account.
//!
//! A key is the limit, then the account: a target's own limit is `0` and the target's number, a
//! shared one `1`, its name, and `0`; a window is `0`, its width and the end of the step, places
//! are `1` and until when they are held, a quota is `2`, the wall-clock milliseconds at which its
//! period began and when it is over at the earliest. Other times are in microseconds, on the
//! store's own clock.

use std::collections::BTreeMap;
use std::time::Duration;

use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::error::{Result, StoreError};
use super::tables::SPENT;
use crate::broker::change::{Account, Spent};
use crate::broker::job::TargetId;
use crate::broker::policy::{LimitId, LimitName};
use crate::broker::time::{Lived, Wall};

const TABLE: &str = "spent";
const OWN: u8 = 0;
const SHARED: u8 = 1;
const WINDOW: u8 = 0;
const PLACE: u8 = 1;
const QUOTA: u8 = 2;

/// What a commit says of the limits: the last word on each account.
#[derive(Debug, Default)]
pub(super) struct Touched<'a>(BTreeMap<(&'a LimitId, Account), u64>);

impl<'a> Touched<'a> {
    pub(super) fn say(&mut self, spent: &'a Spent) {
        self.0.insert((&spent.limit, spent.account), spent.count);
    }

    pub(super) fn write(&self, txn: &WriteTransaction, key: &mut Vec<u8>) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut table = txn.open_table(SPENT)?;
        for ((limit, account), count) in &self.0 {
            write_key(key, limit, *account);
            match count {
                // It may have come and gone within this commit.
                0 => drop(table.remove(key.as_slice())?),
                count => drop(table.insert(key.as_slice(), *count)?),
            }
        }
        Ok(())
    }
}

/// In order.
pub(super) fn read(txn: &ReadTransaction) -> Result<Vec<Spent>> {
    let mut all = Vec::new();
    for row in txn.open_table(SPENT)?.iter()? {
        let (key, count) = row?;
        let (limit, account) = read_key(key.value()).ok_or_else(|| {
            StoreError::row(TABLE, format_args!("no such key: {:?}", key.value()))
        })?;
        all.push(Spent { limit, account, count: count.value() });
    }
    Ok(all)
}

pub(super) fn write_key(key: &mut Vec<u8>, limit: &LimitId, account: Account) {
    key.clear();
    match limit {
        LimitId::Target(id) => {
            key.push(OWN);
            key.extend_from_slice(&id.0.to_be_bytes());
        }
        LimitId::Shared(name) => {
            key.push(SHARED);
            key.extend_from_slice(name.as_str().as_bytes());
            key.push(0);
        }
    }
    match account {
        Account::Window { per, end } => {
            let per = u64::try_from(per.as_micros()).unwrap_or(u64::MAX);
            key.push(WINDOW);
            key.extend_from_slice(&per.to_be_bytes());
            key.extend_from_slice(&end.as_micros().to_be_bytes());
        }
        Account::Place { until } => {
            key.push(PLACE);
            key.extend_from_slice(&until.as_micros().to_be_bytes());
        }
        Account::Quota { since, until } => {
            key.push(QUOTA);
            key.extend_from_slice(&since.as_millis().to_be_bytes());
            key.extend_from_slice(&until.as_micros().to_be_bytes());
        }
    }
}

pub(super) fn read_key(key: &[u8]) -> Option<(LimitId, Account)> {
    let (limit, rest) = match key.split_first()? {
        (&OWN, rest) => {
            let (id, rest) = rest.split_first_chunk()?;
            (LimitId::Target(TargetId(u32::from_be_bytes(*id))), rest)
        }
        (&SHARED, rest) => {
            let end = rest.iter().position(|byte| *byte == 0)?;
            let (name, rest) = rest.split_at(end);
            (LimitId::Shared(LimitName::new(std::str::from_utf8(name).ok()?)), &rest[1..])
        }
        _ => return None,
    };
    let account = match rest.split_first()? {
        (&WINDOW, rest) => {
            let (per, rest) = number(rest)?;
            let (end, rest) = number(rest)?;
            let per = Duration::from_micros(per);
            rest.is_empty().then_some(Account::Window { per, end: Lived::from_micros(end) })?
        }
        (&PLACE, rest) => {
            let (until, rest) = number(rest)?;
            rest.is_empty().then_some(Account::Place { until: Lived::from_micros(until) })?
        }
        (&QUOTA, rest) => {
            let (since, rest) = number(rest)?;
            let (until, rest) = number(rest)?;
            let (since, until) = (Wall::from_millis(since), Lived::from_micros(until));
            rest.is_empty().then_some(Account::Quota { since, until })?
        }
        _ => return None,
    };
    Some((limit, account))
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_written_and_sort_as_what_they_stand_for() {
        let at = |micros| Lived::from_micros(micros);
        let per = Duration::from_secs(60);
        let mut sorted = Vec::new();
        for limit in [
            LimitId::Target(TargetId(1)),
            LimitId::Target(TargetId(256)),
            LimitId::Shared(LimitName::new("a")),
            LimitId::Shared(LimitName::new("a-b")),
            LimitId::Shared(LimitName::new("b")),
        ] {
            for account in [
                Account::Window { per, end: at(255) },
                Account::Window { per, end: at(256) },
                Account::Window { per: per * 2, end: at(1) },
                Account::Place { until: at(0) },
                Account::Quota { since: Wall::from_millis(1), until: at(2) },
            ] {
                sorted.push((limit.clone(), account));
            }
        }
        assert!(sorted.is_sorted());
        let keys: Vec<Vec<u8>> = sorted
            .iter()
            .map(|(limit, account)| {
                let mut key = Vec::new();
                write_key(&mut key, limit, *account);
                assert_eq!(read_key(&key), Some((limit.clone(), *account)));
                for length in 0..key.len() {
                    assert_eq!(read_key(&key[..length]), None);
                }
                key
            })
            .collect();
        assert!(keys.is_sorted());
    }
}
