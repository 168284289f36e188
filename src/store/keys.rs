//! Keys as they are on disk: integers big-endian, one after the other, so that bytes sort as what
//! they stand for. A change in here changes the format of the file.

use ring::digest;

use super::error::{Result, StoreError};
use crate::broker::counts::Count;
use crate::broker::fair::{FlowId, Rank, Tag};
use crate::broker::group::GroupName;
use crate::broker::job::{JobId, JobState, Priority, Seat, TargetId};
use crate::broker::time::Wall;

/// A job's id.
pub(super) type JobKey = [u8; 16];
/// A target's number.
pub(super) type TargetKey = [u8; 4];
/// Target, priority, tag, seat.
pub(super) type ReadyKey = [u8; 21];
/// Target, priority.
pub(super) type ClockKey = [u8; 5];
/// A time and a job's id.
pub(super) type TimeKey = [u8; 24];
/// Target, time of death, job's id.
pub(super) type DeadKey = [u8; 28];
/// Target, hash of a group's name.
pub(super) type GroupRow = [u8; 20];
/// The same, and the place in the group's order.
pub(super) type MemberKey = [u8; 28];
/// A job's id and the number of one of its requests.
pub(super) type AttemptKey = [u8; 20];
/// Target, priority, state.
pub(super) type CountKey = [u8; 6];

pub(super) fn job(id: JobId) -> JobKey {
    id.0.to_be_bytes()
}

pub(super) fn target(id: TargetId) -> TargetKey {
    id.0.to_be_bytes()
}

pub(super) fn ready(target: TargetId, priority: Priority, rank: Rank) -> ReadyKey {
    let (tag, seat) = (rank.tag.0.to_be_bytes(), rank.seat.0.to_be_bytes());
    join([&clock(target, priority), &tag, &seat])
}

/// The last place of a line.
pub(super) const LAST_RANK: Rank = Rank { tag: Tag(u64::MAX), seat: Seat(u64::MAX) };

pub(super) fn clock(target: TargetId, priority: Priority) -> ClockKey {
    join([&target.0.to_be_bytes(), &[priority_code(priority)]])
}

/// Target, priority, then the fairness key: variable, and last.
pub(super) fn flow(flow: &FlowId, key: &mut Vec<u8>) {
    key.clear();
    key.extend_from_slice(&clock(flow.target, flow.priority));
    key.extend_from_slice(flow.key.as_str().as_bytes());
}

pub(super) fn read_clock(key: &ClockKey) -> Result<(TargetId, Priority)> {
    read_flow(key)
}

/// Whose flow it is.
pub(super) fn read_flow(key: &[u8]) -> Result<(TargetId, Priority)> {
    let priority = |code| Priority::ALL.into_iter().find(|known| priority_code(*known) == code);
    match key {
        [a, b, c, d, code, ..] => match priority(*code) {
            Some(priority) => Ok((TargetId(u32::from_be_bytes([*a, *b, *c, *d])), priority)),
            None => Err(no_meaning("flows", key)),
        },
        _ => Err(no_meaning("flows", key)),
    }
}

fn no_meaning(table: &str, key: &[u8]) -> StoreError {
    StoreError::row(table, format_args!("no meaning is known for key {key:02x?}"))
}

pub(super) fn time(at: Wall, id: JobId) -> TimeKey {
    join([&at.as_millis().to_be_bytes(), &id.0.to_be_bytes()])
}

pub(super) fn dead(target: TargetId, at: Wall, id: JobId) -> DeadKey {
    join([&target.0.to_be_bytes(), &at.as_millis().to_be_bytes(), &id.0.to_be_bytes()])
}

pub(super) fn attempt(id: JobId, number: u32) -> AttemptKey {
    join([&id.0.to_be_bytes(), &number.to_be_bytes()])
}

pub(super) fn count(target: TargetId, priority: Priority, count: Count) -> CountKey {
    join([&target.0.to_be_bytes(), &[priority_code(priority)], &[count_code(count)]])
}

/// A group's name may be long; two of one hash (half of SHA-256) would wait for each other.
pub(super) fn group(target: TargetId, name: &GroupName) -> GroupRow {
    let hash = digest::digest(&digest::SHA256, name.as_str().as_bytes());
    join([&target.0.to_be_bytes(), &hash.as_ref()[..16]])
}

/// First and last key of a target's groups.
pub(super) fn groups(target: TargetId) -> (GroupRow, GroupRow) {
    let target = target.0.to_be_bytes();
    (join([&target, &[0; 16]]), join([&target, &[u8::MAX; 16]]))
}

pub(super) fn member(group: GroupRow, order: Seat) -> MemberKey {
    join([&group, &order.0.to_be_bytes()])
}

/// First and last key of a group's members.
pub(super) fn members(group: GroupRow) -> (MemberKey, MemberKey) {
    (member(group, Seat(0)), member(group, Seat(u64::MAX)))
}

pub(super) fn read_group_target(key: &GroupRow) -> TargetId {
    TargetId(number(&key[..4]) as u32)
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

pub(super) fn read_count(key: &CountKey) -> Result<(TargetId, Priority, Count)> {
    let priority = Priority::ALL.into_iter().find(|known| priority_code(*known) == key[4]);
    let count = Count::all().find(|known| count_code(*known) == key[5]);
    match (priority, count) {
        (Some(priority), Some(count)) => Ok((TargetId(number(&key[..4]) as u32), priority, count)),
        _ => Err(no_meaning("counts", key)),
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
fn count_code(count: Count) -> u8 {
    match count {
        Count::In(state) => state_code(state),
        Count::Behind => 128,
        Count::Holding => 129,
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

pub(super) fn join<const PARTS: usize, const LENGTH: usize>(parts: [&[u8]; PARTS]) -> [u8; LENGTH] {
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
        let rank = |tag, seat| Rank { tag: Tag(tag), seat: Seat(seat) };
        let ready_of = |target, priority, seat| ready(TargetId(target), priority, rank(7, seat));
        let sorted = [
            ready_of(1, Priority::High, 300),
            ready_of(1, Priority::High, 70_000),
            ready_of(1, Priority::Batch, 2),
            ready_of(256, Priority::High, 1),
        ];
        assert!(sorted.is_sorted());
        let tagged = |tag, seat| ready(TargetId(1), Priority::High, rank(tag, seat));
        assert!(tagged(255, 9) < tagged(256, 1));
        let time_of = |at, id| time(Wall::from_millis(at), JobId(id));
        assert!(
            [attempt(JobId(1), 300), attempt(JobId(1), 70_000), attempt(JobId(2), 1)].is_sorted()
        );
        assert!([time_of(255, 9), time_of(256, 1), time_of(256, 1 << 100)].is_sorted());
    }

    #[test]
    fn keys_read_back_as_written() {
        let key = (Wall::from_millis(1 << 40 | 7), JobId(u128::MAX - 5));
        assert_eq!(read_time(&time(key.0, key.1)), key);
        assert_eq!(read_target(&target(TargetId(77_777))), TargetId(77_777));
        for priority in Priority::ALL {
            for counted in Count::all() {
                let key = count(TargetId(515), priority, counted);
                assert_eq!(read_count(&key), Ok((TargetId(515), priority, counted)));
            }
        }
        assert!(matches!(read_count(&[0, 0, 0, 0, 9, 0]), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn the_format_on_disk_stays_what_it_is() {
        assert_eq!(
            ready(
                TargetId(0x0102_0304),
                Priority::Batch,
                Rank { tag: Tag(0x0708), seat: Seat(0x0506) }
            ),
            [1, 2, 3, 4, 2, 0, 0, 0, 0, 0, 0, 7, 8, 0, 0, 0, 0, 0, 0, 5, 6]
        );
        let mut key = Vec::new();
        claim(TargetId(2), "ab", &mut key);
        assert_eq!(key, [0, 0, 0, 2, b'a', b'b']);
        let flow_id = FlowId {
            target: TargetId(2),
            priority: Priority::Normal,
            key: crate::broker::fair::FlowKey::new("ab").expect("a key"),
        };
        flow(&flow_id, &mut key);
        assert_eq!(key, [0, 0, 0, 2, 1, b'a', b'b']);
        assert_eq!(read_flow(&key), Ok((TargetId(2), Priority::Normal)));
        let name = GroupName::new("abc").expect("a name");
        let key = member(group(TargetId(2), &name), Seat(5));
        let sha256 = [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea];
        assert_eq!((&key[..4], &key[4..12]), (&[0, 0, 0, 2][..], &sha256[..]));
        assert_eq!(key[20..], [0, 0, 0, 0, 0, 0, 0, 5]);
    }
}
