//! How large the file is and how much room is left around it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::journal::Directory;

/// How long an answer about the room on the disk is believed.
const STALE: Duration = Duration::from_secs(1);

/// What the store takes and what is left around it, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    pub bytes: u64,
    /// `None` where the disk does not say.
    pub free: Option<u64>,
    /// Below it new jobs get 507.
    pub min_free: u64,
}

#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// In bytes.
    min_free: u64,
    started: Instant,
    /// Milliseconds since `started` from which the next look is due.
    due: AtomicU64,
    room: AtomicBool,
    /// Bytes that were free beyond `min_free` at the last look, less what was written since.
    left: AtomicU64,
}

impl Disk {
    pub(super) fn new(path: PathBuf, min_free: u64) -> Disk {
        let (due, room) = (AtomicU64::new(0), AtomicBool::new(true));
        let left = AtomicU64::new(u64::MAX);
        let disk = Disk { path, min_free, started: Instant::now(), due, room, left };
        disk.has_room();
        disk
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The size of the file and of its journal, in bytes; 0 if they cannot be seen.
    pub(super) fn bytes(&self) -> u64 {
        let journal = Directory::bytes(&Directory::path_beside(&self.path));
        std::fs::metadata(&self.path).map_or(0, |file| file.len()) + journal
    }

    pub(super) fn space(&self) -> Space {
        Space { bytes: self.bytes(), free: self.free(), min_free: self.min_free }
    }

    /// What is left for this process, in bytes; `None` where the disk does not say.
    fn free(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.path).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Looks at the disk at most once in [`STALE`], whoever asks how often.
    pub(super) fn has_room(&self) -> bool {
        self.has_room_at(self.started.elapsed(), || self.free())
    }

    /// So many bytes were written. Where they may be more than there was room for, the next who asks
    /// looks: a fast disk is filled within much less than [`STALE`].
    pub(super) fn wrote(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let left = self.left.load(Ordering::Relaxed).saturating_sub(bytes);
        self.left.store(left, Ordering::Relaxed);
        if left == 0 {
            self.due.store(0, Ordering::Relaxed);
        }
    }

    /// `free` is asked for the bytes that are free; where it does not know, the last answer holds.
    fn has_room_at(&self, now: Duration, free: impl FnOnce() -> Option<u64>) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let due = self.due.load(Ordering::Relaxed);
        let next = millis(now).saturating_add(millis(STALE));
        // One of those who find that it is time looks; the others take what is there.
        let mine = millis(now) >= due
            && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine && let Some(free) = free() {
            self.room.store(free >= self.min_free, Ordering::Relaxed);
            self.left.store(free.saturating_sub(self.min_free), Ordering::Relaxed);
        }
        self.room.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_asked_once_a_second() {
        let disk = Disk::new("/nowhere/at/all".into(), 100);
        let at = |millis, free| disk.has_room_at(Duration::from_millis(millis), || free);
        let much_later = 1_000_000;
        assert!(!at(much_later, Some(99)), "less than the least");
        assert!(!at(much_later + 999, Some(100)), "still believed");
        assert!(at(much_later + 1_000, Some(100)));
        assert!(at(much_later + 2_000, None), "unknown: the last answer holds");
        assert!(!at(much_later + 3_000, Some(0)));
    }

    #[test]
    fn what_was_written_since_makes_it_look_again() {
        let disk = Disk::new("/nowhere/at/all".into(), 100);
        let at = |millis, free| disk.has_room_at(Duration::from_millis(millis), || free);
        let later = 1_000_000;
        assert!(at(later, Some(300)));
        disk.wrote(199);
        assert!(at(later + 1, Some(0)), "still believed");
        disk.wrote(1);
        assert!(!at(later + 2, Some(99)));
    }

    #[test]
    fn the_real_disk_answers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [1; 77]).unwrap();
        assert!(Disk::new(file.path().into(), 0).has_room());
        let greedy = Disk::new(file.path().into(), u64::MAX);
        assert!(!greedy.has_room());
        assert_eq!(greedy.bytes(), 77);
    }
}
