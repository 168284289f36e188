//! The limit on everything that can be configured. Generous: past these a value is a mistake.

use std::ops::RangeInclusive;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const DAY: u64 = 86_400;

/// Of a request body, in bytes; one is held in memory while it is taken in or sent.
pub(super) const MAX_BODY: RangeInclusive<u64> = 1..=64 * MIB;
/// Zero: what is under way is cut off at once.
pub(super) const DRAIN_TIMEOUT: RangeInclusive<Duration> = Duration::ZERO..=secs(3_600);

/// In bytes.
pub(super) const CACHE: RangeInclusive<u64> = MIB..=64 * GIB;
pub(super) const RETENTION: RangeInclusive<Duration> = secs(1)..=secs(366 * DAY);
/// In bytes. Zero: no check.
pub(super) const MIN_FREE_DISK: RangeInclusive<u64> = 0..=1024 * GIB;

/// A task's own `HeartbeatSeconds` goes up to a hundred years; nobody waits so long to learn that
/// a worker is gone.
pub(super) const HEARTBEAT: RangeInclusive<Duration> = secs(1)..=secs(DAY);

pub(super) const TARGETS: usize = 10_000;
/// In characters.
pub(super) const TARGET_NAME: usize = 64;
/// In bytes; the rest of a URL comes from the job.
pub(super) const URL: usize = 2_048;
pub(super) const HEADERS: usize = 64;
/// Of one header's value, in bytes.
pub(super) const HEADER_VALUE: usize = 8 * 1024;
pub(super) const TIMEOUT: RangeInclusive<Duration> = millis(1)..=secs(3_600);
pub(super) const MAX_QUEUED: RangeInclusive<u64> = 1..=1_000_000_000;

/// Requests a second: past it the loop, not the target, is the limit.
pub(super) const MAX_RATE_PER_SECOND: u32 = 1_000_000;
/// The N seconds, minutes, … of a rate.
pub(super) const RATE_PERIOD: Duration = secs(366 * DAY);
pub(super) const BURST: u32 = 1_000_000;
/// More than the ports that one address has.
pub(super) const MAX_CONCURRENT: u32 = 65_536;
/// Of a hard window: what the clocks of two machines agree on.
pub(super) const WINDOW: Duration = millis(10);
pub(super) const WINDOWS: usize = 8;
/// Requests a day or month.
pub(super) const QUOTA: u32 = u32::MAX;
/// Entries of a schedule.
pub(super) const SCHEDULE: usize = 64;
/// Zero: nothing arrives, or runs, after its attempt was given up.
pub(super) const HOLD_AFTER_TIMEOUT: RangeInclusive<Duration> = Duration::ZERO..=secs(DAY);
/// With all of it kept, lower priorities would never go.
pub(super) const RESERVE_HIGH: f64 = 0.99;
/// Shared ones.
pub(super) const LIMITS: usize = 10_000;
pub(super) const MAX_DEFERRALS: u32 = 1_000_000;

pub(super) const MAX_ATTEMPTS: u32 = 1_000_000;
pub(super) const BACKOFF: RangeInclusive<Duration> = millis(1)..=secs(7 * DAY);
pub(super) const MAX_RETRY_DURATION: RangeInclusive<Duration> = secs(1)..=secs(366 * DAY);

pub(super) const BREAKER_FAILURES: u32 = 1_000_000;
pub(super) const PROBE_EVERY: RangeInclusive<Duration> = millis(100)..=secs(DAY);

pub(super) const CALLBACKS: usize = 1_000;
/// Of one callback: the old one, the new one, and some more.
pub(super) const CALLBACK_SECRETS: usize = 8;
/// Of a target's answer that is told, in bytes.
pub(super) const CALLBACK_BODY: RangeInclusive<u64> = 0..=MIB;

/// In bytes.
pub(super) const HOST_NAME: usize = 253;
/// In bytes.
pub(super) const TOKENS_FILE: usize = 1 << 20;
/// In bytes.
pub(super) const PEM_FILE: usize = 1 << 20;
/// Of an answer that is kept, in bytes.
pub(super) const ANSWER_BODY: RangeInclusive<u64> = 1..=8 * MIB;
pub(super) const POLL: RangeInclusive<Duration> = millis(1)..=secs(DAY);
pub(super) const DEAD_AGE: RangeInclusive<Duration> = secs(1)..=secs(3_660 * DAY);
pub(super) const DEAD_COUNT: RangeInclusive<u64> = 1..=1_000_000_000;
/// In bytes.
pub(super) const DEAD_SIZE: RangeInclusive<u64> = 1..=1024 * GIB;
/// A JSON Schema, in bytes.
pub(super) const SCHEMA: usize = 1 << 20;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
