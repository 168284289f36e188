//! Values as they are on disk: see [`crate::fuzz`].

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{decode, encode};
use super::cursor::Cursor;
use super::jobs;
use super::record::Attempt;
use crate::broker::fair::Tag;
use crate::broker::group::GroupName;
use crate::broker::job::{Header, JobId, Place, Priority, TargetId};
use crate::broker::payload::{Answer, Request, TaskToken};
use crate::broker::time::Wall;

/// A value of any table. What can be read at all is read as the same again.
pub fn record(bytes: &[u8]) {
    // The first byte says what it is.
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 12 {
        0 => {
            // Its history has a length of its own.
            let _ = jobs::read(bytes);
        }
        1 => twice::<Request>(bytes),
        2 => twice::<Answer>(bytes),
        3 => twice::<Attempt>(bytes),
        4 => twice::<Header>(bytes),
        5 => twice::<(Header, Place)>(bytes),
        6 => twice::<(Header, Place, u64)>(bytes),
        7 => twice::<(JobId, [u8; 32], Wall)>(bytes),
        8 => twice::<(String, bool, Option<Wall>)>(bytes),
        9 => twice::<(TargetId, Priority, Place)>(bytes),
        10 => {
            twice::<TaskToken>(bytes);
            twice::<Tag>(bytes);
            twice::<GroupName>(bytes);
        }
        _ => {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            if let Ok(cursor) = text.parse::<Cursor>() {
                assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
            }
        }
    }
}

fn twice<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(value) = decode::<T>("fuzz", bytes) else { return };
    let mut again = Vec::new();
    if let Err(error) = encode(&mut again, &value) {
        panic!("{value:?} cannot be written: {error}");
    }
    match decode::<T>("fuzz", &again) {
        Ok(same) => assert_eq!(same, value),
        Err(error) => panic!("{value:?} cannot be read again: {error}"),
    }
}
