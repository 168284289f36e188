//! All rows of all tables, shrunk so far that thousands of stores can be compared with each other.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

use redb::{
    Key, ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, TableError,
    TableHandle, Value,
};

use crate::store::error::{Result, StoreError};
use crate::store::{Reader, StoreError as Error};

/// How many rows each table has, and a hash of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rows(BTreeMap<String, (u64, u64)>);

impl Rows {
    pub(super) fn of(reader: &Reader) -> std::result::Result<Rows, Error> {
        reader.read(|txn| {
            let mut rows = BTreeMap::new();
            for table in txn.list_tables()? {
                let name = table.name();
                let shapes = SHAPES.iter();
                let hashed = shapes.filter_map(|shape| shape(txn, name).transpose()).next();
                let unknown = || StoreError::row(name, "this test knows no such keys and values");
                rows.insert(name.to_owned(), hashed.ok_or_else(unknown)??);
            }
            Ok(Rows(rows))
        })
    }

    /// The tables that are not the same, but for where the journal goes on: a segment may have been
    /// begun where nothing was written any more.
    pub(super) fn differing_in_jobs(&self, other: &Rows) -> Vec<String> {
        let mut differing = self.differing(other);
        differing.retain(|table| !table.starts_with("journal "));
        differing
    }

    /// The tables that are not the same.
    pub(super) fn differing(&self, other: &Rows) -> Vec<String> {
        let names = self.0.keys().chain(other.0.keys().filter(|name| !self.0.contains_key(*name)));
        let of = |rows: &Rows, name: &str| rows.0.get(name).copied();
        let differ = names.filter(|name| of(self, name) != of(other, name));
        let count = |rows: &Rows, name: &str| of(rows, name).map_or(0, |(count, _)| count);
        differ
            .map(|name| format!("{name} ({}, not {})", count(self, name), count(other, name)))
            .collect()
    }
}

/// `None` where the table has other keys or values.
type Shape = fn(&ReadTransaction, &str) -> Result<Option<(u64, u64)>>;

/// redb opens a table only as what it was made: so each kind is tried, and none is listed by name,
/// and a new table cannot be forgotten here.
const SHAPES: [Shape; 20] = [
    hash::<&[u8; 16], &[u8]>,
    hash::<&[u8; 4], &[u8]>,
    hash::<&[u8; 5], &[u8]>,
    hash::<&[u8; 8], &[u8]>,
    hash::<&[u8; 12], &[u8]>,
    hash::<&[u8; 13], &[u8]>,
    hash::<&[u8; 20], &[u8]>,
    hash::<&[u8; 21], &[u8]>,
    hash::<&[u8; 24], &[u8]>,
    hash::<&[u8; 28], &[u8]>,
    hash::<&[u8; 29], &[u8]>,
    hash::<&[u8; 32], &[u8]>,
    hash::<&[u8; 36], &[u8]>,
    hash::<&[u8], &[u8]>,
    hash::<&[u8; 6], &[u8; 8]>,
    hash::<&[u8; 5], &[u8; 8]>,
    hash::<&[u8], u64>,
    hash::<u64, u64>,
    hash::<&str, u64>,
    hash::<&str, &[u8]>,
];

fn hash<K: Key + 'static, V: Value + 'static>(
    txn: &ReadTransaction,
    name: &str,
) -> Result<Option<(u64, u64)>> {
    let table = match txn.open_table(TableDefinition::<K, V>::new(name)) {
        Ok(table) => table,
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    let mut hasher = DefaultHasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.write_usize(bytes.len());
        hasher.write(bytes);
    };
    for row in table.iter()? {
        let (key, value) = row?;
        add(K::as_bytes(&key.value()).as_ref());
        add(V::as_bytes(&value.value()).as_ref());
    }
    Ok(Some((table.len()?, hasher.finish())))
}
