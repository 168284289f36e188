//! The record of a job: where it is, what the core knows of it, and its history.
//!
//! The history stands behind the rest as one event after the other, so that a move copies the
//! events that are there as bytes and only writes its own. A table of its own for them, keyed by
//! job and number, would cost a row more with each move and save nothing: the record is written
//! anew with each move in any case, and its history is capped.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::codec::{append, decode_front, encode, take};
use super::error::{Result, StoreError};
use super::record::{HISTORY_KEPT, JobRecord, cap_history};
use crate::broker::job::{Event, Header, Place};

const TABLE: &str = "jobs";

/// What stands before the history.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head<'a> {
    pub(super) place: Place,
    pub(super) header: Cow<'a, Header>,
    /// The name that the job claimed for itself.
    #[serde(borrow)]
    pub(super) dedup: Option<&'a str>,
    /// How many follow.
    events: u32,
}

pub(super) fn write_first(
    bytes: &mut Vec<u8>,
    header: &Header,
    place: Place,
    dedup: Option<&str>,
    events: &[Event],
) -> Result<()> {
    if events.len() > HISTORY_KEPT {
        let mut events = events.to_vec();
        cap_history(&mut events);
        return write_first(bytes, header, place, dedup, &events);
    }
    let head = Head { place, header: Cow::Borrowed(header), dedup, events: events.len() as u32 };
    encode(bytes, &head)?;
    events.iter().try_for_each(|event| append(bytes, event))
}

/// The record after a move: `head` and `history` are from [`read_head`].
pub(super) fn write_moved(
    bytes: &mut Vec<u8>,
    head: &Head<'_>,
    history: &[u8],
    header: &Header,
    place: Place,
    events: &[Event],
) -> Result<()> {
    let count = head.events as usize + events.len();
    if count > HISTORY_KEPT {
        let mut all = read_history(head, history)?;
        all.extend_from_slice(events);
        cap_history(&mut all);
        return write_first(bytes, header, place, head.dedup, &all);
    }
    let header = Cow::Borrowed(header);
    encode(bytes, &Head { place, header, dedup: head.dedup, events: count as u32 })?;
    bytes.extend_from_slice(history);
    events.iter().try_for_each(|event| append(bytes, event))
}

/// Leaves the history as bytes.
pub(super) fn read_head(bytes: &[u8]) -> Result<(Head<'_>, &[u8])> {
    decode_front(TABLE, bytes)
}

pub(super) fn read(bytes: &[u8]) -> Result<JobRecord> {
    let (head, history) = read_head(bytes)?;
    let history = read_history(&head, history)?;
    Ok(JobRecord { header: head.header.into_owned(), place: head.place, history })
}

fn read_history(head: &Head<'_>, mut bytes: &[u8]) -> Result<Vec<Event>> {
    let mut events = Vec::with_capacity((head.events as usize).min(HISTORY_KEPT));
    for _ in 0..head.events {
        let (event, rest) = take(TABLE, bytes)?;
        events.push(event);
        bytes = rest;
    }
    if bytes.is_empty() {
        Ok(events)
    } else {
        let what = format_args!("a history is {} bytes too long", bytes.len());
        Err(StoreError::row(TABLE, what))
    }
}
