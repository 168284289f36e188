//! Keys as they are on disk: integers big-endian, one after the other, so that bytes sort as what
//! they stand for. A change in here changes the format of the file.

use super::error::{Result, StoreError};
use crate::broker::job::{JobId, JobState, Priority, Seat, TargetId};
use crate::broker::time::Wall;

/// A job's id.
pub(super) type JobKey = [u8; 16];
/// A target's number.
pub(super) type TargetKey = [u8; 4];
/// Target, priority, seat.
pub(super) type ReadyKey = [u8; 13];
/// A time and a job's id.
pub(super) type TimeKey = [u8; 24];
/// Target, time of death, job's id.
pub(super) type DeadKey = [u8; 28];
/// Target, priority, state.
pub(super) type CountKey = [u8; 6];

pub(super) fn job(id: JobId) -> JobKey {
    id.0.to_be_bytes()
}

pub(super) fn target(id: TargetId) -> TargetKey {
    id.0.to_be_bytes()
}

pub(super) fn ready(target: TargetId, priority: Priority, seat: Seat) -> ReadyKey {
    join([&target.0.to_be_bytes(), &[priority_code(priority)], &seat.0.to_be_bytes()])
}

pub(super) fn time(at: Wall, id: JobId) -> TimeKey {
    join([&at.as_millis().to_be_bytes(), &id.0.to_be_bytes()])
}

pub(super) fn dead(target: TargetId, at: Wall, id: JobId) -> DeadKey {
    join([&target.0.to_be_bytes(), &at.as_millis().to_be_bytes(), &id.0.to_be_bytes()])
}

pub(super) fn count(target: TargetId, priority: Priority, state: JobState) -> CountKey {
    join([&target.0.to_be_bytes(), &[priority_code(priority)], &[state_code(state)]])
}

/// A target's number, then the name: variable, so the only key that is not an array.
pub(super) fn claim(target: TargetId, name: &str, key: &mut Vec<u8>) {
    key.clear();
    key.extend_from_slice(&target.0.to_be_bytes());
    key.extend_from_slice(name.as_bytes());
}

pub(super) fn read_target(key: &TargetKey) -> TargetId {
    TargetId(u32::from_be_bytes(*key))
}

pub(super) fn read_time(key: &TimeKey) -> (Wall, JobId) {
    let (at, id) = key.split_at(8);
    (Wall::from_millis(number(at) as u64), JobId(number(id)))
}

pub(super) fn read_count(key: &CountKey) -> Result<(TargetId, Priority, JobState)> {
    let priority = Priority::ALL.into_iter().find(|known| priority_code(*known) == key[4]);
    let state = JobState::ALL.into_iter().find(|known| state_code(*known) == key[5]);
    match (priority, state) {
        (Some(priority), Some(state)) => Ok((TargetId(number(&key[..4]) as u32), priority, state)),
        _ => Err(StoreError::row("counts", format_args!("no meaning is known for key {key:02x?}"))),
    }
}

/// On disk for ever, whatever becomes of the enum.
fn priority_code(priority: Priority) -> u8 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Batch => 2,
    }
}

/// On disk for ever, whatever becomes of the enum.
fn state_code(state: JobState) -> u8 {
    match state {
        JobState::Scheduled => 0,
        JobState::Queued => 1,
        JobState::Running => 2,
        JobState::Waiting => 3,
        JobState::Succeeded => 4,
        JobState::Failed => 5,
        JobState::Expired => 6,
        JobState::Cancelled => 7,
        JobState::Verifying => 8,
    }
}

fn join<const PARTS: usize, const LENGTH: usize>(parts: [&[u8]; PARTS]) -> [u8; LENGTH] {
    let mut key = [0; LENGTH];
    let mut rest = key.as_mut_slice();
    for part in parts {
        let (here, after) = rest.split_at_mut(part.len());
        here.copy_from_slice(part);
        rest = after;
    }
    debug_assert!(rest.is_empty(), "the parts make up the key");
    key
}

fn number(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_what_they_stand_for() {
        let ready_of = |target, priority, seat| ready(TargetId(target), priority, Seat(seat));
        let sorted = [
            ready_of(1, Priority::High, 300),
            ready_of(1, Priority::High, 70_000),
            ready_of(1, Priority::Batch, 2),
            ready_of(256, Priority::High, 1),
        ];
        assert!(sorted.is_sorted());
        let time_of = |at, id| time(Wall::from_millis(at), JobId(id));
        assert!([time_of(255, 9), time_of(256, 1), time_of(256, 1 << 100)].is_sorted());
    }

    #[test]
    fn keys_read_back_as_written() {
        let key = (Wall::from_millis(1 << 40 | 7), JobId(u128::MAX - 5));
        assert_eq!(read_time(&time(key.0, key.1)), key);
        assert_eq!(read_target(&target(TargetId(77_777))), TargetId(77_777));
        for priority in Priority::ALL {
            for state in JobState::ALL {
                let key = count(TargetId(515), priority, state);
                assert_eq!(read_count(&key), Ok((TargetId(515), priority, state)));
            }
        }
        assert!(matches!(read_count(&[0, 0, 0, 0, 9, 0]), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn the_format_on_disk_stays_what_it_is() {
        assert_eq!(
            ready(TargetId(0x0102_0304), Priority::Batch, Seat(0x0506)),
            [1, 2, 3, 4, 2, 0, 0, 0, 0, 0, 0, 5, 6]
        );
        let mut key = Vec::new();
        claim(TargetId(2), "ab", &mut key);
        assert_eq!(key, [0, 0, 0, 2, b'a', b'b']);
    }
}
