//! Values as they are on disk: one byte of version, then postcard.
//!
//! postcard writes enums by the number of their variant and structs by the order of their fields:
//! a variant or a field that comes in anywhere but at the end, and any field at all, is another
//! version. The recipe: count [`VERSION`] up, keep the old type beside the new one, and let
//! [`decode`] turn old into new. `tests/format.rs` is a test that fails where the bytes change.

use serde::{Deserialize, Serialize};

use super::error::{Result, StoreError};

pub(super) const VERSION: u8 = 1;

/// Clears `bytes` and fills it with the value.
pub(super) fn encode<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) -> Result<()> {
    bytes.clear();
    bytes.push(VERSION);
    append(bytes, value)
}

/// As [`encode`], but behind what is there; returns how many bytes it takes.
pub(super) fn encode_behind<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) -> Result<u32> {
    let before = bytes.len();
    bytes.push(VERSION);
    append(bytes, value)?;
    length_since(before, bytes)
}

/// Of what stands in `bytes` from there on.
pub(super) fn length_since(before: usize, bytes: &[u8]) -> Result<u32> {
    u32::try_from(bytes.len() - before)
        .map_err(|_| StoreError::Corrupt("a value of more than 4 GiB cannot be written".into()))
}

/// As [`encode`], but behind what is there, and without a version of its own.
pub(super) fn append<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) -> Result<()> {
    match postcard::to_io(value, bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(StoreError::Corrupt(format!("a value cannot be written: {error}"))),
    }
}

/// The whole of `bytes` must be the value.
pub(super) fn decode<'a, T: Deserialize<'a>>(table: &str, bytes: &'a [u8]) -> Result<T> {
    let (value, rest) = decode_front(table, bytes)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(StoreError::row(table, format_args!("a value is {} bytes too long", rest.len())))
    }
}

/// The value that `bytes` begin with, and what is behind it.
pub(super) fn decode_front<'a, T>(table: &str, bytes: &'a [u8]) -> Result<(T, &'a [u8])>
where
    T: Deserialize<'a>,
{
    match bytes.split_first() {
        Some((&VERSION, rest)) => take(table, rest),
        Some((version, _)) => {
            Err(StoreError::row(table, format_args!("a value has the unknown version {version}")))
        }
        None => Err(StoreError::row(table, "a value is empty")),
    }
}

/// As [`decode_front`], without a version.
pub(super) fn take<'a, T: Deserialize<'a>>(table: &str, bytes: &'a [u8]) -> Result<(T, &'a [u8])> {
    postcard::take_from_bytes(bytes)
        .map_err(|error| StoreError::row(table, format_args!("a value cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_back() {
        let mut bytes = vec![9; 9];
        encode(&mut bytes, &(7_u32, "seven")).unwrap();
        assert_eq!(decode::<(u32, &str)>("t", &bytes), Ok((7, "seven")));
    }

    #[test]
    fn nonsense_is_an_error_that_names_the_table() {
        let fails = |bytes: &[u8]| match decode::<(u32, String)>("jobs", bytes) {
            Err(StoreError::Corrupt(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(fails(&[]), "table jobs: a value is empty");
        assert_eq!(fails(&[9, 1]), "table jobs: a value has the unknown version 9");
        assert_eq!(fails(&[1, 7, 1, b'a', 0]), "table jobs: a value is 1 bytes too long");
        assert!(fails(&[1, 7, 200]).starts_with("table jobs: a value cannot be read"));
    }

    #[test]
    fn no_bytes_at_all_make_it_panic() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..20_000_usize {
            let mut bytes = vec![VERSION];
            for _ in 0..round % 60 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                bytes.push(seed as u8);
            }
            // Only that it comes back at all.
            let _ = decode::<crate::broker::payload::Request>("requests", &bytes);
            let _ = decode::<Vec<crate::broker::job::Event>>("jobs", &bytes);
            let _ = decode::<(crate::broker::job::Header, crate::broker::job::Place)>("t", &bytes);
        }
    }
}
