//! When redb is made durable. Often enough that a crash leaves little to catch up with, and that one
//! checkpoint is no long wait for the turns behind it; seldom enough that it costs little.

/// How large things may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Of a segment of the journal, in bytes; the last record goes beyond it.
    pub(super) segment: u64,
    /// What is written of a segment ahead of its records, in bytes.
    pub(super) ahead: u64,
    /// Of the journal behind a checkpoint, in bytes.
    pub(super) bytes: u64,
    /// Changes behind a checkpoint.
    pub(super) changes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { segment: 64 << 20, ahead: 256 << 10, bytes: 8 << 20, changes: 16_384 }
    }
}

/// What the journal has since the last checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Since {
    bytes: u64,
    changes: u64,
}

impl Since {
    pub(super) fn add(&mut self, bytes: usize, changes: usize) {
        self.bytes += bytes as u64;
        self.changes += changes as u64;
    }

    pub(super) fn is_enough(self, limits: Limits) -> bool {
        self.bytes >= limits.bytes || self.changes >= limits.changes
    }
}
